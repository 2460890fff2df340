"""From a step's token log-probs to its loss, and back to one coefficient a token. Pure fp64 functions.

    loss = step_loss_of_tokens(objective, modifiers, step, token_logps)
    coefficients = token_coefficients(objective, modifiers, step, token_logps)      -d loss / d token log-prob, (T,)

Modifiers weigh the tokens, weighted sums make sequence log-probs, the objective makes row losses of those. The letters:
T completion tokens of the step, end to end in the order of its sequences; S sequences (a pair is chosen, rejected).
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from redistill.train.modifiers import Modifier, adds_loss, weighs_tokens
from redistill.train.objectives import Objective, Ragged, needs_mismatched, needs_pairs, parameters_of, row_losses


@dataclass(frozen=True, slots=True)
class StepTokens:
    """What is known of a step before the student has run."""

    ids: Tensor  # (T,)
    counts: Tensor  # (S,) completion tokens, fp64
    row_weights: Tensor  # (rows,) fp64
    reference_logps: Tensor | None = None  # (T,) fp64, where the objective compares with a reference
    reference_mismatched_logps: Tensor | None = None  # (rows,) fp64
    span_weights: Tensor | None = None  # (T,) fp64, where a modifier reads them

    @property
    def owners(self) -> Tensor:
        """(T,): the sequence of each token."""
        return torch.repeat_interleave(torch.arange(len(self.counts)), self.counts.long())

    def by_sequence(self, values: Tensor) -> Tensor:
        """(S,): the sum of `values` (T,) over each sequence."""
        return values.new_zeros(len(self.counts)).index_add(0, self.owners, values)


def token_weights(modifiers: Sequence[Modifier], step: StepTokens, token_logps: Tensor) -> tuple[Tensor, Tensor]:
    """(weights, shares), (T,) each: what multiplies each token's log-prob, and what each token adds to |y|.

    The weights are the product of all modifiers', the shares of those that renormalise.
    """
    weights, shares = torch.ones_like(step.ids, dtype=torch.float64), torch.ones_like(step.ids, dtype=torch.float64)
    weighing = [m for m in modifiers if weighs_tokens(m)]
    if not weighing:
        return weights, shares
    sizes = step.counts.long().tolist()
    ids, logps = step.ids.split(sizes), token_logps.detach().split(sizes)
    spans = step.span_weights.split(sizes) if step.span_weights is not None else ids
    weight_of, share_of = weights.split(sizes), shares.split(sizes)  # views: written in place below
    for chosen in range(0, len(sizes), 2):
        rejected = chosen + 1
        offered = {
            "chosen_ids": ids[chosen],
            "rejected_ids": ids[rejected],
            "chosen_token_logps": logps[chosen],
            "rejected_token_logps": logps[rejected],
            "chosen_span_weights": spans[chosen],
            "rejected_span_weights": spans[rejected],
        }
        for modifier in weighing:
            asked = parameters_of(modifier)
            found = modifier(**{name: value for name, value in offered.items() if name in asked})
            for side, factor in ((chosen, found.chosen), (rejected, found.rejected)):
                weight_of[side].mul_(factor)
                if found.renormalise:
                    share_of[side].mul_(factor)
    return weights, shares


def step_loss_of_tokens(
    objective: Objective,
    modifiers: Sequence[Modifier],
    step: StepTokens,
    token_logps: Tensor,
    mismatched_logps: Tensor | None = None,
) -> Tensor:
    """The step's loss, a scalar, differentiable in token_logps (T,). mismatched_logps (rows,): for KTO."""
    weights, shares = token_weights(modifiers, step, token_logps)
    logps, tokens = step.by_sequence(weights * token_logps), step.by_sequence(shares)
    tokens = torch.where(tokens > 0, tokens, 1.0)
    for modifier in modifiers:
        if not weighs_tokens(modifier) and not adds_loss(modifier):
            sides = modifier(chosen_tokens=tokens[0::2], rejected_tokens=tokens[1::2], row_weights=step.row_weights)
            tokens = torch.stack(sides, dim=1).flatten()
    known = _known(objective, step, weights, token_logps, mismatched_logps)
    found = row_losses(objective, logps, tokens, known)
    losses = found.losses
    for modifier in modifiers:
        if adds_loss(modifier):
            whole = step.by_sequence(token_logps)
            losses = losses + found.weights * modifier(chosen_logps=whole[0::2], chosen_tokens=step.counts[0::2])
    return (step.row_weights * losses).sum() / (step.row_weights * found.weights).sum()


def _known(
    objective: Objective, step: StepTokens, weights: Tensor, token_logps: Tensor, mismatched_logps: Tensor | None
) -> Mapping[str, Tensor | Ragged]:
    """By parameter name, what the objective asks for beside its own log-probs and counts."""
    known: dict[str, Tensor | Ragged] = {}
    if not needs_pairs(objective):
        return known
    if step.reference_logps is not None:
        reference = step.by_sequence(weights * step.reference_logps)
        known |= {"reference_chosen_logps": reference[0::2], "reference_rejected_logps": reference[1::2]}
    if mismatched_logps is not None and step.reference_mismatched_logps is not None:
        known["mismatched_logps"] = mismatched_logps
        known["reference_mismatched_logps"] = step.reference_mismatched_logps
    if "rejected_token_logps" in parameters_of(objective):
        owners = step.owners
        rejected = owners % 2 == 1
        known["rejected_token_logps"] = Ragged(token_logps[rejected], weights[rejected], owners[rejected] // 2)
    return known


def token_coefficients(
    objective: Objective,
    modifiers: Sequence[Modifier],
    step: StepTokens,
    token_logps: Tensor,
    mismatched_logps: Tensor | None = None,
) -> Tensor:
    """-d(step loss)/d(token log-probs), (T,): what each token's -logp is multiplied by in the backward pass."""
    leaf = token_logps.detach().double().requires_grad_(True)
    loss = step_loss_of_tokens(objective, modifiers, step, leaf, mismatched_logps)
    (gradient,) = torch.autograd.grad(loss, leaf)
    return -gradient


@functools.lru_cache(maxsize=8)
def gradient_is_row_local(objective: Objective, modifiers: tuple[Modifier, ...]) -> bool:
    """True when a row's coefficients depend on no other row's log-probs, so that a micro-batch of whole rows can find its
    own coefficients, and the student's body is run once a step instead of twice.

    Found by asking, like `is_linear`: one row's log-probs are moved, by hundredths to thousands of nats, and the coefficients
    of the others must stand still. What estimates something from the whole step (KTO's KL) does not stand alone.
    """
    if needs_mismatched(objective):
        return False
    rows = 3
    counts = torch.tensor([3.0, 5.0, 4.0, 2.0, 6.0, 3.0][: 2 * rows if needs_pairs(objective) else rows]).double()
    total = int(counts.sum())
    draw = torch.Generator().manual_seed(0)
    step = StepTokens(
        ids=torch.randint(0, 3, (total,), generator=draw),
        counts=counts,
        row_weights=torch.tensor([1.0, 0.5, 2.0]).double(),
        reference_logps=-torch.rand(total, generator=draw).double(),
        span_weights=torch.rand(total, generator=draw).double(),
    )
    others = step.owners >= len(counts) // rows
    for _ in range(12):  # every token at its own scale, so that a threshold anywhere is crossed
        here, other = -(10.0 ** (6 * torch.rand(2, total, generator=draw).double() - 2.5))
        moved = torch.where(others, here, other)
        first, second = (token_coefficients(objective, modifiers, step, at)[others] for at in (here, moved))
        if not torch.allclose(first, second, rtol=0, atol=1e-12):
            return False
    return True
