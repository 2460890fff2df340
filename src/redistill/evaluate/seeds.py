"""Several training seeds of one setting: their mean with a t-interval, and two settings compared seed by seed.

    t_interval([0.79, 0.92, 0.86])    ->  (0.857, [0.695, 1.018])        the mean, and where another set of seeds would put it

The interval over problems within one seed does not hold the luck of training; this one does, and with few seeds it is wide.
It is not cut at 0 and 1: a bound outside says that so few seeds cannot tell.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from redistill.errors import OperatorError
from redistill.evaluate.compare import paired_difference

# the 97.5% quantile of Student's t for 1, 2, ... 30 degrees of freedom
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
      2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042)  # fmt: skip
_Z = 1.959964


def t_quantile(degrees: int) -> float:
    """The 97.5% quantile of Student's t, three decimals: a table to 30 degrees of freedom, beyond it the first two terms of
    the Cornish-Fisher expansion (Abramowitz and Stegun 26.7.5)."""
    if degrees < 1:
        raise OperatorError("a t-interval needs two values or more.")
    if degrees <= len(_T):
        return _T[degrees - 1]
    second = (5 * _Z**5 + 16 * _Z**3 + 3 * _Z) / (96 * degrees**2)
    return _Z + (_Z**3 + _Z) / (4 * degrees) + second


def t_interval(values: Sequence[float]) -> tuple[float, list[float] | None]:
    """Mean and 95% t-interval of one value a seed; the interval is None for a single seed, whose spread is unknown."""
    n = len(values)
    mean = sum(values) / n
    if n < 2:
        return mean, None
    deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1))
    half = t_quantile(n - 1) * deviation / math.sqrt(n)
    return mean, [mean - half, mean + half]


def compare_over_seeds(
    mine: Mapping[int, Mapping[str, Any]], control: Mapping[int, Mapping[str, Any]]
) -> dict[str, Any] | None:
    """The difference of pass@1 against a control, over the seeds that both have; None where they share none.

    Keys are seeds, values are what `score` made. `difference` and `interval95_over_seeds` are of the seeds' own
    differences. `interval95_over_problems` pools all seeds: a problem that several seeds held out is one problem, with all
    its samples; it says how far other problems would move the difference for *these* trained students.
    """
    seeds = sorted(set(mine) & set(control))
    if not seeds:
        return None
    each = [mine[s]["pass_at_1"]["value"] - control[s]["pass_at_1"]["value"] for s in seeds]
    mean, interval = t_interval(each)
    pooled = paired_difference(_pooled([mine[s] for s in seeds]), _pooled([control[s] for s in seeds]))
    return {
        "seeds": seeds,
        "each": each,
        "difference": mean,
        "interval95_over_seeds": interval,
        "interval95_over_problems": pooled["interval95"],
        "num_problems": pooled["num_problems"],
    }


def _pooled(scores: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    hits: dict[str, list[int]] = {}
    for one in scores:
        for id, samples in one["per_problem"].items():
            hits.setdefault(id, []).extend(samples)
    return {"per_problem": hits}
