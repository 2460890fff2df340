"""Objectives of critics: what the scores of a completion's tokens are to say of it. No log-prob takes part.

    outcome(scores, targets, tokens)               right or wrong as a whole, from the label on the end-of-turn token
    process(scores, targets, tokens, loss="mse")   step by step, from a target on each step's last token

Targets come from the character spans of the rows (train/rows.py) and are NaN where there is none; that of the whole
completion stands on its end-of-turn token. A score s says the probability sigmoid(s), so a head of zeros says 1/2 of
everything, and cross-entropy is log 2 whatever the target.
"""

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from redistill.train.objectives.calling import Losses, Ragged
from redistill.train.token_batch import TokenBatch


def outcome(scores: Ragged, targets: Ragged, tokens: Tensor) -> Losses:
    """Cross-entropy of sigmoid(mean score of the completion's tokens) with the completion's label, 1 right and 0 wrong.

    scores, targets: (tokens,) of all rows; tokens: (rows,). Nothing says where a completion went wrong: rows that share an
    opening share its scores, so only what differs can learn. Source: Lyu et al. 2025 (OREAL), arXiv 2502.06781, Eq. 12.
    """
    means = scores.sum_by_row(scores.values, len(tokens)) / tokens
    labels = targets.values[ends_of(targets)]
    known = ~torch.isnan(labels)
    losses = torch.where(known, _bce(means, labels.nan_to_num()), 0.0)
    return Losses(losses, known.to(losses))


def process(
    scores: Ragged,
    targets: Ragged,
    tokens: Tensor,
    *,
    loss: Literal["mse", "bce"] = "bce",
    final_weight: Annotated[float, Field(ge=0)] = 1.0,
) -> Losses:
    """The mean over a completion's steps of the distance between sigmoid(score) and target, and `final_weight` times that of
    its end-of-turn token, where it has a target.

    scores, targets: (tokens,) of all rows; tokens: (rows,). loss: the square of the difference, or the cross-entropy; both
    take targets anywhere from 0 to 1. A row without a target weighs nothing. Source: ReasonFlux-PRM (arXiv 2506.18896) with
    mse; Lightman et al. 2023 (arXiv 2305.20050) with bce.
    """
    known = ~torch.isnan(targets.values)
    wanted = targets.values.nan_to_num()
    apart = _bce(scores.values, wanted) if loss == "bce" else (torch.sigmoid(scores.values) - wanted) ** 2
    last = torch.zeros_like(known).index_fill(0, ends_of(targets), True)
    steps, finals = (known & ~last).to(apart), (known & last).to(apart)
    count, sums, final = (scores.sum_by_row(part, len(tokens)) for part in (steps, steps * apart, finals * apart))
    some = scores.sum_by_row(finals, len(tokens)) + count > 0
    losses = sums / count.clamp(min=1) + final_weight * final
    return Losses(losses, some.to(losses))


def critic_figures(batch: TokenBatch) -> dict[str, float | None]:
    """How right a critic was about a step's targets, a target above 1/2 counting as right. None where there is none.

    accuracy: of completions with a label, the share whose mean score is on the label's side of 0; step_accuracy: the same of
    each step's score; right_score, wrong_score: the mean over completions with that label of their mean score.
    """
    scores, targets = batch.scores, batch.values.get("target")
    assert scores is not None
    if targets is None:  # a critic of pairs, say
        return {}
    ends = batch.counts.cumsum(0).long() - 1
    means, labels = batch.by_sequence(scores) / batch.counts, targets[ends]
    is_step = torch.ones_like(targets, dtype=torch.bool).index_fill(0, ends, False) & ~torch.isnan(targets)
    known = ~torch.isnan(labels)
    return {
        "accuracy": _mean(((means > 0) == (labels > 0.5))[known]),
        "step_accuracy": _mean(((scores > 0) == (targets > 0.5))[is_step]),
        "right_score": _mean(means[labels > 0.5]),
        "wrong_score": _mean(means[labels <= 0.5]),
    }


def _mean(values: Tensor) -> float | None:
    return float(values.double().mean()) if len(values) else None


def ends_of(ragged: Ragged) -> Tensor:
    """(rows,): the place of each row's last token, which ends the turn."""
    following = torch.cat([ragged.rows[1:], ragged.rows.new_full((1,), -1)])
    return (ragged.rows != following).nonzero().squeeze(1)


def _bce(logits: Tensor, targets: Tensor) -> Tensor:
    """-t log sigmoid(s) - (1 - t) log(1 - sigmoid(s)), exact for large scores."""
    return F.softplus(logits) - targets * logits
