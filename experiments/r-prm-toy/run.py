"""The runs of this experiment: per seed a run with true verdicts and one whose DPO and REDI have verdicts by a coin.

python experiments/r-prm-toy/run.py --folder runs/r-prm-toy --seeds 0 1 2
python experiments/r-prm-toy/run.py --folder /tmp/short --seeds 0 --short      does the script work? says nothing of the question
"""

import argparse
import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from redistill.config.yaml_text import SHIPPED

CODE = Path(__file__).with_name("coin.py")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--short", action="store_true", help="few questions and steps")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    for seed in asked.seeds:
        tree = recipe(seed, asked.short)
        run(asked.folder, tree, f"true-{seed}")
        sft = (asked.folder / f"true-{seed}" / "train" / "sft" / "model").resolve()
        run(asked.folder, with_coin(tree, str(sft)), f"coin-{seed}")


def recipe(seed: int, short: bool) -> dict[str, Any]:
    tree = yaml.safe_load((SHIPPED / "r-prm-toy.yaml").read_text()) | {"seed": seed}
    tree["corpus"]["sources"][0]["seed"] = seed
    tree["train"]["redi"] = tree["train"]["dpo"] | {"objective": {"name": "redi", "rejected_weight": 0.8}}
    if short:
        tree["corpus"]["sources"][0]["problems"] = 200
        tree["train"]["sft"]["steps"] = 60
    return tree


def with_coin(tree: dict[str, Any], sft: str) -> dict[str, Any]:
    """The same stages from the same SFT student, on pairs that a coin made."""
    tree = copy.deepcopy(tree)
    tree["verify"] = {"verifiers": ["coin:coin"]}
    tree["student"] = {"model": sft}
    del tree["train"]["sft"]
    for stage in tree["train"].values():
        stage["start"] = "base"
    return tree


def run(folder: Path, tree: dict[str, Any], name: str) -> None:
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(tree | {"name": name}, sort_keys=False))
    command = [sys.executable, "-m", "redistill", "run", str(file), "--runs-dir", str(folder), "--code", str(CODE)]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
