"""Rewards of a student's own answers: a verified trace -> a number, or None where nobody can say.

    accuracy(problem, trace)                       1.0, 0.0, or None for an answer that could not be judged
    total_reward([(1.0, accuracy), (0.2, format_)], problem, trace)      their weighted sum; None where one of them is None

A sampled answer that could not be judged is not a wrong answer: its reward is None, and what becomes of it is the stage's
setting `undecided`. The keyword-only arguments are the options of a recipe; `weight` is the recipe's own.

To add one: a function (problem, trace, *, options) -> float | None, a line in REWARDS, a test, a line in docs/training.md.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from redistill.errors import OperatorError
from redistill.records import FINAL, Group, Outcome, Problem, Trace
from redistill.text.repetition import repeated_share

Reward = Callable[..., float | None]

UNANSWERED = (Outcome.no_answer, Outcome.truncated)  # certain facts: there is no final answer to judge


def accuracy(
    problem: Problem,
    trace: Trace,
    *,
    right: float = 1.0,
    wrong: float = 0.0,
    unanswered: Literal["wrong", "undecided"] = "wrong",
) -> float | None:
    """`right` for an answer judged correct, `wrong` for one judged incorrect, None for one that could not be judged.

    unanswered: whether an answer that was cut at its limit, or that holds no final answer, counts as wrong. It is a certain
    fact that it gave none; `undecided` leaves it out, which keeps a stage from punishing length (DAPO's overlong filter).
    """
    outcome = trace.verdict.outcome
    if outcome is Outcome.correct:
        return right
    if outcome is Outcome.incorrect or (outcome in UNANSWERED and unanswered == "wrong"):
        return wrong
    return None


# What stands where in a completion. Each part can end in one place only, so matching is linear in the text's length.
_INSIDE = r"(?:(?!</?think>).)*"
_FORMATS = {
    "think-answer": re.compile(rf"\s*<think>{_INSIDE}</think>\s*<answer>(?:(?!</?answer>).)*</answer>\s*", re.DOTALL),
    "think": re.compile(rf"\s*<think>{_INSIDE}</think>\s*(?!</?think>)\S{_INSIDE}", re.DOTALL),
    "boxed": re.compile(r"(?:(?!\\boxed).)*\\boxed\s*\{(?!\s*\})(?:(?!\\boxed).)*", re.DOTALL),
}


def format_(
    problem: Problem, trace: Trace, *, pattern: Literal["think-answer", "think", "boxed"] = "think-answer"
) -> float | None:
    """1.0 where the whole completion has the asked form, else 0.0: `think-answer` is <think>..</think> then <answer>..</answer>
    and nothing else, `think` thinking in its tags and then some text, `boxed` exactly one \\boxed{..} that is not empty. A `<think>` that
    the prompt opened (`prefill`) is part of the completion."""
    return float(_FORMATS[pattern].fullmatch(trace.completion) is not None)


def length(
    problem: Problem,
    trace: Trace,
    *,
    each: float = -0.001,
    most: Annotated[float, Field(ge=0)] = 1.0,
) -> float | None:
    """`each` for every sampled token, its size at most `most`; None where the engine did not count them."""
    if trace.num_tokens is None:
        return None
    return math.copysign(min(abs(each) * trace.num_tokens, most), each) if trace.num_tokens and each else 0.0


def repetition(problem: Problem, trace: Trace, *, ngram: Annotated[int, Field(ge=2)] = 8) -> float | None:
    """Minus the share of words that stand in an n-gram said before (text/repetition.py): 0.0 to -1.0."""
    return -repeated_share(trace.completion, ngram=ngram)


def graded(problem: Problem, trace: Trace) -> float | None:
    """The score, 0 to 1, that a graded verifier gave beside its verdict (retrieval, tests of a program); None without one."""
    return trace.verdict.score


def rec_r1(
    problem: Problem, trace: Trace, *, bad_format: float = -2.0, useless: float = 0.0, useful: float = 0.1
) -> float | None:
    """Rec-R1's table: bad_format for an answer in another form than the asked one, cut ones among them, useless for a query that
    finds nothing relevant, and useful + score for one that does; None for an answer that was not judged. For a graded
    verifier such as retrieval. Source: arXiv 2503.24289 and its code."""
    verdict = trace.verdict
    if verdict.outcome in UNANSWERED:
        return bad_format
    if verdict.score is None:
        return None
    return useful + verdict.score if verdict.score > 0 else useless


def score(problem: Problem, trace: Trace, *, by: str) -> float | None:
    """The trace's score of that name, which a scorer wrote; None where it has none."""
    return trace.scores.get(by)


def total_reward(
    rewards: Sequence[tuple[float, Callable[[Problem, Trace], float | None]]], problem: Problem, trace: Trace
) -> float | None:
    """The weighted sum of the rewards; None where one of them is None. A reward of weight 0 is not asked, so that with
    it the sum is what it would be without it, to the last bit.

    OperatorError for a reward that raises, or that returns something other than a finite number or None.
    """
    total = None
    for weight, reward in rewards:
        if weight == 0:
            continue
        name = getattr(getattr(reward, "func", reward), "__name__", "reward").strip("_")
        try:
            value = reward(problem, trace)
        except Exception as error:
            raise OperatorError(
                f"reward {name} raised {type(error).__name__} on trace {trace.id} of problem {problem.id}: {_shown(error, str)}"
            ) from error
        if value is None:
            return None
        if not _is_finite(value):
            raise OperatorError(
                f"reward {name} returned {_shown(value)} for trace {trace.id} of problem {problem.id}; it must return a finite number, "
                "or None if it is unknown."
            )
        total = weight * value if total is None else total + weight * value
    if total is not None and not _is_finite(total):
        raise OperatorError(
            f"the rewards of trace {trace.id} of problem {problem.id} add up to {_shown(total)}, which overflows; "
            f"return smaller rewards, or use smaller weights."
        )
    return total


def _is_finite(value: Any) -> bool:
    """True for a number that a float can hold."""
    try:
        return not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:  # an integer beyond the floats
        return False


def _shown(value: Any, words: Callable[[Any], str] = repr) -> str:
    """The beginning of a value on one line; its type where it cannot be written."""
    try:
        return " ".join(words(value).split())[:200]
    except Exception:  # noqa: BLE001 - a class of the user's own may raise anything; an integer of thousands of digits does
        return f"a {type(value).__name__}"


def rewarded(
    group: Group,
    rewards: Sequence[tuple[float, Callable[[Problem, Trace], float | None]]],
    undecided: Literal["drop", "zero", "wrong"] = "drop",
) -> Group:
    """The group with each trace's total reward as its score `reward`; a trace whose reward nobody can say has none, 0
    where `undecided` is zero, and where it is wrong what it would earn if it had been judged incorrect (if that can be said); one
    that a server refused to write has none in any case. Errors as of `total_reward`."""
    traces = []
    for trace in group.traces:
        reward = None if trace.refused else total_reward(rewards, group.problem, trace)
        if reward is None and undecided == "zero" and not trace.refused:
            reward = 0.0
        if reward is None and undecided == "wrong" and not trace.refused:
            as_wrong = dataclasses.replace(trace.verdict, outcome=Outcome.incorrect)
            reward = total_reward(rewards, group.problem, trace.with_verdict(FINAL, as_wrong))
        scores = trace.scores if reward is None else {**trace.scores, "reward": float(reward)}
        traces.append(dataclasses.replace(trace, scores=scores))
    return dataclasses.replace(group, traces=tuple(traces))


REWARDS: dict[str, Reward] = {
    "accuracy": accuracy,
    "format": format_,
    "length": length,
    "repetition": repetition,
    "graded": graded,
    "rec-r1": rec_r1,
    "score": score,
}
