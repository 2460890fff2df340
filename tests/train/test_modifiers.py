"""Every modifier by hand, and how several of them enter a step."""

import functools
import math

import pytest
import torch

from redistill.config.binding import bind
from redistill.config.tables import Plugin
from redistill.errors import OperatorError
from redistill.train import MODIFIERS, OBJECTIVES, check_stage
from redistill.train.coefficients import StepTokens, step_loss_of_tokens, token_coefficients
from redistill.train.modifiers import (
    aggregation,
    divergence_window,
    negative_floor,
    nll_anchor,
    shared_prefix_mask,
    span_weights,
)
from redistill.train.objectives import redi, sft

# one pair: chosen "1 2 3", rejected "1 2 4 5 6 7": two tokens shared
CHOSEN, REJECTED = torch.tensor([1, 2, 3]), torch.tensor([1, 2, 4, 5, 6, 7])
LOGPS = torch.tensor([-1.0, -2.0, -3.0, -1.0, -2.0, -4.0, -0.5, -0.5, -4.0], dtype=torch.float64)


def one_pair(**more):
    counts, weights = torch.tensor([3.0, 6.0]).double(), torch.ones(1).double()
    return StepTokens(torch.cat([CHOSEN, REJECTED]), counts, weights, **more)


def loss(objective, *modifiers, step=None, logps=LOGPS):
    return float(step_loss_of_tokens(objective, modifiers, step or one_pair(), logps))


def two_pairs():
    """Chosen of 2 and 4 tokens, rejected of 6 and 2, every token at -1 (so sums are minus the counts)."""
    counts = torch.tensor([2.0, 6.0, 4.0, 2.0]).double()
    return StepTokens(torch.arange(14), counts, torch.ones(2).double()), -torch.ones(14).double()


def test_shared_prefix_mask_spares_what_both_sides_share():
    found = shared_prefix_mask(CHOSEN, REJECTED)
    assert found.chosen.tolist() == [0, 0, 1] and found.rejected.tolist() == [0, 0, 1, 1, 1, 1]
    # redi, |y| kept: 3/3 + .8 * (-4 - .5 - .5 - 4) / 6
    assert loss(redi, shared_prefix_mask) == pytest.approx(1 - 0.8 * 9 / 6)
    # renormalised: 3/1 + .8 * -9 / 4
    assert loss(redi, functools.partial(shared_prefix_mask, renormalise=True)) == pytest.approx(3 - 0.8 * 9 / 4)


def test_a_side_that_is_masked_whole_counts_for_nothing_and_breaks_nothing():
    same = StepTokens(torch.tensor([1, 2, 1, 2]), torch.tensor([2.0, 2.0]).double(), torch.ones(1).double())
    mask = functools.partial(shared_prefix_mask, renormalise=True)
    assert float(step_loss_of_tokens(redi, [mask], same, LOGPS[:4])) == 0.0
    assert token_coefficients(redi, [mask], same, LOGPS[:4]).tolist() == [0, 0, 0, 0]


def test_divergence_window_fades_window_by_window_after_the_first_difference():
    found = divergence_window(CHOSEN, REJECTED, window=2, decay=0.5)
    assert found.chosen.tolist() == [1, 1, 1] and found.rejected.tolist() == [0, 0, 1, 1, 0.5, 0.5]
    assert divergence_window(CHOSEN, REJECTED, window=3, decay=0.0).rejected.tolist() == [0, 0, 1, 1, 1, 0]
    assert torch.equal(
        divergence_window(CHOSEN, REJECTED, decay=1.0).rejected, shared_prefix_mask(CHOSEN, REJECTED).rejected
    )
    # redi: (1 + 2 + 3)/3 + .8 * (-4 - .5 + .5 * (-.5 - 4)) / 6
    window = functools.partial(divergence_window, window=2, decay=0.5)
    assert loss(redi, window) == pytest.approx(2 - 0.8 * 6.75 / 6)


def test_negative_floor_spares_tokens_the_student_already_finds_unlikely():
    # probabilities of rejected: e^-1 .37, e^-2 .14, e^-4 .02, e^-.5 .61, .61, .02; floor .1
    found = negative_floor(CHOSEN, LOGPS[3:], min_probability=0.1)
    assert found.chosen.tolist() == [1, 1, 1] and found.rejected.tolist() == [1, 1, 0, 1, 1, 0]
    floor = functools.partial(negative_floor, min_probability=0.1)
    assert loss(redi, floor) == pytest.approx(2 - 0.8 * 4 / 6)
    # the weights are constants of the step: no gradient runs through the comparison
    found = token_coefficients(redi, [floor], one_pair(), LOGPS)
    assert found.tolist() == pytest.approx([1 / 3] * 3 + [-0.8 / 6 * w for w in (1, 1, 0, 1, 1, 0)])


def test_span_weights_multiply_the_tokens_they_cover():
    step = one_pair(span_weights=torch.tensor([1, 1, 2.0, 0.5, 1, 1, 1, 1, 0]).double())
    # redi: (1 + 2 + 6)/3 + .8 * (-.5 - 2 - 4 - .5 - .5 - 0) / 6
    assert loss(redi, span_weights, step=step) == pytest.approx(3 - 0.8 * 7.5 / 6)


def test_weights_of_several_modifiers_multiply_and_only_those_that_renormalise_change_the_length():
    step = one_pair(span_weights=torch.tensor([1, 1, 2.0, 0.5, 1, 1, 1, 1, 0]).double())
    mask = functools.partial(shared_prefix_mask, renormalise=True)
    # chosen: 2 * 3 over 1 token left; rejected: (4 + .5 + .5 + 0) over 4 tokens left
    assert loss(redi, mask, span_weights, step=step) == pytest.approx(6 - 0.8 * 5 / 4)


def test_token_weights_reach_the_reference_too():
    # the reference equals the student on the masked tokens alone: dpo with the mask is log 2, though elsewhere they differ
    reference = LOGPS.clone()
    reference[[0, 1, 3, 4]] -= 5.0
    step = one_pair(reference_logps=reference)
    assert loss(OBJECTIVES["dpo"], shared_prefix_mask, step=step) == pytest.approx(math.log(2))
    assert loss(OBJECTIVES["dpo"], step=step) == pytest.approx(math.log(2))  # 10 nats on both sides cancel
    assert loss(OBJECTIVES["nca"], shared_prefix_mask, step=step) == pytest.approx(2 * math.log(2))
    assert loss(OBJECTIVES["nca"], step=step) != pytest.approx(2 * math.log(2), abs=1e-4)


def test_aggregation_by_sequence_token_and_side():
    step, logps = two_pairs()
    found = {by: float(step_loss_of_tokens(functools.partial(redi, rejected_weight=0.5),
             [functools.partial(aggregation, by=by)], step, logps)) for by in ("sequence", "token", "balanced")}  # fmt: skip
    # sequence: every mean is 1: 1 - .5
    assert found["sequence"] == pytest.approx(0.5)
    # token: sums over the mean length (2 + 4 + 6 + 2) / 4 = 3.5: mean of (2 - .5 * 6) and (4 - .5 * 2), over 3.5
    assert found["token"] == pytest.approx((-1 + 3) / 2 / 3.5)
    # balanced: chosen over 3, rejected over 4: (2/3 - .5 * 6/4 + 4/3 - .5 * 2/4) / 2
    assert found["balanced"] == pytest.approx((2 / 3 - 0.75 + 4 / 3 - 0.25) / 2)


def test_aggregation_gives_every_token_of_the_step_the_same_coefficient():
    step, logps = two_pairs()
    found = token_coefficients(redi, [functools.partial(aggregation, by="token")], step, logps)
    assert found[[0, 1, 8, 9, 10, 11]].tolist() == pytest.approx([1 / 7] * 6)  # 1 / (2 pairs * 3.5 tokens)
    assert found[[2, 7, 12, 13]].tolist() == pytest.approx([-0.8 / 7] * 4)


def test_nll_anchor_adds_the_mean_nll_of_all_chosen_tokens():
    # 6/3 * .3 beside redi masked to its third chosen token
    assert nll_anchor(torch.tensor([-6.0]), torch.tensor([3.0]), alpha=0.5).tolist() == [1.0]
    anchor = functools.partial(nll_anchor, alpha=0.3)
    assert loss(redi, shared_prefix_mask, anchor) == pytest.approx(loss(redi, shared_prefix_mask) + 0.6)


def test_dpo_with_an_nll_anchor_is_irpo():
    step = one_pair(reference_logps=LOGPS - 0.1)
    anchored = loss(OBJECTIVES["dpo"], functools.partial(nll_anchor, alpha=0.7), step=step)
    assert anchored == pytest.approx(loss(functools.partial(OBJECTIVES["irpo"], alpha=0.7), step=step))


def test_an_anchor_is_a_mean_whatever_the_objective_weighs_a_row():
    # kto weighs a pair 2: the anchor adds alpha times the mean NLL all the same
    step = one_pair(reference_logps=LOGPS, reference_mismatched_logps=torch.zeros(1).double())
    found = step_loss_of_tokens(OBJECTIVES["kto"], [nll_anchor], step, LOGPS, torch.zeros(1).double())
    assert float(found) == pytest.approx(0.5 + 2.0)


@pytest.mark.parametrize("name", MODIFIERS)
def test_a_modifier_on_examples_is_refused(name):
    with pytest.raises(OperatorError, match=rf"train.x.modifiers: {name} works on pairs"):
        check_stage(sft, [MODIFIERS[name]], "train.x")


def test_a_length_that_the_objective_does_not_read_cannot_be_changed():
    with pytest.raises(OperatorError, match="aggregation changes the lengths"):
        check_stage(OBJECTIVES["dpo"], [aggregation], "train.x")
    with pytest.raises(OperatorError, match="shared-prefix-mask with renormalise"):
        check_stage(OBJECTIVES["dpo"], [functools.partial(shared_prefix_mask, renormalise=True)], "train.x")
    check_stage(OBJECTIVES["dpo"], [shared_prefix_mask, nll_anchor], "train.x")


def test_options_are_checked_when_a_recipe_is_read():
    with pytest.raises(OperatorError, match="window"):
        bind(MODIFIERS, Plugin(name="divergence-window", options={"window": 0}), "train.redi.modifiers.0")
    bound = bind(MODIFIERS, Plugin(name="divergence-window", options={"window": 4, "decay": "5e-1"}), "x")
    assert bound.keywords == {"window": 4, "decay": 0.5}
