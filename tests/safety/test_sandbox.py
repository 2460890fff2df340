"""Hostile programs in the sandbox: none hangs, none gets out, and each ends with a reason."""

import json
import os
import shutil
import struct
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest

import redistill
from redistill.safety import sandbox_launcher
from redistill.safety.sandbox import Limits, SandboxRefused, check_sandbox, run_program

SOURCE = Path(redistill.__file__).parent.parent
SHORT = Limits(cpu_seconds=1, memory_mb=512, idle_seconds=1)


@pytest.fixture(scope="module", autouse=True)
def _allowed():
    try:
        check_sandbox()
    except SandboxRefused as error:
        pytest.skip(str(error))


def test_a_program_reads_its_input_and_writes_its_output() -> None:
    found = run_program("print(int(input()) + 1)", stdin="41\n")
    assert (found.status, found.code, found.stdout) == ("exited", 0, "42\n")
    assert run_program("print('grün', end='')").stdout == "grün"
    assert run_program("import sys; sys.exit(3)").code == 3


def test_it_imports_the_standard_library_and_packages_only_where_they_are_allowed() -> None:
    program = """
import importlib.util, json, sys
import ctypes, decimal, ssl
folders = [path for path in sys.path if path.endswith("-packages")]
print(json.dumps([folders, [name for name in ("pip", "setuptools", "numpy", "pytest") if importlib.util.find_spec(name)]]))
exit(3)
"""
    alone, beside = run_program(program), run_program(program, packages=True)
    assert (alone.code, json.loads(alone.stdout)) == (3, [[], []]), (
        alone.stderr
    )  # exit() is of `site`, which is not left out
    folders, names = json.loads(beside.stdout)
    assert folders == [sysconfig.get_paths()["purelib"]] and {"numpy", "pytest"} <= {*names}


def test_it_sees_no_file_user_process_or_variable_of_the_machine(monkeypatch, tmp_path) -> None:
    (tmp_path / "secret.txt").write_text("the key")
    monkeypatch.setenv("API_KEY", "the key")
    program = f"""
import os, glob
for path in ({str(tmp_path / "secret.txt")!r}, "/etc/passwd", "/etc/shadow", "/proc/1/environ", "/proc/self/environ", "/root/.ssh", {str(SOURCE)!r}):
    print(os.path.exists(path), end=" ")
print(sorted(os.environ), os.getuid(), os.getpid(), os.listdir("/tmp"), sorted(os.listdir("/dev")), os.uname().nodename)
for number in range(3, 64):
    try:
        os.fstat(number)
        print("open", number)
    except OSError:
        pass
"""
    found = run_program(program)
    assert found.stdout.startswith("False False False False False False False [") and "API_KEY" not in found.stdout
    assert "65534 2 [] ['null', 'random', 'urandom', 'zero'] sandbox\n" in found.stdout and "open" not in found.stdout


def test_it_writes_nowhere_but_into_its_own_folder_which_dies_with_it(tmp_path) -> None:
    program = f"""
import os, shutil
for path in ("/x", "/code/program.py", "/usr/x", "/dev/x", "/etc/x", {str(tmp_path / "x")!r}, "/tmp/../x", os.path.dirname(os.__file__) + "/x"):
    try:
        open(path, "w")
        print("WROTE", path)
    except OSError:
        pass
for folder in ("/code", "/tmp", "/etc", os.path.dirname(os.__file__) + "/json"):
    shutil.rmtree(folder, ignore_errors=True)
import json
print(os.path.exists("/code/program.py"))
open("/tmp/mine", "w").write("x")
"""
    (tmp_path / "mine").write_text("kept")
    found = run_program(program)
    assert (found.code, found.stdout) == (0, "True\n"), found.stderr
    assert run_program("import os; print(os.listdir('/tmp'))").stdout == "[]\n"
    assert not os.path.exists("/tmp/mine") and (tmp_path / "mine").read_text() == "kept"


def test_there_is_no_network() -> None:
    program = """
import socket
for address in (("127.0.0.1", 22), ("8.8.8.8", 53), ("169.254.169.254", 80)):
    try:
        socket.create_connection(address, timeout=1)
        print("CONNECTED")
    except OSError:
        pass
try:
    socket.getaddrinfo("example.org", 80)
    print("RESOLVED")
except OSError:
    print("none")
"""
    assert run_program(program).stdout == "none\n"


def test_sockets_of_families_that_no_namespace_ends_do_not_exist() -> None:
    """A network namespace does not end AF_VSOCK, which speaks with the host of a virtual machine; nor are the others of any use."""
    program = """
import errno, socket
for family in range(1, 46):
    try:
        socket.socket(family, socket.SOCK_STREAM if family < 40 else socket.SOCK_DGRAM).close()
        print(family, end=" ")
    except OSError as error:
        assert error.errno == errno.EAFNOSUPPORT, (family, error)
try:
    socket.socketpair(30)
except OSError as error:
    print(error.errno == errno.EAFNOSUPPORT, len(socket.socketpair()))
"""
    found = run_program(program)
    assert found.stdout == "1 2 10 True 2\n", found.stderr


def test_signals_reach_nobody_outside_and_not_the_init() -> None:
    program = f"""
import os, signal
for target in (os.getppid(), 1, -1, {os.getpid()}):
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(target, number)
            if target > 2:
                print("SENT")
        except OSError:
            pass
print("alive")
"""
    assert run_program(program).stdout == "alive\n"


@pytest.mark.parametrize(
    ("program", "status"),
    [
        pytest.param("while True: pass", "cpu_time", id="endless-loop"),
        pytest.param("import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass", "cpu_time", id="deaf-loop"),
        pytest.param("import os\nwhile True:\n  try: os.fork()\n  except OSError: pass", "cpu_time", id="fork-bomb"),
        pytest.param("import time; time.sleep(1000)", "idle", id="sleeps"),
        pytest.param("import os\nfor n in (0, 1, 2): os.close(n)\nimport time; time.sleep(1000)", "idle", id="sleeps-deaf"),
        pytest.param("while True: print('x' * 1000)", "output", id="prints-forever"),
        pytest.param("import os, time\nfor _ in range(8):\n  if os.fork() == 0:\n    x = bytearray(300 << 20); time.sleep(30)\ntime.sleep(30)",
                     "memory", id="memory-of-many"),
    ],
)  # fmt: skip
def test_what_never_ends_is_ended_with_its_reason(program: str, status: str) -> None:
    begun = time.monotonic()
    assert run_program(program, limits=SHORT).status == status
    assert time.monotonic() - begun < SHORT.wall_seconds + 5


@pytest.mark.parametrize(
    ("program", "error"),
    [
        ("x = [0] * (4 * 10**9 // 8)", "MemoryError"),
        ("import os\nwhile True: os.fork()", "BlockingIOError"),
        (
            "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(9,), daemon=True).start()",
            "can't start new thread",
        ),
        ("f = open('/tmp/x', 'wb')\nwhile True: f.write(b'x' * 10**6)", "File too large"),
        ("n = 0\nwhile True:\n  n += 1\n  open(f'/tmp/{n}', 'wb').write(b'x' * 10**7)", "No space left on device"),
        ("n = 0\nwhile True:\n  n += 1\n  open(f'/tmp/{n}', 'wb')", "No space left on device"),
    ],
)
def test_more_than_its_limits_is_an_error_within_the_program(program: str, error: str) -> None:
    found = run_program(program, limits=SHORT)
    assert (found.status, found.code) == ("exited", 1) and error in found.stderr


def test_what_it_leaves_running_dies_with_it() -> None:
    mark = f"{os.getpid()}{time.monotonic_ns()}"
    program = f"""
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execv("/bin/sh", ["sh", "-c", "sleep {mark[-9:]}; true"])
    os._exit(0)
time.sleep(0.2)
print("left")
"""
    assert run_program(program).stdout == "left\n"
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not any(mark[-9:].encode() in command for command in commands)


def test_calls_that_could_open_a_way_out_are_forbidden() -> None:
    program = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
for name, arguments in (("unshare", (0x10000000,)), ("mount", (b"none", b"/tmp", b"tmpfs", 0, None)), ("chroot", (b"/",)), ("setuid", (0,)),
                        ("memfd_create", (b"x", 0)), ("shmget", (0, 10**6, 0o1600)), ("ptrace", (0, 0, 0, 0)), ("sethostname", (b"a", 1))):
    print(name, getattr(libc, name)(*arguments))
print(libc.syscall(435, 0, 0), ctypes.get_errno())
"""
    found = run_program(program)
    assert all(line.endswith(" -1") for line in found.stdout.splitlines()[:-1]), found.stdout
    assert found.stdout.splitlines()[-1] == "-1 38"  # clone3: ENOSYS
    newuser = {"x86_64": 56, "aarch64": 220}[os.uname().machine]
    assert (
        run_program(f"import ctypes; print(ctypes.CDLL(None).syscall({newuser}, 0x10000011, 0, 0, 0, 0))").stdout
        == "-1\n"
    )


def test_the_filter_forbids_a_call_by_its_number_alone() -> None:
    """The filter is run by hand, instruction after instruction, on each call of the table and on some that programs need."""

    def answer(machine: str, number: int, argument: int = 0) -> int:
        arch = sandbox_launcher._AUDIT_ARCH[machine]
        data = struct.pack("=IIQQ", number, arch, 0, argument)
        code, at, held = sandbox_launcher.filter_program(machine), 0, 0
        while True:
            kind, yes, no, value = struct.unpack_from("=HBBI", code, 8 * at)
            at += 1
            if kind == 0x20:
                (held,) = struct.unpack_from("=I", data, value)
            elif kind == 0x06:
                return value
            else:
                held_true = {0x15: held == value, 0x45: bool(held & value), 0x35: held >= value}[kind]
                at += yes if held_true else no

    allow, forbid, unknown = 0x7FFF0000, 0x00050001, 0x00050061
    for machine, numbers in sandbox_launcher.FORBIDDEN.items():
        assert {answer(machine, number) for number in numbers.values()} == {forbid}
        clone = sandbox_launcher._CLONE[machine]
        assert answer(machine, clone, 0x10000011) == forbid and answer(machine, clone, 0x01200011) == allow
        assert {answer(machine, number) for number in (0, 63, 64, 93, 214, 231) if number not in numbers.values()} <= {
            allow,
            forbid,
        }
        for number in sandbox_launcher._SOCKETS[machine]:
            assert {family for family in range(64) if answer(machine, number, family) == allow} == {1, 2, 10}
            assert {answer(machine, number, family) for family in (0, 16, 17, 31, 38, 40)} == {unknown}
    assert answer("x86_64", 0) == answer("x86_64", 59) == allow
    assert answer("x86_64", 0x40000000 + 39) == 0x80000000


def test_a_machine_without_namespaces_refuses_and_runs_nothing() -> None:
    code = (
        "from redistill.safety.sandbox import *\n"
        "try:\n  print(run_program('print(1)'))\n"
        "except SandboxRefused as error:\n  print('refused:', error)\n"
    )
    command = f'echo 0 > /proc/sys/user/max_user_namespaces && exec {sys.executable} -c "$CODE"'
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "sh", "-c", command], capture_output=True, text=True,
        env={**os.environ, "CODE": code, "PYTHONPATH": str(SOURCE)}, timeout=60,
    )  # fmt: skip
    if "Permission denied" in done.stderr or "cannot create" in done.stderr:
        pytest.skip("this kernel does not let a namespace lower its own number of namespaces")
    assert done.stdout.startswith("refused: untrusted code is run only in Linux namespaces"), done.stdout + done.stderr
    assert len(done.stdout.strip().splitlines()) == 1


def test_a_user_without_rights_is_protected_alike(tmp_path) -> None:
    """Root gives the program another user; a plain user has only their own, and still it may write nothing of theirs."""
    if os.getuid() != 0 or not Path("/usr/bin/python3").exists():
        pytest.skip("only root can become a plain user here")
    home = Path("/tmp") / f"redistill-plain-{os.getpid()}"
    shutil.copytree(SOURCE / "redistill" / "safety", home / "redistill" / "safety")
    shutil.copy(SOURCE / "redistill" / "errors.py", home / "redistill")
    (home / "redistill" / "__init__.py").write_text("")
    (home / "mine").write_text("kept")
    for path in [home, *home.rglob("*")]:
        os.chown(path, 12345, 12345)
    code = (
        "import os\nfrom redistill.safety.sandbox import *\n"
        f"print(run_program('import os; print(os.getuid(), os.path.exists(\\\"{home}\\\"))').stdout, end='')\n"
        "print(run_program('while True: pass', limits=Limits(cpu_seconds=1)).status)\n"
        "print(run_program('import time; time.sleep(99)', limits=Limits(cpu_seconds=1, idle_seconds=1)).status)\n"
        "print('BlockingIOError' in run_program('import os\\nwhile True: os.fork()').stderr)\n"
    )
    try:
        done = subprocess.run(
            ["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups", "/usr/bin/python3", "-c", code],
            capture_output=True, text=True, env={"PYTHONPATH": str(home), "PATH": "/usr/bin:/bin"}, timeout=60,
        )  # fmt: skip
        if "refused" in done.stderr or "needs Python" in done.stderr:
            pytest.skip(done.stderr[-200:])
        assert done.stdout.splitlines() == ["65534 False", "cpu_time", "idle", "True"], done.stderr[-800:]
        assert (home / "mine").read_text() == "kept"
    finally:
        shutil.rmtree(home)
