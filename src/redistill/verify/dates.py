"""Dates, and the names of days and months with their short forms.

compare_dates("2024-01-05", "January 5, 2024")    ->  correct, equal_date
compare_dates("06/05/2021", "05/06/2021")         ->  disagree, day_or_month
compare_dates("2024-01-05", "2018")               ->  disagree, perhaps_a_date: no subtraction
is_one_name("fri", "friday")                      ->  True
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from redistill.records import Outcome
from redistill.verify.judging import Finding, Reading, different

MAX_DATE = 40  # characters
DATE = Reading("date", complete=True)
_MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december")  # fmt: skip
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_SHORT = {name[:3]: name for name in (*_MONTHS, *_DAYS)} | {"sept": "september", "tues": "tuesday", "thur": "thursday", "thurs": "thursday"}  # fmt: skip
_MONTH = "|".join(sorted((*_MONTHS, *(short for short in _SHORT if _SHORT[short] in _MONTHS)), key=len, reverse=True))
_YEAR_FIRST = re.compile(r"([12]\d{3})([-/.])(\d{1,2})\2(\d{1,2})")
_YEAR_LAST = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2([12]\d{3})")
_WRITTEN = (
    re.compile(rf"(?P<month>{_MONTH})\.?\s+(?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?:\s*,?\s+(?P<year>[12]\d{{3}}))?", re.IGNORECASE),
    re.compile(rf"(?:the\s+)?(?P<day>\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?(?P<month>{_MONTH})\.?(?:\s*,?\s+(?P<year>[12]\d{{3}}))?", re.IGNORECASE),
    re.compile(rf"(?P<month>{_MONTH})\.?\s*,?\s+(?P<year>[12]\d{{3}})(?P<day>)", re.IGNORECASE),
)  # fmt: skip


class Date(NamedTuple):
    """year and day are 0 where the text has none."""

    year: int
    month: int
    day: int


def is_one_name(word: str, other: str) -> bool:
    """Whether two small-lettered words are one day or month, in full or short."""
    full = _SHORT.get(word, word), _SHORT.get(other, other)
    return full[0] == full[1] and full[0] in (*_MONTHS, *_DAYS)


def read_dates(text: str) -> tuple[Date, ...]:
    """What date a text may be: one reading, two where day and month are ambiguous, none for anything else."""
    return tuple(date for date in _readings(text.strip()) if 1 <= date.month <= 12 and 0 <= date.day <= 31)


def _readings(text: str) -> Iterator[Date]:
    if match := _YEAR_FIRST.fullmatch(text):
        yield Date(int(match[1]), int(match[3]), int(match[4]))
    elif match := _YEAR_LAST.fullmatch(text):
        first, second, year = int(match[1]), int(match[3]), int(match[4])
        yield Date(year, first, second)
        if first != second:
            yield Date(year, second, first)
    else:
        for pattern in _WRITTEN:
            if match := pattern.fullmatch(text):
                name = match["month"].lower()
                yield Date(
                    int(match["year"] or 0), _MONTHS.index(_SHORT.get(name[:3], name)) + 1, int(match["day"] or 0)
                )
                return


def compare_dates(gold: str, answer: str) -> Finding | None:
    """Two dates; None where neither side is one. A part that one side leaves out is undecided, and so is a date in figures
    against anything else: it is not a subtraction."""
    if (
        len(gold) > MAX_DATE
        or len(answer) > MAX_DATE
        or not (gold[-1:].isdigit() or answer[-1:].isdigit() or " " in gold)
    ):
        return None  # a date ends in a figure, or has several words
    ours, theirs = read_dates(gold), read_dates(answer)
    if not ours or not theirs:
        figures = (_YEAR_FIRST, _YEAR_LAST)
        side = gold if ours else answer
        return (Outcome.disagree, "perhaps_a_date") if (ours or theirs) and any(f.fullmatch(side.strip()) for f in figures) else None  # fmt: skip
    if set(ours) & set(theirs):
        return (Outcome.correct, "equal_date") if len(ours) == len(theirs) == 1 else (Outcome.disagree, "day_or_month")
    if any(_may_be_one(a, b) for a in ours for b in theirs):
        return Outcome.disagree, "part_of_date_missing"
    return different(DATE, DATE, "different_date")


def _may_be_one(one: Date, other: Date) -> bool:
    return all(a == b or not (a and b) for a, b in zip(one, other))
