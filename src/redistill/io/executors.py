"""Maps over shards: one function for every task, in this process, in a pool of local processes or on a Ray cluster.

    with open_executor(ExecutionSettings(executor="local", workers=4)) as executor:
        for place, answer in executor.map(work, tasks, label="verify", size_bytes=8 << 30):   # as they finish
            ...

`work` is a function of a module, or a partial of one. It reads its task's files and writes its shard with its
done-marker (io/stage_folder.py), so what travels is small: a path out, a count back. It may be called twice for one task,
since what a dead process had in hand is done again; both times it writes the same bytes. Hence neither the executor
nor the number of processes nor the order of completion shows in the output, and memory does not grow with the input.

Nodes of a Ray cluster see the run's folder and the input files under the same paths, or the run is in object storage: far_nodes.py.
"""

import contextlib
import functools
import importlib.util
import logging
import multiprocessing
import os
import pickle
import signal
import socket
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from redistill.config.tables import ExecutionSettings
from redistill.config.user_plugins import code_folders
from redistill.errors import OperatorError
from redistill.io.far_nodes import LOCK, HeldRun, Lacking, Made, Order, Sums, do_far
from redistill.io.fingerprints import code_fingerprint
from redistill.io.stores import CACHE, cache_folder
from redistill.safety.child_processes import spawning

SMALL_BYTES = 16 * 2**20  # of input files: less is done here sooner than processes start (a second or two each)
MAX_DEATHS = 3  # of processes, without one task finished in between
Work = Callable[[Any], Any]
Reads = Callable[[Any], Iterable[Path]]  # the files that a task reads


def no_files(task: Any) -> Iterable[Path]:
    """Of a task that brings all it needs."""
    return ()


class Executor(Protocol):
    """Where tasks are done."""

    processes: int  # how many tasks are in hand at once
    is_cluster: bool  # whether it has other machines, on which models and verifiers have more resources than here

    def spreads(self, tasks: int, size_bytes: int) -> bool:
        """True where map would give so many tasks to other processes, False where it would do them in this one."""
        ...

    def map(
        self, work: Work, tasks: Sequence[Any], *, label: str, size_bytes: int, reads: Reads = no_files
    ) -> Iterator[tuple[int, Any]]:
        """(place in tasks, work(task)) in the order of completion. size_bytes: of the files the tasks read, roughly. reads: those
        files, for machines that do not have them.

        What `work` raises is raised here, and the tasks still in hand are given up. OperatorError, opened with `label`,
        where processes keep dying.
        """
        ...

    def hold(self, keep: bool) -> None:
        """Whether processes outlive a map, with what their work has opened: workers of a verifier, a model. False ends them."""
        ...

    def close(self) -> None:
        """Give back what the executor holds; a later map would begin anew."""
        ...


def in_this_process(work: Work, tasks: Iterable[Any]) -> Iterator[tuple[int, Any]]:
    """One task after the other, here."""
    for place, task in enumerate(tasks):
        yield place, work(task)


def cores() -> int:
    """The cores this process may use; a container or `taskset` can allow fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def open_executor(settings: ExecutionSettings, run: HeldRun | None = None) -> Iterator[Executor]:
    """The executor that a recipe or the command line asks for, closed at the end. run: whose stages it makes."""
    executor = EXECUTORS[settings.executor](settings, run)
    try:
        yield executor
    finally:
        executor.close()


# --- local processes ----------------------------------------------------------------------------------------------


class LocalProcesses:
    """Fresh interpreters on this machine. They end with this process, even when it is killed."""

    is_cluster = False

    def __init__(self, processes: int) -> None:
        self.processes = processes

    def spreads(self, tasks: int, size_bytes: int) -> bool:
        """Not one task, nor a small input."""
        return min(self.processes, tasks) > 1 and size_bytes >= SMALL_BYTES

    def map(
        self, work: Work, tasks: Sequence[Any], *, label: str, size_bytes: int, reads: Reads = no_files
    ) -> Iterator[tuple[int, Any]]:
        """See Executor."""
        if not self.spreads(len(tasks), size_bytes):
            yield from in_this_process(work, tasks)
            return
        left, deaths = dict(enumerate(tasks)), 0
        while left:
            try:
                for place, answer in self._round(pickle.dumps(work), left):
                    del left[place]
                    deaths = 0
                    yield place, answer
            except BrokenProcessPool as error:
                deaths += 1
                if deaths == MAX_DEATHS:
                    raise OperatorError(died(label, len(left), "start fewer with --workers")) from error

    def hold(self, keep: bool) -> None:
        """Nothing: every map has processes of its own."""

    def close(self) -> None:
        """Nothing: every map has closed its own pool."""

    def _round(self, work: bytes, tasks: dict[int, Any]) -> Iterator[tuple[int, Any]]:
        """The tasks in a new pool, until they are done or one of its processes dies."""
        context = multiprocessing.get_context("spawn")
        alive, ours = context.Pipe(duplex=False)
        pool = ProcessPoolExecutor(min(self.processes, len(tasks)), context, _begin, (alive,))
        try:
            with spawning():  # it starts its processes as tasks are submitted
                places = {pool.submit(do, "", work, task): place for place, task in list(tasks.items())}
            for future in as_completed(places):
                yield places[future], future.result()
            pool.shutdown()
        finally:
            ours.close()  # after an error or an interrupt: whatever the processes are at, they leave
            pool.shutdown(cancel_futures=True)
            alive.close()


def _begin(alive: Connection) -> None:
    """What a process of the pool does first: leave Ctrl-C to its parent, and watch that it has one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pa.set_cpu_count(1)  # one process a core is enough
    threading.Thread(target=_leave_with_parent, args=(alive,), daemon=True).start()


def _leave_with_parent(alive: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        alive.recv()  # nothing is ever sent: it returns when the other end is closed or its process killed
    os._exit(1)


def local(settings: ExecutionSettings, run: HeldRun | None = None) -> Executor:
    """A pool of processes on this machine, `workers` of them, by default one a core."""
    return LocalProcesses(settings.workers or cores())


# --- Ray ------------------------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class _Actor:
    """A process of the cluster, with a CPU of its own."""

    handle: Any
    lost_before: int = 0  # others, one after the other, in whose place it came and of which none got ready
    is_far: bool = False  # it does not see the run's folder
    node: str = ""


class RayCluster:
    """Actors on a Ray cluster, one a CPU, a task at a time each. What their work opens stays open in them: workers of a verifier, a
    scorer's model. The task of an actor that is lost, alone or with its node, is given to another.

    address: of a running cluster, None for one that is started here, on loopback only, with `processes` CPUs. Nothing
    is started or reached before the first map. run: whose files are sent to nodes that do not see its folder, where it is in a
    store; None: every node sees all files.
    """

    def __init__(self, address: str | None, processes: int, run: HeldRun | None = None) -> None:
        self.address, self.processes, self.is_cluster, self._run = address, processes, address is not None, run
        self._ray: Any = None
        self._new_actor: Callable[..., Any]
        self._keeps = False
        self._idle: list[_Actor] = []  # they have said that they are there
        # what they will say it with -> actor; one waits while no node has a CPU for it
        self._starting: dict[Any, _Actor] = {}

    def spreads(self, tasks: int, size_bytes: int) -> bool:
        """Always: who asks for the cluster gets it."""
        return tasks > 0

    def map(
        self, work: Work, tasks: Sequence[Any], *, label: str, size_bytes: int, reads: Reads = no_files
    ) -> Iterator[tuple[int, Any]]:
        """See Executor. OperatorError where the cluster does not answer or has no CPU, where a node sees nothing of a run on a disk,
        and where one task has lost MAX_DEATHS actors: a node that is lost takes many actors at once, but each task only one."""
        if not tasks:
            return
        ray = self._connect()
        calls = _TaskCalls(ray, self._run, work, tasks, reads, label)
        left, losses, at_work = deque(range(len(tasks))), Counter[int](), dict[Any, tuple[int, _Actor]]()
        self._ask_idle()
        for _ in range(min(self.processes, len(tasks)) - len(self._starting)):
            self._start_actor()
        try:
            while left or at_work:
                while left and self._idle:
                    actor, place = self._idle.pop(), left.popleft()
                    at_work[calls.give(place, actor)] = (place, actor)
                (done,), _ = ray.wait([*at_work, *self._starting], num_returns=1)
                try:
                    answer = ray.get(done)
                except ray.exceptions.RayTaskError as error:
                    raise (error.cause if isinstance(error.cause, OperatorError) else error) from None
                except ray.exceptions.RayError as error:  # the actor or its node is gone, or out of memory
                    if done in at_work:
                        place, actor = at_work.pop(done)
                        left.appendleft(place)
                        losses[place] += 1
                        times, before = losses[place], 0
                    else:
                        actor = self._starting.pop(done)
                        times = before = actor.lost_before + 1
                    self._replace(actor, before)
                    if times == MAX_DEATHS:
                        why = " ".join(str(error).split())[:200]
                        unfinished = len(left) + len(at_work)
                        raise OperatorError(died(label, unfinished, f"look at the cluster ({why})")) from error
                    continue
                if done in self._starting:
                    self._idle.append(self._ready(self._starting.pop(done), answer, label))
                    continue
                place, actor = at_work.pop(done)
                if isinstance(answer, Lacking):
                    at_work[calls.give(place, actor, answer)] = (place, actor)
                    continue
                self._idle.append(actor)
                yield place, calls.take(place, answer)
        finally:
            for _, actor in at_work.values() if ray.is_initialized() else ():
                ray.kill(actor.handle)
            if not self._keeps:
                self._end_actors()

    def hold(self, keep: bool) -> None:
        """See Executor."""
        self._keeps = keep
        if not keep:
            self._end_actors()

    def _start_actor(self, lost_before: int = 0) -> None:
        actor = _Actor(self._new_actor(_sources(), os.getcwd()), lost_before)
        self._starting[self._ask(actor)] = actor

    def _ask(self, actor: _Actor) -> Any:
        """What the actor will say whether it is there, and sees the run's folder, with."""
        run = self._run
        where = (
            (str(run.folder / LOCK), run.token(), {CACHE: str(cache_folder())}) if run is not None else ("", b"", {})
        )
        return actor.handle.ready.remote(*where)

    def _ready(self, actor: _Actor, answer: tuple[bool, str], label: str) -> _Actor:
        """An actor that has said so. OperatorError where nothing can be sent to its node."""
        sees, node = answer
        if not sees and self._run is not None and self._run.remote is None:
            raise OperatorError(
                f"{label}: the node {node} of the Ray cluster does not see the run's folder {self._run.folder}; put it on a file system "
                "that every node shares, or in object storage (--runs-dir s3://BUCKET/runs)."
            )
        return _Actor(actor.handle, is_far=not sees, node=node)

    def _replace(self, lost: _Actor, lost_before: int) -> None:
        """Another actor for one that is lost, or does not answer any more."""
        self._ray.kill(lost.handle)
        self._ask_idle()  # its node may have been theirs
        self._start_actor(lost_before)

    def _ask_idle(self) -> None:
        """Whether the idle actors are still there: a task given to one that is not would count as lost."""
        for actor in self._idle:
            self._starting[self._ask(actor)] = actor
        self._idle = []

    def _end_actors(self) -> None:
        actors, self._idle, self._starting = [*self._idle, *self._starting.values()], [], {}
        for actor in actors if self._ray is not None and self._ray.is_initialized() else ():
            self._ray.kill(actor.handle)

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        if self._ray is not None:
            self.hold(False)
            self._ray.shutdown()
            self._ray = None

    def _connect(self) -> Any:
        if self._ray is None:
            if self.address:
                _check_answers(self.address)
            import ray

            # Ray would put the script's folder and the current one first on the import path of its workers
            job = ray.job_config.JobConfig()
            job._py_driver_sys_path = _ClosedList()
            own: dict[str, Any] = {
                "num_cpus": self.processes,
                "_node_ip_address": "127.0.0.1",
                "include_dashboard": False,
            }
            try:
                with _kept_sigterm():
                    ray.init(
                        self.address or "local",
                        logging_level=logging.ERROR,
                        job_config=job,
                        **({} if self.address else own),
                    )
            except (ConnectionError, ValueError, RuntimeError) as error:
                why = " ".join(str(error).split())[:200]
                raise OperatorError(f"execution.address: no Ray cluster answers at {self.address} ({why}).") from error
            self._ray, self._new_actor = ray, ray.remote(num_cpus=1, max_restarts=0)(_actor_class()).remote
        self.processes = int(self._ray.cluster_resources().get("CPU", 0))  # a cluster may grow
        if self.processes == 0:
            raise OperatorError(f"execution.address: the Ray cluster at {self.address} has no CPU to work with.")
        return self._ray


@contextlib.contextmanager
def _kept_sigterm() -> Iterator[None]:
    """What SIGTERM does here stays: Ray would let it end the command with exit code 15, in the middle of a step."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


class _TaskCalls:
    """The tasks of one map as actors are given them: those of a far node with their files."""

    def __init__(
        self, ray: Any, run: HeldRun | None, work: Work, tasks: Sequence[Any], reads: Reads, label: str
    ) -> None:
        self._ray, self._run, self._work, self._tasks, self._reads, self._label = ray, run, work, tasks, reads, label
        self._shipped: dict[bool, Any] = {}  # is_far -> the work, pickled once
        self._orders: dict[int, Order] = {}

    def give(self, place: int, actor: _Actor, lacking: Lacking | None = None) -> Any:
        """Give the task to the actor; what it will answer with. lacking: what it has answered that it needs before."""
        task, run = self._tasks[place], self._run
        if not actor.is_far or run is None:
            return actor.handle.run.remote(this_code(), self._ship(False), task)
        order = self._orders[place] if lacking else run.order(task, self._reads(task))
        self._orders[place] = order
        sent = run.sent(order, lacking, self._label, actor.node) if lacking else {}
        return actor.handle.run_far.remote(this_code(), self._ship(True), order, sent)

    def take(self, place: int, answer: Any) -> Any:
        """The task's answer, the files that came with it written."""
        self._orders.pop(place, None)
        return self._run.take(answer) if self._run is not None and isinstance(answer, Made) else answer

    def _ship(self, is_far: bool) -> Any:
        if is_far not in self._shipped:
            pickled = self._run.pickled(self._work) if is_far and self._run is not None else pickle.dumps(self._work)
            self._shipped[is_far] = self._ray.put(pickled)
        return self._shipped[is_far]


def _sources() -> list[str]:
    """The folders that code is imported from here: a node has them under the same paths."""
    return [str(Path(__file__).parents[1]), *code_folders()]


def _actor_class() -> type:
    """The class of the actors. One that is nested travels by value, so that a node needs nothing but the paths to find the package."""

    class Worker:
        def __init__(self, sources: list[str], folder: str) -> None:
            import os
            import sys

            sys.path += [source for source in sources if source not in sys.path]
            if os.path.isdir(folder):  # relative paths of a recipe are of the folder in which its command was run
                os.chdir(folder)

        def ready(self, file: str, content: bytes, environment: dict[str, str]) -> tuple[bool, str]:
            """Whether this node sees that file as the run does, and the node's name. environment: of the run, where it does."""
            import os

            try:
                with open(file or os.devnull, "rb") as opened:
                    sees = opened.read() == content
            except OSError:
                sees = False
            os.environ.update(environment if sees else {})
            return sees, os.uname().nodename

        def run(self, code: str, work: bytes, task: Any) -> Any:
            from redistill.io.executors import do

            return do(code, work, task)

        def run_far(self, code: str, work: bytes, order: Any, sent: Any) -> Any:
            from redistill.io.executors import do_on_far_node

            return do_on_far_node(code, work, order, sent)

    return Worker


class _ClosedList(list[str]):
    """A list to which Ray's driver cannot add folders."""

    def extend(self, folders: Iterable[str]) -> None:
        """Leave them out."""


def ray_cluster(settings: ExecutionSettings, run: HeldRun | None = None) -> Executor:
    """A Ray cluster: the one at `address` (or RAY_ADDRESS), else one on this machine that ends with the run.

    OperatorError where Ray is not installed.
    """
    if importlib.util.find_spec("ray") is None:
        raise OperatorError("execution.executor: ray is not installed; pip install -c constraints.txt -e '.[ray]'.")
    address = settings.address or os.environ.get("RAY_ADDRESS")
    if address is None or _host(address) in ("127.0.0.1", "localhost"):
        # Ray turns 127.0.0.1 into the machine's own address and would listen on all of them, but for this switch, which
        # it has for the sake of other systems' firewalls.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    return RayCluster(address, settings.workers or cores(), run)


def _host(address: str) -> str:
    return address.rpartition(":")[0]


def _check_answers(address: str) -> None:
    """OperatorError where nothing listens at host:port; Ray itself would go on knocking."""
    host, _, port = address.rpartition(":")
    if address == "auto":
        return
    if not host or not port.isdigit() or "/" in host:
        raise OperatorError(f"execution.address: write auto or host:port, not {address!r}.")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise OperatorError(
            f"execution.address: no Ray cluster answers at {address} ({error.strerror or error})."
        ) from error


# --- both -----------------------------------------------------------------------------------------------------------


def do(code: str, work: bytes, task: Any) -> Any:
    """What a worker process does with a task. `code`: the caller's this_code(), "" where it cannot differ."""
    with _same_here(code):
        return _unpickled(work)(task)


def do_on_far_node(code: str, work: bytes, order: Order, sent: Sums) -> Lacking | Made:
    """The same on a node that does not see the run's folder."""
    with _same_here(code):
        return do_far(work, order, sent)


@contextlib.contextmanager
def _same_here(code: str) -> Iterator[None]:
    """OperatorError where another machine runs other code than the caller, or lacks a file that a task names."""
    node = os.uname().nodename
    if code and code != this_code():
        raise OperatorError(
            f"executor: the worker on {node} runs another version of redistill ({Path(__file__).parent}); "
            "install the same one on every node."
        )
    try:
        yield
    except FileNotFoundError as error:
        if not code:
            raise
        raise OperatorError(
            f"executor: the node {node} does not have {error.filename or error}; give it the file under the same path, or name one in "
            "object storage (s3://...)."
        ) from error


@functools.lru_cache(maxsize=1)
def _unpickled(work: bytes) -> Work:
    """The function, unpickled once a process: it may hold a tokenizer."""
    return pickle.loads(work)


@functools.cache
def this_code() -> str:
    """A hash of the source of the whole package, as this process sees it."""
    return code_fingerprint("")


def died(label: str, left: int, advice: str) -> str:
    """The sentence about processes that keep dying."""
    return (
        f"{label}: worker processes died {MAX_DEATHS} times with {left} shards left (out of memory, or killed); {advice}. "
        "What is finished is kept: run the same command again to go on."
    )


EXECUTORS: dict[str, Callable[[ExecutionSettings, HeldRun | None], Executor]] = {
    "local": local,
    "ray": ray_cluster,
}
