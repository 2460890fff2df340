"""Texts coloured by what training did to their tokens: the change of each token's log-prob, from a file that a command with
a model has left (train/token_changes.py).

    coloured([("shared", 0, 4), ("", 4, 9)], "2+2=5;#5", changes)  ->  [("shared", "2+2="), ("down3", "5"), ...]

Blue rises, orange falls and is underlined too, in four strengths on fixed borders, so that two pages can be compared.
"""

import itertools
from bisect import bisect
from collections.abc import Sequence

from redistill.report.shapes import TokenChange
from redistill.report.text import Ranges, Spans, short

BORDERS = (0.05, 0.25, 1.0, 3.0)  # nats; less than the first is not a change
WORDS = ("0.05 to 0.25", "0.25 to 1", "1 to 3", "over 3")
NUM_NAMED = 4  # tokens named under a text: those that fell and rose most


def tone(change: float) -> str:
    """'' for no change to speak of, else `up1` .. `up4` or `down1` .. `down4`."""
    level = bisect(BORDERS, abs(change))
    return f"{'up' if change > 0 else 'down'}{level}" if level else ""


def coloured(ranges: Ranges, text: str, changes: Sequence[TokenChange]) -> Spans:
    """The spans of a text with a second word for the tone of each token; neighbours of one tone are one span.

    Several tokens on one character (an accent or emoji in bytes) are shown as their sum. What no token covers has no tone.
    """
    sums: dict[tuple[int, int], float] = {}
    for start, end, before, after in changes:
        sums[start, end] = sums.get((start, end), 0.0) + after - before
    starts = sorted(sums)
    spans: Spans = []
    for kind, first, last in ranges:
        if kind == "cut":
            spans.append((kind, f"{last - first:,} characters left out"))
            continue
        pieces: list[tuple[str, str]] = []
        at = first
        for start, end in starts[max(0, bisect(starts, (first, -1)) - 1) :]:  # the one before may reach in
            if start >= last:
                break
            if start > at:
                pieces.append(("", text[at:start]))
            begin, stop = max(at, start), min(end, last)
            if stop > begin:
                pieces.append((tone(sums[start, end]), text[begin:stop]))
                at = stop
        if at < last:
            pieces.append(("", text[at:last]))
        for of_tone, some in itertools.groupby(pieces, key=lambda piece: piece[0]):
            spans.append((" ".join(word for word in (kind, of_tone) if word), "".join(part for _, part in some)))
    return spans


def named(text: str, changes: Sequence[TokenChange]) -> list[str]:
    """Sentences for those who do not see colours: the whole change, and the tokens that moved most."""
    if not changes:
        return []
    moved = [(after - before, text[int(start) : int(end)]) for start, end, before, after in changes]
    mean = sum(change for change, _ in moved) / len(moved)
    lines = [f"log-prob per token {_signed(mean)} nats, over {len(moved):,} tokens"]
    for word, ranked in (("fell", sorted(moved)), ("rose", sorted(moved, reverse=True))):
        most = [
            f"“{short(token, 16) or 'blank'}” {_signed(change)}" if token else f"the end {_signed(change)}"
            for change, token in ranked[:NUM_NAMED]
            if abs(change) >= BORDERS[0] and (change > 0) == (word == "rose")
        ]
        lines += [f"{word} most: {', '.join(most)}"] if most else []
    return lines


def _signed(change: float) -> str:
    return f"{change:+.2f}".replace("-", "−")
