"""The shipped recipes of stages on own answers, each as it is but a hundredth of its size."""

import json

import pytest
import yaml

from redistill.config.parsing import parse_recipe
from redistill.config.yaml_text import SHIPPED
from redistill.pipeline.run import run
from tiny_recipe import RECIPE

RECIPES = ("grpo-quickstart", "rejection-sampling", "on-policy-redi", "on-policy-distillation", "offline-distillation")


def miniature(name):
    tree = yaml.safe_load((SHIPPED / f"{name}.yaml").read_text())
    tree |= {"student": RECIPE["student"], "name": name}
    tree["corpus"] = RECIPE["corpus"]
    for stage in tree["train"].values():
        if "rollouts" not in stage:
            stage |= {"steps": 2, "batch_size": 4}
        else:
            stage["rollouts"] |= {
                "problems": 3,
                "n": 2,
                "rounds": min(2, stage["rollouts"]["rounds"]),
                "max_new_tokens": 6,
            }
    return parse_recipe(tree, "here")


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_on_own_answers_runs_from_traces_to_students(tmp_path, name):
    recipe = miniature(name)
    folder = run(recipe, runs_dir=tmp_path, until="train")
    for stage, settings in recipe.train.items():
        ledger = json.loads((folder / "train" / stage / "ledger.json").read_text())
        assert (folder / "train" / stage / "model" / "model.safetensors").exists()
        if settings.rollouts is not None:
            rounds = json.loads((folder / "train" / stage / "rollouts" / "ledger.json").read_text())
            assert rounds["num_shards"] == settings.rollouts.rounds and ledger["steps"] >= 1
