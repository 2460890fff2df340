"""GRPO on the images that a search finds hard for the student, and on as many random ones: and on all of them: three runs a seed, and the table.

python experiments/difficulty-shapes/run.py run --folder runs/difficulty-shapes --students runs/visual-thinker-shapes --seeds 0 1 2
python experiments/difficulty-shapes/run.py table --folder runs/difficulty-shapes
"""

import argparse
import statistics
from pathlib import Path
from typing import Any

import yaml

from redistill import api
from redistill.config.yaml_text import SHIPPED
from redistill.io.atomic import read_json
from redistill.io.parquet import read_records

ARMS = ("hard", "random", "all")
SEARCHED, HELD_OUT, RATE = 300, 150, 3e-4


def run(folder: Path, students: Path, seed: int) -> None:
    """The search and the stage on what it keeps; then the same stage on a random part of that size."""
    tree = yaml.safe_load((SHIPPED / "thinklite-vl-shapes.yaml").read_text())
    tree |= {"seed": seed, "student": {"model": str(students.absolute() / f"seed-{seed}" / "train" / "sft" / "model")}}
    tree["corpus"] = {
        "sources": [{"name": "drawn-shapes", "problems": SEARCHED + HELD_OUT, "wrong": 0, "seed": 1000 + seed}],
        "dev_problems": HELD_OUT,
    }
    tree["train"]["grpo"]["learning_rate"] = RATE
    hard = api.run({**tree, "name": f"hard-{seed}"}, runs_dir=folder)
    searched = sum("difficulty_tries" in group.problem.metadata for group in records(hard, "score/groups"))
    kept = len(records(hard, "select/problems"))
    share = {"by": "source", "keep": {f"drawn-shapes-{kind}": kept / searched for kind in ("count", "side", "bigger")}}
    api.run({**tree, "name": f"random-{seed}", "select": {"sample": share}}, runs_dir=folder)
    api.run({**tree, "name": f"all-{seed}", "select": {}}, runs_dir=folder)


def records(run_folder: Path, stream: str) -> list[Any]:
    return [record for path in sorted((run_folder / stream).glob("*.parquet")) for record in read_records(path)]


def table(folder: Path) -> str:
    lines = [
        "| arm | problems, by seed | pass@1 start, by seed | pass@1 after, by seed | mean after |",
        "|---|---|---|---|---|",
    ]
    for arm in ARMS:
        runs = sorted(folder.glob(f"{arm}-?"))
        start, after = (
            [read_json(run / f"evaluate/{who}/dev/scores.json")["pass_at_1"]["value"] for run in runs]
            for who in ("base", "grpo")
        )
        problems = " / ".join(str(len(records(run, "select/problems"))) for run in runs)
        lines.append(
            f"| `{arm}` | {problems} | {' / '.join(f'{v:.3f}' for v in start)} | {' / '.join(f'{v:.3f}' for v in after)} | {statistics.mean(after):.3f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--folder", type=Path, default=Path("runs/difficulty-shapes"))
    parser.add_argument("--students", type=Path, default=Path("runs/visual-thinker-shapes"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    if options.what == "table":
        print(table(options.folder))
        return
    for seed in options.seeds:
        run(options.folder, options.students, seed)


if __name__ == "__main__":
    main()
