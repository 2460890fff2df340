"""Two parts that the package has not: a reward that says nothing, and advantages of wrong answers alone."""

import torch
from torch import Tensor

from redistill.records import Problem, Trace, content_id
from redistill.train.advantages import mean


def drawn(problem: Problem, trace: Trace, *, share: float = 0.2) -> float | None:
    """1.0 for `share` of the answers, drawn by a hash of problem and text, else 0.0: about as often 1 as accuracy is at first."""
    return float(int(content_id("", problem.id, trace.completion), 16) % 10_000 < share * 10_000)


def wrong_alone(rewards: Tensor, known: Tensor) -> Tensor:
    """The advantage `mean` where it is below 0, and 0 for right answers; rewards and known (problems, n)."""
    return torch.clamp(mean(rewards, known), max=0.0)
