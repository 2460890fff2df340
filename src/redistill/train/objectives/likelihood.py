"""Likelihood objectives: raise right traces, lower wrong ones, without comparing the two. REDI and its variants.

Each takes sums of token log-probs and token counts, one value a sequence, and returns a loss and a weight a row.

    redi(chosen_logps, rejected_logps, chosen_tokens, rejected_tokens, rejected_weight=0.8)
"""

from typing import Literal

import torch
from torch import Tensor

from redistill.train.objectives.calling import Losses, Ragged


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


def redi_bounded(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    chosen_tokens: Tensor,
    rejected_tokens: Tensor,
    *,
    rejected_weight: float = 0.8,
    gamma: float = 1.0,
    detached: bool = True,
) -> Losses:
    """`redi` whose push on a rejected trace fades as the trace grows unlikely: its term is weighted by exp(gamma m),
    m its mean token log-prob. Each (pairs,); weight 1 a pair.

    detached: the weight is a constant of the step, so the push is exp(gamma m) and never turns round. Otherwise the loss
    is m exp(gamma m), bounded below by -1/(e gamma); its slope (1 + gamma m) exp(gamma m) is zero at m = -1/gamma, where
    the push ends, and raises traces less likely than that. gamma 0 is `redi`. No paper of its own: Xu et al. 2025 with
    the bound that TOPR (arXiv 2503.14286) puts on negatives, without a reference.
    """
    mean = rejected_logps / rejected_tokens
    weight = torch.exp(gamma * (mean.detach() if detached else mean))
    losses = -chosen_logps / chosen_tokens + rejected_weight * weight * mean
    return Losses(losses, torch.ones_like(losses))


def unlikelihood(
    chosen_logps: Tensor,
    chosen_tokens: Tensor,
    rejected_tokens: Tensor,
    rejected_token_logps: Ragged,
    *,
    rejected_weight: float = 1.0,
) -> Losses:
    """Likelihood of chosen, and -log(1 - p_t) on every token of rejected, each averaged over its own tokens.

    chosen_logps, chosen_tokens, rejected_tokens: (pairs,); rejected_token_logps: (tokens,), row numbers 0..pairs-1.
    The push on a token scales with p_t, so it fades on unlikely ones. p_t is held below 1 - 1e-5, as in the authors'
    code, and a token surer than that gets no push. rejected_weight 0 is `redi` with weight 0. Source: Welleck et al.
    2019, arXiv 1908.04319, the token-level loss; the negative candidates are the tokens of the rejected trace.
    """
    penalties = -torch.log1p(-rejected_token_logps.values.exp().clamp(max=1 - 1e-5))
    pushed = rejected_token_logps.sum_by_row(penalties, len(chosen_logps))
    losses = -chosen_logps / chosen_tokens + rejected_weight * pushed / rejected_tokens
    return Losses(losses, torch.ones_like(losses))
