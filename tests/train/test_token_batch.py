"""The named record of a step: looked up by side and row, never by position; objectives of every kind called by name."""

import dataclasses
import functools
import math

import pytest
import torch

from redistill.errors import OperatorError
from redistill.records import Example, Pair
from redistill.train import MODIFIERS, OBJECTIVES
from redistill.train.coefficients import gradient_is_row_local, is_linear, step_loss, token_coefficients
from redistill.train.objectives import Losses, Ragged, needs_pairs, needs_scores, needs_values, sft
from redistill.train.step import token_batch
from redistill.train.token_batch import Side

from .conftest import batch_of, encoded, tiny_student

LOGPS = -torch.linspace(0.1, 1.6, 16, dtype=torch.float64)


def three_pairs():
    draw = torch.Generator().manual_seed(0)
    return batch_of(
        [3, 2, 1, 4, 2, 4],
        ["chosen", "rejected"] * 3,
        torch.randint(0, 3, (16,), generator=draw),
        row_weights=torch.tensor([1.0, 2.0, 0.5]).double(),
        logps=LOGPS,
        reference_logps=LOGPS.flip(0),
        values={"weight": torch.rand(16, generator=draw).double()},
        mismatched_logps=torch.tensor([-3.0, -4.0, -5.0]).double(),
        reference_mismatched_logps=torch.tensor([-4.0, -4.0, -6.0]).double(),
    )


def shuffled(batch, order):
    """The same batch with its sequences in another order."""
    sizes = batch.counts.long().tolist()

    def by_token(tensor):
        return None if tensor is None else torch.cat([tensor.split(sizes)[n] for n in order])

    moved = {name: by_token(getattr(batch, name)) for name in ("ids", "logps", "reference_logps")}
    moved |= {name: getattr(batch, name)[order] for name in ("counts", "row", "side", "group")}
    values = {name: by_token(tensor) for name, tensor in batch.values.items()}
    return dataclasses.replace(batch, values=values, **moved), by_token


@pytest.mark.parametrize("name", [name for name, objective in OBJECTIVES.items() if needs_pairs(objective)])
def test_a_step_does_not_depend_on_where_its_sequences_lie(name):
    """Rejected before chosen, rows mixed: the loss and every token's coefficient are the same, under modifiers too."""
    batch, objective = three_pairs(), OBJECTIVES[name]
    other, by_token = shuffled(batch, [3, 0, 5, 4, 2, 1])
    modifiers = [MODIFIERS[m] for m in ("shared-prefix-mask", "divergence-window", "span-weights", "nll-anchor")]
    for chosen in ([], modifiers):
        assert float(step_loss(objective, chosen, other)) == pytest.approx(
            float(step_loss(objective, chosen, batch)), rel=1e-12
        )
        expected = by_token(token_coefficients(objective, chosen, batch))
        assert token_coefficients(objective, chosen, other).tolist() == pytest.approx(expected.tolist(), abs=1e-14)


def test_sequences_are_found_by_side_and_row():
    other, _ = shuffled(three_pairs(), [3, 0, 5, 4, 2, 1])
    # rows 1 0 2 2 1 0, sides r c r c c r
    assert other.of(Side.chosen).tolist() == [1, 4, 3] and other.of(Side.rejected).tolist() == [5, 0, 2]
    assert other.of(Side.single).tolist() == []
    assert other.sequence.tolist() == [0] * 4 + [1] * 3 + [2] * 4 + [3] * 2 + [4] + [5] * 2


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"logps": LOGPS[:3]}, r"logps has shape \(3,\), not \(16,\)"),
        ({"side": torch.zeros(5).long()}, r"side has shape \(5,\), not \(6,\)"),
        ({"mismatched_logps": LOGPS}, r"mismatched_logps has shape \(16,\), not \(3,\)"),
        ({"ids": torch.zeros(15).long()}, "counts of 16 tokens, but 15 ids"),
        ({"values": {"weight": LOGPS[:3]}}, r"weight has shape \(3,\), not \(16,\)"),
        ({"values": {"wieght": LOGPS}}, "no token value is called 'wieght'"),
    ],
)
def test_a_batch_whose_parts_do_not_fit_is_refused(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        dataclasses.replace(three_pairs(), **changes)


# --- the divisor --------------------------------------------------------------------------------------------------


def test_signed_row_weights_are_divided_by_their_absolute_values():
    """Weights +1, +1, -1, -1, whose sum is not a divisor; by hand, four rows of 1, 2, 3 and 1 tokens at -1, -2, ... -7."""
    logps = -torch.arange(1.0, 8.0).double()
    weights = torch.tensor([1.0, 1.0, -1.0, -1.0]).double()
    batch = batch_of([1, 2, 3, 1], ["single"] * 4, row_weights=weights, logps=logps)
    # sums 1, 5, 15, 7. By token: (1 + 5 - 15 - 7) / 7; by sequence: (1 + 5/2 - 15/3 - 7) / 4
    assert float(step_loss(sft, [], batch)) == pytest.approx(-16 / 7, abs=1e-15)
    assert token_coefficients(sft, [], batch).tolist() == pytest.approx([1 / 7] * 3 + [-1 / 7] * 4, abs=1e-15)
    by_sequence = functools.partial(sft, aggregation="sequence")
    assert float(step_loss(by_sequence, [], batch)) == pytest.approx(-8.5 / 4, abs=1e-15)
    by_hand = [1 / 4, 1 / 8, 1 / 8, -1 / 12, -1 / 12, -1 / 12, -1 / 4]
    assert token_coefficients(by_sequence, [], batch).tolist() == pytest.approx(by_hand, abs=1e-15)


def test_a_signed_weight_that_an_objective_returns_is_no_divisor_either():
    def signed(logps, tokens):
        return Losses(-logps, torch.tensor([1.0, 1.0, -1.0, -1.0]).double())

    batch = batch_of([1] * 4, ["single"] * 4, logps=-torch.arange(1.0, 5.0).double())
    assert float(step_loss(signed, [], batch)) == pytest.approx(10 / 4, abs=1e-15)


# --- objectives to come, each one function, by parameter name ----------------------------------------------------


def reinforce(token_logps: Ragged, advantages: Ragged, tokens) -> Losses:
    gains = token_logps.sum_by_row(advantages.values * token_logps.values, len(tokens))
    return Losses(-gains / tokens, torch.ones_like(tokens))


def grpo(token_logps: Ragged, advantages: Ragged, behaviour_token_logps: Ragged, tokens, *, clip=0.2) -> Losses:
    ratio = (token_logps.values - behaviour_token_logps.values).exp()
    kept = torch.minimum(ratio * advantages.values, ratio.clamp(1 - clip, 1 + clip) * advantages.values)
    return Losses(-token_logps.sum_by_row(kept, len(tokens)) / tokens, torch.ones_like(tokens))


def process(scores: Ragged, targets: Ragged, tokens) -> Losses:
    known = ~targets.values.isnan()
    wanted = torch.where(known, targets.values, 0.0)
    losses = torch.nn.functional.binary_cross_entropy_with_logits(scores.values, wanted, reduction="none")
    count = scores.sum_by_row(known.double(), len(tokens))
    return Losses(scores.sum_by_row(torch.where(known, losses, 0.0), len(tokens)), count)


def by_group(logps, groups) -> Losses:
    sums = logps.new_zeros(int(groups.max()) + 1).index_add(0, groups, logps)
    return Losses(-logps.exp() * sums[groups].detach(), torch.ones_like(logps))


def two_samples(**more):
    """Two completions of 2 and 3 tokens of one problem."""
    return batch_of([2, 3], ["single"] * 2, logps=-torch.tensor([1.0, 2.0, 0.5, 1.0, 3.0]).double(), **more)


def test_a_policy_gradient_with_signed_advantages_divides_by_rows():
    advantages = torch.tensor([1.0, 1.0, -1.0, -1.0, -1.0]).double()
    batch = two_samples(values={"advantage": advantages})
    # (1 + 2) / 2 and -(0.5 + 1 + 3) / 3, over two rows
    assert float(step_loss(reinforce, [], batch)) == pytest.approx((1.5 - 1.5) / 2, abs=1e-15)
    found = token_coefficients(reinforce, [], batch)
    assert found.tolist() == pytest.approx([1 / 4] * 2 + [-1 / 6] * 3, abs=1e-15)
    assert is_linear(reinforce) and needs_values([reinforce, sft]) == {"advantage"} and not needs_pairs(reinforce)


def test_a_clipped_policy_gradient_reads_the_log_probs_that_sampled():
    # ratios e^0, e^0.5 (over 1.2, advantage +: cut, no gradient); e^0.5, e^-0.5 (under .8, advantage -: cut), e^0
    behaviour = -torch.tensor([1.0, 2.5, 1.0, 0.5, 3.0]).double()
    advantages = torch.tensor([2.0, 2.0, -1.0, -1.0, -1.0]).double()
    batch = two_samples(values={"advantage": advantages}, behaviour_logps=behaviour)
    by_hand = (-(2 + 2.4) / 2 + (math.exp(0.5) + 0.8 + 1) / 3) / 2
    assert float(step_loss(grpo, [], batch)) == pytest.approx(by_hand, abs=1e-15)
    found = token_coefficients(grpo, [], batch)
    assert found.tolist() == pytest.approx([2 / 4, 0, -math.exp(0.5) / 6, 0, -1 / 6], abs=1e-15)
    assert not is_linear(grpo) and gradient_is_row_local(grpo, ())
    # with the sampling policy as the student, the gradient is that of reinforce
    own = dataclasses.replace(batch, behaviour_logps=batch.logps)
    expected = token_coefficients(reinforce, [], own).tolist()
    assert token_coefficients(grpo, [], own).tolist() == pytest.approx(expected, abs=1e-15)


def test_an_objective_of_scores_is_differentiated_by_the_scores():
    nan = math.nan
    targets = torch.tensor([nan, 1.0, nan, 0.0, 1.0]).double()
    batch = two_samples(
        values={"target": targets}, scores=torch.tensor([9.0, 0.0, 9.0, math.log(3), -math.log(3)], dtype=torch.float64)
    )
    # three labelled tokens: log 2, -log(1 - 3/4), -log(1/4)
    assert float(step_loss(process, [], batch)) == pytest.approx((math.log(2) + 2 * math.log(4)) / 3, abs=1e-15)
    found = token_coefficients(process, [], batch)  # target - sigmoid, over 3
    assert found.tolist() == pytest.approx([0, 0.5 / 3, 0, -0.75 / 3, 0.75 / 3], abs=1e-15)
    assert needs_scores(process) and not needs_scores(grpo) and not is_linear(process)


def test_an_objective_that_looks_across_a_problem_is_not_taken_for_row_local():
    assert not gradient_is_row_local(by_group, ())


def test_a_name_that_no_step_has_is_one_sentence():
    def typo(logps, chosen_tokns):
        return Losses(-logps, logps)

    with pytest.raises(
        OperatorError, match="typo asks for 'chosen_tokns', which a training step does not have; it has logps, "
    ):
        is_linear(typo)
    with pytest.raises(OperatorError, match="grpo asks for 'advantages', which these rows do not have"):
        step_loss(grpo, [], two_samples(behaviour_logps=-torch.ones(5).double()))


# --- from rows ----------------------------------------------------------------------------------------------------


def test_a_batch_of_examples_has_their_weights_values_and_problems(tmp_path):
    examples = [
        Example("p", "a", "1+1=", "22", weight=0.5),
        Example("q", "b", "1+1=", "333", weight=-2.0, spans=((1, 3, 0.25),)),
        Example("p", "c", "1+1=", "4"),
    ]
    rows = encoded(tmp_path, examples, tiny_student()[1])
    batch = token_batch(rows, [2, 1], {"weight"})
    assert batch.row_weights.tolist() == [1.0, -2.0] and batch.counts.tolist() == [2, 4]  # the end of turn included
    assert batch.values["weight"].tolist() == [1, 1, 1, 0.25, 0.25, 1]
    assert batch.side.tolist() == [Side.single] * 2 and batch.row.tolist() == [0, 1]
    assert token_batch(rows, [0, 1, 2], set()).group.tolist() == [0, 1, 0]
    assert token_batch(rows, [0], set()).values == {}


def test_a_batch_of_pairs_names_its_sides(tmp_path):
    pairs = [
        Pair("p", "1", "22", "3", "a", "b"),
        Pair("p", "1", "2", "333", "c", "d"),
        Pair("q", "2", "2", "3", "e", "f"),
    ]
    rows = encoded(tmp_path, pairs, tiny_student()[1])
    batch = token_batch(rows, [2, 1], set())
    assert batch.counts[batch.of(Side.chosen)].tolist() == [2, 2]
    assert batch.counts[batch.of(Side.rejected)].tolist() == [2, 4]
    assert batch.row.tolist() == [0, 0, 1, 1] and batch.group.tolist() == [1, 1, 0, 0]
