"""From a step's token log-probs to its loss, and back to one coefficient a token. Pure fp64 functions.

    loss = step_loss(objective, modifiers, batch)
    coefficients = token_coefficients(objective, modifiers, batch)      -d loss / d token log-prob, (T,)

Modifiers weigh the tokens, weighted sums make sequence log-probs, the objective makes row losses of those. T completion
tokens, S sequences and R rows as in TokenBatch.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from redistill.errors import OperatorError
from redistill.train.modifiers import Modifier, adds_loss, weighs_tokens
from redistill.train.objectives import (
    Objective,
    arguments,
    inputs_of,
    name_of,
    needs_mismatched,
    needs_pairs,
    needs_scores,
    needs_values,
    row_losses,
)
from redistill.train.token_batch import VALUES, Side, TokenBatch


def token_weights(modifiers: Sequence[Modifier], batch: TokenBatch) -> tuple[Tensor, Tensor]:
    """(weights, shares), (T,) each: what multiplies each token's log-prob, and what each token adds to |y|.

    The weights are the product of all modifiers', the shares that of the absolute values of those that renormalise: a
    signed weight never enters a divisor.
    """
    weights, shares = torch.ones_like(batch.ids, dtype=torch.float64), torch.ones_like(batch.ids, dtype=torch.float64)
    weighing = [m for m in modifiers if weighs_tokens(m)]
    if not weighing:
        return weights, shares
    sizes = batch.counts.long().tolist()
    offered: dict[str, Sequence[Any]] = {"ids": batch.ids.split(sizes)}
    if batch.logps is not None:
        offered["token_logps"] = batch.logps.detach().split(sizes)
    if "weight" in batch.values:
        offered["weights"] = batch.values["weight"].split(sizes)
    if "critic_score" in batch.values:
        offered["critic_scores"] = batch.values["critic_score"].split(sizes)
    offered["side"] = _sides(batch)
    weight_of, share_of = weights.split(sizes), shares.split(sizes)  # views: written in place below
    for modifier in weighing:
        for sequences in _sequences_together(modifier, batch):
            known = {f"{side}{name}": parts[n] for side, n in sequences.items() for name, parts in offered.items()}
            returned = modifier(**{name: known[name] for name in inputs_of(modifier)})
            for factor, n in zip(returned.factors, sequences.values(), strict=True):
                weight_of[n].mul_(factor)
                if returned.renormalise:
                    share_of[n].mul_(factor.abs())
    return weights, shares


def _sides(batch: TokenBatch) -> list[Side]:
    """What each sequence is to a modifier: an answer that is to be lowered, its advantages below 0, counts as rejected."""
    sides = [Side(side) for side in batch.side.tolist()]
    if "advantage" not in batch.values:
        return sides
    sums = batch.by_sequence(batch.values["advantage"]).tolist()
    return [
        Side.rejected if side == Side.single and total < 0 else side for side, total in zip(sides, sums, strict=True)
    ]


def _sequences_together(modifier: Modifier, batch: TokenBatch) -> list[dict[str, int]]:
    """What the modifier is called on, one after another: {prefix of the parameter names: number of the sequence}."""
    if not needs_pairs(modifier):
        return [{"": n} for n in range(len(batch.counts))]
    sides = zip(batch.of(Side.chosen).tolist(), batch.of(Side.rejected).tolist(), strict=True)
    return [{"chosen_": chosen, "rejected_": rejected} for chosen, rejected in sides]


def step_loss(objective: Objective, modifiers: Sequence[Modifier], batch: TokenBatch) -> Tensor:
    """The loss of one optimizer step, a scalar: sum(row weight * loss) / sum(|row weight| * |weight|).

    Differentiable in batch.logps (or, for objectives of scores, batch.scores). Signs are left out of the divisor: rows of
    weight +1, +1, -1, -1 are four rows, where their sum would be none at all.
    """
    weights, shares = token_weights(modifiers, batch)
    tokens = batch.by_sequence(shares)
    tokens = torch.where(tokens > 0, tokens, 1.0)
    chosen, rejected = batch.of(Side.chosen), batch.of(Side.rejected)
    for modifier in modifiers:
        if not weighs_tokens(modifier) and not adds_loss(modifier):
            sides = modifier(
                chosen_tokens=tokens[chosen], rejected_tokens=tokens[rejected], row_weights=batch.row_weights.abs()
            )
            tokens = tokens.index_copy(0, chosen, sides[0]).index_copy(0, rejected, sides[1])
    losses, divisors = row_losses(objective, batch, weights, tokens)
    for modifier in modifiers:
        if adds_loss(modifier):
            plain = arguments(modifier, batch, torch.ones_like(weights), batch.counts)  # whatever else is masked
            losses = losses + divisors * modifier(**plain)
    return (batch.row_weights * losses).sum() / (batch.row_weights.abs() * divisors.abs()).sum()


def token_coefficients(objective: Objective, modifiers: Sequence[Modifier], batch: TokenBatch) -> Tensor:
    """-d(step loss)/d(token log-probs), (T,): what each token's -logp is multiplied by in the backward pass. Of an
    objective of scores the same with respect to the scores."""
    return all_coefficients(objective, modifiers, batch)[0]


def all_coefficients(
    objective: Objective, modifiers: Sequence[Modifier], batch: TokenBatch
) -> tuple[Tensor, dict[str, Tensor]]:
    """(`token_coefficients` (T,), and d(step loss)/d(value) (T,) of each of the batch's measures)."""
    name = "scores" if needs_scores(objective) else "logps"
    leaf = getattr(batch, name).detach().double().requires_grad_(True)
    measures = {key: values.detach().double().requires_grad_(True) for key, values in batch.measures.items()}
    loss = step_loss(objective, modifiers, dataclasses.replace(batch, **{name: leaf}, measures=measures))
    # what a loss does not read, such as log-probs where it is of divergences alone, has a gradient of zero
    gradients = torch.autograd.grad(loss, [leaf, *measures.values()], allow_unused=True, materialize_grads=True)
    return -gradients[0], dict(zip(measures, gradients[1:], strict=True))


# --- what kind of gradient an objective has, found by asking it -------------------------------------------------


@functools.lru_cache(maxsize=8)
def is_linear(objective: Objective) -> bool:
    """True when the gradient does not depend on the log-probs, so one pass over the student is enough.

    Found by asking the objective at points of every scale that log-probs come in, so there is no flag to forget. One that
    asks for mismatched log-probs needs the first pass in any case.
    """
    if needs_mismatched(objective):
        return False
    batch = _made_up(objective, [3.0, 5.0, 7.0, 2.0])
    near = torch.tensor([[-0.3, -0.2, -0.4, -0.1], [-0.1, -0.4, -0.2, -0.3]]).double()
    # margins of either sign from tenths to tens of thousands: a hinge anywhere between bends somewhere here
    sums = [scale * point for scale in (1.0, 10.0, 100.0, 1e3, 1e5) for point in near]
    points = [*((point / batch.counts)[batch.sequence] for point in sums), *_points_of_every_scale(len(batch.ids))]
    first, *others = (_coefficients_at(objective, (), batch, point) for point in points)
    return all(torch.allclose(first, other, rtol=0, atol=1e-12) for other in others)


@functools.lru_cache(maxsize=8)
def gradient_is_row_local(objective: Objective, modifiers: tuple[Modifier, ...]) -> bool:
    """True when a row's coefficients depend on no other row's log-probs, so that a micro-batch of whole rows can find its
    own coefficients, and the student's body is run once a step instead of twice.

    Found by asking, like `is_linear`: one row's log-probs are moved, by hundredths to thousands of nats, and the coefficients
    of the others must stay as they are. What estimates something from the whole step (KTO's KL) is not local.
    """
    if needs_mismatched(objective):
        return False
    batch = _made_up(objective, [3.0, 5.0, 4.0, 2.0, 6.0, 3.0] if needs_pairs(objective) else [3.0, 5.0, 4.0])
    others = batch.row[batch.sequence] > 0
    points = _points_of_every_scale(len(batch.ids))
    for here, other in zip(points[::2], points[1::2], strict=True):
        moved = torch.where(others, here, other)
        first, second = (_coefficients_at(objective, modifiers, batch, at)[others] for at in (here, moved))
        if not torch.allclose(first, second, rtol=0, atol=1e-12):
            return False
    return True


@functools.lru_cache(maxsize=8)
def vanishes_without_advantage(objective: Objective, modifiers: tuple[Modifier, ...]) -> bool:
    """True when a row whose advantages are all exactly 0 has coefficients of exactly 0, whatever its log-probs are, so
    that nothing has to be computed for it. A modifier that adds a loss (`kl`) asks for the row all the same.

    Found by asking, like `is_linear`, and for objectives of single completions only.
    """
    if "advantage" not in needs_values([objective]) or needs_mismatched(objective) or needs_pairs(objective):
        return False
    batch = _made_up(objective, [3.0, 5.0, 4.0])
    row = batch.row[batch.sequence] == 1
    batch = dataclasses.replace(
        batch, values={**batch.values, "advantage": torch.where(row, 0.0, batch.values["advantage"])}
    )
    points = _points_of_every_scale(len(batch.ids))
    return all(bool((_coefficients_at(objective, modifiers, batch, point)[row] == 0).all()) for point in points)


@functools.lru_cache(maxsize=8)
def measures_stand_alone(objective: Objective, modifiers: tuple[Modifier, ...]) -> bool:
    """True when the coefficients of what is measured over the vocabulary depend on no log-prob. OperatorError where they
    depend on what is measured: the step is linear in divergences and entropies. Found by asking, like `is_linear`."""
    batch = _made_up(objective, [3.0, 5.0, 4.0, 2.0, 6.0, 3.0] if needs_pairs(objective) else [3.0, 5.0, 4.0])
    points = _points_of_every_scale(len(batch.ids))

    def measured_loss(logps: Tensor, measured: Tensor) -> Tensor:
        at = dataclasses.replace(batch, logps=logps, scores=logps, measures=dict.fromkeys(batch.measures, measured))
        return torch.stack([*all_coefficients(objective, modifiers, at)[1].values()])

    first = measured_loss(points[0], points[0])
    if not all(torch.allclose(first, measured_loss(points[0], -other), rtol=0, atol=1e-12) for other in points[1:]):
        raise OperatorError(
            f"{name_of(objective)} and its modifiers are not linear in divergences or entropies, which they must be."
        )
    return all(torch.allclose(first, measured_loss(other, points[0]), rtol=0, atol=1e-12) for other in points[1:])


def _coefficients_at(objective: Objective, modifiers: Sequence[Modifier], batch: TokenBatch, point: Tensor) -> Tensor:
    """The coefficients where log-probs, or scores, are `point` (T,)."""
    return token_coefficients(objective, modifiers, dataclasses.replace(batch, logps=point, scores=point))


def _points_of_every_scale(tokens: int) -> list[Tensor]:
    """24 made-up vectors of log-probs (tokens,), every token at its own scale from hundredths to thousands of nats, so
    that a threshold anywhere is crossed."""
    draw = torch.Generator().manual_seed(0)
    return [-(10.0 ** (6 * torch.rand(tokens, generator=draw).double() - 2.5)) for _ in range(24)]


def _made_up(objective: Objective, counts: Sequence[float]) -> TokenBatch:
    """A batch with everything that an objective may ask for, in pairs or examples, all of one problem."""
    draw = torch.Generator().manual_seed(0)
    pairs = needs_pairs(objective)
    sequences, tokens = len(counts), int(sum(counts))
    rows = sequences // 2 if pairs else sequences
    sides = [Side.chosen, Side.rejected] * rows if pairs else [Side.single] * rows

    def rand() -> Tensor:
        return torch.rand(tokens, generator=draw).double()

    values = {"advantage": 2 * rand() - 1, "weight": rand(), "target": rand().round(), "mask": rand().round()}
    values["action"] = torch.arange(tokens).double() // 2
    values["critic_score"] = 4 * rand() - 2
    assert values.keys() == set(VALUES)
    return TokenBatch(
        ids=torch.randint(0, 3, (tokens,), generator=draw),
        counts=torch.tensor(counts).double(),
        row=torch.arange(sequences) // (2 if pairs else 1),
        side=torch.tensor(sides),
        group=torch.zeros(sequences, dtype=torch.long),
        row_weights=torch.tensor([1.0, 0.5, 2.0, 1.5][:rows]).double(),
        reference_logps=-rand(),
        behaviour_logps=-rand(),
        values=values,
        measures={name: rand() for name in ("teacher_divergences", "reference_divergences", "entropies")},
    )
