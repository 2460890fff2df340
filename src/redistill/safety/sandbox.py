"""An untrusted Python program, run where it can reach nothing: namespaces of its own, no network, limits on everything.

    found = run_program("print(int(input()) + 1)", stdin="41")
    (found.status, found.code, found.stdout)          ("exited", 0, "42\\n")

It sees Python and the shared libraries, read-only, and one folder of its own (`/tmp`) that dies with it; no process, user, file or
environment variable of the machine. There is no weaker mode: where the machine allows no namespaces, `SandboxRefused` says so and
nothing runs. Limits count processor time; wall clock is far behind, so a verdict does not depend on what else the machine does.
"""

import base64
import functools
import json
import os
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from redistill.errors import OperatorError
from redistill.safety import sandbox_launcher
from redistill.safety.child_processes import interpreter, isolated

Status = Literal["exited", "cpu_time", "memory", "output", "idle", "wall_clock"]
WALL_PER_CPU = 10.0  # a machine with ten times as many busy processes as cores is still waited for
_PLACES = ("/usr", "/bin", "/lib", "/lib64", "/lib32", "/etc/ld.so.cache")


class SandboxRefused(OperatorError):
    """This machine cannot protect itself from untrusted code."""


@dataclass(frozen=True, slots=True)
class Limits:
    """cpu_seconds: of all processes of the program together. memory_mb: address space of a process, and memory of all.
    idle_seconds: how long everything may sleep. scratch_mb: what its folder holds; file_mb: of one file. processes: threads too."""

    cpu_seconds: float = 10.0
    memory_mb: int = 1024
    processes: int = 16
    file_mb: int = 16
    scratch_mb: int = 64
    output_kb: int = 1024
    idle_seconds: float = 5.0

    @property
    def wall_seconds(self) -> float:
        """When everything ends, whatever it does."""
        return WALL_PER_CPU * self.cpu_seconds + 2 * self.idle_seconds


@dataclass(frozen=True, slots=True)
class Finished:
    """How a program ended: `exited` with its code (negative: the signal that killed it), or what it ran out of."""

    status: Status
    code: int
    stdout: str
    stderr: str
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class _Machine:
    """What of this machine a program sees."""

    python: str
    folders: Sequence[str] = field(default_factory=tuple)
    links: Mapping[str, str] = field(default_factory=dict)


def run_program(
    program: str,
    *,
    stdin: str = "",
    limits: Limits | None = None,
    packages: bool = False,
    files: Mapping[str, str] | None = None,
) -> Finished:
    """Run a program to its end or to a limit. packages: whether it may import what is installed beside this package. files: others in
    its own folder `/code`, by name. SandboxRefused where the machine does not allow what protects it."""
    limits = limits or Limits()
    machine = _machine()
    site = sysconfig.get_paths()["purelib"] if packages else ""
    texts = {f"/code/{name}": text for name, text in {**(files or {}), "program.py": program}.items()}
    # as in a new virtual environment: what the machine's Python has installed would make a verdict depend on the machine
    texts["/python/pyvenv.cfg"] = f"home = {os.path.dirname(machine.python)}\ninclude-system-site-packages = false\n"
    job = {
        "command": ["/python/bin/python", "-B", "-s", "-X", "utf8", "/code/program.py"],
        "environment": {
            "PATH": "/usr/bin:/bin", "HOME": "/tmp", "TMPDIR": "/tmp", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0",
            "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", **({"PYTHONPATH": site} if site else {}),
        },
        "folders": [*machine.folders, *([os.path.realpath(site)] if site else [])],
        "links": {**machine.links, "/python/bin/python": machine.python},
        "files": {name: _coded(text) for name, text in texts.items()},
        "stdin": _coded(stdin),
        "limits": {
            "cpu_seconds": limits.cpu_seconds, "memory_bytes": limits.memory_mb << 20, "processes": limits.processes,
            "file_bytes": limits.file_mb << 20, "scratch_bytes": limits.scratch_mb << 20, "output_bytes": limits.output_kb << 10,
            "idle_seconds": limits.idle_seconds, "wall_seconds": limits.wall_seconds,
        },
    }  # fmt: skip
    return _finished(job)


def check_sandbox() -> None:
    """SandboxRefused unless a program can be run here: asked before any work begins."""
    _checked()


@functools.cache
def _checked() -> None:
    output = run_program("print(6 * 7)")
    if output.stdout != "42\n":
        raise SandboxRefused(
            f"{_REFUSAL} (a first program ended with {output.status} {output.code}: {output.stderr[-200:]!r})."
        )


_REFUSAL = (
    "untrusted code is run only in Linux namespaces of its own, which this machine does not allow; run it on a Linux machine with "
    "user namespaces (kernel 5.12 or later), in a container with `--security-opt seccomp=unconfined` or `--privileged`"
)


def _finished(job: Mapping[str, Any]) -> Finished:
    done = subprocess.run(
        isolated(sandbox_launcher.__file__),
        input=json.dumps(job).encode(),
        capture_output=True,
        env={},
        cwd="/",
        check=False,
    )
    if done.returncode != 0 or not done.stdout:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise SandboxRefused(f"{_REFUSAL} (the launcher ended with {done.returncode}: {(said or [''])[-1][:200]}).")
    table = json.loads(done.stdout)
    out, err = (base64.b64decode(table[name]).decode("utf-8", "replace") for name in ("stdout", "stderr"))
    if table["status"] == "refused":
        raise SandboxRefused(f"{_REFUSAL} ({err[:200]}).")
    status, code = table["status"], table["code"]
    spent = table["cpu_seconds"] >= job["limits"]["cpu_seconds"]
    if code == -signal.SIGXCPU or (code == -signal.SIGKILL and spent):  # the kernel's own limit came before our look
        status = "cpu_time"
    elif code == -signal.SIGKILL:  # nobody else kills it: the machine is out of memory
        status = "memory"
    return Finished(status, code, out, err, table["cpu_seconds"])


def _coded(text: str) -> str:
    return base64.b64encode(text.encode("utf-8", "surrogateescape" if text.isascii() else "replace")).decode()


@functools.cache
def _machine() -> _Machine:
    """Python itself, without this environment's packages, and the folders that it needs."""
    python = interpreter()
    wanted = [*_PLACES, os.path.realpath(sys.base_prefix), os.path.realpath(sys.base_exec_prefix)]
    if python.startswith("/nix/"):
        wanted.append("/nix/store")
    links = {path: os.readlink(path) for path in wanted if os.path.islink(path)}
    folders = [path for path in dict.fromkeys(wanted) if os.path.exists(path) and path not in links]
    inner = [path for path in folders if any(path != other and path.startswith(f"{other}/") for other in folders)]
    return _Machine(python, [path for path in folders if path not in inner], links)
