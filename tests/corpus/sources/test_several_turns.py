"""Conversations of several turns in every dialect: what was asked, the answer to it, and what is refused."""

import json
from pathlib import Path

import pytest

from redistill.corpus.sources import several_turns
from redistill.corpus.sources.rows import Row, RowError
from redistill.text.conversations import CONVERSATION


def user(text="2+2?"):
    return {"role": "user", "content": text}


def said(text="4", **more):
    return {"role": "assistant", "content": text, **more}


def read(messages, **columns):
    """(statement, messages kept or None, completion) of a list of messages."""
    asked, answer = several_turns.conversation(messages, Row(columns, Path()), "messages")
    kept = asked.metadata.get(CONVERSATION)
    return asked.statement, kept and kept["messages"], answer.completion


ADD = {"type": "function", "function": {"name": "add", "arguments": {"a": 2, "b": 2}}}


@pytest.mark.parametrize(
    "call",
    [
        said(None, tool_calls=[{"id": "x", "type": "function", "function": {"name": "add", "arguments": '{"a": 2, "b": 2}'}}]),
        said("", tool_calls=[{"name": "add", "arguments": {"a": 2, "b": 2}}]),
        said("", tool_calls=json.dumps([ADD])),
        {"role": "assistant", "function_call": {"name": "add", "arguments": '{"a": 2, "b": 2}'}},
        {"from": "function_call", "value": '{"name": "add", "arguments": {"a": 2, "b": 2}}'},
    ],
)  # fmt: skip
@pytest.mark.parametrize("result", [{"role": "tool", "content": "4"}, {"from": "observation", "value": "4"}])
def test_calls_and_results_in_every_dialect_are_one_form(call, result):
    statement, kept, completion = read([user(), call, result, said("It is 4.")])
    assert kept == [user(), {"role": "assistant", "content": "", "tool_calls": [ADD]}, {"role": "tool", "content": "4"}]
    assert completion == "It is 4."
    assert statement == 'User: 2+2?\n\nAssistant:\n\nCall: add {"a": 2, "b": 2}\n\nTool: 4'


def test_several_questions_keep_the_system_text_and_thinking():
    turns = [
        {"role": "system", "content": "Be brief."},
        said("Hello!"),
        user(),
        said("4", reasoning_content="two twos"),
        user("3+3?"),
        said("6", reasoning="3+3"),
    ]
    statement, kept, completion = read(turns)
    assert kept == [turns[0], user(), said("<think>\ntwo twos\n</think>\n\n4"), user("3+3?")]
    assert completion == "<think>\n3+3\n</think>\n\n6"
    assert statement == "System: Be brief.\n\nUser: 2+2?\n\nAssistant: <think>\ntwo twos\n</think>\n\n4\n\nUser: 3+3?"
    assert read([user(), said(), user("3+3?"), said("6")], system="Be kind.")[1][0] == {
        "role": "system",
        "content": "Be kind.",
    }


def test_what_follows_the_last_answer_is_left_out():
    assert read([user(), said(), user("thanks")]) == ("2+2?", None, "4")
    assert read([user(), said(), user("3+3?"), said("6"), user("thanks")])[1:] == ([user(), said(), user("3+3?")], "6")


def test_one_question_stays_plain():
    assert read([{"role": "system", "content": "x"}, user(), said()]) == ("2+2?", None, "4")
    assert read([user()]) == ("2+2?", None, None)


def test_a_part_of_a_turn_joins_its_calls():
    calls = [{"from": "gpt", "value": "I add."}, {"from": "function_call", "value": json.dumps(ADD["function"])}]
    _, kept, _ = read(
        [
            {"from": "human", "value": "2+2?"},
            *calls,
            {"from": "observation", "value": "4"},
            {"from": "gpt", "value": "4"},
        ]
    )
    assert kept[1] == {"role": "assistant", "content": "I add.", "tool_calls": [ADD]}


def test_tools_are_kept_as_templates_read_them():
    function = {"name": "add", "parameters": {"type": "object"}}
    asked, _ = several_turns.conversation(
        [user(), said(None, tool_calls=[ADD]), {"role": "tool", "content": "4"}, said()],
        Row({"tools": json.dumps([function])}, Path()), "messages",
    )  # fmt: skip
    assert asked.metadata[CONVERSATION]["tools"] == [{"type": "function", "function": function}]
    assert asked.statement.startswith('Tools: [{"function": {"name": "add"')


@pytest.mark.parametrize(
    ("messages", "columns", "reason"),
    [
        ([user(), said(None, tool_calls=[ADD])], {}, "tool_calls"),
        ([user(), said(None, tool_calls=[{"id": 1}]), {"role": "tool", "content": "4"}, said()], {}, "tool_calls"),
        ([user(), said(None, tool_calls=[{"name": "f", "arguments": "{"}]), {"role": "tool", "content": "4"}, said()], {}, "tool_calls"),
        ([user(), said(), user("3+3?"), said("6")], {"tools": "[5]"}, "tool_calls"),
        ([user(), said("I think"), said("4"), user("3+3?"), said("6")], {}, "several_turns"),
        ([user(), said("I think"), said("4")], {}, "several_turns"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_its_column(messages, columns, reason):
    with pytest.raises(RowError) as caught:
        read(messages, **columns)
    assert str(caught.value) == reason and "column `" in caught.value.detail


def test_a_source_may_leave_conversations_out():
    with pytest.raises(RowError, match="several_turns"):
        several_turns.conversation([user(), said(), user("3+3?"), said("6")], Row({}, Path()), "messages", keep=False)
