"""Token weights of rows from spans of their traces: what a scorer or a source says of parts of a text, for the modifier `span-weights`.

    select: {turns: last, weights: {right: outcome_plus, wrong: outcome_minus}}

A trace without the spans that are asked for makes no row: to count all its tokens alike would be a weight that nobody gave.
"""

from redistill.config.tables import TokenWeightSettings
from redistill.records import Span, Trace


def example_weights(trace: Trace, settings: TokenWeightSettings | None) -> tuple[Span, ...] | None:
    """The spans of an example's trace, () where none are asked for, None where it has none."""
    return _spans(trace, None if settings is None else settings.right)


def pair_weights(
    chosen: Trace, rejected: Trace, settings: TokenWeightSettings | None
) -> tuple[tuple[Span, ...], tuple[Span, ...]] | None:
    """(spans of the chosen side, of the rejected side), each () where none are asked for; None where a side has none."""
    right, wrong = example_weights(chosen, settings), _spans(rejected, None if settings is None else settings.wrong)
    return None if right is None or wrong is None else (right, wrong)


def _spans(trace: Trace, name: str | None) -> tuple[Span, ...] | None:
    if name is None:
        return ()
    return tuple(trace.spans.get(name, ())) or None
