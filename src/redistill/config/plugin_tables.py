"""Tables of a recipe that name a plug-in: the name, its options, and what a place in a recipe adds to them.

    verify: {verifiers: [cascade]}
    score: [{name: perplexity, model: HuggingFaceTB/SmolLM2-135M, into: fluency}]

A plug-in (a source, a verifier, a pairing, an objective ...) is written `name` or `{name: ..., option: ...}`; its
options are its function's own keyword-only arguments, bound and type-checked by `bind`, so a setting without an
effect cannot be written.
"""

import typing
from collections.abc import Collection, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from redistill.safety.paths import FOLDER_NAME


class Settings(BaseModel):
    """A table of a recipe: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


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
