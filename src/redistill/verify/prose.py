"""An answer written as a sentence -> the one thing it says. Good enough to see that it is right, never to call it wrong.

    maths_in_prose("Thus $x > 5$ is the solution")                   ->  "x > 5"
    maths_in_prose("1 and 2 fail. Therefore there are 12 of them.")  ->  "12"
    choice_in_prose("It is not A, therefore it must be B")           ->  "B"
    maths_in_prose("It is not 10")                                   ->  None
    words_behind("It takes 12 seconds", "12")                        ->  ["seconds"]

A sentence says one thing where it holds one piece of maths; a longer text where all that follows its last `therefore`
holds one. A denial, a bound or a guess beside it, and nothing is read.
"""

import re

from redistill.verify.reading import DECIMAL, is_wordy

_SEGMENT = re.compile(r"\$\$(.+?)\$\$|\$([^$]+)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_LOOSE_NUMBER = re.compile(rf"(?<![\w.,/])-?(?:{DECIMAL}(?:/\d+)?|\d+,\d{{1,2}})(?:\s*\\?%(?!\w)|(?![\w/]|[.,]\d))")
_CONCLUSION = re.compile(r"\b(?:therefore|thus|hence|consequently)\b|(?:^|(?<=[.!?]\s))so\b", re.IGNORECASE)
HEDGED = re.compile(
    r"\b(?:not|no|never|neither|nor|cannot|unless|except|least|most|more|less|fewer|greater|over|under|between|unknown"
    r"|perhaps|maybe|might|could)\b|n['\u2019]t\b",
    re.IGNORECASE,
)
_LETTER = re.compile(r"(?<![\w$\\'-])([A-J])(?![\w$'-])")
_LETTER_FIRST = re.compile(
    r"(?:(?i:for sure|definitely|certainly|surely|clearly|obviously),?\s{1,9})?([A-J])\s*,\s+(?!(?:and|or)\b)(?=[a-z]+'?[a-z]*\s+\w+)"
)
_END_MARK = re.compile(r"(?<=.)(?:<\|\w+\|>|</s>)", re.DOTALL)  # of a chat template; what follows is another turn


def maths_in_prose(text: str) -> str | None:
    """The one piece of maths, or the one number, that a sentence or a text's conclusion holds; None for all else."""
    text = _END_MARK.split(text, maxsplit=1)[0]
    if not is_wordy(text):
        return None
    for part in (text, _conclusion(text)):
        if part and not HEDGED.search(_SEGMENT.sub(" ", part)) and len(pieces := _pieces(part)) == 1:
            return pieces[0]
    return None


_BEHIND = re.compile(r"(?:\$+|\\[)\]]|[*)]{1,3})?\s*((?:[A-Za-z/^\d]+ ){0,5}[A-Za-z/^\d]+)")
# Words that begin no unit: 12 in total, 12 because the rest is even.
_NO_UNIT = frozenset(("as", "is", "are", "was", "were", "and", "or", "for", "which", "that", "because", "since",
    "so", "when", "if", "by", "to", "at", "on", "with", "from", "altogether", "total", "left", "remaining", "here", "there"))  # fmt: skip

_OF_WHAT = frozenset(("the", "these", "those", "them", "all", "his", "her", "its", "their"))


def words_behind(text: str, piece: str) -> list[str]:
    """The words right behind the last place of a piece that `maths_in_prose` found, which may be its unit: `square`, `feet` of "The
    area is $12$ square feet." Six at most; none where the sentence goes on in another way."""
    place = text.rfind(piece := piece.rstrip("."))  # the end of the sentence is read as that of a decimal
    match = _BEHIND.match(text, place + len(piece)) if place >= 0 else None
    words = match[1].split() if match else []
    if words and words[0] in ("pct", "percentage"):
        words[0] = "percent"
    if words[:1] == ["of"]:  # 12 of the apples, 12 of them
        words = [word for word in words[1:] if word not in _OF_WHAT]
    goes_on = words and (words[0] in _NO_UNIT or (words[0] == "in" and len(words) > 1))
    return [] if goes_on else words


def _pieces(text: str) -> list[str]:
    segments = [next(g for g in m.groups() if g is not None).strip() for m in _SEGMENT.finditer(text)]
    maths = [s for s in segments if not re.fullmatch(r"[A-Za-z\\]*", s)]
    outside = _DRESS.sub(" ", _SEGMENT.sub(" ", text))
    numbers = list(_LOOSE_NUMBER.finditer(outside))
    if any(_is_part(outside, number) for number in numbers) or _COMMAND.search(outside):
        return []  # a formula without marks, x < 2 or \sqrt3 + 2, of which a number is only a part
    return maths + [number.group() for number in numbers]


# Tags, **bold** and *italics*, and brackets round one number; the star of 3*2 and of 3 * 2 stays.
_DRESS = re.compile(
    r"</?[A-Za-z_]+>|(?<![\w)*])\*{1,2}(?=[\w$-])|(?<=[\w.%$])\*{1,2}(?![\w(*])|(?<![\w)])\((?=-?[\d.,]{1,20}\))"
)
_COMMAND = re.compile(
    r"\\(?!(?:boxed|fbox|text|textbf|mathrm|mathbf|displaystyle|left|right|quad)(?![A-Za-z]))[A-Za-z]"
)


def _is_part(text: str, number: re.Match[str]) -> bool:
    """Whether an operator stands before or behind the number; `x = 12` is a value."""
    before, behind = text[: number.start()].rstrip(), text[number.end() :].lstrip()
    compared = before.endswith(
        ("+", "*", "/", "^", "_", "<", ">", "(", "[", "{", "|", "≤", "≥", "≠", "<=", ">=", "!=", "~=")
    )
    taken = before.endswith(("-", "\u2212")) and before[:-1].rstrip()[-1:].isalnum()
    return compared or taken or behind[:1] in ("+", "*", "/", "^", "=", "<", ">", "_")


def _conclusion(text: str) -> str | None:
    """All that follows the last `therefore` and its like; None without one."""
    marks = list(_CONCLUSION.finditer(text))
    return text[marks[-1].end() :] if marks else None


def choice_in_prose(text: str) -> str | None:
    """The letter with which a sentence opens (`D, it has to be`), or the only letter of its conclusion."""
    if first := _LETTER_FIRST.match(text):
        return first.group(1)
    part = _conclusion(text)
    if part is None or HEDGED.search(part):
        return None
    letters = {m.group(1) for m in _LETTER.finditer(part) if not _is_word(part, m)}
    return letters.pop() if len(letters) == 1 else None


def _is_word(text: str, letter: re.Match[str]) -> bool:
    """`I think`, `A triangle`: a word of the language and not an option."""
    return letter.group(1) == "I" or (letter.group(1) == "A" and bool(re.match(r"\s+[a-z]", text[letter.end() :])))
