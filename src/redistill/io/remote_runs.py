"""A run's folder in object storage: a working folder on this machine, and beside it in the store what is finished.

    with open_run_folder("s3://bucket/runs/x") as remote:   # nobody else works on it; what the store has is here
        ... remote.folder ...
        remote.upload()                                     # after each stage: changed files, then the manifest
    copy_of("s3://bucket/runs/x/select")                    # a reader's copy of what lies there

A store renames nothing, so `manifest.json`, which names every file with its SHA-256, comes last: what it does not name does not
count, and a file that is not what it names is left out. A lock that is only written where there is none, and rewritten
every few seconds, keeps a second writer away; the manifest is only written over the one that was read.
"""

import contextlib
import json
import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redistill.errors import OperatorError
from redistill.io.atomic import atomic_write, read_json, sha256_file, write_bytes, write_json
from redistill.io.progress import say
from redistill.io.stores import address, cache_folder, folder_of, open_store, place_of_copy, talking

MANIFEST, LOCK, SEEN = "manifest.json", "lock.json", ".store.json"
WRITABLE = ("s3", "gs")  # stores that write an object only where there is none
BEAT = 10.0  # seconds between two signs of life of a holder
PATIENCE = 3.5  # beats without one, after which its holder counts as dead
_BATCH = 16  # files in flight
_HERE_ONLY = (".lock", SEEN)


@dataclass(slots=True)
class RemoteRun:
    """A run that is held: `folder` on this machine, `files` of the store's manifest ({path: {"sha256", "size"}})."""

    at: str
    folder: Path
    store: Any
    lock: "_Lock"
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    etag: str | None = None  # of the manifest that was read, None where there is none
    _sums: dict[str, tuple[tuple[int, int], str]] = field(default_factory=dict)

    def upload(self) -> None:
        """Have the store hold what the folder holds: changed files first, then the manifest, then what is gone is removed.
        OperatorError where another process holds the run by now, or the store refuses."""
        now = {name: facts for name, facts in self._here()}
        changed = [name for name, facts in now.items() if self.files.get(name) != facts]
        gone = [name for name in self.files if name not in now]
        if not changed and not gone:
            return
        self.lock.check()
        for start in range(0, len(changed), _BATCH):
            some = changed[start : start + _BATCH]
            with talking(self.at):
                self.store.put([str(self.folder / name) for name in some], [self._key(name) for name in some])
        self.lock.check()
        self._write_manifest(now, gone)
        self._remove(gone)

    def fetch(self) -> None:
        """Have the folder hold what the store holds, where another machine has written there since this one did. OperatorError where
        the store refuses; a file that is not what the manifest names is left out of both, so that the run makes it again."""
        manifest, self.etag = read_manifest(self.store, self.at)
        self.files = dict(manifest["files"])
        seen = self.folder / SEEN
        for left in self.folder.parent.glob(f"{self.folder.name}.before-*"):  # of a fetch that was killed
            shutil.rmtree(left)
        if not manifest["written"] or (seen.exists() and read_json(seen)["written"] == manifest["written"]):
            return  # nobody has written there since this machine did: what is here is as new, or newer
        before = self._put_aside(manifest)
        damaged = _fetch_into(self.folder, self.store, self.at, self.files, before, damage_stops=False)
        for name in damaged:
            say(f"corrupt  {self.at}/{name}: the run makes it again")
            del self.files[name]
        if before is not None:
            shutil.rmtree(before)
        if damaged:
            self._write_manifest(self.files, [])
        elif manifest["written"]:
            write_json(seen, {"written": manifest["written"]})
        self._remove(manifest["leaving"])

    def _here(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """(path, facts) of every file of the folder that belongs in the store."""
        for path in sorted(self.folder.rglob("*")):
            name = path.relative_to(self.folder).as_posix()
            if not path.is_file() or path.suffix == ".part" or name in _HERE_ONLY or name.startswith("trash/"):
                continue
            status = path.stat()
            stamp = (status.st_size, status.st_mtime_ns)
            if name not in self._sums or self._sums[name][0] != stamp:
                self._sums[name] = (stamp, sha256_file(path))
            yield name, {"sha256": self._sums[name][1], "size": status.st_size}

    def _put_aside(self, manifest: Mapping[str, Any]) -> Path | None:
        """Move away what this machine had of another state of the run; where to, for what of it is still the same. What the store
        never had is kept for its owner, and said."""
        if not self.folder.exists() or not any(self.folder.iterdir()):
            return None
        known = manifest["files"]
        own = [name for name, facts in self._here() if known.get(name) != facts]
        place = self.folder.with_name(f"{self.folder.name}.before-{uuid.uuid4().hex[:8]}")
        if own:
            kept = self.folder.with_name(f"{self.folder.name}.kept-{uuid.uuid4().hex[:8]}")
            shutil.copytree(self.folder, kept, copy_function=link_or_copy)
            say(f"kept     {kept}: what this machine had, for another one has gone on with {self.at} since")
        os.replace(self.folder, place)
        self._sums.clear()
        return place

    def _write_manifest(self, files: Mapping[str, Any], leaving: list[str]) -> None:
        written = uuid.uuid4().hex
        with contextlib.ExitStack() as stack:
            place = cache_folder() / f"manifest-{written}.json"
            stack.callback(place.unlink, missing_ok=True)
            write_json(place, {"written": written, "leaving": leaving, "files": dict(sorted(files.items()))})
            self.etag = _put_if_unchanged(self.store, f"{self.at}/{MANIFEST}", place.read_bytes(), self.etag)
        self.files = dict(files)
        write_json(self.folder / SEEN, {"written": written})

    def _remove(self, names: list[str]) -> None:
        """Remove objects that the run has written before and does not hold any more."""
        with talking(self.at):
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    self.store.rm_file(self._key(name))

    def _key(self, name: str) -> str:
        return f"{_bare(self.at)}/{name}"


def _bare(at: str) -> str:
    return at.partition("://")[2]


def link_or_copy(source: str, target: str) -> None:
    """The file under another name too; a copy where the file system has no hard links, or it is another one."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


@contextlib.contextmanager
def open_run_folder(
    path: str | Path, alone: Callable[[Path], contextlib.AbstractContextManager[None]]
) -> Iterator[RemoteRun]:
    """The run at an address, held by this process alone, with what the store has of it in a working folder of this machine.

    alone: a lock of a folder here, for two processes of this machine. OperatorError where the store cannot keep a second writer
    away, another process holds the run, or the store refuses.
    """
    at = address(path)
    if at.partition("://")[0] not in WRITABLE:
        raise OperatorError(
            f"{at}: this store has no conditional writes, so a second run with that name could not be detected; "
            "give a local folder as --runs-dir, or an s3:// URL."
        )
    store = open_store(at)
    with alone(_made(folder_of("held", at))), _Lock(store, at) as lock:
        remote = RemoteRun(at, folder_of("runs", at), store, lock)
        remote.fetch()
        remote.folder.mkdir(parents=True, exist_ok=True)
        yield remote


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


# --- the manifest -----------------------------------------------------------------------------------------------------


def read_manifest(store: Any, at: str) -> tuple[dict[str, Any], str | None]:
    """(the manifest of a run in a store, its version); without files and None where there is none."""
    key = f"{_bare(at)}/{MANIFEST}"
    with talking(at):
        if not store.exists(key):
            return {"written": "", "leaving": [], "files": {}}, None
        version = store.info(key).get("ETag")
        data = store.cat_file(key)
    place = cache_folder() / f"manifest-{uuid.uuid4().hex}.json"
    try:
        write_bytes(place, data)
        manifest = read_json(place)
    except OperatorError as error:
        raise OperatorError(
            f"{at}/{MANIFEST} is damaged, so it is unknown what of this run is whole; remove it, and run the same command again."
        ) from error
    finally:
        place.unlink(missing_ok=True)
    for name in (*manifest["files"], *manifest["leaving"]):  # before any of them is fetched, or removed here or there
        if ".." in Path(name).parts or Path(name).is_absolute():
            raise OperatorError(
                f"{at}/{MANIFEST} names {name}, which leads out of the run's folder; it was not written by redistill."
            )
    return manifest, version


def _put_if_unchanged(store: Any, at: str, data: bytes, etag: str | None) -> str | None:
    """Write an object over the version that was read, or where there is none; its new version. OperatorError where it is another."""
    key = _bare(at)
    with talking(at):
        try:
            if etag is None:
                store.pipe_file(key, data, mode="create")
            else:
                store.pipe_file(key, data, IfMatch=etag)
        except OSError as error:
            if isinstance(error, FileExistsError) or "pre-condition" in str(error).lower():
                raise OperatorError(
                    f"{at} was written by another process meanwhile; nothing of it was replaced. End the other run, and run the same "
                    "command again."
                ) from error
            raise
        return store.info(key).get("ETag")


def _fetch_into(
    folder: Path,
    store: Any,
    at: str,
    files: Mapping[str, Mapping[str, Any]],
    before: Path | None,
    *,
    damage_stops: bool,
) -> list[str]:
    """Fetch the files of a manifest, or link those that lie in `before`; the names of those that are not what it says."""
    damaged = []
    for name, entry in files.items():
        target = folder / name
        for path in (target, *([before / name] if before is not None else [])):
            if path.is_file() and path.stat().st_size == entry["size"] and sha256_file(path) == entry["sha256"]:
                break
        else:
            path = None
        if path is None:
            with atomic_write(target) as part:
                with contextlib.suppress(FileNotFoundError), talking_unless_gone(f"{at}/{name}"):
                    store.get_file(f"{_bare(at)}/{name}", str(part))
                if not part.exists():
                    write_bytes(part, b"")
                whole = sha256_file(part) == entry["sha256"]
            if not whole:
                target.unlink()
                damaged.append(name)
                if damage_stops:
                    raise OperatorError(
                        f"{at}/{name} is missing or not what was written (its SHA-256 differs); `redistill run` with the run's recipe "
                        "and the same --runs-dir makes it again."
                    )
        elif path != target:
            target.parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(str(path), str(target))
    return damaged


@contextlib.contextmanager
def talking_unless_gone(to: str) -> Iterator[None]:
    """`talking`, but FileNotFoundError stays what it is."""
    gone: FileNotFoundError | None = None
    with talking(to):
        try:
            yield
        except FileNotFoundError as error:
            gone = error
    if gone is not None:
        raise gone


# --- readers ----------------------------------------------------------------------------------------------------------


def copy_of(path: str | Path, *, weights: bool = False) -> Path:
    """What lies at an address within a run, as files of this machine: the whole run but the weights of its students, and those too
    below the address, or everywhere where `weights` says so. OperatorError where no run is there, or a file of it is damaged."""
    at = address(path)
    store = open_store(at)
    root, manifest = at, None
    while root.partition("://")[2].count("/") >= 1:
        stored, _ = read_manifest(store, root)
        if stored["files"]:
            manifest = stored
            break
        root = root.rpartition("/")[0]
    if manifest is None:
        raise OperatorError(f"{at} lies in no run: neither it nor a folder above it holds {MANIFEST}.")
    inside = at[len(root) :].strip("/")
    wanted = {
        name: facts
        for name, facts in manifest["files"].items()
        if weights or not name.endswith(".safetensors") or (inside and name.startswith(f"{inside}/"))
    }
    folder = place_of_copy(root)
    seen = folder / SEEN
    old = read_json(seen)["files"] if seen.exists() else []
    for name in set(old) - manifest["files"].keys():
        (folder / name).unlink(missing_ok=True)
    write_json(seen, {"files": sorted({*old, *wanted} & manifest["files"].keys())})
    _fetch_into(folder, store, root, wanted, None, damage_stops=True)
    return folder / inside


# --- one writer -------------------------------------------------------------------------------------------------------


class _Lock:
    """One writer a run: an object that is created only where there is none, and rewritten while its writer lives."""

    def __init__(self, store: Any, at: str) -> None:
        self.store, self.at, self.key = store, at, f"{_bare(at)}/{LOCK}"
        self.mine: dict[str, Any] = {
            "token": uuid.uuid4().hex, "beat": 0, "machine": _machine(),
            "holder": f"process {os.getpid()} on {os.uname().nodename} since {time.strftime('%Y-%m-%d %H:%M:%S %z')}",
        }  # fmt: skip
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> "_Lock":
        if not self._create():
            self._take_over(self._read())
        elif self._create():
            self._remove()
            raise OperatorError(
                f"{self.at}: this store ignores If-None-Match, so a second run with that name could not be detected; "
                "use a store that supports it, or a local folder."
            )
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()
        with contextlib.suppress(OperatorError):
            if self._is_mine(self._read()):
                self._remove()

    def check(self) -> None:
        """OperatorError where the run is another's by now."""
        if not self._is_mine(lock := self._read()):
            raise OperatorError(
                f"{self.at} is in use by {lock.get('holder', 'another process')}, which took it while this one was silent; what is "
                "finished is kept. Wait for the other, and run the same command again."
            )

    def _is_mine(self, lock: Mapping[str, Any]) -> bool:
        return lock.get("token") == self.mine["token"]

    def _create(self) -> bool:
        with talking(self.at):
            try:
                self.store.pipe_file(self.key, _text(self.mine), mode="create")
            except FileExistsError:
                return False
        return True

    def _read(self) -> dict[str, Any]:
        with talking(self.at):
            try:
                return _parsed(self.store.cat_file(self.key))
            except FileNotFoundError:
                return {}

    def _remove(self) -> None:
        with talking(self.at), contextlib.suppress(FileNotFoundError):
            self.store.rm_file(self.key)

    def _take_over(self, lock: dict[str, Any]) -> None:
        """Take the place of a holder that is dead: one of this machine's, whose own lock here was free, or one that gives no sign."""
        if lock and lock.get("machine") != self.mine["machine"]:
            say(
                f"waiting  {self.at} is held by {lock.get('holder', 'another process')}: looking whether it still lives"
            )
            until = time.monotonic() + BEAT * PATIENCE
            while time.monotonic() < until:
                time.sleep(min(1.0, BEAT / 2))
                now = self._read()
                if not now:
                    break
                if now != lock:
                    raise OperatorError(
                        f"{self.at} is in use by {now.get('holder', 'another process')}; wait for it, or choose another --name."
                    )
        self._remove()
        if not self._create():
            raise OperatorError(
                f"{self.at} was taken by another process just now; wait for it, or choose another --name."
            )

    def _beat(self) -> None:
        while not self._over.wait(BEAT):
            with contextlib.suppress(OperatorError):  # `check` reports it before anything is written
                if self._is_mine(self._read()):
                    self.mine["beat"] += 1
                    with talking(self.at):
                        self.store.pipe_file(self.key, _text(self.mine))


def _machine() -> str:
    """A name of this machine's cache, drawn once: a host's name may be another's too."""
    place = cache_folder() / "machine"
    if not place.exists():
        write_bytes(place, uuid.uuid4().hex.encode())
    return place.read_text()


def _text(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=2).encode()


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError:
        return {"holder": "another process"}
    return value if isinstance(value, dict) else {"holder": "another process"}
