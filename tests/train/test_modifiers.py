"""Every modifier by hand, and how several of them enter a step."""

import functools
import math

import pytest
import torch

from redistill.config.binding import bind
from redistill.config.tables import Plugin
from redistill.errors import OperatorError
from redistill.train import MODIFIERS, OBJECTIVES, check_stage
from redistill.train.coefficients import step_loss, token_coefficients
from redistill.train.modifiers import (
    aggregation,
    divergence_window,
    negative_floor,
    nll_anchor,
    shared_prefix_mask,
    span_weights,
)
from redistill.train.objectives import redi, sft

from .conftest import batch_of

# one pair: chosen "1 2 3", rejected "1 2 4 5 6 7": two tokens shared
CHOSEN, REJECTED = torch.tensor([1, 2, 3]), torch.tensor([1, 2, 4, 5, 6, 7])
LOGPS = torch.tensor([-1.0, -2.0, -3.0, -1.0, -2.0, -4.0, -0.5, -0.5, -4.0], dtype=torch.float64)


def one_pair(**more):
    ids = torch.cat([CHOSEN, REJECTED])
    return batch_of([3, 6], ["chosen", "rejected"], ids, logps=LOGPS, **more)


def loss(objective, *modifiers, step=None):
    return float(step_loss(objective, modifiers, step or one_pair()))


def two_pairs(row_weights=None):
    """Chosen of 2 and 4 tokens, rejected of 6 and 2, every token at -1 (so sums are minus the counts)."""
    sides = ["chosen", "rejected"] * 2
    return batch_of([2, 6, 4, 2], sides, logps=-torch.ones(14).double(), row_weights=row_weights)


def test_shared_prefix_mask_spares_what_both_sides_share():
    found = shared_prefix_mask(CHOSEN, REJECTED)
    assert found.chosen.tolist() == [0, 0, 1] and found.rejected.tolist() == [0, 0, 1, 1, 1, 1]
    # redi, |y| kept: 3/3 + .8 * (-4 - .5 - .5 - 4) / 6
    assert loss(redi, shared_prefix_mask) == pytest.approx(1 - 0.8 * 9 / 6)
    # renormalised: 3/1 + .8 * -9 / 4
    assert loss(redi, functools.partial(shared_prefix_mask, renormalise=True)) == pytest.approx(3 - 0.8 * 9 / 4)


def test_a_side_that_is_masked_whole_counts_for_nothing_and_breaks_nothing():
    same = batch_of([2, 2], ["chosen", "rejected"], torch.tensor([1, 2, 1, 2]), logps=LOGPS[:4])
    mask = functools.partial(shared_prefix_mask, renormalise=True)
    assert float(step_loss(redi, [mask], same)) == 0.0
    assert token_coefficients(redi, [mask], same).tolist() == [0, 0, 0, 0]


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
    found = token_coefficients(redi, [floor], one_pair())
    assert found.tolist() == pytest.approx([1 / 3] * 3 + [-0.8 / 6 * w for w in (1, 1, 0, 1, 1, 0)])


def test_span_weights_multiply_the_tokens_they_cover():
    step = one_pair(values={"weight": torch.tensor([1, 1, 2.0, 0.5, 1, 1, 1, 1, 0]).double()})
    # redi: (1 + 2 + 6)/3 + .8 * (-.5 - 2 - 4 - .5 - .5 - 0) / 6
    assert loss(redi, span_weights, step=step) == pytest.approx(3 - 0.8 * 7.5 / 6)


def test_weights_of_several_modifiers_multiply_and_only_those_that_renormalise_change_the_length():
    step = one_pair(values={"weight": torch.tensor([1, 1, 2.0, 0.5, 1, 1, 1, 1, 0]).double()})
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
    objective = functools.partial(redi, rejected_weight=0.5)
    found = {
        by: loss(objective, functools.partial(aggregation, by=by), step=two_pairs())
        for by in ("sequence", "token", "balanced")
    }
    # sequence: every mean is 1: 1 - .5
    assert found["sequence"] == pytest.approx(0.5)
    # token: sums over the mean length (2 + 4 + 6 + 2) / 4 = 3.5: mean of (2 - .5 * 6) and (4 - .5 * 2), over 3.5
    assert found["token"] == pytest.approx((-1 + 3) / 2 / 3.5)
    # balanced: chosen over 3, rejected over 4: (2/3 - .5 * 6/4 + 4/3 - .5 * 2/4) / 2
    assert found["balanced"] == pytest.approx((2 / 3 - 0.75 + 4 / 3 - 0.25) / 2)


def test_aggregation_gives_every_token_of_the_step_the_same_coefficient():
    found = token_coefficients(redi, [functools.partial(aggregation, by="token")], two_pairs())
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
    none = torch.zeros(1).double()
    step = one_pair(reference_logps=LOGPS, reference_mismatched_logps=none, mismatched_logps=none)
    assert loss(OBJECTIVES["kto"], nll_anchor, step=step) == pytest.approx(0.5 + 2.0)


def test_span_weights_work_on_examples():
    # two examples of 2 and 3 tokens; weights 1, 3 and .5, 1, 1; by token: (1 + 3*2 + .5*3 + 1 + 2) / 5
    values = {"weight": torch.tensor([1, 3, 0.5, 1, 1]).double()}
    step = batch_of([2, 3], ["single"] * 2, logps=LOGPS[:5], values=values)
    assert loss(sft, span_weights, step=step) == pytest.approx(11.5 / 5)
    by_sequence = functools.partial(sft, aggregation="sequence")
    assert loss(by_sequence, span_weights, step=step) == pytest.approx((7 / 2 + 4.5 / 3) / 2)
    # renormalised: each over the sum of its own weights, 4 and 2.5
    renormalised = functools.partial(span_weights, renormalise=True)
    assert loss(by_sequence, renormalised, step=step) == pytest.approx((7 / 4 + 4.5 / 2.5) / 2)
    assert loss(sft, renormalised, step=step) == pytest.approx(11.5 / 6.5)


def test_the_sign_of_a_token_weight_never_enters_a_length():
    # one example, weights +1, -1, +2, -2 on -1, -2, -3, -1: they sum to 0, their absolute values to 6
    values = {"weight": torch.tensor([1, -1, 2, -2]).double()}
    step = batch_of([4], ["single"], logps=LOGPS[:4], values=values)
    renormalised = functools.partial(span_weights, renormalise=True)
    for objective in (sft, functools.partial(sft, aggregation="sequence")):
        assert loss(objective, renormalised, step=step) == pytest.approx((1 - 2 + 6 - 2) / 6)
        assert token_coefficients(objective, [renormalised], step).tolist() == pytest.approx(
            [1 / 6, -1 / 6, 1 / 3, -1 / 3]
        )
    # of a pair: chosen (1 - 2 + 6) / 4, rejected -1 + 4 - 1 + .5 - 1.5 - 4 over 8.25
    pair = one_pair(values={"weight": torch.tensor([1, -1, 2, 1, -2, 0.25, -1, 3, 1]).double()})
    by_hand = 5 / 4 + 0.8 * (-1 + 4 - 1 + 0.5 - 1.5 - 4) / 8.25
    assert loss(redi, renormalised, step=pair) == pytest.approx(by_hand)


def test_the_sign_of_a_row_weight_never_enters_the_lengths_of_an_aggregation():
    # weights +1 and -1: mean lengths 3 and 4 as with +1 and +1; the second pair's loss is turned round
    step = two_pairs(torch.tensor([1.0, -1.0]).double())
    objective = functools.partial(redi, rejected_weight=0.5)
    by_hand = (2 / 3 - 0.5 * 6 / 4 - (4 / 3 - 0.5 * 2 / 4)) / 2
    assert loss(objective, functools.partial(aggregation, by="balanced"), step=step) == pytest.approx(by_hand)


@pytest.mark.parametrize(
    "name", [name for name in MODIFIERS if name not in ("span-weights", "token-credit", "kl", "entropy")]
)
def test_a_modifier_of_pairs_is_refused_on_examples(name):
    with pytest.raises(OperatorError, match=rf"train.x.modifiers: {name} works on pairs"):
        check_stage(sft, [MODIFIERS[name]], "train.x")
    check_stage(sft, [MODIFIERS["span-weights"]], "train.x")


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
