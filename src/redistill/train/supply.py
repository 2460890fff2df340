"""Where a trainer's rows come from: a supply says which rows an optimizer step takes.

supply = FileSupply(rows, trained_on=[0, 1, 3], batch_size=32, seed=0)
supply.at(7)        StepRows(rows, [3, 0, ...], reference)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from redistill.train.packing import rows_of_step
from redistill.train.rows import Rows
from redistill.train.step import Reference


@dataclass(frozen=True, slots=True)
class StepRows:
    """The rows of one optimizer step: their numbers in `rows`, and the reference's log-probs on `rows` where the
    objective compares with one."""

    rows: Rows
    numbers: list[int]
    reference: Reference | None = None

    @property
    def ids(self) -> list[str]:
        """The ids of the step's rows, in their order."""
        return [self.rows.ids[number] for number in self.numbers]


class Supply(Protocol):
    """Gives each step its rows. Every rank asks for every step, and must be given the same rows."""

    def at(self, step: int) -> StepRows:
        """The rows of step 0, 1, ...; asked again for a step (after a resume or a rollback) it gives the same rows."""
        ...


@dataclass(frozen=True, slots=True)
class FileSupply:
    """Rows that are encoded before training; their order is a pure function of (seed, epoch, step)."""

    rows: Rows
    trained_on: Sequence[int]  # the numbers of the rows that are trained on, rising
    batch_size: int
    seed: int
    reference: Reference | None = None

    def at(self, step: int) -> StepRows:
        """The rows of a step; epochs follow each other without a gap, each in its own order."""
        places = rows_of_step(seed=self.seed, step=step, batch_size=self.batch_size, num_rows=len(self.trained_on))
        return StepRows(self.rows, [self.trained_on[place] for place in places], self.reference)
