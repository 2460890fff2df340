"""One process per run folder: a kernel lock that ends with the process that holds it."""

import contextlib
import fcntl
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redistill.errors import OperatorError
from redistill.io.atomic import writing
from redistill.safety.paths import check_links


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the run folder; a second process is refused with the holder's number, machine and time,
    and a folder with links out of it too. The second line of the lock is drawn anew each time: who reads it sees this very folder.

    The lock is the kernel's, so that of a process that has died, however it died, holds nobody up.
    """
    check_links(folder)
    with contextlib.ExitStack() as stack:
        with writing(folder / ".lock"):
            lock = stack.enter_context(open(folder / ".lock", "a+", encoding="utf-8", errors="replace"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                lock.seek(0)
                holder = lock.readline().strip() or "another process"
                raise OperatorError(
                    f"{folder} is in use by {holder}; wait for it, or choose another --name."
                ) from error
            lock.truncate(0)
            lock.write(
                f"process {os.getpid()} on {os.uname().nodename} since {time.strftime('%Y-%m-%d %H:%M:%S %z')}\n"
            )
            lock.write(f"{uuid.uuid4().hex}\n")
            lock.flush()
            os.fsync(lock.fileno())  # nodes of a cluster read it over a network disk
        yield
