"""What a section is made of: plain values, escaped and set in one place (page.html).

    [Text("Two models were scored."), Table("Scores", ("model", "pass@1"), [("sft", "47.1")])]

A section holds no HTML, so it can be tested as data and cannot forget to escape. The one exception is a chart's SVG,
which charts.py makes and marks as safe. `kind` names the macro of page.html that sets the block. A `series` is the
colour number of a model, a `tone` one of the page's words for colour (`right`, `wrong`, `other`, `dropped`).
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from markupsafe import Markup


@dataclass(frozen=True, slots=True)
class Text:
    """One paragraph; `tone` may be `lead` (large), `quiet` (small print) or `missing` (a stage that has not run)."""

    kind: ClassVar[str] = "text"
    text: str
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Sentences:
    """A list of sentences."""

    kind: ClassVar[str] = "sentences"
    items: Sequence[str]


@dataclass(frozen=True, slots=True)
class Tag:
    """A table cell or legend entry with a swatch: a model's series number, or a tone."""

    text: str
    series: int | str


@dataclass(frozen=True, slots=True)
class Link:
    """A table cell that leads to a file beside the page."""

    text: str
    href: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table; the first column holds row headers, the others stand right-aligned unless their index is in `left`."""

    kind: ClassVar[str] = "table"
    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str | Tag | Link | None]]
    left: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class KeyNumber:
    """A large number with its label above and a small line below."""

    label: str
    number: str
    below: str
    series: int
    rows: str = ""  # the anchor of what says how to see the rows behind it


@dataclass(frozen=True, slots=True)
class KeyNumbers:
    """A strip of large numbers."""

    kind: ClassVar[str] = "numbers"
    items: Sequence[KeyNumber]


@dataclass(frozen=True, slots=True)
class Key:
    """A legend by itself, for colours inside texts."""

    kind: ClassVar[str] = "key"
    items: Sequence[Tag]


@dataclass(frozen=True, slots=True)
class Figure:
    """Small multiples: (title, SVG) panels under one legend, with one caption; `single` sets a lone panel wider."""

    kind: ClassVar[str] = "figure"
    panels: Sequence[tuple[str, Markup]]
    caption: str
    legend: Sequence[Tag] = ()
    single: bool = False


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: segments (tone, label, count), its length in percent of the picture's width. `words` stands in
    place of the total."""

    label: str
    unit: str
    total: int
    percent: float
    segments: Sequence[tuple[str, str, int]]
    words: str = ""


@dataclass(frozen=True, slots=True)
class Bars:
    """Horizontal bars on one common scale; with one legend for all, they are set closely and carry none of their own."""

    kind: ClassVar[str] = "bars"
    items: Sequence[Bar]
    caption: str
    legend: Sequence[Tag] = ()


@dataclass(frozen=True, slots=True)
class Passage:
    """A text of the corpus or the student: `spans` are (kind, text), kind '' or
    words of `shared`, `mark` (first difference), `cut`, and a tone of tokens.py. pictures: SVG of thumbnails.py."""

    title: str
    tone: str
    facts: Sequence[str]
    spans: Sequence[tuple[str, str]]
    pictures: Sequence[Markup] = ()


@dataclass(frozen=True, slots=True)
class Passages:
    """Passages side by side on a wide screen, one below another on a narrow one."""

    kind: ClassVar[str] = "passages"
    items: Sequence[Passage]


Piece = tuple[str, str, str]  # of a text: tone, words, and what is said of them on hover


@dataclass(frozen=True, slots=True)
class MarkedText:
    """A text of the corpus or the student in pieces; one with something to say is marked and says it on hover. Tones are
    '', `cut`, and those of tokens.py."""

    kind: ClassVar[str] = "marked"
    title: str
    pieces: Sequence[Piece]


@dataclass(frozen=True, slots=True)
class Code:
    """Text as it stands in a file."""

    kind: ClassVar[str] = "code"
    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Details:
    """Blocks behind a summary line, opened by mouse or keyboard."""

    kind: ClassVar[str] = "details"
    summary: str
    blocks: "Sequence[Block]"
    is_open: bool = False
    anchor: str = ""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One thing to look at in a browser: `label` is said by a screen reader, `face` stands on its button. `bars` are
    (tone, percent of the widest) drawn under the face."""

    label: str
    face: str
    blocks: "Sequence[Block]"
    tone: str = ""
    bars: Sequence[tuple[str, float]] = ()


@dataclass(frozen=True, slots=True)
class Browser:
    """Things to leaf through, one at a time: a strip of buttons, arrow keys move along it, and no script is needed. On
    paper all are shown."""

    kind: ClassVar[str] = "browser"
    name: str
    leaves: Sequence[Leaf]


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG image with what a screen reader says of it; `width` is in CSS pixels."""

    title: str
    png: bytes
    alt: str
    width: int

    @property
    def address(self) -> str:
        """The image itself as an address: the page loads nothing."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode("ascii")


@dataclass(frozen=True, slots=True)
class Pictures:
    """Images beside each other, under one caption."""

    kind: ClassVar[str] = "pictures"
    items: Sequence[Picture]
    caption: str


Block = (
    Text
    | Sentences
    | Table
    | KeyNumbers
    | Figure
    | Bars
    | Passages
    | MarkedText
    | Code
    | Details
    | Browser
    | Key
    | Pictures
)


def has_pictures(blocks: Sequence[Block]) -> bool:
    """Whether a Pictures block stands among these or inside them: the page's policy then allows images that it holds itself."""
    inside = [*(b.blocks for b in blocks if isinstance(b, Details))]
    inside += [leaf.blocks for b in blocks if isinstance(b, Browser) for leaf in b.leaves]
    return any(isinstance(b, Pictures) for b in blocks) or any(has_pictures(more) for more in inside)


def not_run(stage_dir: str, what: str) -> list[Block]:
    """The one plain line of a section whose stage has not finished."""
    return [
        Text(f"Left out: the stage {stage_dir} has not run in this folder, so there is no {what} to show.", "missing")
    ]
