"""Tables of a recipe that name a plug-in: the name, its options, and what a place in a recipe adds to them.

    verify: {verifiers: [cascade]}
    score: [{name: perplexity, model: HuggingFaceTB/SmolLM2-135M, into: fluency}]

A plug-in (a source, a verifier, a pairing, an objective ...) is written `name` or `{name: ..., option: ...}`; its
options are its function's own keyword-only arguments, bound and type-checked by `bind`, so a setting without an
effect cannot be written.
"""

import typing
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from redistill.safety.paths import FOLDER_NAME

Seed = Annotated[int, Field(ge=0, lt=2**63)]  # what torch's, NumPy's and Python's generators all take


class Checked(BaseModel):
    """Settings or options in which an unknown key, a number without end, and true or false for a number are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: Any, place: ValidationInfo) -> Any:
        """pydantic would read `steps: true` as one step."""
        if _holds_truth(value) and _numbers_alone(cls.model_fields[str(place.field_name)].annotation):
            raise ValueError("write a number")
        return value


class Settings(Checked):
    """A table of a recipe."""

    model_config = ConfigDict(frozen=True)


def _holds_truth(value: Any) -> bool:
    """Whether a value is true or false, or a list or table of such."""
    if isinstance(value, Mapping):
        return any(map(_holds_truth, value.values()))
    return any(map(_holds_truth, value)) if isinstance(value, list) else isinstance(value, bool)


def _numbers_alone(annotation: Any) -> bool:
    """Whether a type is a number, or a list or table of numbers, and nothing that true or false could be meant for."""
    if typing.get_origin(annotation) is Annotated:
        return _numbers_alone(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) is dict:
        return _numbers_alone(typing.get_args(annotation)[-1])
    inner = [one for one in typing.get_args(annotation) if one not in (type(None), ...)]
    return all(map(_numbers_alone, inner)) if inner else annotation in (int, float)


class Plugin(Settings):
    """A member of a registry and its options, from `name` or `{name: ..., option: value}`. What a subclass adds (`on`, `weight`, `into`)
    is a key of the table beside the options."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _from_short_form(cls, value: Any) -> Any:
        return _options_apart(value, cls.model_fields)


def _options_apart(value: Any, fields: Collection[str]) -> Any:
    """A plug-in as it may be written in a recipe -> its name and the other fields of its table, and its options by themselves."""
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, Mapping) and "name" in value:
        own = {key: inner for key, inner in value.items() if key == "name" or (key in fields and key != "options")}
        options = {key: inner for key, inner in value.items() if key not in own}
        if set(options) == {"options"} and isinstance(options["options"], Mapping):
            return value
        return {**own, "options": options}
    raise ValueError("write a name, or a table with `name` and its options")


Part = Literal["completion", "chosen", "rejected"]  # of a row: an example has the first, a pair the other two
PARTS: tuple[Part, ...] = typing.get_args(Part)


class FilterSettings(Plugin):
    """A filter of the select stage, its options, and `on`: the parts of a row that it looks at."""

    on: list[Part] = Field(default_factory=lambda: list(PARTS), min_length=1)


STAGES = ("corpus", "verify", "score", "select", "train", "evaluate", "report")  # of a recipe, in order


class ExtraStage(Plugin):
    """A stage that a recipe adds: its name, its options, and `after`, the stage it comes after."""

    after: Literal["corpus", "verify", "score", "select", "train", "evaluate", "report"]

    @model_validator(mode="before")
    @classmethod
    def _from_short_form(cls, value: Any) -> Any:
        if not isinstance(value, Mapping) or "after" not in value:
            raise ValueError("write a table with `name`, `after` and its options")
        return _options_apart(value, cls.model_fields)

    @property
    def folder(self) -> str:
        """Its folder below the run's: the name, of one's own code the function's."""
        return self.name.rpartition(":")[2]


class RewardSettings(Plugin):
    """A reward of sampled answers, its options, and `weight`, by which it counts in their sum."""

    weight: float = 1.0


class ScorerSettings(Plugin):
    """A scorer of the score stage, its options, and `into`: the name of what it writes. Two scorers of one name (two reward
    models) need two."""

    into: str | None = Field(None, pattern=f"^{FOLDER_NAME.pattern}$")  # default: the scorer's name

    @property
    def folder(self) -> str:
        """The name of its scores, and of its folder: `into`, or the scorer's name, of one's own code the function's."""
        return self.into or self.name.rpartition(":")[2]
