"""A page's HTML from its headings and blocks, and how large it may be: one for every page that redistill writes.

    write_page(Path("runs/x/report.html"), "x", [("Result", [Text("...")]), ("Empty", [])], kind="sweep")
    fitted(lambda most: render(most), 100, "the report of runs/x")     the page's bytes, with fewer texts where they are too many

The page is one file without scripts or addresses; its policy line forbids the browser to load or run anything.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from redistill.io.atomic import write_bytes
from redistill.report.blocks import Block, has_pictures
from redistill.report.text import visible

_HERE = Path(__file__).parent
MAX_BYTES = 3_000_000  # of a page: it is sent by mail and opened on a phone
Sections = Sequence[tuple[str, list[Block]]]  # heading -> what stands under it; one with nothing under it is left out


def write_page(path: Path, title: str, sections: Sections, *, kind: str, is_toy: bool = False) -> Path:
    """Write a page and return its path."""
    write_bytes(path, render_page(title, sections, kind=kind, is_toy=is_toy).encode("utf-8"))
    return path


def fitted(render: Callable[[int], str], most: int, whose: str) -> bytes:
    """The page in at most MAX_BYTES. render: the page with so many texts or images of each kind; where `most` make it too large, half as
    many are shown, and half again. RuntimeError when it is too large without any: all else on a page is bounded."""
    while len(page := render(most).encode("utf-8")) > MAX_BYTES:
        if most == 0:
            raise RuntimeError(f"{whose} has {len(page):,} bytes without a single text or image")
        most //= 2
    return page


def render_page(
    title: str,
    sections: Sections,
    *,
    kind: str,
    is_toy: bool = False,
    is_folded: Callable[[str], bool] = lambda heading: False,
) -> str:
    """A page's HTML from its headings and blocks; `kind` says above the title what it is a page of. A folded section shows its
    heading; a link to it opens it, and paper shows it whole."""
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        finalize=visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["with_code"] = with_code
    environment.filters["with_breaks"] = with_breaks
    environment.tests["short_name"] = is_short_name
    return environment.get_template("page.html").render(
        title=title,
        style=Markup((_HERE / "style.css").read_text("utf-8")),
        sections=[(anchor(heading), heading, blocks, is_folded(heading)) for heading, blocks in sections if blocks],
        kind=kind,
        is_toy=is_toy,
        has_pictures=any(has_pictures(blocks) for _, blocks in sections),
    )


def with_code(text: str) -> str | Markup:
    """A sentence with what stands between two backticks set as code, everything escaped."""
    parts = [visible(part) for part in text.split("`")]
    if len(parts) % 2 == 0:  # an odd backtick belongs to the text
        return text
    return Markup("").join(Markup("<code>{}</code>").format(part) if i % 2 else part for i, part in enumerate(parts))


SHORT = 24  # characters of a name that stands in one line of a table's first column


def is_short_name(value: Any) -> bool:
    """True for a cell whose text stands in one line, also on a phone."""
    return len(str(getattr(value, "text", value))) <= SHORT


def with_breaks(text: str) -> str | Markup:
    """Text whose long words, such as paths and settings, may be broken behind `.`, `/`, `_` and other signs; escaped."""
    if not any(len(word) > SHORT for word in text.split()):
        return text
    return Markup("<wbr>").join(visible(part) for part in re.split(r"(?<=[./_:,=])(?=\w)", text))


def anchor(title: str) -> str:
    """'Teacher pairs' -> 'teacher-pairs'."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
