"""Pairing: one Group -> its (chosen, rejected) traces, or the reason why it has none.

    certain(group)   ->  [(right trace, wrong trace)]   or   "only_undecided_wrong"

A pairing sees the whole problem at once and decides by verdicts alone; lengths are judged later (lengths.py). The
reasons are stable words that become rows of the report's funnel.
"""

from collections.abc import Callable, Sequence

from redistill.errors import OperatorError
from redistill.records import Group, Outcome, Trace

Pairs = list[tuple[Trace, Trace]]  # (chosen, rejected), never empty


def certain(group: Group, *, max_pairs: int = 1) -> Pairs | str:
    """Right traces against traces that are wrong for sure: the default.

    Chosen: joined verdict `correct`. Rejected: joined verdict `incorrect` on a trace that was not cut off by its
    length limit: a cut trace might still have come right, and pushing it down teaches against text that is not wrong.
    Both sides in source order, the shorter one cycled: pair i is (right[i mod R], wrong[i mod W]), up to `max_pairs`
    and no more than the longer side has traces, so no pair comes twice.
    Reasons: `ungradable`, `no_correct_trace`, `no_incorrect_trace` (all are right), `only_truncated_wrong` and
    `only_undecided_wrong` (there are others, none wrong for sure). OperatorError when max_pairs < 1.
    """
    if max_pairs < 1:
        raise OperatorError(f"select.pairing.max_pairs must be 1 or more (here: {max_pairs}).")
    right = [t for t in group.traces if t.verdict.outcome is Outcome.correct]
    wrong = [t for t in group.traces if t.verdict.outcome is Outcome.incorrect and not _is_cut(t)]
    if not right:
        return _why_none_right(group)
    if not wrong:
        others = [t for t in group.traces if t.verdict.outcome is not Outcome.correct]
        if not others:
            return "no_incorrect_trace"
        return "only_truncated_wrong" if all(map(_is_cut, others)) else "only_undecided_wrong"
    return _cycle(right, wrong, max_pairs)


def redi_paper(group: Group, *, labels: tuple[str, ...] = ("llama_verification", "math_verify")) -> Pairs | str:
    """The published rule: the first trace that all `labels` call correct against the first that they do not.

    Kept to reproduce the paper, poison included: a missing label, a timeout and an unreadable answer all count as
    wrong, so right traces are pushed down. It reads the verdicts named in `labels`, not the joined one.
    Reasons: `no_correct_trace`, `no_incorrect_trace`. OperatorError when `labels` is empty.
    Source: Xu et al. 2025, arXiv 2505.24850, the preference data; the labels are those of OpenR1-Math-Raw.
    """
    if not labels:
        raise OperatorError("select.pairing.labels is empty: name the verdicts that must all say correct.")
    right = [t for t in group.traces if _all_say_correct(t, labels)]
    wrong = [t for t in group.traces if not _all_say_correct(t, labels)]
    if not right:
        return "no_correct_trace"
    return [(right[0], wrong[0])] if wrong else "no_incorrect_trace"


def _is_cut(trace: Trace) -> bool:
    return trace.finish_reason == "length" or trace.verdict.outcome is Outcome.truncated


def _why_none_right(group: Group) -> str:
    ungradable = [t.verdict.outcome is Outcome.ungradable for t in group.traces]
    return "ungradable" if ungradable and all(ungradable) else "no_correct_trace"


def _cycle(right: Sequence[Trace], wrong: Sequence[Trace], max_pairs: int) -> Pairs:
    count = min(max_pairs, max(len(right), len(wrong)))
    return [(right[i % len(right)], wrong[i % len(wrong)]) for i in range(count)]


def _all_say_correct(trace: Trace, labels: Sequence[str]) -> bool:
    return all(name in trace.verdicts and trace.verdicts[name].outcome is Outcome.correct for name in labels)


PAIRINGS: dict[str, Callable[..., Pairs | str]] = {
    "certain": certain,
    "redi-paper": redi_paper,
}
