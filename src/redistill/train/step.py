"""One optimizer step: the rows of the step in, gradients and figures out, the same for any split into micro-batches.

    figures = backward_step(policy, objective, rows, row_numbers, tokens_per_micro_batch=8192)

Every objective is a function of sequence log-probs, so its gradient is a coefficient on each sequence. Where the
objective is linear the coefficients are known beforehand (REDI: +1/|y_w| and -alpha/|y_l|, divided by the pairs of the
step) and one pass forms the gradient; else a first pass without gradient finds the log-probs they depend on.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from redistill.logps import Pack, make_pack
from redistill.train.objectives import Objective, is_linear, needs_pairs, sequence_coefficients, step_loss
from redistill.train.packing import first_fit_decreasing
from redistill.train.rows import Rows


@dataclass(frozen=True, slots=True)
class Ranks:
    """How this process works with the others: its number, their count, a sum over all, and DDP's pause of syncing."""

    number: int = 0
    count: int = 1
    sum: Callable[[Tensor], Tensor] = lambda tensor: tensor
    no_sync: Callable[[], AbstractContextManager[None]] = nullcontext
    backward: Callable[[Tensor], None] = lambda loss: loss.backward()


@dataclass(frozen=True, slots=True)
class StepFigures:
    """What a step measured: the loss, tokens run, and of each sequence (fp64) the summed log-probs, completion tokens,
    coefficient and gauge of certainty."""

    loss: float
    logps: Tensor  # (sequences,)
    tokens: Tensor  # (sequences,)
    packed_tokens: int
    coefficients: Tensor  # (sequences,): d(loss)/d(-logp)
    top_probs: Tensor  # (sequences,): probability of the likeliest token, mean over the completion


def backward_step(
    policy: nn.Module,
    objective: Objective,
    rows: Rows,
    row_numbers: Sequence[int],
    *,
    tokens_per_micro_batch: int,
    device: torch.device | None = None,
    ranks: Ranks | None = None,
) -> StepFigures:
    """Add the step's gradient to the policy's parameters; returns its figures.

    The loss is divided once, by the weight of the whole step over all ranks, never by micro-batch. Every rank plans the
    whole step and runs its share of the packs, so the ranks agree without a word; a rank with fewer packs runs one of
    its own again with coefficients of zero, for DDP counts backward passes.
    """
    ranks = ranks or Ranks()
    device = device or torch.device("cpu")
    sequences = [number for row in row_numbers for number in rows.sequences_of(row)]
    tokens = torch.tensor([rows.completion_tokens(n) for n in sequences], dtype=torch.float64)
    weights = torch.tensor([float(rows.weights[row]) for row in row_numbers], dtype=torch.float64)
    bins = first_fit_decreasing([rows.length(n) for n in sequences], tokens_per_micro_batch)
    share = bins[ranks.number :: ranks.count]
    turns = -(-len(bins) // ranks.count)

    def pack(places: Sequence[int], coefficients: Tensor) -> Pack:
        picked = [rows.sequence(sequences[place]) for place in places]
        return make_pack(picked, places, [coefficients[place].float() for place in places]).to(device)

    def summed(parts: list[tuple[Tensor, Tensor]]) -> Tensor:
        total = torch.zeros(len(sequences), dtype=torch.float64, device=device)
        for owners, logps in parts:
            total.index_add_(0, owners, logps.double())
        return ranks.sum(total).cpu()

    zeros = torch.zeros(len(sequences), dtype=torch.float64)
    if is_linear(objective):
        coefficients = sequence_coefficients(objective, zeros, tokens, weights)
    else:
        with torch.no_grad():
            first = [pack(places, zeros) for places in share]
            known = summed([(p.row_of_target, policy(p)[1]) for p in first])
        coefficients = sequence_coefficients(objective, known, tokens, weights)

    found: list[tuple[Tensor, Tensor]] = []
    tops: list[tuple[Tensor, Tensor]] = []
    for turn in range(turns):
        mine = turn < len(share)
        batch = pack(share[turn], coefficients) if mine else pack(bins[-1][-1:], zeros)
        with nullcontext() if turn == turns - 1 else ranks.no_sync():
            loss, logps, top_logps = policy(batch)
            ranks.backward(loss * ranks.count)  # DDP averages over ranks; the step is a sum
        if mine:
            found.append((batch.row_of_target, logps.detach()))
            tops.append((batch.row_of_target, top_logps.detach().exp()))
    logps = summed(found)
    loss = float(step_loss(objective, logps, tokens, weights))
    packed_tokens = sum(rows.length(n) for n in sequences)
    return StepFigures(loss, logps, tokens, packed_tokens, coefficients, summed(tops) / tokens)


def pair_figures(objective: Objective, figures: StepFigures) -> dict[str, float | None]:
    """Mean per-token log-probs of the step for the log: of chosen and rejected (their margin), or of the examples."""
    means = figures.logps / figures.tokens
    if not needs_pairs(objective):
        return {"chosen_logp": float(means.mean()), "rejected_logp": None, "margin": None}
    chosen, rejected = float(means[0::2].mean()), float(means[1::2].mean())
    return {"chosen_logp": chosen, "rejected_logp": rejected, "margin": chosen - rejected}
