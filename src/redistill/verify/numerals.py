"""Whole numbers and decimals written in ways that have several readings: bases, Roman numerals, points and commas.

compare_based("204_5", "204_5")                    ->  correct, equal_number
compare_mixed_digits("277", "2c7")                 ->  incorrect, different_number: equal in no base
compare_roman("XII", "12")                         ->  correct, equal_number
compare_point_of_thousands("1.234", "1234")        ->  disagree, perhaps_thousands
compare_decimal_comma("2.74", "2,74")              ->  correct, equal_number
compare_ordinals("third", "3")                     ->  correct, equal_number

Each is given clean text, and gives None where the two are not of its kind.
"""

import itertools
import re
from fractions import Fraction

from redistill.records import Outcome
from redistill.verify.judging import NUMBER, Finding, different
from redistill.verify.numberwords import with_ordinal_in_digits
from redistill.verify.reading import plain_words, read_number, word_key

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


def compare_ordinals(gold: str, answer: str) -> Finding | None:
    """A place in an order, third or the third floor, against the same place: correct. None for all else, for `third` may be a part too."""
    sides = plain_words(gold).strip(), plain_words(answer).strip()
    digits = [with_ordinal_in_digits(side) or side for side in sides]
    if digits == list(sides):
        return None
    ours, theirs = (read_number(side) for side in digits)
    if ours is None or theirs is None or ours.value != theirs.value or ours.percent or theirs.percent:
        return None
    nouns = {word_key(number.unit) for number in (ours, theirs) if number.unit}
    return (Outcome.correct, "equal_number") if len(nouns) < 2 else None


_MIXED_DIGITS = re.compile(
    r"(-?)(?:0[xX])?(\d[0-9a-fA-F]*[a-fA-F]\d[0-9a-fA-F]*|(?<=[xX])[0-9a-fA-F]+)|(-)([a-fA-F0-9]*[a-fA-F]\d[a-fA-F0-9]*)"
)


_LETTERED = re.compile(r"\d[0-9a-fA-F]{0,60}[a-fA-F]\d[0-9a-fA-F]{0,60}")  # a letter before a digit is not a product


def compare_mixed_digits(gold: str, answer: str) -> Finding | None:
    """A whole number against digits and letters that may be one in another base, 277 and 2c7: undecided where some base makes
    them equal, else different, because as a product of unknowns it is not a number either. Two of the latter, 5d03 and 5a03, are equal
    letter by letter or not at all. None for anything else."""
    if _LETTERED.fullmatch(gold) and _LETTERED.fullmatch(answer):
        return (
            (Outcome.correct, "equal_string")
            if gold.lower() == answer.lower()
            else different(NUMBER, NUMBER, "different_number")
        )
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
