"""A completion -> its final answer, as written: which of the places that hold one counts.

    extract("<think>perhaps 7</think> So the total is \\boxed{12}.")   ->  "12"
    extract("Perhaps 7. Then the sum is 12. I give up")                ->  None
    extract("First \\boxed{5}. No, it is \\boxed{7")                    ->  None: the last box never closes

Only the model's own turn is read, after its thinking (text/thinking.py), without tool calls and code; and only an anchor
makes an answer: never "the last number in the text", which grades an abandoned trace by chance. The rule between several
places:

1. The most formal anchor counts (the order of ANCHORS), the last of its kind; a line of its own after it (`Answer: D`)
   counts before it.
2. Where that place is void (an empty or unclosed box, the words of the format) or the text takes it back (`Wait, that is
   wrong`), only what is stated after it counts. A supposed answer (`one may think it is`) is no place.
3. What is stated after the place that counts must not contradict it: one right and one wrong is undecided.
4. Neighbouring boxes may be one list: right where the list is the gold answer, undecided where only the last box is.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from redistill.records import DECIDED, Outcome
from redistill.text.thinking import read_thinking
from redistill.verify import anchors as places
from redistill.verify.anchors import Place
from redistill.verify.retraction import conclusions, goes_on, is_taken_back, without_struck

Anchor = Literal["answer_tag", "json", "boxed", "hashes", "sentence"]  # the keys of ANCHORS; recipes are checked by it

MAX_CONCLUDED = 4_000  # characters after an answer in which conclusions are looked for
MAX_CHARS = 1_000_000  # of the answer part, from its end: the final answer of a longer text is not before them

ANCHORS: dict[Anchor, Callable[[str], Place | None]] = {
    "answer_tag": places.answer_tag,
    "json": places.json_answer,
    "boxed": places.boxed,
    "hashes": places.hashes,
    "sentence": places.sentence,
}


@dataclass(frozen=True, slots=True)
class Found:
    """What a completion says in the end. answer: None without one, and then `reason` says why.

    joined, apart: the answer as a list of several boxes (see Place); others: what is stated after it or under a condition;
    concluded: what is concluded after it in other words, refuting: those of them that would show it wrong; weak: it may be a
    remark; cut: the completion ends inside its thinking.
    """

    answer: str | None
    reason: str = ""
    joined: str | None = None
    apart: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    concluded: tuple[str, ...] = ()
    refuting: tuple[str, ...] = ()
    weak: bool = False
    cut: bool = False


def find_answer(completion: str, anchors: Sequence[Anchor] | None = None) -> Found:
    """The final answer of a completion by the rule above.

    anchors: names from ANCHORS, the most formal first (default: all). What the model marked most formally goes first: a tag
    or a JSON field is the format it was asked for, and holds its box, while a box may stand in working.
    """
    thought = read_thinking(completion)
    if thought.state == "open":
        return Found(None, "thinking_unclosed", cut=True)
    text = without_struck(_first_turn(_without_code(_repaired(thought.answer[-MAX_CHARS:]))))
    names = list(ANCHORS) if anchors is None else list(anchors)
    place, passed_over = _counted(text, names)
    if place is None:
        return Found(None, "no_anchor")
    later, remarks = _later(text, place.end, names)
    if place.text is not None and is_taken_back(text, place.end):
        place = place._replace(text=None, void="retracted")
    if place.text is None:
        if not later:
            return Found(None, f"{place.void}_answer")
        place, later = later[-1], later[:-1]
    elif line := next((other for other in reversed(later) if other.line), None):
        later = [place, *(other for other in later if other is not line)]
        place = line
    others = (*(str(other.text) for other in (*later, *passed_over) if other.text != place.text), *place.rivals)
    ends = conclusions(text[place.end :][:MAX_CONCLUDED]) if len(text) > place.end + 4 else []
    ends += [(str(remark.text), False) for remark in remarks]
    unsettled = place.conditional or goes_on(text, place.end)
    return Found(
        place.text,
        joined=place.joined,
        apart=place.apart,
        others=others,
        concluded=tuple(value for value, _ in ends),
        refuting=tuple(value for value, named in ends if named or unsettled),
        weak=place.weak,
    )


def extract(completion: str, anchors: Sequence[Anchor] | None = None) -> str | None:
    """The final answer of a completion, or None without one; anchors as in find_answer."""
    return find_answer(completion, anchors).answer


def weigh(answer: Found, compare: Callable[[str], tuple[Outcome, str]]) -> tuple[Outcome, str]:
    """The finding on an answer that was found, its other readings considered. compare: an answer -> a finding."""
    assert answer.answer is not None
    outcome, reason = compare(answer.answer)
    if answer.joined is not None:
        as_list = compare(answer.joined)
        if as_list[0] is Outcome.correct:
            return as_list
        if {outcome, as_list[0]} == DECIDED:
            return Outcome.disagree, "one_or_several_answers"
    if outcome is Outcome.incorrect and any(compare(text)[0] is Outcome.correct for text in answer.apart):
        return Outcome.disagree, "one_or_several_answers"
    if outcome in DECIDED and any({outcome, compare(text)[0]} == DECIDED for text in answer.others):
        return Outcome.disagree, "answers_contradict"
    if outcome is Outcome.incorrect and any(compare(text)[0] is Outcome.correct for text in answer.concluded):
        return Outcome.disagree, "answers_contradict"
    if outcome is Outcome.correct and any(compare(text)[0] is Outcome.incorrect for text in answer.refuting):
        return Outcome.disagree, "answers_contradict"
    if answer.weak and outcome is Outcome.incorrect:
        return Outcome.ungradable, "perhaps_a_remark"
    return outcome, reason


def stated(text: str, *names: Anchor) -> str | None:
    """What the first of these anchors holds in a text, as a gold answer is read; None where none holds anything."""
    return next((place.text for name in names if (place := ANCHORS[name](text)) and place.text is not None), None)


_SAYS = re.compile(r"\w")


def _counted(text: str, names: Sequence[Anchor]) -> tuple[Place | None, list[Place]]:
    """The place of the most formal anchor, and those of more formal ones that hold under a condition only."""
    passed_over: list[Place] = []
    for name in names:
        if place := ANCHORS[name](text):
            if not place.conditional:
                return place, passed_over
            passed_over.append(place)
    return (passed_over[0], []) if passed_over else (None, [])


def _later(text: str, start: int, names: Sequence[Anchor]) -> tuple[list[Place], list[Place]]:
    """What is stated after a place, in order: values, and what may be remarks."""
    if not _SAYS.search(text, start):
        return [], []
    rest = text[start:]
    found = [
        place
        for name in names
        if (place := ANCHORS[name](rest)) and place.text is not None and not is_taken_back(rest, place.end)
    ]
    found.sort(key=lambda place: place.start)
    return [place for place in found if not place.weak], [place for place in found if place.weak]


# --- what is not the answer's text --------------------------------------------------------------------------------

# Python and JSON turn the \\b of an unescaped \\boxed into a control character, and so on; nothing else stands before these.
_EATEN = re.compile(
    "\x08(?=oxed|eta|inom|ar\\b|egin|mod|ig)|\x0c(?=rac|box|orall)|\x07(?=lpha|pprox|ngle)|\x0b(?=ec\\b|ert)"
    "|\t(?=heta|imes|ext\\{|an\\b|frac|au\\b)|\r(?=ight|m\\{|ho\\b)"
)
_LETTERS = {"\x08": "b", "\x0c": "f", "\x07": "a", "\x0b": "v", "\t": "t", "\r": "r"}


def _repaired(text: str) -> str:
    """The text with LaTeX commands whose first letters were eaten as an escape."""
    if not ("\t" in text or "\r" in text or "\x08" in text or "\x0c" in text or "\x07" in text or "\x0b" in text):
        return text
    return _EATEN.sub(lambda eaten: "\\" + _LETTERS[eaten.group()], text)


_TOOL = re.compile(
    r"<(tool_calls?|function_calls?|tool_response|tool_results?|tool|python|interpreter|output|execution_result|search|information)>.*?(?:</\1>|\Z)"
    r"|<function=.*?(?:</function>|\Z)|\[TOOL_CALLS\][^\n]*|<\|python_tag\|>.*?(?:<\|eom_id\|>|\Z)"
    r"|<[|｜]tool[▁_]calls?(?:[▁_]section)?(?:[▁_]begin)?[|｜]>.*?(?:<[|｜]tool[▁_]calls?(?:[▁_]section)?[▁_]end[|｜]>|\Z)",
    re.DOTALL | re.IGNORECASE,
)  # fmt: skip
_TOOL_OPENS = re.compile(
    r"<(?:[|｜]?(?:tool|python)|function|interpreter|output|execution|search|information)", re.IGNORECASE
)
_TOOL_LINE = re.compile(
    r"(?:\A|(?<=\n))[ \t]*(?:Action Input|Observation|Tool (?:call|input|output)|Function call)[ \t]*:[^\n]*"
)
_TOOL_LINE_OPENS = re.compile(r"\n[ \t]*+(?=[AOTF])(?:Action I|Observation|Tool |Function c)")
_AFTER_MARK = r"[ \t]*([\w+#.-]{0,20})[^\n]{0,60}\n"
_FENCE = re.compile(r"(```(?<!````)`*|~~~(?<!~~~~)~*)" + _AFTER_MARK)
_FENCE_OF_TICKS = re.compile(
    r"(```(?<!````)`*)" + _AFTER_MARK
)  # begins with plain text, which is found ten times quicker
_FENCE_END = re.compile(r"\n[ \t]*(`{3,}|~{3,})")
_READ_FENCES = frozenset(
    (
        "json",
        "json5",
        "jsonc",
        "text",
        "txt",
        "plaintext",
        "plain",
        "latex",
        "tex",
        "math",
        "markdown",
        "md",
        "xml",
        "html",
    )
)
_CODE = re.compile(
    r"^[ \t]*(?:import|from|def|class|print|return|for|while|let|const|var|assert|#include|>>>)\b[ \t(]|^[ \t]*[A-Za-z_]\w*[ \t]*=[ \t]*[{\[(\"'\w]",
    re.MULTILINE,
)  # fmt: skip


def _without_code(text: str) -> str:
    """The text without tool calls, their results, and code: what a program says there is not what the model answers."""
    if "[TOOL" in text or ("<" in text and _TOOL_OPENS.search(text)):
        text = _TOOL.sub(" ", text)
    if _TOOL_LINE_OPENS.search(text) or _TOOL_LINE.match(text):
        text = _TOOL_LINE.sub(" ", text)
    if "~~~" in text:
        return _without_fences(text, _FENCE)
    return _without_fences(text, _FENCE_OF_TICKS) if "```" in text else text


def _without_fences(text: str, opening: re.Pattern[str]) -> str:
    """The text without the fences that hold code. A fence ends at a line with its own mark, or at the end of the text."""
    parts, kept, at = [], 0, 0  # `kept`: up to where the text stands in parts
    while fence := opening.search(text, at):
        start = fence.end()
        end = next((end for end in _FENCE_END.finditer(text, start) if end[1].startswith(fence[1])), None)
        inside_end, at = (end.start(), end.end()) if end else (len(text), len(text))
        if _is_code(fence[2], text[start:inside_end]):
            parts += [text[kept : fence.start()], _left_of_code(text[start:inside_end])]
            kept = at
    return "".join((*parts, text[kept:])) if parts else text


def _left_of_code(content: str) -> str:
    """What is left of a fence that holds code: an answer tag at its end, where it belongs to no line."""
    tag = _LAST_TAG.search(content)
    return f"\n{tag.group()}\n" if tag else "\n"


_LAST_TAG = re.compile(r"^[ \t]*<answer>[^<]{0,2000}</answer>\s*\Z", re.MULTILINE | re.IGNORECASE)


def _is_code(language: str, content: str) -> bool:
    if language.lower() in _READ_FENCES:
        return False
    return bool(language) or (content.lstrip()[:1] not in ("{", "[") and bool(_CODE.search(content)))


# Base models go on with the next question of a few-shot prompt, or with the user's next turn. The look ahead asks nothing that the
# rest does not ask: most lines begin with another letter or word, and are left at once.
_PERSON = "human|user|instruction|system"
_QUESTION = "question|q|pregunta|pergunta|frage|domanda|вопрос|问题|問題|问|質問|질문|문제|用户"
_TASK = "problem|exercise|example|input|task"
_EXTRA = "practice|bonus|follow-up|similar|extra"
_NEXT_TURN = re.compile(
    rf"\n(?=[ \t>*_#]{{0,22}}+(?=[huisqpfdetbв问問質질문用])(?:{_PERSON}|{_QUESTION}|(?:(?:{_EXTRA})[ \t]+)?(?:{_TASK})|{_EXTRA}))"
    rf"[ \t>*_]{{0,8}}(?P<heading>#{{1,6}})?[ \t*_]{{0,8}}(?:(?P<person>{_PERSON})|(?P<question>(?:(?:{_EXTRA})[ \t]+)?(?:{_QUESTION}))|(?P<task>(?:(?:{_EXTRA})[ \t]+)?(?:{_TASK})|practice|bonus))"
    r"[ \t]{0,8}(?:\(?\d{1,3}\)?)?[ \t*_]{0,4}(?:[:：]|(?(heading)(?=\n|$)|(?!)))",  # a heading needs no colon
    re.IGNORECASE,
)


# `The result is 42.`, `42 is right.`: no anchor, and the question behind it is another one all the same.
_CONCLUDES = re.compile(r"(?:\b(?:is|are|was|equals|gives|get|be)\b|=|=>|→)[\s:]{0,4}[$\\*\dA-Z+\-−]")


def _first_turn(text: str) -> str:
    """The text up to a new question or a new speaker. A task repeated before any answer stays: it opens a solution."""
    read_to = 0  # up to where the text was looked at, so that no part of it is read twice
    for turn in _NEXT_TURN.finditer(text):
        before = text[read_to : turn.start()]
        if before.strip() and (
            turn.group("person")
            or (turn.group("question") and _CONCLUDES.search(before))
            or any(anchor(before) for anchor in ANCHORS.values())
        ):
            return text[: turn.start()]
        read_to = turn.start()
    return text
