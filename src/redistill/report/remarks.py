"""What has been judged of parts of a text, and notes about it, behind a line each that opens.

    remarks("chosen", trace.completion, trace.spans, trace.notes)
    ->  [Details("chosen: spans steps (3)", [..., MarkedText(...)]), Details("chosen: note critic", [MarkedText(...)])]

A marked part shows its value on hover: blue above 0, orange below, the stronger the nearer the largest size of its name. Chances of steps
to be right (all between 0 and 1, one below a half) are blue above a half and orange below, and the first step below a half is named.
"""

import math
from collections.abc import Mapping, Sequence

from redistill.report.blocks import Block, Details, MarkedText, Piece, Text
from redistill.report.text import cut, cut_ranges, plural, short
from redistill.text.steps import LOW, first_low_step

Judged = Sequence[tuple[int, int, float]]  # spans: start, end, value

HEAD, TAIL = 1_000, 500  # characters shown of a text; the middle of a longer one is left out and counted
MAX_NAMES = 8  # of spans, and of notes, a text
MAX_MARKED = 200  # spans marked in a text


def remarks(title: str, text: str, spans: Mapping[str, Judged], notes: Mapping[str, str]) -> list[Block]:
    """A folded block for each name of spans and for each note; `title` says whose they are."""
    blocks: list[Block] = []
    for name, judged in list(spans.items())[:MAX_NAMES]:
        whose = f"{title}: spans {short(name, 40)} ({len(judged):,})"
        blocks.append(
            Details(whose, [Text(_summary(judged, len(text)), "quiet"), MarkedText(whose, marked(text, judged))])
        )
    for name, note in list(notes.items())[:MAX_NAMES]:
        whose = f"{title}: note {short(name, 40)}"
        blocks.append(Details(whose, [MarkedText(whose, [(kind, part, "") for kind, part in cut(note, HEAD, TAIL)])]))
    hidden = max(0, len(spans) - MAX_NAMES) + max(0, len(notes) - MAX_NAMES)
    return (
        [*blocks, Text(f"{title}: {hidden:,} more spans or notes by name are not shown.", "quiet")]
        if hidden
        else blocks
    )


def _summary(judged: Judged, length: int) -> str:
    inside = _inside(judged, length)
    values = [value for _, _, value in inside]
    low, high = (min(values), max(values)) if values else (0.0, 0.0)
    said = f"values {low:g} to {high:g}, shown on hover" if low != high else f"value {low:g}" if values else "no value"
    said += f"; the first {MAX_MARKED} of {plural(len(inside), 'span')} are marked" if len(inside) > MAX_MARKED else ""
    low_step = first_low_step(inside)
    if low_step is not None:
        start, end, value = inside[low_step]
        said += f"; first step below {LOW:g}: number {low_step + 1}, characters {start:,} to {end:,}, {value:g}"
    lost = len(judged) - len(inside)
    return f"{said}; {plural(lost, 'span')} outside the text" if lost else said


def _inside(judged: Judged, length: int) -> list[tuple[int, int, float]]:
    """The spans that lie in a text of this length, its end-of-turn character included."""
    return [(start, end, value) for start, end, value in judged if 0 <= start < end <= length + 1]


def marked(text: str, judged: Judged) -> list[Piece]:
    """The text in pieces of (tone, text, values): where spans begin and end, and where its middle is left out.

    Where spans overlap a piece names all their values, and the last one gives the tone. A span on the end-of-turn token
    is a piece after the text.
    """
    spans = _inside(judged, len(text))[:MAX_MARKED]
    values = [value for _, _, value in spans]
    low_step = first_low_step(spans)
    middle = 0.0 if low_step is None else LOW
    largest = max((abs(value - middle) for value in values if math.isfinite(value)), default=0.0)
    first_low = None if low_step is None else spans[low_step]
    edges = sorted({edge for start, end, _ in spans for edge in (start, end)})
    pieces: list[Piece] = []
    for kind, first, last in cut_ranges(0, len(text), HEAD, TAIL):
        if kind == "cut":
            pieces.append((kind, f"{last - first:,} characters left out", ""))
            continue
        inner = [edge for edge in edges if first < edge < last]
        for begin, stop in zip([first, *inner], [*inner, last]):
            pieces.append(_piece(text[begin:stop], begin, spans, largest, middle, first_low))
    end = _piece("end of turn", len(text), spans, largest, middle, first_low)
    return [piece for piece in (*pieces, *([end] if end[2] else [])) if piece[1]]


def _piece(
    text: str, at: int, spans: Judged, largest: float, middle: float, first_low: tuple[int, int, float] | None
) -> Piece:
    """A piece of text that no span begins or ends in; its values are those of the spans that cover character `at`."""
    covering = [span for span in spans if span[0] <= at < span[1]]
    if not covering:
        return "", text, ""
    said = ", then ".join(f"{value:g}" for _, _, value in covering)
    error = f" (the first step below {LOW:g})" if first_low in covering else ""
    return tone(covering[-1][2] - middle, largest), text, said + error


def tone(value: float, largest: float) -> str:
    """`up1` .. `up4` above 0, `down1` .. `down4` below, by the share of the largest size; "" for 0 and what is not a number."""
    if not value or not math.isfinite(value):
        return ""
    return f"{'up' if value > 0 else 'down'}{max(1, math.ceil(4 * (abs(value) / largest)))}"
