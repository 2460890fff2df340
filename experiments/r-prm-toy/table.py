"""The numbers of this experiment from its finished runs: error accuracy, correct accuracy and F1 in points by number of analyses.

python experiments/r-prm-toy/table.py runs/r-prm-toy
"""

import json
import sys
from pathlib import Path
from typing import Any

from redistill.evaluate.intervals import t_interval

COUNTS = ("1", "2", "4")


def main() -> None:
    folder = Path(sys.argv[1])
    seeds = sorted(int(path.parent.name.removeprefix("coin-")) for path in folder.glob("coin-*/report.html"))
    print(
        "| seed | critic | held-out solutions | error, correct, K = 4 | F1, K = 1, 2, 4 | coin F1 |\n|---|---|---|---|---|---|"
    )
    f1: dict[str, list[list[float]]] = {}
    for seed in seeds:
        for kind, name in (("true", "sft"), ("true", "dpo"), ("true", "redi"), ("coin", "dpo"), ("coin", "redi")):
            found = steps(folder / f"{kind}-{seed}", name)
            label = name if kind == "true" else f"{name}, verdicts by a coin"
            curve = [100 * (found["by_analyses"][k]["f1"] or 0.0) for k in COUNTS]
            f1.setdefault(label, []).append(curve)
            print(
                f"| {seed} | `{name}`{'' if kind == 'true' else ', verdicts by a coin'} | {len(found['per_solution'])} | {found['error_accuracy']['value']:.3f}, "
                f"{found['correct_accuracy']['value']:.3f} | {', '.join(f'{value:.1f}' for value in curve)} | {coin_f1(found):.1f} |"
            )
    print(f"\nF1, K = 4, paired by seed ({len(seeds)} seeds)")
    for label in list(f1)[1:]:
        print(f"{label} less sft: {difference([mine[-1] - theirs[-1] for mine, theirs in zip(f1[label], f1['sft'])])}")
    for label, curves in f1.items():
        print(f"{label}: K = 4 less K = 1: {difference([curve[-1] - curve[0] for curve in curves])}")


def steps(run: Path, critic: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "evaluate" / critic / "dev" / "scores.json").read_text())["steps"]
    return found


def coin_f1(found: dict[str, Any]) -> float:
    coin = found["coin"]
    return 100 * float(coin["f1"] if isinstance(coin, dict) else coin)


def difference(values: list[float]) -> str:
    middle, ends = t_interval([value / 100 for value in values], step=1e-5, lowest=-1.0)  # of shares
    return (
        f"{100 * middle:+.1f}" if ends is None else f"{100 * middle:+.1f} [{100 * ends[0]:+.1f}, {100 * ends[1]:+.1f}]"
    )


if __name__ == "__main__":
    main()
