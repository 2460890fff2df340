"""Every objective against arithmetic done by hand, and the limits that the papers claim."""

import functools
import math

import pytest
import torch

from redistill.train.objectives import (
    OBJECTIVES,
    is_linear,
    needs_pairs,
    redi,
    sequence_coefficients,
    sft,
    simpo,
    step_loss,
    symmetric,
)

# two pairs: chosen -6 over 3 tokens (mean -2) and -4 over 4 (-1); rejected -10 over 5 (-2) and -6 over 2 (-3)
CHOSEN, CHOSEN_TOKENS = torch.tensor([-6.0, -4.0], dtype=torch.float64), torch.tensor([3.0, 4.0], dtype=torch.float64)
REJECTED, REJECTED_TOKENS = (
    torch.tensor([-10.0, -6.0], dtype=torch.float64),
    torch.tensor([5.0, 2.0], dtype=torch.float64),
)
PAIRS = (CHOSEN, REJECTED, CHOSEN_TOKENS, REJECTED_TOKENS)
LOGPS = torch.tensor([-6.0, -10.0, -4.0, -6.0], dtype=torch.float64)  # as the step holds them: chosen, rejected, ...
TOKENS = torch.tensor([3.0, 5.0, 4.0, 2.0], dtype=torch.float64)
ONES = torch.ones(2, dtype=torch.float64)


def mean(found):
    return float(found.losses.sum() / found.weights.sum())


def test_redi_is_mean_chosen_loss_plus_weighted_mean_rejected_logp():
    # pair 1: 2 + .8 * -2 = .4; pair 2: 1 + .8 * -3 = -1.4; mean -.5
    assert mean(redi(*PAIRS, rejected_weight=0.8)) == pytest.approx(-0.5, abs=1e-12)


def test_redi_at_weight_zero_is_sequence_averaged_sft_on_chosen():
    assert mean(redi(*PAIRS, rejected_weight=0.0)) == mean(sft(CHOSEN, CHOSEN_TOKENS, aggregation="sequence")) == 1.5


def test_symmetric_is_redi_at_weight_one():
    # pair 1: 2 - 2 = 0; pair 2: 1 - 3 = -2; mean -1
    assert mean(symmetric(*PAIRS)) == mean(redi(*PAIRS, rejected_weight=1.0)) == -1.0


def test_sft_by_token_divides_by_all_tokens_of_the_step():
    # (6 + 4) / (3 + 4), where by sequence it is (2 + 1) / 2
    assert mean(sft(CHOSEN, CHOSEN_TOKENS)) == pytest.approx(10 / 7, abs=1e-12)


def test_simpo_by_hand_uses_gamma_itself():
    # margins 0 and 2; -log sigmoid(2 m - 1): log(1 + e^1) and log(1 + e^-3)
    by_hand = (math.log1p(math.e) + math.log1p(math.exp(-3))) / 2
    assert mean(simpo(*PAIRS, beta=2.0, gamma=1.0)) == pytest.approx(by_hand, abs=1e-12)


def test_simpo_turns_into_symmetric_as_beta_goes_to_zero():
    # d/dm of -log sigmoid(beta m - gamma) -> -beta sigmoid(gamma): every pair alike, the direction of symmetric
    small = sequence_coefficients(functools.partial(simpo, beta=1e-7, gamma=0.0), LOGPS, TOKENS, ONES)
    flat = sequence_coefficients(symmetric, LOGPS, TOKENS, ONES)
    assert torch.allclose(small / small.norm(), flat / flat.norm(), atol=1e-6)


def test_redi_coefficients_are_one_over_length_with_sign():
    # d loss / d(-logp) over 2 pairs: 1/(2*3), -.8/(2*5), 1/(2*4), -.8/(2*2)
    found = sequence_coefficients(functools.partial(redi, rejected_weight=0.8), LOGPS, TOKENS, ONES)
    assert found.tolist() == pytest.approx([1 / 6, -0.08, 1 / 8, -0.2], abs=1e-12)


def test_a_pair_of_weight_zero_counts_for_nothing():
    only_first = torch.tensor([1.0, 0.0], dtype=torch.float64)
    # pair 1 alone: 2 + .8 * -2 = .4
    assert float(step_loss(redi, LOGPS, TOKENS, only_first)) == pytest.approx(0.4, abs=1e-12)
    assert sequence_coefficients(redi, LOGPS, TOKENS, only_first)[2:].tolist() == [0.0, 0.0]


def test_linearity_is_found_not_declared():
    assert {name for name, f in OBJECTIVES.items() if is_linear(f)} == {"sft", "redi", "symmetric"}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_is_lowered_by_raising_what_it_should_raise(name):
    """The contract of the registry: finite, one loss and weight a row, and a positive coefficient on right traces."""
    objective = OBJECTIVES[name]
    rows = 2 if needs_pairs(objective) else 4
    weights = torch.ones(rows, dtype=torch.float64)
    assert torch.isfinite(step_loss(objective, LOGPS, TOKENS, weights))
    coefficients = sequence_coefficients(objective, LOGPS, TOKENS, weights)
    raised = coefficients[0::2] if needs_pairs(objective) else coefficients
    assert (raised > 0).all()
    if needs_pairs(objective):
        assert (coefficients[1::2] < 0).all()
