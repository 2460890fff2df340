"""Trials in processes of their own, several at a time; a process that dies costs its own trial.

    do_jobs([Job(id="redi.seed-0", ...)], workers=2, tell=lambda id, result: ...)

Each process imports torch once and then takes one trial after another; what a trial prints goes to its log.txt. The processes
end with their parent, however it ends. Ctrl-C lets each stop after the step at hand, its state saved.
"""

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Literal

from redistill.errors import OperatorError
from redistill.io.executors import cores
from redistill.safety.child_processes import spawning


@dataclass(frozen=True, slots=True)
class Job:
    """What a process is given for one trial: `do_trial`'s arguments as plain data."""

    id: str
    recipe: dict[str, Any]
    stage: str
    folder: str
    shared: str
    share_stage: bool
    on_code_change: Literal["ask", "keep", "remake"] = "ask"


@dataclass(slots=True)
class _Hand:
    """A process, our end of its pipe, and the job it has."""

    process: Any
    connection: Connection
    job: Job | None = None


def do_jobs(jobs: Sequence[Job], workers: int, tell: Callable[[str, dict[str, Any]], None]) -> None:
    """Do all jobs, `tell` each result as it comes: what `do_trial` returns, or {"state": "failed", "why": ...}."""
    waiting = list(reversed(jobs))
    hands = [_start(threads_each(workers)) for _ in range(min(workers, len(jobs)))]
    try:
        for hand in hands:
            _give(hand, waiting)
        while any(hand.job for hand in hands):
            ready = wait([hand.connection for hand in hands if hand.job])
            for place, hand in enumerate(hands):
                if hand.connection not in ready:
                    continue
                assert hand.job is not None
                id = hand.job.id
                try:
                    result = hand.connection.recv()
                except (EOFError, ConnectionError):
                    hand.process.join()
                    ending = _ending(hand.process.exitcode)
                    result = {"state": "failed", "why": f"its process exited ({ending})."}
                    hands[place] = hand = _start(threads_each(workers))
                tell(id, result)
                _give(hand, waiting)
    except KeyboardInterrupt:
        for hand in hands:
            if hand.job and hand.process.is_alive():
                os.kill(hand.process.pid, signal.SIGINT)  # once: it stops after its step, with its state saved
        raise
    finally:
        for hand in hands:
            hand.connection.close()
            hand.process.join()


def threads_each(workers: int) -> int:
    """A worker's threads: its share of the cores, or fewer where OMP_NUM_THREADS asks for fewer, as beside other work."""
    share = max(1, cores() // workers)
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(share, int(asked)) if asked.isdecimal() and int(asked) > 0 else share


def _ending(code: int | None) -> str:
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"


def _start(threads: int) -> _Hand:
    context = multiprocessing.get_context("spawn")  # a forked torch may hang on the threads that it lost
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, threads))
    with spawning():
        process.start()
    theirs.close()
    return _Hand(process, ours)


def _give(hand: _Hand, waiting: list[Job]) -> None:
    hand.job = waiting.pop() if waiting else None
    if hand.job is not None:
        hand.connection.send(hand.job)


# --- the process's side ----------------------------------------------------------------------------------------------


def _serve(connection: Connection, threads: int) -> None:
    """Do jobs until the pipe is closed."""
    os.setpgid(0, 0)  # a terminal's Ctrl-C reaches the parent alone, which passes it on once
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import torch

    torch.set_num_threads(threads)
    try:
        while True:
            job = connection.recv()
            connection.send(_attempt(job))
    except EOFError:
        return
    except KeyboardInterrupt:
        sys.exit(130)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)  # killed with -9: what is on the disk is whole, and the next sweep goes on from there


def _attempt(job: Job) -> dict[str, Any]:
    from redistill.config.parsing import parse_recipe
    from redistill.tools.sweep.trial import do_trial

    folder = Path(job.folder)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "log.txt", "ab", buffering=0) as log:
        for number in (1, 2):
            os.dup2(log.fileno(), number)
    try:
        return do_trial(
            parse_recipe(job.recipe, job.id),
            stage=job.stage,
            folder=folder,
            shared=Path(job.shared),
            share_stage=job.share_stage,
            on_code_change=job.on_code_change,
        )
    except OperatorError as error:
        return {"state": "failed", "why": str(error)}
    except Exception as error:  # noqa: BLE001 - a trial's crash is a row of the table; its traceback is in the log
        traceback.print_exc()
        return {"state": "failed", "why": f"{type(error).__name__}: {error} (see {folder}/log.txt)."}
