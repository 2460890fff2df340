"""Each attempt of a self-correction answer judged by itself: spans that say which attempts are right and what was said of them.

    with_segments(pool, groups, "cascade", CUES["s2r"])    ->    traces with the spans `solve` and `verification`

An attempt is judged as an answer of its own: its text without the cue that opens it. An answer that the grammar refuses gets no
spans, and the note `segments_unread` with the reason.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any

from redistill.records import Group, Outcome, Trace, make_trace
from redistill.text.segments import Cues, Segment, as_spans, body_of, segments
from redistill.verify.stage import judged

UNREAD = "segments_unread"  # the note with the reason of an answer that the grammar refuses


def with_segments(pool: Any, groups: Iterable[Group], policy: str, cues: Cues, *, cut_too: bool = False) -> list[Group]:
    """The groups with their attempts judged; pool and policy as those of the answers themselves. Equal attempts of a problem are
    judged once. cut_too: answers that their limit cut may end anywhere; else the grammar refuses most of them."""
    held = list(groups)
    parsed = [
        [segments(t.completion, cues=cues, cut=cut_too and t.finish_reason == "length") for t in group.traces]
        for group in held
    ]
    asked = []
    for group, marks in zip(held, parsed, strict=True):
        attempts = dict[str, Trace]()
        for trace, parts in zip(group.traces, marks, strict=True):
            for text in attempts_of(trace, parts, cues):
                attempt = make_trace(group.problem.id, text, author=trace.author, finish_reason="stop")
                attempts[attempt.id] = attempt
        asked.append(Group(group.problem, tuple(attempts.values())))
    answered = iter(list(judged(pool, asked, policy)))
    after = []
    for group, marks in zip(held, parsed, strict=True):
        outcomes = {trace.completion: trace.verdict.outcome for trace in next(answered).traces}
        traces = [_with_spans(t, parts, outcomes, cues) for t, parts in zip(group.traces, marks, strict=True)]
        after.append(dataclasses.replace(group, traces=tuple(traces)))
    return after


def attempts_of(trace: Trace, parts: list[Segment] | str, cues: Cues) -> list[str]:
    """The texts of an answer's attempts; none where the grammar refuses it."""
    return [] if isinstance(parts, str) else [body_of(trace.completion, p, cues) for p in parts if p.kind == "solve"]


_RIGHT = {Outcome.correct: True, Outcome.incorrect: False, Outcome.no_answer: False}


def _with_spans(trace: Trace, parts: list[Segment] | str, outcomes: dict[str, Outcome], cues: Cues) -> Trace:
    if isinstance(parts, str):
        return dataclasses.replace(trace, notes={**trace.notes, UNREAD: parts})
    right = [_RIGHT.get(outcomes[text]) for text in attempts_of(trace, parts, cues)]
    return dataclasses.replace(trace, spans={**trace.spans, **as_spans(parts, right)})
