"""Stretches of time written with days, `15 days, 16:28:31`, compared by their seconds.

compare_durations("17 days, 03:43", "31 days, 03:43")     ->  incorrect, different_number
compare_durations("1 day, 9:48:00", "1 days 09:48:00")    ->  correct, equal_number
compare_durations("17 days, 03:43", "17 days, 03:43:55")  ->  disagree, only_rounded: the first may be cut to the minute
compare_durations("03:43", "04:15")                       ->  None: a time of day or a ratio (exact.py)
"""

import re
from fractions import Fraction
from typing import NamedTuple

from redistill.records import Outcome
from redistill.verify.judging import Finding, Reading, different

DURATION = Reading("duration", complete=True)

_CLOCK = r"(\d{1,4})\s*:\s*([0-5]\d)(?:\s*:\s*([0-5]\d(?:\.\d{1,9})?))?"
_DURATION = re.compile(
    rf"(?:(\d{{1,6}})\s*days?\s*(?:,\s*and\b|,|\band\b)?\s*)?{_CLOCK}(?:\s*(?:hours|hrs|h))?", re.IGNORECASE
)
_DAYS = re.compile(r"(\d{1,6})\s*days?", re.IGNORECASE)


class Duration(NamedTuple):
    """A stretch of time. step: the smallest part that it shows, in seconds; days: whether it names them."""

    seconds: Fraction
    step: Fraction
    days: bool


def read_duration(text: str) -> Duration | None:
    """A duration in days and hours, minutes, seconds, or in either of them; None for anything else."""
    if days := _DAYS.fullmatch(text):
        return Duration(Fraction(86_400 * int(days[1])), Fraction(86_400), True)
    match = _DURATION.fullmatch(text)
    if match is None:
        return None
    seconds = Fraction(match[4] or 0)
    whole = 86_400 * int(match[1] or 0) + 3_600 * int(match[2]) + 60 * int(match[3])
    places = len((match[4] or "").partition(".")[2])
    return Duration(whole + seconds, Fraction(1, 10**places) if match[4] else Fraction(60), match[1] is not None)


def compare_durations(gold: str, answer: str) -> Finding | None:
    """Two durations of which one at least names days beside a clock; None for all else. What differs by less than the coarser
    side shows, or by less than a second, is undecided; and so is a clock without days and seconds, which may be minutes and
    seconds, unless a day or more lies between the two."""
    ours, theirs = read_duration(gold), read_duration(answer)
    if ours is None or theirs is None or not (ours.days or theirs.days) or ":" not in gold + answer:
        return None
    apart = abs(ours.seconds - theirs.seconds)
    if apart == 0:
        return Outcome.correct, "equal_number"
    if apart < 1 or (apart < max(ours.step, theirs.step) and ours.step != theirs.step):
        return Outcome.disagree, "only_rounded"
    if any(not side.days and side.step == 60 for side in (ours, theirs)) and apart < 86_400:
        return Outcome.disagree, "ratio_or_time"
    return different(DURATION, DURATION, "different_number")
