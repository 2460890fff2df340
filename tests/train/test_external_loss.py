"""Our objectives answer by answer, as another trainer asks for them: the sum over a step has the gradient of our own step."""

import functools

import pytest
import torch

from redistill.train.advantages import group, mean
from redistill.train.coefficients import step_loss
from redistill.train.external_loss import (
    answer_losses,
    divides_by,
    is_separable,
    kind_of,
    objective_of,
    pair_losses,
    step_advantages,
)
from redistill.train.objectives import OBJECTIVES

from .conftest import batch_of

DOUBLE = {"dtype": torch.float64}
SEPARABLE = {"redi", "symmetric", "redi_bounded", "unlikelihood", "asymre", "topr", "nca"}
COUNTS = [3, 1, 4, 2, 5, 3, 2, 4]
GROUPS = ["a"] * 4 + ["b"] * 4
REWARDS = torch.tensor([1.0, 0.0, 0.0, float("nan"), 1.0, 1.0, 0.0, 1.0], **DOUBLE)
PAIRS = [(0, 1), (0, 2), (4, 6), (5, 6), (7, 6)]  # every right answer of a problem with every wrong one


def drawn(seed=0):
    """Log-probs of each answer under the student (leaves) and under the policy that sampled it."""
    draw = torch.Generator().manual_seed(seed)
    own = [(-2 * torch.rand(count, generator=draw, **DOUBLE)).requires_grad_(True) for count in COUNTS]
    return own, [-2 * torch.rand(count, generator=draw, **DOUBLE) for count in COUNTS]


def gradients(loss, leaves):
    found = torch.autograd.grad(loss, leaves, allow_unused=True)
    return [torch.zeros_like(leaf) if g is None else g for g, leaf in zip(found, leaves)]


def as_a_trainer(objective, own, behaviour, advantages, sizes=(3, 5)):
    """The loss of a step, micro-batch by micro-batch, as verl divides it."""
    what, weight = divides_by(objective)
    total = len(own) if what == "rows" else sum(COUNTS)
    parts, start = [], 0
    for size in sizes:
        here = slice(start, start + size)
        each = [a.expand(len(o)) for a, o in zip(advantages[here], own[here])]
        parts.append(answer_losses(objective, own[here], each, behaviour[here]).losses.sum() / weight / total)
        start += size
    return sum(parts)


def test_which_objectives_can_be_handed_over_answer_by_answer():
    pairs = {name for name, function in OBJECTIVES.items() if kind_of(function) == "pairs"}
    assert {name for name in pairs if is_separable(OBJECTIVES[name])} == SEPARABLE
    assert divides_by(OBJECTIVES["redi"]) == ("rows", 1.0) and divides_by(OBJECTIVES["topr"]) == ("rows", 2.0)
    assert divides_by(OBJECTIVES["sft"]) == ("tokens", 1.0)
    assert divides_by(functools.partial(OBJECTIVES["grpo"], per="token")) == ("tokens", 1.0)


@pytest.mark.parametrize("name", sorted(SEPARABLE))
def test_answers_one_by_one_have_the_gradient_of_all_pairs_in_our_step(name):
    objective = OBJECTIVES[name]
    own, behaviour = drawn()
    advantages = step_advantages(objective, REWARDS, GROUPS, torch.tensor(COUNTS), None)
    assert advantages[3] == 0
    theirs = gradients(as_a_trainer(objective, own, behaviour, advantages), own)
    sides = [side for pair in PAIRS for side in pair]
    batch = batch_of(
        [COUNTS[n] for n in sides],
        ["chosen", "rejected"] * len(PAIRS),
        logps=torch.cat([own[n] for n in sides]),
        reference_logps=torch.cat([behaviour[n] for n in sides]),
    )
    ours = gradients(step_loss(objective, [], batch), own)
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.allclose(mine, other, rtol=0, atol=1e-14)
    assert any(float(g.abs().max()) > 1e-3 for g in theirs)


def test_redi_by_hand():
    # two answers, one right of 2 tokens and one wrong of 4: -1/2 on each of the right one's, +0.8/4 on the wrong one's
    own = [torch.full((2,), -1.0, **DOUBLE, requires_grad=True), torch.full((4,), -0.5, **DOUBLE, requires_grad=True)]
    objective = objective_of("redi", {"rejected_weight": 0.8})
    advantages = step_advantages(objective, torch.tensor([1.0, 0.0]), ["a", "a"], torch.tensor([2, 4]), None)
    assert advantages.tolist() == [
        2.0,
        -2.0,
    ]  # one pair, two rows: each term counts once after the division by the rows
    each = [a.expand(len(o)) for a, o in zip(advantages, own)]
    found = gradients(answer_losses(objective, own, each).losses.sum() / 2, own)
    assert found[0].tolist() == pytest.approx([-0.5] * 2) and found[1].tolist() == pytest.approx([0.2] * 4)


@pytest.mark.parametrize("name", ["reinforce", "grpo"])
@pytest.mark.parametrize("options", [{}, {"per": "token"}, {"per": "constant", "length": 7}])
def test_objectives_of_advantages_are_our_step_on_the_answers_whose_reward_is_known(name, options):
    objective = functools.partial(OBJECTIVES[name], **options)
    own, behaviour = drawn(1)
    advantages = step_advantages(objective, REWARDS, GROUPS, torch.tensor(COUNTS), group)
    theirs = gradients(as_a_trainer(objective, own, behaviour, advantages), own)
    known = [n for n in range(8) if n != 3]
    values = torch.cat([_by_hand(n).expand(COUNTS[n]) for n in known])
    batch = batch_of(
        [COUNTS[n] for n in known],
        ["single"] * 7,
        logps=torch.cat([own[n] for n in known]),
        behaviour_logps=torch.cat([behaviour[n] for n in known]),
        values={"advantage": values},
    )
    ours = gradients(step_loss(objective, [], batch), own)
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.allclose(mine, other, rtol=0, atol=1e-12)
    assert float(theirs[3].abs().max()) == 0


def _by_hand(n):
    """GRPO's advantage of an answer, from the known rewards of its problem."""
    mine = [float(r) for r, g in zip(REWARDS, GROUPS) if g == GROUPS[n] and r == r]
    average = sum(mine) / len(mine)
    spread = (sum((r - average) ** 2 for r in mine) / (len(mine) - 1)) ** 0.5
    return torch.tensor((float(REWARDS[n]) - average) / (spread + 1e-4), **DOUBLE)


@pytest.mark.parametrize("options", [{}, {"aggregation": "sequence"}])
def test_likelihood_alone_takes_the_right_answers(options):
    objective = functools.partial(OBJECTIVES["sft"], **options)
    own, behaviour = drawn(2)
    advantages = step_advantages(objective, REWARDS, GROUPS, torch.tensor(COUNTS), None)
    theirs = gradients(as_a_trainer(objective, own, behaviour, advantages), own)
    right = [0, 4, 5, 7]
    if options:
        by_hand = [torch.full((COUNTS[n],), -1 / COUNTS[n] / 4 if n in right else 0.0, **DOUBLE) for n in range(8)]
    else:
        by_hand = [torch.full((COUNTS[n],), -1 / (3 + 5 + 3 + 4) if n in right else 0.0, **DOUBLE) for n in range(8)]
    for mine, other in zip(by_hand, theirs, strict=True):
        assert torch.allclose(mine, other, rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", ["dpo", "simpo", "redi", "topr", "orpo", "nca"])
def test_whole_pairs_are_our_step(name):
    objective = OBJECTIVES[name]
    own, reference = drawn(3)
    chosen, rejected = [0, 4, 5], [1, 6, 6]
    found = pair_losses(
        objective, *([own[n] for n in side] for side in (chosen, rejected)),
        *([reference[n] for n in side] for side in (chosen, rejected)),
    )  # fmt: skip
    theirs = gradients(found.losses.sum() / found.weights.sum(), own)
    sides = [n for pair in zip(chosen, rejected) for n in pair]
    batch = batch_of(
        [COUNTS[n] for n in sides], ["chosen", "rejected"] * 3,
        logps=torch.cat([own[n] for n in sides]), reference_logps=torch.cat([reference[n] for n in sides]),
    )  # fmt: skip
    for mine, other in zip(gradients(step_loss(objective, [], batch), own), theirs, strict=True):
        assert torch.allclose(mine, other, rtol=0, atol=1e-14)


def test_a_round_in_which_nothing_can_be_compared_moves_nothing():
    for objective, advantage in ((OBJECTIVES["redi"], None), (OBJECTIVES["grpo"], mean)):
        for rewards in ([1.0, 1.0], [float("nan")] * 2, [float("nan"), 1.0]):
            found = step_advantages(objective, torch.tensor(rewards), ["a", "a"], torch.tensor([2, 3]), advantage)
            assert found.tolist() == [0.0, 0.0]
    own = [torch.full((2,), -1.0, **DOUBLE, requires_grad=True)]
    (gradient,) = gradients(answer_losses(OBJECTIVES["redi"], own, [torch.zeros(2)]).losses.sum(), own)
    assert gradient.tolist() == [0.0, 0.0]
