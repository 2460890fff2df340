"""From rewards to advantages: by how much each sampled answer was better than the other answers to its problem.

    rewards = tensor([[1, 0, 0, 0]]);  known = ones(1, 4, dtype=bool)
    group(rewards, known)              ->  [[1.5, -0.5, -0.5, -0.5]]       GRPO
    leave_one_out(rewards, known)      ->  [[1, -1/3, -1/3, -1/3]]         RLOO

Each takes rewards (problems, n) and known (problems, n), which is False where a reward is not known (an answer that could
not be judged is not a wrong answer), and returns advantages (problems, n) in fp64: 0 where unknown, and 0 for a whole row
with fewer than two known rewards, because then there is nothing to compare. `teacher` is of single tokens instead, and `actions` of attempts and verifications (action_advantages.py). The keyword-only arguments are the options of a recipe.

To add one: a function, a line in ADVANTAGES, a hand-worked test, a line in docs/objectives.md.
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from redistill.train.action_advantages import actions

Advantage = Callable[..., Any]


def group(
    rewards: Tensor, known: Tensor, *, eps: Annotated[float, Field(ge=0)] = 1e-4, ddof: Literal[0, 1] = 1
) -> Tensor:
    """(r - mean) / (std + eps) over the known answers to the problem: GRPO. Source: Shao et al. 2024, arXiv 2402.03300.

    ddof 1 is the sample standard deviation, as in TRL and verl; 0 the population's. A problem whose answers all earn the
    same has advantages of exactly 0.
    """
    centred, count, comparable = _centred(rewards, known)
    variance = (centred**2).sum(1, keepdim=True) / (count - ddof)
    return torch.where(comparable, centred / (variance.sqrt() + eps), 0.0)


def leave_one_out(rewards: Tensor, known: Tensor) -> Tensor:
    """r - mean of the other known answers: RLOO. Source: Ahmadian et al. 2024, arXiv 2402.14740."""
    centred, count, comparable = _centred(rewards, known)
    return torch.where(comparable, centred * count / (count - 1), 0.0)


def mean(rewards: Tensor, known: Tensor) -> Tensor:
    """r - mean of the known answers, not divided by their spread: Dr. GRPO. Source: Liu et al. 2025, arXiv 2503.20783."""
    centred, _, comparable = _centred(rewards, known)
    return torch.where(comparable, centred, 0.0)


def shaped(rewards: Tensor, known: Tensor, *, form: Literal["paper", "code"] = "paper") -> Tensor:
    """OREAL's reshaped rewards; an answer is right where its reward is above 0, p is the problem's pass rate.

    paper: a right answer counts 1, a wrong one -(1 - p), whose size falls as p rises. code: leave-one-out over rewards of +1 and -1, 2 (K - c)/(K - 1) for a right and -2 c/(K - 1) for a wrong one of
    K answers of which c are right, so that a wrong one's size rises with p. A problem with one kind of answer alone has 0.
    Source: Lyu et al. 2025, arXiv 2502.06781, section 3 (paper) and the released configuration (code).
    """
    right = known & (rewards > 0)
    count, c = (answers.sum(1, keepdim=True).double() for answers in (known, right))
    if form == "paper":
        advantage = torch.where(right, 1.0, c / count - 1)
    else:
        advantage = torch.where(right, count - c, -c) * 2 / (count - 1)
    return torch.where(known & (c > 0) & (c < count), advantage, 0.0)


def teacher(
    teacher_token_logps: Tensor, behaviour_token_logps: Tensor, *, clip: Annotated[float, Field(gt=0)] | None = None
) -> Tensor:
    """log pi_T - log pi_S of every sampled token, (tokens,) each: on-policy distillation. With it `reinforce` follows the
    gradient of the reverse KL divergence from the teacher, token by token, and asks no reward.

    clip: the largest size of an advantage. Source: Agarwal et al. 2024, arXiv 2306.13649; Lu et al. 2025,
    thinkingmachines.ai/blog/on-policy-distillation.
    """
    apart = teacher_token_logps - behaviour_token_logps
    return apart if clip is None else apart.clamp(-clip, clip)


def _centred(rewards: Tensor, known: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(r - mean over the known, 0 where unknown; how many are known (problems, 1); where two of them differ (problems, 1)).

    Of a problem without two known rewards that differ nothing else means anything: a divisor may be 0.
    """
    rewards = torch.where(known, rewards.double(), 0.0)
    count = known.sum(1, keepdim=True).double()
    least = torch.where(known, rewards, torch.inf).amin(1, keepdim=True)
    most = torch.where(known, rewards, -torch.inf).amax(1, keepdim=True)
    centred = torch.where(known, rewards - rewards.sum(1, keepdim=True) / count, 0.0)
    # equal rewards: their mean may miss them by a rounding, and eps would turn that into a gradient
    return centred, count, least < most


ADVANTAGES: dict[str, Advantage] = {
    "group": group,
    "leave-one-out": leave_one_out,
    "mean": mean,
    "shaped": shaped,
    "teacher": teacher,
    "actions": actions,
}
