"""Any file of gold answers and predictions -> the same rows with verdicts, and counts: the command `verify`.

    verify_file(Path("answers.jsonl"), gold="answer", prediction="text", verifiers=["cascade"], out=Path("judged.jsonl"))
        -> {"rows": 500, "outcomes": {"cascade": {"correct": 312, ...}}, ...}

No recipe, no corpus: rows are read one by one, judged in the pool, and written in their order as they come back.
"""

import collections
import contextlib
import gzip
import itertools
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from redistill.config.binding import function_of
from redistill.corpus.sources.files import read_rows, resolve
from redistill.errors import OperatorError
from redistill.io.atomic import atomic_write, check_output, trouble
from redistill.io.progress import bar, say
from redistill.records import Outcome, Problem, Trace, Verdict, make_problem, make_trace
from redistill.text.utf8 import utf8_values
from redistill.verify import VERIFIERS, VerifierPool, check_verifiers

LOOK_AHEAD = 100  # rows in which a column must appear at least once
_PARQUET_ROWS = 1_000
WRITTEN = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet")  # more can be read


def verify_file(
    path: Path,
    *,
    gold: str,
    prediction: str,
    verifiers: Sequence[str] = ("cascade",),
    out: Path | None = None,
    bare: bool = False,
    workers: int | None = None,
    timeout_seconds: float = 5.0,
    memory_mb: int = 2048,
) -> dict[str, Any]:
    """Judge every row, write the rows with their verdict columns to `out`, and return counts.

    gold, prediction: the columns. bare: predictions are answers, not completions in which one must be found. Returns
    rows, unreadable (rows that are not JSON objects, by reason), outcomes and reasons by verifier. OperatorError for an
    unknown verifier, a column that no row has, or an `out` of another kind.
    """
    if out is not None:
        check_output(out, path)
    chosen = {name: function_of(VERIFIERS, name, "--verifier") for name in verifiers}
    check_verifiers(chosen)
    rows, columns = _peeked(path)
    for option, column in (("--gold", gold), ("--prediction", prediction)):
        if column not in columns:
            raise OperatorError(f"{option}: {path} has no column {column!r}; its columns are {', '.join(columns)}.")
    unreadable: Counter[str] = Counter()
    outcomes = {name: Counter[str]() for name in verifiers}
    reasons = {name: Counter[str]() for name in verifiers}
    waiting: collections.deque[dict[str, Any]] = collections.deque()

    def items() -> Iterator[tuple[Problem, Trace]]:
        for row_id, row in rows:
            if isinstance(row, str):
                unreadable[row] += 1
                continue
            waiting.append(row)
            yield _item(row_id, row.get(gold), row.get(prediction), bare)

    count = 0
    with (
        row_writer(out) as write,
        VerifierPool(
            chosen, workers=workers or os.cpu_count() or 1, timeout_seconds=timeout_seconds, memory_mb=memory_mb
        ) as pool,
    ):
        for verdicts in bar(pool.judge(items()), "verify", unit="row"):
            count += 1
            for name, verdict in verdicts.items():
                outcomes[name][verdict.outcome.value] += 1
                reasons[name][verdict.reason] += 1
            write({**waiting.popleft(), **_columns(verdicts)})
    if out is not None:
        say(f"written  {out}")
    no_answer = max((counter["no_answer"] for counter in outcomes.values()), default=0)
    if not bare and no_answer * 2 > count:
        say(
            f"note     {no_answer} of {count} predictions have no anchored answer; if they are bare answers, pass --bare"
        )
    return {
        "file": str(path),
        "rows": count,
        "unreadable": dict(unreadable),
        "outcomes": {name: dict(counter.most_common()) for name, counter in outcomes.items()},
        "reasons": {name: dict(counter.most_common()) for name, counter in reasons.items()},
    }


def _peeked(path: Path) -> tuple[Iterator[tuple[str, dict[str, Any] | str]], list[str]]:
    """All rows, and the columns of the first LOOK_AHEAD in the order in which they appear."""
    rows = (row for file in resolve(str(path)) for row in read_rows(file))
    first = list(itertools.islice(rows, LOOK_AHEAD))
    columns = list(dict.fromkeys(column for _, row in first if isinstance(row, dict) for column in row))
    if not columns:
        raise OperatorError(f"{path} has no row that is a JSON object; give a file of rows.")
    return itertools.chain(first, rows), columns


def _item(row_id: str, gold: Any, prediction: Any, bare: bool) -> tuple[Problem, Trace]:
    """A row as what verifiers take. The id comes from the row: rows with the same answers are different problems."""
    problem = make_problem(row_id, answer=text_of(gold), source_row=row_id)
    text = text_of(prediction) or ""
    return problem, make_trace(problem.id, f"<answer>{text}</answer>" if bare and text else text)


def text_of(value: Any) -> str | None:
    """A cell as text: numbers as they are written, a list as its items; None for null."""
    if value is None:
        return None
    if isinstance(value, list | tuple):
        return ", ".join(text for item in value if (text := text_of(item)) is not None)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _columns(verdicts: dict[str, Verdict]) -> dict[str, str | None]:
    """The columns that a row gains: `cascade_outcome`, `cascade_reason`, `cascade_extracted`, `cascade_version`."""
    parts = ("outcome", "reason", "extracted", "verifier_version")
    columns = {}
    for name, verdict in verdicts.items():
        for part in parts:
            value = getattr(verdict, part)
            columns[f"{name}_{part.removeprefix('verifier_')}"] = value.value if isinstance(value, Outcome) else value
    return columns


@contextlib.contextmanager
def row_writer(out: Path | None) -> Iterator[Callable[[dict[str, Any]], None]]:
    """A function that writes a row; the file gets its name once it is whole. Nothing is written where `out` is None."""
    if out is None:
        yield lambda row: None
        return
    if not out.name.endswith(WRITTEN):
        raise OperatorError(f"--out: {out} must end in {', '.join(WRITTEN)}.")
    try:
        with (
            atomic_write(out) as part,
            _parquet(part) if out.suffix == ".parquet" else _lines(part, out.suffix) as write,
        ):
            yield write
    except OSError as error:
        raise OperatorError(f"--out: cannot write {out} ({trouble(error) or error.strerror or error}).") from error
    except pa.ArrowException as error:
        raise OperatorError(
            f"--out: the rows have columns of mixed types, which Parquet cannot hold ({error}); write .jsonl.gz instead."
        ) from error


@contextlib.contextmanager
def _lines(path: Path, suffix: str) -> Iterator[Callable[[dict[str, Any]], None]]:
    with open(path, "wb") as file, contextlib.ExitStack() as stack:
        packed: Any = file
        if suffix == ".gz":
            packed = stack.enter_context(gzip.GzipFile(fileobj=file, mode="wb", mtime=0))
        elif suffix == ".zst":
            packed = stack.enter_context(zstandard.ZstdCompressor().stream_writer(file))

        def write(row: dict[str, Any]) -> None:
            # \u escapes: broken UTF-8 of a completion (lone surrogates) stays readable and valid JSON
            packed.write(json.dumps(row, default=str).encode("ascii") + b"\n")

        yield write


@contextlib.contextmanager
def _parquet(path: Path) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Row groups of _PARQUET_ROWS under the schema of the first; a later row that does not fit is an error."""
    held: list[dict[str, Any]] = []
    with contextlib.ExitStack() as stack:
        writer: list[pq.ParquetWriter] = []

        def flush() -> None:
            table = pa.Table.from_pylist([utf8_values(row) for row in held], writer[0].schema if writer else None)
            if not writer:
                writer.append(stack.enter_context(pq.ParquetWriter(path, table.schema, compression="zstd")))
            writer[0].write_table(table)
            held.clear()

        def write(row: dict[str, Any]) -> None:
            held.append(row)
            if len(held) == _PARQUET_ROWS:
                flush()

        yield write
        if held or not writer:
            flush()
