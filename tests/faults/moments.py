"""Inside a child of end_to_end/runner.py: every moment at which a run writes, and a kill at one of them.

A moment is (writer, operation, path). The writer is the function of redistill in hand, io/atomic.py and io/stage_folder.py's helpers
looked through; the operation one of open, torn (half of the first write is in the file), fsync, rename, remove, mkdir,
truncate. Moments come from the interpreter's audit hook, so that a new writer is found without being listed.
"""

import builtins
import io
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

OPERATIONS = {
    "os.rename": "rename",
    "os.remove": "remove",
    "os.mkdir": "mkdir",
    "os.rmdir": "remove",
    "os.truncate": "truncate",
    "shutil.rmtree": "remove",
}
PASSED_THROUGH = ("redistill.io.atomic",)


def _writer() -> str:
    frame = sys._getframe(2)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith("redistill.") and module not in PASSED_THROUGH:
            return f"{module.removeprefix('redistill.')}:{frame.f_code.co_name.strip('<>')}"
        frame = frame.f_back
    return "elsewhere"


class Moments:
    """Counts the moments below one folder; records them, or kills this process at the one that is wanted."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.root = str(Path(spec["root"]).absolute())
        self.record = open(spec["record"], "a", buffering=1) if spec.get("record") else None  # noqa: SIM115 - to the end
        self.wanted = tuple(spec["moment"]) if spec.get("moment") else None
        self.open = builtins.open
        self.busy = False

    def meet(self, operation: str, path: Any) -> bool:
        """Note the moment; True when it is the wanted one."""
        if self.busy or not isinstance(path, str | os.PathLike):
            return False
        where = os.path.abspath(os.fspath(path))
        if not where.startswith(self.root + "/"):
            return False
        self.busy = True
        name = re.sub(r"\.[0-9a-f]{8}\.part$", ".part", where[len(self.root) + 1 :])
        moment = (_writer(), operation, name)
        if self.record is not None:
            self.record.write("\t".join(moment) + "\n")
        self.busy = False
        return moment == self.wanted

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.meets(event, arguments):
            die()

    def meets(self, event: str, arguments: tuple[Any, ...]) -> bool:
        """Note what the interpreter tells; True at the wanted moment."""
        if event == "open":
            path, mode, flags = arguments
            writes = any(c in mode for c in "wax+") if mode else bool(flags & (os.O_WRONLY | os.O_RDWR))
            return writes and self.meet("open", path)
        return event in OPERATIONS and self.meet(OPERATIONS[event], arguments[0])

    def opened(self, path: Any, mode: str = "r", *rest: Any, **named: Any) -> Any:
        """`open`, whose file dies in its first write where that is wanted."""
        file = self.open(path, mode, *rest, **named)
        return Torn(file) if any(c in mode for c in "wax") and self.meet("torn", path) else file

    def synced(self, descriptor: int, real: Any = os.fsync) -> None:
        if self.meet("fsync", os.readlink(f"/proc/self/fd/{descriptor}")):
            die()
        real(descriptor)


class Torn:
    """A file that is killed in the middle of its first write."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def write(self, data: Any) -> None:
        self.file.write(data[: len(data) // 2])
        self.file.flush()
        die()

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def __enter__(self) -> "Torn":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(spec: dict[str, Any]) -> None:
    """Watch the folder spec["root"]: record its moments in the file spec["record"], or die at spec["moment"]."""
    moments = Moments(spec)
    sys.addaudithook(moments.hook)
    os.fsync = moments.synced
    builtins.open = io.open = moments.opened  # type: ignore[assignment]
