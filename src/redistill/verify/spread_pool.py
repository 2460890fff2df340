"""Verifier pools on a Ray cluster, for traces that come from this process: rollouts, and samples of an evaluation.

    with SpreadPool(executor, VerifyTask(...)) as pool:        # a pool in each actor
        for verdicts in pool.judge(zip(problems, traces)):     # in input order
            verdicts["cascade"].outcome

A verdict depends on the trace alone, so it does not matter where it is found. Processes of the cluster keep their workers until the
pool is closed.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from redistill.io.executors import Executor, Reads, no_files
from redistill.records import Problem, Trace, Verdict
from redistill.verify.pool import VerifierPool
from redistill.verify.stage import VerifyTask, pool_of_process

TASK_TRACES = 64  # of one message to a process
AHEAD_TRACES = 4096  # read ahead of the consumer: bounds the memory

Item = tuple[Problem, Trace]


class SpreadPool(VerifierPool):
    """A VerifierPool whose work is done by the processes of an executor. A process or node that dies costs no verdict. reads: the
    files that a verifier reads."""

    def __init__(self, executor: Executor, judges: VerifyTask, reads: Reads = no_files) -> None:
        self._executor, self._reads = executor, reads
        self._work = partial(judge_items, judges)
        self._names = list(judges.verifiers)
        executor.hold(True)

    @property
    def names(self) -> list[str]:
        """The verifiers' names."""
        return list(self._names)

    def close(self) -> None:
        """Let the processes go."""
        self._executor.hold(False)

    def judge(self, items: Iterable[Item], names: Sequence[str] | None = None) -> Iterator[dict[str, Verdict]]:
        """See VerifierPool.judge."""
        wanted, rest = list(self._names if names is None else names), iter(items)
        while held := list(itertools.islice(rest, AHEAD_TRACES)):
            tasks = [(wanted, held[i : i + TASK_TRACES]) for i in range(0, len(held), TASK_TRACES)]
            verdicts: dict[int, list[dict[str, Verdict]]] = {}
            verdicts.update(self._executor.map(self._work, tasks, label="verify", size_bytes=0, reads=self._reads))
            for place in range(len(tasks)):
                yield from verdicts.pop(place)


def judge_items(judges: VerifyTask, task: tuple[list[str], list[Item]]) -> list[dict[str, Verdict]]:
    """What a process of the executor does: its pool, which stays open, on some traces."""
    names, items = task
    return list(pool_of_process(judges).judge(items, names))
