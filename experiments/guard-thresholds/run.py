"""Stages that collapse and stages that do not, from the SFT students of hard-toy; what is finished is not done again.

python experiments/guard-thresholds/run.py --students runs/hard-toy --folder runs/guard-thresholds --seeds 0 1 2 3 4
"""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

RATES = ("1.0e-4", "3.0e-4", "1.0e-3", "3.0e-3")
OBJECTIVES: dict[str, Any] = {
    "control": {"name": "redi", "rejected_weight": 0.0},
    "redi": {"name": "redi", "rejected_weight": 0.8},
    "symmetric": "symmetric",
    "simpo": "simpo",
    "dpo": "dpo",
}
GUARD = {"action": "log", "every": 10, "held_out_pairs": 64, "probe_every": 10, "probe_problems": 64}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--students", type=Path, required=True, help="the finished runs of hard-toy, whose SFT students are taken"
    )
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    for seed in asked.seeds:
        tree = yaml.safe_load(Path(__file__).parent.with_name("hard-toy").joinpath("recipe.yaml").read_text())
        tree |= {"name": f"seed-{seed}", "seed": seed}
        tree["corpus"]["sources"][0]["seed"] = seed
        tree["evaluate"]["n"] = 8
        del tree["diagnosis"]
        tree["train"] = {"sft": tree["train"]["sft"]} | {
            f"{name}-{rate.replace('.0', '')}": stage(objective, rate)
            for name, objective in OBJECTIVES.items()
            for rate in RATES
        }
        file = asked.folder / f"seed-{seed}.yaml"
        file.write_text(yaml.safe_dump(tree, sort_keys=False))
        command = [sys.executable, "-m", "redistill", "run", str(file), "--runs-dir", str(asked.folder)]
        subprocess.run([*command, "--from-run", str(asked.students / f"seed-{seed}")], check=True)


def stage(objective: Any, rate: str) -> dict[str, Any]:
    return {
        "objective": objective, "start": "sft", "batch_size": 32, "steps": 80, "learning_rate": float(rate), "guard": GUARD,
    }  # fmt: skip


if __name__ == "__main__":
    main()
