"""Objectives of singles: a right or a wrong trace by itself, fed from pairs read as two singles, the loss their mean.

A pair therefore weighs 2. Every argument is (pairs,) unless said otherwise; r is the summed log-ratio to the reference.

    asymre(chosen_logps, rejected_logps, chosen_tokens, rejected_tokens, baseline=-0.1)
"""

import torch
from torch import Tensor

from redistill.train.objectives.calling import Losses


def _each_single(losses: Tensor) -> Losses:
    return Losses(losses, torch.full_like(losses, 2.0))


def asymre(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    chosen_tokens: Tensor,
    rejected_tokens: Tensor,
    *,
    baseline: float = -0.1,
    chosen_reward: float = 1.0,
    rejected_reward: float = -1.0,
    length_normalised: bool = True,
) -> Losses:
    """-(R - V) log pi with a baseline V below the mean reward: off-policy REINFORCE that leans to the right traces.

    With rewards +1 and -1, V = 0 is the mean, where support collapses, and V = -(1-a)/(1+a) has the direction of `redi`
    with rejected_weight a (a = 0.8: V = -1/9). The paper's log pi is a sum over tokens (`length_normalised` false); the
    mean keeps long traces from outweighing short ones. Source: Arnal et al. 2025, arXiv 2506.20520; its safe V is the
    mean reward - 0.1.
    """
    chosen, rejected = _log_pi(chosen_logps, chosen_tokens, rejected_logps, rejected_tokens, length_normalised)
    return _each_single(-(chosen_reward - baseline) * chosen - (rejected_reward - baseline) * rejected)


def topr(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    chosen_tokens: Tensor,
    rejected_tokens: Tensor,
    reference_rejected_logps: Tensor,
    *,
    length_normalised: bool = True,
) -> Losses:
    """Right traces by likelihood; wrong ones pushed down with weight min(1, pi / pi_reference), a constant of the step.

    The push fades where the student has already left a trace behind the reference. The paper's ratio and log pi are of
    whole traces (`length_normalised` false), where a ratio of thousands of tokens is 0 or 1 at once; the default takes
    both a token. The author of the traces, whose probabilities the paper uses, is stood in for by the reference.
    Source: Le Roux et al. 2025, arXiv 2503.14286, the TOPR gradient, with rewards +1 and -1.
    """
    chosen, rejected = _log_pi(chosen_logps, chosen_tokens, rejected_logps, rejected_tokens, length_normalised)
    before = reference_rejected_logps / rejected_tokens if length_normalised else reference_rejected_logps
    weight = torch.exp((rejected - before).detach().clamp(max=0.0))
    return _each_single(-chosen + weight * rejected)


def _log_pi(
    chosen_logps: Tensor, chosen_tokens: Tensor, rejected_logps: Tensor, rejected_tokens: Tensor, by_token: bool
) -> tuple[Tensor, Tensor]:
    if by_token:
        return chosen_logps / chosen_tokens, rejected_logps / rejected_tokens
    return chosen_logps, rejected_logps


def kto(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    reference_chosen_logps: Tensor,
    reference_rejected_logps: Tensor,
    mismatched_logps: Tensor,
    reference_mismatched_logps: Tensor,
    *,
    beta: float = 0.1,
    chosen_weight: float = 1.0,
    rejected_weight: float = 1.0,
) -> Losses:
    """w_D (1 - s(beta (r - z0))) on desirable and w_U (1 - s(beta (z0 - r))) on undesirable traces, s the sigmoid.

    z0 estimates the divergence from the reference: the mean log-ratio of the step's mismatched completions, those of
    other rows after this row's prompt (Rows.mismatched), not below 0 and without gradient. With the student as its own
    reference every single costs w / 2. Source: Ethayarajh et al. 2024, arXiv 2402.01306, section 4 (lambda_D and
    lambda_U are the weights); the mean is over the whole optimizer step where the paper takes the micro-batch's.
    """
    z0 = (mismatched_logps - reference_mismatched_logps).mean().clamp(min=0.0).detach()
    desirable = 1 - torch.sigmoid(beta * (chosen_logps - reference_chosen_logps - z0))
    undesirable = 1 - torch.sigmoid(beta * (z0 - (rejected_logps - reference_rejected_logps)))
    return _each_single(chosen_weight * desirable + rejected_weight * undesirable)
