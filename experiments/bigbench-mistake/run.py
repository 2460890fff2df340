"""The runs of this experiment, seed by seed; what is finished is not done again.

python experiments/bigbench-mistake/run.py --folder runs/bbm --mistakes multistep_arithmetic.jsonl --seeds 0 1 2
python experiments/bigbench-mistake/run.py --folder /tmp/short --mistakes multistep_arithmetic.jsonl --seeds 0 --short
"""

import argparse
import hashlib
import json
import random
import subprocess
import sys
from pathlib import Path

import yaml
from make_data import chain, compact

from redistill.corpus.sources.rows import read_rows

HERE = Path(__file__).parent
COUNT = 80_000


def halves(path: Path) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """(two thirds, one third) of the labelled rows, by a hash of the question."""
    rows = [compact(row) for _, row in read_rows(path) if isinstance(row, dict)]
    place = [int(hashlib.sha256(str(row["input"]).encode()).hexdigest(), 16) % 3 for row in rows]
    return [r for r, p in zip(rows, place, strict=True) if p], [r for r, p in zip(rows, place, strict=True) if not p]


def write(path: Path, rows: list[dict[str, object]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--mistakes", type=Path, required=True, help="multistep_arithmetic.jsonl of BIG-Bench-Mistake")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", default=["planted", "people"])
    parser.add_argument("--short", action="store_true", help="few chains and steps: do the scripts work?")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    taught, tested = halves(asked.mistakes)
    every = write(asked.folder / "all.jsonl", [*taught, *tested])
    third = write(asked.folder / "third.jsonl", tested)
    people = write(asked.folder / "two-thirds.jsonl", taught)
    for seed in asked.seeds:
        rng = random.Random(seed)
        chains = write(
            asked.folder / f"chains-{seed}.jsonl",
            [compact(chain(rng, 0.6)) for _ in range(400 if asked.short else COUNT)],
        )
        for arm in asked.arms:
            tree = yaml.safe_load((HERE / "recipe.yaml").read_text()) | {"name": f"{arm}-{seed}", "seed": seed}
            (source,) = tree["corpus"]["sources"]
            more = [{**source, "path": people}] if arm == "people" else []
            tree["corpus"]["sources"] = [{**source, "path": chains}, *more]
            file = third if arm == "people" else every
            tree["evaluate"]["benchmarks"] = [{"name": "bigbench-mistake", "file": file}]
            if asked.short:
                for stage in tree["train"].values():
                    stage["steps"] = 4
            recipe = asked.folder / f"{arm}-{seed}.yaml"
            recipe.write_text(yaml.safe_dump(tree, sort_keys=False))
            command = [sys.executable, "-m", "redistill", "run", str(recipe), "--runs-dir", str(asked.folder)]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
