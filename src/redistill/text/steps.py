"""A completion -> its steps, as character ranges: the parts that a critic scores and that a label, a reward or a weight stands on.

    steps("2+2=4\\n\\nSo 8.", "blank-line")          ->  [(0, 7), (7, 12)]     "2+2=4\\n\\n" and "So 8."
    steps("Start.\\n1. Add.\\n2. Halve.", "numbered")  ->  [(0, 7), (7, 15), (15, 24)]

The ranges are a partition: they follow each other without a gap, begin at 0 and end at the length of the text. What parts
two steps (a blank line, a marker) belongs to the step before it. A step is never white space alone, unless the text is.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from redistill.errors import OperatorError


def steps(text: str, how: str) -> list[tuple[int, int]]:
    """(start, end) of each step in code points, end excluded; `how` is a name of SPLITTERS. No step for an empty text."""
    if how not in SPLITTERS:
        raise OperatorError(f"steps: {how!r} is not a way to split a text; choose {', '.join(SPLITTERS)}.")
    cuts = sorted({at for at in SPLITTERS[how](text) if 0 < at < len(text)})
    ranges: list[tuple[int, int]] = []
    begun = 0  # where the step to come begins: white space before the first step belongs to it
    for start, end in pairwise([0, *cuts, len(text)]):
        if text[start:end].strip():
            ranges.append((begun, end))
        elif ranges:  # white space after a step belongs to that one
            ranges[-1] = (ranges[-1][0], end)
        else:
            continue
        begun = end
    return ranges or ([(0, len(text))] if text else [])


LOW = 0.5  # a step whose chance to be right is below it is an error, as released process reward models are read


def first_low_step(spans: Sequence[tuple[int, int, float]]) -> int | None:
    """The number of the first step whose value is below LOW, of (start, end, value).

    None where none is, and where the spans are not chances of steps: a value outside 0 to 1, or spans that do not follow each
    other without a gap, as steps do.
    """
    if not all(0 <= value <= 1 for _, _, value in spans) or any(b[0] != a[1] for a, b in pairwise(spans)):
        return None
    return next((place for place, (_, _, value) in enumerate(spans) if value < LOW), None) if len(spans) > 1 else None


# --- ways to split: text -> the positions at which a step begins -------------------------------------------------------

_BLANK_LINE = re.compile(r"\n[^\S\n]*\n\s*")


def blank_line(text: str) -> Iterator[int]:
    """A blank line ends a step, as in ReasonFlux-PRM and R-PRM: `A\\n\\nB` has two."""
    return (match.end() for match in _BLANK_LINE.finditer(text))


def line(text: str) -> Iterator[int]:
    """Every line that holds more than white space is a step."""
    return (match.end() for match in re.finditer(r"\n", text))


_SENTENCE_END = re.compile(r"[.!?][\"'”’)\]*]{0,4}\s+|[。！？][”’」）]{0,4}\s*")
_NO_END = re.compile(
    r"(?:\b(?:e\.g|i\.e|cf|vs|eq|eqs|fig|figs|no|nos|mr|mrs|ms|dr|st|etc|approx|resp|thm|lem|def|sec|ch|pp?|vol|ex)|(?:^|\n)\s{0,8}\(?\w{1,2})\.\s+$",
    re.IGNORECASE,
)
_LOOK_BACK = 24  # characters that an abbreviation or an item number with its white space may fill


def sentence(text: str) -> Iterator[int]:
    """A full stop, question or exclamation mark with white space behind it ends a step, and so does a blank line; not in 3.5,
    nor after an abbreviation (e.g., Fig.) or the number of an item (1.)."""
    yield from blank_line(text)
    for match in _SENTENCE_END.finditer(text):
        before = text[max(0, match.start() - _LOOK_BACK) : match.start()]
        before = before if match.start() > _LOOK_BACK else f"\n{before}"
        if match.group().startswith(".") and _NO_END.search(f"{before}. "):
            continue
        yield match.end()


_NUMBER = re.compile(
    r"(?m)^[^\S\n]{0,16}(?:[#>*_-]{1,6}[^\S\n]{0,4}){0,3}(?:(?:step|stage|part)[^\S\n]{1,4}\d{1,4}\b|\(?\d{1,4}[.):](?=\s|\*|$))",
    re.IGNORECASE,
)


def numbered(text: str) -> Iterator[int]:
    """A line that begins with a number (`3.`, `3)`, `(3)`, `Step 3`, `**Step 3:**`, `### 3.`) begins a step."""
    return (match.start() for match in _NUMBER.finditer(text))


def semicolon(text: str) -> Iterator[int]:
    """A semicolon ends a step, as in the lines of the toy teacher: `2-9=3;3*1=3;####3` has three."""
    return (match.end() for match in re.finditer(r";\s*", text))


_OPENING = re.compile(r"<(?:step|paragraph)(?:[_ -]?\d{1,4})?>", re.IGNORECASE)
_CLOSING = re.compile(r"(?:</(?:step|paragraph)(?:[_ -]?\d{1,4})?>|<extra_0>|ки)\s*", re.IGNORECASE)


def tag(text: str) -> Iterator[int]:
    """`<step>`, `<step_3>` or `<paragraph_3>` begins a step, its closing tag ends it; so do the markers of released process
    reward models, `<extra_0>` (Qwen2.5-Math-PRM) and `ки` (Math-Shepherd)."""
    yield from (match.start() for match in _OPENING.finditer(text))
    yield from (match.end() for match in _CLOSING.finditer(text))


SPLITTERS: dict[str, Callable[[str], Iterator[int]]] = {
    "blank-line": blank_line,
    "line": line,
    "sentence": sentence,
    "numbered": numbered,
    "tag": tag,
    "semicolon": semicolon,
}
