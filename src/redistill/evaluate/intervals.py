"""95% intervals for a mean over problems, a paired difference and a mean over seeds; made to hold their word from 30 problems on.

    mean_interval([0.0] * 295)            ->  [0.0, 0.0129]     295 problems, none solved: not [0, 0]
    mean_interval([1, .5, 0, ...])        ->  [0.31, 0.63]      each problem's share of right samples
    difference_interval([0, 1, -.5, ...])  ->  [-0.04, 0.21]    a problem's share under a minus its share under b
    t_interval([0.79, 0.92, 0.86], step=1 / 200)  ->  (0.857, [0.695, 1.0])      one value per training seed
    t_interval([0.79, 0.92], step=1 / 200)  ->  (0.855, None)       two seeds: show both, no interval

Problems are the unit: the n samples of one problem are not independent. Their clustering enters as a *design factor*

    g = variance of the problems' values / the variance that all-or-nothing values of this mean would have,    0 < g <= 1

and P problems are worth P / g independent right-or-wrong trials, the effective sample size of survey statistics (Kish 1965;
Korn and Graubard 1998). With it the score intervals for right-or-wrong trials apply, which are not empty at 0 and 1 and
never leave the range: Wilson (1927) for a mean, Tango (1998) for a paired difference. `benchmarks/coverage.py` measures
how often they hold the true value; docs/evaluation.md has the formulas and the table.
"""

import math
from collections.abc import Sequence

import numpy as np

from redistill.errors import OperatorError

_Z = 1.959963984540054  # the 97.5% quantile of the normal law

# How many problems that were not seen the design factor allows for. With few of them solved the spread between problems is
# hardly known, and an interval that takes it at face value holds the true mean in 87% of sets (30 problems x 16 samples, mean
# .05). Chosen by simulation (benchmarks/coverage.py): at 1 very uneven grades fall to 92.5%, at 1.5 more cells exceed 96.5%.
_UNSEEN = 1.25

MIN_SEEDS = 3  # of a t-interval

_EDGE = 1e-12  # how near to the ends of an open interval a root is looked for


def mean_interval(values: Sequence[float] | np.ndarray) -> list[float] | None:
    """95% interval of the mean of one value per problem, each in [0, 1]: 0/1, shares of right samples or grades.

    Wilson's interval at the effective sample size. None for fewer than two problems, whose spread is unknown.
    Errors: OperatorError for a value outside [0, 1].
    """
    checked = _checked(values, lowest=0.0)
    if len(checked) < 2:
        return None
    return [_wilson(checked, 0.0, -1), _wilson(checked, 1.0, 1)]


def difference_interval(differences: Sequence[float] | np.ndarray) -> list[float] | None:
    """95% interval of the mean of one difference per problem, each in [-1, 1].

    Tango's score interval for paired right-or-wrong trials, at the effective sample size. None for fewer than two problems.
    Where no problem differs it is 0 plus or minus z^2 / (P + z^2). Errors: OperatorError for a value outside [-1, 1].
    """
    checked = _checked(differences, lowest=-1.0)
    if len(checked) < 2:
        return None
    return [-_tango_upper(-checked), _tango_upper(checked)]


def t_interval(values: Sequence[float], *, step: float, lowest: float = 0.0) -> tuple[float, list[float] | None]:
    """Mean and 95% Student t-interval of one value per training seed, cut to [lowest, 1].

    step: the smallest amount by which a value can change, 1 / (problems x samples). The standard deviation (ddof 1) is taken
    as at least half a step, for equal scores do not show that seeds never differ. lowest: 0 for scores, -1 for differences.
    The interval is None for fewer than three seeds: the spread of one is unknown, and with two the factor of Student's law is 12.7,
    so that two scores 5 points apart would get 64 points; show the seeds themselves. Errors: OperatorError for a step that is not
    above 0.
    """
    if not step > 0:
        raise OperatorError(f"a t-interval needs a step above 0 between its values (got {step}).")
    n = len(values)
    mean = sum(values) / n
    if n < MIN_SEEDS:
        return mean, None
    deviation = max(math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1)), step / 2)
    from scipy.special import stdtrit  # scipy takes .3 seconds to import

    half = float(stdtrit(n - 1, 0.975)) * deviation / math.sqrt(n)
    return mean, [max(lowest, mean - half), min(1.0, mean + half)]


def _checked(values: Sequence[float] | np.ndarray, *, lowest: float) -> np.ndarray:
    array = np.asarray(values, dtype=float)
    if array.size and not (array.min() >= lowest and array.max() <= 1):  # NaN fails too
        raise OperatorError(f"an interval needs values between {lowest:g} and 1 (got {array.min()} to {array.max()}).")
    return array


def _effective_size(values: np.ndarray, end: float) -> float:
    """P / g for the limit that points to `end`, the highest or lowest possible mean.

    most: the sum of squares around the mean if every value were -1, 0 or 1; spread: the sum of squares that is. most / spread
    estimates 1 / g. It is drawn towards 1, its smallest value, by problems that were not seen and score `end`: the estimate
    counts as much as `most`, they as much as _UNSEEN (end - mean)^2. At most P^2, so that equal values keep some width.
    """
    problems, mean = len(values), float(values.mean())
    spread = float(((values - mean) ** 2).sum()) * problems / (problems - 1)
    most = float(np.abs(values).sum()) - problems * mean * mean
    if most <= 1e-9:  # all problems at 0, or all at an end of the range: nothing is known of the spread
        return float(problems)
    unseen = _UNSEEN * (end - mean) ** 2
    inverse = min(max(most / spread, 1.0), problems) if spread > 0 else problems
    return problems * (most * inverse + unseen) / (most + unseen)


def _wilson(values: np.ndarray, end: float, sign: int) -> float:
    """The limit that points to `end`, 0 (sign -1) or 1 (sign 1), for a mean of values in [0, 1]. Source: Wilson 1927.

    Beside a single success his lower limit is too near to it: a mean of a tenth of a success in P trials is held by 90% of sets. There
    the one-sided 95% limit of a Poisson count is taken, as Brown, Cai and DasGupta 2001 do, mixed in from two successes down to
    one (the counts of the effective sample are no whole numbers).
    """
    mean, size = float(values.mean()), _effective_size(values, end)
    half = _Z * math.sqrt(mean * (1 - mean) / size + _Z**2 / (4 * size**2))
    limit = (mean + _Z**2 / (2 * size) + sign * half) / (1 + _Z**2 / size)
    distance = abs(end - mean)
    few = size * distance  # successes, or failures where the limit points to 1
    if 0 < few < 2:
        from scipy.special import gammaincinv

        poisson = float(gammaincinv(few, 0.05)) / size
        share = min(1.0, 2 - few)
        limit = end - sign * (share * min(poisson, abs(end - limit)) + (1 - share) * abs(end - limit))
    return min(1.0, max(limit, mean)) if sign > 0 else max(0.0, min(limit, mean))  # rounding would miss 0 and 1


def _tango_upper(differences: np.ndarray) -> float:
    """The upper limit: the largest difference that the score test does not reject. Source: Tango 1998."""
    size = _effective_size(differences, 1.0)
    scale = size / len(differences)
    better = float(differences[differences > 0].sum()) * scale
    worse = -float(differences[differences < 0].sum()) * scale
    estimate = (better - worse) / size
    if estimate >= 1 - 1e-9:
        return 1.0

    def score_statistic(difference: float) -> float:
        """Falls with `difference`; + z, so that its root is the limit. share_worse: its most likely value given `difference`."""
        b = 2 * size * difference - better * (1 + difference) - worse * (1 - difference)
        root = math.sqrt(max(0.0, b * b + 8 * size * worse * difference * (1 - difference)))
        share_worse = (root - b) / (4 * size)
        variance = size * (2 * share_worse + difference * (1 - difference))
        return (better - worse - size * difference) / math.sqrt(max(variance, 1e-300)) + _Z

    from scipy.optimize import brentq

    return float(brentq(score_statistic, max(estimate, -1 + _EDGE) + _EDGE, 1 - _EDGE, xtol=1e-10))
