"""Implicit process rewards: a language model that is trained as an outcome reward model gives every token a reward for free.

    implicit(logps, reference_logps, targets, beta=0.05)

Its reward of an answer is beta * log(pi / pi_reference), a sum over tokens, so beta times the log-ratio of one token is that
token's reward: only right and wrong labels are asked for, as by `outcome`, and no head is added.
"""

import functools
import inspect
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from redistill.train.objectives.calling import Losses, Objective, Ragged
from redistill.train.objectives.scores import critic_figures, ends_of
from redistill.train.token_batch import TokenBatch


def implicit(
    logps: Tensor,
    reference_logps: Tensor,
    targets: Ragged,
    *,
    beta: Annotated[float, Field(gt=0)] = 0.05,
) -> Losses:
    """Cross-entropy of sigmoid(beta * log(pi / pi_reference)), of the whole completion, with its label, 1 right and 0 wrong.

    logps, reference_logps: (rows,), sums; targets: (tokens,) of all rows, the label on each row's last token. Source: Yuan et
    al. 2024, arXiv 2412.01981, Eq. 5 with cross-entropy; Cui et al. 2025 (PRIME), arXiv 2502.01456, Eq. 3, whose beta is .05.
    """
    labels = targets.values[ends_of(targets)]
    known = ~torch.isnan(labels)
    rewards, wanted = beta * (logps - reference_logps), labels.nan_to_num()
    losses = F.softplus(rewards) - wanted * rewards
    return Losses(torch.where(known, losses, 0.0), known.to(losses))


def figures_of_critic(objective: Objective, batch: TokenBatch) -> dict[str, float | None]:
    """`critic_figures` of a batch, of an implicit critic with its token rewards as scores; no step is judged by those."""
    if not is_implicit(objective):
        return critic_figures(batch)
    assert batch.logps is not None and batch.reference_logps is not None
    rewards = log_ratio_scale(objective) * (batch.logps - batch.reference_logps)
    return {**critic_figures(batch.with_scores(rewards)), "step_accuracy": None}


def is_implicit(objective: Objective) -> bool:
    """True for the objective of an implicit critic, its options bound or not."""
    return getattr(objective, "func", objective) is implicit


def log_ratio_scale(objective: Objective) -> float:
    """beta: what a token's log-ratio is multiplied by to be its reward."""
    options = objective.keywords if isinstance(objective, functools.partial) else {}
    return float(options.get("beta", inspect.signature(implicit).parameters["beta"].default))
