"""Record files: zstd Parquet, written whole or not at all, checked against the done-marker before it is read.

write_records(path, Pair, pairs)                ->  how many
write_records(path, Group, groups, base=Base(corpus))   ->  how many; only what they add to the file `corpus` is written
read_records(path)                              ->  the records, a batch in memory at a time; additions are joined with their base
read_without_text(path)                         ->  groups whose statements and completions stay on the disk
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from redistill.errors import OperatorError
from redistill.io.atomic import atomic_write, read_json, sha256_file
from redistill.io.joined import TEXTS, Base, Row, added_groups, added_rows, base_of, join_rows, with_keys
from redistill.io.schemas import _SCHEMAS, from_row, to_row, to_table
from redistill.records import Group


def write_records(
    path: Path, kind: type, records: Iterable[Any], *, base: Base | None = None, before: Sequence[Group] | None = None
) -> int:
    """Write records of one kind as zstd Parquet, 1,000 a row group; returns how many. Written beside, then renamed.

    base: where the rest of these groups stands; only what they add to it is written. before: the groups of that file, where they
    have been read; else they are read again."""
    metadata = {b"redistill.record": kind.__name__.encode()}
    if base is not None:
        metadata |= base.metadata(path)
    schema = _SCHEMAS[kind].with_metadata(metadata)
    tables: Iterator[pa.Table]
    if base is None:
        tables = (to_table(kind, batch, schema) for batch in _batches(records))
    else:
        if before is not None:
            rows = added_groups(before, records)
        else:
            known = _rows(base.path, None if base.leaves_out else _WITHOUT_TEXT)
            rows = added_rows(known, map(to_row, records))
        tables = (pa.Table.from_pylist(batch, schema) for batch in _batches(rows))
    count = 0
    with atomic_write(path) as part, pq.ParquetWriter(part, schema, compression="zstd") as writer:
        for table in tables:  # no row group at all for no records: `datasets` stumbles over an empty one
            writer.write_table(table)
            count += len(table)
    return count


def _batches(items: Iterable[Any]) -> Iterator[list[Any]]:
    """A row group each."""
    rest = iter(items)
    while batch := list(itertools.islice(rest, 1000)):
        yield batch


_OUTCOMES = ["problem.id", *(f"traces.list.element.{leaf}" for leaf in (
    "author", "verdicts.list.element.name", "verdicts.list.element.outcome"))]  # fmt: skip


def read_outcomes(path: Path) -> Iterator[tuple[str, str, dict[str, str]]]:
    """(problem id, author, {verifier: outcome}) of every trace in a file of Groups; the texts stay on the disk."""
    for row in read_columns(path, _OUTCOMES):
        for trace in row["traces"]:
            outcomes = {verdict["name"]: verdict["outcome"] for verdict in trace["verdicts"] or ()}
            yield row["problem"]["id"], trace["author"], outcomes


def read_columns(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    """Some columns of a shard's rows, as dicts; of groups that add to others, of the whole. OperatorError as of read_records."""
    check_shard(path)
    yield from _rows(path, columns)


def read_table(path: Path) -> dict[str, list[Any]]:
    """The columns of a file of flat records, whole. OperatorError as of read_records."""
    check_shard(path)
    try:
        return pq.read_table(path).to_pydict()
    except (OSError, pa.ArrowException, ValueError) as error:
        raise _damaged(path, error) from error


def read_without_text(path: Path) -> Iterator[Group]:
    """The groups of a file as read_records gives them, but for statements and completions, which are empty."""
    for row in read_columns(path, _WITHOUT_TEXT):
        traces = [{"completion": "", **trace} for trace in row["traces"]]
        yield from_row(Group, {"problem": {"statement": "", **row["problem"]}, "traces": traces})


_WITHOUT_TEXT = [
    name
    for prefix, struct in (("problem.", _SCHEMAS[Group].field("problem").type), ("traces.list.element.", _SCHEMAS[Group].field("traces").type.value_type))
    for name in (f"{prefix}{field.name}" for field in struct)
    if name not in TEXTS
]  # fmt: skip


def with_bases(path: Path) -> Iterator[Path]:
    """A record file, the one that it adds to, and so on to the one that holds the texts."""
    yield path
    try:
        metadata = pq.read_schema(path).metadata
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from error
    if (base := base_of(path, metadata)) is not None:
        yield from with_bases(base.path)


def _rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[Row]:
    """The rows of a record file, joined with those of its base; all columns where none is named."""
    try:
        with pq.ParquetFile(path) as file:
            base = base_of(path, file.schema_arrow.metadata)
            if base is None:
                yield from _own_rows(file, columns)
                return
            columns = columns if columns is None else with_keys(columns)
            check_shard(base.path)
            yield from join_rows(path, base, _own_rows(file, columns), _rows(base.path, columns))
    except (OSError, pa.ArrowException, ValueError) as error:
        raise _damaged(path, error) from error


def _own_rows(file: pq.ParquetFile, columns: Sequence[str] | None) -> Iterator[Row]:
    for batch in file.iter_batches(batch_size=256, columns=None if columns is None else list(columns)):
        yield from batch.to_pylist()


def check_shard(path: Path) -> None:
    """OperatorError when a shard's file is not what its done-marker names; nothing where it has no marker.

    Parquet cannot tell by itself: a changed bit of a page's header gives other records without a word.
    """
    marker = path.parents[1] / f"{path.stem}.done"
    if not marker.exists():
        return
    entry = read_json(marker)["files"].get(f"{path.parent.name}/{path.name}")
    if entry is not None and (not path.exists() or sha256_file(path) != entry["sha256"]):
        raise _damaged(path, "checksum mismatch")


def _damaged(path: Path, why: object) -> OperatorError:
    words = " ".join(str(why).split())
    return OperatorError(f"{path} is corrupt ({words}). Run its recipe again to rebuild it.")


_KINDS = {kind.__name__: kind for kind in _SCHEMAS}


def read_records(path: str | Path) -> Iterator[Any]:
    """The records of one Parquet file that `write_records` wrote, a batch in memory at a time; checked against its
    done-marker before the first is given (hashing is far cheaper than decoding)."""
    path = Path(path)
    check_shard(path)
    kind = _kind_of(path)
    try:
        for row in _rows(path):
            yield from_row(kind, row)
    except ValueError as error:
        raise _damaged(path, error) from error


def _kind_of(path: Path) -> type:
    try:
        return _KINDS[(pq.read_schema(path).metadata or {})[b"redistill.record"].decode()]
    except (OSError, pa.ArrowInvalid, KeyError) as error:
        raise OperatorError(
            f"{path} is not a record file of redistill ({error}). Give a part-*.parquet file of a run."
        ) from error
