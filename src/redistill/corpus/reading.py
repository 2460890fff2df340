"""The first pass over the input: the rows of the sources, parted by problem id into one file per shard and task.

for task in reading_tasks(sources): read_into(shuffle, None, task)    # 00003/00000.zst ... and reading-00000.json
"""

import functools
import heapq
import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from redistill.corpus import relate
from redistill.corpus.sources.files import resolve
from redistill.corpus.sources.formats import TEXT_SUFFIXES
from redistill.corpus.sources.rows import LostTrace, taking_notes
from redistill.errors import OperatorError
from redistill.io.atomic import find_corrupt, read_json, sums_of, write_json, writing
from redistill.io.images import ImageStore, storing_images
from redistill.io.progress import say
from redistill.io.schemas import to_row
from redistill.io.stage_folder import StageFolder
from redistill.io.stores import address_of
from redistill.records import Dropped, Group, Problem, Trace, content_id

Source = Callable[[], Iterator[Group | Dropped]]

BUFFER_BYTES = 32 * 2**20  # of rows held back while spilling
MAX_READINGS = 64  # tasks of the first pass: each makes a file in every shard's folder
_COMPRESSION_RATIO = 5  # text against gzip, zstd or Parquet: a rough figure that only sets the number of shards


@dataclass(frozen=True, slots=True)
class ShuffleSettings:
    """What the files between the passes depend on beside the input: if it changes, they and all shards are made again."""

    num_shards: int
    seed: int
    max_problems: int | None
    max_chars: int
    readings: int


@dataclass(frozen=True, slots=True)
class Shuffle:
    """The folder between the two passes: a folder per shard with its rows, and a summary per task of the first pass."""

    folder: Path
    settings: ShuffleSettings

    def open(self, stage_dir: StageFolder) -> None:
        """Keep what is there, or empty it together with the stage's shards where those were cut otherwise."""
        path, wanted = self.folder / "settings.json", asdict(self.settings)
        if not path.exists() or read_json(path) != wanted:
            stage_dir.clear()
            stage_dir.open()
            write_json(path, wanted)

    def shard(self, index: int) -> Path:
        """The folder of a shard's rows."""
        return self.folder / f"{index:05d}"

    def shard_of(self, problem_id: str) -> int:
        """The shard to which a problem belongs: shards are ranges of the id."""
        return int(problem_id[1:], 16) * self.settings.num_shards >> 64

    def summary(self, index: int) -> Path:
        """The file that a finished reading leaves: how many rows it kept and dropped, and its smallest selection keys."""
        return self.folder / f"reading-{index:05d}.json"

    def is_whole(self, stamp: Path) -> bool:
        """True when the task that leaves this stamp is finished and its files are what it wrote; damage is said, and done again."""
        if not stamp.exists():
            return False
        try:
            name = find_corrupt(self.folder, read_json(stamp)["files"])
        except OperatorError:
            name = stamp.name
        if name is None:
            return True
        say(f"corrupt  {self.folder / name}: rebuilding it")
        stamp.unlink()
        return False


@dataclass(frozen=True, slots=True)
class Admission:
    """Which problems are kept: those whose hash of (seed, id) is at most `largest`, all where it is None."""

    seed: int
    largest: int | None

    def __call__(self, problem_id: str) -> bool:
        return self.largest is None or selection_key(self.seed, problem_id) <= self.largest


def selection_key(seed: int, problem_id: str) -> int:
    """The number by which max_problems chooses, whatever the order in which problems come."""
    return int(content_id("", str(seed), problem_id), 16)


@dataclass(frozen=True, slots=True)
class IngestTask:
    """One task of the first pass: sources, each of them whole or a file of one, read one after the other."""

    index: int
    sources: tuple[Source, ...]
    size_bytes: int  # of their files, uncompressed, roughly


def reading_tasks(sources: Sequence[Source]) -> list[IngestTask]:
    """The sources file by file and in their order, cut into at most MAX_READINGS tasks of about the same size."""
    pieces: list[tuple[Source, int]] = []
    for source in sources:
        options = getattr(source, "keywords", {})
        if not isinstance(source, functools.partial) or "path" not in options:
            pieces.append((source, 0))
            continue
        for file in resolve(options["path"], options.get("revision"), options.get("split")):
            size = file.stat().st_size * (1 if file.suffix in TEXT_SUFFIXES else _COMPRESSION_RATIO)
            pieces.append((functools.partial(source, path=str(file.absolute())), size))
    total, before = sum(size for _, size in pieces), 0
    tasks: defaultdict[int, list[tuple[Source, int]]] = defaultdict(list)
    for place, (source, size) in enumerate(pieces):
        tasks[place if len(pieces) <= MAX_READINGS else before * MAX_READINGS // (total + 1)].append((source, size))
        before += size
    return [
        IngestTask(index, tuple(source for source, _ in task), sum(size for _, size in task))
        for index, task in enumerate(tasks.values())
    ]


def read_into(
    shuffle: Shuffle, images: ImageStore | None, reading: IngestTask, tick: Callable[[int], Any] | None = None
) -> None:
    """Write every row of the reading to its shard's folder, then the reading's summary.

    A line is {"id": the problem's, "file": path, "row": "file:row", "reason": word or null, "detail": a sentence on it,
    "dropped": [[trace id, reason, sentence], ...], "group": row or null}; beside it stands what relate.py needs of the row.
    images: where the images of the rows are kept, None: they stay where they are. tick: hears of every row.
    """
    settings, name = shuffle.settings, f"{reading.index:05d}"
    for half in shuffle.folder.glob(f"*/{name}.*"):  # of a reading that was cut short
        half.unlink()
    smallest, ledger = _TopK(settings.max_problems), _Books()
    held_bytes = 0
    held: defaultdict[str, list[bytes]] = defaultdict(list)
    with taking_notes() as notes, storing_images(images):
        for path, item in itertools.chain.from_iterable(map(_with_file, reading.sources)):
            row = _row_of(
                item, notes.lost, settings.max_chars, lambda id: smallest.admits(selection_key(settings.seed, id))
            )
            notes.lost.clear()
            if tick:
                tick(1)
            ledger.enter(path, row)
            place = f"{shuffle.shard_of(row.id):05d}/{name}"
            if row.problem is not None:
                held[f"{place}.statements"].append(relate.statement_line(row.problem))
            line = row.line(path)
            held[f"{place}.zst"].append(line)
            held_bytes += len(line)
            if held_bytes > BUFFER_BYTES:
                _append(shuffle, held)
                held_bytes = 0
    _append(shuffle, held)
    files = sums_of(shuffle.folder, shuffle.folder.glob(f"*/{name}.*"))
    summary = {"keys": sorted(smallest.members), "unread": notes.unread, "files": files}
    write_json(shuffle.summary(reading.index), {**ledger.to_json(), **summary})


@dataclass(frozen=True, slots=True)
class _SpilledRow:
    """A row as the first pass writes it down: whose it is, and its problem with the traces that stay, or why there is none."""

    id: str  # of its problem
    place: str  # "file:row"
    reason: str | None = None
    detail: str = ""
    dropped: Sequence[tuple[str, str, str]] = ()  # (trace id, reason, sentence)
    problem: Problem | None = None
    traces: tuple[Trace, ...] = ()
    unreadable: bool = False  # its source dropped it

    def line(self, path: str) -> bytes:
        """Its line in the shuffle; see read_into."""
        fields = {
            "id": self.id,
            "file": path,
            "row": self.place,
            "reason": self.reason,
            "detail": self.detail,
            "dropped": self.dropped,
            "group": None if self.problem is None else to_row(Group(self.problem, self.traces)),
        }
        return json.dumps(fields).encode() + b"\n"


def _row_of(
    item: Group | Dropped, lost: Sequence[LostTrace], max_chars: int, admits: Callable[[str], bool]
) -> _SpilledRow:
    """What becomes of a row. lost: traces that its source could not read; admits: whether a problem is among the smallest so far."""
    if isinstance(item, Dropped):
        return _SpilledRow(content_id("p", item.id), item.id, item.reason, item.detail, unreadable=True)
    problem, place = item.problem, item.problem.source_row
    traces, dropped = _usable(item.traces, max_chars)
    dropped += [(one.id, one.reason, one.detail) for one in lost]
    if item.traces and not traces:
        return _SpilledRow(problem.id, place, "no_generations", "", dropped)
    if len(problem.statement) > max_chars:
        reason, detail = "problem_too_long", f"{len(problem.statement):,} characters"
    elif not admits(problem.id):
        reason, detail = "beyond_max_problems", ""  # decided already: its text need not be carried further
    else:
        return _SpilledRow(problem.id, place, None, "", dropped, problem, traces)
    return _SpilledRow(problem.id, place, reason, detail, [*dropped, *((trace.id, reason, "") for trace in traces)])


def _usable(traces: Sequence[Trace], max_chars: int) -> tuple[tuple[Trace, ...], list[tuple[str, str, str]]]:
    """The traces that hold text and at most `max_chars` characters of it, and (id, reason, detail) of the others."""
    kept: list[Trace] = []
    dropped: list[tuple[str, str, str]] = []
    for trace in traces:
        if not trace.completion.strip():
            dropped.append((trace.id, "empty_completion", ""))
        elif len(trace.completion) > max_chars:
            dropped.append((trace.id, "trace_too_long", f"{len(trace.completion):,} characters"))
        else:
            kept.append(trace)
    return tuple(kept), dropped


class _Books:
    """How many rows of a reading were kept and dropped, in all and by file, with an example of each reason."""

    def __init__(self) -> None:
        self.kept = 0
        self.reasons: Counter[str] = Counter()
        self.examples: dict[str, str] = {}  # of rows that the source could not read
        self.files: dict[str, dict[str, Any]] = {}

    def enter(self, path: str, row: _SpilledRow) -> None:
        """Count a row of the file at `path`."""
        file = self.files.setdefault(path, {"rows": 0, "kept": 0, "dropped": {}, "example": ""})
        file["rows"] += 1
        if row.reason is None:
            self.kept += 1
            file["kept"] += 1
            return
        example = f"{row.place}: {row.detail}" if row.detail else row.place
        self.reasons[row.reason] += 1
        file["dropped"][row.reason] = file["dropped"].get(row.reason, 0) + 1
        file["example"] = file["example"] or example
        if row.unreadable:
            self.examples.setdefault(row.reason, example)

    def to_json(self) -> dict[str, Any]:
        """Its part of the reading's summary."""
        return {"kept": self.kept, "dropped": self.reasons, "examples": self.examples, "read": self.files}


def _with_file(source: Source) -> Iterator[tuple[str, Group | Dropped]]:
    """The source's items, each with the path or address of the file it comes from, "" where the source reads none."""
    path = getattr(source, "keywords", {}).get("path", "")
    return zip(itertools.repeat(address_of(path) if path else ""), source())


def _append(shuffle: Shuffle, held: defaultdict[str, list[bytes]]) -> None:
    """Append the held lines to their files, a zstd frame each: no file stays open, so their number has no bound."""
    for name, lines in held.items():
        path = shuffle.folder / name
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        with writing(path), open(path, "ab") as file:
            file.write(relate.frame(lines))
    held.clear()


class _TopK:
    """The `count` smallest distinct keys seen so far, or all where count is None; memory of that many keys."""

    def __init__(self, count: int | None) -> None:
        self.count, self.heap, self.members = count, list[int](), set[int]()

    @property
    def largest(self) -> int | None:
        """The largest key that still belongs, None while any still fits."""
        return -self.heap[0] if self.count is not None and len(self.heap) == self.count else None

    def admits(self, key: int) -> bool:
        """Take the key in if it is small enough; whether it is in."""
        if self.count is None or key in self.members:
            return True
        if self.largest is None:
            heapq.heappush(self.heap, -key)
        elif key < self.largest:
            self.members.discard(-heapq.heapreplace(self.heap, -key))
        else:
            return False
        self.members.add(key)
        return True
