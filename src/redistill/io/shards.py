"""One stage's shards made from another's, by an executor: which are missing, and making them.

parts = parts_to_do(corpus, folder)
make_parts(executor, folder, partial(verify_part, folder, judges), parts, progress.update)
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redistill.errors import OperatorError
from redistill.io.executors import Executor, Reads, no_files
from redistill.io.parquet import with_bases
from redistill.io.stage_folder import StageFolder


@dataclass(frozen=True, slots=True)
class ShardInput:
    """One shard of the stage before: its number and the file of its groups."""

    index: int
    path: Path


def parts_to_do(before: StageFolder, stage_dir: StageFolder) -> list[ShardInput]:
    """The shards of `before` that `stage_dir` has still to make."""
    parts = (ShardInput(i, path.resolve()) for i, path in enumerate(before.shard_files("groups")))
    return [part for part in parts if not stage_dir.is_done(part.index)]


def size_bytes(parts: Sequence[ShardInput]) -> int:
    """Of the files that these shards are made from, those that they add to included."""
    return sum(path.stat().st_size for part in parts for path in with_bases(part.path))


def files_of_shard(path: Path) -> Iterator[Path]:
    """A shard's file and those that it adds to, with the done-markers that vouch for them."""
    for file in with_bases(path):
        yield file
        marker = file.parents[1] / f"{file.stem}.done"
        if marker.exists():
            yield marker


def make_parts(
    executor: Executor,
    stage_dir: StageFolder,
    work: Callable[[ShardInput], Any],
    parts: Sequence[ShardInput],
    tick: Callable[[Any], Any] = lambda answer: None,
    reads: Reads = no_files,
) -> None:
    """Make the shards, whatever their order; `tick` hears the answer of each. reads: the files that a shard is made from beside its
    groups. OperatorError where one was made out of sight."""

    def files(part: ShardInput) -> Iterable[Path]:
        yield from files_of_shard(part.path)
        yield from reads(part)

    for place, answer in executor.map(
        work, parts, label=stage_dir.folder.name, size_bytes=size_bytes(parts), reads=files
    ):
        if not stage_dir.marker(parts[place].index).exists():
            raise OperatorError(
                f"{stage_dir.folder.name}: a worker finished shard {parts[place].index}, but it is not in "
                f"{stage_dir.folder}: the run folder must be on a file system shared by all nodes (--runs-dir)."
            )
        tick(answer)
