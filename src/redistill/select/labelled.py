"""Rows for critics: right and wrong traces, each with what is to be said of it.

    select: {labelled: {per_problem: one-each}}       the verdict, 1 right or 0 wrong, on each end-of-turn token
    select: {labelled: {spans: truth}}                the spans `truth` of each trace, and the verdict at its end

An undecided verdict is not a label: such a trace is left out with its outcome as the reason, unless its spans say enough.
"""

from collections.abc import Callable, Iterator, Sequence

from redistill.config.tables import LabelledSettings
from redistill.records import DECIDED, Example, Group, Outcome, Span, Trace, content_id

Judge = Callable[..., str | None]


def labelled_reasons(
    group: Group, settings: LabelledSettings, keep_truncated: bool, judge: Judge, seed: int
) -> dict[str, str | None]:
    """Why each trace of a problem is not a row for a critic, None where it is one. judge: the filters' reason for a completion."""
    reasons = {trace.id: _reason(trace, settings, keep_truncated) or judge(completion=trace) for trace in group.traces}
    if settings.per_problem == "all":
        return reasons
    here = [trace for trace in group.traces if reasons[trace.id] is None]
    sides = [[t for t in here if t.verdict.outcome is outcome] for outcome in (Outcome.correct, Outcome.incorrect)]
    taken = [min(side, key=lambda t: content_id("", str(seed), "labelled", t.id)).id for side in sides if side]
    for trace in here:
        if len(taken) < len(sides):
            reasons[trace.id] = "one_sided"
        elif trace.id not in taken:
            reasons[trace.id] = "not_the_one_drawn"
    return reasons


def _reason(trace: Trace, settings: LabelledSettings, keep_truncated: bool) -> str | None:
    outcome = trace.verdict.outcome
    if settings.names and not any(trace.spans.get(name) for name in settings.names):
        return "no_spans"
    if outcome not in DECIDED and (not settings.names or settings.per_problem == "one-each"):
        return f"undecided:{outcome}"
    if trace.finish_reason == "length" and not keep_truncated:
        return "truncated"
    return None


def labelled_rows(
    group: Group, prompt: str, settings: LabelledSettings, reasons: dict[str, str | None]
) -> Iterator[Example]:
    """A row for each trace without a reason against it; its spans are the critic's targets."""
    for trace in group.traces:
        if reasons[trace.id] is None:
            yield Example(group.problem.id, trace.id, prompt, trace.completion, spans=targets(trace, settings.names))


def targets(trace: Trace, names: Sequence[str]) -> tuple[Span, ...]:
    """The trace's spans of these names and, behind the text where they say nothing of it, the verdict: 1 right, 0 wrong."""
    spans = [span for name in names for span in trace.spans.get(name, ())]
    end = len(trace.completion)
    if any(span.end > end for span in spans) or trace.verdict.outcome not in DECIDED:
        return (*spans,)
    return (*spans, Span(end, end + 1, float(trace.verdict.outcome is Outcome.correct)))
