"""Implicit process rewards: by hand, equal to their own formula in plain numbers, and a critic that finds the token that decides."""

import functools
import json
import math

import pytest
import torch

from redistill.config.tables import GuardSettings
from redistill.model import loading
from redistill.model.token_credit import credit
from redistill.records import Pair
from redistill.train import OBJECTIVES
from redistill.train.coefficients import is_linear, step_loss, token_coefficients
from redistill.train.modifiers import token_credit
from redistill.train.objectives import redi, trains_critic
from redistill.train.objectives.implicit import figures_of_critic, implicit
from redistill.train.reference import ImplicitCritic
from redistill.train.stage import StageJob, train_stage

from .conftest import batch_of, tiny_student
from .test_critic_stage import SETTINGS, last_token_decides

DOUBLE = {"dtype": torch.float64}
NAN = float("nan")


def step(logps, reference, labels, counts):
    targets = torch.full((sum(counts),), NAN, **DOUBLE)
    targets[torch.tensor(counts).cumsum(0) - 1] = torch.tensor(labels, **DOUBLE)
    return batch_of(
        counts,
        ["single"] * len(counts),
        logps=torch.tensor(logps, **DOUBLE),
        reference_logps=torch.tensor(reference, **DOUBLE),
        values={"target": targets},
    )


HELD = step([-1.0, -2.0, -0.5, -4.0, -1.0], [-2.0, -2.0, -0.5, -1.0, -1.0], [1.0, 0.0], [2, 3])


def test_the_loss_by_hand():
    """Log-ratios 1 and -3; beta .5 gives rewards .5 and -1.5: -log s(.5) for the right one, -log s(1.5) for the wrong one."""
    found = float(step_loss(functools.partial(implicit, beta=0.5), [], HELD))
    by_hand = (math.log(1 + math.exp(-0.5)) + math.log(1 + math.exp(-1.5))) / 2
    assert found == pytest.approx(by_hand, abs=1e-12)


def test_beta_is_primes_unless_it_is_said():
    by_hand = (math.log(1 + math.exp(-0.05)) + math.log(1 + math.exp(-0.15))) / 2
    assert float(step_loss(implicit, [], HELD)) == pytest.approx(by_hand, abs=1e-12)


def test_the_gradient_by_hand_is_the_same_on_every_token_of_an_answer():
    """d loss / d log pi = beta (s(r) - label) / rows."""
    found = token_coefficients(functools.partial(implicit, beta=0.5), [], HELD)
    right, wrong = 0.5 * (1 - 1 / (1 + math.exp(-0.5))) / 2, -0.5 * (1 / (1 + math.exp(1.5))) / 2
    assert found.tolist() == pytest.approx([right] * 2 + [wrong] * 3, abs=1e-12)


def test_a_model_that_has_not_moved_says_log_2_and_gives_no_token_a_weight():
    still = step([-1.0, -2.0], [-1.0, -2.0], [1.0], [2])
    assert float(step_loss(implicit, [], still)) == pytest.approx(math.log(2), abs=1e-12)
    assert all(not weights.any() for weights in credit(torch.zeros(2, **DOUBLE), form="running-sum"))


def test_a_row_without_a_label_weighs_nothing():
    one = step([-1.0, -2.0, -0.5, -4.0, -1.0], [-2.0, -2.0, -0.5, -1.0, -1.0], [1.0, NAN], [2, 3])
    alone = step([-1.0, -2.0], [-2.0, -2.0], [1.0], [2])
    assert float(step_loss(implicit, [], one)) == float(step_loss(implicit, [], alone))


def test_the_weights_by_the_running_sum_are_what_it_says_of_the_answer_so_far():
    """Rewards 1, -3, .5: sums 1, -2, -1.5; 2 s(x) - 1 where that is above 0, and below."""
    right, wrong = credit(torch.tensor([1.0, -3.0, 0.5], **DOUBLE), form="running-sum")
    said = [2 / (1 + math.exp(-x)) - 1 for x in (1.0, -2.0, -1.5)]
    assert right.tolist() == pytest.approx([max(x, 0) for x in said], abs=1e-12)
    assert wrong.tolist() == pytest.approx([max(-x, 0) for x in said], abs=1e-12)


def test_it_is_a_critics_objective_of_log_probs_with_figures_in_rewards():
    assert trains_critic(implicit) and not is_linear(implicit) and OBJECTIVES["implicit"] is implicit
    assert not trains_critic(OBJECTIVES["sft"]) and trains_critic(OBJECTIVES["outcome"])
    told = figures_of_critic(functools.partial(implicit, beta=0.5), HELD)
    assert told == {"accuracy": 1.0, "step_accuracy": None, "right_score": 0.25, "wrong_score": -0.5}


# --- as a stage, and as the critic of another --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """An implicit critic of answers whose fifth token decides."""
    folder = tmp_path_factory.mktemp("prm")
    guard = GuardSettings(every=20, held_out_pairs=16, probe_every=0)
    settings = SETTINGS.model_copy(update={"steps": 60, "batch_size": 16, "guard": guard, "learning_rate": 5e-3})
    bound = functools.partial(implicit, beta=1.0)
    job = StageJob(folder, "prm", settings, bound, "f", seed=0, card="a card")
    train_stage(job, records=last_token_decides(160), student=tiny_student)
    return folder


def test_it_learns_from_labels_alone_and_says_it_of_rows_it_has_not_seen(trained):
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert lines[1]["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert lines[0]["held_out_loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert lines[-1]["held_out_accuracy"] == 1.0 and lines[-1]["held_out_loss"] < 0.3


def test_its_rewards_are_token_weights_of_another_stage(trained, tmp_path):
    """Before the deciding token a right and a wrong answer have one reward; at it the right one's is above the wrong one's."""
    critic, tokenizer = loading.load_folder(trained / "model")
    held = ImplicitCritic(critic, tokenizer, tiny_student()[0], 1.0)
    pairs = [Pair(f"p{i}", f"{i}=", "012171", "012131", f"c{i}", f"r{i}") for i in range(4)]
    settings = SETTINGS.model_copy(update={"steps": 1, "batch_size": 4, "objective": "redi", "critic": "prm"})
    modifiers = [functools.partial(token_credit, form="running-sum")]
    job = StageJob(tmp_path / "train" / "redi", "redi", settings, redi, "f", seed=0, card="a card", modifiers=modifiers)
    ledger = train_stage(job, records=pairs, student=tiny_student, critic=lambda: held)
    assert 0 < ledger["mean_token_weights"]["rejected"] <= 1 and 0 < ledger["mean_token_weights"]["chosen"] <= 1
    assert len(list((tmp_path / "train" / ".references").glob("*.tokens.npy"))) == 2  # the critic's and its reference's
