"""Archives of data files -> rows, without unpacking: .tar (also .gz, .zst) and .zip.

    read_archive(Path("set.tar.gz"))   ->  ("set.tar.gz/train.jsonl:0", {"problem": ...}), ...

Nothing is written under a name that the archive gives: text is read as it streams, and a Parquet or Arrow file, which must
be read from both ends, goes through a nameless temporary file. Links, folders and files of other kinds are passed over.
"""

import contextlib
import io
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

import pyarrow as pa

from redistill.corpus.sources import splits
from redistill.corpus.sources.formats import ROW_SUFFIXES, Row, cut_short, read_file, read_text
from redistill.errors import OperatorError

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.zst", ".zip")
MAX_MEMBERS = 100_000
MAX_SPOOLED_BYTES = 64 * 2**30  # of a Parquet or Arrow file inside an archive
_BLOCK = 2**20
_SIDE_FILES = frozenset(("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "config.json", "metadata.jsonl"))  # fmt: skip


def read_archive(path: Path, split: str | None = None) -> Iterator[tuple[str, Row]]:
    """("archive/file:row", row or its reason) of every data file inside, in the archive's order. OperatorError for an
    archive that is damaged, or that holds no data file."""
    with cut_short(str(path)), _archive_errors(path):
        names = [name for name in _names(path) if _is_data(name)]
        chosen = set(_chosen(names, path, split))
        if not chosen:
            raise OperatorError(
                f"{path} contains no data file; the corpus reads .jsonl, .json, .csv, .parquet and .arrow in it."
            )
        for name, member in _members(path):
            if name in chosen:
                yield from (
                    (f"{path.name}/{name}:{place}", row) for place, row in _rows(name, member, f"{path}/{name}", split)
                )


def _chosen(names: list[str], path: Path, split: str | None) -> list[str]:
    files = {Path(name): PurePosixPath(name) for name in names}
    read, _ = splits.choose(list(files), files, str(path), split, asked=False)
    return [file.as_posix() for file in read]


def note_of(path: Path, split: str | None) -> str:
    """The sentence on the splits of an archive that are not read."""
    with cut_short(str(path)), _archive_errors(path):
        files = {Path(name): PurePosixPath(name) for name in _names(path) if _is_data(name)}
        return splits.choose(list(files), files, str(path), split, asked=False)[1] if files else ""


def _is_data(name: str) -> bool:
    pure = PurePosixPath(name)
    hidden = any(part.startswith((".", "__MACOSX")) for part in pure.parts)
    return name.lower().endswith(ROW_SUFFIXES) and not hidden and pure.name not in _SIDE_FILES


def _names(path: Path) -> Iterator[str]:
    for count, (name, _) in enumerate(_members(path)):
        if count >= MAX_MEMBERS:
            raise OperatorError(f"{path} holds over {MAX_MEMBERS:,} files; write the rows to fewer, larger files.")
        yield name


def _members(path: Path) -> Iterator[tuple[str, Any]]:
    """(name, open file) of the plain files; each must be read before the next is asked for."""
    if path.name.lower().endswith(".zip"):
        with zipfile.ZipFile(path) as zipped:
            for info in zipped.infolist():
                if not info.is_dir():
                    yield info.filename, _Opened(zipped, info)
        return
    # Arrow's streams refuse a gzip or zstd file that stops before its end mark
    packed = "zstd" if path.name.lower().endswith(".zst") else "gzip" if path.name.lower().endswith("gz") else None
    with (
        io.BufferedReader(pa.input_stream(str(path), compression=packed), _BLOCK) as stream,
        tarfile.open(fileobj=stream, mode="r|") as tar,
    ):
        for entry in tar:
            if entry.isfile():
                yield entry.name.removeprefix("./"), tar.extractfile(entry)


class _Opened:
    """A file of a .zip, opened when it is first read: names alone cost nothing."""

    def __init__(self, zipped: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
        self.zipped, self.info = zipped, info
        self.file: IO[bytes] | None = None

    def read(self, count: int = -1) -> bytes:
        """The next bytes. OperatorError for a file that is encrypted."""
        if self.file is None:
            if self.info.flag_bits & 1:
                raise OperatorError(f"{self.zipped.filename}: {self.info.filename} is encrypted; unpack it yourself.")
            self.file = self.zipped.open(self.info)
        return self.file.read(count)


class _Raw(io.RawIOBase):
    """What has a `read` as a raw binary file."""

    def __init__(self, file: Any) -> None:
        super().__init__()
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = self._file.read(len(buffer))
        buffer[: len(block)] = block
        return len(block)


def _rows(name: str, member: Any, shown: str, split: str | None) -> Iterator[tuple[int, Row]]:
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in (".parquet", ".arrow"):
        with tempfile.NamedTemporaryFile(suffix=suffix, prefix="redistill-") as spooled:
            size = 0
            while block := member.read(_BLOCK):
                size += len(block)
                if size > MAX_SPOOLED_BYTES:
                    raise OperatorError(f"{shown} is larger than {MAX_SPOOLED_BYTES >> 30} GiB; unpack it yourself.")
                spooled.write(block)
            spooled.flush()
            yield from read_file(Path(spooled.name))
        return
    raw: Any = io.BufferedReader(_Raw(member), _BLOCK)
    if suffix in (".gz", ".zst"):
        packed = {".gz": "gzip", ".zst": "zstd"}[suffix]
        raw = io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), packed), _BLOCK)
    yield from read_text(raw, PurePosixPath(name).name, shown, split)


@contextlib.contextmanager
def _archive_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        why = " ".join(str(error).split())[:200]
        raise OperatorError(
            f"{path} cannot be read to the end ({why}): truncated or corrupt; download it again."
        ) from error
