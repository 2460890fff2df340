"""`reasoning-gym`: an answer by the scorer of the task that made the problem, for tasks whose gold answer is one of several.

    metadata {"source_dataset": "word_ladder", "start_word": "COLD", "end_word": "WARM"}, gold "COLD,CORD,CARD,WARD,WARM"
    answer COLD,CORD,WORD,WARD,WARM    ->  correct: another ladder, as good
    answer COLD,WARM                   ->  incorrect: the scorer gives 0, and reads what is written like the gold answer
    the same without start_word        ->  ungradable, "metadata_missing:start_word"

The name of the task is `source_dataset` of the problem's metadata (what the package writes), or `task`; the values that the
scorer reads lie beside it. No scorer is trusted blindly: it must give its own gold answer full marks and nonsense none, and
a low score is `incorrect` only for an answer in the notation of the gold answer, for scorers give 0 to what they cannot
read. Several scorers evaluate the answer as Python; theirs see only text that cannot do anything (see harmless). The package
is the extra `reasoning-gym`.
"""

import ast
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

from redistill.config import extras
from redistill.records import Outcome, Problem, Trace, Verdict
from redistill.verify.answers import Anchor, find_answer
from redistill.verify.cascade import judge_answer
from redistill.verify.judging import MAX_COMPARED, MAX_EXTRACTED, Reading, different
from redistill.verify.reading import clean, read_number
from redistill.verify.several import entry_metadata, task_of

PACKAGE = "reasoning_gym"
NONSENSE = "there is no such answer"

# Scorers that do not tell right from wrong, with what is wrong about them (version 0.1.25).
UNUSABLE = {
    "game_of_life_halting": "compares whether both texts are empty",
    "puzzle24": "does not look at which numbers were given",
    "boxnet": "raises on its own examples",
    "composite": "is a mixture of other tasks; name the task itself",
}
# Scorers that hand the answer, or the entry's text, to eval() or to sympy's parser, which evaluates Python too.
PARSING = frozenset(
    ("simple_integration", "intermediate_integration", "polynomial_multiplication", "countdown", "puzzle24")
)
EVALUATING = frozenset(
    ("string_insertion", "spiral_matrix", "binary_matrix", "n_queens", "number_sorting", "bitwise_arithmetic")
)
_FUNCTIONS = frozenset(
    [
        "sqrt",
        "exp",
        "log",
        "ln",
        "sin",
        "cos",
        "tan",
        "sec",
        "csc",
        "cot",
        "asin",
        "acos",
        "atan",
        "sinh",
        "cosh",
        "tanh",
        "pi",
        "E",
        "C",
        "Abs",
        "abs",
    ]
)


def reasoning_gym(
    problem: Problem,
    trace: Trace,
    *,
    anchors: Sequence[Anchor] | None = None,
    right_at: float = 1.0,
    wrong_at: float = 0.1,
) -> Verdict:
    """The task's own score of the answer: `correct` from right_at on, `incorrect` up to wrong_at, undecided between.

    anchors: where an answer is looked for and in which order (see answers.ANCHORS). Reasons beside the shared ones:
    `no_task` (the metadata names none), `task_unknown`, `scorer_unusable`, `metadata_missing:KEY`, `unsafe_answer`,
    `scorer_rejects_gold`, `partial_score`, `perhaps_unread`, `equal_to_gold` (a low score for what equals the gold answer),
    `different_number` (full marks for a number that differs).
    """
    verdict = partial(Verdict, verifier="reasoning-gym", verifier_version=f"reasoning-gym {_version()}")
    answer = find_answer(trace.completion, anchors)
    if answer.answer is None:
        cut = answer.cut or trace.finish_reason == "length"
        return verdict(Outcome.truncated if cut else Outcome.no_answer, None, answer.reason)
    kept, metadata, task = answer.answer[:MAX_EXTRACTED], entry_metadata(problem.metadata), task_of(problem)
    if task is None:
        return verdict(Outcome.ungradable, kept, "no_task")
    if task in UNUSABLE:
        return verdict(Outcome.ungradable, kept, "scorer_unusable")
    if (scorer := _scorer(task)) is None:
        return verdict(Outcome.ungradable, kept, "task_unknown")
    if len(answer.answer) > MAX_COMPARED or not _is_safe(task, answer.answer, problem.answer, metadata):
        return verdict(Outcome.ungradable, kept, "unsafe_answer")
    watched = _Watched(metadata)
    entry = {"question": problem.statement, "answer": problem.answer, "metadata": watched}
    score = max(_score(scorer, text, entry) for text in dict.fromkeys((answer.answer, clean(answer.answer))))
    accepts = [_score(scorer, text, entry) >= right_at for text in (problem.answer or NONSENSE, NONSENSE)]
    if watched.missing:
        return verdict(Outcome.ungradable, kept, f"metadata_missing:{sorted(watched.missing)[0]}")
    if accepts != [problem.answer is not None, False]:
        return verdict(Outcome.ungradable, kept, "scorer_rejects_gold" if not accepts[0] else "scorer_unusable")
    outcome, reason = _outcome(score, answer.answer, problem.answer, right_at, wrong_at)
    if answer.others and outcome is not Outcome.ungradable:
        others = {_score(scorer, text, entry) >= right_at for text in answer.others if _is_safe(task, text, None, {})}
        if others - {outcome is Outcome.correct}:
            outcome, reason = Outcome.disagree, "answers_contradict"
    return verdict(outcome, kept, reason, score=min(1.0, max(0.0, score)))


def _outcome(score: float, answer: str, gold: str | None, right_at: float, wrong_at: float) -> tuple[Outcome, str]:
    if score >= right_at - 1e-9:
        numbers = gold is not None and bool(read_number(clean(gold)) and read_number(clean(answer)))
        if numbers and judge_answer(str(gold), answer).outcome is Outcome.incorrect:
            return Outcome.disagree, "different_number"  # some scorers allow 1e-5 of difference, which is all of 1e-10
        return Outcome.correct, "full_score"
    if score > wrong_at:
        return Outcome.disagree, "partial_score"
    if gold is None or not _written_alike(answer, gold):
        return Outcome.ungradable, "perhaps_unread"
    if judge_answer(gold, answer).outcome is Outcome.correct:
        return Outcome.disagree, "equal_to_gold"
    # written like the gold answer and scored low by the task's own scorer: both sides were read to their end
    return different(Reading("scored", complete=True), Reading("scored", complete=True), "low_score")


def check_installed() -> None:
    """OperatorError where the package is not there."""
    extras.check_installed(PACKAGE, "the verifier reasoning-gym")


@lru_cache(maxsize=1)
def _version() -> str:
    check_installed()
    from importlib.metadata import version

    return version("reasoning-gym")


@lru_cache(maxsize=256)
def _scorer(task: str) -> Any:
    """The task's data set, which holds its scorer; None for a name that the package does not know."""
    from reasoning_gym.factory import DATASETS, create_dataset

    return create_dataset(task, size=1, seed=0) if task in DATASETS else None


def _score(scorer: Any, answer: str, entry: dict[str, Any]) -> float:
    """The score; 0 where the scorer breaks off, as the package's own trainers count it."""
    try:
        return float(scorer.score_answer(answer, entry))
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - a scorer is a program of others and may raise anything on a text that it cannot read
        return 0.0


class _Watched(dict[str, Any]):
    """Metadata that notes which of its keys a scorer wanted and did not get; scorers pass over a KeyError in silence."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.missing: set[str] = set()

    def __missing__(self, key: str) -> Any:
        self.missing.add(key)
        raise KeyError(key)

    def get(self, key: str, default: Any = None) -> Any:
        if key not in self:
            self.missing.add(key)
        return super().get(key, default)


# --- what may be given to a scorer --------------------------------------------------------------------------------


def harmless(text: str, *, parsed: bool) -> bool:
    """Whether text can be evaluated as Python without doing anything: no calls, attributes or names with two underscores.

    parsed: for sympy's parser, which needs calls: only those of mathematical functions, and no strings. A tower of powers
    is left to the worker's limits.
    """
    if re.search(r"__|[;\\@`{}!]|\blambda\b|\bimport\b|\.\s*[A-Za-z_]", text):
        return False
    if parsed:
        words = re.findall(r"[A-Za-z_][A-Za-z_0-9]*", text)
        return not re.search(r"['\"\[\]:=\n]", text) and all(len(word) == 1 or word in _FUNCTIONS for word in words)
    if "(" not in text:
        return True
    try:
        ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return bool(re.fullmatch(r"[\d\s()+\-*/.,x<>&|^~%a-fA-F]*", text)) and not re.search(
            r"[a-wyzA-Z]{2,}\s*\(", text
        )
    return True


def _is_safe(task: str, answer: str, gold: str | None, metadata: Mapping[str, Any]) -> bool:
    if task not in PARSING and task not in EVALUATING:
        return True
    texts = [
        answer,
        clean(answer),
        gold or "",
        *(str(metadata[key]) for key in ("integrand", "problem") if key in metadata),
    ]
    return all(harmless(text, parsed=task in PARSING) for text in texts)


def _written_alike(answer: str, gold: str) -> bool:
    """Whether an answer holds no sign that neither the gold answer nor plain numbers hold, so that a scorer reads it."""
    return set(re.sub(r"[A-Za-z0-9\s]", "", answer)) <= set(gold) | set("+-*/.,()")
