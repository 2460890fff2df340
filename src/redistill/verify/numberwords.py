"""English number words -> the number: `twenty-one`, `two million three hundred thousand`, `three quarters`.

read_number_words("one hundred and five")   ->  Fraction(105)
read_number_words("one and a half")         ->  Fraction(3, 2)
read_number_words("a few")                  ->  None
with_ordinal_in_digits("the third floor")   ->  "3 floor"
"""

import re
from fractions import Fraction

_UNITS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SMALL = {word: n for n, word in enumerate(_UNITS)} | {word: 10 * n for n, word in enumerate(_TENS, 2)}
_LARGE = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_PARTS = {"half": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9, "tenth": 10,
          "twelfth": 12, "hundredth": 100, "thousandth": 1000}  # fmt: skip
_PLURAL_PARTS = {f"{word}s": n for word, n in _PARTS.items()} | {"halves": 2}
# Every word that speaks of a number; a text that holds one is never "words and no number".
NUMBER_WORDS = frozenset((*_SMALL, *_LARGE, "hundred", *_PARTS, *_PLURAL_PARTS, "dozen", "double", "twice", "thrice", "triple",
                          "pair", "couple", "once", "single", "score", "lakh", "crore", "nil", "first", "second"))  # fmt: skip
_PLAIN = re.compile(r"[A-Za-z]+(?:[\s-]+[A-Za-z]+)*")
_ORDINALS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9, "tenth": 10,
             "eleventh": 11, "twelfth": 12, "thirteenth": 13, "fourteenth": 14, "fifteenth": 15, "sixteenth": 16, "seventeenth": 17,
             "eighteenth": 18, "nineteenth": 19, "hundredth": 100, "thousandth": 1000}  # fmt: skip
_ORDINALS |= {f"{word[:-1]}ieth": 10 * n for n, word in enumerate(_TENS, 2)}
_ORDINAL = re.compile(
    rf"(?:the\s+)?(?:({'|'.join(_TENS)})[\s-]+)?({'|'.join(_ORDINALS)})((?:\s+[a-z]+){{0,4}})", re.IGNORECASE
)


def with_ordinal_in_digits(text: str) -> str | None:
    """A place in an order, with its digits and the nouns behind it: `twenty-first` is 21. None for all else; `a third` and `third of the
    cake` are parts."""
    match = _ORDINAL.fullmatch(text)
    if match is None or match[3].lower().split()[:1] == ["of"]:
        return None
    tens, last = (match[1] or "").lower(), _ORDINALS[match[2].lower()]
    if tens and last > 9:
        return None
    return f"{10 * (_TENS.index(tens) + 2) + last if tens else last}{match[3]}"


def read_number_words(text: str) -> Fraction | None:
    """The number that the words are; None where a word is none of a number or they make none together."""
    if len(text) > 120 or not _PLAIN.fullmatch(text):
        return None
    words = re.split(r"[\s-]+", text.lower())
    if not NUMBER_WORDS & set(words) or (
        words[0] not in NUMBER_WORDS and words[0] not in ("a", "an", "minus", "negative")
    ):
        return None
    sign = 1
    if words[0] in ("minus", "negative"):
        sign, words = -1, words[1:]
    value = _with_part(words)
    return None if value is None else sign * value


def _with_part(words: list[str]) -> Fraction | None:
    """Cardinals, then perhaps a fraction: two thirds, one and a half, three quarters, half."""
    if words and (words[-1] in _PARTS or words[-1] in _PLURAL_PARTS):
        below = _PARTS.get(words[-1]) or _PLURAL_PARTS[words[-1]]
        rest = words[:-1]
        if "and" in rest:
            cut = len(rest) - 1 - rest[::-1].index("and")
            whole, top = _cardinal(rest[:cut]), _cardinal(rest[cut + 1 :])
            return None if whole is None or top is None or top >= below else whole + Fraction(top, below)
        top = _cardinal(rest) if rest else 1
        return Fraction(top, below) if top is not None and (top == 1) == (words[-1] in _PARTS) else None
    value = _cardinal(words)
    return None if value is None else Fraction(value)


def _cardinal(words: list[str]) -> int | None:
    if words in (["a"], ["an"]):
        return 1
    total, current, last = 0, 0, 10**15
    seen = False
    for index, word in enumerate(words):
        if word in ("a", "an") and index == 0:
            current, seen = 1, False
        elif word == "and" and seen and index < len(words) - 1:
            continue
        elif word in _SMALL:
            small = _SMALL[word]
            if current % 100 and not (current % 100 >= 20 and current % 10 == 0 and 0 < small < 10):
                return None
            if current % 100 >= 20 and small == 0:
                return None
            current, seen = current + small, True
        elif word == "hundred":
            if current >= 100 or (current == 0 and seen):
                return None
            current, seen = max(current, 1) * 100 if current or index == 0 else 0, True
        elif word in _LARGE and _LARGE[word] < last:
            last = _LARGE[word]
            total, current, seen = total + max(current, 1) * last, 0, True
        else:
            return None
    return total + current if seen else None
