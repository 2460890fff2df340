"""What every source does with its columns: take a field as the type it must have, or refuse the row with a reason.

    answer(["4"])  ->  "4"        as_bool("True", "label")  ->  True        finish_reason("max_tokens")  ->  "length"

A label becomes a Verdict only where the source says true or false: unknown is never wrong. Every refusal names the column
and says what to write. The names that people give to columns are tables in columns.py.
"""

import ast
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from redistill.corpus.sources import columns
from redistill.corpus.sources.rows import Row, RowError, shown
from redistill.io.images import ImageError, image_of
from redistill.records import Image, Outcome, Span, Verdict
from redistill.text.nesting import nested_too_deep, parsed
from redistill.text.utf8 import utf8

MAX_LITERAL, MAX_NESTING = (
    1_000_000,
    100,
)  # characters and open brackets of a cell that holds a list in Python's notation
MAX_EXACT_FLOAT = 2**53  # integers up to here are exact as floats


def text(value: Any, column: str = "") -> str:
    """A string, or "" for null; RowError `wrong_type` for anything else. Bytes are taken for UTF-8. Lone surrogates become
    "?": the shards hold UTF-8, and an id must be the id of what is stored."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise RowError("not_utf8", f"column `{column}` holds bytes that are not UTF-8; write text") from error
    if not isinstance(value, str):
        raise _wrong(column, value, "text")
    return utf8(value)


def _wrong(column: str, value: Any, wanted: str) -> RowError:
    where = f"column `{column}` holds {shown(value)}" if column else f"{shown(value)} stands there"
    return RowError("wrong_type", f"{where}, a {type(value).__name__}; write {wanted}")


def missing(column: str, *others: str) -> RowError:
    """The refusal of a row without a column, or without any of several."""
    names = ", ".join(f"`{name}`" for name in (column, *others))
    return RowError(
        "missing_column", f"there is no column {names}; add it, or name another column in the source's options"
    )


def statement(row: Mapping[str, Any], column: str) -> str:
    """The statement of a problem; RowError `missing_column`, `wrong_type` or `empty_statement`."""
    if column not in row:
        raise missing(column)
    return asked(text(row[column], column), column)


def asked(text: str | None, column: str) -> str:
    """The same of a statement that was found already."""
    if not text or not text.strip():
        raise RowError(
            "empty_statement", f"column `{column}` holds no question; write the problem as text or as a user message"
        )
    if _TEMPLATED.search(text):
        return _unrendered(text, column, [match[1].strip() for match in _USER_TURN.finditer(text)])
    turns = _spoken(text)
    return text if turns is None else _unrendered(text, column, turns)


# A prompt that was rendered by a chat template: each opens the user's turn and ends it.
_TEMPLATED = re.compile(
    r"<\|im_start\|>|<\|start_header_id\|>|<start_of_turn>|<\|user\|>|<｜User｜>|\[INST\]|<\|User\|>"
)
_USER_TURN = re.compile(
    r"(?:<\|im_start\|>\s*user\s*\n|<\|start_header_id\|>\s*user\s*<\|end_header_id\|>\s*|<start_of_turn>\s*user\s*\n|<\|user\|>\s*|<｜User｜>|<\|User\|>|\[INST\])"
    r"(.*?)(?:<\|im_end\|>|<\|eot_id\|>|<end_of_turn>|<\|end\|>|</s>|\[/INST\]|<｜Assistant｜>|<\|assistant\|>|<\|Assistant\|>|<\|im_start\|>|<\|endoftext\|>|\Z)",
    re.DOTALL,
)


_SPEAKERS = {"user": "user", "Human:": "user", "User:": "user", "system": "system", "System:": "system",
             "assistant": "assistant", "Assistant:": "assistant"}  # fmt: skip
_SPEAKER_IN_TEXT = re.compile(
    r"(?:^|(?<=\s))(Human:|User:|System:|Assistant:)"
)  # R1-Zero's template has all of it in one line
_SPEAKER_LINE = re.compile(r"^(user|system|assistant)$", re.MULTILINE)
_BEGUN = re.compile(r"(\sAssistant:)[^\n:]{1,100}\Z")  # TinyZero: `Assistant: Let me solve this step by step.\n<think>`


def _spoken(prompt: str) -> list[str] | None:
    """What the user says in a prompt that ends where the assistant is to speak, its turns opened by a word: a line `user` (a chat
    template decoded without its special tokens), or `Human:` and `User:`. None for any other text."""
    written = prompt.rstrip()
    end = written.removesuffix("<think>").rstrip()
    if end != written:
        end = _BEGUN.sub(r"\1", end)
    colon = end.endswith("Assistant:")
    if not colon and not end.endswith("\nassistant"):
        return None
    pieces = (_SPEAKER_IN_TEXT if colon else _SPEAKER_LINE).split(end)
    said = [(_SPEAKERS[word], text.strip()) for word, text in zip(pieces[1::2], pieces[2::2], strict=True)]
    if not any(who == "user" for who, _ in said) or (not colon and pieces[0].strip()):
        return None
    return [text for who, text in said if who == "user"]


def _unrendered(prompt: str, column: str, turns: list[str]) -> str:
    """The user's words, its `turns`, of a prompt that a chat template has rendered: the student's own template will render them again."""
    if len(turns) > 1:
        raise RowError("several_turns", f"column `{column}` holds {len(turns)} user turns; write one question")
    if not turns or not turns[0]:
        raise RowError(
            "templated_prompt",
            f"column `{column}` holds {shown(prompt)}, chat template tokens without a question; write only the question",
        )
    return re.sub(r"^<<SYS>>.*?<</SYS>>\s*", "", turns[0], flags=re.DOTALL)


def answer(value: Any, column: str = "answer") -> str | None:
    """The gold answer as text; null, NaN and blank are None.

    Numbers as they are written, 4.0 as 4 (a column of integers with nulls comes as floats), true as True. A list of one
    answer, also as text, is that answer, of a table the field that is called one (columns.GOLD_FIELDS). RowError
    `several_answers` for a list of several, which nobody can know to be alternatives or parts, and `wrong_type`.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < MAX_EXACT_FLOAT:
        return str(int(value))
    if isinstance(value, int | float):
        if isinstance(value, float) and math.isinf(value):
            raise _wrong(column, value, "the answer as text")
        return str(value)
    if isinstance(value, list | tuple):
        return _only_answer(value, column)
    if isinstance(value, dict):
        name = next((name for name in columns.GOLD_FIELDS if value.get(name) is not None), None)
        if name is None and len(value) == 1:
            name = next(iter(value))
        if name is None:
            raise _wrong(column, value, "the answer as text")
        return answer(value[name], f"{column}.{name}")
    gold = text(value, column).strip()
    if re.match(r"""\[\s*['"]""", gold) and isinstance(items := decoded(gold), list) and len(items) == 1:
        return answer(items[0], column)
    if gold.startswith("{") and isinstance(table := decoded(gold), dict):  # not a set: `{1, 2}` decodes to none
        name = next((name for name in columns.GOLD_FIELDS if table.get(name) is not None), None)
        return gold if name is None else answer(table[name], f"{column}.{name}")  # else it is a verifier's own business
    return None if gold.lower() in columns.NO_GOLD else gold or None


def _only_answer(values: Any, column: str) -> str | None:
    answers = list(dict.fromkeys(a for value in values if (a := answer(value, column)) is not None))
    if len(answers) > 1:
        raise RowError(
            "several_answers",
            f"column `{column}` holds {len(answers)} answers, {shown(answers)}; write one, such as "
            f"{', '.join(answers)[:40]!r} where all of them are asked for",
        )
    return answers[0] if answers else None


def decoded(value: str) -> Any:
    """A list or table that stands in a text, as JSON or in Python's notation (pandas writes cells so); the text itself
    where it holds none."""
    stripped = value.strip()
    if not stripped.startswith(("[", "{")) or not stripped.endswith(("]", "}")):
        return value
    try:
        return parsed(stripped)
    except ValueError:
        if (
            len(stripped) > MAX_LITERAL
            or stripped.count("[") + stripped.count("{") > MAX_NESTING
            or "'" not in stripped
        ):
            return value
    try:
        literal = ast.literal_eval(stripped)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return value
    return literal if isinstance(literal, list | dict) else value


def items(row: Mapping[str, Any], column: str) -> list[Any]:
    """The list in a column, also where it stands in a text; RowError `missing_column`, `wrong_type` or `no_generations`."""
    if column not in row:
        raise missing(column)
    listed = row[column] if row[column] is not None else []
    if isinstance(listed, str):
        listed = decoded(listed)
    if not isinstance(listed, list):
        raise _wrong(column, listed, "a list")
    if not listed:
        raise RowError("no_generations", f"column `{column}` is empty")
    return listed


def aligned(value: Any, count: int, column: str) -> list[Any]:
    """One value per completion: a list of them, a single value as a list of one, null as nothing for any. RowError
    `length_mismatch`."""
    value = decoded(value) if isinstance(value, str) else value
    values = [None] * count if value is None else value if isinstance(value, list) else [value]
    if len(values) != count:
        raise RowError(
            "length_mismatch",
            f"column `{column}` holds {len(values)} values for {count} completions; write one per completion",
        )
    return values


def as_bool(value: Any, column: str) -> bool | None:
    """What a source says of right and wrong: true, 1, 1.0, "True", "correct" and their like; None where it says nothing.

    RowError `bad_label` for anything else: a score between 0 and 1, or a word that nobody knows.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, list) and len(value) == 1:
        return as_bool(value[0], column)
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    if isinstance(value, str):
        word = value.strip().lower().strip(".!")
        if word in columns.LABEL_WORDS:
            return columns.LABEL_WORDS[word]
    raise RowError(
        "bad_label", f"column `{column}` holds {shown(value)}, which is neither right nor wrong; write true or false"
    )


def label(value: Any, *, name: str, column: str, extracted: str | None = None) -> dict[str, Verdict]:
    """{name: Verdict} for right or wrong, nothing for null; the reason names the column: "column `correct`"."""
    right = as_bool(value, column)
    if right is None:
        return {}
    outcome = Outcome.correct if right else Outcome.incorrect
    reason = f"column `{column}`" if column else ""
    return {name: Verdict(outcome, extracted=extracted, reason=reason, verifier=name)}


def label_of(row: Row, column: str | None, *, default: bool | None = None) -> dict[str, Verdict]:
    """The verdict `teacher_label` of a row or generation: of `column`, else of the first column that is called a label;
    where it has none, `default`."""
    cell = row.first([column] if column else columns.LABELS)
    if cell is None:
        named = [name for name in ([column] if column else columns.LABELS) if name in row]
        return {} if named or default is None else label(default, name="teacher_label", column="")
    return label(cell[1], name="teacher_label", column=cell[0])


def finish_reason(value: Any) -> str | None:
    """stop or length, by any server's word for them; None where nothing is said or the word is another."""
    if isinstance(value, dict):  # {"type": "length"}
        value = value.get("type") or value.get("reason")
    return columns.FINISH_WORDS.get(value.strip().lower()) if isinstance(value, str) else None


def finish_of(row: Row) -> str | None:
    """The same of a row or generation, by the first of its columns that says it; a flag `truncated` says it too."""
    cell = row.first(columns.FINISH)
    if cell is not None and not isinstance(cell[1], list):
        return finish_reason(cell[1])
    cut = row.first(columns.TRUNCATED)
    if cut is not None and isinstance(cut[1], bool | int | str):
        return "length" if as_bool(cut[1], cut[0]) else "stop"
    whole = row.first(columns.COMPLETE)
    if whole is not None and isinstance(whole[1], bool):
        return "stop" if whole[1] else "length"
    return None


def author_of(row: Row, default: str = "") -> str:
    """Who wrote it, by the first of the columns that say so; `default` where it is written in the recipe."""
    cell = None if default else row.first(columns.AUTHORS)
    return text(cell[1], cell[0]) if cell is not None and isinstance(cell[1], str) else default


# --- judgements on parts of a text, notes, pictures, metadata ----------------------------------------------------------


def spans(value: Any, completion: str) -> dict[str, tuple[Span, ...]]:
    """{name: spans} of {name: [[start, end, value], ...]}; null is none, and so is a null name.

    A span may also be {"start": ..., "end": ..., "value": ...}. RowError `wrong_type` where it is no such table, and
    `bad_span` for one that is not 0 <= start < end <= characters + 1 with a finite value: the end-of-turn token is the
    character after the last.
    """
    by_name = {name: value for name, value in _table(value).items() if value is not None}
    if not all(isinstance(some, list) for some in by_name.values()):
        raise RowError("wrong_type")
    return {text(name): tuple(_span(one, len(completion)) for one in some) for name, some in by_name.items()}


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
    """A number as a float; None for what is not a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # an integer beyond the floats
        return None


def scores(value: Any) -> dict[str, float]:
    """{name: number} of a table of numbers; one that is not a finite number is not known, and left out. RowError `wrong_type` for
    anything but a table."""
    by_name = {text(name): finite(number) for name, number in _table(value).items()}
    return {name: number for name, number in by_name.items() if number is not None}


def notes(value: Any) -> dict[str, str]:
    """{name: text} of a table of texts; null is none. RowError `wrong_type` for anything else."""
    return {text(name): text(note) for name, note in _table(value).items() if note is not None}


def metadata(value: Any) -> dict[str, Any]:
    """{name: JSON value} of a table, or of text that holds one (Parquet has no type for JSON); null is none.

    RowError `wrong_type` for anything else, for numbers that JSON does not have (NaN), dates and bytes. Lone surrogates
    become "?".
    """
    try:
        if isinstance(value, str):
            value = parsed(value)
        if nested_too_deep(value):
            raise RowError("wrong_type", "the table is nested too deeply")
        plain = json.dumps(_table(value), allow_nan=False, ensure_ascii=False).encode("utf-8", "replace")
        return dict(json.loads(plain))
    except (TypeError, ValueError, RecursionError) as error:
        raise RowError("wrong_type") from error


def images(row: Row) -> tuple[Image, ...]:
    """The pictures of a problem, its row's `images`: a list of paths, or of {"path": ..., "sha256": ...}; null is none.

    A path is relative to the folder of the data file and stays below it: a file of unknown origin must not name any
    other file of this machine. Where no sha256 is given the file is read for it. RowError `wrong_type`, `bad_image_path`
    for a path that leads out of the folder, and `missing_image` where the file cannot be read; and where images are kept
    (io/images.py), the reasons for which one cannot be, and `image_changed` where its SHA-256 is another than the row says.
    """
    value = row.get("images")
    if value is None:
        return ()
    if not isinstance(value, list):
        raise RowError("wrong_type")
    return tuple(image(one, row.folder) for one in value)


def image(value: Any, folder: Path) -> Image:
    """One picture, as of io/images.py: a path below the folder, {"path": ..., "sha256": ...}, the bytes of a file, or
    {"bytes": ..., "path": ...} as datasets writes them. RowError of its reasons."""
    try:
        return image_of(value, folder)
    except ImageError as error:
        raise RowError(str(error), error.detail) from error


def _table(value: Any) -> dict[str, Any]:
    """A table of named values, {} for null."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RowError("wrong_type")
    return value
