"""The places of a text that hold a final answer, one function for each kind of anchor.

    boxed(r"first \\boxed{5}, so \\boxed{7}")      ->  Place(text="7")
    boxed(r"first \\boxed{5}, so \\boxed{7")       ->  Place(text=None, void="unclosed"): never 5
    sentence("The answer is 42. Checking, the answer is consistent.")  ->  Place(text="42")

Each function returns the last place of its kind, or None. A place is *void* where the model began to state an answer that
nobody can read: a box that is empty, unclosed or holds the words of the format (`ANSWER`). Every search is a single pass.
"""

import html
import json
import re
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from redistill.verify.retraction import is_conditional, is_hypothetical, is_supposed, names_itself_wrong

Void = Literal["", "empty", "unclosed", "placeholder", "unreadable", "retracted"]

TAIL_CHARS = 600  # a sentence ("the answer is ...") counts only this near the end: earlier ones are working notes
MAX_LINE = 500  # characters of an answer written in a sentence or after ####
MAX_VALUE = 4_000  # characters of a list or table in JSON
FAR_BOXES = 6  # boxes that are tried as the parts of one list answer


class Place(NamedTuple):
    """One statement of the answer: where it stands, and what it says (None: void).

    weak: words of a sentence that may be a remark (`the answer is positive`): right or nothing, never wrong. line: a line
    of its own (`Answer: D`). conditional: of a sentence that says when (`for n = 3, the answer is 7`); rivals: what is stated
    under other conditions. joined: the text as one of a list, where neighbouring boxes or a JSON list may be meant as one;
    apart: the same of boxes that stand far apart, which shows only that nobody can tell.
    """

    start: int
    end: int
    text: str | None
    void: Void = ""
    weak: bool = False
    line: bool = False
    conditional: bool = False
    joined: str | None = None
    apart: tuple[str, ...] = ()
    rivals: tuple[str, ...] = ()


def _small(text: str) -> str:
    """The text in small letters, each at its place."""
    return text.replace("İ", "i").lower()  # it alone would become two characters


# --- values -----------------------------------------------------------------------------------------------------

_ENTITY = re.compile(r"&(?:[A-Za-z]{2,8}|#\d{1,6}|#[xX][0-9A-Fa-f]{1,6});")
_FORMAT_TAG = re.compile(r"</?(?:b|strong|i|em|u|mark|span|p|center|font|div|code|big|small|br|math)(?:\s[^<>]{0,80})?/?>", re.IGNORECASE)  # fmt: skip
_POWER = re.compile(r"<sup>([^<>]{1,40})</sup>", re.IGNORECASE)
_INDEX = re.compile(r"<sub>([^<>]{1,40})</sub>", re.IGNORECASE)
_WRAPPER = re.compile(
    r"\\(?:underline|uline|emph|ensuremath|boldsymbol|bm|bold|mathbf|mathit|mathsf|mathnormal|textbf|textit|textrm|textsf|boxed|fbox"
    r"|color(?:box)?\s*\{[^{}]{0,30}\}|textcolor\s*\{[^{}]{0,30}\})\s*(?=\{)"
)
_PLAIN_TEXT = re.compile(r"\\(?:text|mbox|textrm|mathrm|textbf|hbox)\s*\{([^{}]*)\}")
_PLACEHOLDER = re.compile(
    r"(?:(?:insert|put|place|write|fill in|enter|type|give|state|provide)\s+)?(?:(?:your|the|my|a|an|final|correct|numerical|numeric|actual|exact|"
    r"real|single)\s+)*(?:answer|result|solution|value|number|expression|option letter|letter|choice)s?(?:\s+or\s+expression)?"
    r"(?:\s+(?:goes\s+)?here)?|x{3,}|\?+|_+|\.{2,}|…+|tbd|todo|placeholder|blank",
    re.IGNORECASE,
)
_NOTHING = re.compile(r"(?:[\s$*{}]|\\[,;:! ]|\\(?:text|mbox|phantom)\s*\{[^{}]*\})*")
_DOTS = re.compile(r"\\(?:[lcd]?dots|square|Box|_+|phantom\s*\{[^{}]*\}|underline\s*\{\s*\})(?![A-Za-z])")


def plain_value(text: str) -> str:
    """The value without what only dresses it: HTML entities and tags, bold, \\underline{...} and its like round the whole."""
    text = text.strip()
    if "&" in text:
        text = _ENTITY.sub(lambda entity: html.unescape(entity.group()), text)
    if "<" in text:
        text = _INDEX.sub(r"_{\1}", _POWER.sub(r"^{\1}", text))
        text = _FORMAT_TAG.sub(" ", text).strip()
    for _ in range(4):
        wrapper = _WRAPPER.match(text)
        if wrapper and _closing(text, wrapper.end()) == len(text) - 1:
            text = text[wrapper.end() + 1 : -1].strip()
        elif len(text) > 4 and text.startswith("**") and text.endswith("**"):
            text = text[2:-2].strip()
        else:
            break
    return text


def is_placeholder(text: str) -> bool:
    """Whether a value is the words of the format asked for and no answer: `ANSWER`, `your answer here`, `...`, `?`."""
    if len(text) > 80 or any(mark.isdigit() for mark in text):
        return False
    bare = _PLAIN_TEXT.sub(r" \1 ", _DOTS.sub("...", text)).replace("\\", " ").replace("_", " ")
    bare = " ".join(re.sub(r"[$*`'\"<>{}\[\]()~:]", " ", bare).split()).rstrip("!")
    return bool(_PLACEHOLDER.fullmatch(bare if len(bare) < 2 or bare.strip(".?") == "" else bare.rstrip(".")))


def _place(start: int, end: int, text: str, **more: Any) -> Place:
    """The place of a value; void where nothing stands there, or the words of the format."""
    value = plain_value(text)
    if not value or (_NOTHING.fullmatch(value) and "\\text" not in value):
        return Place(start, end, None, "empty")
    return Place(start, end, None, "placeholder") if is_placeholder(value) else Place(start, end, value, **more)


def _closing(text: str, start: int) -> int:
    """Where the bracket at `start` closes, any kind with any, within MAX_VALUE characters; -1 for nowhere."""
    depth = 0
    for mark in re.finditer(r"\\.|[()\[\]{}]", text[start : start + MAX_VALUE], re.DOTALL):
        if len(mark.group()) == 1:
            depth += 1 if mark.group() in "([{" else -1
            if depth == 0:
                return start + mark.start()
    return -1


# --- boxes ------------------------------------------------------------------------------------------------------

# \boxed7 and \boxed 12 are read, \boxed\frac12 is not; `\boxed` in a sentence about the format is not a box.
_BOX_TOKEN = re.compile(
    r"\\{1,2}(?:boxed|fbox|framebox)(?![A-Za-z])\s*"
    r"(?:(?P<open>\{)|(?P<bare>[-+]?\d+(?:[.,/]\d+)*(?!\w)|[A-J](?!\s*[A-Za-z]))|(?P<void>\\(?![)\]])|\())|\\.|[{}]",
    re.DOTALL,
)
# What may stand between two boxes of one list answer: \boxed{3} and \boxed{5}.
_JOINT = re.compile(r"[\s$]*(?:\\[ ,;:!\])(\[]|\\q?quad)*[\s$.]*"
                    r"(?:,|;|&|[、，；和与及或]|以及|and|or|as well as|along with|together with"
                    r"|(?:\\text\{)?\s*for\s[^{}.\n]{1,20}\band\b\s*\}?|\\text\{\s*(?:and|or|,)\s*\})"
                    r"(?:[\s$,、，]|\\[ ,;:!\])(\[]|\\q?quad|and|or)*")  # fmt: skip
# And where two boxes may be one list, or a repetition, or a correction: white space, `(b)`, `second`, `y =`.
_LABEL = (
    r"(?:\(?(?:[a-h]|[ivx]{1,4}|\d)[).:]|(?:part|problem|question|case|step)\s*\(?[a-h\d]\)?\s*[:.)]?"
    r"|(?:the\s+)?(?:first|second|third|fourth|fifth|last|other|next|another)(?:\s+(?:one|root|solution|answer|value|part))?(?:\s+is)?\s*:?"
    r"|[A-Za-z](?:_\{?\w\}?)?\s*(?:=|\\approx|\\in|:))"
)
_NEIGHBOUR = re.compile(
    r"(?:[\s$.,;、，；*\-•]|\\[ ,;:!\])(\[]|\\q?quad|\\\\|\b(?:and|or|y|et|und|e|o|ou|oder|и|или)\b|[和与及或]|以及|" + _LABEL + r")*",
    re.IGNORECASE,
)  # fmt: skip


class Box(NamedTuple):
    """A closed box: its place and its content, white space stripped."""

    start: int
    end: int
    content: str


def boxes(text: str) -> list[Box]:
    """Every closed \\boxed{...} and \\fbox{...} in the order in which they close."""
    return _boxes(text)[0]


def _boxes(text: str) -> tuple[list[Box], int, int]:
    """(closed boxes, where the last one that never closes begins or -1, where the last unreadable one begins or -1)."""
    boxes: list[Box] = []
    open_braces: list[tuple[bool, int, int]] = []
    unreadable = -1
    for token in _BOX_TOKEN.finditer(text):
        mark = token.group()
        if mark == "}":
            if open_braces:
                is_box, start, inside = open_braces.pop()
                if is_box:
                    boxes.append(Box(start, token.end(), text[inside : token.start()].strip()))
        elif mark == "{" or token.lastgroup == "open":
            open_braces.append((len(mark) > 1, token.start(), token.end()))
        elif token.lastgroup == "bare":
            boxes.append(Box(token.start(), token.end(), token.group("bare")))
        elif token.lastgroup == "void":
            unreadable = token.start()
    return boxes, max((start for is_box, start, _ in open_braces if is_box), default=-1), unreadable


# What stands before a box that is named to be ruled out: `\\boxed{7} and not \\boxed{8}`.
_REFUSED = re.compile(
    r"\b(?:not(?:\s+(?:be|equal(?:\s+to)?))?|rather\s+than|instead\s+of|unlike)[\s$(\\*\[]{0,6}\Z", re.IGNORECASE
)


def boxed(text: str) -> Place | None:
    """The last box that is not ruled out. Boxes joined by a comma, `and` or `or` are one list answer."""
    if "box" not in text:
        return None
    boxes, unclosed, unreadable = _boxes(text)
    boxes = [
        box
        for box in boxes
        if not _REFUSED.search(text, max(0, box.start - 40), box.start) and not is_supposed(text, box.start)
    ]
    if boxes and is_hypothetical(text, boxes[-1].start):  # it never wins over one that is not
        sure = next((n for n in range(len(boxes), 0, -1) if not is_hypothetical(text, boxes[n - 1].start)), len(boxes))
        boxes = boxes[:sure]
    last = boxes[-1] if boxes else None
    if (broken := max(unclosed, unreadable)) > (last.end if last else -1):
        return Place(broken, len(text) if broken == unclosed else broken + 1, None, "unclosed" if broken == unclosed else "unreadable")  # fmt: skip
    if last is None:
        return None
    place = _place(last.start, last.end, last.content)
    if place.text is None:
        return place
    outer = [last]  # boxes that lie in no other, from the last to the first
    for box in reversed(boxes[:-1]):
        if box.end <= outer[-1].start:
            outer.append(box)
    outer = [box for box in outer if _place(box.start, box.end, box.content).text is not None]
    reach = 1
    while reach < len(outer) and _gap(text, outer, reach, _JOINT):
        reach += 1
    near = reach
    while near < len(outer) and (_gap(text, outer, near, _JOINT) or _gap(text, outer, near, _NEIGHBOUR)):
        near += 1
    answer = _list(outer[:reach]) if reach > 1 else str(place.text)
    joined = _list(outer[:near])
    longer = [_list(outer[:n]) for n in range(reach + 1, min(len(outer), FAR_BOXES) + 1)]
    apart = tuple(text for text in dict.fromkeys(longer) if text not in (joined, answer))
    return Place(
        outer[reach - 1].start,
        last.end,
        answer,
        conditional=is_hypothetical(text, outer[reach - 1].start),
        joined=joined if joined != answer else None,
        apart=apart,
    )


def _gap(text: str, outer: list[Box], index: int, between: re.Pattern[str]) -> bool:
    """Whether `between` is all that stands between two neighbouring boxes."""
    start, end = outer[index].end, outer[index - 1].start
    return end - start <= 60 and bool(between.fullmatch(text, start, end))


def _list(from_last: list[Box]) -> str:
    return ", ".join(dict.fromkeys(plain_value(box.content) for box in reversed(from_last)))


# --- tags and JSON ----------------------------------------------------------------------------------------------

_TAG = re.compile(r"<\s{0,3}(/?)\s{0,3}(?:final[_ ]?)?(?:answer|ans)\s{0,3}>|(?-i:\[(/?)ANSWER\])", re.IGNORECASE)
_JSON_KEY = re.compile(r"""answer["']\s*:\s*""", re.IGNORECASE)
_FINAL = re.compile(r"""["']final[_ ]?\Z""", re.IGNORECASE)
_JSON_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_JSON_BARE = re.compile(r"'([^'\n]*)'|([^\s,}\]\"'`{\[][^\n,}]*)")
_ARGUMENTS = re.compile(
    r"""["'](?:arguments|parameters|args|kwargs|tool_input|action_input)["']\s*:\s*["']?\{[^{}]*$"""
)


def answer_tag(text: str) -> Place | None:
    """What the last <answer>...</answer> holds; a box or `Answer:` inside it is opened. Void where it never closes."""
    if "<" not in text and "[ANS" not in text:
        return None
    opening = None
    last: Place | None = None
    for tag in _TAG.finditer(text):
        closes = tag.group(1) or tag.group(2)
        if not closes:
            opening = tag
        elif opening:
            last, opening = _tagged(opening.start(), tag.end(), text[opening.end() : tag.start()]), None
    if opening:
        return Place(opening.start(), opening.end(), None, "unclosed")
    return last


def _tagged(start: int, end: int, content: str) -> Place:
    """The place of what a tag or a JSON string holds; a box or `Answer:` in it is opened."""
    place = _place(start, end, content)
    inner = boxed(content) if "box" in content else None
    if inner is None and place.text is not None and (said := sentence(content)) and not said.weak:
        inner = said
    if inner is None:
        return place
    return inner._replace(start=start, end=end, weak=False, line=False, conditional=False, apart=())


def json_answer(text: str) -> Place | None:
    """The value of the last "answer" key, valid JSON or nearly so: raw newlines and single backslashes are common. A key
    among the arguments of a tool call is none."""
    for start, value in _json_keys(text):
        if not _is_argument(text[max(0, start - 300) : start]):
            place = _json_value(text, start, value)
            if place is not None:
                return place
    return None


def _is_argument(before: str) -> bool:
    return ("arg" in before or "param" in before or "_input" in before) and bool(_ARGUMENTS.search(before))


def _json_keys(text: str) -> Iterator[tuple[int, int]]:
    """(where it starts, where its value does) of the last 20 "answer" keys, from the last one back."""
    small = _small(text)
    at, keys = len(small), 0
    while keys < 20 and (at := small.rfind("answer", 0, at)) > 0:
        if (key := _JSON_KEY.match(text, at)) is None:
            continue
        start = (
            at - 1
            if text[at - 1] in "\"'"
            else at - len(opens[0])
            if (opens := _FINAL.search(text, max(0, at - 7), at))
            else -1
        )
        if start >= 0:
            keys += 1
            yield start, key.end()


def _json_value(text: str, start: int, value: int) -> Place | None:
    if text.startswith('"', value):
        string = _JSON_STRING.match(text, value)
        if string is None:
            return Place(start, len(text), None, "unclosed")
        return _tagged(start, string.end(), _unescape(string.group(1)))
    if text[value : value + 1] in ("[", "{"):
        end = _closing(text, value)
        if end < 0:
            return Place(start, value, None, "unclosed")
        return _json_structure(start, end + 1, text[value : end + 1])
    if bare := _JSON_BARE.match(text, value):
        said = (bare.group(1) if bare.group(1) is not None else bare.group(2)).strip()
        return Place(start, bare.end(), None, "empty") if said == "null" else _place(start, bare.end(), said)
    return None


def _json_structure(start: int, end: int, written: str) -> Place:
    """A list stands as written, or as its items; a table with one value is that value, any other is nobody's to read."""
    try:
        value = json.loads(written)
    except (ValueError, RecursionError):
        return Place(start, end, None, "unreadable") if written.startswith("{") else _place(start, end, written)
    if isinstance(value, dict):
        value = next(iter(value.values())) if len(value) == 1 else None
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            return Place(start, end, None, "unreadable")
        return _place(start, end, str(value))
    flat = all(isinstance(item, (str, int, float)) and not isinstance(item, bool) for item in value)
    if flat and len(value) == 1:
        return _place(start, end, str(value[0]))
    return _place(start, end, written, joined=", ".join(map(str, value)) if flat and value else None)


def _unescape(text: str) -> str:
    """JSON escapes undone, but `\\frac` and `\\times` written with one backslash kept: \\f and \\t are not meant."""
    if "\\" not in text:
        return text
    text = re.sub(r"\\[nrt](?![A-Za-z])", " ", text.replace(r"\\", "\0"))
    text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda m: chr(int(m.group(1), 16)), text)
    return re.sub(r'\\(["/])', r"\1", text).replace("\0", "\\")


# --- #### -------------------------------------------------------------------------------------------------------

_HASHES = re.compile(r"(?<!#)####(?!#)[ \t]*(\S.*)$", re.MULTILINE)
_HEADING = re.compile(
    r"(?:\*\*|__)?\d{1,3}\s*(?:[.)]\s+\S*[^\W\d]|[.):]\s*$|[:\-–—]\s+[^\W\d])"
)  # `#### 2. Second step`

_LETTER_ALONE = re.compile(r"[*(]{0,3}[A-J][*).]{0,3}")  # `#### B`, at the end


def hashes(text: str) -> Place | None:
    """GSM8K's last line: `#### 72`. A Markdown heading is none: words come before its digits (`#### Step 2`), it is
    numbered (`#### 2. Second step`), or it is not the last line and holds words. A letter alone counts on the last line."""
    if "####" not in text:
        return None
    marks = list(_HASHES.finditer(text))
    if not marks:
        return None
    last = marks[-1]
    line = last.group(1).strip()[:MAX_LINE]
    if _LETTER_ALONE.fullmatch(line) and not text[last.end() :].strip():
        return _place(last.start(), last.end(), line)
    if not re.match(r"[^A-Za-z]*(?:\d|\\)", line) or _HEADING.match(line):
        return None
    if text[last.end() :].strip() and re.search(r"[^\W\d_]{2}", re.sub(r"\\[A-Za-z]+", "", line)):
        return None
    return _place(last.start(), last.end(), line)


# --- sentences --------------------------------------------------------------------------------------------------

_MARKS = r"[*_\"”}）)]{0,4}"
_ENGLISH = (
    r"\b(?:answers?|ans)\b" + _MARKS + r"(?:[ \t]{1,4}(?:to|for)\b[^.:=$\n]{1,60}?)?\s{0,6}" + _MARKS
    + r"\s{0,6}(?:(?:is|are|equals|(?:turns|comes|works)\s{1,4}out\s{1,4}(?:to\s{1,4}be|as))\b\s{0,6}[:：]?|(?P<modal>(?:would|must|should|will)\s{1,4}(?:\w+\s{1,4})?be\b\s{0,6}[:：]?)|[:：=＝])"
)  # fmt: skip
_OTHER = (  # noun, then two words of the language at most, then its `is` or a colon
    r"\b(?:respuestas?|respostas?|r[ée]ponses?|antwort(?:en)?|ответы?|risposta|odpowiedź|odpověď|antwoord|svar(?:et)?|vastaus|válasz|cevap|yanıt"
    r"|jawaban(?:nya)?|đáp án|đáp số|câu trả lời|उत्तर|الجواب|الإجابة|الاجابة|відповідь|απάντηση|răspuns(?:ul)?|תשובה|התשובה|คำตอบ|پاسخ)"
    + _MARKS + r"(?:[ \t]{1,4}[^\W\d]{2,14}){0,2}?\s{0,6}" + _MARKS
    + r"\s{0,6}(?:(?:es|son|é|são|est|sont|ist|lautet|sind|равен|равна|равно|это|будет|è|to|wynosi|brzmi|is|är|er|on|je|este|adalah|là|है|هو|هي|είναι"
    r"|היא|คือ)\b\s{0,6}[:：]?|คือ|[:：=—])"
)  # fmt: skip
_CJK = (
    r"(?:答案|最[终後后終]结果|最終結果)" + _MARKS + r"\s{0,6}(?:(?:应该|应当|应|應|就|即|则)?\s{0,6}(?:是|为|為|等于|等於|选|選)\s{0,6}[:：]?|[:：=＝])"
    r"|(?:答え|解答|答)" + _MARKS + r"\s{0,6}(?:は|[:：])\s{0,6}、?|(?:정답|답)" + _MARKS + r"\s{0,6}(?:은|는|[:：])"
    r"|(?:故|所以|因此|应|應)\s{0,6}选(?:择)?\s{0,6}[:：]?(?=\s{0,6}[(（]?[A-J](?![A-Za-z]))"
)  # fmt: skip
# `The correct option is C`: a letter of a choice alone, for `the correct option is cheaper` states nothing.
_OPTION = (
    r"\b(?:correct|right|best)\s{1,4}(?:option|choice|alternative|letter)\b" + _MARKS
    + r"\s{0,6}(?:is\b\s{0,6}[:：]?|[:：])(?=\s{0,6}[*_]{0,3}\s{0,6}[(（\[\\]?(?:boxed\{|text\{)?[A-J](?![A-Za-z'’]))"
)  # fmt: skip
_SENTENCE = re.compile(
    "(?:" + "|".join((_ENGLISH, _OTHER, _CJK, _OPTION)) + r")\s{0,6}[*_}]{0,4}\s{0,6}", re.IGNORECASE
)
# How each of them begins, in small letters: the long pattern is tried there only.
_STEM = re.compile(
    "(?:correct|right|best)\\s+(?:opt|cho|alt|let)|ans|resp|r[eé]po|antwo|ответ|rispo|odpo|svar|vast|vál|cev|yan|jawab|đáp|câu|उत्तर|ال[جإا]|відп|απάν|răsp|ה?תשובה|คำตอบ|پاسخ"
    "|[答最解정답故应應]|所以|因此"
)
_HEADING_LINE = re.compile(
    r"(?:^|\n)[ \t]{0,8}(?=[#*])[#* \t]{1,12}(?:(?:the|final|correct)[ \t]{1,4}){0,2}answer[ \t]{0,8}(?:\*\*)?[ \t]{0,8}\n\s*",
    re.IGNORECASE,
)
# `A: 26` as the last line, where no `B:` makes it an option.
_SHORT_LINE = re.compile(r"(?:^|\n)[ \t]{0,4}A:[ \t]{0,4}(?=\S[^\n]{0,200}\s{0,9}\Z)")
_OTHER_OPTION = re.compile(r"(?:^|\n)[ \t]{0,4}\(?B[:.)]")
# What may stand before `Answer:` on a line of its own.
_LINE_START = re.compile(
    r"(?:^|\n)[^\w\n\\]{0,12}(?:\\(?:text|textbf|mathbf|textit)\{)?(?:(?:the|my|our|final|correct|short|la|le|die|der|итоговый|final[ea]|"
    r"最终|最后|正确|所以|因此|故)[ \t]*){0,3}[^\w\n]{0,3}$", re.IGNORECASE
)  # fmt: skip
_COLON = re.compile(r"[:：=＝—]\s*[*_}]{0,4}\s*$")
# A statement that is supposed, refused or about another answer: `if the answer is`, `the first answer is`.
_SUPPOSED = re.compile(
    r"(?:\b(?:if|whether|unless|suppos(?:e|ing)|assum(?:e|ing)|maybe|perhaps|say|imagine)\s+(?:that\s+)?(?:(?:the|my|our|this|your|final|"
    r"correct)\s+){0,3}|\b(?:wrong|incorrect|mistaken|previous|initial|earlier|alternative|intermediate|naive|first|old|other|tempting|trial|"
    r"draft|rough|tentative|preliminary|partial|candidate|obvious|expected|student'?s?|model'?s?)\s+)$",
    re.IGNORECASE,
)
# `The answer to part (a) is`: of another question than the one that was asked.
_PARTIAL = re.compile(
    r"\w+[^\w\n]{0,6}(?:to|for)\s[^.:=$\n]{0,40}?(?:\b(?:(?:sub-?)?part|sub-?(?:question|problem)|case|step)\b|\((?:[a-h]|[ivx]{1,4})\)"
    r"|\b(?:first|second|simpler|easier|smaller|similar|related)\s+(?:question|problem|one|part|case)\b)",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(
    r"\.(?=\s|$)|[。！？]|[*_]{2}|,?\s+(?:because|since|which)\b|,\s+(?:so|as|but|not)\b|\s+I hope\b|<\|"
)
_CJK_CLAUSE = re.compile(r"[，,；;]\s*(?=[\u3040-\u30ff\u4e00-\u9fff])|(?:です|だ|である|입니다|이다|이에요|예요)\s*$")
_MATHS = re.compile(r"(?:\$\$(.+?)\$\$|\$([^$]+)\$|\\\((.+?)\\\)|\\\[(.+?)\\\])", re.DOTALL)
_TWO_SUMS = re.compile(
    r"\A\$\d[\d.,]*[.?!]?\s+[A-Za-z]{2}.*\s\$\Z", re.DOTALL
)  # `$5. Without the tax it is $`, then a sum
_LIST_GOES_ON = re.compile(r"\s*(?:,|、|and\b|or\b|y\b|et\b|und\b|и\b|和|或)\s*(?=[$\\\d])")
_LEAD_IN = re.compile(
    r"(?:(?:therefore|thus|then|hence|indeed|simply|just|exactly|only|now|clearly|obviously|also|again|equal to|given by|found to be"
    r"|(?:the|an?) (?:number|integer|value|set|interval|fraction|point|expression|function|ordered pair|pair|matrix))\b[,:]?\s*)+"
    r"(?=[-+±]?[\d$\\(\[{])",
    re.IGNORECASE,
)
# How a value opens that is one: a number, maths, a letter alone, yes and no; a name has a capital.
_VALUE = re.compile(
    r"[^\w\\]*(?:\\(?!text)|\$|\d|\\text\s*\{|[^\W\d_](?:_\{?\w+\}?)?\s*(?:[=<>≤≥≠^+*/()\[\]\-≈∈,.:;'!|]|$|\d|\\)|(?:sqrt|pi|log|ln|sin|cos|tan|exp)\b"
    r"|(?:yes|no|true|false|none|zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|infinity|infinite|undefined)\b[^\w]*$)",
    re.IGNORECASE,
)
_REMARK = re.compile(
    r"[^\w]*(?:(?:in)?correct|right|wrong|verified|confirmed|valid|consistent|positive|negative|reasonable|not|same|found|clear|obtained|given|needed)\b",
    re.IGNORECASE,
)


def sentence(text: str) -> Place | None:
    """`The final answer is X.`, `Answer: X`, `答案是 X`, at the end of the text; X may stand on the line below.

    The last one counts that states a value; a remark on the answer (`so the answer is correct`), a supposed or a questioned
    one never wins over it, and counts as weak where it stands alone.
    """
    offset = max(0, len(text) - TAIL_CHARS)
    if not _STEM.search(_small(text[offset:])) and "A:" not in text[offset:]:
        return None
    places = list(_statements(text[offset:], offset))
    if not places:
        return None
    strong = [place for place in places if not place.weak]
    if strong and all(place.conditional for place in strong):
        return strong[-1]._replace(rivals=tuple(str(place.text) for place in strong[:-1]))
    return ([place for place in strong if not place.conditional] or places)[-1]


def _statements(tail: str, offset: int) -> Iterator[Place]:
    """Every statement of the tail that has a value, in order; positions are those of the whole text."""
    anchors = [(m, False) for m in _sentences(tail)]
    if "#" in tail or "*" in tail:
        anchors += [(m, True) for m in _HEADING_LINE.finditer(tail)]
    if (short := _SHORT_LINE.search(tail)) and not _OTHER_OPTION.search(tail):
        anchors.append((short, False))
    for anchor, heading in sorted(anchors, key=lambda item: item[0].end()):
        before = tail[max(0, anchor.start() - 60) : anchor.start()]
        if _SUPPOSED.search(before.rpartition("\n")[2]) or is_supposed(tail, anchor.start()):
            continue
        written, end, asked = _stated(tail, anchor.end())
        if written is None or asked or names_itself_wrong(written) or _PARTIAL.match(anchor.group()):
            continue
        line = heading or bool(_LINE_START.search(before) and _COLON.search(anchor.group()) and _on_line(tail, anchor))
        value = _LEAD_IN.sub("", written, count=1) if _LEAD_IN.match(written) else written
        place = _place(offset + anchor.start(), offset + end, value, line=line)
        if place.text is not None:
            bullet = _BULLET.match(tail, anchor.start() + len(anchor.group().rstrip()))  # or a minus: never wrong
            unsure = bool(bullet or anchor.groupdict().get("modal"))  # `the answer must be 3 digits long`
            conditional = not line and is_conditional(tail, anchor.start(), place.text)
            yield place._replace(conditional=conditional, weak=unsure or (not line and not _is_value(place.text)))


def _sentences(tail: str) -> Iterator[re.Match[str]]:
    """Every `the answer is` and its like."""
    end = 0
    for stem in _STEM.finditer(_small(tail)):
        if stem.start() >= end and (match := _SENTENCE.match(tail, stem.start())):
            end = match.end()
            yield match


def _on_line(tail: str, anchor: re.Match[str]) -> bool:
    return anchor.start() > 0 or len(tail) < TAIL_CHARS or tail[0] == "\n"


def _is_value(text: str) -> bool:
    return bool(_VALUE.match(text)) or (text.lstrip("\"'*( ")[:1].isupper() and not _REMARK.match(text))


# What stands before a value and is not part of it: blanks, the marks of bold type, a bullet on the line below.
_DRESS = re.compile(r"\s*(?:(?:\.{3}|…)\s*)?(?:(?<=\n)[-*•+][ \t]+(?=\S))?(?:[*_]{1,3}(?=[^\s*_]))?")


# `The answer is five!`, `The answer is B!`. Behind a digit or another letter it may be a factorial.
_EXCLAIMED = re.compile(r"(?:(?<=[A-Za-z]{3})|(?<=\b[A-J]))!+$")
_EMOJI = re.compile(r"(?<=\S)[\s\u2705\u2713\u2714\u2611\ufe0f\U0001f300-\U0001faff]+$")
_BULLET = re.compile(r"[^\S\n]*\n\s*-[ \t]+(?=[\d.$\\])")


def _stated(tail: str, start: int) -> tuple[str | None, int, bool]:
    """(value, where it ends, whether it is a question) of what follows an anchor."""
    dressed = _DRESS.match(tail, start)
    start = dressed.end() if dressed else start
    rest = tail[start : start + MAX_LINE]
    maths = _MATHS.match(rest)
    if maths and not _TWO_SUMS.search(maths.group()) and not _LIST_GOES_ON.match(rest, maths.end()):
        inside = next(group for group in maths.groups() if group is not None).strip()
        if "box" not in inside:
            return inside or None, start + maths.end(), rest[maths.end() : maths.end() + 1] == "?"
    line = rest.partition("\n")[0]
    value = _SENTENCE_END.split(line, maxsplit=1)[0]
    if "box" in value and (inner := boxed(line)) and inner.start < len(value) and not inner.conditional:
        return inner.text, start + inner.end, False
    ends = _CJK_CLAUSE.split(value, maxsplit=1)[0].strip()
    asked = line[len(value) : len(value) + 1] == "？" or ends.endswith("?")
    if ends.endswith(")") and not re.search(r"[(\[\]]", ends):  # `(the answer is 42)`
        ends = ends[:-1].rstrip()
    ends = _EMOJI.sub("", ends) or ends
    if "\\" not in ends:
        ends = _EXCLAIMED.sub("", ends)
    return (ends.rstrip(".*") or None) if ends else None, start + len(value), asked
