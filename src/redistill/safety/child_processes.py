"""How this package starts Python: no process imports from the current folder, so a `random.py` there changes nothing.

    python_command("redistill.verify.worker", "5", "6")     [".../python", "-P", "-c", "...", "5", "6"], for subprocess
    with spawning():                                        for multiprocessing, around what starts processes
        process.start()

Every process of ours begins with the import path of this one (import_path.py), so that it finds a user's own plug-ins.
"""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator, Mapping

from redistill.safety.import_path import import_path

SAFE = {"PYTHONSAFEPATH": "1"}  # Python 3.11 and later: `-c`, `-m` and scripts put no folder first
_ONE_AT_A_TIME = threading.Lock()


def python() -> list[str]:
    """The beginning of a command line of Python: with -P neither `-m` nor `-c` looks into the current folder."""
    return [sys.executable, "-P"]


def python_command(module: str, *arguments: str) -> list[str]:
    """A command that calls `main()` of a module under this process's import path; `sys.argv[1:]` are the arguments.

    The path travels in the command, not in PYTHONPATH: Python would look there for its own library, and for the
    `sitecustomize` that it runs at its start.
    """
    return [
        *python(),
        "-c",
        f"import sys; sys.path[:] = {import_path()!a}; from {module} import main; main()",
        *arguments,
    ]


def isolated(file: str, *arguments: str) -> list[str]:
    """A command that runs one file of ours on the standard library alone: no environment's packages, no start-up files."""
    return [interpreter(), "-I", "-S", file, *arguments]


def interpreter() -> str:
    """Python itself, not the link to it in an environment."""
    return os.path.realpath(sys.executable)


def safe_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for a process whose own children must not look into the current folder either."""
    return {**environment, **SAFE}


@contextlib.contextmanager
def spawning() -> Iterator[None]:
    """Inside, processes that multiprocessing starts by `spawn` have a clean import path from their first import on.

    A new process takes `sys.path` over before it imports what it is to do; before that it is a plain `python -c`.
    """
    with _ONE_AT_A_TIME:
        path, before = sys.path, os.environ.get("PYTHONSAFEPATH")
        sys.path = import_path()
        os.environ.update(SAFE)
        try:
            yield
        finally:
            sys.path = path
            if before is None:
                del os.environ["PYTHONSAFEPATH"]
            else:
                os.environ["PYTHONSAFEPATH"] = before
