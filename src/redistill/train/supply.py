"""Where a trainer's rows come from: a supply says which rows an optimizer step takes.

supply = FileSupply(rows, trained_on=[0, 1, 3], batch_size=32, seed=0)
supply.at(7, trainer)        StepRows(rows, [3, 0, ...], reference)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from redistill.config.tables import StageSettings
from redistill.io.stage_folder import Account
from redistill.train.measures import Distribution
from redistill.train.objectives import Objective
from redistill.train.packing import rows_of_step
from redistill.train.rows import Rows
from redistill.train.step import Reference

if TYPE_CHECKING:
    from redistill.train.trainer import Trainer


@dataclass(frozen=True, slots=True)
class StepRows:
    """The rows of one optimizer step: their numbers in `rows`, and on all of `rows` the log-probs of the reference, where
    the objective compares with one, and of the policy that sampled them (completion tokens,), where that is known.

    numbers may be empty: a round of rollouts in which no answer became a row. The step then changes nothing.
    """

    rows: Rows
    numbers: list[int]
    reference: Reference | None = None
    behaviour: np.ndarray | None = None
    schedule: tuple[int, int] | None = None  # (place, steps) in the learning rate's schedule; None: step and total
    figures: Mapping[str, Any] = field(default_factory=dict)  # for the step's line of metrics.jsonl
    others: Mapping[str, Distribution] = field(
        default_factory=dict
    )  # "teacher", "reference": their distributions on `rows`
    is_warming: bool = False  # the critic alone learns from this step's rows

    @property
    def ids(self) -> list[str]:
        """The ids of the step's rows, in their order."""
        return [self.rows.ids[number] for number in self.numbers]


class Supply(Protocol):
    """Gives each step its rows. Every rank asks for every step, and must be given the same rows."""

    @property
    def total(self) -> int:
        """Optimizer steps of the stage, as far as is known by now."""
        ...

    def at(self, step: int, trainer: "Trainer") -> StepRows:
        """The rows of step 0, 1, ...; asked again for a step (after a resume or a rollback) it gives the same rows. A supply
        that draws them has the student sampled by `trainer`."""
        ...

    def rewind(self, step: int, attempts: Sequence[int]) -> None:
        """Training goes on from `step`, after a resume or a rollback. attempts: the steps that the guard's rollbacks went back
        to, in their order."""
        ...

    def finish(self) -> Account:
        """Once training is over: the account of what was drawn. A supply that draws nothing has none (ValueError)."""
        ...


class DrawnRows(Protocol):
    """Rows that are drawn as training goes on: what a stage asks of them before it can begin."""

    def sizes(self, tokenizer: Any, limit: int) -> tuple[int, int]:
        """(tokens of the longest sequence, tokens of a step at most); limit: of one sequence."""
        ...

    def supply(
        self,
        accelerator: Any,
        job: Any,
        settings: StageSettings,
        tokenizer: Any,
        limit: int,
        reference: Callable[[], Any] | None,
        others: Mapping[str, Distribution],
    ) -> tuple[Supply, Objective]:
        """The supply, and the objective to be lowered on its rows. reference: loads the model that they are compared with,
        None where nothing asks for one; others: those whose distributions they are compared with."""
        ...


@dataclass(frozen=True, slots=True)
class FileSupply:
    """Rows that are encoded before training; their order is a pure function of (seed, epoch, step)."""

    rows: Rows
    trained_on: Sequence[int]  # the numbers of the rows that are trained on, rising
    batch_size: int
    seed: int
    reference: Reference | None = None
    total: int = 0
    others: Mapping[str, Distribution] = field(default_factory=dict)

    def rewind(self, step: int, attempts: Sequence[int]) -> None:
        """Nothing: rows of a file do not depend on the student."""

    def finish(self) -> Account:
        """ValueError: the account of rows of a file is written where they are encoded."""
        raise ValueError("rows of a file are accounted for where they are encoded")

    def at(self, step: int, trainer: "Trainer | None" = None) -> StepRows:
        """The rows of a step; epochs follow each other without a gap, each in its own order."""
        places = rows_of_step(seed=self.seed, step=step, batch_size=self.batch_size, num_rows=len(self.trained_on))
        return StepRows(self.rows, [self.trained_on[place] for place in places], self.reference, others=self.others)
