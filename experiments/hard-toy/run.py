"""The runs of this experiment, seed by seed; what is finished is not done again.

python experiments/hard-toy/run.py --folder runs/hard-toy --seeds 0 1 2 3 4
python experiments/hard-toy/run.py --folder /tmp/short --seeds 0 --short      does the script work? says nothing of the question
"""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
TEACHER_SEED = 10  # of no arm: one larger student teaches the students of all seeds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--arms", nargs="+", help="these alone, and what they start from; default: all")
    parser.add_argument("--undertrained", action="store_true", help="500 steps of SFT instead of 1,800")
    parser.add_argument("--short", action="store_true", help="few problems, steps and rounds")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    if asked.arms is None or "distil" in asked.arms:
        run(asked.folder, recipe("teacher.yaml", TEACHER_SEED, asked.short), "teacher")
    teacher = str((asked.folder / "teacher" / "train" / "teacher" / "model").resolve())
    for seed in asked.seeds:
        tree = recipe("recipe.yaml", seed, asked.short)
        tree["train"]["distil"]["rollouts"]["teacher"] = {"model": teacher}
        if asked.undertrained:
            tree["train"]["sft"]["steps"] = 500
        if asked.arms:
            tree["train"] = {name: tree["train"][name] for name in with_starts(asked.arms, tree["train"])}
        run(asked.folder, tree, f"seed-{seed}")


def recipe(name: str, seed: int, short: bool) -> dict[str, Any]:
    tree = yaml.safe_load((HERE / name).read_text()) | {"seed": seed}
    tree["corpus"]["sources"][0]["seed"] = seed
    if short:
        tree["corpus"]["sources"][0]["problems"] = 300
        for stage in tree["train"].values():
            if "steps" in stage:
                stage["steps"] = min(stage["steps"], 60 if stage["start"] == "base" else 5)
            if "rollouts" in stage:
                stage["rollouts"] |= {"rounds": min(stage["rollouts"]["rounds"], 3), "problems": 4}
                if "critic" in stage["rollouts"]:
                    stage["rollouts"]["critic"]["warm_rounds"] = 1
    return tree


def with_starts(arms: list[str], stages: dict[str, Any]) -> list[str]:
    """The arms and the stages they start from, in the recipe's order."""
    wanted = set(arms)
    while more := {stages[name]["start"] for name in wanted} - wanted - {"base"}:
        wanted |= more
    return [name for name in stages if name in wanted]


def run(folder: Path, tree: dict[str, Any], name: str) -> None:
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(tree | {"name": name}, sort_keys=False))
    code = ["--code", str(HERE / "own_parts.py")]
    subprocess.run([sys.executable, "-m", "redistill", "run", str(file), "--runs-dir", str(folder), *code], check=True)


if __name__ == "__main__":
    main()
