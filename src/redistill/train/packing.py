"""Which rows a step takes, and which sequences share a micro-batch. Pure functions of (seed, epoch, step) and lengths.

    rows_of_step(seed=0, step=7, batch_size=32, num_rows=53_175)   -> 32 row numbers
    first_fit_decreasing([9, 3, 8, 2], budget=12)                  -> [[0, 1], [2, 3]]

The two sides of a pair need not share a micro-batch, only a step: the step's gradient is a sum over sequences, so it is
the same whatever the budget.
"""

import functools
from collections.abc import Sequence

import numpy as np


@functools.lru_cache(maxsize=4)
def epoch_order(seed: int, epoch: int, num_rows: int) -> np.ndarray:
    """The order of an epoch's rows: a permutation of 0..num_rows-1."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, epoch]))).permutation(num_rows)


def rows_of_step(*, seed: int, step: int, batch_size: int, num_rows: int) -> list[int]:
    """The row numbers of one optimizer step (0-based). Epochs follow each other without a gap, each in its own order."""
    places = range(step * batch_size, (step + 1) * batch_size)
    return [int(epoch_order(seed, place // num_rows, num_rows)[place % num_rows]) for place in places]


def num_steps(*, num_rows: int, batch_size: int, epochs: float, steps: int | None) -> int:
    """Optimizer steps of a stage: `steps` where given, else whole batches in the epochs (53,175 pairs by 32: 1,661)."""
    return steps if steps is not None else max(1, int(num_rows * epochs / batch_size + 1e-9))


def first_fit_decreasing(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Positions in `lengths` by bin: longest first, each into the first bin with room. A length over the budget gets a
    bin of its own. At most 11/9 of the fewest possible bins plus one (Johnson 1973)."""
    bins: list[list[int]] = []
    stage_dir: list[int] = []
    for position in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        length = lengths[position]
        for number, left in enumerate(stage_dir):
            if length <= left:
                bins[number].append(position)
                stage_dir[number] -= length
                break
        else:
            bins.append([position])
            stage_dir.append(budget - length)
    return bins
