"""Tables of a recipe about self-correction: traces that are attempts at a problem and verifications of them (text/segments.py).

select: {examples: {name: self-correction, attempts: 4, keep: {1: 0.24, full: 0.5}}}
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from redistill.config.plugin_tables import Settings

CueName = Literal["s2r", "compact"]
Rate = Annotated[float, Field(ge=0, le=1)]


class SelfCorrectionSettings(Settings):
    """Rows of trial, verification and correction, from the right and wrong traces of a problem (S2R, arXiv 2502.12853)."""

    name: Literal["self-correction"] = "self-correction"
    attempts: int = Field(4, ge=1)  # of a row at most, the right one among them
    verification: str = "verification"  # the note of a trace that says whether its answer is right: a scorer's name
    cues: CueName = "s2r"  # the words between attempts and verifications
    # the share of problems that stay: `1` where no trace is wrong, `full` where there are as many attempts as its difficulty
    # wants, `fallback` where there are fewer
    keep: dict[Literal["1", "full", "fallback"], Rate] = Field(default_factory=dict)
    # for comparison: the last attempt alone, or verdicts drawn by a coin
    control: Literal["no-verifications", "shuffled-verdicts"] | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_short_form(cls, value: Any) -> Any:
        return {"name": value} if value == "self-correction" else value

    @field_validator("keep", mode="before")
    @classmethod
    def _numbers_are_words(cls, value: Any) -> Any:
        return {str(key): rate for key, rate in value.items()} if isinstance(value, Mapping) else value
