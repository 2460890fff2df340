"""The process in which untrusted maths is verified: forked by fork_server.py, limited by the kernel, killed when it hangs.

    serve(pool, counter)        pool: our end of the pool's socket; counter: the descriptor of a file that we count in

Protocol, pickled by multiprocessing.connection:
    pool -> worker   ({name: verifier}, timeout_seconds, memory_mb, {name: wall seconds}), once
    worker -> pool   "ready", or ("refused", sentence) where something that a verifier needs cannot be opened
    pool -> worker   [(problem, trace, name), ...]                      a batch of units
    worker -> pool   [Verdict, ...], one for each unit, in order, at the latest FLUSH_SECONDS after it is known or when the
                     unit after it is done; or (name, trace id, traceback) for a bug in a verifier,
                     or ("refused", sentence) for what the user must mend

How many units are done is written into the file before each is begun: a message a verdict would cost more than most
verdicts, and yet the pool must know at which unit a worker died.

A worker that runs out of memory ends; the pool tries that unit once more in a fresh one, or writes it down as lost.

A unit's time is the worker's own processor time, so that a verdict does not depend on what else the machine is doing:
the kernel's timer (whose default action needs no Python) ends a worker that has computed too long. Wall clock, WALL_PER_CPU
(judging.py) times that, is for one that waits and does not compute.

The worker ends when its pool does: it reads end-of-file, and while it computes, that timer ends it.
"""

import dataclasses
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection

from redistill.errors import OperatorError
from redistill.records import Outcome, Problem, Trace, Verdict

FLUSH_SECONDS = 0.002
OUT_OF_MEMORY = 3  # the exit code; the pool takes any death alike
ORPHAN_SECONDS = 1.0  # the kernel's alarm goes off this much after the pool's own clock


def verify_one(verifier: Callable[..., Verdict], problem: Problem, trace: Trace) -> Verdict:
    """The verdict with its seconds. Out of stack is `timeout`: the verifier could not finish. MemoryError goes up."""
    started = time.perf_counter()
    try:
        verdict = verifier(problem, trace)
    except RecursionError:
        verdict = Verdict(Outcome.timeout, reason="memory_or_crash")
    return dataclasses.replace(verdict, seconds=round(time.perf_counter() - started, 1))


def serve(pool: Connection, counter: int) -> None:
    """Answer batches until the pool closes its end. counter: the file that holds the number of units done."""
    verifiers, timeout_seconds, memory_mb, walls = pool.recv()
    table: Mapping[str, Callable[..., Verdict]] = verifiers
    resource.setrlimit(resource.RLIMIT_AS, (memory_mb << 20, memory_mb << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash here is expected and leaves no file
    for timer in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(timer, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the pool, which then closes its end
    if search := sys.modules.get("redistill.verify.retrieval"):
        try:
            search.warm_up(table.values())
        except OperatorError as error:
            pool.send(("refused", str(error)))
            return
    pool.send("ready")
    done = 0
    while True:
        answers: list[Verdict] = []
        read_at = time.monotonic()
        for problem, trace, name in pool.recv():
            os.pwrite(counter, done.to_bytes(8, "little"), 0)
            signal.setitimer(signal.ITIMER_PROF, timeout_seconds)
            signal.setitimer(signal.ITIMER_REAL, walls[name] + ORPHAN_SECONDS)
            try:
                answers.append(verify_one(table[name], problem, trace))
            except MemoryError:
                os._exit(OUT_OF_MEMORY)  # what is left in this process would count against the answers to come
            except OperatorError as error:  # a broken retriever, say: no verdict can be trusted
                pool.send(("refused", str(error)))
            except Exception:  # noqa: BLE001 - not a verdict: reported to the pool, which stops the run with it
                pool.send((name, trace.id, traceback.format_exc()))
            done += 1
            if (now := time.monotonic()) - read_at > FLUSH_SECONDS:
                _stop_clocks()
                pool.send(answers)
                answers, read_at = [], now
        _stop_clocks()
        if answers:
            pool.send(answers)


def load_maths() -> None:
    """Import what compares maths and do one comparison, whose parser builds tables: not on the clock of the first answer."""
    from redistill.verify.mathlib import warm_up

    warm_up()


def _stop_clocks() -> None:
    """No limit runs while the worker waits for the pool."""
    for clock in (signal.ITIMER_PROF, signal.ITIMER_REAL):
        signal.setitimer(clock, 0)
