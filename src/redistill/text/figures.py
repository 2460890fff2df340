"""Figures as a reader meets them, in one unit: shares in percent, their differences and errors in percentage points.

    percent(0.8412)                    ->  "84.1"
    points(-0.036)                     ->  "-3.6"             signed: a difference
    between([0.30, 0.43])              ->  "30.0 to 43.0"
    between([-0.02, 0.05], signed=True)  ->  "-2.0 to +5.0"
    between(None)                      ->  "no interval"      never "nan to nan"
    p_value(0.0000004)                 ->  "p < 0.001"        never "p = 0.000"
    smallest_difference(300, n=4)      ->  0.065

Files keep shares between 0 and 1; whatever prints a score goes through here.
"""

import math
from collections.abc import Sequence

NO_INTERVAL = "no interval"  # one problem, or fewer than three seeds: the spread is unknown

_Z_TWO_SIDED, _Z_POWER = 1.959963984540054, 0.8416212335729143  # 5% two-sided; power .8


def plural(n: int, word: str) -> str:
    """(1, 'shard') -> '1 shard'; (3, 'shard') -> '3 shards'."""
    return f"{n:,} {word}" + ("" if n == 1 else "s")


def percent(share: float | None, digits: int = 1) -> str:
    """A share in percent, the sign left to the heading; a dash where it is not known."""
    return "-" if share is None or math.isnan(share) else f"{100 * share:.{digits}f}"


def points(difference: float | None, digits: int = 1) -> str:
    """A difference of two shares in points, with its sign; a dash where it is not known."""
    return "-" if difference is None or math.isnan(difference) else f"{100 * difference:+.{digits}f}"


def between(interval: Sequence[float] | None, *, signed: bool = False) -> str:
    """A 95% interval of shares in percent, or of a difference in points; NO_INTERVAL where there is none."""
    if interval is None or any(math.isnan(end) for end in interval):
        return NO_INTERVAL
    form = points if signed else percent
    return f"{form(interval[0])} to {form(interval[1])}"


def p_value(p: float) -> str:
    """`p = 0.034`; below a thousandth `p < 0.001`, because a chance is never 0."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def smallest_difference(problems: int, *, n: int, spread: float | None = None) -> float | None:
    """The smallest true difference of pass@1 that a paired comparison on this many problems shows in 4 of 5 cases.

    (1.96 + 0.84) s / sqrt(P), the sample size formula of a paired mean at the two-sided 5% level with power .8. s, the standard
    deviation of one problem's difference, is `spread` where a run has measured it. Before a run it is assumed:
    s^2 = 0.1 + 0.25 / n for n samples a problem, which gives .40 at n = 4 (the quickstart: .39) and .59 at n = 1, where 35% of the
    problems change sides. At most 1; None without problems.
    """
    if problems < 1:
        return None
    s = math.sqrt(0.1 + 0.25 / n) if spread is None else spread
    return min(1.0, (_Z_TWO_SIDED + _Z_POWER) * s / math.sqrt(problems))


def power_words(problems: int, *, n: int, spread: float | None = None) -> str:
    """The same as a sentence: `4 dev problems can show a difference of 56 points or more (...)`."""
    smallest = smallest_difference(problems, n=n, spread=spread)
    if smallest is None:
        return "no problem is held out, so no difference can be shown"
    noun = "problem" if problems == 1 else "problems"
    how = "" if spread is not None else "; assumed before the run"
    return (
        f"{problems:,} {noun} with n = {n} can show a difference of {100 * smallest:.0f} points or more "
        f"(paired, power 0.8, 5% level{how})"
    )
