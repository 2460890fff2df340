"""Conversations in any dialect: the question, the answer with its thinking, and what is not a single text."""

import json
from pathlib import Path
from typing import Any

import pytest

from redistill.corpus.sources import turns
from redistill.corpus.sources.rows import Row, RowError, taking_notes

ROW = Row({}, Path("."))
THOUGHT = "<think>\n2+2\n</think>\n\n4"


def says(value: Any) -> tuple[str | None, str | None]:
    found = turns.conversation(value, ROW, "messages")
    return found.question, found.completion


def user(text: Any = "2+2?", **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": text, **more}


def said(text: Any = "4", **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


@pytest.mark.parametrize(
    "value",
    [
        [user(), said()],
        [{"from": "human", "value": "2+2?"}, {"from": "gpt", "value": "4"}],
        [{"role": "user", "value": "2+2?"}, {"from": "assistant", "content": "4"}],
        [{"role": "User", "content": "2+2?"}, {"role": " Assistant", "content": "4"}],
        [{"role": "prompter", "text": "2+2?"}, {"role": "bot", "text": "4"}],
        [{"role": "user", "parts": [{"text": "2+2?"}]}, {"role": "model", "parts": ["4"]}],
        [
            {"role": "system", "content": "x"},
            {"role": "developer", "content": "y"},
            user(),
            {"role": "system", "content": "z"},
            said(),
        ],
        [said("Hello, how can I help?"), user(), said()],
        [
            {"role": "system", "content": "x"},
            said("Hi!"),
            said("Ask."),
            user([{"type": "text", "text": "2+2?"}]),
            said(),
        ],
        json.dumps([user(), said()]),
        str([user(), said()]),
    ],
)
def test_one_question_and_its_answer_in_every_dialect(value: Any) -> None:
    assert says(value) == ("2+2?", "4")


@pytest.mark.parametrize(
    "answer",
    [
        [said(reasoning_content="2+2")], [said(reasoning="2+2")], [said(thinking=" 2+2\n")], [said(reasoning_content=["2+2"])],
        [said(reasoning_details=[{"type": "reasoning.text", "text": "2+2"}])],
        [said([{"type": "thinking", "thinking": "2+2", "signature": "s"}, {"type": "text", "text": "4"}])],
        [said([{"type": "thinking", "thinking": [{"type": "text", "text": "2+2"}]}, {"type": "text", "text": "4"}])],
        [said([{"type": "reasoning", "text": "2+2"}, {"type": "output_text", "text": "4"}])],
        [said("2+2", channel="analysis"), said("4", channel="final")],
        [said("", reasoning_content="2+2"), said("4")],
        [said(THOUGHT, reasoning_content="2+2")],  # said twice, and the same
        [said("<think>\n\n</think>\n\n4", reasoning_content="2+2")],
    ],
)  # fmt: skip
def test_reasoning_apart_becomes_thinking_before_the_answer(answer: list[Any]) -> None:
    assert says([user(), *answer]) == ("2+2?", THOUGHT)


@pytest.mark.parametrize("value", ["on", "High", "false", True, 2, "", None])
def test_a_setting_is_no_reasoning(value: Any) -> None:
    assert says([user(), said(reasoning=value)]) == ("2+2?", "4")


def test_reasoning_that_never_came_to_an_answer_stays_open() -> None:
    assert says([user(), said(None, reasoning_content="2+2 is")])[1] == "<think>\n2+2 is"
    assert says([user(), said("2+2 is", channel="analysis")])[1] == "<think>\n2+2 is"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([user(), said(), user("3+3?"), said("6")], "several_turns"),
        ([user(), said(), user("thanks")], "several_turns"),
        ([user(), said("I think"), said("4")], "several_turns"),
        ([user(), said(None, tool_calls=[{"id": 1}])], "tool_calls"),
        ([user(), said(None, tool_calls=[{"id": 1}]), {"role": "tool", "content": "4"}, said()], "tool_calls"),
        ([{"from": "human", "value": "2+2?"}, {"from": "function_call", "value": "{}"}, {"from": "observation", "value": "4"}, {"from": "gpt", "value": "4"}], "tool_calls"),
        ([user(), {"role": "narrator", "content": "4"}], "unknown_role"),
        ([user(), {"role": 5, "content": "4"}], "unknown_role"),
        ([user(), said("<think>3+1</think>4", reasoning_content="2+2")], "two_thinkings"),
        ([user([{"type": "image"}, {"type": "text", "text": "2+2?"}]), said()], "wrong_type"),
        ([user(), {"content": "4"}], "wrong_type"),
        (["2+2?", "4"], "wrong_type"),
        ("2+2?", "wrong_type"),
        (4, "wrong_type"),
    ],
)  # fmt: skip
def test_what_is_no_single_text_is_refused_with_a_sentence_that_names_the_column(value: Any, reason: str) -> None:
    with pytest.raises(RowError) as caught:
        says(value)
    assert str(caught.value) == reason
    assert reason == "two_thinkings" or "`messages" in caught.value.detail
    if "thanks" in str(value):
        assert "holds 2 user messages" in caught.value.detail


def test_a_conversation_without_an_answer_has_none_and_a_greeting_is_none() -> None:
    assert says([user()]) == ("2+2?", None)
    assert says([said("Hello!"), user()]) == ("2+2?", None)
    assert says([said()]) == (None, "4")


def test_fields_of_turns_that_nobody_asks_for_are_counted() -> None:
    with taking_notes() as notes:
        says([user(weight=0), said(weight=1, tool_calls=[])])
    assert notes.unread == {"messages[].weight": 2}


def test_prompts_are_text_messages_or_alpacas_two_columns() -> None:
    def prompt(column: str = "prompt", input_column: str | None = None, **columns: Any) -> str:
        return turns.prompt_of(Row(columns, Path(".")), column, input_column)

    assert prompt(prompt="2+2?") == prompt(prompt=[user()]) == prompt(prompt={"messages": [user()]}) == "2+2?"
    assert prompt("instruction", instruction="Solve.", input="2+2?") == "Solve.\n2+2?"
    assert prompt("instruction", instruction="2+2?", input="") == "2+2?"
    assert prompt("problem", problem="2+2?", input="the whole prompt") == "2+2?"  # input belongs to instruction alone
    assert prompt("problem", "input", problem="Solve.", input="2+2?") == "Solve.\n2+2?"
    with pytest.raises(RowError, match="several_turns"):
        prompt("instruction", instruction="2+2?", history=[["a", "b"]])
