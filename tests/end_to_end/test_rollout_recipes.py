"""The shipped recipes of stages on own answers, each as it is but a hundredth of its size."""

import json
import re

import pytest
import yaml

from redistill.config.parsing import parse_recipe
from redistill.config.yaml_text import SHIPPED
from redistill.errors import OperatorError
from redistill.pipeline.run import run
from tiny_recipe import RECIPE

pytestmark = pytest.mark.recipes

RECIPES = (
    "recommended",
    "grpo-quickstart",
    "rejection-sampling",
    "on-policy-redi",
    "on-policy-distillation",
    "offline-distillation",
)


def miniature(name, **teacher):
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
    if teacher:
        del tree["train"]["teacher"]
        tree["train"]["student"]["rollouts"]["teacher"] = teacher
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


def test_a_student_teaches_itself_with_the_corpuss_right_traces_in_its_prompt(tmp_path, capsys):
    alone = {"self": "now", "context": "right-trace", "template": "{context};{problem}"}
    folder = run(miniature("on-policy-distillation", **alone), runs_dir=tmp_path, until="train")
    lines = [json.loads(line) for line in (folder / "train" / "student" / "metrics.jsonl").read_text().splitlines()]
    assert lines[0]["teacher_kl"] != 0
    assert re.search(r"the teacher is shown a right trace for [1-9]\d* of \d+ problems", capsys.readouterr().err)


def test_a_source_without_a_teacher_stops_the_stage_before_anything_is_drawn(tmp_path):
    recipe = miniature("on-policy-distillation", by_source={"elsewhere": "sft"})
    with pytest.raises(OperatorError, match=r"problems of '.*' have no teacher \(set for elsewhere\)"):
        run(recipe, runs_dir=tmp_path, until="train")
    assert not list(tmp_path.glob("*/train/student/rollouts/*"))
