"""What every source does with its columns: take a field as the type it must have, or refuse the row with a reason.

    read_groups(path, revision, parse)     rows -> parse(row_id, row) -> Group, or Dropped where parse raises Refused

A label becomes a Verdict only where the source says true or false: unknown is never wrong. Which columns a row has and
nobody asks for is noted, so that a misspelt `spans` is said and not lost:

    with unread_columns() as unread: ...   ->   {"span": 12, "generations[].foo": 12}, rows that hold each
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path, PurePosixPath
from typing import Any

from redistill.corpus.sources.files import read_rows, resolve
from redistill.io.atomic import sha256_file
from redistill.records import Dropped, Group, Image, Outcome, Span, Verdict


class RowError(Exception):
    """A row that cannot become a Group; its message is the reason, a short stable word."""


def read_groups(path: str, revision: str | None, parse: "Callable[[str, Row], Group]") -> Iterator[Group | Dropped]:
    """One Group or Dropped for every row of every file that `path` names."""
    for file in resolve(path, revision):
        for row_id, row in read_rows(file):
            if isinstance(row, str):
                yield Dropped(row_id, "corpus", row)
                continue
            asked = Row(row, file.parent)
            try:
                group = parse(row_id, asked)
            except RowError as refusal:
                yield Dropped(row_id, "corpus", str(refusal))
            else:
                asked.note_unread()
                yield group


MAX_UNREAD, MAX_NAME = 1_000, 200  # names, and characters of one: a file may have new ones in every row
_UNREAD: ContextVar[Counter[str] | None] = ContextVar("unread columns", default=None)


@contextmanager
def unread_columns() -> Iterator[Counter[str]]:
    """Counts, of the rows read meanwhile that became groups, the columns with a value that their source did not ask for."""
    token = _UNREAD.set(Counter())
    try:
        counts = _UNREAD.get()
        assert counts is not None
        yield counts
    finally:
        _UNREAD.reset(token)


class Row(dict[str, Any]):
    """A row, or a table inside one, that remembers which of its columns were asked for; `folder`: of its data file."""

    def __init__(self, row: Mapping[str, Any], folder: Path) -> None:
        super().__init__(row)
        self.folder, self._asked = folder, set[Any]()

    def __getitem__(self, column: str) -> Any:
        self._asked.add(column)
        return super().__getitem__(column)

    def get(self, column: Any, default: Any = None) -> Any:
        """As of a dict."""
        self._asked.add(column)
        return super().get(column, default)

    def note_unread(self, prefix: str = "") -> None:
        """Count the columns with a value that were not asked for, under `prefix`."""
        counts = _UNREAD.get()
        if counts is not None:
            for column, value in self.items():
                name = f"{prefix}{text(column[:MAX_NAME])}"
                if value is not None and column not in self._asked and (name in counts or len(counts) < MAX_UNREAD):
                    counts[name] += 1


def text(value: Any) -> str:
    """A string, or "" for null; Refused `wrong_type` for anything else. Lone surrogates become "?": the shards hold
    UTF-8, and an id must be the id of what is stored."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise RowError("wrong_type")
    return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")


def statement(row: Mapping[str, Any], column: str) -> str:
    """The statement of a problem; Refused `missing_column`, `wrong_type` or `empty_statement`."""
    if column not in row:
        raise RowError("missing_column")
    found = text(row[column])
    if not found.strip():
        raise RowError("empty_statement")
    return found


def answer(value: Any) -> str | None:
    """The gold answer as text: numbers as they are written, null and blank as None."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return text(value).strip() or None


def items(row: Mapping[str, Any], column: str) -> list[Any]:
    """The list of a row's generations; Refused `missing_column`, `wrong_type` or `no_generations`."""
    if column not in row:
        raise RowError("missing_column")
    found = row[column] if row[column] is not None else []
    if not isinstance(found, list):
        raise RowError("wrong_type")
    if not found:
        raise RowError("no_generations")
    return found


def label(value: Any, *, name: str, column: str, extracted: str | None = None) -> dict[str, Verdict]:
    """{name: Verdict} for true or false, nothing for null; `column` is kept as the verdict's reason."""
    if value is None:
        return {}
    if not isinstance(value, bool):
        raise RowError("wrong_type")
    outcome = Outcome.correct if value else Outcome.incorrect
    return {name: Verdict(outcome, extracted=extracted, reason=column, verifier=name)}


def role(turn: Any) -> Any:
    """Who speaks in a message; Refused `wrong_type` where it is no message."""
    if not isinstance(turn, dict) or "role" not in turn or "content" not in turn:
        raise RowError("wrong_type")
    return turn["role"]


def content(value: Any) -> str:
    """The text of a message; a list of text parts is joined, a part that is no text (an image) refuses the row."""
    if not isinstance(value, list):
        return text(value)
    if not all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in value):
        raise RowError("wrong_type")
    return "".join(text(part["text"]) for part in value)


# --- judgements on parts of a text, notes, pictures, metadata ----------------------------------------------------------


def spans(value: Any, completion: str) -> dict[str, tuple[Span, ...]]:
    """{name: spans} of {name: [[start, end, value], ...]}; null is none, and so is a null name.

    A span may also be {"start": ..., "end": ..., "value": ...}. Refused `wrong_type` where it is no such table, and
    `bad_span` for one that is not 0 <= start < end <= characters + 1 with a finite value: the end-of-turn token is the
    character after the last.
    """
    found = {name: value for name, value in _table(value).items() if value is not None}
    if not all(isinstance(some, list) for some in found.values()):
        raise RowError("wrong_type")
    return {text(name): tuple(_span(one, len(completion)) for one in some) for name, some in found.items()}


def _span(value: Any, length: int) -> Span:
    if isinstance(value, dict) and value.keys() == {"start", "end", "value"}:
        value = [value["start"], value["end"], value["value"]]
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise RowError("bad_span")
    start, end, worth = value
    if any(isinstance(number, bool) for number in value) or not (isinstance(start, int) and isinstance(end, int)):
        raise RowError("bad_span")
    known = finite(worth)
    if known is None or not 0 <= start < end <= length + 1:
        raise RowError("bad_span")
    return Span(start, end, known)


def finite(value: Any) -> float | None:
    """A number as a float; None for what is no finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # an integer beyond the floats
        return None


def notes(value: Any) -> dict[str, str]:
    """{name: text} of a table of texts; null is none. Refused `wrong_type` for anything else."""
    return {text(name): text(note) for name, note in _table(value).items() if note is not None}


def metadata(value: Any) -> dict[str, Any]:
    """{name: JSON value} of a table, or of text that holds one (Parquet has no type for JSON); null is none.

    Refused `wrong_type` for anything else, for numbers that JSON does not have (NaN), dates and bytes. Lone surrogates
    become "?".
    """
    try:
        if isinstance(value, str):
            value = json.loads(value)
        plain = json.dumps(_table(value), allow_nan=False, ensure_ascii=False).encode("utf-8", "replace")
        return dict(json.loads(plain))
    except (TypeError, ValueError, RecursionError) as error:
        raise RowError("wrong_type") from error


def images(row: Row) -> tuple[Image, ...]:
    """The pictures of a problem, its row's `images`: a list of paths, or of {"path": ..., "sha256": ...}; null is none.

    A path is relative to the folder of the data file and stays below it: a file of unknown origin must not name any
    other file of this machine. Where no sha256 is given the file is read for it. Refused `wrong_type`, `bad_image_path`
    for a path that leads out of the folder, and `missing_image` where the file cannot be read.
    """
    value = row.get("images")
    if value is None:
        return ()
    if not isinstance(value, list):
        raise RowError("wrong_type")
    return tuple(_image(one, row.folder) for one in value)


def _image(value: Any, folder: Path) -> Image:
    one = {"path": value} if isinstance(value, str) else value
    if not isinstance(one, dict) or not isinstance(one.get("path"), str):
        raise RowError("wrong_type")
    path, sha256 = text(one["path"]), text(one.get("sha256"))
    pure = PurePosixPath(path)
    if not path or "\0" in path or pure.is_absolute() or ".." in pure.parts:
        raise RowError("bad_image_path")
    if sha256:
        if len(sha256) != 64 or set(sha256) - set("0123456789abcdef"):
            raise RowError("wrong_type")
        return Image(path, sha256)
    file = folder / path
    try:
        if not file.resolve().is_relative_to(folder.resolve()):
            raise RowError("bad_image_path")
        if not file.is_file():
            raise RowError("missing_image")
        return Image(path, sha256_file(file))
    except (OSError, RuntimeError) as error:  # unreadable, a name too long, a ring of links
        raise RowError("missing_image") from error


def _table(value: Any) -> dict[str, Any]:
    """A table of named values, {} for null."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RowError("wrong_type")
    return value
