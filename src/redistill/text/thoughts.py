"""What a set of answers says of how their author thinks: lengths, looks back, repetition, and thoughts that fit any question.

    thoughts([Answer("p1", "<think>2 and 2</think>4", 9, True), ...])  ->  Thoughts(answers=..., longer_right=0.61, trivial=0.02, ...)

Counted words are not proof of insight ("wait" is said without a second look); so each figure stands beside how often such answers
are right. A thought is trivial where the same words, numbers included, are thought about another problem too.
"""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from redistill.text.repetition import reflections, repeated_share, words
from redistill.text.thinking import split_thinking


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: its problem, its text, its tokens (None where nobody counted them), whether it is right (None: undecided)."""

    problem_id: str
    text: str
    tokens: int | None
    right: bool | None


@dataclass(frozen=True, slots=True)
class Thoughts:
    """Shares are of all answers, None where there is nothing to divide by.

    longer_right: the chance that a right answer is longer than a wrong one, ties counted half; 0.5 says that length tells nothing.
    right_when_reflecting, right_otherwise: pass rates of the decided answers that look back at their own steps, and of the others.
    trivial: of the answers that think, those whose thought is the thought of an answer to another problem, word by word.
    """

    answers: int
    thinking: float | None
    tokens_right: float | None
    tokens_wrong: float | None
    longer_right: float | None
    reflecting: float | None
    right_when_reflecting: float | None
    right_otherwise: float | None
    repeated: float | None
    trivial: float | None


def thoughts(answers: Sequence[Answer]) -> Thoughts:
    """The figures of a set of answers."""
    inner = [split_thinking(answer.text)[0] for answer in answers]
    looks_back = [reflections(answer.text) > 0 for answer in answers]
    lengths = {
        right: [a.tokens for a in answers if a.right is right and a.tokens is not None] for right in (True, False)
    }
    decided = [
        (answer.right, back) for answer, back in zip(answers, looks_back, strict=True) if answer.right is not None
    ]
    return Thoughts(
        answers=len(answers),
        thinking=_mean([bool(thought.strip()) for thought in inner]),
        tokens_right=_mean(lengths[True]),
        tokens_wrong=_mean(lengths[False]),
        longer_right=chance_of_more(lengths[True], lengths[False]),
        reflecting=_mean(looks_back),
        right_when_reflecting=_mean([bool(right) for right, back in decided if back]),
        right_otherwise=_mean([bool(right) for right, back in decided if not back]),
        repeated=_mean([repeated_share(answer.text) for answer in answers]),
        trivial=_trivial(answers, inner),
    )


def chance_of_more(ones: Sequence[float], others: Sequence[float]) -> float | None:
    """The chance that one of `ones` is larger than one of `others`, ties counted half (Mann-Whitney U by n m)."""
    if not ones or not others:
        return None
    ranked = sorted([(value, True) for value in ones] + [(value, False) for value in others])
    wins, below, place = 0.0, 0, 0
    while place < len(ranked):
        end = place
        while end < len(ranked) and ranked[end][0] == ranked[place][0]:
            end += 1
        mine = sum(is_one for _, is_one in ranked[place:end])
        theirs = end - place - mine
        wins += mine * (below + theirs / 2)
        below += theirs
        place = end
    return wins / (len(ones) * len(others))


def _trivial(answers: Sequence[Answer], inner: Sequence[str]) -> float | None:
    asked: defaultdict[Hashable, set[str]] = defaultdict(set)
    said = [
        (tuple(words(thought)), answer.problem_id)
        for thought, answer in zip(inner, answers, strict=True)
        if thought.strip()
    ]
    for thought, problem_id in said:
        asked[thought].add(problem_id)
    return _mean([len(asked[thought]) > 1 for thought, _ in said])


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
