"""The recipes that ship, a line each, from their own headers.

shipped()["quickstart"]    ->  "SFT, REDI and its control on the traces of a procedural teacher, with a report, ..."
"""

import re

from redistill.config.yaml_text import SHIPPED

_END = re.compile(r"(?<!\bal)\.(?=\s+[A-Z\d]|$)")  # of a sentence; "et al. 2025" goes on


def shipped() -> dict[str, str]:
    """Name -> the first sentence of the recipe's header, by name."""
    return {
        path.stem: headline(path.read_text("utf-8"))
        for path in sorted(SHIPPED.rglob("*.yaml"), key=lambda path: path.stem)
    }


def headline(text: str) -> str:
    """The first sentence of the comment that a recipe begins with; "" where it has none. Lines for editors do not count."""
    lines: list[str] = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# yaml-language-server"):
            words = line.removeprefix("#").strip()
            if not words and lines:
                break
            lines.append(words)
    paragraph = " ".join(" ".join(lines).split())
    end = _END.search(paragraph)
    return paragraph[: end.end()] if end else paragraph
