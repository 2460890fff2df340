"""What an arm came to: the student's accuracy on real test images, and how varied the transfer set is in the teacher's eyes."""

from typing import Any

import torch
from torch import Tensor, nn

from redistill.datafree.features import BatchNormInputs, image_features, mean_cosine_distance, mean_distance_within
from redistill.datafree.image_sets import Images
from redistill.datafree.training import SCORE_BATCH, predictions

MOST_COMPARED = 4_096  # images whose features are compared, the first ones; enough for three digits


def accuracy(network: nn.Module, test: Images, teacher: nn.Module | None = None) -> dict[str, Any]:
    """Right answers on test images; with a teacher also how often both name the same class."""
    device = next(network.parameters()).device
    predicted = predictions(network, test.pixels.to(device)).cpu()
    right = int((predicted == test.labels).sum())
    scores: dict[str, Any] = {"n": len(test), "correct": right, "accuracy": right / len(test)}
    if teacher is not None:
        same = predictions(teacher, test.pixels.to(device)).cpu() == predicted
        scores["agreement"] = float(same.double().mean())
    return scores


def describe_images(teacher: nn.Module, pixels: Tensor, labels: Tensor) -> dict[str, Any]:
    """Of a transfer set (N, C, H, W) of bytes: its size, `diversity`, `diversity_within` a class, `as_asked` and `seen`.

    The diversities are mean cosine distances of the input of the teacher's last linear layer (of the means of what comes into
    its batch-normalisation layers, where it has no linear layer), over all pairs, and over pairs of one class of the teacher's.
    as_asked: the share that the teacher gives the label that was asked for; None where none was. seen: classes it sees.
    """
    device = next(teacher.parameters()).device
    features, logits = _features(teacher, pixels[:MOST_COMPARED].to(device))
    labels = labels[:MOST_COMPARED]
    asked = bool((labels >= 0).all())
    return {
        "images": len(pixels),
        "diversity": mean_cosine_distance(features) if len(features) > 1 else None,
        "diversity_within": mean_distance_within(features, logits),
        "as_asked": float((labels == logits).double().mean()) if asked else None,
        "seen": len(logits.unique()),
    }


def _features(teacher: nn.Module, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """The features of images and the classes that the teacher gives them."""
    linear = [module for module in teacher.modules() if isinstance(module, nn.Linear)]
    inputs, last = BatchNormInputs(teacher), []
    handle = linear[-1].register_forward_pre_hook(lambda _, arguments: last.append(arguments[0])) if linear else None
    features, logits = [], []
    with torch.no_grad():
        for part in pixels.split(SCORE_BATCH):
            last.clear()
            logits.append(teacher(part.float() / 255).argmax(dim=1))
            features.append(last[-1].flatten(1) if linear else image_features(inputs.tensors))
    inputs.close()
    if handle is not None:
        handle.remove()
    return torch.cat(features).cpu(), torch.cat(logits).cpu()
