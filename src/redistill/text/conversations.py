"""Conversations of several turns, with or without tools: as a statement, as a prompt, and as one row with all turns learned.

    {"messages": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}, {"role": "user", "content": "And 3+3?"}]}

lies under CONVERSATION in a problem's metadata, with `tools` where any are offered; its traces are answers to the last message.
The statement is its transcript, so that equal conversations are one problem. The prompt is what the tokenizer's chat template
makes of the messages; the recipe's own template is not put around them. `all_turns` learns the assistant's earlier turns too:

    prompt      <|im_start|>user\\n2+2?<|im_end|>\\n<|im_start|>assistant\\n
    completion  4<|im_end|>\\n<|im_start|>user\\nAnd 3+3?<|im_end|>\\n<|im_start|>assistant\\n6
    spans       weight 0 on everything between the first <|im_end|> and the 6: what users, tools and the template wrote
"""

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from redistill.errors import OperatorError
from redistill.records import Problem, Span

CONVERSATION = "conversation"  # the name in a problem's metadata
NOT_APPEND_ONLY = "template_rewrites_turns"  # the reason of a conversation whose earlier turns later ones change

Message = Mapping[str, Any]
# (messages or text, tools=..., add_generation_prompt=...) -> text, in the tokenizer's chat template
Chat = Callable[..., str]


def conversation_of(problem: Problem) -> Mapping[str, Any] | None:
    """The conversation that a problem is; None for a plain question."""
    conversation = problem.metadata.get(CONVERSATION)
    return conversation if isinstance(conversation, Mapping) and conversation.get("messages") else None


def transcript(conversation: Mapping[str, Any]) -> str:
    """The conversation as text for readers and for comparison: who said what, one paragraph per message."""
    parts = []
    if conversation.get("tools"):
        parts.append(f"Tools: {json.dumps(conversation['tools'], sort_keys=True, ensure_ascii=False)}")
    for message in conversation["messages"]:
        said = str(message.get("content") or "").strip()
        parts.append(f"{str(message['role']).capitalize()}: {said}".rstrip())
        parts += [
            f"Call: {call['function']['name']} {json.dumps(call['function']['arguments'], sort_keys=True, ensure_ascii=False)}"
            for call in message.get("tool_calls") or ()
        ]
    return "\n\n".join(parts)


def conversation_prompt(problem: Problem, conversation: Mapping[str, Any], chat: Chat | None) -> str:
    """The prompt of a conversation, ready for the assistant's next turn.

    OperatorError where there is no chat template, or it leaves out what was said, called or returned: a student would be
    taught to answer what it was not shown.
    """
    if chat is None:
        raise OperatorError(
            f"problem {problem.id} ({problem.source_row}) is a conversation of several turns, which only a chat "
            f"template can render: set prompt.chat to true with a student whose tokenizer has one, or `conversations: false` in its source to "
            "drop such rows."
        )
    messages, tools = list(conversation["messages"]), conversation.get("tools")
    text = chat(messages, tools=tools)
    if missing := _left_out(text, messages, tools):
        raise OperatorError(
            f"prompt.chat: the student's chat template omits {missing} of problem {problem.id} "
            f"({problem.source_row}); use a student whose template renders it, or set `conversations: false` in its source to drop such rows."
        )
    return text


def _left_out(text: str, messages: Sequence[Message], tools: Any) -> str | None:
    """What the rendered text does not hold, in words; earlier thinking may be gone, as templates of reasoning models want it."""
    place = 0
    for tool in tools or ():
        if str(tool.get("function", tool).get("name")) not in text:
            return "the tools"
    for message in messages:
        said = str(message.get("content") or "").rpartition("</think>")[2].strip()
        at = text.find(said, place)
        if at < 0:
            return "a tool's result" if message["role"] == "tool" else f"a message of the {message['role']}"
        place = at + len(said)
        for call in message.get("tool_calls") or ():
            at = text.find(str(call["function"]["name"]), place if message.get("content") else 0)
            if at < 0:
                return "a tool call"
    return None


def all_turns(
    problem: Problem, prompt: str, completion: str, *, chat: Chat, end: str
) -> tuple[str, str, tuple[Span, ...]] | str | None:
    """(prompt, completion, spans) in which every turn of the assistant is learned with the token that ends it, and all else has
    weight 0; None where the trace's own answer is the only turn; NOT_APPEND_ONLY where a later message changes how the template
    writes an earlier turn (reasoning templates delete earlier thinking): no single text then holds what was said at each turn.

    prompt: that of the whole conversation; completion: the trace's own; end: the student's end-of-turn token.
    OperatorError where the template does not end earlier turns with that token.
    """
    conversation = conversation_of(problem)
    if conversation is None:
        return None
    messages, tools = list(conversation["messages"]), conversation.get("tools")
    learned = list[tuple[int, int]]()
    for place, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        before = chat(messages[:place], tools=tools)
        after = chat(messages[: place + 1], tools=tools, add_generation_prompt=False)
        if not (prompt.startswith(before) and prompt.startswith(after) and len(before) < len(after)):
            return NOT_APPEND_ONLY
        stop = after.rfind(end, len(before))
        if stop < 0 or after[stop + len(end) :].strip():
            raise OperatorError(
                f"student.end_of_turn: the chat template ends the assistant's turns with {after[-20:]!r}, not with "
                f"{end!r}, so the student would not learn to end them; set student.end_of_turn to chat-template, or select.turns to last."
            )
        learned.append((len(before), stop + len(end)))
    if not learned:
        return None
    start = learned[0][0]
    bounds = [*learned, (len(prompt), 0)]
    spans = tuple(
        Span(ended - start, begins - start, 0.0)
        for (_, ended), (begins, _) in itertools.pairwise(bounds)
        if begins > ended
    )
    return prompt[:start], prompt[start:] + completion, spans
