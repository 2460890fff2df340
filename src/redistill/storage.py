"""Records <-> Parquet shards, done-markers, checksums and the ledger: how a room remembers what it has finished.

A room is a folder. Its work is cut into numbered shards; each shard is written beside, fsynced and renamed, then its
done-marker names every file with its SHA-256. The ledger comes last and holds the accounts of the whole room:

    runs/demo/select/pairs/part-00000.parquet      records, zstd Parquet
    runs/demo/select/dropped/part-00000.parquet    what was turned away, with reasons
    runs/demo/select/part-00000.done               {"fingerprint": ..., "files": {...}, "accounts": {...}}
    runs/demo/select/ledger.json                   {"accounts": {"pairs": {"in": 9, "kept": 7, "dropped": {...}}}}

A fingerprint is a hash of everything the room's result depends on: its settings, its code, the fingerprint of the
room before. Finished with the same fingerprint: not run again. Killed half-way: continues after its last done-marker.
"""

import dataclasses
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from redistill.disk import beside, sha256_file, write_bytes, write_json
from redistill.disk import read_json as read_json
from redistill.disk import read_yaml as read_yaml
from redistill.disk import sweep as sweep
from redistill.errors import OperatorError
from redistill.progress import say
from redistill.records import Candidate, Dropped, Example, Group, Match, Origin, Outcome, Pair, Problem, Trace, Verdict

# --- schemas: one a record, flat where TRL and `datasets` read the file ------------------------------------------

_VERDICT = pa.struct(
    [
        ("name", pa.string()),
        ("outcome", pa.string()),
        ("extracted", pa.string()),
        ("reason", pa.string()),
        ("verifier", pa.string()),
        ("verifier_version", pa.string()),
        ("seconds", pa.float64()),
    ]
)
_TRACE = pa.struct(
    [
        ("id", pa.string()),
        ("completion", pa.string()),
        ("author", pa.string()),
        ("sampling", pa.string()),  # JSON: its keys differ from source to source
        ("finish_reason", pa.string()),
        ("num_tokens", pa.int64()),
        ("verdicts", pa.list_(_VERDICT)),
        ("scores", pa.list_(pa.struct([("name", pa.string()), ("value", pa.float64())]))),
    ]
)
_SPANS = pa.list_(pa.struct([("start", pa.int64()), ("end", pa.int64()), ("weight", pa.float64())]))
_PROBLEM = [(name, pa.string()) for name in ("id", "statement", "answer", "answer_type", "source", "source_row")]
_SCHEMAS: dict[type, pa.Schema] = {
    Group: pa.schema([("problem", pa.struct(_PROBLEM)), ("traces", pa.list_(_TRACE))]),
    Problem: pa.schema(_PROBLEM),
    Example: pa.schema([(name, pa.string()) for name in ("problem_id", "trace_id", "prompt", "completion")]),
    Pair: pa.schema(
        [(name, pa.string()) for name in ("problem_id", "prompt", "chosen", "rejected", "chosen_id", "rejected_id")]
        + [("weight", pa.float64()), ("chosen_spans", _SPANS), ("rejected_spans", _SPANS)]
    ),
    Candidate: pa.schema(
        [(name, pa.string()) for name in ("id", "policy", "problem_id", "source", "chosen_id", "rejected_id")]
        + [(name, pa.string()) for name in ("chosen_author", "rejected_author")]
        + [(name, pa.int64()) for name in ("chosen_tokens", "rejected_tokens", "shared_tokens")]
        + [("reason", pa.string())]
    ),
    Dropped: pa.schema([(name, pa.string()) for name in ("id", "room", "reason", "detail")]),
    Origin: pa.schema(
        [(n, pa.string()) for n in ("trace_id", "problem_id", "told_as", "file", "row", "revision", "fate")]
    ),
    Match: pa.schema(
        [(name, pa.string()) for name in ("problem_id", "matched", "action", "how")]
        + [("similarity", pa.float64())]
        + [(name, pa.string()) for name in ("statement", "matched_statement", "span")]
    ),
}


def _clean(text: str) -> str:
    """Parquet text is UTF-8: lone surrogates from broken JSON become "?"."""
    return str(text) if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def to_row(record: Any) -> dict[str, Any]:
    """A record as a plain dict of JSON values, in the layout of its Parquet file."""
    if isinstance(record, Group):
        return {"problem": to_row(record.problem), "traces": [to_row(t) for t in record.traces]}
    if isinstance(record, Trace):
        verdicts = [{"name": _clean(name), **_fields(v)} for name, v in record.verdicts.items()]
        return {
            "id": record.id,
            "completion": _clean(record.completion),
            "author": _clean(record.author),
            "sampling": json.dumps(dict(record.sampling), sort_keys=True),
            "finish_reason": record.finish_reason,
            "num_tokens": record.num_tokens,
            "verdicts": verdicts,
            "scores": [{"name": _clean(name), "value": float(value)} for name, value in record.scores.items()],
        }
    if isinstance(record, Pair):
        spans = {name: [dict(zip(_SPAN, span)) for span in getattr(record, name)] for name in _SPANNED}
        return {**_fields(record), **spans}
    return _fields(record)


_SPANNED, _SPAN = ("chosen_spans", "rejected_spans"), ("start", "end", "weight")


def _fields(record: Any) -> dict[str, Any]:
    """A flat record's fields, text made storable; `dataclasses.asdict` copies deeply and is ten times slower."""
    values = ((f.name, getattr(record, f.name)) for f in dataclasses.fields(record))
    return {name: _clean(value) if isinstance(value, str) else value for name, value in values}


def from_row(kind: type, row: Mapping[str, Any]) -> Any:
    """The record of `kind` that `to_row` made this row from."""
    if kind is Group:
        return Group(Problem(**row["problem"]), tuple(from_row(Trace, t) for t in row["traces"]))
    if kind is Trace:
        verdicts = {v["name"]: from_row(Verdict, v) for v in row["verdicts"] or ()}
        scores = {s["name"]: s["value"] for s in row["scores"] or ()}
        return Trace(**{**row, "sampling": json.loads(row["sampling"]), "verdicts": verdicts, "scores": scores})
    if kind is Verdict:
        fields = {k: v for k, v in row.items() if k != "name"}
        return Verdict(**{**fields, "outcome": Outcome(row["outcome"])})
    if kind is Pair:
        spans = {name: tuple(tuple(span[key] for key in _SPAN) for span in row.get(name) or ()) for name in _SPANNED}
        return Pair(**{**row, **spans})
    return kind(**row)


# --- files ------------------------------------------------------------------------------------------------------


def fingerprint(*parts: Any) -> str:
    """A hash of JSON-able values, keys sorted: equal for equal content."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:24]


def code_fingerprint(*modules: str) -> str:
    """A hash of the source of the named files and folders of this package (`verify`, `records.py`): the code version."""
    root = Path(__file__).parent
    files = sorted(p for m in modules for p in ([root / m] if m.endswith(".py") else sorted((root / m).rglob("*.py"))))
    return fingerprint([(str(p.relative_to(root)), sha256_file(p)) for p in files])


def write_records(path: Path, kind: type, records: Iterable[Any]) -> int:
    """Write records of one kind as zstd Parquet, 1,000 a row group; returns how many. Written beside, then renamed."""
    schema = _SCHEMAS[kind].with_metadata({"redistill.record": kind.__name__})
    count = 0
    with beside(path) as part, pq.ParquetWriter(part, schema, compression="zstd") as writer:
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
    return OperatorError(f"{path} is damaged ({words}). Run its recipe again, and its room makes it again.")


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


# --- accounts: in = kept + sum(dropped) ------------------------------------------------------------------------


@dataclass(slots=True)
class Account:
    """One line of the funnel: how many of a `unit` came in, were kept, and were dropped for which reason."""

    unit: str
    came_in: int = 0
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)

    def keep(self) -> None:
        """One came in and stays."""
        self.came_in += 1
        self.kept += 1

    def drop(self, reason: str) -> None:
        """One came in and is turned away."""
        self.came_in += 1
        self.dropped[reason] += 1

    def add(self, other: "Account") -> None:
        """Sum another shard's account of the same name into this one."""
        self.came_in += other.came_in
        self.kept += other.kept
        self.dropped.update(other.dropped)

    def check(self, name: str) -> None:
        """AssertionError when a record got lost: that is a bug of ours."""
        total = self.kept + sum(self.dropped.values())
        assert self.came_in == total, f"account {name}: {self.came_in} in, {total} kept or dropped"

    def to_json(self) -> dict[str, Any]:
        """The ledger's form; reasons by falling count, then name."""
        reasons = dict(sorted(self.dropped.items(), key=lambda item: (-item[1], item[0])))
        return {"unit": self.unit, "in": self.came_in, "kept": self.kept, "dropped": reasons}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Account":
        """The account `to_json` wrote."""
        return cls(value["unit"], value["in"], value["kept"], Counter(value["dropped"]))


def set_stamp(folder: Path, fingerprint: str) -> None:
    """Have the folder's stamp say what its ledger says; a harmed one would empty the folder at its next change."""
    stamp = folder / "fingerprint"
    if not stamp.exists() or stamp.read_bytes() != fingerprint.encode():
        write_bytes(stamp, fingerprint.encode())


# --- the room -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Shard:
    """What one shard made: records by stream (`pairs`), accounts by name, and tallies (`outcomes` -> word -> count)."""

    records: dict[str, tuple[type, Iterable[Any]]]
    accounts: dict[str, Account] = field(default_factory=dict)
    dropped: Iterable[Dropped] = ()
    tallies: dict[str, Counter[str]] = field(default_factory=dict)


class Room:
    """A room's folder: which shards are finished, and the ledger once all are.

    `fingerprint` decides whether what lies there still counts; anything made under another fingerprint is removed by
    `open`. `describe` is stored in the ledger for people to read.
    """

    def __init__(self, folder: Path, fingerprint: str, describe: Mapping[str, Any] | None = None) -> None:
        self.folder, self.fingerprint, self.describe = folder, fingerprint, dict(describe or {})

    @property
    def ledger_path(self) -> Path:
        return self.folder / "ledger.json"

    def is_finished(self) -> bool:
        """True when the ledger is there, belongs to this fingerprint and every file it names still has its checksum.

        Damage is named in a line, and the ledger that vouched for the damaged file is removed: the room makes it again.
        """
        ledger = self._vouched(self.ledger_path)
        if ledger is None or ledger.get("fingerprint") != self.fingerprint or not self._holds(self.ledger_path, ledger):
            return False
        if any(self._vouched(self.marker(index)) is None for index in range(ledger["num_shards"])):
            self.ledger_path.unlink()
            return False
        set_stamp(self.folder, self.fingerprint)
        return True

    def _vouched(self, path: Path) -> dict[str, Any] | None:
        """A ledger or marker; None where there is none or it is damaged, which is said, and the file removed."""
        if not path.exists():
            return None
        try:
            return read_json(path)
        except OperatorError:
            say(f"damaged  {path}: it is made again")
            path.unlink()
            return None

    def _holds(self, path: Path, vouched: Mapping[str, Any]) -> bool:
        """True when every file that the ledger or marker at `path` names has its checksum; else it is no longer true."""
        for name, facts in vouched["files"].items():
            if not (self.folder / name).exists() or sha256_file(self.folder / name) != facts["sha256"]:
                say(f"damaged  {self.folder / name}: it is made again")
                path.unlink()
                return False
        return True

    def open(self) -> None:
        """Make the folder ready for work: keep finished shards of this fingerprint, remove all else."""
        stamp = self.folder / "fingerprint"
        if self.folder.exists() and (not stamp.exists() or stamp.read_bytes() != self.fingerprint.encode()):
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        if not stamp.exists():
            write_bytes(stamp, self.fingerprint.encode())
        self.ledger_path.unlink(missing_ok=True)

    def forget(self) -> None:
        """Remove everything this room has made."""
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def marker(self, index: int) -> Path:
        return self.folder / f"part-{index:05d}.done"

    def is_done(self, index: int) -> bool:
        """True when this shard's marker is there and its files have their checksums; a damaged shard is not done."""
        marker = self._vouched(self.marker(index))
        return marker is not None and self._holds(self.marker(index), marker)

    def finish_shard(self, index: int, shard: Shard) -> None:
        """Write the shard's files, check its accounts, then set its done-marker."""
        for name, account in shard.accounts.items():
            account.check(f"{self.folder.name}/{name}")
        files: dict[str, Any] = {}
        streams = {**shard.records, "dropped": (Dropped, shard.dropped)}
        for stream, (kind, records) in streams.items():
            relative = f"{stream}/part-{index:05d}.parquet"
            rows = write_records(self.folder / relative, kind, records)
            files[relative] = {"sha256": sha256_file(self.folder / relative), "rows": rows}
        marker = {
            "files": files,
            "accounts": {name: account.to_json() for name, account in shard.accounts.items()},
            "tallies": {name: dict(sorted(tally.items())) for name, tally in shard.tallies.items()},
        }
        write_json(self.marker(index), marker)

    def finish(self, num_shards: int, **facts: Any) -> dict[str, Any]:
        """Sum the shards' accounts and tallies, assert that nothing was lost, write the ledger and return it."""
        accounts: dict[str, Account] = {}
        tallies: dict[str, Counter[str]] = {}
        files: dict[str, Any] = {}
        for index in range(num_shards):
            marker = read_json(self.marker(index))
            files.update(marker["files"])
            for name, value in marker["accounts"].items():
                account = Account.from_json(value)
                accounts.setdefault(name, Account(account.unit)).add(account)
            for name, tally in marker["tallies"].items():
                tallies.setdefault(name, Counter()).update(tally)
        for name, account in accounts.items():
            account.check(f"{self.folder.name}/{name}")
        ledger = {
            "room": self.folder.name,
            "fingerprint": self.fingerprint,
            "describe": self.describe,
            "accounts": {name: account.to_json() for name, account in accounts.items()},
            "tallies": {name: dict(sorted(tally.items())) for name, tally in tallies.items()},
            "num_shards": num_shards,
            "files": files,
            **facts,
        }
        write_json(self.ledger_path, ledger)
        return ledger

    def ledger(self) -> dict[str, Any]:
        """The ledger of a finished room."""
        return read_json(self.ledger_path)

    def shard_files(self, stream: str) -> list[Path]:
        """The Parquet files of one stream, in shard order."""
        return sorted((self.folder / stream).glob("part-*.parquet"))

    def read(self, stream: str) -> Iterator[Any]:
        """All records of one stream, in shard order."""
        for path in self.shard_files(stream):
            yield from read_records(path)
