r"""Statements of an answer that the text itself supposes or takes back, which are not what it says in the end; those that
it makes under a condition, which never win over an unconditional one; and conclusions that are no statement of the answer.

is_supposed("One may think the answer is", 27)                    ->  True
is_taken_back("First I got \\boxed{17}. Wait, that is wrong.", 22)  ->  True
without_struck("~~The answer is 17.~~ The answer is 42.")          ->  "  The answer is 42."
is_conditional("The answer is 42. For n = 3, the answer is 17.", 31)  ->  True
conclusions("The result is 42.")                                   ->  [("42", False)]
"""

import re

SENTENCE = 120  # characters before a statement that are looked at, of the same sentence

_CLAUSE = re.compile(r".*(?:[.!?;](?=\s)|[。！？；\n])", re.DOTALL)
_WRONG_NOUN = r"(?:attempt|guess|answer|result|estimate|approach|try|solution|calculation|thought|version|idea|value)"
_SUPPOSED = re.compile(
    # `one may think that`, `it is tempting to answer`
    r"\b(?:may|might|could|would)\s{1,3}(?:\w+\s{1,3})?(?:think|guess|believe|suspect|assume|expect|be\s{1,3}tempted)\b[^.\n]{0,40}\Z"
    r"|\btempt(?:ing|ed)\b[^.\n]{0,40}\Z"
    # `a naive guess gives`, `my first attempt was`
    r"|\b(?:naive|naïve|wrong|incorrect|mistaken|erroneous|tentative|preliminary|rough|draft)\s{1,3}" + _WRONG_NOUN + r"\b[^.\n]{0,30}\Z"
    r"|\b(?:first|initial|original|earlier|previous|second)\s{1,3}(?:attempt|guess|thought|estimate|try|idea)\b[^.\n]{0,30}\Z"
    # `at first I got`, `I initially thought`
    r"|\b(?:first|initially|originally|mistakenly|wrongly|incorrectly|previously)\b,?\s{1,3}(?:I|we)\s{1,3}(?:got|had|thought|obtained|wrote|guess(?:ed)?"
    r"|answered|said|concluded)\b[^.\n]{0,30}\Z"
    r"|\b(?:I|we)\s{1,3}(?:first|initially|originally|mistakenly|wrongly|incorrectly|previously)\s{1,3}(?:got|had|thought|obtained|wrote|guess(?:ed)?"
    r"|answered|said|concluded)\b[^.\n]{0,30}\Z"
    # `Bob says that`, `the key's answer is`
    r"|\b(?:says?|said|claim(?:s|ed)?|argu(?:es|ed)|according\s{1,3}to\s{1,3}\w+(?:\s{1,3}\w+)?)\s{0,3}(?:,|\bthat\b)?\s{0,3}(?:the|my|his|her|their)?\s{0,3}\Z"
    # `if it were`, `suppose the total is`
    r"|\b(?:if|suppose|supposing|assume|assuming|imagine|perhaps|maybe|whether|unless)\s{1,3}(?:that\s{1,3})?(?:it|this|that|(?:the|our|my|your)\s{1,3}(?:\w+\s{1,3}){1,2})"
    r"\s{0,3}(?:is|was|were|equals?|be)?[\s$*:(\\]{0,5}\Z",
    re.IGNORECASE,
)  # fmt: skip
_CONCLUDED = re.compile(
    r"\b(?:but|however|instead|so|then|thus|hence|therefore|really|actually|correct)\b", re.IGNORECASE
)

_DRESS = r"[\s$*_)\]}.,;:!\"'`\\>]{0,12}"
_NOT_RIGHT = (
    r"(?:wrong|incorrect|mistaken|a\s+(?:mistake|contradiction|trap|wrong|common\s+mistake)|an\s+(?:error|incorrect)|the\s+wrong"
    r"|not\s+(?:quite\s+|actually\s+)?(?:right|correct|the\s+(?:\w+\s+)?answer|valid|true|possible))"
)
_TAKEN_BACK = re.compile(
    _DRESS + r"(?:(?:but|however|yet|and|though|oh|ah|wait|hmm+|hold\s+on|actually)\b[\s,.!…-]{1,4}){0,4}"
    r"(?:no(?:pe)?\s*[,.!;:—]"
    r"|(?:that|this|it|which|the\s+(?:answer|guess|result|value))(?:\s*['’]s|\s+(?:is|was|seems|looks|must\s+be|would\s+be|can(?:no|['’])t\s+be))?"
    r"\s+(?:\w+ly\s+)?(?:" + _NOT_RIGHT + r"|right\s*\?)"
    r"|(?:that|this|which|it)\s+(?:ca(?:n['’]t|nnot)\s+be\s+(?:right|correct|true|the\s+answer)|is(?:n['’]t)\s+(?:right|correct|the\s+answer)"
    r"|do(?:es\s+not|esn['’]t)\s+(?:seem|look|sound|feel)\s+(?:right|correct)"
    r"|fails|ignores|forgets|misses|overlooks|neglects|overcounts|undercounts|double[- ]counts|violates|contradicts|leads\s+to\s+a\s+contradiction"
    r"|do(?:es\s+not|esn['’]t)\s+(?:work|hold|satisfy|fit|match)|is\s+impossible)"
    r"|\(?(?:not\s+(?:right|correct|the\s+answer)|wrong|incorrect|rejected|discarded)\s*[,.!);:—]"
    r"|(?:oops|scratch\s+that|strike\s+that|never\s*mind|my\s+mistake|I\s+made\s+an?\s+(?:\w+\s+)?(?:mistake|error)|correction\s*:)"
    r"|(?:let\s+me|let['’]?s|I\s+(?:should|must|need\s+to|have\s+to))\s+(?:correct|fix|redo|re-?do|start\s+over|try\s+again|reconsider|rethink|re-?calculate|re-?compute)\b)",
    re.IGNORECASE,
)  # fmt: skip
# Within the value: `Answer: 17 (first guess, wrong)`.
_ASIDE = re.compile(r"\([^()\n]{0,30}\b(?:wrong|incorrect|rejected|discarded|mistaken|guess)\b[^()\n]{0,30}\)", re.IGNORECASE)  # fmt: skip

# What may stand in a sentence before `the answer is` without putting a condition on it.
_NEUTRAL = re.compile(
    r"(?:[^\w(]|\b(?:so|thus|hence|therefore|then|finally|and|now|consequently|accordingly|clearly|overall|indeed|again|since|because|which|this|that"
    r"|it|means|we|i|can|conclude|find|see|get|have|know|say|believe|think|am|confident|follows|is|conclusion|summary|short|in|total|as|a|result|final"
    r"|answer|step|attempt|correction|corrected|revised|edit|more|exactly|precisely|\d{1,2}|the|my|our|correct|required|right|desired|numerical|exact|to|question|problem|your|of)\b)*\Z",
    re.IGNORECASE,
)
_REASON = re.compile(r"\b(?:since|because|as|after|by)\b", re.IGNORECASE)
_CONDITION = re.compile(
    r"\b(?:if|had|were|would|otherwise|without|instead|alternatively|unless|suppose|other|another|different|similar(?:ly)?|general(?:ly|i[sz]ation)?)\b",
    re.IGNORECASE,
)
_HYPOTHETICAL = re.compile(
    r"\b(?:if|had|were|would|otherwise|without|instead|alternatively|unless|other\s+(?:reading|interpretation|case|version|question))\b",
    re.IGNORECASE,
)
_GOES_ON = re.compile(
    _DRESS + r"(?:wait|hmm+|hold\s+on|actually|however|but|next|now|edit|then|still|for\b.{0,20}[,:]|case|let\s+me|we\s+(?:still|also|now))\b",
    re.IGNORECASE,
)  # fmt: skip
_CONDITION_BEHIND = re.compile(r"\b(?:instead|there|in\s+(?:this|that|the\s+other)\s+case|if|when|unless|otherwise)\b")
_VALUE = r"(?P<value>[$\\*\d(\[+\-−{][^\n]{0,80}?|[A-Z][\w ]{0,30}?)"
_CONCLUSION = re.compile(
    r"\b(?:solution|result|total|value|output|conclusion|choice|option|outcome)\b[*_]{0,3}\s{0,3}(?:is|are|=|:)\s{0,3}[*_]{0,3}\s{0,3}" + _VALUE
    + r"[*_]{0,3}\s{0,3}(?:\.(?=\s|\Z)|\n|\Z)",
    re.IGNORECASE,
)  # fmt: skip
_ARROW = re.compile(r"(?:=>|→|⇒|∴|\bAnswer\s+[-–—])\s{0,3}" + _VALUE + r"\s{0,3}(?:\.(?=\s|\Z)|\n|\Z)")
_REVERSED = re.compile(r"(?<!\s)\s+is\s+(?:indeed\s+)?(?:the|our|my)\s+(?:(?:final|correct|required|right)\s+){0,2}answer\b", re.IGNORECASE)  # fmt: skip
_BEFORE_VALUE = re.compile(
    r".*(?:[.!?;:](?=\s)|,(?=\s+[^\W\d]{2})|\n|\b(?:so|thus|hence|therefore|then|that|and|but)\b)",
    re.DOTALL | re.IGNORECASE,
)

_STRUCK = re.compile(
    r"(?<!~)~~(?=[^\s~])[^~\n]{1,500}~~(?!~)|<(s|del|strike)>[^<>]{1,500}</\1>|\\sout\{[^{}\n]{1,500}\}", re.IGNORECASE
)


def _sentence_before(text: str, start: int) -> str:
    """What stands before `start` in its sentence, at most SENTENCE characters."""
    before = text[max(0, start - SENTENCE) : start]
    return before[ends.end() :] if (ends := _CLAUSE.match(before)) else before


def is_supposed(text: str, start: int) -> bool:
    """Whether what stands before a statement, in its sentence, makes it a supposition or somebody's mistake."""
    before = _sentence_before(text, start)
    found = _SUPPOSED.search(before)
    return found is not None and not _CONCLUDED.search(before, found.start() + 1)


def is_taken_back(text: str, end: int) -> bool:
    """Whether what follows a statement says that it is wrong."""
    return bool(_TAKEN_BACK.match(text, end))


def names_itself_wrong(value: str) -> bool:
    """Whether a written value says in brackets that it is none: `17 (first guess, wrong)`."""
    return "(" in value and bool(_ASIDE.search(value))


def without_struck(text: str) -> str:
    """The text without what is struck out in Markdown, HTML or LaTeX."""
    if "~~" in text or "</" in text or "\\sout" in text:
        return _STRUCK.sub(" ", text)
    return text


def is_conditional(text: str, start: int, value: str = "") -> bool:
    """Whether the sentence of `the answer is` says more before it than that it concludes, or `value` more behind: `For n = 3,
    the answer is 17`, `the answer is 17 instead`. A reason is no condition."""
    before = _sentence_before(text, start)
    if _CONDITION_BEHIND.search(value):
        return True
    return not _NEUTRAL.match(before) and not (_REASON.search(before) and not _CONDITION.search(before))


def is_hypothetical(text: str, start: int) -> bool:
    """Whether the sentence before a box speaks of another question: `if order mattered, it would be`."""
    return bool(_HYPOTHETICAL.search(_sentence_before(text, start)))


def goes_on(text: str, end: int) -> bool:
    """Whether a text goes on working after a statement: `Hold on`, `However`, `Next we need`."""
    return bool(_GOES_ON.match(text, end))


def conclusions(text: str) -> list[tuple[str, bool]]:
    """Values that a text arrives at without a statement of the answer, and whether it calls them the answer: `The result is 42`,
    `=> 42` do not, `42 is the answer` does."""
    found = [(match["value"], False) for pattern in (_CONCLUSION, _ARROW) for match in pattern.finditer(text)]
    for match in _REVERSED.finditer(text):
        before = text[max(0, match.start() - 80) : match.start()]
        found.append((before[ends.end() :] if (ends := _BEFORE_VALUE.match(before)) else before, True))
    return [(value, named) for written, named in found if (value := written.strip().strip("*_").strip())]
