"""What a step of training lowers: pure functions of sequence log-probabilities and lengths.

An objective takes sums of token log-probs and token counts, one value a sequence, and returns for each row (an example
or a pair) a loss and a weight; the step's loss is sum(losses) / sum(weights) over the whole optimizer step, across
micro-batches and ranks. Its parameters say what it needs: `logps` examples, `chosen_logps` pairs. The options of a
recipe are its keyword-only arguments.

    redi(chosen_logps, rejected_logps, chosen_tokens, rejected_tokens, rejected_weight=0.8)

To add one: a function, a line in OBJECTIVES, a hand-worked test, a line in docs/objectives.md.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Losses(NamedTuple):
    """Per row: what is summed, and what the sum over the step is divided by; each (rows,)."""

    losses: Tensor
    weights: Tensor


Objective = Callable[..., Losses]


def sft(logps: Tensor, tokens: Tensor, *, aggregation: Literal["token", "sequence"] = "token") -> Losses:
    """Likelihood of right traces. logps, tokens: (examples,), sums of log-probs and counts of completion tokens.

    `token`: the mean over all completion tokens of the step (as in TRL and the paper's stage 1, so long traces count
    more). `sequence`: each example averaged over its own tokens first, which is `redi` with rejected_weight 0.
    """
    if aggregation == "token":
        return Losses(-logps, tokens)
    return Losses(-logps / tokens, torch.ones_like(logps))


def redi(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    chosen_tokens: Tensor,
    rejected_tokens: Tensor,
    *,
    rejected_weight: float = 0.8,
) -> Losses:
    """Asymmetric likelihood on pairs: raise chosen, lower rejected, each averaged over its own completion tokens.

    chosen_logps, rejected_logps, chosen_tokens, rejected_tokens: each (pairs,); weight 1 a pair. Source: Xu et al. 2025,
    arXiv 2505.24850, Eq. 5. rejected_weight 1.0 is the symmetric case (Eq. 4), 0.0 is sequence-averaged SFT on chosen.
    """
    losses = -chosen_logps / chosen_tokens + rejected_weight * rejected_logps / rejected_tokens
    return Losses(losses, torch.ones_like(losses))


def symmetric(chosen_logps: Tensor, rejected_logps: Tensor, chosen_tokens: Tensor, rejected_tokens: Tensor) -> Losses:
    """`redi` with rejected_weight 1: the beta -> 0 limit of SimPO (Xu et al. 2025, Eq. 4). Collapses at a rate where
    0.8 does not; the paper trains it at 2e-7."""
    return redi(chosen_logps, rejected_logps, chosen_tokens, rejected_tokens, rejected_weight=1.0)


def simpo(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    chosen_tokens: Tensor,
    rejected_tokens: Tensor,
    *,
    beta: float = 2.0,
    gamma: float = 1.0,
) -> Losses:
    """-log sigmoid(beta (m_chosen - m_rejected) - gamma), m the mean token log-prob; reference-free. Each (pairs,).

    Source: Meng et al. 2024, arXiv 2405.14734, Eq. 6; gamma itself, not gamma/beta. The defaults are REDI's baseline.
    """
    margin = chosen_logps / chosen_tokens - rejected_logps / rejected_tokens
    losses = -F.logsigmoid(beta * margin - gamma)
    return Losses(losses, torch.ones_like(losses))


# --- what an objective needs, read off the function itself ----------------------------------------------------


def needs_pairs(objective: Objective) -> bool:
    """True when the objective wants chosen and rejected completions, False when it wants examples."""
    return "chosen_logps" in inspect.signature(_unbound(objective)).parameters


def _unbound(objective: Objective) -> Objective:
    return objective.func if isinstance(objective, functools.partial) else objective


def row_losses(objective: Objective, logps: Tensor, tokens: Tensor) -> Losses:
    """The objective on a step's sequences. logps, tokens: (sequences,); pairs lie as chosen, rejected, chosen, ..."""
    if needs_pairs(objective):
        return objective(logps[0::2], logps[1::2], tokens[0::2], tokens[1::2])
    return objective(logps, tokens)


def step_loss(objective: Objective, logps: Tensor, tokens: Tensor, row_weights: Tensor) -> Tensor:
    """The loss of one optimizer step, a scalar: sum(row_weight * loss) / sum(row_weight * weight). fp64 in, fp64 out."""
    found = row_losses(objective, logps, tokens)
    return (row_weights * found.losses).sum() / (row_weights * found.weights).sum()


def sequence_coefficients(objective: Objective, logps: Tensor, tokens: Tensor, row_weights: Tensor) -> Tensor:
    """-d(step loss)/d(logps), (sequences,): what each sequence's -logp is multiplied by in the backward pass."""
    leaf = logps.detach().double().requires_grad_(True)
    (gradient,) = torch.autograd.grad(step_loss(objective, leaf, tokens.double(), row_weights.double()), leaf)
    return -gradient


def is_linear(objective: Objective) -> bool:
    """True when the gradient does not depend on the log-probs, so one pass over the student is enough.

    Found by asking the objective at a few points, so there is no flag to forget.
    """
    tokens = torch.tensor([3.0, 5.0, 7.0, 2.0], dtype=torch.float64)
    weights = torch.ones(2 if needs_pairs(objective) else 4, dtype=torch.float64)
    points = [
        torch.tensor(p, dtype=torch.float64) for p in ([0.0] * 4, [-1.0, -9.0, -3.0, -0.5], [-40.0, -2.0, -8.0, -6.0])
    ]
    found = [sequence_coefficients(objective, p, tokens, weights) for p in points]
    return all(torch.allclose(found[0], other, rtol=0, atol=1e-12) for other in found[1:])


OBJECTIVES: dict[str, Objective] = {
    "sft": sft,
    "redi": redi,
    "symmetric": symmetric,
    "simpo": simpo,
}
