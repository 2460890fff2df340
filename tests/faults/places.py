"""Inside a child of end_to_end/runner.py: a disk of its own that can be full or read-only, a small /dev/shm, few open files.

A disk is a tmpfs in a mount namespace of this process alone, which root may make, and anybody where the system allows user
namespaces. Where neither is allowed, a full disk is a limit of the file size of zero (the same refusal in the same calls,
EFBIG for ENOSPC) and a read-only one is a folder without the right to write. `story` in the answers says which it was.
"""

import contextlib
import ctypes
import io
import json
import os
import random
import resource
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from faults.moments import Moments

_NEW_NAMESPACE, _NEW_USER = 0x00020000, 0x10000000
_RDONLY, _REMOUNT, _REC, _PRIVATE = 1, 32, 16384, 1 << 18
_OVERRIDE_WRITE, _OVERRIDE_READ = 1 << 1, 1 << 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
_LIBC = ctypes.CDLL(None, use_errno=True)


def mounted(target: Path, options: str) -> bool:
    """Mount a tmpfs for this process alone; False where the system does not allow it."""
    user, group = os.getuid(), os.getgid()
    if _LIBC.unshare(_NEW_NAMESPACE) != 0:
        if _LIBC.unshare(_NEW_NAMESPACE | _NEW_USER) != 0:
            return False
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
            Path(f"/proc/self/{name}").write_text(text)
    return _mount(None, "/", None, _REC | _PRIVATE, None) and _mount("tmpfs", str(target), "tmpfs", 0, options)


def _mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None) -> bool:
    words = [None if word is None else word.encode() for word in (source, target, kind, options)]
    return bool(_LIBC.mount(words[0], words[1], words[2], ctypes.c_ulong(flags), words[3]) == 0)


def told(*arguments: str) -> dict[str, Any]:
    """The real command line in this process: its exit code and what it says on stderr."""
    from redistill.cli import main

    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            main(list(arguments))
            code: Any = 0
        except SystemExit as end:
            code = end.code
        except BaseException:  # noqa: BLE001 - what nobody caught is what the test asks about
            traceback.print_exc()
            code = 1
    return {"code": code, "said": said.getvalue()}


def answer(spec: dict[str, Any], answers: Any) -> None:
    """Leave what was found for the test, and end."""
    Path(spec["answers"]).write_text(json.dumps(answers))
    os._exit(0)


# --- a disk that is full -------------------------------------------------------------------------------------------


def full_disk(spec: dict[str, Any]) -> None:
    """One run that finds its disk full at each moment of spec["moments"], one after the other, and is run again each time
    there is room; its end is copied to spec["end"]."""
    place = Path(spec["place"])
    is_tmpfs = mounted(place, "size=48m")
    answers: list[dict[str, Any]] = []
    for moment in spec["moments"]:
        filler = Filler(place, is_tmpfs, tuple(moment))
        with filler.armed():
            found = told("run", "tiny.yaml", "--runs-dir", str(place))
        answers.append({"moment": moment, "met": filler.met, **found, "free": filler.free()})
    answers.append({"moment": None, **told("run", "tiny.yaml", "--runs-dir", str(place))})
    shutil.copytree(place, spec["end"], dirs_exist_ok=True)
    answer(spec, {"story": "tmpfs" if is_tmpfs else "file size limit", "answers": answers})


class Filler:
    """Fills the disk at one moment of the run below it."""

    def __init__(self, place: Path, is_tmpfs: bool, moment: tuple[str, ...]) -> None:
        self.place, self.is_tmpfs, self.moment, self.met = place, is_tmpfs, moment, False
        self.moments = Moments({"root": str(place / "tiny"), "moment": list(moment)})

    @contextlib.contextmanager
    def armed(self) -> Iterator[None]:
        """Within the block the disk is full from the moment on; after it there is room again."""
        global _FILLER
        if _FILLER is None:
            sys.addaudithook(lambda event, arguments: _FILLER.hook(event, arguments) if _FILLER else None)
        _FILLER = self
        try:
            yield
        finally:
            self.moments.wanted = None
            (self.place / "filler").unlink(missing_ok=True)
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.met and self.moments.meets(event, arguments):
            self.met = self.moments.busy = True
            self.fill()
            self.moments.busy = False

    def fill(self) -> None:
        if not self.is_tmpfs:
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            return
        with open(self.place / "filler", "wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"0" * 4096)

    def free(self) -> int:
        return os.statvfs(self.place).f_bavail


_FILLER: Filler | None = None


# --- a disk that cannot be written, a small /dev/shm, few files -----------------------------------------------------


def read_only(spec: dict[str, Any]) -> None:
    """A run that is finished up to its training on a disk that then becomes read-only, and writable again."""
    place = Path(spec["place"])
    is_tmpfs = mounted(place, "size=48m")
    before = told("run", "tiny.yaml", "--runs-dir", str(place), "--until", "select")
    with unwritable(place, is_tmpfs):
        answers = [told("run", "tiny.yaml", "--runs-dir", str(p)) for p in (place, place / "new")]
    after = told("run", "tiny.yaml", "--runs-dir", str(place))
    shutil.copytree(place, spec["end"], dirs_exist_ok=True)
    answer(spec, {"story": "tmpfs" if is_tmpfs else "rights", "before": before, "answers": answers, "after": after})


@contextlib.contextmanager
def unwritable(place: Path, is_tmpfs: bool) -> Iterator[None]:
    """Within the block nothing below `place` can be written: a mount that is read-only, else folders without the right to
    write, which root is made to respect."""
    if is_tmpfs:
        assert _mount(None, str(place), None, _REMOUNT | _RDONLY, None)
        yield
        assert _mount(None, str(place), None, _REMOUNT, None)
        return
    folders = [path for path in (place, *place.rglob("*")) if path.is_dir()]
    for folder in folders:
        folder.chmod(0o555)
    before = _rights(lambda held: held & ~(_OVERRIDE_WRITE | _OVERRIDE_READ))
    yield
    _rights(lambda held: before)
    for folder in folders:
        folder.chmod(0o755)


def _rights(change: Callable[[int], int]) -> int:
    """Change this process's capabilities (capset(2), version 3); returns those it had."""
    header, data = (
        (ctypes.c_uint32 * 2)(0x20080522, 0),
        (ctypes.c_uint32 * 6)(),
    )  # effective, permitted, inheritable; twice
    assert _LIBC.capget(header, data) == 0
    held = data[0]
    data[0] = change(held)
    assert _LIBC.capset(header, data) == 0
    return held


def small_shared_memory(spec: dict[str, Any]) -> None:
    """Two processes wanted for the stages before training, and no room in /dev/shm for what they share."""
    import redistill.io.executors as executors

    executors.SMALL_BYTES = 0
    is_tmpfs = mounted(Path("/dev/shm"), "size=4k")
    if is_tmpfs:
        with contextlib.suppress(OSError), open("/dev/shm/filler", "wb", buffering=0) as file:
            while True:
                file.write(b"0" * 4096)
    else:  # what the kernel says then, in the one call that asks for it
        import _multiprocessing

        def refuse(*_: object) -> None:
            raise OSError(28, "No space left on device")

        _multiprocessing.SemLock = refuse
    command = ("run", "tiny.yaml", "--runs-dir", spec["place"], "--until", "select", "--workers")
    found, again = told(*command, "2"), told(*command, "1")
    answer(spec, {"story": "tmpfs" if is_tmpfs else "simulated", "answers": [found, again]})


def jumping_clock(_: dict[str, Any]) -> None:
    """The wall clock of this process moves by up to a day, back and forth, whenever it is looked at."""
    real, draw = time.time, random.Random(1)
    time.time = lambda: real() + draw.uniform(-86_400, 86_400)


def few_files(spec: dict[str, Any]) -> None:
    """The run with ever fewer open files allowed, then with as many as before."""
    answers = []
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limit in spec["limits"]:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(limit, most), most))
        answers.append({"limit": limit, **told("run", "tiny.yaml", "--runs-dir", spec["place"])})
    answer(spec, {"answers": answers})
