"""The tables of this experiment, of what has been run so far.

python experiments/s2r-toy/table.py runs/s2r-toy
"""

import json
import sys
from collections import defaultdict
from pathlib import Path

from redistill.evaluate.intervals import t_interval
from redistill.text.self_correction import RATES

SHOWN = ("pass_at_1", *RATES, "attempts", "segmented")
DIFFERENCES = (("plain prl", "plain sft"), ("plain orl", "plain sft"), ("plain prl", "plain orl"), ("plain sft", "no-verifications sft"),
               ("plain sft", "shuffled-verdicts sft"), ("shuffled-verdicts prl", "shuffled-verdicts sft"),
               ("plain prl", "shuffled-verdicts prl"))  # fmt: skip


def main(folder: Path) -> None:
    found = read(folder)
    print("| student |" + "".join(f" {name.replace('_', ' ')} |" for name in SHOWN) + " seeds |")
    print("|---|" + "---|" * (len(SHOWN) + 1))
    for student, by_seed in found.items():
        cells = [mean([scores.get(name) for scores in by_seed.values()], lowest=0.0) for name in SHOWN]
        print(f"| {student} |" + "".join(f" {cell} |" for cell in cells) + f" {len(by_seed)} |")
    print("\n| paired by seed |" + "".join(f" {name.replace('_', ' ')} |" for name in SHOWN))
    print("|---|" + "---|" * len(SHOWN))
    for one, other in DIFFERENCES:
        seeds = [seed for seed in found.get(one, {}) if seed in found.get(other, {})]
        if not seeds:
            continue
        cells = []
        for name in SHOWN:
            sides = [(found[one][s].get(name), found[other][s].get(name)) for s in seeds]
            cells.append(mean([None if None in side else side[0] - side[1] for side in sides], lowest=-1.0))
        print(f"| {one} − {other} |" + "".join(f" {cell} |" for cell in cells))


def read(folder: Path) -> dict[str, dict[int, dict[str, float | None]]]:
    """{"plain sft": {seed: {"pass_at_1": .8, "error_recall": .6, ...}}}"""
    found: dict[str, dict[int, dict[str, float | None]]] = defaultdict(dict)
    for path in sorted(folder.glob("*/evaluate/*/dev/scores.json")):
        scores = json.loads(path.read_text())
        run, _, seed = path.parts[-5].rpartition("-")
        told = scores.get("self_correction", {})
        values = {name: told[name]["value"] for name in RATES if name in told}
        values |= {
            "pass_at_1": scores["pass_at_1"]["value"],
            "attempts": told.get("attempts"),
            "segmented": told.get("segmented"),
        }
        if path.parts[-3] != "base":
            found[f"{run} {path.parts[-3]}"][int(seed)] = values
    return dict(sorted(found.items()))


def mean(values: list[float | None], *, lowest: float) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    if max(map(abs, known)) > 1:  # a count, not a share
        return f"{sum(known) / len(known):.2f}"
    value, interval = t_interval(known, step=1 / 1200, lowest=lowest)
    return f"{value:.3f}" + (f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else "")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
