"""Distillation in a recipe: what does not fit together is one sentence, and every stage of the how-to page could run."""

import copy
import re
from pathlib import Path

import pytest
import yaml

from redistill.config.parsing import parse_recipe
from redistill.errors import OperatorError
from redistill.pipeline.plan import make_plan
from redistill.train.modifiers import full_kl
from tiny_recipe import RECIPE, fresh_fingerprints

HOW_TO = Path(__file__).parents[2] / "docs/how-to/distillation.md"


def recipe(**stage):
    own = {"objective": "distill", "teacher": "sft", "start": "sft", "learning_rate": 1e-3, **stage}
    train = {"sft": RECIPE["train"]["sft"], "own": {key: value for key, value in own.items() if value is not None}}
    return parse_recipe({**copy.deepcopy(RECIPE), "train": train}, "here")


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"teacher": None}, r"train\.own: distill learns from a teacher; name one by `teacher`"),
        ({"objective": "sft"}, r"train\.own\.teacher: sft compares with no teacher"),
        ({"teacher": "sftt"}, r"train\.own\.teacher: no earlier stage is called 'sftt'; did you mean 'sft'"),
        ({"objective": {"name": "distill", "beta": 1.0}}, r"beta"),
        ({"objective": "redi", "teacher": None, "modifiers": ["entropy"]}, r"entropy works on examples"),
        ({"rollouts": {"problems": 2, "advantage": "teacher", "teacher": "sft"}}, r"distill asks for no advantages"),
    ],
)
def test_what_does_not_fit_together_is_one_sentence(changes, sentence):
    with pytest.raises(OperatorError, match=sentence):
        make_plan(recipe(**changes))


def test_full_kl_takes_a_reference_and_an_estimate_of_it_does_too():
    for estimator in ("full", "k3"):
        read = recipe(
            objective="sft", teacher=None, reference="sft", modifiers=[{"name": "kl", "estimator": estimator}]
        )
        assert (make_plan(read).modifiers["own"][0].func is full_kl) is (estimator == "full")


def test_another_teacher_makes_another_student_and_nothing_else():
    one, other = fresh_fingerprints(recipe()), fresh_fingerprints(recipe(teacher="base"))
    assert {name for name in one if one[name] != other[name]} >= {"train/own"}
    assert one["train/sft"] == other["train/sft"] and one["select"] == other["select"]


def test_every_stage_on_the_how_to_page_is_one_that_could_run():
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", HOW_TO.read_text(), re.DOTALL)]
    assert len(blocks) >= 3
    for name, stage in ((name, stage) for block in blocks for name, stage in block.items()):
        tree = copy.deepcopy(RECIPE)
        plan = make_plan(parse_recipe({**tree, "train": {"sft": tree["train"]["sft"], name: stage}}, "page"))
        assert plan.recipe.train[name].learning_rate == 1e-5
