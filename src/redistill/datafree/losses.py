"""The losses of contrastive model inversion (CMI, arXiv 2105.08584), each a function of tensors and nothing else.

    L_inv = bn * bn_statistics + oh * class_prior + adv * adversarial
    L     = L_inv + cr * contrastive

Where two forms of a loss are in use, both are here under a name. The paper's text was not at hand when this was written: a
default is the form of the released code (github.com/zju-vipa/CMI), which was read for its facts and not copied.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor


def class_prior(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the teacher's logits (N, K) to the labels (N,) that the images were asked to have; a mean over N."""
    return F.cross_entropy(logits, labels)


def bn_statistics(
    inputs: Sequence[Tensor],
    means: Sequence[Tensor],
    variances: Sequence[Tensor],
    *,
    distance: Literal["norm", "squared"] = "norm",
) -> Tensor:
    """How far the statistics of a batch are from those that the teacher's batch-normalisation layers have stored.

    inputs: what came into each layer, (N, C, H, W). means, variances: what each layer stored, (C,). The batch's variance is
    the biased one. Summed over layers: |m - m'| + |v - v'| (Euclidean norms, `norm`), or their squares (`squared`).
    """
    total = inputs[0].new_zeros(())
    for batch, mean, variance in zip(inputs, means, variances, strict=True):
        found_mean = batch.mean(dim=(0, 2, 3))
        found_variance = batch.var(dim=(0, 2, 3), unbiased=False)
        for measured, stored in ((found_mean, mean), (found_variance, variance)):
            difference = measured - stored
            total = total + (difference.norm(2) if distance == "norm" else difference.square().sum())
    return total


def adversarial(
    teacher_logits: Tensor, student_logits: Tensor, *, mask: Literal["agreement", "none"] = "agreement"
) -> Tensor:
    """Minus the KL divergence from student to teacher, KL(teacher || student) at temperature 1: it is lowest where they differ.

    Logits are (N, K). With `agreement` only images on which both name the same class count, the others are zero in the mean
    over N: images on which the student is wrong already are not pushed further. `none` counts all.
    """
    divergence = F.kl_div(
        F.log_softmax(student_logits, dim=1), F.log_softmax(teacher_logits, dim=1), log_target=True, reduction="none"
    ).sum(dim=1)
    if mask == "agreement":
        divergence = divergence * (teacher_logits.argmax(dim=1) == student_logits.argmax(dim=1))
    return -divergence.mean()


def contrastive(
    local: Tensor,
    global_: Tensor,
    cached_local: Tensor,
    cached_global: Tensor,
    *,
    head: Callable[[Tensor], Tensor],
    tau: float = 0.1,
    rows: Literal["split", "joint"] = "split",
) -> Tensor:
    """InfoNCE: the local view of an image must be nearer to its own global view than to that of every other image.

    local, global_: features of a batch's two views, (N, D). cached_local, cached_global: those of earlier batches, (M, D), M
    may be 0. head: features to unit vectors. logits = h(local) h(global)^T / tau over all N + M rows, the target of a row is
    itself. No gradient goes into the global side. `split` adds the mean of the N rows and the mean of the M rows, so that a
    large bank does not dilute the batch's gradient; `joint` is the mean of all N + M.
    """
    queries = head(torch.cat([local, cached_local]))
    with torch.no_grad():
        keys = head(torch.cat([global_, cached_global]))
    logits = queries @ keys.T / tau
    losses = F.cross_entropy(logits, torch.arange(len(logits), device=logits.device), reduction="none")
    if rows == "joint" or not len(cached_local):
        return losses.mean()
    return losses[: len(local)].mean() + losses[len(local) :].mean()


def distillation(teacher_logits: Tensor, student_logits: Tensor, *, temperature: float = 20.0) -> Tensor:
    """T^2 KL(teacher || student) of logits (N, K) divided by the temperature T; a mean over N. T^2 keeps the gradient's size."""
    return temperature**2 * F.kl_div(
        F.log_softmax(student_logits / temperature, dim=1),
        F.log_softmax(teacher_logits / temperature, dim=1),
        log_target=True,
        reduction="batchmean",
    )
