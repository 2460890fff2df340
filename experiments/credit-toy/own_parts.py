"""The teacher's own knowledge of where it slips, as weights of both sides of a pair."""

from collections.abc import Sequence
from dataclasses import replace

from redistill.records import Group, Span, Trace


def slips(groups: Sequence[Group]) -> list[Group]:
    """Each trace with the spans `sound` (1 on lines that follow, 0 on slips) and `slips` (the other way round). The answer only says
    what the last line found, so its spans, the end of the turn included, are 1 and 0."""
    return [replace(group, traces=tuple(_with_slips(trace) for trace in group.traces)) for group in groups]


def _with_slips(trace: Trace) -> Trace:
    lines = list(trace.spans["truth"])
    lines.append(Span(lines[-1].end, len(trace.completion) + 1, 1.0))
    wrong = tuple(Span(line.start, line.end, 1.0 - line.value) for line in lines)
    return replace(trace, spans={**trace.spans, "sound": tuple(lines), "slips": wrong})
