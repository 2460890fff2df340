"""OREAL: its loss by hand, the objectives that it contains as special cases, its shaping, and the law behind its cloning."""

import functools
import itertools
import math

import numpy as np
import pytest
import torch

from redistill.train.advantages import shaped
from redistill.train.coefficients import step_loss, token_coefficients
from redistill.train.modifiers import in_full, kl, token_credit
from redistill.train.objectives import redi, sft
from redistill.train.objectives.policy import oreal
from redistill.train.step import Ranks, backward_step
from redistill.train.token_batch import Side

from .conftest import batch_of, tiny_student
from .rollout_cases import job_of
from .test_joint_critic import rows_with

DOUBLE = {"dtype": torch.float64}
COUNTS = [2, 4, 1, 3]  # right, wrong, wrong, right
ADVANTAGES = [1.0, -0.75, -0.25, 1.0]
LOGPS = torch.tensor([-1.0, -2.0, -0.5, -0.25, -1.0, -0.25, -3.0, -0.5, -0.5, -2.0], **DOUBLE)
SCORES = torch.tensor([2.0, -2.0, 0.0, -1.0, -3.0, 1.0, -0.5, 4.0, 0.1, -0.1], **DOUBLE)


def spread(values, counts=COUNTS):
    return torch.tensor(values, **DOUBLE).repeat_interleave(torch.tensor(counts))


def step(advantages=ADVANTAGES, **more):
    values = {"advantage": spread(advantages), "critic_score": SCORES}
    return batch_of(COUNTS, ["single"] * 4, logps=LOGPS, values=values, **more)


# --- the loss -----------------------------------------------------------------------------------------------------------


def test_the_loss_by_hand():
    """Right: 5 tokens, log-probs -3 and -3, so 6/5. Wrong: 5 tokens, .5 * (-.75 * 2 - .25 * 3) / 5."""
    assert float(step_loss(oreal, [], step())) == pytest.approx(6 / 5 + 0.5 * (-0.75 * 2 - 0.25 * 3) / 5, abs=1e-12)


def test_the_loss_with_token_weights_is_equation_11_written_out():
    """Token by token in plain Python: cloning by max(2 s(w) - 1, 0), pushing down by max(1 - 2 s(w), 0), each class over its tokens."""
    total, place = 0.0, 0
    for count, advantage in zip(COUNTS, ADVANTAGES, strict=True):
        for t in range(place, place + count):
            sure = 2 / (1 + math.exp(-float(SCORES[t]))) - 1
            weight = max(sure, 0) if advantage > 0 else 0.5 * advantage * max(-sure, 0)
            total -= weight * float(LOGPS[t]) / 5  # both classes have five tokens here
        place += count
    assert float(step_loss(oreal, [token_credit], step())) == pytest.approx(total, abs=1e-12)


def test_classes_of_unequal_size_never_share_a_divisor():
    found = token_coefficients(oreal, [], step([1.0, -1.0, 1.0, 1.0]))
    assert found.tolist() == pytest.approx([1 / 6] * 2 + [-0.5 / 4] * 4 + [1 / 6] * 4, abs=1e-12)
    by_row = token_coefficients(functools.partial(oreal, per="sequence"), [], step([1.0, -1.0, 1.0, 1.0]))
    assert by_row.tolist() == pytest.approx([1 / 6] * 2 + [-0.5 / 4] * 4 + [1 / 3] + [1 / 9] * 3, abs=1e-12)


def test_a_right_answer_is_cloned_or_counts_its_advantage():
    advantages = [1.6, -0.5, -0.5, 0.4]
    clone = token_coefficients(oreal, [], step(advantages))
    counted = token_coefficients(functools.partial(oreal, positive="advantage"), [], step(advantages))
    assert clone.tolist() == pytest.approx([0.2] * 2 + [-0.05] * 5 + [0.2] * 3, abs=1e-12)
    assert counted.tolist() == pytest.approx([0.32] * 2 + [-0.05] * 5 + [0.08] * 3, abs=1e-12)


@pytest.mark.parametrize("per", ["class-tokens", "sequence"])
def test_an_answer_whose_advantage_is_0_has_no_gradient_and_is_in_no_divisor(per):
    """One right answer of 2 tokens and one wrong one of 4: 1/2 and -.5/4 each, as though the other two were not there."""
    found = token_coefficients(functools.partial(oreal, per=per), [], step([1.0, -1.0, 0.0, 0.0]))
    assert found.tolist() == pytest.approx([1 / 2] * 2 + [-0.5 / 4] * 4 + [0.0] * 4, abs=1e-12)


def test_a_step_with_one_class_alone_is_finite():
    for advantages in ([1.0] * 4, [-1.0] * 4, [0.0] * 4):
        assert torch.isfinite(token_coefficients(oreal, [], step(advantages))).all()


# --- what it contains ---------------------------------------------------------------------------------------------------


def test_weights_1_and_no_negatives_is_the_gradient_of_sft():
    """eta 0, no KL, all weights 1: sft on the right answers alone, by tokens and by sequences."""
    right = batch_of([2, 3], ["single"] * 2, logps=torch.cat([LOGPS[:2], LOGPS[7:]]))
    for per, aggregation in (("class-tokens", "token"), ("sequence", "sequence")):
        ours = token_coefficients(functools.partial(oreal, negatives=0.0, per=per), [], step())
        theirs = token_coefficients(functools.partial(sft, aggregation=aggregation), [], right)
        assert torch.equal(ours[2:7], torch.zeros(5, **DOUBLE))
        assert torch.cat([ours[:2], ours[7:]]).tolist() == pytest.approx(theirs.tolist(), abs=1e-15)


@pytest.mark.parametrize("alpha", [0.2, 0.8, 1.0])
def test_weights_1_and_sequence_means_is_the_gradient_of_redi(alpha):
    """The same right and wrong answers as pairs: eta is REDI's alpha."""
    ours = token_coefficients(
        functools.partial(oreal, negatives=alpha, per="sequence"), [], step([1.0, -1.0, -1.0, 1.0])
    )
    order = [(0, 2, 2, 6), (7, 10, 6, 7)]  # (right, wrong) by places of tokens
    places = torch.cat([torch.cat([torch.arange(a, b), torch.arange(c, d)]) for a, b, c, d in order])
    pairs = batch_of([2, 4, 3, 1], ["chosen", "rejected"] * 2, logps=LOGPS[places])
    theirs = token_coefficients(functools.partial(redi, rejected_weight=alpha), [], pairs)
    assert ours[places].tolist() == pytest.approx(theirs.tolist(), abs=1e-15)


def test_a_head_of_zeros_gives_every_token_the_weight_0_and_the_student_no_gradient_but_kls():
    nothing = step()
    nothing = batch_of(COUNTS, ["single"] * 4, logps=LOGPS, reference_logps=LOGPS - 0.5,
                       values={**nothing.values, "critic_score": torch.zeros(10, **DOUBLE)})  # fmt: skip
    assert torch.equal(token_coefficients(oreal, [token_credit], nothing), torch.zeros(10, **DOUBLE))
    alone = token_coefficients(oreal, [token_credit, functools.partial(kl, beta=0.1)], nothing)
    # k3: d/dlogp (exp(-d) + d - 1) = 1 - exp(-d) with d = .5, the mean over each row's tokens and over four rows
    by_hand = -0.1 * (1 - math.exp(-0.5)) / 4 / spread([float(c) for c in COUNTS])
    assert alone.tolist() == pytest.approx(by_hand.tolist(), abs=1e-12)


def test_kl_by_token_is_over_all_tokens_of_the_step_and_to_previous_is_to_who_sampled():
    away = torch.linspace(-0.4, 0.5, 10, **DOUBLE)
    held = step(reference_logps=LOGPS - away, behaviour_logps=LOGPS - 2 * away)
    for to, apart in (("reference", away), ("previous", 2 * away)):
        added = in_full(functools.partial(kl, beta=0.3, to=to, per="token"))
        loss = step_loss(oreal, [added], held) - step_loss(oreal, [], held)
        assert float(loss) == pytest.approx(0.3 * float((torch.exp(-apart) + apart - 1).mean()), abs=1e-12)


def test_kl_to_the_previous_policy_has_no_gradient_at_a_rounds_first_update():
    """There the student is the policy that sampled: the printed formula holds nothing before a second update."""
    added = in_full(functools.partial(kl, beta=0.3, to="previous"))
    with_it, without = (token_coefficients(oreal, more, step(behaviour_logps=LOGPS)) for more in ([added], []))
    assert torch.equal(with_it, without)


def test_wrong_answers_are_weighed_where_the_critic_says_wrong_and_right_ones_where_it_says_right():
    signs = token_coefficients(oreal, [token_credit], step()).sign()
    right = spread([1.0, 0, 0, 1.0])
    expected = torch.where(right > 0, (SCORES > 0).double(), -(SCORES < 0).double())
    assert torch.equal(signs, expected)
    mean = token_coefficients(oreal, [functools.partial(token_credit, form="running-mean")], step()).sign()
    assert not torch.equal(mean, expected)


# --- shaping ------------------------------------------------------------------------------------------------------------


def advantages_of(c, n=16, form="paper"):
    found = shaped(torch.tensor([[1.0] * c + [0.0] * (n - c)]), torch.ones(1, n, dtype=torch.bool), form=form)[0]
    return float(found[0]), float(found[-1])


def test_the_released_code_shapes_by_leave_one_out_over_rewards_of_plus_and_minus_1():
    assert advantages_of(4, form="code") == pytest.approx((1.6, -8 / 15), abs=5e-5)
    assert advantages_of(4, form="code") == pytest.approx((1.6000, -0.5333), abs=5e-5)
    assert advantages_of(12, form="code") == pytest.approx((0.5333, -1.6000), abs=5e-5)
    for c in range(1, 16):  # against the definition: r - mean of the others
        rewards = np.array([1.0] * c + [-1.0] * (16 - c))
        by_hand = rewards - (rewards.sum() - rewards) / 15
        assert advantages_of(c, form="code") == pytest.approx((by_hand[0], by_hand[-1]), abs=1e-12)


def test_a_wrong_answers_push_falls_with_the_pass_rate_in_the_paper_and_rises_in_the_code():
    paper, code = ([abs(advantages_of(c, form=form)[1]) for c in range(1, 16)] for form in ("paper", "code"))
    assert paper == sorted(paper, reverse=True) and code == sorted(code) and len(set(paper)) == 15
    assert advantages_of(4) == pytest.approx((1.0, -0.75), abs=1e-12)


# --- why one random right answer is enough ------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_the_law_of_best_of_n_by_enumeration_of_all_draws(n):
    """Six outcomes, the first three right. The best of n draws (a right one if there is any, at random among the best) has the
    probability pi (R (1 - (1 - p)^n) / p + (1 - R)(1 - p)^(n - 1)); among right ones it is pi / p, whatever n (OREAL, Eq. 5)."""
    policy, is_right = [0.05, 0.1, 0.15, 0.2, 0.25, 0.25], [1, 1, 1, 0, 0, 0]
    p = sum(q for q, right in zip(policy, is_right, strict=True) if right)
    best = np.zeros(6)
    for draws in itertools.product(range(6), repeat=n):
        chance = math.prod(policy[d] for d in draws)
        top = [d for d in draws if is_right[d]] or list(draws)
        for d in top:
            best[d] += chance / len(top)
    law = [q * ((1 - (1 - p) ** n) / p if r else (1 - p) ** (n - 1)) for q, r in zip(policy, is_right, strict=True)]
    assert np.abs(best - law).max() < 1e-12
    among_right = best[:3] / best[:3].sum()
    assert np.abs(among_right - np.array(policy[:3]) / p).max() < 1e-12


# --- the step -----------------------------------------------------------------------------------------------------------


def gradients(rows, budget, modifiers, together=None):
    from redistill.model.logps import PackedPolicy, prepare_for_packing

    model, _ = tiny_student()
    policy = PackedPolicy(model, packs=prepare_for_packing(model))
    numbers = list(range(len(rows)))
    backward_step(policy, oreal, rows, numbers if together is None else together, tokens_per_micro_batch=budget,
                  modifiers=modifiers, ranks=Ranks())  # fmt: skip
    return torch.cat([p.grad.flatten() for p in model.parameters()]).double()


@pytest.mark.parametrize("modifiers", [[], [token_credit]])
def test_the_gradient_is_the_same_for_any_split_packing_and_order(modifiers):
    rows = rows_with(job_of(n=8))
    one = gradients(rows, 4000, modifiers)
    assert one.abs().max() > 0
    order = list(reversed(range(len(rows))))
    for budget, together in ((40, None), (1, None), (4000, order)):
        assert torch.allclose(gradients(rows, budget, modifiers, together), one, rtol=1e-4, atol=1e-7)


def test_the_side_of_an_answer_is_read_off_its_advantage():
    seen = []

    def looks(ids, side):
        from redistill.train.modifiers import SequenceWeights

        seen.append(side)
        return SequenceWeights(torch.ones(len(ids)).double(), False)

    step_loss(oreal, [looks], step())
    assert seen == [Side.single, Side.rejected, Side.rejected, Side.single]
