"""Several training seeds of one setting: two settings compared seed by seed.

    compare_over_seeds({0: scores, 1: ...}, {0: control, 1: ...})  ->  {"difference": 0.36, "interval95_over_seeds": [0.21, 0.50], ...}

The interval over problems within one seed does not hold the luck of training; the t-interval over seeds does, and with few
seeds it is wide.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from redistill.evaluate.compare import paired_difference
from redistill.evaluate.intervals import t_interval


def smallest_step(scores: Sequence[Mapping[str, Any]]) -> float:
    """The smallest amount by which pass@1 can change: 1 / (problems x samples), of the smallest evaluation of these."""
    return 1 / min(sum(map(len, one["per_problem"].values())) for one in scores)


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
    step = smallest_step([side[s] for side in (mine, control) for s in seeds])
    mean, interval = t_interval(each, step=step, lowest=-1.0)
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
