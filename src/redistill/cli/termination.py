"""SIGTERM and SIGHUP stop a command as Ctrl-C does: a scheduler's time limit, `docker stop`, a terminal that closes.

    with like_ctrl_c() as ended_by:
        ...                                 KeyboardInterrupt, or a training stage that stops after its step
    ended_by()                              signal.SIGTERM, None where nobody sent one

The processes of a distributed launch are left alone: one of them may wait for the others in a library that runs no handler, and the
launcher expects them to end at once.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def like_ctrl_c() -> Iterator[Callable[[], signal.Signals | None]]:
    """A function that gives the signal that came last. A signal that somebody ignores (nohup) or handles is left to them."""
    received: list[signal.Signals] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        received.append(signal.Signals(number))
        # A script's `command &` ignores Ctrl-C, and is still to end.
        if not callable(signal.getsignal(signal.SIGINT)):
            raise KeyboardInterrupt
        signal.raise_signal(signal.SIGINT)

    ours = [] if "RANK" in os.environ or threading.current_thread() is not threading.main_thread() else list(_SIGNALS)
    ours = [number for number in ours if signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, pass_on)
    try:
        yield lambda: received[-1] if received else None
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
