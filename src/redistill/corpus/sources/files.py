"""Paths and dataset ids -> files -> rows, streamed: what comes in is a `path` option, what goes out are plain dicts.

    resolve("data/")                    -> [data/a.jsonl.gz, data/b.parquet]       every data file below, sorted
    resolve("open-r1/OpenR1-Math-Raw")  -> the files of that dataset, fetched from the Hugging Face hub
    read_rows(Path("data/a.jsonl.gz"))  -> ("a.jsonl.gz:0", {"problem": ...}), ("a.jsonl.gz:1", "bad_json"), ...

A row that cannot be read is a reason instead of a dict. A file that cannot be read to its end is the operator's to
mend: half a file must not pass for a whole one.
"""

import functools
import glob
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub import snapshot_download
from huggingface_hub.errors import EntryNotFoundError

from redistill.errors import OperatorError
from redistill.safety.limits import trial
from redistill.safety.paths import REVISION

SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet")
MAX_LINE_BYTES = 64 * 2**20  # decompressed; the longest row of a million R1 traces is far below, a gzip bomb far above
MAX_PARQUET_BYTES = 4 * 2**30  # of memory for decoding a batch; a page of zeros can claim 2 GiB of 2 MB
MAX_PARQUET_SECONDS = 24 * 3600  # of CPU for decoding a file: no bound but for one that never ends
_PARQUET_ROWS = 64  # rows decoded at a time: a row of long traces can hold a megabyte
_PARQUET_BUFFER = 2**20  # read as it is decoded: without it Arrow takes in a whole column of a row group first
_DATASET_ID = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?::(.+))?")

_SNAPSHOT = re.compile(r"/snapshots/([0-9a-f]{40})/")


def resolve(path: str, revision: str | None = None) -> list[Path]:
    """The data files that `path` names, in a fixed order.

    `path` is a file, a folder, a glob, or a Hugging Face dataset `org/name`, where `org/name:data/train-*` takes only
    some of its files; what exists here wins. `revision` is a branch, tag or commit of the dataset. OperatorError where
    nothing is found.
    """
    here = Path(path).expanduser()
    if here.is_dir():
        return _in_folder(here)
    if here.is_file():
        if not here.name.endswith(SUFFIXES):
            raise OperatorError(f"{path} is not a data file; the corpus reads {', '.join(SUFFIXES)}.")
        return [here]
    if glob.has_magic(path) and not _DATASET_ID.fullmatch(path):
        found = (Path(match) for match in sorted(glob.glob(str(here), recursive=True)))
        files = [file for file in found if file.is_file() and file.name.endswith(SUFFIXES)]
        if not files:
            raise OperatorError(f"no data file matches {path}; the corpus reads {', '.join(SUFFIXES)}.")
        return files
    dataset = _DATASET_ID.fullmatch(path)
    if dataset is None or path.endswith(SUFFIXES):
        raise OperatorError(
            f"there is no file or folder at {path}; write the path of one, a glob, or a dataset of the hub (org/name)."
        )
    if revision is not None and not REVISION.fullmatch(revision):
        raise OperatorError(f"revision: {revision!r} is no branch, tag or commit of a dataset.")
    return _fetch(dataset[1], dataset[2], revision)


def _fetch(dataset: str, pattern: str | None, revision: str | None) -> list[Path]:
    patterns = [pattern] if pattern else [f"*{suffix}" for suffix in SUFFIXES]
    try:
        folder = snapshot_download(dataset, repo_type="dataset", revision=revision, allow_patterns=patterns)
    except (OSError, ValueError, EntryNotFoundError) as error:  # the hub's own errors are kinds of these three
        why = " ".join(str(error).split())[:300]
        raise OperatorError(
            f"{dataset} is neither a path here nor a dataset that could be fetched ({why}). Check the name, the "
            f"network and the access token, or fetch it yourself and write the folder's path."
        ) from error
    files = _in_folder(Path(folder))
    return [file for file in files if file.relative_to(folder).match(pattern)] if pattern else files


def revision_of(path: str) -> str:
    """The commit that a file of the hub's cache belongs to (.../snapshots/COMMIT/data/train.parquet), "" elsewhere."""
    found = _SNAPSHOT.search(path)
    return found[1] if found else ""


def _in_folder(folder: Path) -> list[Path]:
    found = (file for file in sorted(folder.rglob("*")) if file.name.endswith(SUFFIXES) and file.is_file())
    files = [file for file in found if not any(part.startswith(".") for part in file.relative_to(folder).parts)]
    if not files:
        raise OperatorError(f"there is no data file in {folder}; the corpus reads {', '.join(SUFFIXES)}.")
    return files


def read_rows(path: Path) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """("file:row", row) for every row, rows counted from 0, blank lines counted but not given.

    In the place of a row that cannot be read stands its reason: `bad_json`, `not_utf8`, `not_an_object`,
    `line_too_long`. OperatorError when the file ends before its format does.
    """
    if path.suffix in (".gz", ".zst") and path.stat().st_size == 0:
        raise OperatorError(f"{path} is empty, so it is no {path.suffix} file: it was cut short; fetch it again.")
    rows = _parquet_rows(path) if path.suffix == ".parquet" else map(_parse, _lines(path))
    try:
        for index, row in enumerate(rows):
            if row is not None:
                yield f"{path.name}:{index}", row
    except (OSError, pa.ArrowException) as error:
        why = " ".join(str(error).split())[:200]
        raise OperatorError(
            f"{path} cannot be read to its end ({why}): cut short or damaged; fetch it again."
        ) from error


def _lines(path: Path) -> Iterator[bytes | None]:
    """The lines of a file, decompressed block by block; None for a line over the bound."""
    compression = {".gz": "gzip", ".zst": "zstd"}.get(path.suffix)
    # Arrow's streams refuse a gzip or zstd file that stops before its end mark; zstandard's own reader does not.
    with io.BufferedReader(pa.input_stream(str(path), compression=compression), 2**20) as file:
        while line := file.readline(MAX_LINE_BYTES + 1):
            if len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
                while line and not line.endswith(b"\n"):
                    line = file.readline(2**20)
                yield None
            else:
                yield line


def _parse(line: bytes | None) -> dict[str, Any] | str | None:
    """The row of a line, its reason where it is none, or None for a blank line."""
    if line is None:
        return "line_too_long"
    try:
        text = line.decode("utf-8-sig").strip()
        row = json.loads(text) if text else None
    except UnicodeDecodeError:
        return "not_utf8"
    except (ValueError, RecursionError):
        return "bad_json"
    return row if isinstance(row, dict) or not text else "not_an_object"


def _parquet_rows(path: Path) -> Iterator[dict[str, Any] | str]:
    _try_parquet(path, path.stat().st_mtime_ns)
    with pq.ParquetFile(path, buffer_size=_PARQUET_BUFFER) as file:
        for batch in file.iter_batches(batch_size=_PARQUET_ROWS):
            large = batch.nbytes > MAX_LINE_BYTES
            for index in range(batch.num_rows):
                row: dict[str, Any] | str
                one = batch.slice(index, 1)
                if large and one.nbytes > MAX_LINE_BYTES:
                    yield "line_too_long"
                    continue
                try:
                    row = one.to_pylist()[0]
                except UnicodeDecodeError:
                    row = "not_utf8"
                yield row


@functools.lru_cache(maxsize=1024)
def _try_parquet(path: Path, changed: int) -> None:
    """Decode the file once where that cannot fill the memory: what a page or a dictionary unfolds to is known only to the
    decoder. OperatorError where it wants more than MAX_PARQUET_BYTES. A damaged file is left to those who read it."""

    def decode() -> None:
        with pq.ParquetFile(path, buffer_size=_PARQUET_BUFFER) as file:
            for _ in file.iter_batches(batch_size=_PARQUET_ROWS, use_threads=False):
                pass

    if trial(decode, seconds=MAX_PARQUET_SECONDS, memory_bytes=MAX_PARQUET_BYTES) is not None:
        raise OperatorError(
            f"{path} unfolds to more than {MAX_PARQUET_BYTES / 2**30:g} GiB for {_PARQUET_ROWS} rows: a decompression bomb, or pages "
            "far too large; write it again with smaller values."
        )
