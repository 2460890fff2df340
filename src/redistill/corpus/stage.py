"""Many sources -> one stream of Groups, sorted by problem id, in shards: merged, deduplicated, every loss counted.

    collect(stage_dir, [source, ...], seed=0, num_shards=None, max_problems=None)  ->  the stage's ledger
    runs/demo/corpus/groups/part-00000.parquet, ...      accounts "rows" (in rows) and "traces" (in traces)

Two passes, because the input may be far larger than memory; both are maps, which an executor may spread over processes.
The first (shuffle, reading.py) reads the sources, some files a task, and parts their rows by problem id into one file a shard and
task; the second (merge, shard.py) holds one shard at a time. Between them relate.py finds out which problems are
near-duplicates and which are a benchmark's. Killed, either goes on after its last finished task. Shards are
ranges of the id, a hash, so they are even, and the problems come out in the same order whatever num_shards is.
"""

import functools
import heapq
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from redistill.corpus import relate
from redistill.corpus.decontaminate import Benchmarks
from redistill.corpus.reading import Admission, IngestTask, Shuffle, ShuffleSettings, Source, read_into, reading_tasks
from redistill.corpus.shard import merge_shard
from redistill.corpus.sources.files import note_on
from redistill.errors import OperatorError
from redistill.io.atomic import read_json, sums_of, write_json
from redistill.io.executors import Executor, LocalProcesses, Reads
from redistill.io.images import ImageStore
from redistill.io.progress import say
from redistill.io.stage_folder import StageFolder
from redistill.io.stores import address_of

SHARD_BYTES = 16 * 2**20  # of uncompressed input a shard; merging one holds a few times as much
MAX_NAMED = 12  # columns named on the screen; the ledger has all


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
    readings = reading_tasks(sources)
    size_bytes = sum(reading.size_bytes for reading in readings)
    num_shards = num_shards or max(4, -(-size_bytes // SHARD_BYTES))
    bars: Callable[..., AbstractContextManager[Any]] = progress or (lambda **_: nullcontext(_Silent()))
    passes = _Passes(executor or LocalProcesses(1), bars, size_bytes)
    shuffle = Shuffle(
        stage_dir.folder / "shuffle", ShuffleSettings(num_shards, seed, max_problems, max_chars, len(readings))
    )
    shuffle.open(stage_dir)
    summaries = _read_all(shuffle, readings, images, passes)
    admitted = Admission(seed, _largest(summaries, max_problems))
    for line in _fruitless(summaries):
        say(f"corpus   {line}")
    if not shuffle.is_whole(shuffle.folder / "related.json"):
        sign = functools.partial(_sign, shuffle, benchmarks, admitted, leaks, images is not None)
        passes.over("shard", sign, range(num_shards), num_shards, _files_of(shuffle, "*.statements"))
        _relate(shuffle, near, near_threshold, passes)
    merge = functools.partial(_merge_into, stage_dir, shuffle, admitted)
    left = [index for index in range(num_shards) if not stage_dir.is_done(index)]
    passes.over("shard", merge, left, num_shards, _files_of(shuffle, "*.zst", "*.json"))
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


def _read_all(
    shuffle: Shuffle, readings: Sequence[IngestTask], images: ImageStore | None, passes: _Passes
) -> list[dict[str, Any]]:
    """The first pass: every reading that is not whole is read again; the summaries of all."""
    unread = [reading for reading in readings if not shuffle.is_whole(shuffle.summary(reading.index))]
    if unread:
        (shuffle.folder / "related.json").unlink(missing_ok=True)
    read = functools.partial(read_into, shuffle, images)
    if passes.executor.spreads(len(unread), passes.size_bytes):
        files = functools.partial(_source_files, images is not None)
        passes.over("file", read, unread, len(readings), files)
    else:
        with passes.bars(unit="row") as bar:
            for reading in unread:
                read(reading, tick=bar.update)
    return [read_json(shuffle.summary(reading.index)) for reading in readings]


def _relate(shuffle: Shuffle, near: relate.Near, threshold: float, passes: _Passes) -> None:
    """Find the problems that are stated again, and move the rows of those that are merged into another shard's."""
    folder = shuffle.folder
    moves = relate.relate(folder, shuffle.settings.num_shards, near=near, threshold=threshold)
    move, reads = functools.partial(relate.move, folder), _files_of(shuffle, "[0-9]*.zst", "relations.json")
    for _ in passes.executor.map(move, list(moves), label="corpus", size_bytes=passes.size_bytes, reads=reads):
        pass
    files = [path for name in ("relations.json", "leaks.json", "moved-*.zst") for path in folder.glob(f"*/{name}")]
    write_json(folder / "related.json", {"moved": len(moves), "files": sums_of(folder, files)})


def _files_of(shuffle: Shuffle, *patterns: str) -> Reads:
    """What the second pass, or what comes before it, reads of a shard."""
    return lambda index: (path for pattern in patterns for path in shuffle.shard(index).glob(pattern))


def _source_files(keeps_images: bool, reading: IngestTask) -> Iterator[Path]:
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


class _Silent:
    """A bar that nobody sees."""

    def update(self, count: int) -> None:
        """Nothing."""


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


# --- between and second pass: one folder -> one shard -----------------------------------------------------------------------


def _sign(
    shuffle: Shuffle,
    benchmarks: Benchmarks | None,
    admitted: Admission,
    leaks: Literal["remove", "report"],
    shows_images: bool,
    index: int,
) -> None:
    """Sign one shard's problems."""
    relate.sign(shuffle.shard(index), benchmarks, admitted, leaks, shows_images)


def _merge_into(stage_dir: StageFolder, shuffle: Shuffle, admitted: Admission, index: int) -> None:
    """Merge one shard into the stage."""
    stage_dir.finish_shard(index, merge_shard(shuffle.shard(index), admitted))
