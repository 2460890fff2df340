"""The recipe of `redistill datafree`: YAML in, typed settings out, every mistake one sentence.

    images: {size: 8, channels: 1, classes: 10, mean: [0.3], std: [0.37]}
    teacher: {network: {name: folder, path: my-classifier}}
    student: {network: {name: cnn, width: 8}}
    synthesis: {batches: 10, batch_size: 100, steps: 80}
    distill: {epochs: 40}
    evaluate: {data: digits}
    arms: {cmi: {}, no-contrast: {synthesis: {cr: 0}}}

A default that is not said to be ours is the released code's for WRN-40-2 -> WRN-16-1 on CIFAR-10.
"""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from redistill.config.plugin_tables import Plugin, Settings
from redistill.config.validation_messages import plain_errors, sentence_of
from redistill.config.yaml_text import SHIPPED, apply_override, read_tree, recipe_path
from redistill.errors import OperatorError
from redistill.safety.paths import FOLDER_NAME

RECIPES = SHIPPED / "datafree"
Name = Annotated[str, Field(pattern=f"^{FOLDER_NAME.pattern}$")]
Mode = Literal["non-adversarial", "adversarial", "from-scratch"]


class ImageSettings(Settings):
    """What the classifiers see: square images with values in 0..1, normalised by `mean` and `std` per channel."""

    size: int = Field(gt=0, le=1024, multiple_of=4)  # pixels per side; the generator doubles twice
    channels: Literal[1, 3] = 3
    classes: int = Field(gt=1, le=100_000)
    mean: list[float] = Field(default_factory=lambda: [0.5])  # one number for all channels, or one per channel
    std: list[Annotated[float, Field(gt=0)]] = Field(default_factory=lambda: [0.5])

    @model_validator(mode="after")
    def _as_many_as_channels(self) -> "ImageSettings":
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, self.channels):
                raise ValueError(f"`{name}` has {len(values)} numbers; write one, or one per channel ({self.channels})")
        return self


class AugmentSettings(Settings):
    """A random crop of the zero-padded image, and a mirror image every second time."""

    pad: int = Field(4, ge=0)  # pixels on each side
    flip: bool = True


class ViewSettings(AugmentSettings):
    """The two views of contrastive learning: global is a crop of the padded image, local a crop of part of it, resized."""

    min_area: float = Field(0.25, gt=0, le=1)  # of the local crop, as a share of the image


class TrainSettings(Settings):
    """How a teacher is trained on real data first, where there is none yet. All values are ours."""

    epochs: int = Field(30, gt=0)
    batch_size: int = Field(64, gt=1)
    learning_rate: float = Field(0.05, gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(5e-4, ge=0)
    augment: AugmentSettings = AugmentSettings(pad=1, flip=False)


class TeacherSettings(Settings):
    """The trained classifier: `network` names it, and `train` trains it first on the data of `evaluate`."""

    network: Plugin
    train: TrainSettings | None = None


class StudentSettings(Settings):
    """The classifier that learns from the images."""

    network: Plugin


class SynthesisSettings(Settings):
    """How images are made from the teacher: how many, and what counts how much in their loss."""

    batches: int = Field(10, ge=0)  # inverted before the student is trained; ours (about 200 in the paper's 50k images)
    batch_size: int = Field(256, gt=1)
    steps: int = Field(200, gt=0)
    learning_rate: float = Field(1e-3, gt=0)
    bn: float = Field(1.0, ge=0)  # weight of the batch-normalisation statistics
    oh: float = Field(0.5, ge=0)  # weight of the class prior (one-hot labels)
    adv: float = Field(0.5, ge=0)  # weight of the adversarial term; of no effect while there is no student to oppose
    cr: float = Field(0.8, ge=0)  # weight of the contrastive term
    tau: float = Field(0.1, gt=0)  # temperature of the contrastive term
    latent: int = Field(256, gt=0)  # numbers in z
    width: int = Field(64, gt=0)  # channels of the generator's last layer but one
    head_width: int = Field(256, gt=0)
    bank: int = Field(40_960, gt=0)  # rows that the memory bank holds
    cached: int = Field(4_096, ge=0)  # rows of it in a step
    invert_every: int = Field(1, gt=0)  # epochs between new batches while the student is trained; ours above 1
    views: ViewSettings = ViewSettings()
    # forms of the losses that are written differently in different places (losses.py)
    cached_rows: Literal["split", "joint"] = "split"
    adversarial_mask: Literal["agreement", "none"] = "agreement"
    bn_distance: Literal["norm", "squared"] = "norm"


class DistillSettings(Settings):
    """How the student learns from the images: SGD on the KL divergence to the teacher, cosine schedule over epochs."""

    epochs: int = Field(200, gt=0)
    steps: int | None = Field(None, gt=0)  # per epoch; default: one pass over the images
    batch_size: int = Field(128, gt=1)
    temperature: float = Field(20.0, gt=0)
    learning_rate: float = Field(0.1, gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(1e-4, ge=0)
    augment: AugmentSettings = AugmentSettings()


class EvaluateSettings(Settings):
    """Real images: only to score students, to train a teacher with `train`, and for an arm on real images."""

    data: Plugin


class ArmSettings(Settings):
    """One transfer set and the student trained on it; what is left out of `synthesis` and `distill` is as in the recipe."""

    images: Literal["inverted", "real", "noise"] = "inverted"
    mode: Mode | None = None
    synthesis: dict[str, Any] = Field(default_factory=dict)
    distill: dict[str, Any] = Field(default_factory=dict)


class Arm(Settings):
    """An arm with all its settings."""

    images: Literal["inverted", "real", "noise"]
    mode: Mode
    synthesis: SynthesisSettings
    distill: DistillSettings


class DatafreeRecipe(Settings):
    """A whole recipe of `redistill datafree`."""

    name: Name
    seed: int = 0
    threads: int = Field(1, gt=0)  # of the CPU; another number may give other last digits
    images: ImageSettings
    teacher: TeacherSettings
    student: StudentSettings
    mode: Mode = "non-adversarial"
    synthesis: SynthesisSettings = SynthesisSettings()
    distill: DistillSettings = DistillSettings()
    evaluate: EvaluateSettings | None = None
    arms: dict[Name, ArmSettings] = Field(default_factory=lambda: {"cmi": ArmSettings()}, min_length=1)

    @field_validator("synthesis", "distill", mode="before")
    @classmethod
    def _written(cls, value: Any) -> Any:
        return {} if value is None else value

    @model_validator(mode="after")
    def _fits_together(self) -> "DatafreeRecipe":
        problems = []
        for name in self.arms:
            try:
                arm = self.arm(name)
            except ValidationError as error:
                problems += [f"arms.{name}.{sentence_of(e, Arm)}" for e in error.errors()]
                continue
            inverted = arm.images == "inverted"
            if inverted and arm.mode != "from-scratch" and not arm.synthesis.batches:
                problems.append(
                    f"arms.{name}: {arm.mode} needs images before the student is trained; set synthesis.batches above 0"
                )
            if arm.images == "real" and self.evaluate is None:
                problems.append(f"arms.{name}: images: real needs real data; write evaluate: {{data: ...}}")
        if self.teacher.train is not None and self.evaluate is None:
            problems.append("teacher.train: a teacher is trained on real data; write evaluate: {data: ...}")
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def arm(self, name: str) -> Arm:
        """An arm with the recipe's settings where it has none of its own. pydantic.ValidationError for a wrong one."""
        arm = self.arms[name]
        synthesis = _merged(self.synthesis.model_dump(), arm.synthesis)
        distill = _merged(self.distill.model_dump(), arm.distill)
        return Arm.model_validate(
            {"images": arm.images, "mode": arm.mode or self.mode, "synthesis": synthesis, "distill": distill}
        )


def _merged(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A table with some of its values replaced, tables inside it value by value."""
    return base | {
        key: _merged(base[key], value) if isinstance(value, Mapping) and isinstance(base.get(key), dict) else value
        for key, value in changes.items()
    }


def load(
    recipe: "str | Path | Mapping[str, Any]", overrides: Sequence[str] = (), name: str | None = None
) -> DatafreeRecipe:
    """A recipe from a file, the name of a shipped one (`cmi-digits`) or plain data, with `a.b=value` overrides applied.

    OperatorError lists every mistake with its place, one per line.
    """
    if isinstance(recipe, Mapping):
        tree, where = copy.deepcopy(dict(recipe)), "recipe"
        for override in overrides:
            apply_override(tree, override)
        if name is not None:
            tree["name"] = name
    else:
        path = recipe_path(recipe, RECIPES)
        tree, where = read_tree(path, overrides, name), str(path)
    try:
        return DatafreeRecipe.model_validate(tree)
    except ValidationError as error:
        lines = [line for e in plain_errors(error, tree) for line in sentence_of(e, DatafreeRecipe).split("\n")]
        raise OperatorError(f"{where}: " + "\n  ".join(lines)) from error
