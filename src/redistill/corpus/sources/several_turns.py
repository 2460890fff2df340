"""Messages of any dialect -> a problem that may be a conversation of several turns, and the answer to its last message.

    user 2+2?, assistant 4, user And 3+3?, assistant 6    ->  the conversation of the first three, and the completion "6"
    user Weather?, assistant calls get_weather, tool 21, assistant It is 21 degrees.     ->  likewise, with its tools

What follows the last answer is left out, and so is a greeting before the first question. One question with one answer stays
the plain problem that it is in turns.py; the messages of a conversation are kept in the form that chat templates read.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from redistill.corpus.sources import columns, fields, tags, turns
from redistill.corpus.sources.rows import Row, RowError, shown
from redistill.corpus.sources.turns import Conversation, Turn
from redistill.text.conversations import CONVERSATION, transcript
from redistill.text.nesting import parsed


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked: the statement, None where no user speaks, and the metadata that keeps a conversation."""

    statement: str | None
    metadata: Mapping[str, Any] = field(default_factory=dict)


def conversation(value: Any, row: Row, column: str, *, keep: bool = True) -> tuple[Asked, Conversation]:
    """What was asked in a list of messages, and its last answer. keep: conversations of several turns are read, else refused
    (`several_turns`, `tool_calls`). RowError as of turns.py, and `tool_calls` for one that ends with a call, or whose call
    cannot be read."""
    read = turns.read_turns(value, row, column)
    if keep:
        last = max((place for place, turn in enumerate(read) if turn.role in ("assistant", "call")), default=-1)
        if last >= 0 and any(turn.role == "user" for turn in read[:last]):
            read = read[: last + 1]
        if _is_several(read):
            return _split(read, row, column)
    said = turns.one_answer(read, column)
    return Asked(said.question), said


def asked(value: Any, row: Row, column: str, *, keep: bool = True) -> Asked | None:
    """What a prompt asks that is a list of messages, its last one the user's or a tool's; None where it is not a conversation of
    several turns (turns.py reads it then)."""
    value = fields.decoded(value) if isinstance(value, str) else value
    if not keep or not turns.is_turns(value):
        return None
    read = turns.read_turns(value, row, column)
    return _asked(read, row, column) if _is_several(read) and read[-1].role in ("user", "tool") else None


def _is_several(read: list[Turn]) -> bool:
    first = next((place for place, turn in enumerate(read) if turn.role == "user"), len(read))
    several = sum(turn.role == "user" for turn in read) > 1
    return several or any(turn.calls or turn.role in ("tool", "call") for turn in read[first:])


def _split(read: list[Turn], row: Row, column: str) -> tuple[Asked, Conversation]:
    if read[-1].calls or read[-1].role == "call":
        raise RowError(
            "tool_calls",
            f"column `{column}` ends with a tool call, which is not text; add the tool's result and the answer after it",
        )
    start = len(read)
    while start and read[start - 1].role == "assistant" and not read[start - 1].calls:
        start -= 1
    completion, finish, author = turns.answer_in(read[start:], column)
    asked = _asked(read[:start], row, column)
    for turn in read[start:]:
        turn.row.note_unread(f"{column}[].")
    return asked, Conversation(asked.statement, completion, finish, author)


def _asked(read: list[Turn], row: Row, column: str) -> Asked:
    first = next((place for place, turn in enumerate(read) if turn.role == "user"), len(read))
    messages = list[dict[str, Any]]()
    if not any(turn.role == "system" for turn in read) and isinstance(row.get("system"), str) and row["system"].strip():
        messages.append({"role": "system", "content": row["system"]})
    thinking = list[str]()
    for place, turn in enumerate(read):
        if place < first and turn.role != "system":
            continue
        if turn.channel == "analysis" or (turn.role == "assistant" and not turn.text.strip() and not turn.calls):
            thinking.append((turn.thinking or turn.text).strip())
            continue
        _add(messages, turn, "\n\n".join(filter(None, [*thinking, (turn.thinking or "").strip()])), column)
        thinking = []
        turn.row.note_unread(f"{column}[].")
    kept: dict[str, Any] = {"messages": messages}
    if tools := _tools(row):
        kept["tools"] = tools
    kept = fields.metadata(kept)
    return Asked(transcript(kept), {CONVERSATION: kept})


def _add(messages: list[dict[str, Any]], turn: Turn, thinking: str, column: str) -> None:
    """One more message; the parts of one turn of the assistant become one."""
    if turn.role not in ("assistant", "call"):
        messages.append({"role": turn.role, "content": turn.text})
        return
    calls = _calls(turn, column)
    text = "" if turn.role == "call" else tags.with_thinking(turn.text, thinking)
    before = messages[-1] if messages else {}
    if before.get("role") == "assistant":
        if text or not calls:
            raise RowError(
                "several_turns", f"column `{column}` holds two assistant messages in a row; write them as one"
            )
        before["tool_calls"] = [*before.get("tool_calls", ()), *calls]
        return
    messages.append({"role": "assistant", "content": text, **({"tool_calls": calls} if calls else {})})


def _calls(turn: Turn, column: str) -> list[dict[str, Any]]:
    """The tool calls of a message, as chat templates read them."""
    if turn.role == "call":
        value = fields.decoded(turn.text)
    else:
        cell = turn.row.first(columns.TOOL_CALLS)
        value = None if cell is None else fields.decoded(cell[1]) if isinstance(cell[1], str) else cell[1]
    value = value if isinstance(value, list) else [value] if value else []
    calls = []
    for one in value:
        call = one.get("function", one) if isinstance(one, Mapping) else {}
        call = call if isinstance(call, Mapping) else {}
        given = call.get("arguments", call.get("parameters", {}))
        try:
            given = parsed(given) if isinstance(given, str) else given
        except ValueError:
            given = None
        if not isinstance(call.get("name"), str) or not isinstance(given, Mapping):
            raise RowError(
                "tool_calls",
                f"column `{column}` holds the tool call {shown(one)}; write a table with a name and its arguments",
            )
        calls.append({"type": "function", "function": {"name": call["name"], "arguments": dict(given)}})
    return calls


def _tools(row: Row) -> list[dict[str, Any]]:
    """The tools that a row offers, in its column `tools`; RowError `tool_calls` for what is not a list of named functions."""
    value = row.get("tools")
    value = fields.decoded(value) if isinstance(value, str) else value
    if not value:
        return []
    value = value if isinstance(value, list) else [value]
    tools = [
        one if isinstance(one, Mapping) and "function" in one else {"type": "function", "function": one}
        for one in value
    ]
    if not all(isinstance(one["function"], Mapping) and isinstance(one["function"].get("name"), str) for one in tools):
        raise RowError("tool_calls", f"column `tools` holds {shown(value)}; write a list of functions with names")
    return [dict(one) for one in tools]
