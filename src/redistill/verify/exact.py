"""The verifiers that need no computer algebra: `exact` (text and plain numbers) and `choice` (letters).

    exact:   gold 1/2, answer 0.5        -> correct, equal_number
             gold 18, answer $18         -> correct, equal_number
    gold 5 km, answer 5000 m    -> correct, equal_number
             gold 18, answer 17.5        -> incorrect, different_number
             gold x^2, answer x*x        -> ungradable, not_comparable (another verifier may know)

They decide most rows of arithmetic corpora in microseconds and cannot hang.
"""

import itertools
import re
from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from typing import Literal

from redistill.records import Outcome, Problem, Trace, Verdict
from redistill.verify.answers import Anchor
from redistill.verify.durations import compare_durations
from redistill.verify.judging import RULES_VERSION, Finding, Reading, conventions, different, judge
from redistill.verify.numberwords import NUMBER_WORDS
from redistill.verify.prose import choice_in_prose
from redistill.verify.quantities import Unit, factor_between, may_be_conversion, read_unit, singular
from redistill.verify.reading import (
    Number,
    clean,
    is_wordy,
    plain_words,
    read_choice,
    read_choices,
    read_compound,
    read_number,
    word_key,
)

Percent = Literal["either", "value", "strip"]

RELATIVE_TOLERANCE = 0.0  # between decimals: none, a decimal is what its digits say
# A decimal that is the other number rounded to its own places: right from four significant digits on (2.667 for 8/3),
# wrong when more than two percent away, and between the two nobody can say what the question asked for.
ROUNDED_DIGITS = 4
ROUNDED_APART = Fraction(2, 100)
DOUBLE_DIGITS = 15  # what a double holds: beyond them, the digits of two decimals are noise

NUMBER = Reading("number", complete=True)
CHOICE = Reading("choice", complete=True)
WORD = Reading("word", complete=True)
NO_NUMBER = Reading("words without a number", complete=True)

_YES = frozenset(("yes", "true", "correct"))
_NO = frozenset(("no", "false", "incorrect"))
# Words for "there is none", which say the same or nearly so.
_NONE = frozenset(
    ("none", "nothing", "zero", "empty", "never", "impossible", "undefined", "dne", "null", "nobody", "nowhere")
)


def compare_numbers(gold: Number, answer: Number, *, relative_tolerance: float, percent: Percent) -> Finding:
    """Two plain numbers with their units. percent: what 28% may equal when the other side has no sign: 28 ("strip"), 0.28
    ("value") or both ("either", the default, since golds are written either way)."""
    if gold.unit or answer.unit:
        return _compare_quantities(gold, answer, relative_tolerance, percent)
    return _compare_plain(gold, answer, relative_tolerance, percent)


def _compare_plain(gold: Number, answer: Number, relative_tolerance: float, percent: Percent) -> Finding:
    if gold.percent != answer.percent:
        signed, other = (gold, answer) if gold.percent else (answer, gold)
        scales = {"either": (1, 100), "value": (100,), "strip": (1,)}[percent]
        plain = Number(signed.value, signed.decimals)
        bare = [Number(other.value * s, other.decimals and other.decimals - (s == 100) * 2) for s in scales]
        findings = [_compare_values(plain, number, relative_tolerance) for number in bare]
    else:
        findings = [_compare_values(gold, answer, relative_tolerance)]
    return next(f for kind in ("correct", "disagree", "incorrect") for f in findings if f[0] == kind)


def _compare_quantities(gold: Number, answer: Number, relative_tolerance: float, percent: Percent) -> Finding:
    """Two numbers of which one at least has a unit. One dimension: converted and compared. A unit on one side only: the
    numbers are compared, and undecided where they differ by what a conversion would explain. All else is undecided."""
    ours, theirs = read_unit(gold.unit), read_unit(answer.unit)
    if ours is None or theirs is None:
        return Outcome.disagree, "unit_unreadable"
    left, right = _magnified(gold, ours), _magnified(answer, theirs)
    compare = partial(_compare_plain, relative_tolerance=relative_tolerance, percent=percent)
    if ours.factors and theirs.factors:
        factor = factor_between(theirs.factors, ours.factors)
        if factor is None or not _same_nouns(ours, theirs):
            return Outcome.disagree, "units_differ"
        return compare(left, _times(right, factor))
    if (ours.empty or theirs.empty) or (not ours.factors and not theirs.factors and _same_nouns(ours, theirs)):
        finding = compare(left, right)
        unit = Unit(ours.factors or theirs.factors, magnitude=ours.magnitude * theirs.magnitude)
        if finding[0] == Outcome.incorrect and right.value and may_be_conversion(left.value / right.value, unit):
            return Outcome.disagree, "perhaps_converted"
        if finding[0] == Outcome.incorrect and gold.percent != answer.percent:
            return Outcome.disagree, "perhaps_converted"  # 50 ppm and 0.005%
        return finding
    return Outcome.disagree, "units_differ"  # apples and kilometres, apples and oranges


def _magnified(number: Number, unit: Unit) -> Number:
    """3 million is 3000000, rounded to the places that 3 shows in millions."""
    return _times(number, unit.magnitude)


def _times(number: Number, factor: Fraction) -> Number:
    if factor == 1:
        return Number(number.value, number.decimals, number.percent)
    shift = _power_of_ten(factor)
    exact = number.decimals is None or (number.decimals <= 0 and shift is None)
    decimals = (
        None
        if exact or number.decimals is None
        else number.decimals - shift
        if shift is not None
        else number.decimals - _size(factor)
    )
    return Number(number.value * factor, decimals, number.percent)


def _power_of_ten(factor: Fraction) -> int | None:
    larger = max(factor, 1 / factor)
    power = len(str(larger.numerator)) - 1
    if larger != 10**power:
        return None
    return power if factor > 1 else -power


def _size(factor: Fraction) -> int:
    """The power of ten below the factor."""
    return len(str(int(factor))) - 1 if factor >= 1 else -len(str(int(1 / factor)))


def _same_nouns(ours: Unit, theirs: Unit) -> bool:
    """Whether what is counted may be the same: clips and paper clips; a side without a word says nothing against it."""
    rates = [{noun for noun in unit.nouns if noun[0] == "/"} for unit in (ours, theirs)]  # per person
    return rates[0] == rates[1] and (ours.nouns <= theirs.nouns or theirs.nouns <= ours.nouns)


def unit_key(unit: str) -> str:
    """A unit for comparison: `Meters` is `meter`."""
    return "".join(c for c in unit.lower() if c.isalnum()).rstrip("s")


def compare_compounds(gold: str, answer: str, relative_tolerance: float) -> Finding | None:
    """`2 h 30 min` against 150 minutes; None where neither side is in several units."""
    sides = read_compound(gold), read_compound(answer)
    if not any(sides):
        return None
    numbers = []
    for text, parts in zip((gold, answer), sides):
        number = _sum_of(parts) if parts else read_number(text)
        if number is None or not number.unit:
            return Outcome.disagree, "unit_missing"
        numbers.append(number)
    return compare_numbers(numbers[0], numbers[1], relative_tolerance=relative_tolerance, percent="either")


def _sum_of(parts: list[tuple[Fraction, str]]) -> Number | None:
    """The sum in the last unit, None where one cannot be converted to it."""
    last = ((parts[-1][1], 1),)
    factors = [factor_between(((name, 1),), last) for _, name in parts]
    if any(factor is None for factor in factors):
        return None
    total = sum((value * factor for (value, _), factor in zip(parts, factors) if factor is not None), Fraction(0))
    return Number(total, None, unit=parts[-1][1])


def _compare_values(gold: Number, answer: Number, relative_tolerance: float) -> Finding:
    if gold.value == answer.value:
        return Outcome.correct, "equal_number"
    if not gold.decimals and not answer.decimals:
        return different(NUMBER, NUMBER, "different_number")  # integers and fractions: exact or not at all
    apart = abs(gold.value - answer.value)
    largest = max(abs(gold.value), abs(answer.value))
    if apart <= Fraction(relative_tolerance) * largest or _is_noise(gold, answer, apart, largest):
        return Outcome.correct, "equal_number"
    # The coarser side: the one with fewer decimals. An exact form (None) counts as having all of them.
    coarse = min(gold, answer, key=lambda n: 10**9 if n.decimals is None else n.decimals)
    assert coarse.decimals is not None
    unit_in_last_place = Fraction(10) ** -coarse.decimals
    if apart >= unit_in_last_place or apart > ROUNDED_APART * largest or gold.decimals == answer.decimals:
        return different(NUMBER, NUMBER, "different_number")
    digits = len(str(abs(round(coarse.value / unit_in_last_place))))
    if apart > unit_in_last_place / 2:
        fine = answer if coarse is gold else gold
        if coarse.decimals == 0 or digits < 2 or abs(coarse.value) > abs(fine.value):  # whole numbers are not cut off
            return different(NUMBER, NUMBER, "different_number")
        return Outcome.disagree, "only_truncated"
    if digits >= ROUNDED_DIGITS and coarse.decimals > 0:
        return Outcome.correct, "equal_rounded"
    return Outcome.disagree, "only_rounded"


def _is_noise(gold: Number, answer: Number, apart: Fraction, largest: Fraction) -> bool:
    """Whether two decimals differ only beyond the digits of a double, as 0.30000000000000004 and 0.3 do."""
    if apart * 10**DOUBLE_DIGITS > largest:
        return False
    return any(
        n.decimals and len(str(abs(round(n.value * 10 ** max(n.decimals, 0))))) > DOUBLE_DIGITS for n in (gold, answer)
    )


def same_text(gold: str, answer: str) -> bool:
    """Whether two clean texts are the same but for white space, braces round one character and dollar signs. The space
    between two digits counts: 2 1/2 is not 21/2."""
    return _bare(gold) == _bare(answer) != ""


def _bare(text: str) -> str:
    plain = re.sub(r"\{\s*(\w)\s*\}", r"\1", plain_words(text)).replace("$", "").replace("\\degree", "")
    return "".join(_BETWEEN_DIGITS.sub("_", plain).split())


_BETWEEN_DIGITS = re.compile(r"(?<=\d)\s+(?=\d)")


_BASED = re.compile(r"(-?[0-9A-Fa-f]+)\s*_\s*\{?\s*(\d+)\s*\}?|\((-?[0-9A-Fa-f]+)\)\s*_\s*\{?\s*(\d+)\s*\}?")


def compare_based(gold: str, answer: str) -> Finding | None:
    """Integers with their base, 204_5: by value. A base on one side only is undecided."""
    ours, theirs = _BASED.fullmatch(gold), _BASED.fullmatch(answer)
    if ours and theirs:
        left, right = _based(ours), _based(theirs)
        if left is None or right is None:
            return Outcome.disagree, "base_unreadable"
        if left == right:
            return Outcome.correct, "equal_number"
        if left[1] == right[1]:
            return different(NUMBER, NUMBER, "different_number")
        same = int(left[0], left[1]) == int(right[0], right[1])
        return (Outcome.disagree, "base_missing") if same else different(NUMBER, NUMBER, "different_number")
    if (ours and read_number(answer)) or (theirs and read_number(gold)):
        return Outcome.disagree, "base_missing"
    return None


_MIXED_DIGITS = re.compile(
    r"(-?)(?:0[xX])?(\d[0-9a-fA-F]*[a-fA-F]\d[0-9a-fA-F]*|(?<=[xX])[0-9a-fA-F]+)|(-)([a-fA-F0-9]*[a-fA-F]\d[a-fA-F0-9]*)"
)


def compare_mixed_digits(gold: str, answer: str) -> Finding | None:
    """A whole number against digits and letters that may be one in another base, 277 and 2c7: undecided where some base makes
    them equal, else different, for as a product of unknowns it is no number either. None for anything else."""
    for side, other in ((gold, answer), (answer, gold)):
        number = read_number(other, words=False)
        if number is None or number.decimals != 0 or number.unit or number.percent or read_number(side, words=False):
            continue
        if not (match := _MIXED_DIGITS.fullmatch(side)) or len(side) > MAX_BASED:
            continue
        if (chosen := _CHOOSE.fullmatch(side)) and int(chosen[1]) >= int(chosen[2]):
            continue
        digits = (match[2] or match[4]).lower()
        sign = -1 if match[1] or match[3] else 1
        plain = other.lstrip("-").lower()
        bases = range(max(int(digit, 36) for digit in digits) + 1, 37)
        if any(sign * int(digits, base) == number.value for base in bases) or plain == digits:
            return Outcome.disagree, "base_missing"
        return different(NUMBER, NUMBER, "different_number")
    return None


_CHOOSE = re.compile(r"(\d+)[cC](\d+)")  # 5C2, ways to choose; formula.py reads it
MAX_BASED = 60  # characters of a number in another base


def _based(match: re.Match[str]) -> tuple[str, int] | None:
    """(digits without leading zeros, base) of a number whose digits are all below its base."""
    digits, base = match[1] or match[3], int((match[2] or match[4])[:3])
    sign, digits = ("-", digits[1:]) if digits.startswith("-") else ("", digits)
    if not 2 <= base <= 36 or any(int(d, 36) >= base for d in digits):
        return None
    return sign + (digits.lower().lstrip("0") or "0"), base


_CLOCK = re.compile(r"(\d+)\s*(?::\s*(\d+))?\s*(?:([ap])\.?\s?m\.?)?(?:\s*(?:hours|hrs|h))?", re.IGNORECASE)
_WITH_SECONDS = re.compile(r"(\d{1,4})\s*:\s*([0-5]\d)\s*:\s*([0-5]\d(?:\.\d{1,9})?)")
_RATIO = re.compile(r"(\d+(?:\.\d+)?)\s*(?::|\bto\b)\s*(\d+(?:\.\d+)?)")
_NAMED_TIMES = {"noon": "12:00 pm", "midday": "12:00 pm", "midnight": "12:00 am"}


def compare_clock(gold: str, answer: str) -> Finding | None:
    """Times and ratios, 3:30 PM and 6:8. The same digits are equal, also where the answer leaves out AM or PM; 20:34 is 8:34
    PM. One ratio written with other numbers, 3:4 for 6:8, is undecided: it would be another time of day."""
    sides = [_NAMED_TIMES.get(text.lower(), text) for text in (plain_words(gold), plain_words(answer))]
    if "day" in (sides[0] + sides[1]).lower() and (duration := compare_durations(sides[0], sides[1])):
        return duration
    ours, theirs = (_CLOCK.fullmatch(side) for side in sides)
    if (
        ours
        and theirs
        and (ours[2] or theirs[2] or (ours[3] and theirs[3]))
        and (ours[2] or ours[3])
        and (theirs[2] or theirs[3])
    ):
        return _compare_times(ours, theirs)
    if (long_ours := _WITH_SECONDS.fullmatch(sides[0])) and (long_theirs := _WITH_SECONDS.fullmatch(sides[1])):
        first_time, second_time = (3600 * int(m[1]) + 60 * int(m[2]) + Fraction(m[3]) for m in (long_ours, long_theirs))
        if first_time == second_time:
            return Outcome.correct, "equal_number"
        return (
            different(NUMBER, NUMBER, "different_number")
            if abs(first_time - second_time) >= 1
            else (Outcome.disagree, "only_rounded")
        )
    left, right = (_RATIO.fullmatch(side) for side in sides)
    if not (left or right):
        return None
    first, second = (_ratio(match, side) for match, side in zip((left, right), sides))
    if first is None or second is None:
        return None
    if first == second:
        return (
            (Outcome.correct, "equal_ratio")
            if (left and right and left.groups() == right.groups()) or not (left and right)
            else (Outcome.disagree, "same_ratio")
        )
    return Outcome.disagree, "ratio_or_time"


def _ratio(match: re.Match[str] | None, side: str) -> Fraction | None:
    if match:
        return Fraction(match[1]) / Fraction(match[2]) if Fraction(match[2]) else None
    number = read_number(side)
    return number.value if number and not number.unit and not number.percent else None


def _compare_times(ours: re.Match[str], theirs: re.Match[str]) -> Finding:
    (a, b), (c, d) = ((int(m[1][:6]), int((m[2] or "0")[:6])) for m in (ours, theirs))
    noon, other_noon = (m[3] and m[3].lower() for m in (ours, theirs))
    if noon or other_noon:
        left, right = _of_day(a, b, noon), _of_day(c, d, other_noon)
        if (noon and other_noon) or (not noon and (a > 12 or a == 0)) or (not other_noon and (c > 12 or c == 0)):
            return (Outcome.correct, "equal_number") if left == right else different(NUMBER, NUMBER, "different_number")
        if (a, b) == (c, d):
            return (Outcome.correct, "equal_number") if noon else (Outcome.disagree, "half_of_day_missing")
        return different(NUMBER, NUMBER, "different_number")
    if (a, b) == (c, d):
        return (Outcome.correct, "equal_number") if len(ours[2]) == len(theirs[2]) else (Outcome.disagree, "same_ratio")
    if a * d == b * c:
        return Outcome.disagree, "same_ratio"
    return different(NUMBER, NUMBER, "different_number")


def _of_day(hour: int, minute: int, noon: str | None) -> int:
    return ((hour % 12 + 12 * (noon == "p")) if noon else hour) * 60 + minute


def compare_words(gold: str, answer: str) -> Finding | None:
    """Two clean texts of which the gold is words; None where it is not, or nothing can be said."""
    gold_key, answer_key = word_key(gold), word_key(answer)
    if not is_wordy(gold) and gold_key not in _YES | _NO:
        return None
    if gold_key and gold_key == answer_key:
        same = _figures(gold) == _figures(answer)  # the key knows no signs: -3 hours is not 3 hours
        return (Outcome.correct, "equal_words") if same else None
    ours, theirs = _yes_or_no(gold_key), _yes_or_no(answer_key)
    if ours is not None and theirs is not None:
        return (Outcome.correct, "equal_words") if ours == theirs else different(WORD, WORD, "different_word")
    if _says_none(gold_key) and _says_none(answer_key):
        return Outcome.correct, "equal_words"
    if _DATE.fullmatch(gold_key) and sorted(gold_key.split()) == sorted(answer_key.split()):
        return Outcome.correct, "equal_words"  # July 4 and 4 July
    if gold_key.isalpha() and ours is None:
        reading, other = _word(gold_key, gold), NUMBER if read_number(answer) else _word(answer_key, answer)
        if other is NUMBER and gold_key in _NONE:
            return Outcome.disagree, "perhaps_none"
        if other is NUMBER or answer_key.isalpha():
            if other is not NUMBER and _related(gold_key, answer_key):
                return Outcome.ungradable, "text_differs"
            return different(reading, other, "different_word")  # one word against another, or against a number
    return None


_LAYOUT = r"text[a-z]*|math[a-z]*|left|right|q?quad|displaystyle|boxed|currency|degree"
_FIGURE = re.compile(rf"\\(?!(?:{_LAYOUT})(?![A-Za-z]))[A-Za-z]+|[-+*/^_=<>!%](?=\s?[\d\\(.{{])|\d|[.,](?=\d)")


def _figures(text: str) -> list[str]:
    """Digits, signs before them and commands of a text, in their order: what a comparison of words leaves out."""
    return _FIGURE.findall(plain_words(text))


_MONTH = "(?:january|february|march|april|may|june|july|august|september|october|november|december)"
_DATE = re.compile(rf"{_MONTH} \d{{1,2}}(?: \d{{4}})?|\d{{1,2}} {_MONTH}(?: \d{{4}})?")


def _yes_or_no(key: str) -> bool | None:
    """Yes or no, alone or before a reason: `Yes, it converges`."""
    first = key.partition(" ")[0]
    if key in _YES or (first in ("yes", "true") and not set(key.split()) & {"not", "no", "but", "or", "only"}):
        return True
    return False if key in _NO or (first == "false" and len(key.split()) < 2) else None


_NO_SOLUTION = re.compile(
    r"(?:there (?:is|are|exists?) )?no (?:real |valid |possible |such )*(?:solutions?|roots?|answers?)(?: exists?| found| possible)?|does not exist"
    r"|dne|undefined|doesnt exist|not defined"
)


def _says_none(key: str) -> bool:
    return bool(_NO_SOLUTION.fullmatch(key))


def _word(key: str, text: str) -> Reading:
    """One word of plain letters is itself, read to its end; a word of numbers, or of several words, may mean another thing."""
    plain = key.isascii() and key.isalpha() and (is_wordy(text) or len(key) > 1) and key not in NUMBER_WORDS
    return Reading("word", complete=plain)


def _related(word: str, other: str) -> bool:
    """Whether two words may be one in two forms: cat and cats, grey and gray, colour and color; or both say none."""
    if word in _NONE and other in _NONE:
        return True
    if min(len(word), len(other)) > 2 and singular(word) == singular(other):
        return True
    if (
        2 * len(set(word)) < len(word) or 2 * len(set(other)) < len(other) or min(len(set(word)), len(set(other))) < 4
    ):  # strings of few letters are data, in which each letter counts
        return {word, other} == {"grey", "gray"}
    if min(len(word), len(other)) > 5 and set(word + other) <= set("abcde"):  # DAEEBEB and DAEEBEBD
        return False
    shared = len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], zip(word, other))))
    return shared >= 3 and shared >= min(len(word), len(other)) - 1 and abs(len(word) - len(other)) <= 3


_POINT_OF_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}\.\d{3}")


def compare_point_of_thousands(gold: str, answer: str) -> Finding | None:
    """1.234 and 1234: the point may mark thousands. Undecided; None where the digits are not the same."""
    for side, other in ((gold, answer), (answer, gold)):
        if _POINT_OF_THOUSANDS.fullmatch(side) and side.replace(".", "") == other.replace(",", ""):
            return Outcome.disagree, "perhaps_thousands"
    return None


_ROMAN = re.compile(r"(?=[IVXLCDM])M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})")
_ROMAN_DIGITS = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}


def compare_roman(gold: str, answer: str) -> Finding | None:
    """Roman numerals of two letters or more, against one another or a number: equal values are equal, all else is undecided, for
    CD may be a side of a square. None where neither side is one, or both are the same letters."""
    sides = [plain_words(side) for side in (gold, answer)]
    values = [_roman(side) if len(side) > 1 and _ROMAN.fullmatch(side) else None for side in sides]
    if values == [None, None]:
        return None
    for place, side in enumerate(sides):
        if values[place] is None:
            number = read_number(side, words=False)
            if number is None or number.unit or number.percent:
                return None
            values[place] = number.value
    return (Outcome.correct, "equal_number") if values[0] == values[1] else (Outcome.disagree, "perhaps_roman")


def _roman(text: str) -> Fraction:
    digits = [_ROMAN_DIGITS[letter] for letter in text]
    return Fraction(sum(-d if d < after else d for d, after in itertools.zip_longest(digits, digits[1:], fillvalue=0)))


_COMMA = re.compile(r"([-+]?\d+),(\d+)")


def compare_decimal_comma(gold: str, answer: str) -> Finding | None:
    """The same digits with a comma on one side and a point on the other. 2,74 for the gold 2.74 is the same number; so is
    a gold 0,111, which is neither a list nor thousands. Otherwise 1,5 may be two numbers and 1,234 thousands."""
    for side, other in ((gold, answer), (answer, gold)):
        if not (comma := _COMMA.fullmatch(side)):
            continue
        if "." not in other or not (number := read_number(other)) or not number.decimals:
            return None
        if number.value != Fraction(f"{comma.group(1)}.{comma.group(2)}"):
            return None
        whole, part = comma.group(1).lstrip("+-"), comma.group(2)
        certain = len(part) != 3 or whole.startswith("0") if side is answer else whole == "0" and len(part) > 2
        return (Outcome.correct, "equal_number") if certain else (Outcome.disagree, "decimal_comma")
    return None


def compare_exact(gold: str, answer: str, *, relative_tolerance: float, percent: Percent, units: bool) -> Finding:
    """Text, then numbers, then words; `ungradable` for all else."""
    gold, answer = clean(gold), clean(answer)
    if same_text(gold, answer):
        return Outcome.correct, "equal_string"
    gold_number, answer_number = read_number(gold, units=units), read_number(answer, units=units)
    if "," in gold + answer and (finding := compare_decimal_comma(gold, answer)):
        return finding
    if finding := compare_point_of_thousands(gold, answer) or compare_roman(gold, answer):
        return finding
    if units and (compound := compare_compounds(gold, answer, relative_tolerance)):
        return compound
    if gold_number and answer_number:
        return compare_numbers(gold_number, answer_number, relative_tolerance=relative_tolerance, percent=percent)
    if (
        finding := compare_based(gold, answer)
        or compare_mixed_digits(gold, answer)
        or compare_clock(gold, answer)
        or compare_words(gold, answer)
    ):
        return finding
    if gold_number and gold_number.value != 0 and _without_number(answer):  # not "twenty dollars"; and "none" may be 0
        return different(NUMBER, NO_NUMBER, "not_a_number")
    return Outcome.ungradable, "not_comparable"


# Phrases by which a text says that there is no such number. A word that nobody knows might name one.
_DENIAL = re.compile(
    r"\b(?:no|not|none|never|cannot|cant|impossible|impossibly|undefined|unsolvable|infeasible|invalid|insufficient|doesnt|dne|unable|infinite|infinitely|infinity)\b"
)
_PLAIN_WORDS = frozenset(("even", "odd", "yes", "true", "false", "red", "blue", "green", "left", "right", "north", "south", "east", "west", "both",
                          "neither", "increasing", "decreasing", "prime", "composite", "rational", "irrational", "positive", "negative"))  # fmt: skip


def _without_number(answer: str) -> bool:
    """Whether a text of words says that there is no number, or is a word that is certainly none."""
    words = word_key(answer).split()
    if not words or not is_wordy(answer) or any(not word.isalpha() or not word.isascii() for word in words):
        return False
    if set(words) & NUMBER_WORDS:
        return False
    return bool(_DENIAL.search(" ".join(words))) or (len(words) == 1 and words[0] in _PLAIN_WORDS)


def exact(
    problem: Problem,
    trace: Trace,
    *,
    anchors: Sequence[Anchor] | None = None,
    relative_tolerance: float = RELATIVE_TOLERANCE,
    percent: Percent = "either",
    units: bool = True,
) -> Verdict:
    """Text and plain numbers (integers, fractions, decimals, percents, 10^k) compared exactly; other forms stay undecided.

    anchors: where an answer is looked for and in which order (see answers.ANCHORS). units: drop units after numbers.
    """

    def compare(gold: str, answer: str) -> Finding:
        return compare_exact(gold, answer, relative_tolerance=relative_tolerance, percent=percent, units=units)

    version = f"{RULES_VERSION}; {conventions(percent, units)}"
    return judge(problem, trace, compare, verifier="exact", verifier_version=version, anchors=anchors)


def compare_choice(gold: str, answer: str) -> Finding:
    """Two letters of multiple choice, or two sets of letters; anything else is undecided: it may be the option's text."""
    gold, answer, sentence = clean(gold), clean(answer), answer
    if (ours := read_choices(gold)) and (theirs := read_choices(answer) or _one(read_choice(answer))):
        return (Outcome.correct, "equal_choice") if ours == theirs else different(CHOICE, CHOICE, "different_choice")
    gold_letter, answer_letter = read_choice(gold), read_choice(answer)
    if gold_letter is None:
        return Outcome.ungradable, "gold_not_a_choice"
    if read_choices(answer):  # several letters where one is right
        return different(CHOICE, CHOICE, "different_choice")
    if answer_letter is None:
        right = choice_in_prose(sentence.strip()) == gold_letter
        return (Outcome.correct, "equal_in_sentence") if right else (Outcome.ungradable, "not_a_choice")
    same = gold_letter == answer_letter
    return (Outcome.correct, "equal_choice") if same else different(CHOICE, CHOICE, "different_choice")


def _one(letter: str | None) -> frozenset[str] | None:
    return frozenset(letter) if letter else None


def choice(problem: Problem, trace: Trace, *, anchors: Sequence[Anchor] | None = None) -> Verdict:
    """Letters A to J of multiple choice: `C`, `(C)`, `C. Cecile`, and several of them: `A, C`."""
    return judge(problem, trace, compare_choice, verifier="choice", verifier_version=RULES_VERSION, anchors=anchors)
