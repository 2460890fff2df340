"""A completion -> its final answer, as written: the one place where answers are found.

    extract("<think>perhaps 7</think> So the total is \\boxed{12}.")   ->  "12"
    extract("Perhaps 7. Then the sum is 12. I give up")                ->  None

Only the text after the last `</think>` is read, and only an anchor makes an answer: never "the last number in the
text", which grades an abandoned trace by chance. Every search is a single pass, so megabytes of braces cost
milliseconds; of a huge completion only the last MAX_CHARS characters are read.
"""

import re
from collections.abc import Callable, Sequence
from typing import Literal

from redistill.text.prompts import split_thinking

Anchor = Literal["answer_tag", "json", "boxed", "hashes", "sentence"]  # the keys of ANCHORS; recipes are checked by it

MAX_CHARS = 1_000_000  # of the answer part, from its end: the final answer of a longer text is not before them
TAIL_CHARS = 600  # a sentence ("the answer is ...") counts only this near the end: earlier ones are working notes
MAX_LINE = 500  # characters of an answer written in a sentence or after ####

_BOX_TOKEN = re.compile(r"\\{1,2}(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
# What may stand between two boxes of one list answer: \boxed{3} and \boxed{5}. White space alone does not join: two
# boxes under each other are usually a repetition.
_JOINT = re.compile(r"[\s$]*(?:\\[ ,;:!\])(\[]|\\q?quad)*[\s$.]*"
                    r"(?:,|;|&|and|or|(?:\\text\{)?\s*for\s[^{}.\n]{1,20}\band\b\s*\}?|\\text\{\s*(?:and|or|,)\s*\})"
                    r"(?:[\s$,]|\\[ ,;:!\])(\[]|\\q?quad|and|or)*")  # fmt: skip
_TAG = re.compile(r"<answer>", re.IGNORECASE)
_TAG_END = re.compile(r"</answer>", re.IGNORECASE)
_JSON_KEY = re.compile(r"""["'](?:final_)?answer["']\s*:\s*""", re.IGNORECASE)
_JSON_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_JSON_BARE = re.compile(r"(\[[^\]]*\]|[^\s,}\]\"`][^\n,}]*)")
_SENTENCE = re.compile(r"\banswer\b\s*[*_]{0,3}\s*(?:is\b\s*:?|:)\s*[*_]{0,3}\s*", re.IGNORECASE)
_SENTENCE_END = re.compile(r"\.(?=\s|$)|[*_]{2}|,?\s+(?:because|since)\b|\s+I hope\b|<\|")
_MATHS = re.compile(r"(?:\$\$(.+?)\$\$|\$([^$]+)\$|\\\((.+?)\\\)|\\\[(.+?)\\\])", re.DOTALL)


def boxes(text: str) -> list[tuple[int, int, str]]:
    """(start, end, content) of every closed \\boxed{...} and \\fbox{...} in the order in which they close."""
    found: list[tuple[int, int, str]] = []
    open_braces: list[tuple[bool, int, int]] = []
    for token in _BOX_TOKEN.finditer(text):
        mark = token.group()
        if mark == "}" and open_braces:
            is_box, start, inside = open_braces.pop()
            if is_box:
                found.append((start, token.end(), text[inside : token.start()].strip()))
        elif mark.endswith("{") and mark != r"\{":
            open_braces.append((len(mark) > 1, token.start(), token.end()))
    return found


def from_boxed(text: str) -> str | None:
    """The last box that is not empty; boxes joined by a comma, `and` or `or` are one list answer."""
    filled = [box for box in boxes(text) if box[2]]
    if not filled:
        return None
    start, _, content = filled[-1]
    contents = [content]
    for before_start, before_end, before in reversed(filled[:-1]):
        gap = text[before_end:start] if start - before_end <= 60 else "far apart"
        if before_end > start or not _JOINT.fullmatch(gap):
            break
        contents.insert(0, before)
        start = before_start
    return ", ".join(dict.fromkeys(contents))


def from_answer_tag(text: str) -> str | None:
    """What the last closed <answer>...</answer> holds; a box inside it is opened later, in reading."""
    for start in reversed([m.end() for m in _TAG.finditer(text)][-20:]):
        if end := _TAG_END.search(text, start):
            return text[start : end.start()].strip() or None
    return None


def from_json(text: str) -> str | None:
    """The value of the last "answer" key, valid JSON or nearly so: raw newlines and single backslashes are common."""
    for key in reversed(list(_JSON_KEY.finditer(text))[-20:]):
        if text.startswith('"', key.end()):
            if string := _JSON_STRING.match(text, key.end()):
                return _unescape(string.group(1)).strip() or None
        elif bare := _JSON_BARE.match(text, key.end()):
            return bare.group(1).strip().strip("'") or None
    return None


def _unescape(text: str) -> str:
    """JSON escapes undone, but `\\frac` and `\\times` written with one backslash kept: \\f and \\t are not meant."""
    text = re.sub(r"\\[nrt](?![A-Za-z])", " ", text.replace(r"\\", "\0"))
    text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda m: chr(int(m.group(1), 16)), text)
    return re.sub(r'\\(["/])', r"\1", text).replace("\0", "\\")


def from_hashes(text: str) -> str | None:
    """GSM8K's last line: `#### 72`. A Markdown heading (#### Step 2) is not one: words come before its digits."""
    found = list(re.finditer(r"####[ \t]*(\S.*)$", text, re.MULTILINE))
    line = found[-1].group(1).strip()[:MAX_LINE] if found else ""
    return line if re.match(r"[^A-Za-z]*(?:\d|\\)", line) else None


def from_sentence(text: str) -> str | None:
    """`The final answer is X.`, `Answer: X`, at the end of the text; X may stand on the line below."""
    tail = text[-TAIL_CHARS:]
    anchors = list(_SENTENCE.finditer(tail))
    if not anchors:
        return None
    rest = tail[anchors[-1].end() :].lstrip()[:MAX_LINE]
    maths = _MATHS.match(rest)
    if maths and not re.match(r"\s*(?:,|and\b|or\b)", rest[maths.end() :]):
        return next(group for group in maths.groups() if group is not None).strip() or None
    line = rest.partition("\n")[0]
    return (_SENTENCE_END.split(line, maxsplit=1)[0].strip().rstrip(".*") or None) if line else None


def extract(completion: str, anchors: Sequence[Anchor] | None = None) -> str | None:
    """The final answer of a completion, or None without an anchor.

    anchors: names from ANCHORS, looked for in that order (default: all). What the model marked most formally goes
    first: a tag or a JSON field is the format it was asked for, and holds its box, while a box may stand in working.
    """
    text = split_thinking(completion)[1][-MAX_CHARS:]
    for name in ANCHORS if anchors is None else anchors:
        if (answer := ANCHORS[name](text)) is not None:
            return answer
    return None


ANCHORS: dict[Anchor, Callable[[str], str | None]] = {
    "answer_tag": from_answer_tag,
    "json": from_json,
    "boxed": from_boxed,
    "hashes": from_hashes,
    "sentence": from_sentence,
}
