"""What every verifier shares: find gold and answer, compare them, write the Verdict.

A comparison is a function (gold, answer) -> Finding, for example `(Outcome.correct, "equal_number")`. What it cannot
decide is `ungradable` (nothing here can read it) or `disagree` (two readings say different things). `incorrect` is made
by `different` alone, which asks for both sides as Readings and refuses where one of them was not read to its end.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

from redistill.records import Outcome, Problem, Trace, Verdict
from redistill.verify.answers import Anchor, find_answer, stated, weigh
from redistill.verify.policy import labels_of
from redistill.verify.several import is_one_of_several
from redistill.verify.task_form import form_missed, rounded_as_asked

Finding = tuple[Outcome, str]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a side was read as, and whether every sign of it was given one meaning. A side that nobody can read, or of
    which a part was skipped or may mean something else, is not complete: it can be seen to be right, never to be wrong."""

    kind: str
    complete: bool


UNREAD = Reading("unread", complete=False)
NUMBER = Reading("number", complete=True)


def different(gold: Reading, answer: Reading, reason: str) -> Finding:
    """The one place that makes `incorrect`: two sides, both read completely, that certainly differ."""
    if gold.complete and answer.complete:
        return Outcome.incorrect, reason
    return Outcome.disagree, "not_read_completely"


RULES_VERSION = "redistill-rules 13"  # raise the number when a rule of reading or comparing changes
MAX_EXTRACTED = 2_000  # characters of the answer kept in a verdict
WALL_PER_CPU = 10.0  # of a time limit: a machine with ten times as many busy processes as cores is still waited for
MAX_COMPARED = 4_000  # of either side: the time of rules and parsers grows faster than the length


@lru_cache(maxsize=64)
def conventions(percent: str, units: bool, **others: bool) -> str:
    """The conventions that a verdict was given under, for its version: `percent either, units true, ignore_case true`."""
    named = {"percent": percent, "units": units, **others}
    return ", ".join(f"{name} {str(value).lower()}" for name, value in named.items())


@lru_cache(maxsize=256)
def gold_answer(text: str | None) -> str | None:
    """The gold answer in what a source calls its answer: a box, a `####` line or `the answer is` where it holds one,
    else all of it."""
    if text is None or not text.strip():
        return None
    return stated(text, "boxed", "hashes", "sentence") or text.strip()


def judge(
    problem: Problem,
    trace: Trace,
    compare: Callable[[str, str], Finding],
    *,
    verifier: str,
    verifier_version: str,
    anchors: Sequence[Anchor] | None = None,
) -> Verdict:
    """The verdict of one comparison on one trace. Gold missing: ungradable. No answer: truncated where the
    completion was cut off by its length or ends inside its thinking, else no_answer. `seconds` is filled in by the pool."""

    def verdict(outcome: Outcome, reason: str, extracted: str | None = None) -> Verdict:
        kept = extracted if extracted is None else extracted[:MAX_EXTRACTED]
        return Verdict(outcome, kept, reason, verifier, verifier_version)

    gold = gold_answer(problem.answer)
    answer = find_answer(trace.completion, anchors)
    if gold is None:
        return verdict(Outcome.ungradable, "no_gold", answer.answer)
    if answer.answer is None:
        cut = answer.cut or trace.finish_reason == "length"
        return verdict(Outcome.truncated if cut else Outcome.no_answer, answer.reason)
    outcome, reason = weigh(answer, partial(compare_bounded, compare, gold))
    if outcome is Outcome.correct and (missed := form_missed(problem.statement, gold, answer.answer)):
        outcome, reason = Outcome.disagree, missed
    if reason == "only_rounded" and rounded_as_asked(problem.statement, gold, answer.answer):
        outcome, reason = Outcome.correct, "equal_rounded"
    if outcome is Outcome.incorrect and is_one_of_several(problem) and not _labelled_wrong(trace):
        outcome, reason = Outcome.disagree, "one_of_several"
    return verdict(outcome, reason, answer.answer)


def _labelled_wrong(trace: Trace) -> bool:
    """Whether the data itself calls the trace wrong, and nowhere right: its maker may have had more than one gold answer."""
    labels = set(labels_of(trace).values())
    return Outcome.incorrect in labels and Outcome.correct not in labels


def compare_bounded(compare: Callable[[str, str], Finding], gold: str, answer: str) -> Finding:
    """`compare`, or for texts beyond MAX_COMPARED whether they are the same letter for letter."""
    if max(len(gold), len(answer)) <= MAX_COMPARED:
        return compare(gold, answer)
    same = gold.split() == answer.split()
    return (Outcome.correct, "equal_string") if same else (Outcome.ungradable, "answer_too_long")
