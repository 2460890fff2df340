"""The runs of this experiment, seed by seed; what is finished is not done again.

python experiments/oreal-toy/run.py --folder runs/oreal-toy --seeds 0 1 2 3 4
python experiments/oreal-toy/run.py --folder /tmp/short --seeds 0 --short      does the script work? says nothing of the question
"""

import argparse
import subprocess
import sys
from pathlib import Path

import yaml

RECIPE = Path(__file__).with_name("recipe.yaml")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--short", action="store_true", help="a few problems and rounds")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    for seed in asked.seeds:
        tree = yaml.safe_load(RECIPE.read_text()) | {"name": f"seed-{seed}", "seed": seed}
        tree["corpus"]["sources"][0]["seed"] = seed
        if asked.short:
            tree["corpus"]["sources"][0]["problems"] = 300
            tree["train"]["sft"]["steps"] = 60
            for stage in tree["train"].values():
                if "rollouts" in stage:
                    stage["rollouts"] |= {"rounds": 3, "problems": 4}
                    if "critic" in stage["rollouts"]:
                        stage["rollouts"]["critic"]["warm_rounds"] = 1
        file = asked.folder / f"seed-{seed}.yaml"
        file.write_text(yaml.safe_dump(tree, sort_keys=False))
        subprocess.run(
            [sys.executable, "-m", "redistill", "run", str(file), "--runs-dir", str(asked.folder)], check=True
        )


if __name__ == "__main__":
    main()
