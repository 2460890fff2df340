"""Equal in value, but is it what was asked? `Simplify 6/8` is not answered by 6/8, nor `Expand (x+1)^2` by (x+1)^2.

    form_missed("Simplify 6/8.", gold="3/4", answer="6/8")              ->  "repeats_question"
    form_missed("Write 18/24 in lowest terms.", gold="3/4", answer="9/12")   ->  "not_reduced"
    form_missed("What is 1/2 + 1/4?", gold="3/4", answer="6/8")         ->  None: no form was asked for

Asked only of answers that a comparison found equal; what misses the form is undecided, because the value is right. The gold
answer shows what is meant: nothing is asked of an answer that the gold answer does not keep itself.
"""

import math
import re
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache

from redistill.verify.reading import QUOTED_NUMBERS, clean, read_number

# --- what the statement asks for -----------------------------------------------------------------------------------

_SIMPLIFY = re.compile(r"\b(?:simplif\w+|simplest|lowest terms|reduce(?:d)?\b[^.?]{0,40}\bfraction|reduced form|fully reduced|irreducible)", re.IGNORECASE)  # fmt: skip
_EXPAND = re.compile(r"\b(?:expand(?:ed|ing)?|multiply out|multiply the (?:following )?(?:polynomials|expressions)|expanded form)\b", re.IGNORECASE)  # fmt: skip
_FACTOR = re.compile(r"\b(?:factor(?:i[sz]e)?(?:d|ing)?\b(?!s)|factored form|as a product of)", re.IGNORECASE)
_PRIMES = re.compile(r"\bprime factori[sz]ation|product of (?:its )?prime|into (?:its )?prime factors", re.IGNORECASE)
_RATIONALIZE = re.compile(r"\brationali[sz]e", re.IGNORECASE)
_MIXED = re.compile(r"\bmixed (?:number|fraction|numeral)", re.IGNORECASE)
_FRACTION = re.compile(
    r"\bas an? (?:\w+ )?(?:common |simplified |reduced |proper |improper )?fraction|\bfraction in", re.IGNORECASE
)
_DECIMAL = re.compile(r"\b(?:as a decimal|in decimal form|decimal notation|to a decimal)\b", re.IGNORECASE)
_PERCENT = re.compile(r"\b(?:as a percent(?:age)?|to a percent(?:age)?)\b", re.IGNORECASE)
_SCIENTIFIC = re.compile(r"\b(?:scientific notation|standard form)\b", re.IGNORECASE)
_SORT = re.compile(r"\b(?:sort(?:ed|ing)?|arrange|ascending|descending|alphabetical|in order|order(?:ed)? from|increasing order|decreasing order)\b", re.IGNORECASE)  # fmt: skip

# --- what a text looks like ----------------------------------------------------------------------------------------

_FRAC = re.compile(r"\\[dtc]?frac\s*(?:\{([^{}]*)\}|(\d))\s*(?:\{([^{}]*)\}|(\d))")
_INTEGERS = re.compile(r"([-+]?\d+)/(-?\d+)")
_MIXED_NUMBER = re.compile(r"[-+]?\d+(?:\s+|(?=\\[dt]?frac))(?:\d+\s*/\s*\d+|\\[dt]?frac\s*\{?\d+\}?\s*\{?\d+\}?)")
_DECIMAL_NUMBER = re.compile(r"[-+]?\d*\.\d+")
_POWER_OF_TEN = re.compile(r"10\^|\d[eE][-+]?\d")
_SQRT = re.compile(r"(?:\\sqrt|sqrt)[({]?(\d+)[)}]?")
_ROOT_BELOW = re.compile(r"/\(?[^+\-()]{0,12}(?:\\sqrt|sqrt)")
MAX_CHARS = 2_000  # of an answer; a longer one is not an expression to put into a form


def plain(text: str, space: str = "") -> str:
    """The text without what changes no form: spacing, dollars, \\left, braces round one character; one sign for each operation."""
    text = re.sub(r"\\(?:left|right|displaystyle|!|,|;|:)(?![A-Za-z])", "", text.strip().rstrip("."))
    text = re.sub(r"\\[()\[\] ]|[\s$`]+", space, text)
    text = re.sub(r"\\(?:cdot|times)(?![A-Za-z])|[×·]", "*", text).replace("**", "^").replace("−", "-")
    text = re.sub(r"\{(\w)\}", r"\1", text)
    for _ in range(4):
        text, count = _FRAC.subn(
            lambda m: _divided(m.group(1) or m.group(2) or "", m.group(3) or m.group(4) or ""), text
        )
        if not count:
            break
    return text


def _divided(above: str, below: str) -> str:
    return "/".join(part if re.fullmatch(r"\w+", part) else f"({part})" for part in (above, below))


_FIGURES = re.compile(r"-?\d+(?:\.\d+)?")
_WHOLE = re.compile(r"[$\s]*-?\d[\d,]*(?:\.0+)?[$\s.]*")  # a whole number has one form


@lru_cache(maxsize=1_024)  # the traces of one problem often say the same
def form_missed(statement: str, gold: str, answer: str) -> str | None:
    """The word for what an answer of the right value misses of the task, None where nothing is missed."""
    if (
        max(len(gold), len(answer)) > MAX_CHARS
        or gold == answer
        or (_WHOLE.fullmatch(gold) and _WHOLE.fullmatch(answer))
    ):
        return None
    ours, theirs = plain(gold).rpartition("=")[2], plain(answer).rpartition("=")[2]
    if ours == theirs:
        return None
    if QUOTED_NUMBERS.fullmatch(gold.strip()) and _FIGURES.findall(gold) != _FIGURES.findall(answer):
        return "other_figures"  # ['27.00'] holds text, which '27' is not
    if _repeats(plain(statement, " "), ours, theirs):
        return "repeats_question"
    for asked, word, keeps in _FORMS:
        if asked.search(statement) and keeps(ours, gold) and not keeps(theirs, answer):
            return word
    if _EXPAND.search(statement) or _SIMPLIFY.search(statement):
        if _terms(theirs) > _terms(ours):
            return "not_simplified"
        if re.fullmatch(r"[-+]?[\d.,]+", ours) and re.search(r"\d[*+^(]|\\sqrt|[A-Za-z]\(", theirs):
            return "not_evaluated"
    if _FACTOR.search(statement) and _groups(theirs) < _groups(ours):
        return "not_factored"
    return "other_order" if _SORT.search(statement) and _reordered(ours, theirs) else None


_PLAIN_NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?")  # 3.9e+08, chosen from the question's numbers


def _repeats(question: str, gold: str, answer: str) -> bool:
    """Whether the answer is an expression of the question, word for word, and the gold answer is not."""
    if (
        len(answer) < 3
        or _PLAIN_NUMBER.fullmatch(answer)
        or not re.search(r"[+*/^(%]|\d-|\\[A-Za-z]|\w-\w", answer)
        or len(question) > 20_000
    ):
        return False

    def stands(text: str) -> bool:
        tokens = re.findall(r"\\?[A-Za-z]+|\d+|.", text)[:200]
        spaced = r" ?".join(map(re.escape, tokens))
        return bool(re.search(rf"(?<![\w.^]){spaced}(?![\w^]|\.\d)", question))

    return stands(answer) and not stands(gold)


def _is_reduced(text: str, _: str) -> bool:
    """No fraction of integers that can be reduced, and no root of a number with a square in it."""
    fractions = [(int(a), int(b)) for a, b in _INTEGERS.findall(text[:400]) if len(a) + len(b) < 200]
    roots = [int(n) for n in _SQRT.findall(text) if len(n) < 8]
    return all(math.gcd(a, b) == 1 and abs(b) != 1 for a, b in fractions) and all(map(_square_free, roots))


def _square_free(number: int) -> bool:
    return not any(number % (d * d) == 0 for d in range(2, math.isqrt(number) + 1))


def _is_expanded(text: str, _: str) -> bool:
    """No sum in brackets that is multiplied or raised to a power; a function's brackets are none."""
    for start, inside, end in _brackets(text):
        if not re.search(r"[^(*/^+\-]\s*[+\-]", inside):
            continue
        if re.search(r"[A-Za-z]{2}$", text[:start]):
            continue
        before, after = text[start - 1 : start] if start else "", text[end : end + 1]
        if (before and (before.isalnum() or before in ")*")) or (after and (after.isalnum() or after in "(*^")):
            return False
    return True


def _is_product(text: str, _: str) -> bool:
    return _terms(text) == 1 and ("(" in text or "*" in text or "^" in text)


def _is_prime_product(text: str, _: str) -> bool:
    """Whether every number but an exponent is prime."""
    numbers = [int(n) for n in re.findall(r"(?<!\^)(?<!\^\{)(?<!\d)\d+", text) if len(n) < 10]
    return bool(numbers) and all(
        n > 1 and all(n % d for d in range(2, min(math.isqrt(n), 100_000) + 1)) for n in numbers
    )


def _terms(text: str) -> int:
    """Terms of the sum outside all brackets; 1 for a product."""
    depth, terms = 0, 1
    for index, mark in enumerate(text):
        depth += (mark in "([{") - (mark in ")]}")
        terms += mark in "+-" and depth == 0 and index > 0 and text[index - 1] not in "*/^+-(,=eE"
    return terms


def _groups(text: str) -> int:
    """Sums in brackets, each counted as often as its power says."""
    count = 0
    for _, inside, end in _brackets(text):
        if "+" in inside or "-" in inside[1:]:
            power = re.match(r"\^\{?(\d)", text[end:])
            count += int(power.group(1)) if power else 1
    return count


def _brackets(text: str) -> list[tuple[int, str, int]]:
    """(where it opens, what is inside, where it has closed) of each pair of round brackets."""
    brackets, opened = [], []
    for index, mark in enumerate(text):
        if mark == "(":
            opened.append(index)
        elif mark == ")" and opened:
            start = opened.pop()
            brackets.append((start, text[start + 1 : index], index + 1))
    return brackets


def _reordered(ours: str, theirs: str) -> bool:
    left, right = (re.split(r"[,;>]|\\to|->", text.strip("()[]{}\\")) for text in (ours, theirs))
    bare = [[item.strip("'\"").lower() for item in side] for side in (left, right)]
    return len(bare[0]) > 1 and bare[0] != bare[1] and sorted(bare[0]) == sorted(bare[1])


_FORMS: list[tuple[re.Pattern[str], str, Callable[[str, str], bool]]] = [
    (_SIMPLIFY, "not_reduced", _is_reduced),
    (_SIMPLIFY, "not_simplified", _is_expanded),
    (_EXPAND, "not_expanded", _is_expanded),
    (_PRIMES, "not_factored", _is_prime_product),
    (_FACTOR, "not_factored", _is_product),
    (_RATIONALIZE, "not_rationalized", lambda text, _: not _ROOT_BELOW.search(text)),
    (_MIXED, "not_mixed", lambda _, text: bool(_MIXED_NUMBER.search(text))),
    (_FRACTION, "not_a_fraction", lambda text, _: not _DECIMAL_NUMBER.search(text)),
    (_DECIMAL, "not_decimal", lambda text, _: "/" not in text),
    (_PERCENT, "not_percent", lambda text, _: "%" in text or "percent" in text),
    (_SCIENTIFIC, "not_scientific", lambda text, _: bool(_POWER_OF_TEN.search(text))),
]


# --- rounded as the statement asks ----------------------------------------------------------------------------------

_HOW_MANY = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6}
_SIGNIFICANT = re.compile(r"\b(\d{1,2}|one|two|three|four|five|six)\s+significant\s+(?:figures|digits)", re.IGNORECASE)
_PLACES = re.compile(
    r"\b(\d{1,2}|one|two|three|four|five|six)\s+(?:decimal\s+(?:places?|digits?)|digits? after the decimal)",
    re.IGNORECASE,
)
_NEAREST = re.compile(r"\bnearest\s+(whole number|integer|tenth|hundredth|thousandth|cent)\b", re.IGNORECASE)
_NEAREST_PLACES = {"whole number": 0, "integer": 0, "tenth": 1, "hundredth": 2, "thousandth": 3, "cent": 2}


@lru_cache(maxsize=1_024)
def rounded_as_asked(statement: str, gold: str, answer: str) -> bool:
    """Whether the answer is the gold answer, rounded to as many figures or places as the statement asks for, which it shows."""
    ours, theirs = read_number(clean(gold)), read_number(clean(answer))
    if not ours or not theirs or ours.decimals is None or theirs.decimals is None or ours.decimals <= theirs.decimals:
        return False
    step = Fraction(10) ** -theirs.decimals
    if abs(ours.value - theirs.value) > step / 2:
        return False
    if match := _PLACES.search(statement):
        return theirs.decimals == _count(match[1])
    if match := _NEAREST.search(statement):
        return theirs.decimals == _NEAREST_PLACES[match[1].lower()]
    if match := _SIGNIFICANT.search(statement):
        return len(str(abs(round(theirs.value / step)))) == _count(match[1])
    return False


def _count(word: str) -> int:
    return _HOW_MANY[word.lower()] if word.isalpha() else int(word)
