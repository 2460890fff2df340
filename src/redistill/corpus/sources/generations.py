"""One generation, however it is written -> a Trace: text, a table with text and notes on it, or messages.

"It is 4"                                                     ->  Trace(completion="It is 4")
{"text": "4", "finish_reason": "length", "correct": 1}        ->  ..., finish_reason="length", verdicts={"teacher_label": correct}
{"message": {"role": "assistant", "content": "4", "reasoning_content": "2+2"}}     ->  completion="<think>\\n2+2\\n</think>\\n\\n4"
"""

from collections.abc import Mapping
from typing import Any

from redistill.corpus.sources import columns, fields, tags, turns
from redistill.corpus.sources.rows import Row, RowError, shown
from redistill.records import Trace, make_trace


def make(
    problem_id: str,
    value: Any,
    row: Row,
    column: str,
    *,
    index: int | None = None,
    author: str = "",
    thinking: str | None = None,
    open_thinking: bool = False,
    **others: Any,
) -> Trace:
    """The trace of a generation in `column` of a row. `thinking`: what a column beside it holds of it; `others`: what the
    row says of it (finish_reason, verdicts ...), which the generation's own fields come before.

    An empty or null generation is an empty trace, which the stage counts. RowError for what cannot be read.
    """
    said = _read(value, row, column)
    text = tags.with_thinking(said.pop("text"), thinking)
    if open_thinking:
        text = tags.opened(text)
    spans = fields.spans(said.pop("spans", None) or others.pop("spans", None), text)
    notes = fields.notes(said.pop("notes", None) or others.pop("notes", None))
    filled = {name: inner for name, inner in said.items() if inner}
    verdicts = {**others.pop("verdicts", {}), **filled.pop("verdicts", {})}
    own = filled.pop("author", "")
    return make_trace(
        problem_id,
        text,
        author=author or own or others.pop("row_author", ""),
        sampling={**({} if index is None else {"sample_index": index}), **filled.pop("sampling", {})},
        verdicts=verdicts,
        spans=spans,
        notes=notes,
        **{name: inner for name, inner in {**others, **filled}.items() if name != "row_author"},
    )


def _read(value: Any, row: Row, column: str) -> dict[str, Any]:
    """{"text": ..., and what else it says}."""
    if value is None or isinstance(value, str | bytes):
        return {"text": fields.text(value, column)}
    if isinstance(value, list):
        if not turns.is_turns(value):
            raise RowError(
                "wrong_type", f"column `{column}` holds {shown(value)}; write the completion as text or as messages"
            )
        said = turns.conversation(value, row, column)
        if said.completion is None:
            raise RowError("no_generations", f"column `{column}` ends without an assistant message")
        return _of(said)
    if not isinstance(value, Mapping):
        raise RowError(
            "wrong_type", f"column `{column}` holds {shown(value)}; write the completion as text or as messages"
        )
    value = _reply_of(value)
    if not isinstance(value, Mapping):
        return _read(value, row, column)
    table = row.inner(value)
    name = next((name for name in columns.GENERATION_TEXT if name in value), None)
    if name is None:
        raise RowError("missing_column", f"column `{column}` holds {shown(value)}, with no text; call it `text`")
    inner = table[name]
    where = f"{column}[].{name}"
    if isinstance(inner, Mapping) or (isinstance(inner, list) and turns.is_turns(inner)):
        generation = _read(inner, row, where)
    else:
        text, thought = turns.parts(inner, where)
        generation = {"text": tags.with_thinking(text, turns.thinking_of(table, f"{column}[].") or thought)}
    role = table.get("role") or table.get("from")
    if isinstance(role, str) and columns.ROLES.get(role.lower(), "assistant") != "assistant":
        raise RowError(
            "unknown_role", f"column `{column}` holds a message with role {shown(role)}; write the assistant's message"
        )
    calls = table.first(columns.TOOL_CALLS)
    if calls and calls[1]:
        raise RowError(
            "tool_calls",
            f"column `{column}` holds tool calls, which are not text; write the whole answer as text",
        )
    generation = {**generation, **_notes_on(table)}
    table.note_unread(f"{column}[].")
    return generation


def _reply_of(value: Mapping[str, Any]) -> Any:
    """The one message of an API's reply, `{"choices": [{"message": ...}]}`, in a batch's `body` too; any other table as it is."""
    inner = value.get("body") if isinstance(value.get("body"), Mapping) else value
    choices = inner.get("choices") if isinstance(inner, Mapping) else None
    return choices[0] if isinstance(choices, list) and len(choices) == 1 and isinstance(choices[0], Mapping) else value


def _sampling(value: Any) -> dict[str, Any]:
    """How the generation was drawn (temperature, seed ...), as a table; nothing where it is none."""
    return {str(name): inner for name, inner in value.items()} if isinstance(value, Mapping) else {}


def _of(said: turns.Conversation) -> dict[str, Any]:
    return {"text": said.completion or "", "finish_reason": said.finish, "author": said.author}


def _notes_on(table: Row) -> dict[str, Any]:
    """What the fields of a generation say of it; those that say nothing are left out."""
    prediction, score = table.get("pred"), fields.finite(table.get("score"))
    verdicts = fields.label_of(table, None)
    if isinstance(prediction, str):
        extracted = fields.text(prediction, "pred")
        cell = table.first(columns.LABELS)
        verdicts = fields.label(cell[1], name="teacher_label", column=cell[0], extracted=extracted) if cell else {}
    said = {
        "finish_reason": fields.finish_of(table),
        "verdicts": verdicts,
        "scores": {**fields.scores(table.get("scores")), **({} if score is None else {"score": score})},
        "author": fields.author_of(table),
        "spans": table.get("spans"),
        "notes": table.get("notes"),
        "sampling": _sampling(table.get("sampling")),
        "num_tokens": tokens if isinstance(tokens := table.get("num_tokens"), int) else None,
    }
    return {name: inner for name, inner in said.items() if inner}
