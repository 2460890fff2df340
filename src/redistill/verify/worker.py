"""The process in which untrusted maths is verified: started by pool.py, limited by the kernel, killed when it hangs.

    python -m redistill.verify.worker FD        FD is our end of the pool's socket

Protocol, pickled by multiprocessing.connection:
    pool -> worker   ({name: verifier}, timeout_seconds, memory_mb), once
    worker -> pool   "ready"
    pool -> worker   [(problem, trace, name), ...]                      a batch of units
    worker -> pool   Verdict, one for each unit, in order, as soon as it is known; or (name, trace id, traceback) for a
                     bug in a verifier, after which the worker ends

The worker ends when its pool does: it reads end-of-file, and while it computes, the kernel's alarm (whose default
action needs no Python) ends it soon after the pool should have.
"""

import contextlib
import dataclasses
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection

from redistill.records import Outcome, Problem, Trace, Verdict

ORPHAN_SECONDS = 1.0  # the kernel's alarm goes off this much after the pool's own clock


def verify_one(verifier: Callable[..., Verdict], problem: Problem, trace: Trace) -> Verdict:
    """The verdict with its seconds. Out of memory or out of stack is `timeout`: the verifier could not finish."""
    started = time.perf_counter()
    try:
        verdict = verifier(problem, trace)
    except (MemoryError, RecursionError):
        verdict = Verdict(Outcome.timeout, reason="memory_or_crash")
    return dataclasses.replace(verdict, seconds=round(time.perf_counter() - started, 1))


def serve(pool: Connection) -> None:
    """Answer batches until the pool closes its end."""
    verifiers, timeout_seconds, memory_mb = pool.recv()
    table: Mapping[str, Callable[..., Verdict]] = verifiers
    resource.setrlimit(resource.RLIMIT_AS, (memory_mb << 20, memory_mb << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash here is expected and leaves no file
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the pool, which then closes its end
    pool.send("ready")
    while True:
        for problem, trace, name in pool.recv():
            signal.setitimer(signal.ITIMER_REAL, timeout_seconds + ORPHAN_SECONDS)
            try:
                message: object = verify_one(table[name], problem, trace)
            except Exception:  # noqa: BLE001 - not a verdict: reported to the pool, which stops the run with it
                message = (name, trace.id, traceback.format_exc())
            signal.setitimer(signal.ITIMER_REAL, 0)
            pool.send(message)


def main() -> None:
    """Serve on the socket named on the command line; stray prints of libraries go nowhere."""
    descriptor = int(sys.argv[1])
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    # The pool is gone: nobody is left to tell.
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError), Connection(descriptor) as pool:
        serve(pool)


if __name__ == "__main__":
    main()
