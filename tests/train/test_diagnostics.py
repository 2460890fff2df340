"""What the guard measures, against arithmetic by hand and against plain computations."""

import functools
import math

import numpy as np
import pytest
import torch

from redistill.config.tables import StageSettings
from redistill.model.logps import PackedPolicy, prepare_for_packing
from redistill.train.diagnostics import (
    held_out_figures,
    hold_out,
    negative_prefix_share,
    pair_diagnostics,
    top_token_prob,
    update_norm,
)
from redistill.train.objectives import redi
from redistill.train.optimizers import make_optimizer
from redistill.train.step import Ranks, backward_step
from redistill.train.token_batch import Side

from .conftest import encoded, some_pairs, tiny_student

CPU = torch.device("cpu")


def test_a_pair_whose_rejected_side_is_much_shorter_lowers_their_shared_prefix():
    # alpha .8; |y_w|, |y_l| of three pairs: 10, 7 (7 < 8: negative), 10, 9 (positive), 4, 100 (positive)
    chosen, rejected = torch.tensor([1 / 10, 1 / 10, 1 / 4]), torch.tensor([-0.8 / 7, -0.8 / 9, -0.8 / 100])
    assert negative_prefix_share(chosen, rejected) == pytest.approx(1 / 3)


def test_the_top_token_probability_is_the_mean_over_rejected_completions():
    assert top_token_prob(torch.tensor([0.5, 0.9])) == pytest.approx(0.7)


def test_the_gauges_of_a_step_equal_the_plain_models(tmp_path):
    student, tokenizer = tiny_student()
    pairs = some_pairs(5, seed=3)
    rows = encoded(tmp_path, pairs, tokenizer)
    prepare_for_packing(student)
    figures = backward_step(
        PackedPolicy(student), functools.partial(redi, rejected_weight=0.8), rows, range(5), tokens_per_micro_batch=150
    )
    plain, _ = tiny_student()
    tops = []
    for pair in pairs:
        ids, answer = tokenizer(pair.prompt)["input_ids"], [*tokenizer(pair.rejected)["input_ids"], 2]
        probabilities = plain(torch.tensor([ids + answer])).logits[0].double().softmax(-1)
        tops.append(float(probabilities[len(ids) - 1 : -1].detach().amax(-1).mean()))
    found = pair_diagnostics(figures)
    assert found["top_token_prob"] == pytest.approx(sum(tops) / 5, rel=1e-5)
    shorter = [len(p.rejected) + 1 < 0.8 * (len(p.chosen) + 1) for p in pairs]  # + 1: the end of turn
    assert found["negative_prefix_share"] == pytest.approx(sum(shorter) / 5)


def test_the_update_norm_is_that_of_the_weights_themselves():
    """Against copies of the weights, over steps, with weight decay and a changing rate."""
    student, _ = tiny_student()
    settings = StageSettings(objective="redi", learning_rate=1e-3, weight_decay=0.1)
    optimizer = make_optimizer(student, settings)
    for step in range(4):
        before = [p.detach().clone() for p in student.parameters()]
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * (step + 1)
        student(torch.tensor([[4, 5, 6, step + 4]]), labels=torch.tensor([[4, 5, 6, step + 4]])).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        moved = math.sqrt(
            sum(float((p - b).detach().double().norm()) ** 2 for p, b in zip(student.parameters(), before))
        )
        assert update_norm(optimizer) == pytest.approx(moved, rel=1e-4)


def test_held_out_figures_are_the_plain_means_however_packed_and_shared(tmp_path):
    student, tokenizer = tiny_student()
    rows = encoded(tmp_path, some_pairs(8, seed=5), tokenizer)
    prepare_for_packing(student)
    policy = PackedPolicy(student)
    whole = held_out_figures(policy, rows, [1, 3, 4], tokens_per_micro_batch=4000, device=CPU, ranks=Ranks())
    figures = backward_step(policy, redi, rows, [1, 3, 4], tokens_per_micro_batch=4000)
    means = figures.logps / figures.tokens
    chosen, rejected = figures.of(Side.chosen, means), figures.of(Side.rejected, means)
    assert whole["held_out_chosen_logp"] == pytest.approx(float(chosen.mean()), rel=1e-6)
    assert whole["held_out_margin"] == pytest.approx(float((chosen - rejected).mean()), rel=1e-6)
    assert whole["held_out_top_token_prob"] == pytest.approx(
        float(figures.of(Side.rejected, figures.top_probs).mean()), rel=1e-6
    )
    # two ranks, each its share of the packs; the sum of both is what each of them gets
    parts = []
    for number in range(2):
        ranks = Ranks(number, 2, sum=lambda t: parts.append(t) or t)
        held_out_figures(policy, rows, [1, 3, 4], tokens_per_micro_batch=60, device=CPU, ranks=ranks)
    again = held_out_figures(
        policy, rows, [1, 3, 4], tokens_per_micro_batch=60, device=CPU, ranks=Ranks(0, 2, sum=lambda t: sum(parts))
    )
    assert again == pytest.approx(whole, rel=1e-5)


def test_the_held_out_pairs_do_not_depend_on_the_order_of_rows(tmp_path):
    _, tokenizer = tiny_student()
    pairs = some_pairs(60, seed=6)
    one, two = encoded(tmp_path / "a", pairs, tokenizer), encoded(tmp_path / "b", pairs[::-1], tokenizer)
    chosen = [{rows.ids[n] for n in hold_out(rows, 5, seed=0)[1]} for rows in (one, two)]
    assert chosen[0] == chosen[1] and len(chosen[0]) == 5
    assert {one.ids[n] for n in hold_out(one, 5, seed=1)[1]} != chosen[0]


def test_trained_and_held_out_pairs_share_no_problem_and_lose_none(tmp_path):
    _, tokenizer = tiny_student()
    pairs = some_pairs(40, seed=7)
    twice = [p for pair in pairs for p in (pair, type(pair)(pair.problem_id, pair.prompt, "1", "2", "c", "r"))]
    rows = encoded(tmp_path, twice, tokenizer)
    trained, held = hold_out(rows, 6, seed=0)
    assert sorted([*trained, *held]) == list(range(80)) and held

    def prompts(numbers):
        return {twice[n].prompt for n in numbers}

    assert not prompts(trained) & prompts(held)


def test_at_most_a_tenth_is_held_out_and_examples_never_are(tmp_path):
    _, tokenizer = tiny_student()
    rows = encoded(tmp_path, some_pairs(25, seed=8), tokenizer)
    assert len(hold_out(rows, 64, seed=0)[1]) == 2
    assert hold_out(rows, 0, seed=0) == (list(range(25)), [])
    assert np.all(np.diff(hold_out(rows, 64, seed=0)[0]) > 0)
