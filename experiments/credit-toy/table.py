"""The numbers of this experiment, from the folders that run.py has left.

python experiments/credit-toy/table.py runs/credit-toy
"""

import json
import sys
from pathlib import Path
from statistics import mean
from typing import Any

from run import ARMS, RATES

from redistill.evaluate.intervals import t_interval
from redistill.evaluate.seeds import smallest_step
from redistill.io.atomic import read_json


def main() -> None:
    """A line an arm: pass@1 at the rate that is best on the other seeds, its difference from `uniform` and from its own shuffle."""
    folder = Path(sys.argv[1])
    seeds = sorted(int(path.name.removeprefix("seed-")) for path in folder.glob("seed-*") if path.is_dir())
    found = {
        arm: {rate: [pass_at_1(folder / f"seed-{seed}", f"{arm}-{rate:g}") for seed in seeds] for rate in RATES}
        for arm in ARMS
    }
    chosen = {arm: at_rates_of_others(rates) for arm, rates in found.items()}
    sft = [pass_at_1(folder / f"seed-{seed}", "sft") for seed in seeds]
    step = smallest_step([scores_of(folder / f"seed-{seed}", "sft") for seed in seeds])
    print(f"seeds {seeds}; pass@1; 95% t-intervals over seeds\nsft  {with_interval(sft, step)}  {listed(sft)}")
    for arm, values in chosen.items():
        shuffled = chosen.get(f"{arm.removesuffix('-renormalised')}-shuffled")
        against = {"uniform": chosen["uniform"], **({"its shuffle": shuffled} if shuffled else {})}
        said = "; ".join(
            f"minus {name} {with_interval([a - b for a, b in zip(values, others, strict=True)], step)}"
            for name, others in against.items()
            if others != values
        )
        print(f"{arm}  {with_interval(values, step)}  {listed(values)}  {said}")
        for rate, each in found[arm].items():
            print(f"    {rate:g}  {mean(each):.3f}  {listed(each)}")
    for critic in ("orm", "implicit"):
        logs = [
            (folder / f"seed-{seed}" / "train" / critic / "metrics.jsonl").read_text().splitlines() for seed in seeds
        ]
        each = [json.loads(lines[-1])["held_out_accuracy"] for lines in logs]
        print(f"{critic}: held-out accuracy {listed(each)}")


def at_rates_of_others(rates: dict[float, list[float]]) -> list[float]:
    """Each seed's value at the rate with the best mean over the other seeds, so that no seed chooses for itself."""
    number = len(next(iter(rates.values())))
    chosen = []
    for seed in range(number):
        others = [place for place in range(number) if place != seed] or [seed]
        best = max(rates, key=lambda rate: mean(rates[rate][place] for place in others))
        chosen.append(rates[best][seed])
    return chosen


def pass_at_1(run: Path, student: str) -> float:
    return float(scores_of(run, student)["pass_at_1"]["value"])


def scores_of(run: Path, student: str) -> dict[str, Any]:
    return read_json(run / "evaluate" / student / "dev" / "scores.json")


def with_interval(values: list[float], step: float) -> str:
    """The mean with its t-interval, or the value alone of one seed."""
    if len(values) < 2:
        return f"{values[0]:+.3f}"
    middle, interval = t_interval(values, step=step, lowest=-1.0)
    said = "" if interval is None else f" [{interval[0]:.3f}, {interval[1]:.3f}]"
    return f"{middle:+.3f}{said}"


def listed(values: list[float]) -> str:
    return " ".join(f"{value:.3f}" for value in values)


if __name__ == "__main__":
    main()
