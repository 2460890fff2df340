"""Bytes on the disk: written whole or not at all, checked when they are read, and a refusal of the system in words.

    write_json(path, {"steps": 9})      beside, fsynced, renamed: a reader sees the old file or the new one, never a part
    read_json(path)                     {"steps": 9}; OperatorError where a bit of the file has changed since

A JSON table carries the SHA-256 of its other bytes in its first line:

    {
      "checksum": "5f0c...",
      "steps": 9
    }

A full disk, a folder that is read-only or a limit of open files is the user's mistake, whoever met it: `writing` and
`trouble` turn what the libraries raise into a sentence.
"""

import errno
import hashlib
import json
import os
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from redistill.config.yaml_text import read_value
from redistill.errors import OperatorError
from redistill.safety.paths import check_kind

_GO_ON = "what is finished is kept: run the same command again"
TROUBLES = {  # what the system says -> what a user can do
    errno.ENOSPC: f"no space is left there (or in /dev/shm); free some, and {_GO_ON}",
    errno.EDQUOT: f"the quota of disk space is used up; free some space, and {_GO_ON}",
    errno.EFBIG: f"files may not grow that large here; raise `ulimit -f`, and {_GO_ON}",
    errno.EROFS: "the file system is read-only; choose another place",
    errno.EACCES: "this user may not write or read there; change its permissions, or choose another place",
    errno.EPERM: "this user may not do that there; choose another place",
    errno.EEXIST: "a file of that name is in the way; remove it, or choose another place",
    errno.ENOTEMPTY: "a folder of that name is in the way; remove it, or choose another place",
    errno.EISDIR: "a folder stands where a file is needed; remove it, or choose another place",
    errno.ELOOP: "links lead in a circle there; remove them, or choose another place",
    errno.ENOTDIR: "a file stands where a folder is needed; remove it, or choose another place",
    errno.ENAMETOOLONG: "the path is too long for this file system; choose a shorter --name or --runs-dir",
    errno.EMFILE: f"too many open files for one process; raise `ulimit -n` (now {{limit}}), and {_GO_ON}",
    errno.ENFILE: f"too many open files on this machine; close some programs, and {_GO_ON}",
    errno.EIO: f"the disk fails to read or write; copy the run to another one, and {_GO_ON}",
    errno.ESTALE: f"the network disk has lost the file; mount it again, and {_GO_ON}",
    errno.ENOLCK: "this file system has no locks, so another process using the run could not be detected; choose another --runs-dir",
    errno.EAGAIN: f"the system starts no more processes for this user; raise `ulimit -u`, or end some, and {_GO_ON}",
    errno.ENOMEM: f"the system has no memory left; end some programs or take fewer workers, and {_GO_ON}",
}
# Of libraries that pass on words only: safetensors and pyarrow say the number, numpy says how much was written.
_NUMBERS = re.compile(r"(?:os error|errno) (\d+)", re.IGNORECASE)
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]{1,20}:/")  # of object storage; a Path has lost one of its two slashes
_SHORT_WRITE = re.compile(r"\d{1,20} requested and \d{1,20} written")


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes, read in blocks."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- refusals of the system --------------------------------------------------------------------------------------


def trouble(error: BaseException) -> str | None:
    """What a user can do about a refusal of the operating system; None where it was none of those in TROUBLES."""
    number = getattr(error, "errno", None) if isinstance(error, OSError) else None
    if number not in TROUBLES:
        match = _NUMBERS.search(str(error))
        number = int(match[1]) if match else errno.ENOSPC if _SHORT_WRITE.search(str(error)) else None
    words = TROUBLES.get(number) if number is not None else None
    return words and words.replace("{limit}", _open_files())


def _open_files() -> str:
    import resource

    return str(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def sentence(error: BaseException, path: Path | str | None = None) -> str | None:
    """One sentence about a refusal of the system that names the file, where one is known; None for any other error."""
    words = trouble(error)
    where = getattr(error, "filename", None) or path
    return words and (f"{where}: {words}." if where is not None else f"{words[0].upper()}{words[1:]}.")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """OperatorError that names the file where the system refuses what is done inside."""
    try:
        yield
    except OperatorError:
        raise
    except Exception as error:
        said = sentence(error, path)
        if said is None:
            raise
        raise OperatorError(f"cannot write {said}") from error


def check_output(out: Path, *inputs: Path, option: str = "--out") -> None:
    """OperatorError where `out` is one of the inputs, or an address of object storage and no path."""
    if _ADDRESS.match(str(out)):
        raise OperatorError(
            f"{option}: {out} is not a local path, and only the run folder of `redistill run` can be in object storage; "
            "give a local folder, or one where the storage is mounted."
        )
    check_kind(out)
    if any(out.exists() and one.exists() and out.samefile(one) for one in inputs):
        raise OperatorError(f"{option}: {out} is the input itself, which is never written over; name another file.")


def make_folder(folder: Path, option: str = "--runs-dir") -> None:
    """Make a folder and those above it. OperatorError where `option` names a place that cannot have one."""
    check_output(folder, option=option)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = trouble(error) or f"{error.strerror or error}; choose another place"
        raise OperatorError(f"{option}: cannot make the folder {folder}: {why}.") from error


# --- whole or not at all -----------------------------------------------------------------------------------------


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, as fsync does with a file's bytes."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Have a file's bytes on the disk, whoever wrote them."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A path to write to; what was written gets the name `path`, whole, when the block ends well, and is gone otherwise.

    No other writer has that name: two processes may come to make one file, to the same bytes (io/executors.py).
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.part")
        with ExitStack() as undo:
            undo.callback(part.unlink, missing_ok=True)  # on a full disk it stands in the way of everything else
            yield part
            sync_file(part)
            os.replace(part, path)
            undo.pop_all()
        sync_folder(path.parent)


def remove_partial_files(folder: Path) -> None:
    """Remove the half-written files that a killed run has left below a folder."""
    for path in folder.rglob("*.part"):
        if path.is_file():
            path.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """A file of these bytes, whole or not at all. OperatorError where the system refuses."""
    with atomic_write(path) as part, open(part, "wb") as file:
        file.write(data)


def sums_of(folder: Path, paths: Iterable[Path]) -> dict[str, str]:
    """{path below `folder`: SHA-256} of files that others wrote, once their bytes are on the disk: what a stamp names."""
    sums = {}
    for path in sorted(paths):
        with writing(path):
            sync_file(path)
        sums[str(path.relative_to(folder))] = sha256_file(path)
    return sums


def find_corrupt(folder: Path, sums: Mapping[str, str]) -> str | None:
    """The first file of `sums_of` that is gone or is not what it was; None where all are whole."""
    return next((n for n, sum_ in sums.items() if not (folder / n).exists() or sha256_file(folder / n) != sum_), None)


# --- JSON that knows whether it is whole -------------------------------------------------------------------------

_OPENING, _CLOSING = b'{\n  "checksum": "', b'",\n'


def write_json(path: Path, value: Any) -> None:
    """`write_bytes` of indented JSON; a table gets the checksum of its bytes (see above), a list has none."""
    body = (json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n").encode()
    if isinstance(value, dict) and value:
        assert "checksum" not in value, f"{path}: `checksum` is the file's own word"
        body = _OPENING + hashlib.sha256(body).hexdigest().encode() + _CLOSING + body[2:]
    write_bytes(path, body)


def read_json(path: Path) -> Any:
    """The JSON value in a file the tool wrote; OperatorError names the file when it is not readable or has changed.

    A table without a checksum in its first line (another program's) is read as it is.
    """
    try:
        data = path.read_bytes()
        if data.startswith(_OPENING):
            place = len(_OPENING) + 64
            body = b"{\n" + data[place + len(_CLOSING) :]
            if hashlib.sha256(body).hexdigest().encode() != data[len(_OPENING) : place]:
                raise ValueError("its checksum differs, so it is not what was written")
            return json.loads(body)
        return json.loads(data.decode("utf-8"))
    except (OSError, ValueError) as error:
        raise OperatorError(f"cannot read {path}: {error}. Delete it and run again to rebuild it.") from error


def read_yaml(path: Path) -> dict[str, Any]:
    """The table in a YAML file the tool wrote; OperatorError names the file when it is not readable."""
    try:
        return dict(read_value(path.read_text("utf-8"), str(path)))
    except (OSError, OperatorError, ValueError, TypeError) as error:
        raise OperatorError(f"cannot read {path}: {error}. Run the recipe again to write it.") from error


def mark(line: dict[str, Any]) -> dict[str, Any]:
    """A line of a .jsonl with a checksum of its other fields, for files that grow line by line."""
    return {**line, "checksum": _line_sum(line)}


def unmarked(text: str | bytes) -> dict[str, Any] | None:
    """The table that `mark` was given, from its line; None where the line has changed since, or was cut short.

    A line that never had a checksum, of an older version, is taken as it is.
    """
    try:
        line = json.loads(text)
    except ValueError:
        return None
    if not isinstance(line, dict):
        return None
    body = {key: value for key, value in line.items() if key != "checksum"}
    return body if line.get("checksum", "") in ("", _line_sum(body)) else None


def _line_sum(line: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(line, sort_keys=True).encode()).hexdigest()[:16]
