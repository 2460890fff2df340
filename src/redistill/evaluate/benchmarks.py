"""Benchmarks: a name of the registry, or a file with problem and answer columns -> Problems.

    {"benchmark": "aime24", "id": "60", "problem": "Every morning Aya ...", "answer": "204"}
    load_benchmark(BenchmarkSettings(name="aime24", file="benchmarks.jsonl.gz", benchmark="aime24"))
    load_benchmark(BenchmarkSettings(name="math-500"))                       fetched from the hub at a pinned revision
    load_benchmark(BenchmarkSettings(name="math-500", file="copies/"))       a copy of the hub's files in a folder

A column `images` or `image` holds the problem's pictures: paths below the file's folder, or bytes. Reads .jsonl, .jsonl.gz, .json (one array), .parquet and .csv. The held-out problems of a corpus (`dev`) are already Problems and do not
pass here.
"""

import csv
import dataclasses
import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, GatedRepoError

from redistill.config.tables import BenchmarkSettings
from redistill.config.validation_messages import did_you_mean
from redistill.errors import OperatorError
from redistill.evaluate.by_likelihood import CHOICES, RIGHT, read_choices
from redistill.evaluate.registry import BENCHMARKS, Benchmark
from redistill.io import stores
from redistill.io.images import ImageError, image_of, keeps_images
from redistill.records import Image, Problem, content_id, make_problem
from redistill.safety.limits import trial
from redistill.safety.paths import check_content, home_path
from redistill.text.nesting import parsed
from redistill.text.utf8 import utf8_values

MAX_FILE_BYTES = 2**28  # decompressed: the largest benchmark is a tenth of it, a gzip bomb many times it
_TOO_LARGE = f"it holds over {MAX_FILE_BYTES >> 20} MiB of text, the limit for a benchmark"


def load_benchmark(settings: BenchmarkSettings) -> Iterator[Problem]:
    """The problems of `settings`, only those whose `benchmark` column has the wanted value, in file order.

    Columns: those that `settings` names; else those of the registry's benchmark of this name, where the file has them;
    else `problem` and `answer`. A list of answers is joined as "a, b"; a missing one is None, which verifies as
    `ungradable`. A statement that comes twice is one problem, with its first answer. `max_problems` is the business of
    `subsample`. Errors: OperatorError for a file that is missing, of an unknown kind, unreadable or empty, for an
    unknown column or benchmark, and for one that cannot be fetched; raised at the call, before the first problem.
    """
    path = benchmark_file(settings)
    rows = list(enumerate(read_rows(path)))
    if not rows:
        raise OperatorError(f"{path} holds no rows; benchmark {settings.name!r} needs at least one problem.")
    read, columns = _reader(settings, rows[0][1])
    wanted = ["benchmark"] if settings.benchmark is not None else []
    needed = columns[:1] if settings.kind == "choices" else columns  # the answer's column may have other names there
    for column in (*needed, *wanted):
        if all(column not in row for _, row in rows):
            raise OperatorError(f"{path} has no column {column!r}{did_you_mean(column, rows[0][1])}")
    if settings.benchmark is not None:
        present = sorted({str(row.get("benchmark")) for _, row in rows})
        rows = [(at, row) for at, row in rows if str(row.get("benchmark")) == settings.benchmark]
        if not rows:
            raise OperatorError(f"{path} has no benchmark {settings.benchmark!r}; it holds {', '.join(present)}")
    return iter(list(_problems(rows, path, settings, read, columns[0])))


def benchmark_file(settings: BenchmarkSettings, split_file: str | None = None) -> Path:
    """The file of a benchmark: the one that `settings` names, the registry's file in a folder, or fetched from the hub. split_file:
    that of another split, in the place of the registry's."""
    known = BENCHMARKS.get(settings.name)
    if known and split_file:
        known = dataclasses.replace(known, file=split_file)
    if settings.file is None:
        if known is None:
            raise OperatorError(
                f"benchmark {settings.name!r} has no `file`, and is not a known benchmark{did_you_mean(settings.name, BENCHMARKS)}"
            )
        return _fetch(settings.name, known, settings.revision or known.revision)
    if stores.is_address(settings.file):
        return stores.fetch_one(settings.file)
    path = home_path(settings.file)
    if not path.is_dir():
        if split_file:
            raise OperatorError(
                f"benchmark {settings.name!r} is read from the file {path}, which has no other split; set few_shot.file."
            )
        return path
    if known is None:
        raise OperatorError(f"{path} is a folder; give the file of benchmark {settings.name!r} in it.")
    for inside in (path / known.file, path / Path(known.file).name):
        if inside.is_file():
            return inside
    raise OperatorError(
        f"{path} holds neither {known.file} nor {Path(known.file).name} of benchmark {settings.name!r}."
    )


def _fetch(name: str, known: Benchmark, revision: str) -> Path:
    try:
        return Path(hf_hub_download(known.hub, known.file, repo_type="dataset", revision=revision))
    except GatedRepoError as error:
        raise OperatorError(
            f"{name} is gated: accept its terms at huggingface.co/datasets/{known.hub}, then set HF_TOKEN."
        ) from error
    except (OSError, ValueError, EntryNotFoundError) as error:  # the hub's own errors are kinds of these three
        why = " ".join(str(error).split())[:200]
        raise OperatorError(
            f"{name} could not be fetched from the hub, {known.hub} at {revision[:12]} ({why}). Check the network, or "
            f"download {known.file} yourself and write {{name: {name}, file: FOLDER}}."
        ) from error


_Read = Callable[[dict[str, Any]], tuple[Any, ...]]  # (statement, answer), and metadata where there is any


def _reader(settings: BenchmarkSettings, first: dict[str, Any]) -> tuple[_Read, tuple[str, str]]:
    """How a row becomes (statement, answer), and the two columns that it needs."""
    known = BENCHMARKS.get(settings.name)
    if known and not {known.problem_column, known.answer_column} <= first.keys():
        known = None  # a file of other columns that holds this benchmark
    named = settings.problem_column, settings.answer_column
    if known and known.read and named == (None, None):
        return known.read, (known.problem_column, known.answer_column)
    problem = named[0] or (known.problem_column if known else "problem")
    answer = named[1] or (known.answer_column if known else "answer")
    return lambda row: (row.get(problem), row.get(answer)), (problem, answer)


def subsample(problems: Iterable[Problem], max_problems: int | None, seed: int) -> list[Problem]:
    """At most `max_problems` of the problems, in their order, chosen by a hash of (seed, id).

    The choice does not depend on the order, and a smaller choice is part of every larger one of the same seed.
    """
    problems = list(problems)
    if max_problems is None or len(problems) <= max_problems:
        return problems
    ranked = sorted(problems, key=lambda p: content_id("", "subsample", str(seed), p.id))
    kept = {p.id for p in ranked[:max_problems]}
    return [p for p in problems if p.id in kept]


def _problems(
    rows: Iterable[tuple[int, dict[str, Any]]], path: Path, settings: BenchmarkSettings, read: _Read, column: str
) -> Iterator[Problem]:
    seen: set[str] = set()
    for at, row in rows:
        statement, answer, *more = read(row)
        if not isinstance(statement, str) or not statement.strip():
            raise OperatorError(f"{path} row {at}: {column!r} must be text (got {statement!r}).")
        metadata: dict[str, Any] = more[0] if more else {}
        if settings.kind == "choices":
            problems = read_choices(row, settings)
            if isinstance(problems, str):
                raise OperatorError(f"{path} row {at}: {problems}; benchmark {settings.name!r} is of kind choices.")
            metadata = {CHOICES: problems[0], RIGHT: problems[1]}
            answer = problems[0][problems[1]]
        problem = make_problem(
            statement,
            answer=_answer_text(answer),
            source=settings.name,
            source_row=f"{path.name}:{at}",
            images=_images(row, path, at),
            metadata=metadata,
        )
        if problem.id not in seen:
            seen.add(problem.id)
            yield problem


IMAGE_COLUMNS = ("images", "image")


def _images(row: dict[str, Any], path: Path, at: int) -> tuple[Image, ...]:
    """The images of a row, in its column `images` (a list) or `image`, where a student reads them. OperatorError for one that cannot
    be shown."""
    if not keeps_images():
        return ()
    value = next((row[column] for column in IMAGE_COLUMNS if row.get(column) is not None), None)
    try:
        return tuple(
            image_of(one, path.parent) for one in (value if isinstance(value, list) else [value] if value else [])
        )
    except ImageError as error:
        raise OperatorError(f"{path} row {at}: its image cannot be read ({error}: {error.detail}).") from error


def _answer_text(answer: Any) -> str | None:
    """A gold answer as text: 27.0, as some files store AMC answers, is 27; nothing or white space is None."""
    if isinstance(answer, list):
        return ", ".join(text for part in answer if (text := _answer_text(part))) or None
    if isinstance(answer, float):
        return None if answer != answer else str(int(answer)) if answer.is_integer() else repr(answer)
    return (str(answer).strip() or None) if answer is not None else None


def read_rows(path: Path) -> Iterable[dict[str, Any]]:
    """The rows of a benchmark's file. OperatorError where it is missing, of no known kind, or cannot be read."""
    check_content(path)
    if not path.is_file():
        raise OperatorError(f"there is no benchmark file at {path}.")
    for suffix, read in _READERS.items():
        if path.name.endswith(suffix):
            return read(path)
    raise OperatorError(f"{path} has an unknown file type; use {', '.join(_READERS)}.")


def _read_jsonl(path: Path) -> list[dict[str, Any]]:
    opener: Callable[..., Any] = gzip.open if path.name.endswith(".gz") else open
    rows = []
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            read = number = 0
            while line := file.readline(MAX_FILE_BYTES - read + 1):
                number, read = number + 1, read + len(line)
                if read > MAX_FILE_BYTES:
                    raise ValueError(_TOO_LARGE)
                if line.strip():
                    try:
                        row = utf8_values(parsed(line))
                    except ValueError as error:
                        raise OperatorError(
                            f"{path} line {number} is not JSON: {getattr(error, 'msg', error)}."
                        ) from error
                    if not isinstance(row, dict):
                        raise ValueError(f"line {number} is not a JSON object")
                    rows.append(row)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise OperatorError(f"cannot read {path}: {error}.") from error
    return rows


def _read_csv(path: Path) -> list[dict[str, Any]]:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ValueError(_TOO_LARGE)
        with open(path, encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise OperatorError(f"cannot read {path}: {error}.") from error


def _read_parquet(path: Path) -> list[dict[str, Any]]:
    try:
        with pq.ParquetFile(path) as file:  # what the file says of itself; a value that is named many times takes more
            described = file.metadata
        if sum(described.row_group(at).total_byte_size for at in range(described.num_row_groups)) > MAX_FILE_BYTES:
            raise ValueError(_TOO_LARGE)
        if trial(lambda: _parquet_rows(path), seconds=3600, memory_bytes=4 * MAX_FILE_BYTES):
            raise ValueError(_TOO_LARGE)
        return _parquet_rows(path)
    except (OSError, ValueError, pa.ArrowInvalid) as error:
        raise OperatorError(f"cannot read {path}: {error}.") from error


def _parquet_rows(path: Path) -> list[dict[str, Any]]:
    """Without threads: `pq.read_table` reads in threads of its own even when asked not to, and where no memory is left
    for one it waits for it without end."""
    with pq.ParquetFile(path) as file:
        rows: list[dict[str, Any]] = file.read(use_threads=False).to_pylist()
    return rows


def _read_json(path: Path) -> list[dict[str, Any]]:
    """One array of objects, as ProcessBench's files are."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ValueError(_TOO_LARGE)
        rows = utf8_values(parsed(path.read_text("utf-8")))
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ValueError("it is not an array of JSON objects")
    except (OSError, ValueError) as error:
        raise OperatorError(f"cannot read {path}: {error}.") from error
    return rows


_READERS: dict[str, Callable[[Path], list[dict[str, Any]]]] = {
    ".jsonl": _read_jsonl,
    ".jsonl.gz": _read_jsonl,
    ".json": _read_json,
    ".parquet": _read_parquet,
    ".csv": _read_csv,
}
