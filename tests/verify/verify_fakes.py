"""Verifiers that misbehave on request: the completion says how. Imported by the pool's workers, hence a module."""

import ctypes
import os
import signal
import sys
import time
from pathlib import Path

from redistill.records import Outcome, Problem, Trace, Verdict

_HOARD: list[bytes] = []  # what a library's cache would hold on to


def fake(problem: Problem, trace: Trace, *, echo: str = "") -> Verdict:
    """Does what the completion says; otherwise correct, with the completion's start as the extracted answer."""
    match trace.completion:
        case "sleep":
            time.sleep(60)
        case "nap":
            time.sleep(0.5)
        case "grind":
            return Verdict(
                Outcome.correct, str(3 ** (10**9))[:3]
            )  # one C-level multiplication that no signal interrupts
        case "eat":
            return Verdict(Outcome.correct, str(len(b"x" * (8 << 30))))
        case "hoard":
            _HOARD.append(b"x" * (200 << 20))
        case "die":
            os._exit(3)
        case "crash":
            ctypes.string_at(0)
        case "deep":
            return fake(problem, trace, echo=echo)
        case text if text.startswith("stop "):  # as a suspended machine stops it, the first time
            mark = Path(text.removeprefix("stop "))
            if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGSTOP)
        case "bug":
            raise KeyError("a bug of the verifier")
        case "pid":
            return Verdict(Outcome.correct, str(os.getpid()))
    return Verdict(Outcome.correct, (echo + trace.completion)[:10])


def other(problem: Problem, trace: Trace) -> Verdict:
    """A second verifier, always of another opinion."""
    return Verdict(Outcome.incorrect, trace.completion[:10])


def has(problem: Problem, trace: Trace) -> Verdict:
    """Whether the worker has the module that the completion names."""
    return Verdict(Outcome.correct, str(trace.completion in sys.modules))
