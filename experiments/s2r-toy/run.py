"""The runs of this experiment, seed by seed; what is finished is not done again.

python experiments/s2r-toy/run.py --folder runs/s2r-toy --seeds 0 1 2 3 4                  the shipped recipe
python experiments/s2r-toy/run.py --folder runs/s2r-toy-700 --steps 700 --seeds 0 1 2 3 4  less SFT, so that there are errors to mend
python experiments/s2r-toy/run.py --folder runs/s2r-toy-short --seeds 0 --short       a try of the machinery, no result
"""

import argparse
import copy
from pathlib import Path
from typing import Any

import yaml

from redistill.config.parsing import parse_recipe
from redistill.config.yaml_text import SHIPPED
from redistill.pipeline.run import run

CONTROLS = {"plain": None, "no-verifications": "no-verifications", "shuffled-verdicts": "shuffled-verdicts"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--runs", nargs="+", choices=CONTROLS, default=list(CONTROLS))
    parser.add_argument("--steps", type=int, help="steps of SFT; default: the recipe's 1,800")
    parser.add_argument("--short", action="store_true", help="a quarter of the problems and steps, ten rounds")
    asked = parser.parse_args()
    for seed in asked.seeds:
        for name in asked.runs:
            tree = recipe(name, seed, steps=asked.steps, short=asked.short)
            run(parse_recipe(tree, f"{name}-{seed}"), runs_dir=asked.folder)


def recipe(name: str, seed: int, *, steps: int | None, short: bool) -> dict[str, Any]:
    """The shipped recipe with a seed, and its rows as the run wants them."""
    tree = copy.deepcopy(yaml.safe_load((SHIPPED / "s2r-toy.yaml").read_text()))
    tree |= {"name": f"{name}-{seed}", "seed": seed}
    tree["corpus"]["sources"][0]["seed"] = seed
    if CONTROLS[name] is not None:
        tree["select"]["examples"]["control"] = CONTROLS[name]
    if name == "no-verifications":  # one attempt, so there are no actions to reward
        tree["train"] = {"sft": {**tree["train"]["sft"], "modifiers": []}}
        del tree["evaluate"]["self_correction"]
    if steps is not None:
        tree["train"]["sft"]["steps"] = steps
    if short:
        tree["corpus"]["sources"][0]["problems"] = 1200
        tree["train"]["sft"]["steps"] = 450
        for stage in tree["train"].values():
            if "rollouts" in stage:
                stage["rollouts"]["rounds"] = 10
    return tree


if __name__ == "__main__":
    main()
