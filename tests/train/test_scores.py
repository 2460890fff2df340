"""Objectives of critics against numbers worked out by hand."""

import math

import pytest
import torch

from redistill.errors import OperatorError
from redistill.records import Example, Span
from redistill.train.coefficients import gradient_is_row_local, is_linear, step_loss, token_coefficients
from redistill.train.modifiers import check_modifiers, span_weights
from redistill.train.objectives import needs_scores, needs_values, outcome, process, sft
from redistill.train.objectives.scores import critic_figures

from .conftest import batch_of, encoded, tiny_student

NAN = math.nan
LOG2 = math.log(2)


def batch(counts, scores, targets):
    return batch_of(
        counts,
        ["single"] * len(counts),
        scores=torch.tensor(scores).double(),
        values={"target": torch.tensor(targets).double()},
    )


def loss(objective, *arguments):
    return float(step_loss(objective, (), batch(*arguments)))


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def test_the_objectives_of_scores_are_read_off_their_parameter_names():
    assert needs_scores(outcome) and needs_scores(process) and not needs_scores(sft)
    assert needs_values([process]) == {"target"} and not is_linear(outcome) and gradient_is_row_local(outcome, ())


def test_outcome_is_the_cross_entropy_of_the_mean_score():
    """Means 1 and -2, right and wrong: -log sigmoid(1) = .313262, -log(1 - sigmoid(-2)) = .126928; their mean is .220095."""
    found = loss(outcome, [3, 2], [1.0, 0.0, 2.0, -1.0, -3.0], [NAN, NAN, 1.0, NAN, 0.0])
    assert found == pytest.approx((-math.log(sigmoid(1)) - math.log(1 - sigmoid(-2))) / 2)
    assert found == pytest.approx(0.220095, abs=1e-6)


def test_a_head_of_zeros_costs_log_2_and_pulls_right_up_and_wrong_down_by_half_over_the_length():
    made = batch([3, 2], [0.0] * 5, [NAN, NAN, 1.0, NAN, 0.0])
    assert float(step_loss(outcome, (), made)) == pytest.approx(LOG2, abs=1e-15)
    # d loss / d score is (1/2 - label) / length, over two rows; the coefficient is its negative
    expected = torch.tensor([1 / 12] * 3 + [-1 / 8] * 2).double()
    assert torch.allclose(token_coefficients(outcome, (), made), expected, atol=1e-15)


def test_completions_that_share_an_opening_teach_nothing_about_it():
    """Equal lengths, one right and one wrong: the coefficients on the shared tokens cancel wherever their scores are equal."""
    made = batch([3, 3], [0.4, -0.7, 0.0, 0.4, -0.7, 0.0], [NAN, NAN, 1.0, NAN, NAN, 0.0])
    right, wrong = token_coefficients(outcome, (), made).split(3)
    mean = (0.4 - 0.7) / 3
    assert torch.allclose(right + wrong, torch.full((3,), (1 - 2 * sigmoid(mean)) / 6).double(), atol=1e-12)


def test_outcome_takes_scores_of_thousands_without_overflow():
    assert loss(outcome, [1, 1], [1000.0, 1000.0], [1.0, 0.0]) == pytest.approx(500.0)


def test_process_is_the_mean_over_steps_and_the_end_of_the_turn():
    """Row 1: steps .25 and 1 apart from sigmoid(0) = .5, end 0: mse (.0625 + .25) / 2 + .25 = .40625. Row 2: a step alone."""
    scores, targets = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.25, NAN, 1.0, 0.0, 0.5, NAN]
    halves = [4, 2], scores, targets
    assert float(step_loss(_mse(1.0), (), batch(*halves))) == pytest.approx(0.40625 / 2)
    assert float(step_loss(_mse(0.0), (), batch(*halves))) == pytest.approx(0.15625 / 2)
    assert loss(process, *halves) == pytest.approx((2 * LOG2 + LOG2) / 2)


def _mse(final_weight):
    import functools

    return functools.partial(process, loss="mse", final_weight=final_weight)


def test_soft_targets_have_their_least_cost_where_the_score_says_them():
    cost = [
        loss(process, [2], [s, 0.0], [0.3, NAN])
        for s in (math.log(3 / 7) - 0.1, math.log(3 / 7), math.log(3 / 7) + 0.1)
    ]
    assert cost[1] < min(cost[0], cost[2])


def test_rows_without_a_target_weigh_nothing():
    both = loss(process, [2, 2], [1.0, 0.0, 5.0, 5.0], [1.0, NAN, NAN, NAN])
    assert both == pytest.approx(-math.log(sigmoid(1)))
    assert loss(outcome, [1, 1], [1.0, 9.0], [1.0, NAN]) == pytest.approx(-math.log(sigmoid(1)))


def test_figures_of_a_critic_are_shares_of_completions_and_of_steps():
    """Means 1 (right, right), 1 (wrong), -2 (wrong, right): 2 of 3; steps: 3.0 for 1, -1.0 for 1, 2.0 for 0: 1 of 3."""
    made = batch([3, 2, 1], [3.0, -1.0, 1.0, 2.0, 0.0, -2.0], [1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    found = critic_figures(made)
    assert found == pytest.approx(
        {"accuracy": 2 / 3, "step_accuracy": 1 / 3, "right_score": 1.0, "wrong_score": (1 - 2) / 2}
    )
    assert critic_figures(batch([1], [1.0], [NAN]))["accuracy"] is None


def test_a_target_of_a_half_counts_as_wrong_and_a_score_of_0_says_wrong():
    made = batch(
        [2, 2], [0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]
    )  # a step and the end of the turn each, means 0 and .5
    assert critic_figures(made) == {"accuracy": 1.0, "step_accuracy": 1.0, "right_score": 0.5, "wrong_score": 0.0}


def test_spans_become_targets_on_the_last_token_of_each_step(tmp_path):
    tokenizer = tiny_student()[1]
    row = Example("p", "t", "1+1=", "1+1;2=", spans=(Span(0, 4, 0.5), Span(4, 6, 0.0), Span(6, 7, 1.0)))
    bare = Example("p", "u", "1+1=", "22")
    outside = Example("p", "v", "1+1=", "22", spans=(Span(1, 4, 1.0),))
    rows = encoded(tmp_path, [row, bare, outside], tokenizer, spans="target")
    assert rows.ids == ["t"]
    expected = [NAN, NAN, NAN, 0.5, NAN, 0.0, 1.0]
    assert torch.equal(torch.tensor(rows.values["target"]).nan_to_num(-1), torch.tensor(expected).nan_to_num(-1))


def test_modifiers_of_log_probs_are_refused():
    with pytest.raises(OperatorError, match="span-weights works on log-probs, and outcome is of scores"):
        check_modifiers(outcome, [span_weights], "train.orm")
