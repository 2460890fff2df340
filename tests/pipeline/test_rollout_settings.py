"""A stage's rollouts in a recipe: what does not fit together is one sentence, and a recipe written out whole is the same recipe."""

import copy
import re
from pathlib import Path

import pytest
import yaml

from redistill.config.parsing import parse_recipe
from redistill.errors import OperatorError
from redistill.pipeline.plan import make_plan
from tiny_recipe import RECIPE, fresh_fingerprints

URL = "http://127.0.0.1:8000/v1"
SERVER = {"name": "openai", "base_url": URL, "refresh": "vllm-reload"}


def recipe(objective="grpo", *, stage=None, **rollouts):
    own = {"objective": objective, "start": "sft", "learning_rate": 1e-3, **(stage or {})}
    drawn = {"problems": 2, "n": 2, "rounds": 2, "updates": 1, **rollouts}
    return parse_recipe(
        {**copy.deepcopy(RECIPE), "train": {**RECIPE["train"], "own": {**own, "rollouts": drawn}}}, "here"
    )


@pytest.mark.parametrize("objective", ["sft", "redi", "grpo"])
def test_a_recipe_written_out_with_every_default_is_accepted_as_it_was(objective):
    """A run's recipe.yaml and a model card hold every field; what nobody set must not count as set."""
    short = recipe(objective)
    whole = parse_recipe(short.model_dump(), "recipe.yaml")
    assert whole == short
    assert make_plan(whole).rollouts["own"].settings == make_plan(short).rollouts["own"].settings


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"stage": {"steps": 4}}, r"own\.rollouts\.updates: 2 rounds of 1 steps already set the number of steps"),
        ({"stage": {"epochs": 2}}, r"own\.rollouts\.updates: 2 rounds of 1 steps already set"),
        ({"objective": "sft", "advantage": "mean"}, r"own\.rollouts\.advantage: sft does not use advantages"),
        ({"objective": "sft", "pairing": "random"}, r"own\.rollouts\.pairing: sft does not use pairs"),
        ({"objective": "redi", "keep": "all"}, r"own\.rollouts\.keep: with pairs, the pairing decides"),
        ({"keep": "correct"}, r"own\.rollouts\.keep: grpo compares right answers with wrong ones"),
        ({"advantage": "teacher"}, r"the advantage `teacher` and the table `teacher` go together"),
        ({"reward": [{"name": "accuracy", "weight": 0}]}, r"own\.rollouts\.reward: every reward has weight 0"),
        ({"objective": "kto"}, r"kto compares rows across a whole data set, so it cannot be used with rollouts"),
        ({"engine": "vllm"}, r"own\.rollouts\.engine: there is no 'vllm'"),
        ({"engine": {"name": "openai", "base_url": URL}}, r"own\.rollouts\.engine \(openai\): .*refresh"),
        ({"engine": SERVER | {"refresh": "rsync"}}, r"own\.rollouts\.engine \(openai\): .*reload-folder"),
        ({"engine": SERVER | {"refresh": "vllm-lora"}}, r"this stage has none; set `lora`"),
        ({"importance_cap": 3.0}, r"own\.rollouts\.importance_cap: only a server's answers"),
        ({"behaviour": "server"}, r"own\.rollouts\.behaviour: only a server's answers"),
        ({"behaviour": "server", "engine": SERVER, "objective": "reinforce"}, r"reinforce has no ratio to the sampling policy"),
        ({"behaviour": "server", "engine": SERVER, "importance_cap": 3.0}, r"keep one of the two"),
        ({"engine": SERVER, "importance_cap": 3.0, "objective": "sft"}, r"importance_cap: sft does not use advantages"),
        ({"n": 1}, r"own\.rollouts\.n: one answer per problem has no other to be compared with, so every advantage would be 0; raise n"),
        ({"n": 1, "advantage": "leave-one-out", "objective": "reinforce"}, r"one answer per problem has no other to be compared with"),
        ({"n": 1, "objective": "actions", "advantage": {"name": "actions", "level": "outcome"}}, r"one answer per problem has no other"),
        ({"n": 1, "objective": "redi"}, r"own\.rollouts\.n: with one answer per problem there is never a right and a wrong one"),
        ({"objective": "actions"}, r"own\.rollouts\.advantage: actions applies to attempts and verifications; set `advantage: actions`"),
        ({"advantage": "actions", "reward": ["format"]}, r"own\.rollouts\.reward: the advantage `actions` rewards"),
        ({"advantage": {"name": "actions", "level": "outcome", "bonus": "code"}}, r"advantage\.bonus: with `level: outcome` an answer is one"),
        ({"accuracy": [0.7, 0.1]}, r"own\.rollouts\.accuracy: the lower bound 0\.7 is above the upper bound"),
        ({"objective": "redi", "accuracy": [0.1, 0.7]}, r"own\.rollouts\.accuracy: with pairs, the pairing decides"),
        ({"engine": SERVER | {"token_ids": "encoded"}, "importance_cap": 3.0}, r"have no log-probs of the server"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_one_sentence(changes, sentence):
    with pytest.raises(OperatorError, match=sentence):
        make_plan(recipe(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"objective": "sft"},
        {"objective": "actions", "advantage": "actions"},  # compared with the actions of other problems
        {"advantage": "shaped", "keep": "all"},
        {"advantage": "teacher", "teacher": "base"},
    ],
)
def test_one_answer_per_problem_is_enough_where_nothing_is_compared_within_a_problem(changes):
    assert make_plan(recipe(**{"n": 1, **changes}))


@pytest.mark.parametrize(
    "changes, place",
    [
        (
            {"evaluate": {"self_correction": "s2r"}},
            r"evaluate\.self_correction: .* by s2r here and by compact in select",
        ),
        (
            {"score": [{"name": "checked-equations", "into": "verification"}]},
            r"score\.0\.cues: .* by s2r here and by compact",
        ),
    ],
)
def test_attempts_are_parted_by_the_same_words_everywhere(changes, place):
    toy = {**copy.deepcopy(RECIPE), "select": {"examples": {"name": "self-correction", "cues": "compact"}}}
    own = {"objective": "actions", "start": "sft", "learning_rate": 1e-3}
    drawn = {"problems": 2, "n": 2, "updates": 1, "advantage": {"name": "actions", "cues": "compact"}}
    train = {"sft": toy["train"]["sft"], "own": {**own, "rollouts": drawn}}
    assert make_plan(parse_recipe({**toy, "train": train, "evaluate": {"self_correction": "compact"}}, "here"))
    with pytest.raises(OperatorError, match=place):
        make_plan(parse_recipe({**toy, "train": train, **changes}, "here"))
    drawn["advantage"] = "actions"
    with pytest.raises(
        OperatorError, match=r"own\.rollouts\.advantage\.cues: .* by s2r here and by compact in select\.examples"
    ):
        make_plan(parse_recipe({**toy, "train": train}, "here"))


def test_where_a_server_is_and_how_hard_it_is_asked_changes_no_result_but_how_it_is_refreshed_may():
    prints = fresh_fingerprints(recipe(engine=SERVER))
    for options in ({"base_url": "http://10.0.0.7:9000/v1"}, {"concurrency": 4}, {"retries": 9}):
        assert fresh_fingerprints(recipe(engine=SERVER | options)) == prints
    for other in (
        {"engine": SERVER | {"refresh": "none"}},
        {"engine": "transformers"},
        {"engine": SERVER, "importance_cap": 4.0},
    ):
        assert fresh_fingerprints(recipe(**other))["train/own"] != prints["train/own"]


HOW_TO = Path(__file__).parents[2] / "docs/how-to/sampling-my-student.md"


def test_every_stage_on_the_how_to_page_is_one_that_could_run():
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", HOW_TO.read_text(), re.DOTALL)]
    assert len(blocks) == 5
    for name, stage in ((name, stage) for block in blocks for name, stage in block.items()):
        tree = copy.deepcopy(RECIPE)
        plan = make_plan(parse_recipe({**tree, "train": {"sft": tree["train"]["sft"], name: stage}}, "page"))
        assert plan.rollouts[name].settings.rounds == stage["rollouts"]["rounds"]


def test_every_method_of_the_how_to_pages_table_is_one_that_could_run():
    rows = re.findall(r"^\| .+? \| `(.+?)` \| `([a-z-]+)` \|$", HOW_TO.read_text(), re.MULTILINE)
    assert len(rows) == 6
    for objective, advantage in rows:
        bound = make_plan(recipe(yaml.safe_load(objective), advantage=advantage)).rollouts["own"]
        assert bound.settings.advantage.name == advantage
