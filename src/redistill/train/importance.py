"""Truncated importance sampling: what a server sampled, weighed as if the policy in training had sampled it.

    corrected = importance([-1.0, -2.0], [-1.0, -4.0], cap=2.0)
    corrected.weights      [1.0, 2.0]: exp(0), and exp(2) = 7.39 cut to 2

A server's kernels, and its number type, give a token another probability than the kernel that trains, though the weights are the
same. Each token's advantage is multiplied by min(cap, pi_train / pi_server), a constant of the round: a value of a token,
never the weight of a row. Source: Yao et al. 2025, fengyao.notion.site/off-policy-rl; the estimator is Ionides 2008.
"""

from typing import NamedTuple

import numpy as np


class Corrected(NamedTuple):
    """weights (tokens,), their mean over the tokens whose log-prob the server returned, and the share of those that were cut."""

    weights: np.ndarray
    mean: float | None
    truncated: float | None


def importance(train_logps: np.ndarray, server_logps: np.ndarray, *, cap: float) -> Corrected:
    """train_logps, server_logps: (tokens,) in nats, under one and the same student; a token whose log-prob the server did not tell
    (nan) has weight 1."""
    known = np.isfinite(server_logps)
    apart = np.where(known, train_logps - np.where(known, server_logps, 0.0), 0.0)
    weights = np.where(known, np.minimum(np.exp(np.minimum(apart, 700.0)), cap), 1.0)
    if not known.any():
        return Corrected(weights, None, None)
    return Corrected(weights, float(weights[known].mean()), float((apart[known] > np.log(cap)).mean()))
