"""A fresh interpreter that has the verifiers' libraries loaded and forks the pool's workers from itself, on request.

    worker = start_worker(theirs, counter, maths=True)      in 10 ms; a new interpreter with sympy takes a second
    worker.pid, worker.poll(), worker.kill(), worker.wait() as of subprocess.Popen; -9 is the end by signal 9

There is one server for a process and those that it forks, started with the first worker; it ends when they have ended,
whatever ended them, and the workers of each end with it. The server runs no thread and verifies nothing itself, so a worker
begins with the libraries and nothing else: environment, folder, import path and standard error are those that the caller has
when the worker starts. The libraries for maths are loaded with the first worker that needs them.

Protocol: through a socket, the door, each process sends one end of a socket of its own. On that it sends the length of a
request together with four file descriptors (the worker's end of the pool's socket, the counter, standard error, a
pipe), then the request; the server answers with the worker's pid, or with minus the errno of a fork that failed. It writes
the worker's exit code into that pipe.
"""

import atexit
import contextlib
import errno
import gc
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

from redistill.errors import OperatorError
from redistill.safety.child_processes import python_command, safe_environment
from redistill.safety.import_path import import_path
from redistill.verify import worker

_NUMBER = struct.Struct("!q")
# One hash seed, so that sympy orders sets alike; and one thread for any numerical library, whose thread stacks count
# against the address space.
ENVIRONMENT = {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
ENTER, END = b"+", b"-"  # what is sent through the door
TRIES = 2
ANSWER_SECONDS = 600.0  # importing sympy where far more processes than cores want to run


# --- in the process that verifies -----------------------------------------------------------------------------------


class WorkerProcess:
    """A worker, which is the server's child: its exit code comes through a pipe."""

    def __init__(self, pid: int, status: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._status = status

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        if self.returncode is None:
            events = select.poll()  # `select.select` knows no descriptor above 1,023
            events.register(self._status, select.POLLIN)
            if events.poll(0):
                self.wait()
        return self.returncode

    def wait(self) -> int:
        """The exit code, once it has ended."""
        if self.returncode is None:
            status = os.read(self._status, _NUMBER.size)
            os.close(self._status)
            # no message: the server itself was killed, and kills no process
            self.returncode = _NUMBER.unpack(status)[0] if status else -signal.SIGKILL
            if not status:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)
        return self.returncode

    def kill(self) -> None:
        """End it now, where it has not ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


class _Server:
    """The server of this process: started when it is first needed, and again where it was killed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._door: socket.socket | None = None  # forked processes of this one have it too
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None  # None also where our parent started it

    def start_worker(self, request: dict[str, Any], connection: int, counter: int) -> WorkerProcess:
        """OperatorError where a new server did not answer either, OSError where the system starts no process."""
        message = json.dumps(request).encode()
        with self._lock:
            for _ in range(TRIES):
                try:
                    return self._start_worker(message, connection, counter)
                except (ConnectionError, EOFError):  # something has killed the server
                    self._close()
        raise OperatorError(
            f"verify: the process that starts its workers ended {TRIES} times before it had started one (most often the machine "
            "is out of memory, or may open too few files, see ulimit -n); run the same command again: what is finished is kept."
        )

    def _start_worker(self, message: bytes, connection: int, counter: int) -> WorkerProcess:
        control = self._open()
        reading, writing = os.pipe()
        try:
            with _standard_error() as errors:
                socket.send_fds(control, [_NUMBER.pack(len(message))], [connection, counter, errors, writing])
            control.sendall(message)
            (pid,) = _NUMBER.unpack(_exactly(control, _NUMBER.size))
            if pid < 0:
                raise OSError(-pid, os.strerror(-pid))
        except (OSError, EOFError):
            os.close(reading)
            raise
        finally:
            os.close(writing)
        return WorkerProcess(pid, reading)

    def _open(self) -> socket.socket:
        if self._door is None:
            self._door, theirs = socket.socketpair()
            with theirs:
                self._process = subprocess.Popen(
                    python_command("redistill.verify.fork_server", str(theirs.fileno())),
                    pass_fds=[theirs.fileno()], env=safe_environment(os.environ) | ENVIRONMENT,
                )  # fmt: skip
        if self._control is None:
            ours, theirs = socket.socketpair()
            ours.settimeout(ANSWER_SECONDS)
            with theirs:
                try:
                    socket.send_fds(self._door, [ENTER], [theirs.fileno()])
                except OSError:
                    ours.close()
                    raise
            self._control = ours
        return self._control

    def close(self) -> None:
        """End the server and with it all workers, where this process has started it; the next worker starts another one."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._process is not None and self._door is not None:
            with contextlib.suppress(OSError):  # it has ended
                self._door.send(END)
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:  # stopped, or loading from a disk that hangs
                self._process.kill()
                self._process.wait()
        for end in (self._control, self._door):
            if end is not None:
                end.close()
        self._door = self._control = self._process = None

    def forked(self) -> None:
        """In a forked child of this process: the door leads to the same server, all else is the parent's."""
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            self._process.returncode = 0  # not ours to wait for
        self._lock, self._control, self._process = threading.Lock(), None, None


_SERVER = _Server()
os.register_at_fork(after_in_child=_SERVER.forked)
atexit.register(_SERVER.close)


def start_worker(connection: int, counter: int, *, maths: bool) -> WorkerProcess:
    """A process that serves on `connection`, a file descriptor, and counts in the file `counter`. maths: whether its
    verifiers need sympy and math-verify, which are then loaded before it starts."""
    try:
        folder = os.getcwd()
    except FileNotFoundError:
        folder = None  # somebody deleted it
    environment = safe_environment(os.environ) | ENVIRONMENT
    request = {"environment": environment, "folder": folder, "path": import_path(), "maths": maths}
    return _SERVER.start_worker(request, connection, counter)


@contextlib.contextmanager
def _standard_error() -> Iterator[int]:
    """A file descriptor to which a worker may write its last words."""
    try:
        os.fstat(2)
    except OSError:  # closed, as of a daemon
        with open(os.devnull, "wb") as null:
            yield null.fileno()
    else:
        yield 2


def _exactly(control: socket.socket, count: int) -> bytes:
    """So many bytes; EOFError where the other side has ended."""
    received = b""
    while len(received) < count:
        part = control.recv(count - len(received))
        if not part:
            raise EOFError
        received += part
    return received


# --- in the server --------------------------------------------------------------------------------------------------


class _Forks:
    """Forks workers as they are asked for, and tells how each of them ended."""

    def __init__(self, door: socket.socket) -> None:
        self._door: socket.socket | None = door
        self._callers: dict[socket.socket, set[int]] = {}  # with the pids of their workers
        self._ends: dict[int, int] = {}  # pid -> the pipe that reports its end
        self._woken, self._wake = os.pipe()
        for end in (self._woken, self._wake):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # a handler, so that the wake-up pipe is written

    def serve(self) -> None:
        """Until the last caller has ended, or the first says that it ends."""
        while self._door is not None or self._callers:
            listened: list[Any] = [self._woken, *self._callers, *([self._door] if self._door is not None else [])]
            ready = select.select(listened, [], [])[0]
            if self._woken in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._woken, 4096)
                self._reap()
            for caller in [one for one in ready if one in self._callers]:
                try:
                    self._fork(caller)
                except (EOFError, ConnectionError):
                    self._drop(caller)
            if self._door is not None and self._door in ready:
                said, ends, _, _ = socket.recv_fds(self._door, 1, 1)
                if said == ENTER and not ends:
                    continue  # as above: the caller reads its end
                if said == ENTER:
                    self._callers[socket.socket(fileno=ends[0])] = set()
                elif said == END:
                    break
                else:
                    self._door.close()
                    self._door = None
        for caller in list(self._callers):
            self._drop(caller)

    def _drop(self, caller: socket.socket) -> None:
        """A caller has ended: so do its workers."""
        for pid in self._callers.pop(caller):
            os.kill(pid, signal.SIGKILL)
        caller.close()

    def _reap(self) -> None:
        for pid in list(self._ends):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                for workers in self._callers.values():
                    workers.discard(pid)
                # where the pipe is broken, the caller has forgotten the worker
                with contextlib.suppress(BrokenPipeError), open(self._ends.pop(pid), "wb", buffering=0) as status_pipe:
                    status_pipe.write(_NUMBER.pack(os.waitstatus_to_exitcode(status)))

    def _fork(self, caller: socket.socket) -> None:
        head, descriptors, _, _ = socket.recv_fds(caller, _NUMBER.size, 4)
        if not head:
            raise EOFError
        (length,) = _NUMBER.unpack(head + _exactly(caller, _NUMBER.size - len(head)))
        request = json.loads(_exactly(caller, length))
        if len(descriptors) < 4:  # more than we may have open: the kernel has dropped the rest
            for descriptor in descriptors:
                os.close(descriptor)
            caller.sendall(_NUMBER.pack(-errno.EMFILE))
            return
        if request["maths"]:
            worker.load_maths()
        gc.collect()
        gc.freeze()  # a collection in a worker would else copy every page that it shares with us
        connection, counter, errors, status_pipe = descriptors
        try:
            pid = os.fork()
        except OSError as error:
            pid = -(error.errno or errno.EAGAIN)
        if pid == 0:
            self._become_worker(request, connection, counter, errors, status_pipe)
        for descriptor in (connection, counter, errors):
            os.close(descriptor)
        if pid > 0:
            self._ends[pid] = status_pipe
            self._callers[caller].add(pid)
        else:
            os.close(status_pipe)
        caller.sendall(_NUMBER.pack(pid))

    def _become_worker(
        self, request: dict[str, Any], connection: int, counter: int, errors: int, status_pipe: int
    ) -> None:
        """In the child: no way out but _exit."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for end in (*self._callers, self._door):
                if end is not None:
                    end.close()
            for descriptor in (self._woken, self._wake, status_pipe, *self._ends.values()):
                os.close(descriptor)
            os.dup2(errors, 2)
            os.close(errors)
            os.environ.clear()
            os.environ.update(request["environment"])
            sys.path[:] = request["path"]
            if request["folder"] is not None:
                with contextlib.suppress(OSError):
                    os.chdir(request["folder"])
            # The pool is gone: nobody is left to tell.
            with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError), Connection(connection) as pool:
                worker.serve(pool, counter)
            code = 0
        finally:
            try:
                if code:
                    traceback.print_exc()
                sys.stderr.flush()
            finally:
                os._exit(code)


def main() -> None:
    """Serve whoever comes through the door, a socket named on the command line; stray prints of libraries go nowhere."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the pool, which then ends its workers
    _Forks(socket.socket(fileno=int(sys.argv[1]))).serve()
