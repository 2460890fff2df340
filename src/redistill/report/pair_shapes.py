"""Shapes of the files about two students or two verifiers: only what the page shows.

runs/x/evaluate/comparisons.json, runs/x/compare/*.json     Comparison, Against
runs/x/regraded/agreement.json                              Agreement
"""

from typing import Any

from pydantic import BaseModel, ConfigDict


class Shape(BaseModel):
    """A file's part as the page reads it: other keys are passed over."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class MetricDifference(Shape):
    """The difference in one metric of attempts and verifications."""

    difference: float | None = None
    interval95: tuple[float, float] | None = None
    sentence: str = ""


class Comparison(Shape):
    """Two models on the same problems: difference = a - b."""

    a: str
    b: str
    benchmark: str = ""
    difference: float | None = None
    interval95: tuple[float, float] | None = None
    smallest_difference: float | None = None
    is_claimed: bool | None = None
    num_above: int | None = None
    num_below: int | None = None
    num_equal: int | None = None
    sentence: str = ""
    self_correction: dict[str, MetricDifference] = {}


class Bin(Shape):
    """The difference on a part of the problems."""

    label: str
    num_problems: int | None = None
    a: float | None = None
    b: float | None = None
    difference: float | None = None
    interval95: tuple[float, float] | None = None


class Bins(Shape):
    """The difference part by part, or a note why there is none."""

    bins: list[Bin] = []
    note: str = ""


class FlipSide(Shape):
    """One side's answer to a problem that flipped."""

    statement: str = ""
    gold: str | None = None
    correct: int | None = None
    samples: int | None = None
    outcome: str = ""
    read: str | None = None
    completion_end: str = ""


class Flip(Shape):
    """A problem that only one of two students solves."""

    problem_id: str
    solved_by: str
    a: FlipSide
    b: FlipSide


class Against(Comparison):
    """A comparison with another run's student (`redistill compare`)."""

    verifier: str | None = None
    left_out: list[int] = []
    settings_differ: dict[str, list[Any]] = {}
    flips: dict[str, int] = {}
    mcnemar_p: float | None = None
    by_difficulty: Bins = Bins()
    by_length: Bins = Bins()
    flipped: list[Flip] = []


class Disagreement(BaseModel):
    """One answer on which two verifiers part; what each said stands under its name."""

    model_config = ConfigDict(extra="allow", frozen=True)

    trace_id: str
    gold: str | None = None


class Agreement(Shape):
    """Two verifiers on the same answers (`redistill regrade`)."""

    student: str
    benchmark: str
    a: str
    b: str
    num_samples: int = 0
    agree: float | None = None
    only_a_correct: int | None = None
    only_b_correct: int | None = None
    table: dict[str, dict[str, int]] = {}
    examples: list[Disagreement] = []
