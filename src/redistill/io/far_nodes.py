"""Far nodes: those of a Ray cluster that do not see the run's folder. The files that a task reads go there, what it writes comes back.

    run = HeldRun(folder, remote)                 # in the run's own process
    order = run.order(task, files)                # the task and its files, by name, size and SHA-256
    answer = do_far(work, order, {})              # on the node: Lacking(sums), or Made(answer, files)
    run.take(answer)                              # its files written here, done-markers last

A far node fetches a file from the store where the run's manifest has it so, or a source's address does; only what no store has (what
lies between the passes of the corpus stage, a small source of the run's machine) is sent by the run. Every file is checked by its
SHA-256 and kept in the node's cache folder. A process of a node has a folder of its own, in which a task finds its inputs
and nothing else; a path below the run's folder is pickled by its place there, and is unpickled as the node's.
"""

import fcntl
import functools
import hashlib
import io
import os
import pickle
import shutil
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from redistill.errors import OperatorError
from redistill.io.atomic import atomic_write, sha256_file, write_bytes, writing
from redistill.io.remote_runs import RemoteRun, link_or_copy, talking_unless_gone
from redistill.io.stores import HERE, address_of, cache_folder, open_store

RUN, FETCHED = (
    "run",
    "files",
)  # the places of a file: below the run's folder, or in the cache below `files` (io/stores.py)
SENT_BYTES = 256 * 2**20  # of a source that only the run's machine has: a larger one belongs in a store
LOCK = ".lock"  # of the run's folder; its content is drawn anew whenever a process takes the run

Sums = Mapping[str, bytes]  # SHA-256 -> the bytes of a file


@dataclass(frozen=True, slots=True)
class Input:
    """A file that a task reads: its place and name there, and the address of the same bytes, "" where no store has them."""

    place: str
    name: str
    size: int
    sha256: str
    address: str


@dataclass(frozen=True, slots=True)
class Order:
    """A task for a far node. roots: place -> its folder on the run's machine, for error messages."""

    task: bytes
    inputs: tuple[Input, ...]
    roots: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Lacking:
    """What a far node answers where it could get some files from nowhere: their SHA-256."""

    sums: frozenset[str]


@dataclass(frozen=True, slots=True)
class Made:
    """What a far node answers: the task's answer, and name -> (SHA-256, bytes) of the files it wrote below the run's folder."""

    answer: Any
    files: Mapping[str, tuple[str, bytes]]


# --- in the process of the run ------------------------------------------------------------------------------------


class HeldRun:
    """The run that this process holds: its folder, and what the store has of it (None for a run on a disk)."""

    def __init__(self, folder: Path, remote: RemoteRun | None) -> None:
        self.folder, self.remote = folder.absolute(), remote
        self._sums: dict[Path, tuple[tuple[int, int], str]] = {}
        roots = ((self.folder, RUN), (cache_folder() / FETCHED, FETCHED))
        self._roots = {str(root): place for folder, place in roots for root in (folder, folder.resolve())}

    def token(self) -> bytes:
        """What only a process that sees this folder can read."""
        return (self.folder / LOCK).read_bytes()

    def pickled(self, work: Any) -> bytes:
        """The function of a map for far nodes."""
        return _pickled(work, self._place_in_a_root, self._place_in_a_root)

    def order(self, task: Any, files: Iterable[Path]) -> Order:
        """A task for a far node, which reads these files."""
        known: dict[str, tuple[str, str]] = {}
        inputs = []
        for path in dict.fromkeys(files):
            size, sha256 = path.stat().st_size, self._sum(path)
            root_place = self._place_in_a_root(str(path))
            place, name = root_place or (FETCHED, f"{HERE}{path.absolute()}/{sha256[:16]}/{path.name}")
            known[str(path)] = (place, name)
            inputs.append(Input(place, name, size, sha256, self._address(place, name, size, sha256)))
        roots = {place: root for root, place in reversed(self._roots.items())}
        # a text of a trace may look like a path, so of the strings in a task only those that name an input are taken for one
        return Order(_pickled(task, self._place_in_a_root, known.get), tuple(inputs), roots)

    def sent(self, order: Order, lacking: Lacking, label: str, node: str) -> Sums:
        """The bytes of the files that a node lacks. OperatorError for a large one that is not the run's own."""
        contents: dict[str, bytes] = {}
        for one in (one for one in order.inputs if one.sha256 in lacking.sums):
            if one.place == FETCHED and one.size > SENT_BYTES:
                raise OperatorError(
                    f"{label}: the node {node} of the Ray cluster does not have {address_of(cache_folder() / FETCHED / one.name)} "
                    f"({one.size:,} bytes), and over {SENT_BYTES >> 20} MiB are not sent to it; put the file in object storage "
                    "(path: s3://...) or on a file system that every node shares."
                )
            data = self._path(one).read_bytes()
            if hashlib.sha256(data).hexdigest() != one.sha256:
                raise OperatorError(
                    f"{self._path(one)} has changed while {label} was reading it; run the same command again."
                )
            contents[one.sha256] = data
        return contents

    def take(self, made: Made) -> Any:
        """Write what a far node has made, the files that vouch for others last; the task's answer."""
        for name, (sha256, data) in sorted(made.files.items(), key=lambda item: (-item[0].count("/"), item[0])):
            if hashlib.sha256(data).hexdigest() != sha256:
                raise OperatorError(
                    f"{self.folder / name} came damaged from a node of the Ray cluster; run the same command again."
                )
            write_bytes(self.folder / name, data)
        return made.answer

    def _place_in_a_root(self, path: str) -> tuple[str, str] | None:
        for root, place in self._roots.items():
            if path == root or path.startswith(f"{root}{os.sep}"):
                return place, path[len(root) + 1 :]
        return None

    def _path(self, one: Input) -> Path:
        if one.place == RUN:
            return self.folder / one.name
        path = cache_folder() / FETCHED / one.name
        return Path(address_of(path)) if one.name.startswith(HERE) else path

    def _sum(self, path: Path) -> str:
        facts = path.stat()
        stamp = (facts.st_size, facts.st_mtime_ns)
        if path not in self._sums or self._sums[path][0] != stamp:
            self._sums[path] = (stamp, sha256_file(path))
        return self._sums[path][1]

    def _address(self, place: str, name: str, size: int, sha256: str) -> str:
        """Where a store has these bytes, "" where none has."""
        if place == FETCHED:
            return "" if name.startswith(HERE) else address_of(cache_folder() / FETCHED / name)
        if self.remote is None or self.remote.files.get(name) != {"sha256": sha256, "size": size}:
            return ""
        return f"{self.remote.at}/{name}"


def _pickled(value: Any, of_path: Callable[[str], Any], of_text: Callable[[str], Any]) -> bytes:
    """A value, its paths and those of its strings that are paths by their places."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, one: Any) -> Any:
            if isinstance(one, PurePath):
                place = of_path(str(one))
            else:
                place = of_text(one) if type(one) is str else None
            return place and (type(one) is str, *place)

    file = io.BytesIO()
    Pickler(file, pickle.HIGHEST_PROTOCOL).dump(value)
    return file.getvalue()


# --- on a far node ------------------------------------------------------------------------------------------------


def do_far(work: bytes, order: Order, sent: Sums) -> Lacking | Made:
    """Do a task in the folder of this process, with its files from the cache, the store or what was sent."""
    lacking = _lay_out(order.inputs, sent)
    if lacking:
        return Lacking(frozenset(lacking))
    try:
        answer = _work_of(work)(_unpickled(order.task))
    except OperatorError as error:
        said = str(error)
        for place, root in order.roots.items():
            said = said.replace(str(_root(place)), root)
        raise OperatorError(said) from error
    return Made(answer, _taken(order.inputs))


@functools.lru_cache(maxsize=1)
def _work_of(work: bytes) -> Callable[[Any], Any]:
    """The function, unpickled once a process: it may hold a model, or the workers of a verifier."""
    return _unpickled(work)


def _unpickled(data: bytes) -> Any:
    class Unpickler(pickle.Unpickler):
        def persistent_load(self, found: Any) -> Any:
            is_text, place, name = found
            path = _root(place) / name
            return str(path) if is_text else path

    return Unpickler(io.BytesIO(data)).load()


def _root(place: str) -> Path:
    return cache_folder() / FETCHED if place == FETCHED else _own_folder() / RUN


@functools.cache
def _own_folder() -> Path:
    """A folder that only this process works in. Those of processes that are gone are removed: a killed one cannot do it itself."""
    place = cache_folder() / "nodes" / "work"
    with writing(place):
        place.mkdir(parents=True, exist_ok=True)
        with open(place / LOCK, "a") as door:  # who makes folders or removes them does it alone
            fcntl.flock(door, fcntl.LOCK_EX)
            for lock in place.glob(f"*/{LOCK}"):
                if _held(lock) is not None:
                    shutil.rmtree(lock.parent)
            folder = place / uuid.uuid4().hex
            (folder / RUN).mkdir(parents=True)
            _OWN_LOCKS.append(_held(folder / LOCK))
    return folder


_OWN_LOCKS: list[Any] = []  # open as long as this process is


def _held(path: Path) -> Any:
    """The file with its lock, None where another process has it."""
    lock = open(path, "a")  # noqa: SIM115 - it is held
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock


_LAID: dict[Path, str] = {}  # file of this process's folder -> the SHA-256 with which it was put there


def _lay_out(inputs: Iterable[Input], sent: Sums) -> set[str]:
    """Have the folder of this process hold the inputs and nothing else; the SHA-256 of those that nobody has."""
    wanted = {_root(one.place) / one.name: one for one in inputs}
    for path in (path for path in (_own_folder() / RUN).rglob("*") if path.is_file() and path not in wanted):
        path.unlink()  # of another task, or of one that failed
        _LAID.pop(path, None)
    lacking = set()
    for target, one in wanted.items():
        if _LAID.get(target) == one.sha256 and target.exists():
            continue
        if not _is(target, one.sha256):
            file = _kept(one, sent)
            if file is None:
                lacking.add(one.sha256)
                continue
            with atomic_write(target) as part:  # processes of a node share what was fetched
                link_or_copy(str(file), str(part))
        _LAID[target] = one.sha256
    return lacking


def _kept(one: Input, sent: Sums) -> Path | None:
    """The file as this node keeps it, by its SHA-256; None where it neither has it nor was sent it, and no store has it so."""
    file = _stored_path(one.sha256)
    if _is(file, one.sha256):
        return file
    if one.sha256 in sent:
        write_bytes(file, sent[one.sha256])
    elif one.address:
        store = open_store(one.address)
        try:
            with atomic_write(file) as part:
                with talking_unless_gone(one.address):
                    store.get_file(one.address.partition("://")[2], str(part))
                if sha256_file(part) != one.sha256:
                    raise FileNotFoundError(one.address)
        except FileNotFoundError:
            return None  # gone, damaged or overwritten: the run still has it, and sends it
    return file if _is(file, one.sha256) else None


def _stored_path(sha256: str) -> Path:
    return cache_folder() / "nodes" / "files" / sha256[:2] / sha256


def _is(path: Path, sha256: str) -> bool:
    return path.is_file() and sha256_file(path) == sha256


def _taken(inputs: Iterable[Input]) -> dict[str, tuple[str, bytes]]:
    """What the task has written, taken out of the folder of this process; it stays in the node's cache, for the next stage."""
    root = _own_folder() / RUN
    were_there = {one.name for one in inputs if one.place == RUN}
    taken = {}
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        name = path.relative_to(root).as_posix()
        if name in were_there:
            continue
        data = path.read_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
        taken[name] = (sha256, data)
        stored = _stored_path(sha256)
        if not stored.exists():
            stored.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, stored)
        else:
            path.unlink()
    return taken
