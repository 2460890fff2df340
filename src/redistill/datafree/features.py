"""What goes on inside a frozen teacher: the inputs of its batch-normalisation layers, and image features made of them."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from redistill.errors import OperatorError


class BatchNormInputs:
    """Remembers, of the last forward pass, what came into each batch-normalisation layer of a classifier.

    inputs = BatchNormInputs(teacher); logits = teacher(images); inputs.tensors    [(N, C, H, W), ...], one per layer passed
    """

    def __init__(self, classifier: nn.Module) -> None:
        self.layers = [
            module
            for module in classifier.modules()
            if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None
        ]
        self._passed: list[tuple[nn.BatchNorm2d, Tensor]] = []  # a layer that is used twice stands here twice
        self._handles = [layer.register_forward_pre_hook(self._remember) for layer in self.layers]
        self._handles.append(classifier.register_forward_pre_hook(lambda *_: self._passed.clear()))

    def _remember(self, layer: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        self._passed.append((cast(nn.BatchNorm2d, layer), arguments[0]))

    @property
    def tensors(self) -> list[Tensor]:
        """What came in, (N, C, H, W) each, in the order of the pass."""
        return [tensor for _, tensor in self._passed]

    @property
    def means(self) -> list[Tensor]:
        """The stored mean (C,) of each layer passed."""
        return [cast(Tensor, layer.running_mean) for layer, _ in self._passed]

    @property
    def variances(self) -> list[Tensor]:
        """The stored variance (C,) of each layer passed."""
        return [cast(Tensor, layer.running_var) for layer, _ in self._passed]

    def close(self) -> None:
        """Listen no more."""
        for handle in self._handles:
            handle.remove()


def need_batch_norm(inputs: BatchNormInputs, *, bn: float, cr: float) -> None:
    """OperatorError where a loss asks for batch-normalisation layers and the teacher has none."""
    if not inputs.layers and (bn or cr):
        raise OperatorError(
            "teacher: it has no batch-normalisation layer, which synthesis.bn and synthesis.cr need; write "
            "synthesis: {bn: 0, cr: 0}, or choose a convolutional teacher with batch normalisation."
        )


def image_features(tensors: Sequence[Tensor]) -> Tensor:
    """Inputs of the layers (N, C, H, W) to one vector per image (N, D): the mean over space of each, one after the other."""
    return torch.cat([tensor.mean(dim=(2, 3)) for tensor in tensors], dim=1)


def mean_cosine_distance(features: Tensor) -> float:
    """1 minus the mean cosine of all pairs of different rows (N, D), N at least 2: 0 where all point the same way.

    Of unit vectors u the sum over pairs is |sum u|^2 - N, so no N x N table is made.
    """
    units = torch.nn.functional.normalize(features.double(), dim=1)
    count = len(units)
    return float(1 - (units.sum(dim=0).square().sum() - units.square().sum()) / (count * (count - 1)))


def mean_distance_within(features: Tensor, labels: Tensor) -> float | None:
    """`mean_cosine_distance` of the images of one label, a mean over the labels with two or more; None where there is none."""
    means = [
        mean_cosine_distance(features[labels == label]) for label in labels.unique() if (labels == label).sum() > 1
    ]
    return sum(means) / len(means) if means else None
