"""Training and scoring classifiers: a student on the teacher's logits, a teacher on real labels, accuracy on test images.

Networks here take images with values in 0..1 (networks.Normalised).
"""

import contextlib
import hashlib
import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from redistill.datafree.image_sets import Images
from redistill.datafree.losses import distillation
from redistill.datafree.settings import DistillSettings, TrainSettings
from redistill.datafree.views import augmented

SCORE_BATCH = 512


@contextlib.contextmanager
def seeded(seed: int, *what: object) -> Iterator[None]:
    """Inside, torch's random numbers depend on the seed and on `what` alone; outside, they go on as before."""
    digest = hashlib.sha256(repr((seed, *what)).encode()).digest()
    with torch.random.fork_rng():
        torch.manual_seed(int.from_bytes(digest[:7], "big"))
        yield


def cosine(rate: float, epoch: int, epochs: int) -> float:
    """The learning rate of an epoch (from 0): half a cosine from `rate` towards 0."""
    return rate * 0.5 * (1 + math.cos(math.pi * epoch / epochs))


def sgd(network: nn.Module, settings: DistillSettings | TrainSettings) -> torch.optim.SGD:
    """SGD with momentum over all weights."""
    return torch.optim.SGD(
        network.parameters(), lr=settings.learning_rate, momentum=settings.momentum, weight_decay=settings.weight_decay
    )


def batches(count: int, size: int, steps: int) -> Iterator[Tensor]:
    """Row numbers of `steps` batches: passes over `count` rows, each in a new order; a pass's last batch may be smaller.

    A last batch of one row joins none: batch normalisation needs two.
    """
    done = 0
    while done < steps:
        for rows in torch.randperm(count).split(size):
            if done == steps:
                return
            if len(rows) > 1 or count == 1:
                done += 1
                yield rows


def distill_epoch(
    student: nn.Module,
    teacher: nn.Module,
    pixels: Tensor,
    settings: DistillSettings,
    optimizer: torch.optim.SGD,
    epoch: int,
) -> float:
    """One epoch on images (N, C, H, W) of bytes; the mean loss. The teacher is frozen and sees what the student sees."""
    for group in optimizer.param_groups:
        group["lr"] = cosine(settings.learning_rate, epoch, settings.epochs)
    steps = settings.steps or math.ceil(len(pixels) / settings.batch_size)
    student.train()
    total = taken = 0.0
    for rows in batches(len(pixels), settings.batch_size, steps):
        views = augmented(pixels[rows].float() / 255, pad=settings.augment.pad, flips=settings.augment.flip)
        with torch.no_grad():
            wanted = teacher(views)
        loss = distillation(wanted, student(views), temperature=settings.temperature)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total, taken = total + loss.item(), taken + 1
    student.eval()
    return total / taken


def train_on_labels(network: nn.Module, data: Images, settings: TrainSettings) -> None:
    """Train a classifier on real labels, in place."""
    optimizer = sgd(network, settings)
    network.train()
    for epoch in range(settings.epochs):
        for group in optimizer.param_groups:
            group["lr"] = cosine(settings.learning_rate, epoch, settings.epochs)
        for rows in batches(len(data), settings.batch_size, math.ceil(len(data) / settings.batch_size)):
            views = augmented(data.pixels[rows], pad=settings.augment.pad, flips=settings.augment.flip)
            loss = F.cross_entropy(network(views), data.labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    network.eval()


def predictions(network: nn.Module, pixels: Tensor) -> Tensor:
    """The class (N,) that a classifier gives each image (N, C, H, W) with values in 0..1."""
    network.eval()
    with torch.no_grad():
        return torch.cat([network(part).argmax(dim=1) for part in pixels.split(SCORE_BATCH)])
