"""Policy-gradient objectives: raise or lower sampled answers by their advantages. GRPO and related methods, and OREAL.

Fed from a stage with `rollouts`, whose rows carry an advantage for each token and the log-probs of the policy that sampled
them. The argument `per` says what a row's tokens are averaged over:

    sequence    each answer over its own tokens (GRPO)
    token       all tokens of the step alike (DAPO)
    constant    every answer over the same `length` (Dr. GRPO), so a long wrong answer is pushed as hard a token as a short one

    grpo(token_logps, advantages, behaviour_token_logps, tokens, clip_low=0.2, clip_high=0.28, per="token")
"""

import functools
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from redistill.errors import OperatorError
from redistill.train.objectives.actions import actions, where_it_has_not_moved
from redistill.train.objectives.calling import Losses, Objective, Ragged

Per = Literal["sequence", "token", "constant"]


def reinforce(
    token_logps: Ragged,
    advantages: Ragged,
    tokens: Tensor,
    *,
    per: Per = "sequence",
    length: Annotated[int, Field(ge=1)] | None = None,
) -> Losses:
    """-A_t log pi_t: the plain policy gradient, right for answers that the student itself has just given.

    token_logps, advantages: (tokens,) of all rows; tokens: (rows,). length: of `per: constant`. Source: Williams 1992.
    """
    sums = token_logps.sum_by_row(advantages.values * token_logps.values, len(tokens))
    return _averaged(-sums, tokens, per, length)


def grpo(
    token_logps: Ragged,
    advantages: Ragged,
    behaviour_token_logps: Ragged,
    tokens: Tensor,
    *,
    clip_low: Annotated[float, Field(ge=0, le=1)] = 0.2,
    clip_high: Annotated[float, Field(ge=0)] = 0.2,
    ratio: Literal["token", "sequence"] = "token",
    surrogate: Literal["clipped", "cispo"] = "clipped",
    per: Per = "sequence",
    length: Annotated[int, Field(ge=1)] | None = None,
) -> Losses:
    """-min(r A, clip(r, 1 - clip_low, 1 + clip_high) A) with r = pi / pi_behaviour: GRPO, or what its options make of it.

    ratio: of each token (GRPO, PPO), or the geometric mean over the answer's tokens (GSPO, arXiv 2507.18071). surrogate:
    `clipped`, or -clip(r) A log pi with the clipped ratio as a constant, so that no token loses its gradient (CISPO,
    arXiv 2506.13585). clip_high above clip_low is DAPO's clip-higher (arXiv 2503.14476). With r = 1, which one update a
    round makes sure of, every form has the gradient of `reinforce`. Source: Shao et al. 2024, arXiv 2402.03300, Eq. 3; its
    KL term is the modifier `kl`.
    """
    logs = token_logps.values - behaviour_token_logps.values
    if ratio == "sequence":
        plain = Ragged(logs, torch.ones_like(logs), token_logps.rows)
        mean = plain.sum_by_row(logs, len(tokens)) / tokens
        here = mean[token_logps.rows]
        # the value of the whole answer's ratio, and of each token its share of that ratio's gradient
        logs = here.detach() + token_logps.values - token_logps.values.detach()
    ratios = logs.exp()
    clipped = ratios.clamp(1 - clip_low, 1 + clip_high)
    if surrogate == "cispo":
        gains = clipped.detach() * advantages.values * token_logps.values
    else:
        gains = torch.minimum(ratios * advantages.values, clipped * advantages.values)
    return _averaged(-token_logps.sum_by_row(gains, len(tokens)), tokens, per, length)


def oreal(
    token_logps: Ragged,
    advantages: Ragged,
    tokens: Tensor,
    *,
    negatives: Annotated[float, Field(ge=0)] = 0.5,
    positive: Literal["clone", "advantage"] = "clone",
    per: Literal["class-tokens", "sequence"] = "class-tokens",
) -> Losses:
    """Behaviour cloning on right answers and a reshaped policy gradient on wrong ones: -log pi on an answer whose advantage is
    above 0, negatives * |A| * log pi on one below.

    token_logps, advantages: (tokens,) of all rows; tokens: (rows,). negatives: eta of the paper; 0.5 is the released
    configuration's. positive: a right answer counts 1 (paper), or its advantage (released code, `pos_mult_adv`). per: the
    tokens of all right answers alike and those of all wrong ones alike, or each answer over its own tokens and then the mean
    of either kind; the two kinds never share a divisor. The shaping of the paper is the advantage `shaped`, its token weights
    the modifier `token-credit`, its KL term the modifier `kl`. Source: Lyu et al. 2025, arXiv 2502.06781, Eq. 11.
    """
    rows = len(tokens)
    sums = advantages.values.new_zeros(rows).index_add(0, advantages.rows, advantages.values)
    is_right, is_wrong = sums > 0, sums < 0
    factors = torch.where(advantages.values > 0, 1.0, 0.0) if positive == "clone" else advantages.values.clamp(min=0)
    factors = factors + negatives * advantages.values.clamp(max=0)
    losses = -token_logps.sum_by_row(factors * token_logps.values, rows)
    divisors = torch.ones_like(losses)
    for kind in (is_right, is_wrong):
        divisor = (tokens * kind).sum() if per == "class-tokens" else tokens * kind.sum()
        divisors = torch.where(kind, divisor, divisors)
    return Losses(rows * losses / divisors, torch.ones_like(losses))


def check_length(per: Per, length: int | None) -> None:
    """OperatorError unless `length` is given exactly where `per` asks for it."""
    if (per == "constant") != (length is not None):
        raise OperatorError(
            "objective: `per: constant` needs `length`, the tokens that every answer is divided by, and only it does."
        )


def _averaged(losses: Tensor, tokens: Tensor, per: Per, length: int | None) -> Losses:
    """Row losses that are sums over tokens, with the divisor that `per` asks for."""
    check_length(per, length)
    if per == "token":
        return Losses(losses, tokens)
    divisor = torch.full_like(tokens, float(length)) if length is not None else tokens
    return Losses(losses / divisor, torch.ones_like(losses))


def on_policy(objective: Objective) -> Objective:
    """The objective that has the same gradient where the student has not moved since it gave the answers, itself where there
    is none. For `grpo` the ratio is 1 there and it is `reinforce`, whose gradient does not depend on log-probs, so a step
    needs neither a pass before its own nor the log-probs of the sampling policy; `actions` needs the latter no more."""
    plain = objective.func if isinstance(objective, functools.partial) else objective
    if plain is actions:
        return where_it_has_not_moved(objective)
    if plain is not grpo:
        return objective
    options = objective.keywords if isinstance(objective, functools.partial) else {}
    return functools.partial(reinforce, **{name: options[name] for name in ("per", "length") if name in options})
