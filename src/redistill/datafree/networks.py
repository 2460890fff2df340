"""Classifiers by name: small ones built here, a folder of ours, timm, Hugging Face, and a user's own function.

    network: {name: cnn, width: 24}                        random weights: a student, or a teacher with `train`
    network: {name: folder, path: runs/cmi-digits/arms/cmi/student}
    network: {name: timm, model: resnet18.a1_in1k}
    network: my_models:teacher                             with --code my_models.py: teacher(images) -> nn.Module

A network takes normalised images (N, channels, size, size) and returns logits (N, classes). A folder of ours holds config.json
(the network's table and the images it takes), model.safetensors and checksums.json.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from redistill.config.binding import bind
from redistill.config.plugin_tables import Plugin
from redistill.config.user_plugins import is_own
from redistill.config.validation_messages import sentence_of
from redistill.datafree.settings import ImageSettings
from redistill.errors import OperatorError
from redistill.io.atomic import atomic_write, find_corrupt, read_json, sums_of, write_json

WEIGHTS = "model.safetensors"


def cnn(images: ImageSettings, *, width: int = 24) -> nn.Module:
    """Three 3x3 convolutions with batch normalisation (width, 2 width, 4 width channels), two halvings, a mean and a linear layer."""
    layers: list[nn.Module] = []
    channels: int = images.channels
    for step, out in enumerate((width, 2 * width, 4 * width)):
        layers += [nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if step < 2 else []
        channels = out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, images.classes))


class _WideBlock(nn.Module):
    """Two 3x3 convolutions, each after batch normalisation and ReLU, added to the input (a 1x1 convolution where shapes differ)."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(out)
        self.conv1 = nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.shortcut = None if channels == out else nn.Conv2d(channels, out, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        before = torch.relu(self.norm1(x))
        residual = self.conv2(torch.relu(self.norm2(self.conv1(before))))
        return residual + (x if self.shortcut is None else self.shortcut(before))


def wide_resnet(images: ImageSettings, *, depth: int = 16, widen: int = 1) -> nn.Module:
    """WRN-depth-widen of arXiv 1605.07146 for small images; depth is 6 n + 4 (WRN-40-2 is depth 40, widen 2)."""
    if (depth - 4) % 6 or depth < 10:
        raise OperatorError(f"network wide-resnet: depth {depth} is not 6 n + 4; write 10, 16, 22, 28 or 40.")
    layers: list[nn.Module] = [nn.Conv2d(images.channels, 16, 3, padding=1, bias=False)]
    channels = 16
    for group, stride in ((16, 1), (32, 2), (64, 2)):
        for block in range((depth - 4) // 6):
            layers.append(_WideBlock(channels, group * widen, stride if block == 0 else 1))
            channels = group * widen
    layers += [nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(channels, images.classes))


def folder(images: ImageSettings, *, path: str) -> nn.Module:
    """A classifier that this tool has saved, with its weights; it must take the same images."""
    place = Path(path)
    if not (place / "config.json").is_file():
        raise OperatorError(f"network folder: {place} holds no classifier of redistill (no config.json).")
    config = read_json(place / "config.json")
    if not {"images", "network"} <= set(config) or not (place / "checksums.json").is_file():
        raise OperatorError(
            f"network folder: {place} holds another kind of model, not a classifier that `redistill datafree` saved; for an image "
            "classifier of transformers write {name: huggingface, model: PATH}."
        )
    sums = read_json(place / "checksums.json")
    damaged = find_corrupt(place, sums)
    if damaged is not None or WEIGHTS not in sums:
        raise OperatorError(f"{place / (damaged or WEIGHTS)} is corrupt: checksum mismatch; copy the folder again.")
    try:
        saved = ImageSettings.model_validate(config["images"])
        plugin = Plugin.model_validate(config["network"])
    except ValidationError as error:
        raise OperatorError(f"{place / 'config.json'}: {sentence_of(error.errors()[0], ImageSettings)}") from error
    if saved != images:
        differing = [name for name in ImageSettings.model_fields if getattr(saved, name) != getattr(images, name)]
        said = ", ".join(f"{name} {getattr(saved, name)}" for name in differing)
        raise OperatorError(
            f"network folder: {place} was trained on other images ({said}); set the same values under `images`."
        )
    network = build(plugin, images, str(place))
    try:
        network.load_state_dict(load_file(place / WEIGHTS))
    except (SafetensorError, RuntimeError) as error:
        raise OperatorError(
            f"{place / WEIGHTS} does not fit its config.json: {' '.join(str(error).split())[:200]}"
        ) from error
    return network


def timm(images: ImageSettings, *, model: str) -> nn.Module:
    """A pretrained classifier of the timm library, by its name; needs `pip install timm`."""
    try:
        import timm as library
    except ImportError as error:
        raise OperatorError("network timm: timm is not installed; run pip install timm.") from error
    try:
        return library.create_model(model, pretrained=True, in_chans=images.channels)
    except Exception as error:
        raise OperatorError(
            f"network timm: {model!r} cannot be loaded: {' '.join(str(error).split())[:300]}"
        ) from error


def huggingface(images: ImageSettings, *, model: str, revision: str | None = None) -> nn.Module:
    """An image classifier of the Hugging Face hub or a folder, by AutoModelForImageClassification."""
    from transformers import AutoModelForImageClassification

    try:
        loaded = AutoModelForImageClassification.from_pretrained(model, revision=revision, trust_remote_code=False)
    except (OSError, ValueError) as error:
        words = " ".join(str(error).split())[:300]
        raise OperatorError(f"network huggingface: {model!r} cannot be loaded: {words}") from error
    return _Logits(loaded)


class _Logits(nn.Module):
    """A Hugging Face classifier that returns its logits alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(pixel_values=x).logits


# A network's name in a recipe -> its function. One of a user's own takes the same: (images, *, options).
NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "cnn": cnn,
    "wide-resnet": wide_resnet,
    "folder": folder,
    "timm": timm,
    "huggingface": huggingface,
}
TRAINED = ("folder", "timm", "huggingface")  # those that come with weights


def has_weights(plugin: Plugin) -> bool:
    """Whether a network comes trained; one of a user's own is taken to be."""
    return plugin.name in TRAINED or is_own(plugin.name)


def build(plugin: Plugin, images: ImageSettings, where: str) -> nn.Module:
    """A network by its table in a recipe, checked on two images. OperatorError where it does not take or return what it should."""
    network = bind(NETWORKS, plugin, where)(images)
    if not isinstance(network, nn.Module):
        raise OperatorError(
            f"{where}: {plugin.name} returned {type(network).__name__}; it should return a torch.nn.Module."
        )
    network.eval()
    wanted = (2, images.classes)
    try:
        with torch.no_grad():
            logits = network(torch.zeros(2, images.channels, images.size, images.size))
    except (RuntimeError, TypeError, ValueError) as error:
        words = " ".join(str(error).split())[:200]
        raise OperatorError(
            f"{where}: {plugin.name} does not accept the images that the recipe's `images` describes: {words}"
        ) from error
    if not isinstance(logits, Tensor) or tuple(logits.shape) != wanted:
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise OperatorError(
            f"{where}: {plugin.name} returned {shape} for two images, not logits {wanted}; set images.classes."
        )
    return network


class Normalised(nn.Module):
    """A network that takes images with values in 0..1: it normalises them first."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, images: ImageSettings) -> None:
        super().__init__()
        self.network = network
        for name, values in (("mean", images.mean), ("std", images.std)):
            self.register_buffer(name, torch.tensor(values).view(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return self.network((images - self.mean) / self.std)


def save(network: nn.Module, plugin: Plugin, images: ImageSettings, place: Path) -> None:
    """Write a folder of ours; checksums.json comes last and makes it whole."""
    place.mkdir(parents=True, exist_ok=True)
    config: dict[str, Any] = {"network": plugin.model_dump(mode="json"), "images": images.model_dump(mode="json")}
    write_json(place / "config.json", config)
    with atomic_write(place / WEIGHTS) as part:
        save_file({name: value.contiguous() for name, value in network.state_dict().items()}, part)
    write_json(place / "checksums.json", sums_of(place, [place / "config.json", place / WEIGHTS]))


def weights_digest(network: nn.Module) -> str:
    """A SHA-256 of a network's weights, whatever it came from."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
