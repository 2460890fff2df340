"""Many sources -> one stream of Groups, sorted by problem id, in shards: merged, deduplicated, every loss counted.

    collect(room, [source, ...], seed=0, num_shards=None, max_problems=None)  ->  the room's ledger
    runs/demo/corpus/groups/part-00000.parquet, ...      accounts "rows" (in rows) and "traces" (in traces)

Two passes, for the input may be far larger than memory. The first (spill) reads all rows once and parts them by problem
id into one file a shard; the second (merge) holds one shard at a time. Killed in the first, it is done again; killed in
the second, it continues after the last finished shard. Buckets are ranges of the id, a hash, so they are even, and the
problems come out in the same order whatever num_shards is.
"""

import dataclasses
import heapq
import io
import itertools
import json
import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import zstandard

from redistill.corpus.files import resolve
from redistill.errors import OperatorError
from redistill.records import Dropped, Group, Outcome, Problem, Trace, Verdict, content_id
from redistill.storage import Account, Room, Shard, from_row, read_json, to_row, write_json

SHARD_BYTES = 64 * 2**20  # of uncompressed input a shard; merging one holds a few times as much
BUFFER_BYTES = 32 * 2**20  # of rows held back while spilling
_COMPRESSION_RATIO = 5  # text against gzip, zstd or Parquet: a rough figure that only sets the number of shards


def collect(
    room: Room,
    sources: Sequence[Callable[[], Iterator[Group | Dropped]]],
    *,
    seed: int,
    num_shards: int | None,
    max_problems: int | None,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> dict[str, Any]:
    """Read all sources into the opened room and return its ledger.

    Rows of the same problem become one Group, its traces in the order of the sources. `seed` and `max_problems`: keep the
    problems with the smallest hash of (seed, id), whatever the order they come in. num_shards None: from the size of the
    input, at least 4. progress: wraps the rows of the first pass, then the shards of the second.

    Reasons: the sources' own; `no_generations`, `conflicting_answer`, `beyond_max_problems` for a row and all its
    traces; `empty_completion`, `duplicate_trace` for a trace. OperatorError when nothing at all is kept.
    """
    num_shards = num_shards or _choose_shards(sources)
    settings = {"num_shards": num_shards, "seed": seed, "max_problems": max_problems}
    spill = room.folder / "spill"
    finished = spill / "finished.json"
    if not finished.exists() or read_json(finished)["settings"] != settings:
        room.forget()  # half a spill, or shards that were cut otherwise
        room.open()
        largest = _spill(spill, sources, progress, num_shards, seed, max_problems)
        write_json(finished, {"settings": settings, "largest": largest})
    largest = read_json(finished)["largest"]
    for index in progress(range(num_shards)):
        if not room.is_done(index):
            room.finish_shard(index, _merge(spill / f"{index:05d}.zst", seed, largest))
    ledger = room.finish(num_shards)
    finished.unlink()  # first, so that half a removed spill never passes for a whole one
    shutil.rmtree(spill)  # only now: finished shards without their spill could not be trusted to be of one cut
    return ledger


def _choose_shards(sources: Sequence[Callable[..., Any]]) -> int:
    """One shard for every SHARD_BYTES that the sources' files hold, at least 4."""
    total = 0
    for source in sources:
        options = getattr(source, "keywords", {})
        for file in resolve(options["path"], options.get("revision")) if "path" in options else ():
            total += file.stat().st_size * (1 if file.suffix == ".jsonl" else _COMPRESSION_RATIO)
    return max(4, -(-total // SHARD_BYTES))


# --- first pass: rows -> one file a shard -----------------------------------------------------------------------


def _spill(
    folder: Path,
    sources: Sequence[Callable[[], Iterator[Group | Dropped]]],
    progress: Callable[[Iterable[Any]], Iterable[Any]],
    num_shards: int,
    seed: int,
    max_problems: int | None,
) -> int | None:
    """Write every row to its bucket; returns the largest selection key to keep, None where all are kept.

    A line is {"row": "file:row", "reason": word or null, "dropped": [[trace id, reason], ...], "group": row or null}.
    """
    folder.mkdir(parents=True)
    smallest = _Smallest(max_problems)
    reasons: Counter[str | None] = Counter()
    held: defaultdict[int, list[bytes]] = defaultdict(list)
    held_bytes = 0
    for item in progress(itertools.chain.from_iterable(source() for source in sources)):
        group, reason, dropped = None, None, []
        if isinstance(item, Dropped):
            row, key, reason = item.id, content_id("p", item.id), item.reason
        else:
            row, key = item.problem.source_row, item.problem.id
            traces = tuple(trace for trace in item.traces if trace.completion.strip())
            dropped = [(trace.id, "empty_completion") for trace in item.traces if not trace.completion.strip()]
            if not traces:
                reason = "no_generations"
            elif not smallest.admits(_selection_key(seed, key)):
                reason = "beyond_max_problems"  # decided already: its text need not be carried further
                dropped += [(trace.id, reason) for trace in traces]
            else:
                group = to_row(Group(item.problem, traces))
        reasons[reason] += 1
        line = json.dumps({"row": row, "reason": reason, "dropped": dropped, "group": group}).encode() + b"\n"
        held[_bucket(key, num_shards)].append(line)
        held_bytes += len(line)
        if held_bytes > BUFFER_BYTES:
            _append(folder, held)
            held_bytes = 0
    _append(folder, held)
    for path in folder.glob("*.zst"):
        with open(path, "rb") as file:
            os.fsync(file.fileno())
    if not reasons[None]:
        said = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common() if count)
        raise OperatorError(
            f"the corpus is empty: {reasons.total()} rows read{f', all dropped: {said}' if said else ''}; check the paths "
            f"and options of corpus.sources."
        )
    return smallest.largest


def _bucket(problem_id: str, num_shards: int) -> int:
    return int(problem_id[1:], 16) * num_shards >> 64


def _selection_key(seed: int, problem_id: str) -> int:
    return int(content_id("", str(seed), problem_id), 16)


def _append(folder: Path, held: defaultdict[int, list[bytes]]) -> None:
    """Append the held lines to their files, a zstd frame each: no file stays open, so their number has no bound."""
    for index, lines in held.items():
        with open(folder / f"{index:05d}.zst", "ab") as file:
            file.write(zstandard.compress(b"".join(lines), 1))
    held.clear()


class _Smallest:
    """The `count` smallest distinct keys seen so far, or all where count is None; memory of that many keys."""

    def __init__(self, count: int | None) -> None:
        self.count, self.heap, self.members = count, list[int](), set[int]()

    @property
    def largest(self) -> int | None:
        """The largest key that still belongs, None while there is room for any."""
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


# --- second pass: one bucket -> one shard -----------------------------------------------------------------------


def _merge(path: Path, seed: int, largest: int | None) -> Shard:
    """The shard of one bucket: its groups sorted by problem id, what was dropped, and the accounts."""
    rows, accounted = Account("row"), Account("trace")
    dropped: list[Dropped] = []
    merged: dict[str, tuple[Problem, dict[str, Trace]]] = {}

    def drop(account: Account, id: str, reason: str) -> None:
        account.drop(reason)
        dropped.append(Dropped(id, "corpus", reason))

    for line in _read(path):
        for trace_id, reason in line["dropped"]:
            drop(accounted, trace_id, reason)
        if line["group"] is None:
            drop(rows, line["row"], line["reason"])
            continue
        group: Group = from_row(Group, line["group"])
        problem, traces = merged.get(group.problem.id, (group.problem, {}))
        if largest is not None and _selection_key(seed, problem.id) > largest:
            refusal = "beyond_max_problems"
        else:
            refusal = "conflicting_answer" if _conflict(problem.answer, group.problem.answer) else ""
        if refusal:
            drop(rows, line["row"], refusal)
            for trace in group.traces:
                drop(accounted, trace.id, refusal)
            continue
        rows.keep()
        for trace in group.traces:
            if trace.id in traces:
                traces[trace.id] = _unite(traces[trace.id], trace)
                drop(accounted, trace.id, "duplicate_trace")
            else:
                traces[trace.id] = trace
                accounted.keep()
        merged[problem.id] = (_fill(problem, group.problem), traces)

    groups = [Group(problem, tuple(traces.values())) for _, (problem, traces) in sorted(merged.items())]
    dropped.sort(key=lambda record: (record.id, record.reason))
    tallies: dict[str, Counter[str]] = {
        "traces_by_author": Counter(),
        "traces_by_source": Counter(),
        "labels": Counter(),
    }
    for group in groups:
        tallies["traces_by_source"][group.problem.source] += len(group.traces)
        for trace in group.traces:
            tallies["traces_by_author"][trace.author] += 1
            tallies["labels"].update(f"{name}={verdict.outcome}" for name, verdict in trace.verdicts.items())
    return Shard({"groups": (Group, groups)}, {"rows": rows, "traces": accounted}, dropped, tallies)


def _read(path: Path) -> Iterator[dict[str, Any]]:
    if path.exists():  # a bucket that no row fell into has no file
        with io.BufferedReader(pa.input_stream(str(path), compression="zstd"), 2**20) as file:
            yield from map(json.loads, file)


def _conflict(first: str | None, later: str | None) -> bool:
    """Two gold answers that are not the same text, white space collapsed; no answer contradicts none."""
    return first is not None and later is not None and " ".join(first.split()) != " ".join(later.split())


def _fill(problem: Problem, later: Problem) -> Problem:
    """The first row's problem, with what it did not know and a later row did."""
    if problem.answer is not None and problem.answer_type is not None:
        return problem
    return dataclasses.replace(
        problem, answer=problem.answer or later.answer, answer_type=problem.answer_type or later.answer_type
    )


def _unite(first: Trace, again: Trace) -> Trace:
    """One trace of two with the same text: the labels of both, `disagree` where they contradict each other."""
    verdicts = dict(first.verdicts)
    for name, verdict in again.verdicts.items():
        if verdicts.setdefault(name, verdict).outcome != verdict.outcome:
            verdicts[name] = Verdict(Outcome.disagree, reason="labels_disagree", verifier=verdict.verifier)
    return dataclasses.replace(
        first,
        verdicts=verdicts,
        scores={**again.scores, **first.scores},
        finish_reason=first.finish_reason or again.finish_reason,
        num_tokens=first.num_tokens if first.num_tokens is not None else again.num_tokens,
    )
