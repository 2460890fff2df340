"""Where an image stands in the text of a prompt: a mark that names it by the SHA-256 of its file.

    image_mark("ab12...")                                    ->  "<|redistill:image:ab12...|>"
    images_in("<|redistill:image:ab12...|>How many?")        ->  ("ab12...",)
    pieces("<|redistill:image:ab12...|>How many?")           ->  [("", "ab12..."), ("How many?", None)]

A prompt stays plain text, in Parquet as in memory; what a student's tokenizer makes of a mark is said in model/pictures.py. Marks are
written by `prompts.render` alone: one that stands in a statement already is broken there.
"""

import re

OPENING = "<|redistill:image:"
_MARK = re.compile(r"<\|redistill:image:([0-9a-f]{64})\|>")


def image_mark(sha256: str) -> str:
    """The mark of the image whose file has this SHA-256 (64 hex digits)."""
    return f"{OPENING}{sha256}|>"


def images_in(text: str) -> tuple[str, ...]:
    """The SHA-256 of every image that a text shows, in order; one that is shown twice stands twice."""
    return tuple(_MARK.findall(text)) if OPENING in text else ()


def pieces(text: str) -> list[tuple[str, str | None]]:
    """(text, the SHA-256 of the image behind it) from the beginning to the end; None behind the last piece."""
    parts = _MARK.split(text)
    return list(zip(parts[::2], [*parts[1::2], None], strict=True))


def with_names(text: str) -> str:
    """The text for people: each mark as `[image ab12cd34]`."""
    return _MARK.sub(lambda mark: f"[image {mark[1][:8]}]", text) if OPENING in text else text


def unmarked(text: str) -> str:
    """A text of unknown origin in which nothing is a mark any more; of the same length."""
    return text.replace(OPENING, "‹" + OPENING[1:]) if OPENING in text else text
