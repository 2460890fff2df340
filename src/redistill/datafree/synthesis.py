"""One batch of images out of a frozen teacher: a fresh generator and fresh latent vectors, the best iterate kept.

    made = invert(teacher, inputs, student, head, head_optimizer, bank, settings, images)
    made.pixels     (N, C, H, W) bytes          made.labels     (N,) the classes they were asked to be
    bank.add(made.local, made.global_)          so that the next batch must differ from this one

The head and its optimizer live on from batch to batch, as does the bank; the generator and z do not.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from redistill.datafree import losses
from redistill.datafree.bank import MemoryBank
from redistill.datafree.features import BatchNormInputs, image_features
from redistill.datafree.generator import Generator, Head
from redistill.datafree.settings import ImageSettings, SynthesisSettings
from redistill.datafree.views import augmented, local_view


@dataclass(frozen=True, slots=True)
class MadeBatch:
    """Images of the iterate with the lowest total loss, features of its two views (N, D), its step and its losses."""

    pixels: Tensor
    labels: Tensor
    local: Tensor
    global_: Tensor
    best_step: int
    losses: dict[str, float]


@dataclass(frozen=True, slots=True)
class _Iterate:
    """What one step gives: total loss with its gradient, its terms, and the features of both views."""

    total: Tensor
    terms: dict[str, Tensor]
    local: Tensor
    global_: Tensor


def invert(
    teacher: nn.Module,
    inputs: BatchNormInputs,
    student: nn.Module | None,
    head: Head,
    head_optimizer: torch.optim.Optimizer,
    bank: MemoryBank,
    settings: SynthesisSettings,
    images: ImageSettings,
) -> MadeBatch:
    """Invert the teacher into a batch, by Adam on a fresh generator and its z. `student`: whom the images oppose, or None.

    Teacher and student take images with values in 0..1, are in evaluation mode, and are not changed. inputs: of the teacher.
    """
    device = next(teacher.parameters()).device
    labels = torch.randint(images.classes, (settings.batch_size,)).to(device)
    z = torch.randn(settings.batch_size, settings.latent).to(device).requires_grad_()
    generator = Generator(latent=settings.latent, width=settings.width, size=images.size, channels=images.channels)
    generator = generator.to(device).train()
    optimizer = torch.optim.Adam([*generator.parameters(), z], lr=settings.learning_rate, betas=(0.5, 0.999))
    best: MadeBatch | None = None
    for step in range(settings.steps):
        made = generator(z)
        iterate = _one_step(teacher, inputs, student, head, bank, settings, made, labels)
        total = iterate.total.item()
        if best is None or total < best.losses["total"]:
            terms = {"total": total, **{name: value.item() for name, value in iterate.terms.items()}}
            best = MadeBatch(
                _bytes(made), labels.cpu(), iterate.local.detach().cpu(), iterate.global_.detach().cpu(), step, terms
            )
        optimizer.zero_grad()
        head_optimizer.zero_grad()
        iterate.total.backward()
        optimizer.step()
        if settings.cr:
            head_optimizer.step()
    assert best is not None
    return best


def _one_step(
    teacher: nn.Module,
    inputs: BatchNormInputs,
    student: nn.Module | None,
    head: Head,
    bank: MemoryBank,
    settings: SynthesisSettings,
    made: Tensor,
    labels: Tensor,
) -> _Iterate:
    """The losses of the generator's images. Statistics, labels and the student see the global view, as in the released code."""
    views = augmented(made, pad=settings.views.pad, flips=settings.views.flip)
    logits = teacher(views)
    terms = {"oh": losses.class_prior(logits, labels)}
    global_ = local = made.new_zeros(len(made), 0)
    if inputs.layers:
        global_ = image_features(inputs.tensors)
        terms["bn"] = losses.bn_statistics(
            inputs.tensors, inputs.means, inputs.variances, distance=settings.bn_distance
        )
    if student is not None and settings.adv:
        terms["adv"] = losses.adversarial(logits, student(views), mask=settings.adversarial_mask)
    if settings.cr:
        teacher(local_view(made, min_area=settings.views.min_area, flips=settings.views.flip))
        local = image_features(inputs.tensors)
        cached_local, cached_global = (rows.to(made.device) for rows in bank.sample(settings.cached))
        terms["cr"] = losses.contrastive(
            local, global_, cached_local, cached_global, head=head, tau=settings.tau, rows=settings.cached_rows
        )
    total = sum((getattr(settings, name) * value for name, value in terms.items()), start=made.new_zeros(()))
    return _Iterate(total, terms, local, global_)


def _bytes(made: Tensor) -> Tensor:
    """Values in 0..1 as the bytes of an image file."""
    return (made.detach() * 255).round().to(torch.uint8).cpu()
