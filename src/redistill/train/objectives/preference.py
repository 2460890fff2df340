"""Preference objectives: a loss on how far chosen stands above rejected, from Bradley-Terry and related models.

Every argument is (pairs,): sums of token log-probs of the student and, where asked for, of the reference model on the
same completions; token counts. r below is a completion's log-ratio to the reference, m its mean token log-prob.

    dpo(chosen_logps, rejected_logps, reference_chosen_logps, reference_rejected_logps, beta=0.1)
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from redistill.errors import OperatorError
from redistill.train.objectives.calling import Losses


def _each_pair(losses: Tensor) -> Losses:
    return Losses(losses, torch.ones_like(losses))


# --- without a reference ------------------------------------------------------------------------------------------


def simpo(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    chosen_tokens: Tensor,
    rejected_tokens: Tensor,
    *,
    beta: float = 2.0,
    gamma: float = 1.0,
    gamma_beta_ratio: float | None = None,
) -> Losses:
    """-log sigmoid(beta (m_chosen - m_rejected) - gamma), m the mean token log-prob; reference-free. Each (pairs,).

    Source: Meng et al. 2024, arXiv 2405.14734, Eq. 6; gamma itself, not gamma/beta, so `gamma_beta_ratio`, which the
    authors' code takes, is refused (OperatorError). The defaults are REDI's baseline.
    """
    check_margin(beta, gamma_beta_ratio)
    margin = chosen_logps / chosen_tokens - rejected_logps / rejected_tokens
    return _each_pair(-F.logsigmoid(beta * margin - gamma))


def check_margin(beta: float, gamma_beta_ratio: float | None) -> None:
    """OperatorError where SimPO's margin is written as its authors' code takes it."""
    if gamma_beta_ratio is not None:
        raise OperatorError(
            "simpo: gamma_beta_ratio is not an option; write gamma = "
            f"gamma_beta_ratio x beta (here gamma: {gamma_beta_ratio * beta:g})."
        )


def cpo_simpo(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    chosen_tokens: Tensor,
    rejected_tokens: Tensor,
    *,
    beta: float = 2.0,
    gamma: float = 1.0,
    alpha: float = 1.0,
    gamma_beta_ratio: float | None = None,
) -> Losses:
    """`simpo` plus alpha times the mean NLL of chosen. Each (pairs,). alpha 0 is `simpo`.

    Source: Xu 2024, github.com/fe1ixxu/CPO_SIMPO (CPO: arXiv 2401.08417); its page writes the NLL as a sum, its code
    takes the mean over tokens, as here. A `gamma_beta_ratio` is refused as in `simpo`.
    """
    preferred = simpo(
        chosen_logps,
        rejected_logps,
        chosen_tokens,
        rejected_tokens,
        beta=beta,
        gamma=gamma,
        gamma_beta_ratio=gamma_beta_ratio,
    )
    return _each_pair(preferred.losses - alpha * chosen_logps / chosen_tokens)


def orpo(
    chosen_logps: Tensor, rejected_logps: Tensor, chosen_tokens: Tensor, rejected_tokens: Tensor, *, lam: float = 0.1
) -> Losses:
    """Mean NLL of chosen plus lam times -log sigmoid of the log odds ratio, odds = p / (1 - p), p = exp(m). Each (pairs,).

    p is held below 1 - 1e-6: a student that is certain has no odds. lam 0 is the mean NLL. Source: Hong et al. 2024,
    arXiv 2403.07691 (lambda there).
    """
    chosen, rejected = chosen_logps / chosen_tokens, rejected_logps / rejected_tokens
    ratio = _log_odds(chosen) - _log_odds(rejected)
    return _each_pair(-chosen - lam * F.logsigmoid(ratio))


def _log_odds(mean_logp: Tensor) -> Tensor:
    """log(p / (1 - p)) of p = exp(mean_logp)."""
    return mean_logp - torch.log1p(-mean_logp.exp().clamp(max=1 - 1e-6))


# --- against a reference ------------------------------------------------------------------------------------------


def dpo(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    reference_chosen_logps: Tensor,
    reference_rejected_logps: Tensor,
    *,
    beta: float = 0.1,
) -> Losses:
    """-log sigmoid(beta (r_chosen - r_rejected)), r the summed log-ratio to the reference. Each (pairs,).

    With the student as its own reference it is log 2. Source: Rafailov et al. 2023, arXiv 2305.18290, Eq. 7. REDI's
    baseline is beta 0.001.
    """
    margin = (chosen_logps - reference_chosen_logps) - (rejected_logps - reference_rejected_logps)
    return _each_pair(-F.logsigmoid(beta * margin))


def dpo_norm(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    chosen_tokens: Tensor,
    rejected_tokens: Tensor,
    reference_chosen_logps: Tensor,
    reference_rejected_logps: Tensor,
    *,
    beta: float = 5.0,
) -> Losses:
    """`dpo` with each log-ratio divided by its completion's tokens. Each (pairs,).

    Source: Lambert et al. 2024 (Tulu 3), arXiv 2411.15124, length-normalised DPO, and its beta.
    """
    margin = (chosen_logps - reference_chosen_logps) / chosen_tokens
    margin = margin - (rejected_logps - reference_rejected_logps) / rejected_tokens
    return _each_pair(-F.logsigmoid(beta * margin))


def ipo(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    reference_chosen_logps: Tensor,
    reference_rejected_logps: Tensor,
    *,
    beta: float = 0.1,
) -> Losses:
    """(h - 1 / (2 beta))^2, h = r_chosen - r_rejected, summed log-ratios: the margin has a target and no more. (pairs,).

    Source: Azar et al. 2023, arXiv 2310.12036, Eq. 17 (beta is its tau). TRL averages r over tokens, as it says the
    paper's authors did in their experiments; the paper's formula does not, and nor does this: a beta of theirs is about
    |y| times too large here.
    """
    margin = (chosen_logps - reference_chosen_logps) - (rejected_logps - reference_rejected_logps)
    return _each_pair((margin - 1 / (2 * beta)) ** 2)


def irpo(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    chosen_tokens: Tensor,
    reference_chosen_logps: Tensor,
    reference_rejected_logps: Tensor,
    *,
    beta: float = 0.1,
    alpha: float = 1.0,
) -> Losses:
    """`dpo` plus alpha times the mean NLL of chosen. Each (pairs,). alpha 0 is `dpo`.

    Source: Pang et al. 2024, arXiv 2404.19733, Eq. 1 and its alpha; also known as DPO+NLL or RPO.
    """
    preferred = dpo(chosen_logps, rejected_logps, reference_chosen_logps, reference_rejected_logps, beta=beta)
    return _each_pair(preferred.losses - alpha * chosen_logps / chosen_tokens)


def dpop(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    reference_chosen_logps: Tensor,
    reference_rejected_logps: Tensor,
    *,
    beta: float = 0.3,
    lam: float = 50.0,
) -> Losses:
    """-log sigmoid(beta (r_chosen - r_rejected - lam max(0, -r_chosen))): `dpo` that will not let chosen fall below the
    reference. Each (pairs,). lam 0 is `dpo`.

    Source: Pal et al. 2024 (Smaug), arXiv 2402.13228, the DPOP loss (lambda there) and its settings.
    """
    chosen, rejected = chosen_logps - reference_chosen_logps, rejected_logps - reference_rejected_logps
    return _each_pair(-F.logsigmoid(beta * (chosen - rejected - lam * F.relu(-chosen))))


def nca(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    reference_chosen_logps: Tensor,
    reference_rejected_logps: Tensor,
    *,
    beta: float = 0.01,
) -> Losses:
    """-log s(b r_chosen) - 1/2 log s(-b r_chosen) - 1/2 log s(-b r_rejected), s the sigmoid: each side against the
    reference by itself, so chosen is held up. Each (pairs,). With the student as its own reference it is 2 log 2.

    Source: Chen et al. 2024, arXiv 2402.05369, the pairwise form of NCA, and its beta.
    """
    chosen = beta * (chosen_logps - reference_chosen_logps)
    rejected = beta * (rejected_logps - reference_rejected_logps)
    return _each_pair(-F.logsigmoid(chosen) - 0.5 * F.logsigmoid(-chosen) - 0.5 * F.logsigmoid(-rejected))
