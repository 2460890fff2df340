"""Paths and dataset ids -> files -> rows, streamed: what comes in is a `path` option, what goes out are plain dicts.

    resolve("data/")                    -> [data/a.jsonl.gz, data/b.parquet]       every data file below, sorted
    resolve("s3://bucket/data/")        -> the files there, fetched (io/stores.py)
    resolve("open-r1/OpenR1-Math-Raw")  -> the files of that dataset, fetched from the Hugging Face hub
    read_rows(Path("data/a.jsonl.gz"))  -> ("a.jsonl.gz:0", {"problem": ...}), ("a.jsonl.gz:1", "bad_json"), ...

Of a folder with splits the training split is read, or the one that `split` names. A row that cannot be read is a reason
instead of a dict. A file that cannot be read to its end is for the user to repair: half a file must not pass for a whole one.
"""

import glob
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import EntryNotFoundError

from redistill.corpus.sources import archives, splits
from redistill.corpus.sources.formats import ROW_SUFFIXES, read_file
from redistill.errors import OperatorError
from redistill.io import stores
from redistill.safety.paths import REVISION, check_content, check_kind, check_text, home_path

SUFFIXES = (*ROW_SUFFIXES, *archives.SUFFIXES)
KINDS = ".jsonl, .ndjson, .json, .csv, .tsv (each also .gz and .zst), .parquet, .arrow, .tar, .tar.gz and .zip"
# What stands beside rows and holds none: of datasets' folders, of models, of package tools.
_SIDE_FILES = frozenset(
    ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "config.json", "metadata.jsonl",
     "metadata.json", "metadata.csv", "package.json", "croissant.json", ".huggingface.json")
)  # fmt: skip
_DATASET_ID = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?::(.+))?")
_SNAPSHOT = re.compile(r"/snapshots/([0-9a-f]{40})/")


@dataclass(frozen=True, slots=True)
class Selection:
    """The files that a `path` names, and a sentence on what was left out, "" where nothing was."""

    files: list[Path]
    note: str = ""


def resolve(path: str, revision: str | None = None, split: str | None = None) -> list[Path]:
    """The data files that `path` names, in a fixed order; `select_files` says what was left out.

    `path` is a file, a folder, a glob, the same in object storage (`s3://bucket/data/*.jsonl`; its files are fetched), or a
    Hugging Face dataset `org/name`, where `org/name:data/train-*` takes only some of its files; what exists here wins.
    `revision` is a branch, tag or commit of the dataset; `split` is the split to read of several. OperatorError where nothing is found.
    """
    return select_files(path, revision, split).files


def select_files(path: str, revision: str | None = None, split: str | None = None) -> Selection:
    """The same, with a sentence on the splits and the side files that are left out."""
    paths = _select(path, revision, split)
    for file in paths.files:
        check_text(file)
        check_content(file)
    return paths


def _select(path: str, revision: str | None, split: str | None) -> Selection:
    if stores.is_address(path):
        return _in_store(stores.address(path), split)
    here = home_path(path)
    if here.is_dir():
        return _in_folder(here, path, split)
    if here.is_file():
        if not here.name.lower().endswith(SUFFIXES):
            raise OperatorError(f"{path} is not a data file; the corpus reads {KINDS}.")
        return Selection([here])
    check_kind(here)
    if glob.has_magic(path) and not _DATASET_ID.fullmatch(path):
        paths = (Path(match) for match in sorted(glob.glob(str(here), recursive=True)))
        files = [file for file in paths if file.is_file() and file.name.lower().endswith(SUFFIXES)]
        if not files:
            raise OperatorError(f"no data file matches {path}; the corpus reads {KINDS}.")
        return Selection(*splits.choose(files, {file: Path(file.name) for file in files}, path, split, asked=True))
    dataset = _DATASET_ID.fullmatch(path)
    if dataset is None or path.lower().endswith(SUFFIXES):
        raise OperatorError(
            f"there is no file or folder at {path}; give a path, a glob, or a dataset on the hub (org/name)."
        )
    if revision is not None and not REVISION.fullmatch(revision):
        raise OperatorError(f"revision: {revision!r} is not a branch, tag or commit of a dataset.")
    return _fetch(dataset[1], dataset[2], revision, split)


def note_on(options: Mapping[str, Any]) -> str:
    """The sentence on what a source's `path`, `revision` and `split` leave out, also within archives; "" for nothing."""
    if "path" not in options:
        return ""
    files = select_files(options["path"], options.get("revision"), options.get("split"))
    inner = (
        archives.note_of(file, options.get("split"))
        for file in files.files
        if file.name.lower().endswith(archives.SUFFIXES)
    )
    return " ".join(filter(None, [files.note, *inner]))


def _fetch(dataset: str, pattern: str | None, revision: str | None, split: str | None) -> Selection:
    patterns = [pattern] if pattern else [f"*{suffix}" for suffix in ROW_SUFFIXES]
    try:
        folder = snapshot_download(dataset, repo_type="dataset", revision=revision, allow_patterns=patterns)
    except (OSError, ValueError, EntryNotFoundError) as error:  # the hub's own errors are kinds of these three
        why = " ".join(str(error).split())[:300]
        raise OperatorError(
            f"{dataset} is neither a local path nor a dataset that could be downloaded ({why}). Check the name, the "
            f"network and the access token, or download it yourself and give the folder's path."
        ) from error
    return _in_folder(Path(folder), dataset, split, pattern)


def revision_of(path: str) -> str:
    """The commit that a file of the hub's cache belongs to (.../snapshots/COMMIT/data/train.parquet), "" elsewhere."""
    match = _SNAPSHOT.search(path)
    return match[1] if match else ""


def _in_store(address: str, split: str | None) -> Selection:
    """The data files at an address, chosen by their names as those of a folder are, then fetched."""
    copies = {stores.place_of(one): one for one in stores.find(address) if one.address.lower().endswith(SUFFIXES)}
    if not copies:
        raise OperatorError(f"there is no data file at {address}; the corpus reads {KINDS}.")
    if [one.address for one in copies.values()] == [address]:
        return Selection([stores.fetch(one) for one in copies.values()])
    asked = stores.is_glob(address)
    root = len(stores.root_of(address)) + 1
    inside = {file: Path(file.name if asked else one.address[root:]) for file, one in copies.items()}
    chosen = _choose(inside, address, address, split, asked=asked)
    return Selection([stores.fetch(copies[file]) for file in chosen.files], chosen.note)


def _in_folder(folder: Path, name: str, split: str | None, pattern: str | None = None) -> Selection:
    paths = (file for file in sorted(folder.rglob("*")) if file.name.lower().endswith(SUFFIXES) and file.is_file())
    inside = {file: file.relative_to(folder) for file in paths}
    if pattern:
        inside = {file: rest for file, rest in inside.items() if rest.match(pattern)}
    return _choose(inside, str(folder), name, split, asked=bool(pattern))


def _choose(inside: Mapping[Path, Path], where: str, name: str, split: str | None, *, asked: bool) -> Selection:
    """Which files of a folder are read, by their paths inside it."""
    inside = {file: rest for file, rest in inside.items() if not any(part.startswith(".") for part in rest.parts)}
    files = [file for file in inside if file.name not in _SIDE_FILES]
    if not files:
        raise OperatorError(f"there is no data file in {where}; the corpus reads {KINDS}.")
    beside = sorted({file.name for file in inside if file.name in _SIDE_FILES and not _is_of_datasets(file.name)})
    chosen, note = splits.choose(files, inside, name, split, asked=asked)
    if beside:
        note = " ".join(filter(None, [note, f"{name}: {', '.join(beside)} skipped: not data, judging by the name."]))
    return Selection(chosen, note)


def _is_of_datasets(name: str) -> bool:
    """True for what `save_to_disk` writes: nobody takes it for rows, so nothing need be said."""
    return name in ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")


def read_rows(path: Path, split: str | None = None) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """("file:row", row) for every row, rows counted from 0, blank lines counted but not given.

    In the place of a row that cannot be read stands its reason: `bad_json`, `not_utf8`, `not_an_object`,
    `line_too_long`, `bad_csv`. Rows of an archive are named "archive/file:row". OperatorError when the file ends before
    its format does.
    """
    if path.name.lower().endswith(archives.SUFFIXES):
        yield from archives.read_archive(path, split)
        return
    for index, row in read_file(path, split):
        yield f"{path.name}:{index}", row
