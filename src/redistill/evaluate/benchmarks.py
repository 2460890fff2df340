"""Benchmarks: a local file with problem and answer columns -> Problems.

    {"benchmark": "aime24", "id": "60", "problem": "Every morning Aya ...", "answer": "204"}
    load_benchmark(BenchmarkSettings(name="aime24", file="benchmarks.jsonl.gz", benchmark="aime24"))

Reads .jsonl, .jsonl.gz and .parquet. The held-out problems of a corpus (`dev`) are already Problems and do not pass
here.
"""

import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from redistill.errors import OperatorError
from redistill.records import Problem, content_id, make_problem
from redistill.settings import BenchmarkSettings, did_you_mean


def load_benchmark(settings: BenchmarkSettings) -> Iterator[Problem]:
    """The problems of `settings.file`, only those whose `benchmark` column has the wanted value, in file order.

    A list of answers is joined as "a, b"; a missing one is None, which verifies as `ungradable`. A statement that
    comes twice is one problem, with its first answer. `max_problems` is the business of `subsample`.
    Errors: OperatorError for a file that is missing, of an unknown kind, unreadable or empty, and for an unknown
    column or benchmark; raised at the call, before the first problem.
    """
    if settings.file is None:
        raise OperatorError(f"benchmark {settings.name!r} has no `file`; name a .jsonl, .jsonl.gz or .parquet file.")
    path = Path(settings.file)
    rows = list(enumerate(_read_rows(path)))
    if not rows:
        raise OperatorError(f"{path} holds no rows; benchmark {settings.name!r} needs at least one problem.")
    wanted = ["benchmark"] if settings.benchmark is not None else []
    for column in (settings.problem_column, settings.answer_column, *wanted):
        if all(column not in row for _, row in rows):
            raise OperatorError(f"{path} has no column {column!r}{did_you_mean(column, rows[0][1])}")
    if settings.benchmark is not None:
        present = sorted({str(row.get("benchmark")) for _, row in rows})
        rows = [(at, row) for at, row in rows if str(row.get("benchmark")) == settings.benchmark]
        if not rows:
            raise OperatorError(f"{path} has no benchmark {settings.benchmark!r}; it holds {', '.join(present)}")
    return iter(list(_problems(rows, path, settings)))


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


def _problems(rows: Iterable[tuple[int, dict[str, Any]]], path: Path, settings: BenchmarkSettings) -> Iterator[Problem]:
    seen: set[str] = set()
    for at, row in rows:
        statement = row.get(settings.problem_column)
        if not isinstance(statement, str) or not statement.strip():
            raise OperatorError(f"{path} row {at}: {settings.problem_column!r} must be text (here: {statement!r}).")
        answer = _answer_text(row.get(settings.answer_column))
        problem = make_problem(statement, answer=answer, source=settings.name, source_row=f"{path.name}:{at}")
        if problem.id not in seen:
            seen.add(problem.id)
            yield problem


def _answer_text(answer: Any) -> str | None:
    """A gold answer as text: 27.0, as some files store AMC answers, is 27; nothing or white space is None."""
    if isinstance(answer, list):
        return ", ".join(text for part in answer if (text := _answer_text(part))) or None
    if isinstance(answer, float):
        return None if answer != answer else str(int(answer)) if answer.is_integer() else repr(answer)
    return (str(answer).strip() or None) if answer is not None else None


def _read_rows(path: Path) -> Iterable[dict[str, Any]]:
    if not path.is_file():
        raise OperatorError(f"there is no benchmark file at {path}.")
    for suffix, read in _READERS.items():
        if path.name.endswith(suffix):
            return read(path)
    raise OperatorError(f"{path} is of no known kind; use {', '.join(_READERS)}.")


def _read_jsonl(path: Path) -> list[dict[str, Any]]:
    opener: Callable[..., Any] = gzip.open if path.name.endswith(".gz") else open
    rows = []
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise ValueError(f"line {number} is not a JSON object")
                    rows.append(row)
    except json.JSONDecodeError as error:
        raise OperatorError(f"{path} line {number} is not JSON: {error.msg}.") from error
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise OperatorError(f"cannot read {path}: {error}.") from error
    return rows


def _read_parquet(path: Path) -> list[dict[str, Any]]:
    try:
        return pq.read_table(path).to_pylist()
    except (OSError, pa.ArrowInvalid) as error:
        raise OperatorError(f"cannot read {path}: {error}.") from error


_READERS: dict[str, Callable[[Path], list[dict[str, Any]]]] = {
    ".jsonl": _read_jsonl,
    ".jsonl.gz": _read_jsonl,
    ".parquet": _read_parquet,
}
