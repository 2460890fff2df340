"""Distillation: lower the divergence of the student's next-token distributions from a teacher's, over the whole vocabulary.

On a corpus's examples, or on the student's own answers in a stage with `rollouts` (generalized knowledge distillation).

    distill(teacher_divergences, tokens, divergence="jsd", beta=0.5)
"""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from redistill.train.objectives.calling import Losses, Ragged


def distill(
    teacher_divergences: Ragged,
    tokens: Tensor,
    *,
    divergence: Literal["forward-kl", "reverse-kl", "jsd"] = "forward-kl",
    beta: Annotated[float, Field(gt=0, lt=1)] = 0.5,
    temperature: Annotated[float, Field(gt=0)] = 1.0,
    top_k: Annotated[int, Field(ge=1)] | None = None,
    tail: Literal["bucket", "renormalise"] = "bucket",
    aggregation: Literal["token", "sequence"] = "token",
) -> Losses:
    """The divergence from the teacher at every completion token. teacher_divergences: (tokens,) of all rows; tokens: (rows,).

    divergence: forward-kl KL(teacher || student), reverse-kl KL(student || teacher), or the generalized Jensen-Shannon
    divergence with `beta`. temperature divides the logits of both; the loss is not multiplied by its square. top_k: the
    teacher's likeliest tokens alone are compared, and what lies outside is one more outcome (`tail: bucket`) or left out of both
    (`renormalise`); in a stage on examples they are stored once. aggregation as in `sft`. Source: Agarwal et al. 2024, GKD,
    arXiv 2306.13649, section 2 and Eq. 1; Hinton et al. 2015, arXiv 1503.02531.
    """
    losses = teacher_divergences.sum_by_row(teacher_divergences.values, len(tokens))
    if aggregation == "token":
        return Losses(losses, tokens)
    return Losses(losses / tokens, torch.ones_like(losses))
