"""Conversations of several turns: the masks are written by hand, character by character."""

import string

import pytest

from redistill.corpus.sources.rows import RowError
from redistill.errors import OperatorError
from redistill.model.loading import character_tokenizer, chat_function
from redistill.records import make_problem
from redistill.text.conversations import CONVERSATION, NOT_APPEND_ONLY, all_turns, transcript
from redistill.text.prompts import render
from redistill.tools.export.am import row_of

PLAIN = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}<eos>\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
# as Qwen's: tools before all, calls as JSON in tags, results as a turn
TOOLS = (
    "{% if tools %}<tools>{{ tools | tojson }}<eos>\n{% endif %}"
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% for c in m.tool_calls or [] %}<call>{{ c.function | tojson }}</call>"
    "{% endfor %}<eos>\n{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)
# as those of reasoning models: thinking of earlier turns is deleted
FORGETS = (
    "{% for m in messages %}<{{ m.role }}>{% if loop.last %}{{ m.content }}{% else %}{{ m.content.split('</think>')[-1] }}{% endif %}"
    "<eos>\n{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)


def chat_of(template):
    tokenizer = character_tokenizer(string.printable)
    tokenizer.chat_template = template
    return chat_function(tokenizer)


def problem_of(*said, tools=None):
    messages = [
        dict(role=role, content=text) if isinstance(text, str) else dict(role=role, **text) for role, text in said
    ]
    conversation = {"messages": messages, **({"tools": tools} if tools else {})}
    return make_problem(transcript(conversation), metadata={CONVERSATION: conversation})


def learned(row):
    """The row's completion with a dot in place of every character that has weight 0."""
    _, completion, spans = row
    shown = list(completion)
    for start, end, weight in spans:
        assert weight == 0
        shown[start:end] = "." * (end - start)
    return "".join(shown)


def test_every_turn_of_the_assistant_is_learned_with_its_end_and_nothing_else():
    problem = problem_of(("user", "2+2?"), ("assistant", "4"), ("user", "3+3?"), ("assistant", "6"), ("user", "So?"))
    chat = chat_of(PLAIN)
    prompt = render(problem, "Q: {problem}", chat=chat)
    assert (
        prompt == "<user>2+2?<eos>\n<assistant>4<eos>\n<user>3+3?<eos>\n<assistant>6<eos>\n<user>So?<eos>\n<assistant>"
    )
    row = all_turns(problem, prompt, "Ten.", chat=chat, end="<eos>")
    assert row[0] == "<user>2+2?<eos>\n<assistant>"
    assert row[1] == "4<eos>\n<user>3+3?<eos>\n<assistant>6<eos>\n<user>So?<eos>\n<assistant>Ten."
    first, second = "\n<user>3+3?<eos>\n<assistant>", "\n<user>So?<eos>\n<assistant>"
    assert learned(row) == f"4<eos>{'.' * len(first)}6<eos>{'.' * len(second)}Ten."
    assert row[0] + row[1] == prompt + "Ten."


def test_calls_are_learned_and_results_are_context():
    call = {"content": "", "tool_calls": [{"type": "function", "function": {"name": "add", "arguments": {"a": 2}}}]}
    tools = [{"type": "function", "function": {"name": "add", "parameters": {}}}]
    problem = problem_of(("user", "2+2?"), ("assistant", call), ("tool", "4"), tools=tools)
    chat = chat_of(TOOLS)
    prompt = render(problem, "{problem}", chat=chat)
    row = all_turns(problem, prompt, "Four.", chat=chat, end="<eos>")
    asked, said = '<call>{"name": "add", "arguments": {"a": 2}}</call>', "\n<tool>4<eos>\n<assistant>"
    assert row[0].startswith('<tools>[{"type": "function", "function": {"name": "add"') and row[0].endswith(
        "<assistant>"
    )
    assert learned(row) == f"{asked}<eos>{'.' * len(said)}Four." and row[1] == f"{asked}<eos>{said}Four."


def test_a_plain_question_and_a_conversation_that_begins_with_the_answer_stay_as_they_are():
    chat = chat_of(PLAIN)
    assert all_turns(make_problem("2+2?"), "p", "4", chat=chat, end="<eos>") is None
    first = problem_of(("user", "Hi."), ("user", "2+2?"))
    assert all_turns(first, render(first, "{problem}", chat=chat), "4", chat=chat, end="<eos>") is None


def test_a_template_that_deletes_earlier_thinking_gives_no_row_of_all_turns_and_still_a_prompt():
    thought = problem_of(("user", "2+2?"), ("assistant", "<think>two twos</think>4"), ("user", "3+3?"))
    chat = chat_of(FORGETS)
    prompt = render(thought, "{problem}", chat=chat)
    assert prompt == "<user>2+2?<eos>\n<assistant>4<eos>\n<user>3+3?<eos>\n<assistant>"
    assert all_turns(thought, prompt, "6", chat=chat, end="<eos>") == NOT_APPEND_ONLY
    plain = problem_of(
        ("user", "2+2?"), ("assistant", "4"), ("user", "3+3?")
    )  # nothing to delete: append-only after all
    row = all_turns(plain, render(plain, "{problem}", chat=chat), "6", chat=chat, end="<eos>")
    assert learned(row) == "4<eos>" + "." * len("\n<user>3+3?<eos>\n<assistant>") + "6"


CALL = {"content": "", "tool_calls": [{"type": "function", "function": {"name": "add", "arguments": {}}}]}


@pytest.mark.parametrize(
    ("said", "tools", "template", "words"),
    [
        ([("user", "2+2?"), ("assistant", CALL), ("tool", "4")], None, PLAIN, "omits a tool call of problem"),
        ([("user", "2+2?")], [{"function": {"name": "add"}}], PLAIN, "omits the tools of problem"),
        (
            [("user", "2+2?"), ("assistant", CALL), ("tool", "4")],
            None,
            TOOLS.replace("{{ m.content }}", "{% if m.role != 'tool' %}{{ m.content }}{% endif %}"),
            "omits a tool's result of problem",
        ),
        ([("system", "Be brief."), ("user", "2+2?")], None, PLAIN.replace("messages %}", "messages[1:] %}"), "a message of the system"),
        ([("user", "2+2?"), ("assistant", "4"), ("user", "3+3?")], None, None, "set prompt.chat to true"),
    ],
)  # fmt: skip
def test_what_a_template_cannot_write_is_said_in_a_sentence(said, tools, template, words):
    with pytest.raises(OperatorError, match=words) as caught:
        render(problem_of(*said, tools=tools), "{problem}", chat=template and chat_of(template))
    assert "conversations: false" in str(caught.value)


def test_turns_that_do_not_end_with_the_students_token_are_refused():
    problem = problem_of(("user", "2+2?"), ("assistant", "4"), ("user", "3+3?"))
    chat = chat_of(PLAIN)
    with pytest.raises(OperatorError, match=r"student.end_of_turn.*select.turns to last"):
        all_turns(problem, render(problem, "{problem}", chat=chat), "6", chat=chat, end="<other>")


def test_the_layout_of_am_has_no_place_for_one():
    talk = problem_of(("user", "2+2?"), ("assistant", "4"), ("user", "3+3?"))
    with pytest.raises(RowError, match="several_turns"):
        row_of(talk, "6")
    assert row_of(make_problem("2+2?"), "4")["messages"][0]["content"] == "2+2?"
