"""A stage's folder: shards with done-markers, checksums and a ledger, so that a finished shard is never made twice.

A stage's work is cut into numbered shards; each is written to a temporary file, fsynced and renamed, then its
done-marker names every file with its SHA-256. The ledger comes last and holds the accounts of the whole stage:

    runs/demo/select/pairs/part-00000.parquet      records, zstd Parquet
    runs/demo/select/dropped/part-00000.parquet    what was filtered out, with reasons
    runs/demo/select/groups/part-00000.parquet     what select adds to the groups of the stage before (joined.py)
    runs/demo/select/part-00000.done               {"files": {...}, "accounts": {...}}
    runs/demo/select/ledger.json                   {"accounts": {"pairs": {"in": 9, "kept": 7, "dropped": {...}}}}

Finished with the same fingerprint: not run again. Killed half-way: continues after its last done-marker.
"""

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redistill.errors import OperatorError
from redistill.io.atomic import read_json, sha256_file, write_bytes, write_json
from redistill.io.joined import Base
from redistill.io.parquet import read_records, read_without_text, write_records
from redistill.io.progress import say
from redistill.records import Dropped, Group

LAYOUT_FILE = "layout.json"
LAYOUT_VERSION = 3  # 2: verify, score and select wrote every text again; read as it stands


def check_layout(folder: Path) -> None:
    """OperatorError for a run's folder that a version from before layout 2 laid out: its stages have no keys, so nothing there can
    be trusted to be what a recipe asks for; and for one of a later version than this."""
    if (folder / "recipe.yaml").exists() and not (folder / LAYOUT_FILE).exists():
        raise OperatorError(
            f"{folder} was made by an older version of redistill, whose layout is not supported; use that version, or "
            f"run the recipe again under another --name."
        )
    written = read_json(folder / LAYOUT_FILE) if (folder / LAYOUT_FILE).exists() else {}
    layout = written.get("layout", LAYOUT_VERSION)
    if layout > LAYOUT_VERSION:
        raise OperatorError(
            f"{folder} was made by a later version of redistill (layout {layout}; this one reads up to {LAYOUT_VERSION}); install that "
            "version to read it."
        )


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
        """One came in and is dropped."""
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
    """Have the folder's stamp say what its ledger says; a damaged one would empty the folder at its next change."""
    stamp = folder / "fingerprint"
    if not stamp.exists() or stamp.read_bytes() != fingerprint.encode():
        write_bytes(stamp, fingerprint.encode())


# --- the stage -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Shard:
    """What one shard made: records by stream (`pairs`), accounts by name, and tallies (`outcomes` -> word -> count)."""

    records: dict[str, tuple[type, Iterable[Any]]]
    accounts: dict[str, Account] = field(default_factory=dict)
    dropped: Iterable[Dropped] = ()
    tallies: dict[str, Counter[str]] = field(default_factory=dict)


class StageFolder:
    """A stage's folder: which shards are finished, and the ledger once all are.

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

        Damage is named in a line, and the ledger that vouched for the damaged file is removed: the stage makes it again.
        """
        ledger = self._verify_checksums(self.ledger_path)
        if ledger is None or ledger.get("fingerprint") != self.fingerprint or not self._holds(self.ledger_path, ledger):
            return False
        if any(self._verify_checksums(self.marker(index)) is None for index in range(ledger["num_shards"])):
            self.ledger_path.unlink()
            return False
        set_stamp(self.folder, self.fingerprint)
        return True

    def _verify_checksums(self, path: Path) -> dict[str, Any] | None:
        """A ledger or marker; None where there is none or it is damaged, which is said, and the file removed."""
        if not path.exists():
            return None
        try:
            return read_json(path)
        except OperatorError:
            say(f"corrupt  {path}: rebuilding it")
            path.unlink()
            return None

    def _holds(self, path: Path, vouched: Mapping[str, Any]) -> bool:
        """True when every file that the ledger or marker at `path` names has its checksum; else it is no longer true."""
        for name, entry in vouched["files"].items():
            if not (self.folder / name).exists() or sha256_file(self.folder / name) != entry["sha256"]:
                say(f"corrupt  {self.folder / name}: rebuilding it")
                path.unlink()
                return False
        return True

    def open(self) -> None:
        """Make the folder ready for work: keep finished shards of this fingerprint, remove all else."""
        stamp = self.folder / "fingerprint"
        if self.folder.exists() and (not stamp.exists() or stamp.read_bytes() != self.fingerprint.encode()):
            shutil.rmtree(self.folder)
        if not stamp.exists():
            write_bytes(stamp, self.fingerprint.encode())
        self.ledger_path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove everything this stage has made; its key stays."""
        for path in self.folder.iterdir() if self.folder.exists() else ():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name not in ("fingerprint", "key.json"):
                path.unlink()

    def marker(self, index: int) -> Path:
        return self.folder / f"part-{index:05d}.done"

    def is_done(self, index: int) -> bool:
        """True when this shard's marker is there and its files have their checksums; a damaged shard is not done."""
        marker = self._verify_checksums(self.marker(index))
        return marker is not None and self._holds(self.marker(index), marker)

    def finish_shard(
        self, index: int, shard: Shard, *, base: Base | None = None, before: Sequence[Group] | None = None
    ) -> None:
        """Write the shard's files, check its accounts, then set its done-marker. base: the file whose groups the shard's add to, so
        that only what they add is written; before: its groups, where they are at hand."""
        for name, account in shard.accounts.items():
            account.check(f"{self.folder.name}/{name}")
        files: dict[str, Any] = {}
        streams = {**shard.records, "dropped": (Dropped, shard.dropped)}
        for stream, (kind, records) in streams.items():
            relative = f"{stream}/part-{index:05d}.parquet"
            added: dict[str, Any] = {"base": base, "before": before} if stream == "groups" else {}
            rows = write_records(self.folder / relative, kind, records, **added)
            files[relative] = {"sha256": sha256_file(self.folder / relative), "rows": rows}
        marker = {
            "files": files,
            "accounts": {name: account.to_json() for name, account in shard.accounts.items()},
            "tallies": {name: dict(sorted(tally.items())) for name, tally in shard.tallies.items()},
        }
        write_json(self.marker(index), marker)

    def finish(self, num_shards: int, **fields: Any) -> dict[str, Any]:
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
            "stage": self.folder.name,
            "fingerprint": self.fingerprint,
            "describe": self.describe,
            "accounts": {name: account.to_json() for name, account in accounts.items()},
            "tallies": {name: dict(sorted(tally.items())) for name, tally in tallies.items()},
            "num_shards": num_shards,
            "files": files,
            **fields,
        }
        write_json(self.ledger_path, ledger)
        return ledger

    def ledger(self) -> dict[str, Any]:
        """The ledger of a finished stage."""
        return read_json(self.ledger_path)

    def shard_files(self, stream: str) -> list[Path]:
        """The Parquet files of one stream, in shard order."""
        return sorted((self.folder / stream).glob("part-*.parquet"))

    def read(self, stream: str) -> Iterator[Any]:
        """All records of one stream, in shard order."""
        for path in self.shard_files(stream):
            yield from read_records(path)

    def read_without_text(self, stream: str) -> Iterator[Group]:
        """The groups of one stream, in shard order, with empty statements and completions: those stay on the disk."""
        for path in self.shard_files(stream):
            yield from read_without_text(path)
