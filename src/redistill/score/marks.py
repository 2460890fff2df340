"""What a scorer writes on a trace: scores, spans and notes, or the reason why it has none.

    scored(trace, scores={"perplexity": 3.2})       the trace with one more score
    unscored(trace, "perplexity", "too_long")       the trace with the note perplexity_unscored: too_long, and no score

A trace that could not be scored has no score: never 0, which would rank it. The reason is a short stable word that the
stage counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from redistill.records import Span, Trace

UNSCORED = "_unscored"  # of the note that holds a reason
# of the entry in a problem's metadata that says what a scorer drew for it: {"samples": 28, "tokens": 512}
COST = "_cost"


def scored(
    trace: Trace,
    *,
    scores: Mapping[str, float] | None = None,
    spans: Mapping[str, Sequence[Span]] | None = None,
    notes: Mapping[str, str] | None = None,
) -> Trace:
    """The trace with these scores, spans and notes beside its own; those of an equal name take their place."""
    return replace(
        trace,
        scores={**trace.scores, **(scores or {})},
        spans={**trace.spans, **{name: tuple(found) for name, found in (spans or {}).items()}},
        notes={**trace.notes, **(notes or {})},
    )


def unscored(trace: Trace, name: str, reason: str) -> Trace:
    """The trace with the reason why scorer `name` gave it no score."""
    return replace(trace, notes={**trace.notes, f"{name}{UNSCORED}": reason})


def reason_of(trace: Trace, name: str) -> str | None:
    """Why scorer `name` gave the trace no score; None where it says nothing of that kind."""
    return trace.notes.get(f"{name}{UNSCORED}")


def reasons_of(trace: Trace) -> dict[str, str]:
    """The scorers that gave the trace no score, each with its reason."""
    return {name.removesuffix(UNSCORED): text for name, text in trace.notes.items() if name.endswith(UNSCORED)}
