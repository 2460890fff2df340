"""Two points of one or two sweeps, paired: seed by seed with a t-interval, and over problems.

    python experiments/compare_points.py runs/beyond-confirm-own/own-dpo runs/beyond-confirm/redi

A point is named as its trials are, without `.seed-N`. Prints first minus second, and pass@k of both,
means over seeds, with their difference and its t-interval.
"""

import sys
from pathlib import Path
from statistics import mean
from typing import Any

from redistill.evaluate.intervals import t_interval
from redistill.evaluate.seeds import compare_over_seeds, smallest_step
from redistill.io.atomic import read_json


def scores_of(point: Path) -> dict[int, dict[str, Any]]:
    """Seed -> scores.json of its trial; a trial scores one student on one benchmark."""
    found = {}
    for trial in sorted((point.parent / "trials").glob(f"{point.name}.seed-*")):
        found[int(trial.name.rpartition("-")[2])] = read_json(next(trial.glob("evaluate/*/*/scores.json")))
    if not found:
        sys.exit(f"{point}: no trials of this name under {point.parent / 'trials'}.")
    return found


if __name__ == "__main__":
    first, second = (scores_of(Path(name)) for name in sys.argv[1:3])
    print(compare_over_seeds(first, second))
    for k in sorted(set.intersection(*(set(s["pass_at_k"]) for s in (*first.values(), *second.values()))), key=int):
        a, b = ({seed: s["pass_at_k"][k]["value"] for seed, s in scores.items()} for scores in (first, second))
        step = smallest_step([*first.values(), *second.values()])
        each = [a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())]
        difference, interval = t_interval(each, step=step, lowest=-1.0)
        print(f"pass@{k}: {mean(a.values()):.3f} and {mean(b.values()):.3f}; seed by seed {difference:+.3f} {interval}")
