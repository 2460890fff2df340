"""Verification in processes that can be killed: a hung or exploding comparison costs only its own answer.

    with VerifierPool({"cascade": cascade}, workers=2, timeout_seconds=5, memory_mb=2048) as pool:
        for verdicts in pool.judge(zip(problems, traces)):     # in input order
            verdicts["cascade"].outcome

One unit of work is one verifier on one trace. Units travel in batches and verdicts come back in a few messages a batch; a
worker counts its units in a file, so the pool always knows which one it is at. A unit that computes too long, outlives
the wall clock, or whose worker dies, gets Outcome.timeout; the rest of its batch is sent again. A unit on which a worker ran out of memory after others is tried once
more in a fresh one, so that what came before it has no say; so is one that outlived the wall clock, because a machine that was
suspended, or a process that was stopped, says nothing about an answer. Workers are forked from a fresh interpreter (nothing of the caller's memory,
no torch; see fork_server.py) with one hash seed, so results depend neither on their number nor on the order of the work.

Python's own timeouts do not do: a signal handler runs between bytecodes only, and a comparison can stay in one
multiplication for hours.
"""

import collections
import contextlib
import itertools
import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import IO, Any

from redistill.errors import OperatorError
from redistill.records import Outcome, Problem, Trace, Verdict
from redistill.verify.code_tests import code_tests, wall_seconds
from redistill.verify.exact import choice, exact
from redistill.verify.fork_server import WorkerProcess, start_worker
from redistill.verify.judging import WALL_PER_CPU
from redistill.verify.retrieval import ready, retrieval
from redistill.verify.verdict_line import verdict_line

BATCH_UNITS = 32  # enough to hide the pipe's latency behind a millisecond of work a unit
BATCH_CHARS = 2_000_000
AHEAD_BATCHES = 4  # batches a worker may be ahead of the consumer: bounds the memory
RECYCLE_UNITS = 5_000  # then a fresh process: sympy's caches and the heap only grow
MAX_STILLBORN = 3  # workers killed before they were ready, with none that got ready in between
OUT_OF_TIME = ("cpu_time", "wall_clock")  # reasons of Outcome.timeout
# Verifiers that never compare by sympy or math-verify, whose import takes half a second; what is not known may.
WITHOUT_MATHS = (exact, choice, retrieval, verdict_line, code_tests)
START_SECONDS = 600.0  # importing sympy where far more processes than cores want to run; a dead worker is seen at once


@dataclass(slots=True)
class _Unit:
    """One verifier on one trace; `item` is the trace's place in the input."""

    item: int
    name: str
    problem: Problem
    trace: Trace
    again: bool = (
        False  # it took a worker's memory or the wall clock once: it goes first in a fresh worker, or counts as lost
    )


@dataclass(slots=True)
class _Worker:
    """A process, our end of its socket, the file in which it counts, and the units it has still to answer, oldest first."""

    process: WorkerProcess
    connection: Connection
    counter: IO[bytes]
    deadline: float
    ready: bool = False
    answered: int = 0
    units: collections.deque[_Unit] = field(default_factory=collections.deque)


class VerifierPool:
    """Worker processes that judge traces. `verifiers`: functools.partial objects of module-level functions, by name.

    timeout_seconds: processor time for one verifier on one trace, fractions allowed; wall clock is WALL_PER_CPU times
    that, or what a verifier with processes of its own needs. memory_mb: address space of a worker.
    workers below 1 count as 1: untrusted maths never runs in this process.
    """

    def __init__(
        self, verifiers: Mapping[str, Callable[..., Verdict]], *, workers: int, timeout_seconds: float, memory_mb: int
    ) -> None:
        self._verifiers = {name: ready(verifier) for name, verifier in verifiers.items()}
        self._maths = any(getattr(v, "func", v) not in WITHOUT_MATHS for v in self._verifiers.values())
        self._size = max(1, workers)
        self._timeout_seconds = timeout_seconds
        usual = WALL_PER_CPU * timeout_seconds
        # those that wait for processes of their own, which have limits of their own, are given the time for it
        self._walls = {name: max(usual, wall_seconds(verifier) or 0.0) for name, verifier in verifiers.items()}
        self._wall_seconds = max(self._walls.values(), default=usual)
        self._memory_mb = memory_mb
        self._workers: list[_Worker] = []
        self._stillborn = 0

    def __enter__(self) -> "VerifierPool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def names(self) -> list[str]:
        """The verifiers' names."""
        return list(self._verifiers)

    def close(self) -> None:
        """End every worker now; what they were at is given up."""
        while self._workers:
            self._end(self._workers[-1])

    def judge(
        self, items: Iterable[tuple[Problem, Trace]], names: Sequence[str] | None = None
    ) -> Iterator[dict[str, Verdict]]:
        """Verdicts by verifier name for each item, in input order. Reads ahead a bounded number of items.

        names: which of the verifiers judge (default: all). RuntimeError names the trace on which a verifier raised: that is a bug of the verifier, not of the trace. OperatorError where a
        verifier cannot work, or is the user's own and at fault (config/own_plugin.py).
        """
        names = list(self._verifiers) if names is None else names
        incoming = enumerate(items)
        waiting: collections.deque[_Unit] = collections.deque()
        pending: dict[int, dict[str, Verdict]] = {}
        next_item, limit = 0, self._size * AHEAD_BATCHES * BATCH_UNITS
        try:
            while True:
                free = limit - len(pending)
                taken = list(itertools.islice(incoming, max(0, free)))
                ended = len(taken) < free
                for item, (problem, trace) in taken:
                    pending[item] = {}
                    waiting.extend(_Unit(item, name, problem, trace) for name in names)
                while next_item in pending and len(pending[next_item]) == len(names):
                    verdicts = pending.pop(next_item)
                    next_item += 1
                    yield {name: verdicts[name] for name in names}
                if pending:
                    self._hand_out(waiting)
                    for unit, verdict in self._gather(waiting):
                        pending[unit.item][unit.name] = verdict
                elif ended:
                    return
        finally:
            if any(worker.units for worker in self._workers):  # abandoned half-way, by an error or by the consumer
                self.close()

    # --- workers ---------------------------------------------------------------------------------------------

    def _start(self) -> None:
        ours, theirs = multiprocessing.Pipe()
        counter = tempfile.TemporaryFile()  # noqa: SIM115 - closed with its worker, in _end
        process = start_worker(theirs.fileno(), counter.fileno(), maths=self._maths)
        theirs.close()
        self._workers.append(_Worker(process, ours, counter, time.monotonic() + START_SECONDS))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # dead already: _gather sees the end of file
            ours.send((self._verifiers, self._timeout_seconds, self._memory_mb, self._walls))

    def _end(self, worker: _Worker) -> int:
        """Kill and reap; returns the exit code, negative for a signal that came before ours."""
        self._workers.remove(worker)
        code = worker.process.poll()
        worker.process.kill()
        worker.process.wait()
        worker.connection.close()
        worker.counter.close()
        return code if code is not None else -signal.SIGKILL

    def _hand_out(self, waiting: collections.deque[_Unit]) -> None:
        """A batch for every worker that is ready and idle; new workers while there is more work than workers."""
        while (
            waiting
            and len(self._workers) < self._size
            and sum(not w.ready for w in self._workers) * BATCH_UNITS < len(waiting)
        ):
            self._start()
        for worker in [w for w in self._workers if w.ready and not w.units]:
            if worker.answered >= RECYCLE_UNITS or (waiting and waiting[0].again and worker.answered):
                self._end(worker)
                self._start()
                continue
            chars = 0
            while waiting and len(worker.units) < BATCH_UNITS and chars < BATCH_CHARS:
                if waiting[0].again and worker.units:
                    break
                worker.units.append(waiting.popleft())
                chars += len(worker.units[-1].trace.completion)
            if worker.units:
                worker.deadline = time.monotonic() + self._wall_seconds
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # dead: _gather sees the end of file
                    worker.connection.send([(u.problem, u.trace, u.name) for u in worker.units])
                    worker.deadline = time.monotonic() + self._wall_seconds  # a long batch takes time to send

    def _gather(self, waiting: collections.deque[_Unit]) -> Iterator[tuple[_Unit, Verdict]]:
        """What has come back, after waiting for the first message, death or deadline."""
        busy = [w for w in self._workers if w.units or not w.ready]
        patience = max(0.0, min(w.deadline for w in busy) - time.monotonic())
        speaking: Any = wait([w.connection for w in busy], patience)
        for worker in busy:
            if worker.connection in speaking:
                yield from self._listen(worker, waiting)
            elif time.monotonic() > worker.deadline and not worker.connection.poll():
                if not worker.ready:
                    raise RuntimeError(f"a verifier worker did not start within {START_SECONDS:.0f} seconds")
                yield from self._lose(worker, waiting, "wall_clock")

    def _listen(self, worker: _Worker, waiting: collections.deque[_Unit]) -> Iterator[tuple[_Unit, Verdict]]:
        while worker.connection.poll():
            try:
                message = worker.connection.recv()
            except (EOFError, ConnectionResetError):
                if not worker.ready:
                    self._bury(worker)
                    return
                yield from self._lose(worker, waiting, "memory_or_crash")
                return
            worker.deadline = time.monotonic() + self._wall_seconds
            if isinstance(message, tuple) and message[0] == "refused":
                raise OperatorError(f"verify: {message[1]}")
            if message == "ready":
                worker.ready, self._stillborn = True, 0
            elif isinstance(message, list):
                worker.answered += len(message)
                for verdict in message:
                    yield worker.units.popleft(), verdict
            else:
                name, trace_id, report = message
                raise RuntimeError(f"verifier {name!r} failed on trace {trace_id}:\n{report}")

    def _bury(self, worker: _Worker) -> None:
        """A worker that died before it was ready: one that was killed is replaced, one with a message of its own is a bug."""
        worker.process.wait()
        code = self._end(worker)
        if code >= 0:
            raise RuntimeError("a verifier worker died at its start; its own message stands above")
        self._stillborn += 1
        if self._stillborn == MAX_STILLBORN:
            raise OperatorError(
                f"verify: its worker processes were killed {MAX_STILLBORN} times at their start (by signal {-code}; "
                f"usually out of memory); use fewer workers (verify.workers, evaluate: --workers) and run the same "
                f"command again; finished work is kept."
            )

    def _lose(self, worker: _Worker, waiting: collections.deque[_Unit], reason: str) -> Iterator[tuple[_Unit, Verdict]]:
        """End a worker; its current unit gets a timeout, or its second try; the rest of its batch goes back to the front."""
        worker.process.poll() if reason == "wall_clock" else worker.process.wait()
        # it counts a unit when it begins the next, so one that was killed between the two has answered more than it counted
        done = max(int.from_bytes(os.pread(worker.counter.fileno(), 8, 0), "little"), worker.answered)
        code = self._end(worker)
        # the kernel's timers: processor time, and wall clock where it came before the pool looked
        reason = {-signal.SIGPROF: "cpu_time", -signal.SIGALRM: "wall_clock"}.get(code, reason)
        place = max(0, done - worker.answered)  # units before it are done, but their verdicts died with the worker
        lost = worker.units[place]
        del worker.units[place]
        waiting.extendleft(reversed(worker.units))
        worker.units.clear()
        # What came before it may have taken the memory; and a machine that slept has let the wall clock run out.
        if (reason == "wall_clock" or (reason == "memory_or_crash" and done)) and not lost.again:
            lost.again = True
            waiting.appendleft(lost)
            return
        seconds = {"cpu_time": self._timeout_seconds, "wall_clock": self._wall_seconds}.get(reason, 0.0)
        yield lost, Verdict(Outcome.timeout, reason=reason, verifier=lost.name, seconds=round(seconds, 1))
