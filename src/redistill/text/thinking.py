"""A completion -> the model's own turn in it, and that turn -> (thinking, answer part). The one place that knows the tags.

    split_thinking("<think>2+2=4</think> So 4")                             ->  ("2+2=4", " So 4")
    split_thinking("[THINK]2+2=4[/THINK] So 4")                             ->  ("2+2=4", " So 4")
    split_thinking("<|channel|>analysis<|message|>2+2=4<|end|><|start|>assistant<|channel|>final<|message|>So 4")
                                                                            ->  ("2+2=4", "So 4")
    thinking_state("<thought>perhaps 7")                                    ->  "open": cut before its end
    own_turn("So 4<|im_end|>\\n<|im_start|>user\\nAnd 3+3?")                   ->  "So 4"

Thinking that was begun and never closed has no answer part, whatever it holds. A tag that a sentence only mentions ("the
tag <think> is used by ...") opens nothing; where nobody can say whether it is a mention, it counts as a tag, so that
nothing is read from what may be thought. The opening tag may be missing: chat templates write it into the prompt.
"""

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

ThinkingState = Literal["none", "closed", "open"]


class Thinking(NamedTuple):
    """The two parts of a completion. state: `none` without tags, `closed`, or `open` where it ends inside the thinking."""

    thinking: str
    answer: str
    state: ThinkingState


# Tags by name, in pointed brackets: <think> (DeepSeek-R1, Qwen3), <seed:think>, <longcat_think>, <thinking> and
# <reflection> (Anthropic's prompts, Reflection), <thought> (EXAONE), <reasoning> (GRPO recipes); <|think|> too.
_NAME = (
    r"(?:\w{1,20}[:_-])?think(?:ing)?(?:[_-]\w{1,20})?|(?:\w{1,20}[_-])?(?:thoughts?|thought[_-]process|reasoning|reflections?|monologue|scratchpad"
    r"|rationale|deliberation)|chain[_-]of[_-]thought|cot|analysis|brainstorm(?:ing)?"
)
# One pattern for each first character: a pattern that begins with plain text is found many times quicker.
_POINTED_TAG = re.compile(
    r"<(?:\|\s?(?:(?P<d>begin|start)|(?P<d_end>end))_(?:of_)?(?:thoughts?|think(?:ing)?|reasoning)\s?\|>"  # OpenThoughts, Command
    r"|\|(?:thoughts?|think(?:ing)?|reasoning)_(?:(?P<e>begin|start)|(?P<e_end>end))\|>"
    r"|\|inner_(?:(?P<f>prefix)|(?P<f_end>suffix))\|>"  # Apertus
    r"|\|im_start\|>\s{0,4}(?:(?P<g>think)|(?P<g_end>answer))\b"  # s1
    r"|\s{0,4}\|?\s{0,4}(?P<a_end>/?)\s{0,4}(?P<a>" + _NAME + r")\s{0,4}\|?\s{0,4}>"
    r"|details\s(?P<h>[^<>]{0,60}type=.reasoning.)[^<>]{0,60}>)",  # Open WebUI, closed by </details>
    re.IGNORECASE,
)
_SQUARE_TAG = re.compile(
    r"\[\s{0,4}(?P<b_end>/?)\s{0,4}(?P<b>THINK(?:ING)?|THOUGHT|REASONING)\s{0,4}\]"
)  # Magistral; [thinking] is prose
_KIMI_TAG = re.compile(r"◁(?P<c_end>/?)(?P<c>think)▷", re.IGNORECASE)
_TAGS = {"<": _POINTED_TAG, "[": _SQUARE_TAG, "◁": _KIMI_TAG}
_TERMINAL = re.compile(r"\A\s*(?P<i>Thinking)\.\.\.\s*\n|(?P<i_end>\.\.\.done thinking\.)")  # ollama's terminal
_DETAILS_END = re.compile(r"</details>", re.IGNORECASE)
_CHANNEL = re.compile(
    r"<\|channel\|>\s{0,4}(\w{1,20})\b[^<]{0,200}(?:<\|constrain\|>[^<]{0,200})?<\|message\|>"
)  # gpt-oss
_BARE_ANALYSIS = re.compile(r"\s*analysis(?=[A-Z\"'(\d])")  # the same, decoded without its special tokens
_BARE_FINAL = re.compile(r"assistant\s*final(?=\S)")

_QUOTES = "`'\"“”‘’«»「」"
_MENTION_BEFORE = re.compile(
    r"(?:\b(?:tags?|tokens?|markers?|marks?|blocks?|sections?|formats?|template|wrap(?:ped)?|inside|within|between|use[sd]?"
    r"|using|with|in|the|an?|call(?:ed)?|like|string|and|or|from|of)|,)[ \t]+$",
    re.IGNORECASE,
)
_MENTION_AFTER = re.compile(
    r"[ \t]*(?:[,;)]|[ \t](?:tags?|tokens?|markers?|marks?|blocks?|sections?|is|are|was|were|and|or|means?|as)\b)",
    re.IGNORECASE,
)
_PAIR_NAMED = re.compile(r"\W*(?:and|or|to|\.\.\.|…)\W*", re.IGNORECASE)  # "<think> and </think>", "<think>...</think>"


class ThinkingTag(NamedTuple):
    """An opening or closing tag: characters `start` to `end`; partners have the same `name`."""

    start: int
    end: int
    name: str
    closes: bool


def read_thinking(completion: str) -> Thinking:
    """The parts of the model's own turn: the answer part follows the last closing tag, or is all where there is none."""
    text = own_turn(completion)
    if channels := list(_CHANNEL.finditer(text)) if "<|channel|>" in text else []:
        last = channels[-1]
        thinking = re.split(r"<\|(?:end|start)\|>", text[channels[0].end() : last.start()], maxsplit=1)[0]
        if last.group(1) != "final":
            return Thinking(text[channels[0].end() :], "", "open")
        return Thinking(thinking if len(channels) > 1 else "", text[last.end() :], "closed")
    if bare := _BARE_ANALYSIS.match(text) if "analysis" in text[:40] else None:
        finals = list(_BARE_FINAL.finditer(text))
        if not finals:
            return Thinking(text[bare.end() :], "", "open")
        return Thinking(text[bare.end() : finals[-1].start()], text[finals[-1].end() :], "closed")
    opened: dict[str, ThinkingTag] = {}
    first, closing = None, None
    for tag in thinking_tags(text):
        if not tag.closes:
            opened.setdefault(tag.name, tag)
            first = first or (tag if closing is None else None)
        else:
            opened.pop(tag.name, None)
            closing = tag
    if opened:
        start = min(tag.end for tag in opened.values()) if closing is None or first is None else first.end
        return Thinking(text[start:], "", "open")
    if closing is None:
        return Thinking("", text, "none")
    return Thinking(text[first.end if first else 0 : closing.start], text[closing.end :], "closed")


def split_thinking(completion: str) -> tuple[str, str]:
    """(thinking, answer part), as read_thinking finds them."""
    return read_thinking(completion)[:2]


def thinking_state(completion: str) -> ThinkingState:
    """`open` where a completion ends inside its thinking, `closed` where it came out of it, `none` without thinking."""
    return read_thinking(completion).state


def thinking_tags(text: str) -> Iterator[ThinkingTag]:
    """The tags of thinking in their order, without those that are only mentioned."""
    tags = [_tag(match) for opens, tag in _TAGS.items() if opens in text for match in tag.finditer(text)]
    if "done thinking." in text or _TERMINAL.match(text):
        tags += [_tag(match) for match in _TERMINAL.finditer(text)]
    tags = sorted(tags + [ThinkingTag(m.start(), m.end(), "h", True) for m in _details_ends(text, tags)])
    skip = -1
    for index, tag in enumerate(tags):
        if index <= skip:
            continue
        after = tags[index + 1] if index + 1 < len(tags) else None
        if after and not tag.closes and after.closes and after.name == tag.name:
            between = text[tag.end : after.start]
            if _PAIR_NAMED.fullmatch(between):
                skip = index + 1  # both are mentioned
                continue
        if not _is_mention(text, tag):
            yield tag


def _details_ends(text: str, tags: list[ThinkingTag]) -> list[re.Match[str]]:
    opened = [tag for tag in tags if tag.name == "h"]
    return list(_DETAILS_END.finditer(text, opened[0].end)) if opened else []


def _tag(match: re.Match[str]) -> ThinkingTag:
    kind = match.lastgroup or ""
    if kind in ("a", "b", "c"):  # the tag's own name tells it from the others, and a slash closes it
        return ThinkingTag(match.start(), match.end(), match.group(kind).lower(), bool(match.group(f"{kind}_end")))
    return ThinkingTag(match.start(), match.end(), kind[0], kind.endswith("_end"))


def _is_mention(text: str, tag: ThinkingTag) -> bool:
    """Whether a sentence speaks of the tag. An opening tag needs evidence on the same line: quotes, or words of a sentence
    that goes on after it (`the tag <think> is`); a closing one needs quotes on both sides."""
    before, after = text[max(0, tag.start - 1) : tag.start], text[tag.end : tag.end + 1]
    quoted = [bool(mark) and mark in _QUOTES for mark in (before, after)]
    if tag.closes:
        return all(quoted)
    if any(quoted):
        return True
    if before not in (" ", "\t"):
        return False
    line = text[max(0, tag.start - 80) : tag.start].rpartition("\n")[2]
    return bool(_MENTION_BEFORE.search(line) and re.match(r"[ \t]*[^\s<\\]|[ \t]*[.,;)]", text[tag.end : tag.end + 20])
                and (_MENTION_AFTER.match(text, tag.end) or text[tag.end : tag.end + 1] in ".,;)"))  # fmt: skip


# --- where the model's own turn ends ----------------------------------------------------------------------------

_ASSISTANT = (
    r"(?:<\|im_start\|>\s*assistant|<\|(?:start_header_id|header_start)\|>\s*assistant\s*<\|(?:end_header_id|header_end)\|>"
    r"|<start_of_turn>\s*model|<\|start_of_role\|>\s*assistant\s*<\|end_of_role\|>|<\|start\|>\s*assistant"
    r"|<[|｜]assistant[|｜]>|\[\|assistant\|\]|\[/INST\])"
)
_ASSISTANT_HEADER = re.compile(_ASSISTANT + r"[ \t]*\n*", re.IGNORECASE)
_OPENING = re.compile(
    r"\s*(?:(?:<s>|<bos>|<\|(?:begin_of_text|startoftext)\|>|<｜begin▁of▁sentence｜>|" + _ASSISTANT + r")\s*)+",
    re.IGNORECASE,
)
_PROMPT_FIRST = re.compile(
    r"\s{0,20}(?:<s>|<bos>|<\|begin_of_text\|>|<｜begin▁of▁sentence｜>)?\s{0,20}(?:<\|im_start\|>\s*(?:system|user)\b"
    r"|<\|(?:start_header_id|header_start)\|>\s*(?:system|user)\b|<start_of_turn>\s*user\b|<[|｜](?:user|system)[|｜]>|\[INST\])",
    re.IGNORECASE,
)
# End-of-turn and header tokens of the usual chat templates: ChatML, Llama 2 to 4, Mistral, Gemma, Phi, DeepSeek, GLM,
# Command, EXAONE, Granite, OpenChat, gpt-oss. <|end|> ends a message of gpt-oss, whose turn may go on.
_TURN_END = re.compile(
    r"<(?:\|(?:im_end|eot_id|eom_id|eot|end_of_text|endoftext|end_of_turn|endofturn|END_OF_TURN_TOKEN|START_OF_TURN_TOKEN"
    r"|return|call|user|system|human|assistant|observation|start_header_id|header_start|start_of_role|end_of_sentence)\|>"
    r"|\|im_start\|>(?!\s*(?:think|answer)\b)|\|end\|>(?!\s*<\|start\|>\s*assistant)|\|start\|>(?!\s*assistant)"
    r"|/?s>|(?:end|start)_of_turn>|eos>|extra_id_\d+>|｜(?:User|Assistant|(?:end|begin)▁of▁sentence)｜>|</?SYS>>)",
    re.IGNORECASE,
)
_TURN_END_SQUARE = re.compile(r"\[(?:/?INST\]|\|(?:endofturn|user|system|assistant)\|\])", re.IGNORECASE)


def own_turn(completion: str) -> str:
    """The model's first turn: after its own header where there is one, up to the first end-of-turn or header token."""
    if "<" not in completion and "[" not in completion:
        return completion
    start = 0
    if _PROMPT_FIRST.match(completion) and (header := _ASSISTANT_HEADER.search(completion)):
        start = header.end()
    elif opening := _OPENING.match(completion):
        start = opening.end()
    ends = [end.start() for pattern in (_TURN_END, _TURN_END_SQUARE) if (end := pattern.search(completion, start))]
    return completion[start : min(ends)] if ends else completion[start:]
