"""Ctrl-C while a stage trains: the first asks it to stop after the step at hand, its state saved; the second stops at once.

    with at_the_next_step() as asked:
        ...one step...
        if asked(): save; raise KeyboardInterrupt

Without it a stop would cost the steps since the last checkpoint. Elsewhere Ctrl-C stops at once: what is finished lies on
disk already, a shard or a sample at a time.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from redistill.io.progress import say


@contextmanager
def at_the_next_step() -> Iterator[Callable[[], bool]]:
    """A function that says whether somebody asked to stop. Signals reach the main thread only; elsewhere nobody can ask."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    asked = False
    before = signal.getsignal(signal.SIGINT)

    def first(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        say("stopping after this step; Ctrl-C again stops at once and goes back to the last checkpoint")

    signal.signal(signal.SIGINT, first)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)
