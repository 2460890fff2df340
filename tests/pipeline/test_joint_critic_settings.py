"""OREAL in a recipe: what does not fit together is one sentence, what is not written is the paper's, and keys hold what decides."""

import copy

import pytest

from redistill.config.parsing import parse_recipe
from redistill.errors import OperatorError
from redistill.pipeline.plan import make_plan
from tiny_recipe import RECIPE, fresh_fingerprints

CRITIC = {"learning_rate": 1e-3, "warm_rounds": 1}
ORM = {"objective": "outcome", "start": "sft", "learning_rate": 1e-2, "steps": 3, "batch_size": 4}


def recipe(objective="oreal", *, stage=None, before=None, **rollouts):
    own = {
        "objective": objective,
        "start": "sft",
        "learning_rate": 1e-3,
        "modifiers": ["token-credit"],
        **(stage or {}),
    }
    drawn = {"problems": 2, "n": 4, "rounds": 2, "updates": 1, "critic": CRITIC, **rollouts}
    train = {**RECIPE["train"], **(before or {}), "own": {**own, "rollouts": drawn}}
    return parse_recipe({**copy.deepcopy(RECIPE), "train": train}, "here")


def test_what_is_not_written_is_the_papers():
    bound = make_plan(recipe()).rollouts["own"]
    assert bound.advantage.func.__name__ == "shaped" and bound.advantage.keywords == {}
    assert bound.settings.critic.objective.name == "outcome"
    paper = make_plan(recipe(critic={"learning_rate": 1e-3}, rounds=80)).rollouts["own"]
    assert paper.settings.critic.warm_rounds == 10
    assert make_plan(recipe("grpo")).rollouts["own"].advantage.func.__name__ == "group"
    short = recipe()
    assert parse_recipe(short.model_dump(), "recipe.yaml") == short and make_plan(parse_recipe(short.model_dump(), "x"))


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"stage": {"modifiers": []}}, r"own\.rollouts\.critic: its scores are not used; add token-credit"),
        ({"critic": None}, r"own\.modifiers: token-credit weights tokens by a critic's scores; set train\.own\.rollouts\.critic"),
        ({"objective": "sft"}, r"own\.rollouts\.critic: it learns from right and wrong answers, but sft does not use advantages"),
        ({"critic": {**CRITIC, "objective": "process"}}, r"own\.rollouts\.critic\.objective: there is no 'process'"),
        ({"critic": {**CRITIC, "start": "sft"}}, r"own\.rollouts\.critic\.start: sft is a student, not a critic"),
        ({"critic": {**CRITIC, "start": "orm"}}, r"own\.rollouts\.critic\.start: no earlier stage is called 'orm'"),
        ({"critic": {**CRITIC, "start": "no/such"}}, r"own\.rollouts\.critic\.start: no/such holds no critic"),
        ({"critic": {**CRITIC, "objective": "implicit", "start": "orm"}, "before": {"orm": ORM}},
         r"own\.rollouts\.critic\.start: an implicit critic is compared with its own start"),
        ({"stage": {"critic": "orm"}, "before": {"orm": ORM}}, r"own\.critic: it scores rows of the corpus, .* as rollouts\.critic"),
        ({"keep": "one-each", "objective": "redi", "stage": {"modifiers": []}, "critic": None},
         r"own\.rollouts\.keep: one-each draws a right and a wrong answer, but redi does not use advantages"),
        ({"critic": {"learning_rate": 1e-3}}, r"own\.rollouts\.critic\.warm_rounds: the student takes its first step after 10 rounds, but the stage has only 2"),
        ({"critic": {**CRITIC, "warm_rounds": 2}}, r"first step after 2 rounds, but the stage has only 2; lower warm_rounds"),
        ({"n": 1}, r"own\.rollouts\.n: with one answer per problem there is never a right and a wrong one"),
        ({"keep": "correct"}, r"own\.rollouts\.keep: oreal compares right answers with wrong ones"),
        ({"advantage": "teacher", "teacher": "sft"}, r"own\.rollouts\.keep: one-each separates right from wrong answers"),
        ({"stage": {"modifiers": ["token-credit", {"name": "kl", "to": "previous", "estimator": "full"}]}},
         r"kl with `to: previous` has the log-probs of sampled tokens alone"),
        ({"stage": {"modifiers": ["token-credit", {"name": "kl", "to": "previous"}]}},
         r"kl with `to: previous` has a gradient of 0 at the first of a round's updates"),
        ({"stage": {"decay": "constant", "final_rate": 0.1}}, r"`final_rate` has no effect with `decay: constant`"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_one_sentence(changes, sentence):
    with pytest.raises(OperatorError, match=sentence):
        make_plan(recipe(**changes))


def test_rows_of_the_corpus_have_no_previous_policy():
    train = {"sft": {**RECIPE["train"]["sft"], "modifiers": [{"name": "kl", "to": "previous"}]}}
    with pytest.raises(
        OperatorError, match=r"train\.sft\.modifiers: kl with `to: previous` compares with the policy that sampled"
    ):
        make_plan(parse_recipe({**RECIPE, "train": train}, "here"))


def test_a_critic_that_goes_on_from_an_earlier_stage_needs_its_key():
    def prints(steps):
        return fresh_fingerprints(recipe(critic={**CRITIC, "start": "orm"}, before={"orm": {**ORM, "steps": steps}}))

    before, after = prints(3), prints(5)
    changed = {name for name in before if before[name] != after[name] and name.startswith("train/")}
    assert changed == {"train/orm", "train/own"}
    assert make_plan(recipe(critic={**CRITIC, "start": "orm"}, before={"orm": ORM})).critics == ["orm"]
