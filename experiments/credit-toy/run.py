"""The runs of this experiment, seed by seed; what is finished is not done again.

python experiments/credit-toy/run.py --folder runs/credit-toy --seeds 0 1 2 3 4
python experiments/credit-toy/run.py --folder /tmp/short --seeds 0 --short      does the script work? says nothing of the question
"""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
RATES = (3e-4, 6e-4)
STEPS = 40
CREDIT = {"name": "token-credit"}
# name -> (weight of the rejected side, modifiers, critic)
ARMS: dict[str, tuple[float, list[dict[str, Any]], str | None]] = {
    "control": (0.0, [], None),
    "uniform": (0.8, [], None),
    "light": (0.35, [], None),
    "mask": (0.8, [{"name": "shared-prefix-mask"}], None),
    "window": (0.8, [{"name": "divergence-window", "window": 8}], None),
    "outcome": (0.8, [CREDIT], "orm"),
    "outcome-shuffled": (0.8, [CREDIT | {"shuffle": 0}], "orm"),
    "outcome-renormalised": (0.8, [CREDIT | {"renormalise": True}], "orm"),
    "implicit": (0.8, [CREDIT | {"form": "running-sum"}], "implicit"),
    "implicit-shuffled": (0.8, [CREDIT | {"form": "running-sum", "shuffle": 0}], "implicit"),
    "implicit-renormalised": (0.8, [CREDIT | {"form": "running-sum", "renormalise": True}], "implicit"),
    "process": (0.8, [{"name": "span-weights"}], None),
    "process-shuffled": (0.8, [{"name": "span-weights", "shuffle": 0}], None),
    "process-renormalised": (0.8, [{"name": "span-weights", "renormalise": True}], None),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument(
        "--from-folder", type=Path, help="an earlier folder of this script, whose finished stages are taken"
    )
    parser.add_argument("--short", action="store_true", help="few problems and steps")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    for seed in asked.seeds:
        file = asked.folder / f"seed-{seed}.yaml"
        file.write_text(yaml.safe_dump(recipe(seed, asked.short) | {"name": f"seed-{seed}"}, sort_keys=False))
        code = ["--code", str(HERE / "own_parts.py")]
        if asked.from_folder is not None and (asked.from_folder / f"seed-{seed}").exists():
            code += ["--from-run", str(asked.from_folder / f"seed-{seed}")]
        subprocess.run(
            [sys.executable, "-m", "redistill", "run", str(file), "--runs-dir", str(asked.folder), *code], check=True
        )


def recipe(seed: int, short: bool) -> dict[str, Any]:
    """The recipe of a seed, with a stage for each arm at each rate."""
    tree = yaml.safe_load((HERE / "recipe.yaml").read_text()) | {"seed": seed}
    tree["corpus"]["sources"][0]["seed"] = seed
    for arm, (weight, modifiers, critic) in ARMS.items():
        for rate in RATES:
            tree["train"][f"{arm}-{rate:g}"] = {
                "objective": {"name": "redi", "rejected_weight": weight},
                **({"modifiers": modifiers} if modifiers else {}),
                **({"critic": critic} if critic else {}),
                "start": "sft", "batch_size": 32, "steps": STEPS, "learning_rate": rate,
            }  # fmt: skip
    if short:
        tree["corpus"]["sources"][0]["problems"] = 200
        for stage in tree["train"].values():
            stage["steps"] = min(stage["steps"], 30 if stage["start"] == "base" else 3)
    return tree


if __name__ == "__main__":
    main()
