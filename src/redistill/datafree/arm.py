"""One arm: its transfer set and the student trained on it, in units that a killed run does not do twice.

    arms/cmi/batches/00003.safetensors    images (bytes), labels, and the features that the memory bank holds of them
    arms/cmi/state.safetensors            student, head, and their optimizers after the last unit
    arms/cmi/progress.json                how many units are done, the checksum of every file, the losses
    arms/cmi/images.npz                   the whole transfer set: images (uint8, N x H x W x C) and labels
    arms/cmi/student/                     a classifier of ours

A unit is one batch of images or one epoch of the student. Each draws its random numbers from the recipe's seed and its own
number, so that a run that was killed and goes on ends with the same bytes as one that was not.
"""

import contextlib
import io
import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from redistill.datafree.bank import MemoryBank
from redistill.datafree.features import BatchNormInputs, image_features, need_batch_norm
from redistill.datafree.generator import Head
from redistill.datafree.image_sets import ImageSet
from redistill.datafree.networks import Normalised, build, save
from redistill.datafree.settings import Arm, DatafreeRecipe
from redistill.datafree.synthesis import MadeBatch, invert
from redistill.datafree.training import distill_epoch, seeded, sgd
from redistill.errors import OperatorError
from redistill.io.atomic import atomic_write, find_corrupt, read_json, sha256_file, write_bytes, write_json
from redistill.io.progress import bar

STATE, PROGRESS = "state.safetensors", "progress.json"
Unit = tuple[Literal["invert", "distill"], int]  # and the batch's or the epoch's number


def units_of(arm: Arm) -> Iterator[Unit]:
    """The units of an arm in order.

    non-adversarial: all batches, then all epochs. adversarial: all batches, then a batch more before every `invert_every`-th
    epoch, which opposes the student as it is then. from-scratch: the same without batches before.
    """
    made = 0
    inverted = arm.images == "inverted"
    if inverted and arm.mode != "from-scratch":
        for made in range(arm.synthesis.batches):
            yield "invert", made
        made = arm.synthesis.batches
    for epoch in range(arm.distill.epochs):
        if inverted and arm.mode != "non-adversarial" and epoch % arm.synthesis.invert_every == 0:
            yield "invert", made
            made += 1
        yield "distill", epoch


def num_batches(arm: Arm) -> int:
    """How many batches of images an arm makes."""
    return sum(kind == "invert" for kind, _ in units_of(arm))


@dataclass
class ArmRun:
    """An arm in the making: what its units change, and its folder."""

    recipe: DatafreeRecipe
    arm: Arm
    folder: Path
    teacher: nn.Module  # takes images with values in 0..1; frozen
    data: ImageSet | None
    done: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        images, settings = self.recipe.images, self.arm.synthesis
        self.device = next(self.teacher.parameters()).device
        self.inputs = BatchNormInputs(self.teacher)
        if self.arm.images == "inverted":
            need_batch_norm(self.inputs, bn=settings.bn, cr=settings.cr)
        with torch.no_grad():
            self.teacher(torch.zeros(1, images.channels, images.size, images.size, device=self.device))
        width = image_features(self.inputs.tensors).shape[1] if self.inputs.layers else 1
        with seeded(self.recipe.seed, "head"):
            self.head = Head(width, settings.head_width).to(self.device)
        with seeded(self.recipe.seed, "student"):
            self.network = build(self.recipe.student.network, images, "student.network")
        self.student = Normalised(self.network, images).to(self.device)
        self.head_optimizer = torch.optim.Adam(self.head.parameters(), lr=settings.learning_rate)
        self.optimizer = sgd(self.student, self.arm.distill)
        self.bank = MemoryBank(min(settings.bank, max(1, num_batches(self.arm) * settings.batch_size)), width)
        self.pool: list[Tensor] = []
        self.labels: list[Tensor] = []

    # --- units

    def run(self) -> None:
        """Do the units that are not done, and write the student and the transfer set."""
        units = list(units_of(self.arm))
        self.resume()
        if self.arm.images != "inverted":
            self._take_images()
        for kind, number in bar(units[self.done :], self.folder.name, unit="unit", total=len(units), initial=self.done):
            with seeded(self.recipe.seed, kind, number), _memory_for(f"arm {self.folder.name}"):
                self._invert(number) if kind == "invert" else self._distill(number)
            self.done += 1
            self._write_state()
        self._finish()

    def _invert(self, number: int) -> None:
        before = (
            0 if self.arm.mode == "from-scratch" else self.arm.synthesis.batches
        )  # made while there is nobody to oppose
        opposed = number >= before
        self.student.eval()
        made = invert(
            self.teacher, self.inputs, self.student if opposed else None, self.head, self.head_optimizer, self.bank,
            self.arm.synthesis, self.recipe.images,
        )  # fmt: skip
        tensors = {"images": made.pixels, "labels": made.labels, "local": made.local, "global": made.global_}
        with atomic_write(self._batch_file(number)) as part:
            save_file({name: value.contiguous() for name, value in tensors.items()}, part)
        self._take(made.pixels, made.labels, made.local, made.global_)
        self.history.append({"unit": "invert", "number": number, "best_step": made.best_step, **_finite(made, number)})

    def _distill(self, number: int) -> None:
        pixels = torch.cat(self.pool).to(self.device)
        loss = distill_epoch(self.student, self.teacher, pixels, self.arm.distill, self.optimizer, number)
        if not math.isfinite(loss) or not all(weight.isfinite().all() for weight in self.network.parameters()):
            raise OperatorError(
                f"arm {self.folder.name}: the student's loss or weights are not finite; lower distill.learning_rate."
            )
        self.history.append({"unit": "distill", "number": number, "images": len(pixels), "loss": loss})

    def _take(self, pixels: Tensor, labels: Tensor, local: Tensor, global_: Tensor) -> None:
        self.pool.append(pixels)
        self.labels.append(labels)
        if self.arm.synthesis.cr:
            self.bank.add(local, global_)

    def _take_images(self) -> None:
        """The transfer set of an arm that inverts nothing: real images, or as many of clipped Gaussian noise as another arm makes."""
        images = self.recipe.images
        if self.arm.images == "real":
            assert self.data is not None
            pixels, labels = self.data.train.pixels, self.data.train.labels
        else:
            count = num_batches(self.arm.model_copy(update={"images": "inverted"})) * self.arm.synthesis.batch_size
            mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (images.mean, images.std))
            with seeded(self.recipe.seed, "noise"):
                pixels = mean + std * torch.randn(count, images.channels, images.size, images.size)
            labels = torch.full((count,), -1)
        self.pool, self.labels = [(pixels.clamp(0, 1) * 255).round().to(torch.uint8)], [labels]

    # --- files

    def _batch_file(self, number: int) -> Path:
        return self.folder / "batches" / f"{number:05d}.safetensors"

    def _state(self) -> dict[str, Tensor]:
        """Everything that a unit changes, as tensors."""
        state = {f"student.{name}": value for name, value in self.network.state_dict().items()}
        state |= {f"head.{name}": value for name, value in self.head.state_dict().items()}
        for prefix, optimizer in (("sgd", self.optimizer), ("adam", self.head_optimizer)):
            for index, values in optimizer.state_dict()["state"].items():
                state |= {f"{prefix}.{index}.{name}": torch.as_tensor(v) for name, v in values.items() if v is not None}
        return {name: value.detach().cpu().contiguous() for name, value in state.items()}

    def _write_state(self) -> None:
        """State, then the line that makes it count. Both old and new state lie there until it does."""
        new = self.folder / f"state-{self.done:05d}.safetensors"
        with atomic_write(new) as part:
            save_file({name: value.clone() for name, value in self._state().items()}, part)
        batches = sum(line["unit"] == "invert" for line in self.history)
        sums = read_json(self.folder / PROGRESS)["files"] if (self.folder / PROGRESS).exists() else {}
        sums = {name: value for name, value in sums.items() if not name.startswith("state-")}
        for number in range(batches):
            name = f"batches/{number:05d}.safetensors"
            if name not in sums:
                sums[name] = sha256_file(self.folder / name)
        sums[new.name] = sha256_file(new)
        write_json(self.folder / PROGRESS, {"done": self.done, "files": sums, "history": self.history})
        for path in self.folder.glob("state-*.safetensors"):
            if path != new:
                path.unlink()

    def resume(self) -> None:
        """Take up what an earlier run has finished. OperatorError where a file of it has changed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / PROGRESS).exists():
            return
        progress = read_json(self.folder / PROGRESS)
        damaged = find_corrupt(self.folder, progress["files"])
        if damaged is not None:
            raise OperatorError(
                f"{self.folder / damaged} is missing or corrupt; delete {self.folder} and run the same command to rebuild it."
            )
        self.done, self.history = progress["done"], progress["history"]
        for name in sorted(name for name in progress["files"] if name.startswith("batches/")):
            tensors = load_file(self.folder / name)
            self._take(tensors["images"], tensors["labels"], tensors["local"], tensors["global"])
        (state,) = (name for name in progress["files"] if name.startswith("state-"))
        self._load_state(load_file(self.folder / state))

    def _load_state(self, state: dict[str, Tensor]) -> None:
        for prefix, module in (("student", self.network), ("head", self.head)):
            module.load_state_dict(_below(state, prefix))
        for prefix, optimizer in (("sgd", self.optimizer), ("adam", self.head_optimizer)):
            values: dict[int, dict[str, Tensor]] = {}
            for name, value in _below(state, prefix).items():
                index, _, key = name.partition(".")
                values.setdefault(int(index), {})[key] = value
            whole = optimizer.state_dict()
            optimizer.load_state_dict({"state": values, "param_groups": whole["param_groups"]})

    def _finish(self) -> None:
        """The student as a classifier of ours, and the transfer set as one file of numpy's."""
        save(self.network, self.recipe.student.network, self.recipe.images, self.folder / "student")
        packed = io.BytesIO()
        pixels = torch.cat(self.pool).permute(0, 2, 3, 1).numpy()
        np.savez_compressed(packed, images=pixels, labels=torch.cat(self.labels).numpy())
        write_bytes(self.folder / "images.npz", packed.getvalue())

    def transfer_set(self) -> tuple[Tensor, Tensor]:
        """All images (N, C, H, W) of bytes and their labels (N,); -1 where nobody asked for a class."""
        return torch.cat(self.pool), torch.cat(self.labels)


def _below(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) + 1 :]: value for name, value in state.items() if name.startswith(f"{prefix}.")}


@contextlib.contextmanager
def _memory_for(where: str) -> Iterator[None]:
    """OperatorError where what is done inside does not fit into memory."""
    try:
        yield
    except (
        MemoryError,
        RuntimeError,
    ) as error:  # torch raises a RuntimeError on a CPU, and one of its own kinds on a GPU
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        raise OperatorError(
            f"{where}: out of memory; lower synthesis.batch_size, synthesis.width or distill.batch_size."
        ) from error


def _finite(made: MadeBatch, number: int) -> dict[str, float]:
    """The losses of a batch. OperatorError where they are not finite."""
    if not all(map(math.isfinite, made.losses.values())):
        raise OperatorError(f"batch {number}: the inversion's loss is not finite; lower synthesis.learning_rate.")
    return made.losses


def remove(folder: Path) -> None:
    """Remove an arm's folder with all that it has made."""
    if folder.exists():
        shutil.rmtree(folder)
