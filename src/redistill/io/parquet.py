"""Record files: zstd Parquet, written whole or not at all, checked against the done-marker before it is read.

write_records(path, Pair, pairs)    ->  how many
read_records(path)                  ->  the records, a batch in memory at a time
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from redistill.errors import OperatorError
from redistill.io.atomic import atomic_write, read_json, sha256_file
from redistill.io.schemas import _SCHEMAS, from_row, to_row


def write_records(path: Path, kind: type, records: Iterable[Any]) -> int:
    """Write records of one kind as zstd Parquet, 1,000 a row group; returns how many. Written beside, then renamed."""
    schema = _SCHEMAS[kind].with_metadata({"redistill.record": kind.__name__})
    count = 0
    with atomic_write(path) as part, pq.ParquetWriter(part, schema, compression="zstd") as writer:
        batch: list[dict[str, Any]] = []
        for record in records:
            batch.append(to_row(record))
            if len(batch) == 1000:
                writer.write_table(pa.Table.from_pylist(batch, schema))
                count, batch = count + len(batch), []
        if batch:  # no row group at all for no records: `datasets` stumbles over an empty one
            writer.write_table(pa.Table.from_pylist(batch, schema))
        count += len(batch)
    return count


_OUTCOMES = ["problem.id", *(f"traces.list.element.{leaf}" for leaf in (
    "author", "verdicts.list.element.name", "verdicts.list.element.outcome"))]  # fmt: skip


def read_outcomes(path: Path) -> Iterator[tuple[str, str, dict[str, str]]]:
    """(problem id, author, {verifier: outcome}) of every trace in a file of Groups; the texts stay on the disk."""
    for row in read_columns(path, _OUTCOMES):
        for trace in row["traces"]:
            outcomes = {verdict["name"]: verdict["outcome"] for verdict in trace["verdicts"] or ()}
            yield row["problem"]["id"], trace["author"], outcomes


def read_columns(path: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Some columns of a shard's rows, as dicts. OperatorError as of read_records."""
    check_shard(path)
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024, columns=list(columns)):
                yield from batch.to_pylist()
    except (OSError, pa.ArrowException, ValueError) as error:
        raise _damaged(path, error) from error


def check_shard(path: Path) -> None:
    """OperatorError when a shard's file is not what its done-marker names; nothing where it has no marker.

    Parquet cannot tell by itself: a changed bit of a page's header gives other records without a word.
    """
    marker = path.parents[1] / f"{path.stem}.done"
    if not marker.exists():
        return
    facts = read_json(marker)["files"].get(f"{path.parent.name}/{path.name}")
    if facts is not None and (not path.exists() or sha256_file(path) != facts["sha256"]):
        raise _damaged(path, "its checksum differs")


def _damaged(path: Path, why: object) -> OperatorError:
    words = " ".join(str(why).split())
    return OperatorError(f"{path} is damaged ({words}). Run its recipe again, and its stage makes it again.")


_KINDS = {kind.__name__: kind for kind in _SCHEMAS}


def read_records(path: Path) -> Iterator[Any]:
    """The records of one Parquet file that `write_records` wrote, a batch in memory at a time; checked against its
    done-marker before the first is given (hashing is far cheaper than decoding)."""
    check_shard(path)
    try:
        file = pq.ParquetFile(path)
        kind = _KINDS[(file.schema_arrow.metadata or {})[b"redistill.record"].decode()]
    except (OSError, pa.ArrowInvalid, KeyError) as error:
        raise OperatorError(
            f"{path} is not a record file of redistill ({error}). Name a part-*.parquet of a run."
        ) from error
    with file:
        try:
            for batch in file.iter_batches(batch_size=256):
                for row in batch.to_pylist():
                    yield from_row(kind, row)
        except (OSError, pa.ArrowException, ValueError) as error:
            raise _damaged(path, error) from error
