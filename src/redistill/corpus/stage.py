"""Many sources -> one stream of Groups, sorted by problem id, in shards: merged, deduplicated, every loss counted.

    collect(stage_dir, [source, ...], seed=0, num_shards=None, max_problems=None)  ->  the stage's ledger
    runs/demo/corpus/groups/part-00000.parquet, ...      accounts "rows" (in rows) and "traces" (in traces)

Two passes, because the input may be far larger than memory; both are maps, which an executor may spread over processes.
The first (shuffle) reads the sources, some files a task, and parts their rows by problem id into one file a shard and
task; the second (merge, shard.py) holds one shard at a time. Between them relate.py finds out which problems are
near-duplicates and which are a benchmark's. Killed, either goes on after its last finished task. Shards are
ranges of the id, a hash, so they are even, and the problems come out in the same order whatever num_shards is.
"""

import functools
import heapq
import itertools
import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from redistill.corpus import relate
from redistill.corpus.decontaminate import Benchmarks
from redistill.corpus.shard import merge_shard
from redistill.corpus.sources.files import note_on, resolve
from redistill.corpus.sources.formats import TEXT_SUFFIXES
from redistill.corpus.sources.rows import LostTrace, taking_notes
from redistill.errors import OperatorError
from redistill.io.atomic import find_corrupt, read_json, sums_of, write_json, writing
from redistill.io.executors import Executor, LocalProcesses, Reads
from redistill.io.images import ImageStore, storing_images
from redistill.io.progress import say
from redistill.io.schemas import to_row
from redistill.io.stage_folder import StageFolder
from redistill.io.stores import address_of
from redistill.records import Dropped, Group, Problem, Trace, content_id

Source = Callable[[], Iterator[Group | Dropped]]

SHARD_BYTES = 16 * 2**20  # of uncompressed input a shard; merging one holds a few times as much
BUFFER_BYTES = 32 * 2**20  # of rows held back while spilling
MAX_NAMED = 12  # columns named on the screen; the ledger has all
MAX_READINGS = 64  # tasks of the first pass: each makes a file in every shard's folder
_COMPRESSION_RATIO = 5  # text against gzip, zstd or Parquet: a rough figure that only sets the number of shards


def collect(
    stage_dir: StageFolder,
    sources: Sequence[Source],
    *,
    seed: int,
    num_shards: int | None,
    max_problems: int | None,
    max_chars: int = 1_000_000,
    benchmarks: Benchmarks | None = None,
    leaks: Literal["remove", "report"] = "remove",
    near: relate.Near = "report",
    near_threshold: float = 0.8,
    executor: Executor | None = None,
    progress: Callable[..., AbstractContextManager[Any]] | None = None,
    images: ImageStore | None = None,
) -> dict[str, Any]:
    """Read all sources into the opened stage and return its ledger.

    Rows of the same problem become one Group, its traces in the order of the sources. `seed` and `max_problems`: keep the
    problems with the smallest hash of (seed, id), whatever the order they come in. max_chars: longer statements and traces
    are dropped, so that one row of a damaged file cannot take the memory of this and every later stage. num_shards None: from the size of the
    input, at least 4. benchmarks, leaks: whose problems are looked for, and whether they are removed. near,
    near_threshold: what is done with problems stated again in other words (relate.py). executor: where all passes are done,
    by default in this process. progress: makes a bar, once for each pass, from a `unit` and, where they are known, a
    `total` and an `initial` count. images: where the images of the rows are kept; None: they are named and stay where they are.

    A row may hold a problem and no trace (source `problems`); `no_generations` is one whose traces are all empty.

    Reasons: the sources' own; `no_generations`, `conflicting_answer`, `in_benchmark`, `beyond_max_problems`, `problem_too_long` for
    a row and all its traces; `empty_completion`, `trace_too_long`, `duplicate_trace` for a trace; `same_problem` for a problem that was merged into
    another. Beside `groups`: `origins` (the rows of every trace), `merges` and `leaks`. Columns that rows have and their
    source does not read are said, and stand in the ledger as `unread_columns`, name -> rows. OperatorError when no row
    at all can be read.
    """
    for source in sources:
        if note := note_on(getattr(source, "keywords", {})):
            say(f"corpus   {note}")
    readings = _readings(sources)
    size_bytes = sum(reading.size_bytes for reading in readings)
    num_shards = num_shards or max(4, -(-size_bytes // SHARD_BYTES))
    bars: Callable[..., AbstractContextManager[Any]] = progress or (lambda **_: nullcontext(_Silent()))
    passes = _Passes(executor or LocalProcesses(1), bars, size_bytes)
    shuffle = _open_shuffle(
        stage_dir,
        {
            "num_shards": num_shards,
            "seed": seed,
            "max_problems": max_problems,
            "max_chars": max_chars,
            "readings": len(readings),
        },
    )
    work = functools.partial(_shuffle, shuffle, num_shards, seed, max_problems, max_chars, images)
    summaries = _read_all(shuffle, readings, work, passes, functools.partial(_source_files, images is not None))
    largest = _largest(summaries, max_problems)
    lying = functools.partial(_lying_between, shuffle)
    for line in _fruitless(summaries):
        say(f"corpus   {line}")
    if not _is_whole(shuffle, shuffle / "related.json"):
        admitted = functools.partial(_admitted, seed, largest)
        sign = functools.partial(_sign, shuffle, benchmarks, admitted, leaks, images is not None)
        passes.over("shard", sign, range(num_shards), num_shards, functools.partial(lying, ("*.statements",)))
        _relate(shuffle, num_shards, near, near_threshold, passes)
    merge = functools.partial(_merge_into, stage_dir, shuffle, seed, largest)
    left = [index for index in range(num_shards) if not stage_dir.is_done(index)]
    passes.over("shard", merge, left, num_shards, functools.partial(lying, ("*.zst", "*.json")))
    ledger = stage_dir.finish(num_shards, **_unread(summaries))
    remove_shuffle(stage_dir)  # only now: finished shards without their shuffle could not be trusted to be of one cut
    return ledger


@dataclass(frozen=True, slots=True)
class _Passes:
    """Where the passes over the input are done, and who hears how far they are."""

    executor: Executor
    bars: Callable[..., AbstractContextManager[Any]]
    size_bytes: int  # of the input

    def over(self, unit: str, work: Callable[[Any], Any], tasks: Sequence[Any], total: int, reads: Reads) -> None:
        """Do the tasks that are left of `total`, in any order. reads: the files of a task."""
        with self.bars(unit=unit, total=total, initial=total - len(tasks)) as bar:
            for _ in self.executor.map(work, tasks, label="corpus", size_bytes=self.size_bytes, reads=reads):
                bar.update(1)


def _open_shuffle(stage_dir: StageFolder, settings: Mapping[str, Any]) -> Path:
    """The folder of what lies between the passes, emptied together with all shards where those were cut otherwise."""
    shuffle = stage_dir.folder / "shuffle"
    if not (shuffle / "settings.json").exists() or read_json(shuffle / "settings.json") != settings:
        stage_dir.clear()
        stage_dir.open()
        write_json(shuffle / "settings.json", settings)
    return shuffle


def _read_all(
    shuffle: Path, readings: Sequence["IngestTask"], work: Callable[..., None], passes: _Passes, reads: Reads
) -> list[dict[str, Any]]:
    """The first pass: every reading that is not whole is read again; the summaries of all."""
    unread = [reading for reading in readings if not _is_whole(shuffle, _summary(shuffle, reading.index))]
    if unread:
        (shuffle / "related.json").unlink(missing_ok=True)
    if passes.executor.spreads(len(unread), passes.size_bytes):
        passes.over("file", work, unread, len(readings), reads)
    else:
        with passes.bars(unit="row") as bar:
            for reading in unread:
                work(reading, tick=bar.update)
    return [read_json(_summary(shuffle, reading.index)) for reading in readings]


def _relate(shuffle: Path, num_shards: int, near: relate.Near, threshold: float, passes: _Passes) -> None:
    """Find the problems that are stated again, and move the rows of those that are merged into another shard's."""
    moves = relate.relate(shuffle, num_shards, near=near, threshold=threshold)
    move = functools.partial(relate.move, shuffle)
    reads = functools.partial(_lying_between, shuffle, ("[0-9]*.zst", "relations.json"))
    for _ in passes.executor.map(move, list(moves), label="corpus", size_bytes=passes.size_bytes, reads=reads):
        pass
    files = [path for name in ("relations.json", "leaks.json", "moved-*.zst") for path in shuffle.glob(f"*/{name}")]
    write_json(shuffle / "related.json", {"moved": len(moves), "files": sums_of(shuffle, files)})


def _lying_between(shuffle: Path, patterns: Sequence[str], index: int) -> Iterator[Path]:
    """What the second pass, or what comes before it, reads of a shard."""
    return (path for pattern in patterns for path in (shuffle / f"{index:05d}").glob(pattern))


def _source_files(keeps_images: bool, reading: "IngestTask") -> Iterator[Path]:
    """The files of a task of the first pass. OperatorError where rows may name others."""
    for source in reading.sources:
        if path := getattr(source, "keywords", {}).get("path"):
            if keeps_images:
                raise OperatorError(
                    f"corpus: rows of {address_of(path)} may name images by paths, and a node of the Ray cluster that does not see the "
                    "run's folder does not have them; make this stage without the cluster first (--until corpus --executor local)."
                )
            yield Path(path)


def remove_shuffle(stage_dir: StageFolder) -> None:
    """Remove what lies between the passes of a finished stage; a kill may have come after its ledger and before this."""
    shuffle = stage_dir.folder / "shuffle"
    if shuffle.exists():
        (shuffle / "settings.json").unlink(
            missing_ok=True
        )  # first: half a removed shuffle never passes for a whole one
        shutil.rmtree(shuffle)


def _is_whole(shuffle: Path, stamp: Path) -> bool:
    """True when this task of the first pass is finished and its files are what it wrote; damage is said, and done again."""
    if not stamp.exists():
        return False
    try:
        name = find_corrupt(shuffle, read_json(stamp)["files"])
    except OperatorError:
        name = stamp.name
    if name is None:
        return True
    say(f"corrupt  {shuffle / name}: rebuilding it")
    stamp.unlink()
    return False


class _Silent:
    """A bar that nobody sees."""

    def update(self, count: int) -> None:
        """Nothing."""


# --- first pass: rows -> one file a shard and task ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class IngestTask:
    """One task of the first pass: sources, each of them whole or a file of one, read one after the other."""

    index: int
    sources: tuple[Source, ...]
    size_bytes: int  # of their files, uncompressed, roughly


def _readings(sources: Sequence[Source]) -> list[IngestTask]:
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


def _summary(shuffle: Path, index: int) -> Path:
    """The file that a finished reading leaves: how many rows it kept and dropped, and its smallest selection keys."""
    return shuffle / f"reading-{index:05d}.json"


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


def _shuffle(
    shuffle: Path,
    num_shards: int,
    seed: int,
    max_problems: int | None,
    max_chars: int,
    images: ImageStore | None,
    reading: IngestTask,
    tick: Callable[[int], Any] | None = None,
) -> None:
    """Write every row of the reading to its shard's folder, then the reading's summary.

    A line is {"id": the problem's, "file": path, "row": "file:row", "reason": word or null, "detail": a sentence on it,
    "dropped": [[trace id, reason, sentence], ...], "group": row or null}; beside it stands what relate.py needs of the row. tick: hears of every row.
    """
    name = f"{reading.index:05d}"
    for half in shuffle.glob(f"*/{name}.*"):  # of a reading that was cut short
        half.unlink()
    smallest, ledger = _TopK(max_problems), _Books()
    held_bytes = 0
    held: defaultdict[str, list[bytes]] = defaultdict(list)
    with taking_notes() as notes, storing_images(images):
        for path, item in itertools.chain.from_iterable(map(_with_file, reading.sources)):
            row = _row_of(item, notes.lost, max_chars, lambda id: smallest.admits(_selection_key(seed, id)))
            notes.lost.clear()
            if tick:
                tick(1)
            ledger.enter(path, row)
            folder = f"{_bucket(row.id, num_shards):05d}"
            if row.problem is not None:
                held[f"{folder}/{name}.statements"].append(relate.statement_line(row.problem))
            line = row.line(path)
            held[f"{folder}/{name}.zst"].append(line)
            held_bytes += len(line)
            if held_bytes > BUFFER_BYTES:
                _append(shuffle, held)
                held_bytes = 0
    _append(shuffle, held)
    files = sums_of(shuffle, shuffle.glob(f"*/{name}.*"))
    summary = {"keys": sorted(smallest.members), "unread": notes.unread, "files": files}
    write_json(_summary(shuffle, reading.index), {**ledger.to_json(), **summary})


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
        """Its line in the shuffle; see _shuffle."""
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


def _unread(summaries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """{"unread_columns": {name: rows}} by falling count, said in a line; {} where every column was read."""
    total: Counter[str] = Counter()
    for summary in summaries:
        total.update(summary["unread"])
    if not total:
        return {}
    ranked = sorted(total.items(), key=lambda item: (-item[1], item[0]))
    named = ", ".join(f"{name[:60]} ({count:,})" for name, count in ranked[:MAX_NAMED])
    more = f" and {len(ranked) - MAX_NAMED} more" if len(ranked) > MAX_NAMED else ""
    say(f"corpus   columns not read by their source (rows with them): {named}{more}")
    return {"unread_columns": dict(ranked)}


def _fruitless(summaries: Sequence[dict[str, Any]]) -> list[str]:
    """A sentence for each file all of whose rows were dropped as they were read, with the commonest reason and the first row's own
    sentence, which names a missing column; the first MAX_NAMED of them."""
    lines = []
    for path, read in ((path, read) for summary in summaries for path, read in summary["read"].items()):
        if read["kept"] or "beyond_max_problems" in read["dropped"]:
            continue
        reason = max(read["dropped"], key=lambda word: read["dropped"][word])
        lines.append(
            f"warning: all {read['rows']:,} rows of {path or 'a source'} were dropped, most for {reason} ({read['example']})"
        )
    more = (
        [f"warning: and {len(lines) - MAX_NAMED} more files of which no row was kept"] if len(lines) > MAX_NAMED else []
    )
    return lines[:MAX_NAMED] + more


def _largest(summaries: Sequence[dict[str, Any]], max_problems: int | None) -> int | None:
    """The largest selection key to keep, None where all are kept. OperatorError where no row was kept."""
    if not any(summary["kept"] for summary in summaries):
        reasons: Counter[str] = Counter()
        for summary in summaries:
            reasons.update(summary["dropped"])
        examples = {
            reason: example for summary in reversed(summaries) for reason, example in summary["examples"].items()
        }
        said = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
        said += "".join(f" ({examples[reason]})" for reason, _ in reasons.most_common(1) if reason in examples)
        raise OperatorError(
            f"the corpus is empty: {reasons.total()} rows read{f', all dropped: {said}' if said else ''}; check the paths "
            f"and options of corpus.sources."
        )
    if max_problems is None:
        return None
    keys = heapq.nsmallest(max_problems, {key for summary in summaries for key in summary["keys"]})
    return keys[-1] if len(keys) == max_problems else None


def _bucket(problem_id: str, num_shards: int) -> int:
    return int(problem_id[1:], 16) * num_shards >> 64


def _admitted(seed: int, largest: int | None, problem_id: str) -> bool:
    return largest is None or _selection_key(seed, problem_id) <= largest


def _selection_key(seed: int, problem_id: str) -> int:
    return int(content_id("", str(seed), problem_id), 16)


def _with_file(source: Source) -> Iterator[tuple[str, Group | Dropped]]:
    """The source's items, each with the path or address of the file it comes from, "" where the source reads none."""
    path = getattr(source, "keywords", {}).get("path", "")
    return zip(itertools.repeat(address_of(path) if path else ""), source())


def _append(shuffle: Path, held: defaultdict[str, list[bytes]]) -> None:
    """Append the held lines to their files, a zstd frame each: no file stays open, so their number has no bound."""
    for name, lines in held.items():
        path = shuffle / name
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


# --- between and second pass: one folder -> one shard -----------------------------------------------------------------------


def _sign(
    shuffle: Path,
    benchmarks: Benchmarks | None,
    admitted: Callable[[str], bool],
    leaks: Literal["remove", "report"],
    shows_images: bool,
    index: int,
) -> None:
    """Sign one shard's problems."""
    relate.sign(shuffle / f"{index:05d}", benchmarks, admitted, leaks, shows_images)


def _merge_into(stage_dir: StageFolder, shuffle: Path, seed: int, largest: int | None, index: int) -> None:
    """Merge one shard into the stage."""
    stage_dir.finish_shard(index, merge_shard(shuffle / f"{index:05d}", functools.partial(_admitted, seed, largest)))
