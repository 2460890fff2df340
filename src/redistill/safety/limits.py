"""Untrusted work, tried in a forked process that may neither hang nor grow.

    trial(lambda: render(template), seconds=10, memory_bytes=1 << 30)   ->  None, "time" or "memory"

For what a library does to an untrusted file within one call, where no loop of ours could stop it: a chat template, a page of
Parquet that is a thousand times larger than its bytes.
"""

import os
import resource
import signal
import sys
import warnings
from collections.abc import Callable
from typing import Literal

from redistill.safety.import_path import leave_folder

MEMORY = 3  # the child's exit code


def trial(work: Callable[[], object], *, seconds: int, memory_bytes: int) -> Literal["time", "memory"] | None:
    """What `work` ran out of: `seconds` of CPU, or `memory_bytes` beside those that this process has; None where it came to
    an end, be it by an error: that is for whoever does it in earnest."""
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of a library do not live on in the child
        child = os.fork()
    if child == 0:
        _do(work, seconds, memory_bytes)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):  # an allocation that fails within C++ ends in SIGABRT or SIGSEGV
        return "time" if os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL) else "memory"
    return "memory" if os.WEXITSTATUS(status) == MEMORY else None


def _do(work: Callable[[], object], seconds: int, memory_bytes: int) -> None:
    """In the child: no way out but _exit."""
    code = 0
    try:
        leave_folder()  # what `work` imports comes from elsewhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what C++ says of bad_alloc
        signal.signal(signal.SIGXCPU, signal.SIG_DFL)
        with open("/proc/self/statm", encoding="ascii") as file:
            allowed = int(file.read().split()[0]) * resource.getpagesize() + memory_bytes
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(
            resource.RLIMIT_AS, (allowed if hard == resource.RLIM_INFINITY else min(allowed, hard), hard)
        )
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        work()
    except MemoryError:  # pyarrow's ArrowMemoryError is one
        code = MEMORY
    finally:
        os._exit(code)  # also where it broke off with anything else
