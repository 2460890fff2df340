"""Times of day and ratios: `8:34 PM`, `20:34`, `noon`, `3:4`, `1:2:3`.

compare_clock("8:34 PM", "20:34")     ->  correct, equal_number
compare_clock("3:4", "6:8")           ->  disagree, same_ratio: it would be another time of day
compare_clock("1:2:3", "1:3:2")       ->  incorrect, different_number
compare_clock("3:4", "x")             ->  None: neither a time nor a ratio on both sides
"""

import itertools
import re
from fractions import Fraction

from redistill.records import Outcome
from redistill.verify.durations import compare_durations
from redistill.verify.judging import NUMBER, Finding, different
from redistill.verify.reading import plain_words, read_number

_CLOCK = re.compile(r"(\d+)\s*(?::\s*(\d+))?\s*(?:([ap])\.?\s?m\.?)?(?:\s*(?:hours|hrs|h))?", re.IGNORECASE)
_WITH_SECONDS = re.compile(r"(\d{1,4})\s*:\s*([0-5]\d)\s*:\s*([0-5]\d(?:\.\d{1,9})?)")
_RATIO = re.compile(r"(\d+(?:\.\d+)?)\s*(?::|\bto\b)\s*(\d+(?:\.\d+)?)")
_ON_THE_HOUR = re.compile(r"\b(\d{1,2})\s*o'?\s*clock\b")
_NAMED_TIMES = {
    "noon": "12:00 pm",
    "12 noon": "12:00 pm",
    "12 midnight": "12:00 am",
    "midday": "12:00 pm",
    "midnight": "12:00 am",
}


def compare_clock(gold: str, answer: str) -> Finding | None:
    """Times and ratios, 3:30 PM and 6:8. The same digits are equal, also where the answer leaves out AM or PM; 20:34 is 8:34
    PM. One ratio written with other numbers, 3:4 for 6:8, is undecided: it would be another time of day."""
    sides = [_NAMED_TIMES.get(text.lower(), text) for text in (plain_words(gold), plain_words(answer))]
    if "clock" in sides[0] + sides[1]:
        sides = [_ON_THE_HOUR.sub(r"\1:00", side) for side in sides]
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
    if finding := _compare_long_ratios(sides[0], sides[1]):
        return finding
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


_LONG_RATIO = re.compile(r"\d{1,9}(?:\.\d{1,9})?(?:\s*:\s*\d{1,9}(?:\.\d{1,9})?){2,9}")


def _compare_long_ratios(gold: str, answer: str) -> Finding | None:
    """Ratios of three numbers and more, 1:2:3: number by number. The same ratio in other numbers is undecided, and so is a long
    ratio against anything else; None where neither side is one."""
    ours, theirs = _LONG_RATIO.fullmatch(gold), _LONG_RATIO.fullmatch(answer)
    if not (ours or theirs):
        return None
    left, right = (
        [Fraction(part) for part in side.split(":")] if m else [] for m, side in ((ours, gold), (theirs, answer))
    )
    if left == right:
        return Outcome.correct, "equal_ratio"
    if len(left) == len(right) and any(left) and any(right):
        if any(a * d != b * c for (a, b), (c, d) in itertools.combinations(zip(left, right), 2)):
            return different(NUMBER, NUMBER, "different_number")
        return Outcome.disagree, "same_ratio"
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
        if left == right and any(not m[3] and m[1].startswith("0") for m in (ours, theirs)):
            return Outcome.correct, "equal_number"  # 06:05 is not an evening
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
