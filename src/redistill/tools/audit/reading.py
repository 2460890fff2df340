"""Files of traces -> judged groups in a working folder: the corpus and verify stages, with limits for huge files.

    read_and_judge(["mine.jsonl"], folder, Limits())   ->  Judged(surveys, policy, ...); folder/corpus, folder/verify

Sources are found as `redistill init` finds them, and traces are judged as by the recipe that it writes. Nothing is written
outside the working folder.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redistill.corpus import SOURCES, collect, resolve
from redistill.corpus.decontaminate import Benchmarks
from redistill.corpus.sources.formats import TEXT_SUFFIXES
from redistill.corpus.sources.layouts import Survey, survey
from redistill.io.atomic import write_json
from redistill.io.executors import LocalProcesses, cores
from redistill.io.parquet import read_records
from redistill.io.progress import bar
from redistill.io.shards import make_parts, parts_to_do
from redistill.io.stage_folder import Account, Shard, StageFolder
from redistill.records import Dropped, Group, Problem
from redistill.tools.init import labels_to_count
from redistill.verify import VERIFIERS
from redistill.verify.label_agreement import compare_labels
from redistill.verify.stage import VerifyTask, closing_pool, label_noise, verify_part

MAX_TRACES = 20_000  # judged: about five minutes on two slow cores
MAX_ROWS, MAX_CHARS = 200_000, 2**30  # read: a gigabyte of text takes about two minutes
SHARD_BYTES = 16 * 2**20  # of text a shard; compressed files are taken to hold five times their size


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is read and judged; 0 for no limit. timeout_seconds: wall clock of one answer."""

    traces: int = MAX_TRACES
    rows: int = MAX_ROWS
    chars: int = MAX_CHARS
    workers: int | None = None
    timeout_seconds: float = 5.0
    memory_mb: int = 2048


@dataclass(slots=True)
class FirstRows:
    """A source that ends after `rows` rows or `chars` characters (0: no limit); `ended_early` tells that it did."""

    source: functools.partial[Iterator[Group | Dropped]]
    rows: int
    chars: int
    ended_early: bool = False

    @property
    def keywords(self) -> dict[str, Any]:
        """The options of the source, as of a partial."""
        return self.source.keywords

    def __call__(self) -> Iterator[Group | Dropped]:
        """The first rows."""
        self.ended_early, chars = False, 0
        for row, item in enumerate(self.source()):
            if (self.rows and row == self.rows) or (self.chars and chars >= self.chars):
                self.ended_early = True
                return
            if isinstance(item, Group):
                chars += len(item.problem.statement) + sum(len(trace.completion) for trace in item.traces)
            yield item


@dataclass(frozen=True, slots=True)
class Judged:
    """What was done: how each file reads, how its traces were judged, and what the limits left out."""

    surveys: Mapping[str, Survey]
    verifiers: tuple[str, ...]
    labels: tuple[str, ...]  # that count beside the verifiers
    present: tuple[str, ...]  # all labels that the files bring
    policy: str
    corpus: dict[str, Any]  # ledgers
    verify: dict[str, Any]
    agreement: list[dict[str, Any]]
    noise: dict[str, Any]
    unread_rest: tuple[str, ...] = field(default=())  # files that were not read to their end
    judged: int = 0  # traces


def read_and_judge(
    files: Sequence[str],
    folder: Path,
    limits: Limits,
    *,
    split: str | None = None,
    benchmarks: Sequence[Problem] = (),
) -> Judged:
    """Read the files into `folder`/corpus and judge their traces into `folder`/verify.

    benchmarks: problems that are looked for among the statements. OperatorError for a file that no source reads.
    """
    surveys = {file: survey(file, SOURCES, split) for file in dict.fromkeys(files)}
    sources = _sources(surveys, limits, split)
    corpus = StageFolder(folder / "corpus", "audit")
    corpus.open()
    collected = collect(
        corpus,
        sources,
        seed=0,
        num_shards=_num_shards(sources, limits),
        max_problems=None,
        benchmarks=Benchmarks(benchmarks) if benchmarks else None,
        leaks="report",
        progress=lambda **options: bar(label="read", **options),
    )
    present = sorted({word.partition("=")[0] for word in collected["tallies"]["labels"]})
    verifiers, labels, policy = _how_judged(surveys, present)
    before = _sample(corpus, StageFolder(folder / "sample", "audit"), limits.traces)
    verify = StageFolder(folder / "verify", "audit")
    verify.open()
    task = VerifyTask(
        {name: VERIFIERS[name] for name in verifiers},
        limits.workers or cores(),
        limits.timeout_seconds,
        limits.memory_mb,
        policy,
        tuple(labels),
    )
    judged = before.ledger()["accounts"]["traces"]["kept"]
    with closing_pool(), bar(label="judge", unit="trace", total=judged) as progress:
        work = functools.partial(verify_part, verify, task)
        make_parts(LocalProcesses(1), verify, work, parts_to_do(before, verify), progress.update)
    noise = label_noise(verify, seed=0)
    agreement = compare_labels(verify, labels=present, verifiers=verifiers, policy=policy)
    write_json(verify.folder / "label_noise.json", noise)
    write_json(verify.folder / "label_agreement.json", {"tables": agreement})
    return Judged(
        surveys, tuple(verifiers), tuple(labels), tuple(present), policy, collected, verify.finish(collected["num_shards"]), agreement,
        noise, tuple(source.keywords["path"] for source in sources if source.ended_early), judged,
    )  # fmt: skip


def _sources(surveys: Mapping[str, Survey], limits: Limits, split: str | None) -> list[FirstRows]:
    """One source per data file, each with an equal share of what may be read."""
    bound = []
    for file, survey_of_file in surveys.items():
        source = SOURCES[survey_of_file.best.source]
        for path in resolve(file, split=split):
            options = {**survey_of_file.best.options, "path": str(path.absolute())}
            bound.append(functools.partial(source, **options))
    share = max(1, len(bound))
    return [
        FirstRows(source, -(-limits.rows // share), -(-limits.chars // share)) for source in bound
    ]  # 0 stays 0: no limit


def _num_shards(sources: Sequence[FirstRows], limits: Limits) -> int:
    sizes = [Path(source.keywords["path"]) for source in sources]
    total = sum(path.stat().st_size * (1 if path.suffix in TEXT_SUFFIXES else 5) for path in sizes)
    return max(4, -(-min(total, limits.chars or total) // SHARD_BYTES))


def _how_judged(surveys: Mapping[str, Survey], present: Sequence[str]) -> tuple[list[str], list[str], str]:
    """(verifiers, labels, policy), as `init` writes them: gold answers by the cascade, beside labels that call any trace
    wrong; labels alone where no file has gold answers."""
    layouts = [found.best for found in surveys.values()]
    counted = dict.fromkeys(name for layout in layouts for name in labels_to_count(layout) if name in present)
    if not any(layout.answers for layout in layouts) and present:
        names = list(counted) or list(present[:1])
        return [], names, names[0] if len(names) == 1 else "all"
    doubting = {name for layout in layouts for name, wrong in layout.labels.items() if wrong > 0}
    labels = list(counted) if doubting & set(counted) else []
    return ["cascade"], labels, "agree" if labels else "cascade"


def _sample(corpus: StageFolder, sample: StageFolder, most: int) -> StageFolder:
    """The corpus where it holds at most `most` traces, else some of its problems with all their traces: those with the
    smallest ids, which are hashes, so that they are a fair sample whatever the order of the files."""
    ledger = corpus.ledger()
    accounts = ledger["accounts"]
    if not most or max(accounts[name]["kept"] for name in ("problems", "traces")) <= most:
        return corpus
    sample.open()
    left = most
    for index, path in enumerate(corpus.shard_files("groups")):
        account, kept = Account("trace"), []
        for group in read_records(path):
            size = max(1, len(group.traces))  # a problem without traces costs the check of its gold answer
            taken = size if size <= left else left if left == most else 0  # a first problem beyond the limit is cut
            left = left - taken if taken else 0
            if taken:
                kept.append(Group(group.problem, group.traces[:taken]))
            for place in range(len(group.traces)):
                account.keep() if place < taken else account.drop("beyond_the_limit")
        sample.finish_shard(index, Shard({"groups": (Group, kept)}, {"traces": account}))
    sample.finish(ledger["num_shards"])
    return sample
