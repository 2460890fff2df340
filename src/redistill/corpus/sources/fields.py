"""What every source does with its columns: take a field as the type it must have, or refuse the row with a reason.

    read_groups(path, revision, parse)     rows -> parse(row_id, row) -> Group, or Dropped where parse raises Refused

A label becomes a Verdict only where the source says true or false: unknown is never wrong.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from redistill.corpus.sources.files import read_rows, resolve
from redistill.records import Dropped, Group, Outcome, Verdict


class RowError(Exception):
    """A row that cannot become a Group; its message is the reason, a short stable word."""


def read_groups(
    path: str, revision: str | None, parse: Callable[[str, dict[str, Any]], Group]
) -> Iterator[Group | Dropped]:
    """One Group or Dropped for every row of every file that `path` names."""
    for file in resolve(path, revision):
        for row_id, row in read_rows(file):
            if isinstance(row, str):
                yield Dropped(row_id, "corpus", row)
                continue
            try:
                group = parse(row_id, row)
            except RowError as refusal:
                yield Dropped(row_id, "corpus", str(refusal))
            else:
                yield group


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
