"""Conversations in any dialect -> the question that was asked and what was answered to it, as one text.

    [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4", "reasoning_content": "2+2"}]
    [{"from": "human", "value": "2+2?"}, {"from": "gpt", "value": "<think>2+2</think>4"}]     or either as JSON text
        ->  Conversation("2+2?", "<think>\\n2+2\\n</think>\\n\\n4")

What counts is one question and the answer after it. System text is left out: the recipe's template speaks in its place. An
assistant that speaks first greets and answers nothing. Several questions and tools that are called are refused, each for its
reason, unless the source keeps conversations (several_turns.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redistill.corpus.sources import columns, fields, tags
from redistill.corpus.sources.rows import Row, RowError, shown


@dataclass(frozen=True, slots=True)
class Conversation:
    """The question, None where no user speaks; the answer with its thinking, None where nothing follows the question."""

    question: str | None
    completion: str | None
    finish: str | None = None
    author: str = ""


def is_turns(value: Any) -> bool:
    """True for a list of messages, also where it stands in a text."""
    value = fields.decoded(value) if isinstance(value, str) else value
    return isinstance(value, list) and bool(value) and all(_is_turn(turn) for turn in value)


def _is_turn(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and any(name in value for name in columns.ROLE)
        and any(name in value for name in (*columns.TURN_TEXT, *columns.TOOL_CALLS))
    )


@dataclass(slots=True)
class Turn:
    """One message as it was read; `calls`: it calls tools."""

    role: str
    text: str
    thinking: str | None
    calls: bool
    channel: str
    row: Row


def conversation(value: Any, row: Row, column: str) -> Conversation:
    """The question and the answer of a list of messages, of one message, or of either as JSON text.

    RowError: `several_turns`, `tool_calls`, `unknown_role`, `wrong_type`.
    """
    return one_answer(read_turns(value, row, column), column)


def read_turns(value: Any, row: Row, column: str) -> list[Turn]:
    """The messages of a list, of one message, or of either as JSON text. RowError `unknown_role`, `wrong_type`."""
    value = fields.decoded(value) if isinstance(value, str) else value
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, list):
        raise RowError(
            "wrong_type", f"column `{column}` holds {shown(value)}; write a list of messages with role and content"
        )
    return [read_turn(turn, row, column) for turn in value]


def one_answer(turns: list[Turn], column: str) -> Conversation:
    """The one question of these messages and the answer to it. RowError: `several_turns`, `tool_calls`."""
    spoken = [turn for turn in turns if turn.role != "system"]
    first = next((place for place, turn in enumerate(spoken) if turn.role == "user"), None)
    questions = [turn.text for turn in spoken if turn.role == "user"]
    if len(questions) > 1:
        raise RowError(
            "several_turns",
            f"column `{column}` holds {len(questions)} user messages; write one row per question and answer",
        )
    said = spoken[(first if first is not None else -1) + 1 :]
    if any(turn.calls or turn.role in ("tool", "call") for turn in said):
        raise RowError(
            "tool_calls",
            f"column `{column}` holds tool calls, which are not text; write the whole answer as one assistant message, or leave the row out",
        )
    completion, finish, author = answer_in(said, column)
    for turn in turns:
        turn.row.note_unread(f"{column}[].")
    return Conversation(questions[0] if questions else None, completion, finish, author)


def answer_in(said: list[Turn], column: str) -> tuple[str | None, str | None, str]:
    """(text with thinking, finish reason, author) of the turns after the question; turns that only think (harmony's channel
    `analysis`) belong to the one after them."""
    if not said:
        return None, None, ""
    thinking = [turn for turn in said[:-1] if turn.channel == "analysis" or (not turn.text.strip() and turn.thinking)]
    if len(thinking) != len(said) - 1:
        raise RowError(
            "several_turns",
            f"column `{column}` holds {len(said)} assistant messages after one question; join them into one",
        )
    last = said[-1]
    if last.channel == "analysis":  # it broke off in thought
        thinking, text = said, ""
    else:
        text = last.text
    parts = [(turn.thinking or "").strip() or turn.text.strip() for turn in thinking]
    if last.thinking and last not in thinking:
        parts.append(last.thinking.strip())
    return (
        tags.with_thinking(text, "\n\n".join(filter(None, parts))),
        fields.finish_of(last.row),
        fields.author_of(last.row),
    )


def read_turn(value: Any, row: Row, column: str) -> Turn:
    if not _is_turn(value):
        raise RowError("wrong_type", f"column `{column}` holds {shown(value)} as a message; write role and content")
    turn = row.inner(value)
    role = next(name for name in columns.ROLE if name in value)
    said = turn[role]
    known = columns.ROLES.get(said.strip().lower()) if isinstance(said, str) else None
    if known is None:
        raise RowError(
            "unknown_role",
            f"column `{column}` has a message with the {role} {shown(said)}; write user, assistant or system",
        )
    name = next((name for name in columns.TURN_TEXT if name in value), "content")
    text, inner = parts(turn.get(name), f"{column}[].{name}")
    field = thinking_of(turn, f"{column}[].")
    called = turn.first(columns.TOOL_CALLS)
    channel = turn.get("channel")
    return Turn(
        known, text, field or inner, bool(called and called[1]), channel if isinstance(channel, str) else "", turn
    )


def thinking_of(row: Row, prefix: str = "", column: str | None = None) -> str | None:
    """The reasoning that stands in a field of its own: `column`, else the first that is called so; None where it has none."""
    for name in [column] if column else columns.THINKING:
        if name in row and (thinking := thinking_text(row[name], prefix + name)):
            return thinking
    return None


def thinking_text(value: Any, column: str) -> str | None:
    """Reasoning as text: a string, a list of them or of parts; None where it is blank or a mere setting (`on`, `high`)."""
    if value is None or isinstance(value, bool | int | float):
        return None
    if isinstance(value, str):
        value = fields.text(value, column)
        return None if not value.strip() or value.strip().lower() in columns.SETTINGS else value
    if isinstance(value, list):
        thoughts = (thinking_text(part, column) for part in value)
        return "\n".join(filter(None, thoughts)) or None
    if isinstance(value, Mapping):
        inner = next(
            (value[name] for name in ("text", "content", "thinking", "reasoning", "summary") if value.get(name)), None
        )
        return thinking_text(inner, column)
    raise RowError("wrong_type", f"column `{column}` holds {shown(value)}; write the reasoning as text")


def parts(value: Any, column: str) -> tuple[str, str | None]:
    """(text, thinking) of the content of a message: text, or a list of parts of both. A part that is neither (an image)
    refuses the row: the text alone is not what was asked or said."""
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, list):
        return fields.text(value, column), None
    said, thought = [], []
    for part in value:
        if isinstance(part, str):
            said.append(fields.text(part, column))
            continue
        kind = str(part.get("type", "")) if isinstance(part, Mapping) else ""
        if is_thinking(kind):
            thought.append(thinking_text({key: inner for key, inner in part.items() if key != "type"}, column) or "")
        elif isinstance(part, Mapping) and isinstance(part.get("text"), str):
            said.append(fields.text(part["text"], column))
        else:
            raise RowError("wrong_type", f"column `{column}` holds {shown(part)}, which is not text; write text")
    return "".join(said), "\n".join(filter(None, thought)) or None


def is_thinking(kind: str) -> bool:
    """True for the kinds of a part that is reasoning: thinking, reasoning, reasoning.text, thought."""
    return kind.lower().startswith(("think", "reason", "thought"))


def question(value: Any, row: Row, column: str) -> str:
    """The statement in a prompt: text, or messages with one question. RowError as `conversation`, `empty_statement`."""
    if isinstance(value, Mapping) and "messages" in value:
        return question(value["messages"], row, f"{column}.messages")
    if is_turns(value) or isinstance(value, Mapping):
        return fields.asked(conversation(value, row, column).question, column)
    if isinstance(value, list):
        raise RowError(
            "wrong_type", f"column `{column}` holds {shown(value)}; write text or messages with role and content"
        )
    return fields.asked(fields.text(value, column), column)


def prompt_of(row: Row, column: str, input_column: str | None = None) -> str:
    """The statement of a row: its prompt, and what alpaca's layout calls the input of an instruction, on a line of its own.

    RowError `several_turns` where a `history` of earlier turns stands beside it.
    """
    if column not in row:
        raise fields.missing(column)
    if row.get("history"):
        raise RowError("several_turns", "column `history` holds earlier turns; write one row per question and answer")
    asked = question(row[column], row, column)
    if input_column is None and column == "instruction":
        input_column = "input"
    added = fields.text(row.get(input_column), input_column) if input_column else ""
    return f"{asked}\n{added}" if added.strip() else asked
