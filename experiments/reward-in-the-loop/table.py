"""The numbers of this experiment from its finished runs.

python experiments/reward-in-the-loop/table.py runs/reward-in-the-loop
"""

import json
import statistics
import sys
from pathlib import Path

from redistill.evaluate.intervals import t_interval

ARMS = ("rule", "mixed", "model-alone")
ENDS = 5  # rounds at either end whose means are shown


def main() -> None:
    runs = sorted(path.parent for path in Path(sys.argv[1]).glob("seed-*/report.html"))
    print(
        f"{len(runs)} seeds\n\n| seed | arm | pass rate, first and last {ENDS} rounds | reward | length | pass@1 | pass@4 | guard, worst state |"
    )
    print("|---|---|---|---|---|---|---|---|")
    found: dict[str, list[dict[str, float]]] = {}
    for run in runs:
        for arm in ("sft", *ARMS):
            row = scores(run, arm)
            found.setdefault(arm, []).append(row)
            rounds = [] if arm == "sft" else metrics(run, arm)
            columns = [ends(rounds, key) for key in ("pass_rate", "reward", "length")]
            print(f"| {run.name.removeprefix('seed-')} | `{arm}` | {columns[0]} | {columns[1]} | {columns[2]} | {row['1']:.3f} | {row['4']:.3f} | {worst(rounds)} |")  # fmt: skip
    print("\ndifferences paired by seed, 95% t-intervals over seeds\n\n| | pass@1 | pass@4 |\n|---|---|---|")
    for one, other in (("rule", "sft"), ("mixed", "rule"), ("model-alone", "rule"), ("model-alone", "sft")):
        print(
            f"| `{one}` less `{other}` | {difference(found[one], found[other], '1')} | {difference(found[one], found[other], '4')} |"
        )


def scores(run: Path, arm: str) -> dict[str, float]:
    table = json.loads((run / "evaluate" / arm / "dev" / "scores.json").read_text())["pass_at_k"]
    return {k: table[k]["value"] for k in ("1", "4")}


def metrics(run: Path, arm: str) -> list[dict]:
    lines = [json.loads(line) for line in (run / "train" / arm / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line.get("reward") is not None]


def ends(rounds: list[dict], key: str) -> str:
    values = [line[key] for line in rounds if line.get(key) is not None]
    return f"{statistics.fmean(values[:ENDS]):.2f}, {statistics.fmean(values[-ENDS:]):.2f}" if values else ""


def worst(rounds: list[dict]) -> str:
    for state in ("collapse", "warning"):
        for line in rounds:
            if line.get("guard") == state:
                return f"{state} at round {line['round']}: {', '.join(line['guard_reasons'])}"
    return "steady" if rounds else ""


def difference(one: list[dict[str, float]], other: list[dict[str, float]], key: str) -> str:
    middle, bounds = t_interval([mine[key] - theirs[key] for mine, theirs in zip(one, other)], step=1e-4, lowest=-1.0)
    return f"{middle:+.3f}" if bounds is None else f"{middle:+.3f} [{bounds[0]:+.3f}, {bounds[1]:+.3f}]"


if __name__ == "__main__":
    main()
