"""The rows a recipe will train on, before it is run: counted where the select stage is made, else estimated from a sample.

    found = look(plan, Path("runs/mine"))
    found.exact, found.examples, found.streams["pairs"].lengths, found.sentence

The sample is of problems, with all their traces, chosen by the hash that `corpus.max_problems` goes by. It walks through the
stages' own code (corpus, verify, select) in a folder that is then removed, so what it says of a problem is what the run will
say. A large file is read from its beginning only, and the answer says how far.
"""

import gzip
import math
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from redistill.config.tables import LabelledSettings
from redistill.corpus import benchmark_leaks, collect, resolve
from redistill.errors import OperatorError
from redistill.io.executors import LocalProcesses, cores
from redistill.io.progress import say
from redistill.io.shards import ShardInput
from redistill.io.stage_folder import StageFolder
from redistill.model import loading
from redistill.pipeline import graph, rollouts
from redistill.pipeline.benchmarks import corpus_problems
from redistill.pipeline.extra_stages import apply_to_shard
from redistill.pipeline.images import keeping_images, look_for_images
from redistill.pipeline.plan import Plan, reads_labelled
from redistill.pipeline.stages import stages_of
from redistill.records import Dropped, Example, Group, Pair, Problem, content_id
from redistill.select import SelectTask, select_shard, split_of
from redistill.select.bind import reads_scores
from redistill.text.wordwise import WordwiseTokenizer
from redistill.verify.policy import counted_labels
from redistill.verify.relevance import has_gold
from redistill.verify.stage import VerifyTask, closing_pool, verify_part

READ_BYTES = 48 * 2**20  # of uncompressed text, over all files
SAMPLED_TRACES = 2000
SAMPLED_PROBLEMS = (30, 1000)  # at least, where there are so many, and at most
T95 = 1.96
SIDES = {"examples": 1, "pairs": 2}  # sequences a row


def sides_of(plan: Plan) -> dict[str, int]:
    """The streams of rows that select makes for this recipe, and how many sequences a row of each has."""
    return SIDES | ({"labelled": 1} if reads_labelled(plan) else {})


@dataclass(frozen=True, slots=True)
class Amount:
    """How many, with a 95% interval; exact: low == value == high."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        """Whole numbers."""
        return {"value": round(self.value), "low": round(self.low), "high": round(self.high)}


@dataclass(frozen=True, slots=True)
class Stream:
    """Rows of one kind. lengths, learned: (rows, sequences a row) tokens of each sequence, and those that carry loss; prompts:
    a key of each row's prompt. amount: rows in all; they are these where the look was exact."""

    lengths: np.ndarray
    learned: np.ndarray
    prompts: list[str]
    amount: Amount


@dataclass(frozen=True, slots=True)
class Look:
    """What was found. problems, traces, dev: in all. dropped: reasons of the accounts `examples` and `pairs`, counted in the
    sample. disk_bytes: of the stages before training. asked: by stage with rollouts, the problems that it asks; `lengths` are
    those of their prompts, prefill included."""

    exact: bool
    sentence: str
    problems: Amount
    traces: Amount
    dev: Amount
    streams: dict[str, Stream]
    dropped: dict[str, dict[str, int]]
    outcomes: dict[str, int]
    disk_bytes: int
    asked: dict[str, Stream] = field(default_factory=dict)


def look(plan: Plan, folder: Path, *, command: str = "plan") -> Look:
    """The rows of a run, from its finished select stage where `folder` has one for this recipe, else from its sources.

    command: whose lines of progress these are. OperatorError where the sources hold nothing that can be used.
    """
    states = graph.resolve(graph.ordered(stages_of(plan)), folder)
    stage_dir = StageFolder(folder.absolute() / "select", states["select"].keys[""].fingerprint)
    if _is_made(stage_dir):
        look_for_images(folder)
        say(f"{command:<8} counting the rows of {folder}/select")
        return _finished(plan, folder, stage_dir)
    with tempfile.TemporaryDirectory(prefix="redistill-images-") as scratch, keeping_images(plan, Path(scratch)):
        return _sampled(plan, command)


def _is_made(stage_dir: StageFolder) -> bool:
    """True where the stage's ledger is of this recipe; its files are not read through, nothing is removed."""
    return stage_dir.ledger_path.exists() and stage_dir.ledger().get("fingerprint") == stage_dir.fingerprint


# --- exact ------------------------------------------------------------------------------------------------------------


def _finished(plan: Plan, folder: Path, stage_dir: StageFolder) -> Look:
    ledger = stage_dir.ledger()
    tokens, problems, traces, outcomes = dict[str, int](), 0, 0, Counter[str]()
    asking = _Asking(plan, split_of(plan.recipe, partial(corpus_problems, folder)))
    for group in stage_dir.read("groups"):
        asking.add(group.problem)
        problems, traces = problems + 1, traces + len(group.traces)
        tokens |= {trace.id: trace.num_tokens or 0 for trace in group.traces}
        outcomes.update(trace.verdict.outcome.value for trace in group.traces)
    streams = {}
    for name, sides in sides_of(plan).items():
        made = _rows(plan, stage_dir.read(name), tokens, sides)
        streams[name] = Stream(*made, _just(len(made[0])))
    return Look(
        exact=True,
        sentence=f"counted in {folder}/select, which is made",
        problems=_just(problems),
        traces=_just(traces),
        dev=_just(ledger["accounts"]["dev"]["kept"]),
        streams=streams,
        dropped={name: ledger["accounts"][name]["dropped"] for name in streams},
        outcomes=dict(outcomes.most_common()),
        disk_bytes=sum(_size(folder / name) for name in ("corpus", "verify", "select")),
        asked={name: _asked(lengths, _just(len(lengths))) for name, lengths in asking.lengths.items()},
    )


def _split(plan: Plan, problems: Sequence[Problem], total: float) -> Callable[[Problem], bool]:
    """Which of these problems are held out, where they stand for `total`: a number of dev problems is then a share."""
    recipe = plan.recipe
    if recipe.corpus.dev_problems is not None and total > len(problems):
        share = {"dev_problems": None, "dev_fraction": min(0.99, recipe.corpus.dev_problems / total)}
        recipe = recipe.model_copy(update={"corpus": recipe.corpus.model_copy(update=share)})
    return split_of(recipe, lambda: problems)


class _Asking:
    """Of each stage with rollouts the tokens of the prompts it would ask: pipeline/rollouts.py, problem by problem."""

    def __init__(self, plan: Plan, is_held: Callable[[Problem], bool]) -> None:
        self.plan, self.is_held = plan, is_held
        self.lengths: dict[str, list[int]] = {name: [] for name in plan.rollouts}
        self.configs = {name: rollouts.eval_config_of(plan, name) for name in plan.rollouts}

    def add(self, problem: Problem) -> None:
        """Held-out problems, and those without a gold answer that needs one, are not asked."""
        if self.is_held(problem):
            return
        for name, config in self.configs.items():
            bound = self.plan.rollouts[name]
            if not (has_gold(problem) or bound.by_teacher) and rollouts.needs_gold(bound.rewards):
                continue
            text = config.render(problem) + config.sampling.prefill
            self.lengths[name].append(len(loading.encode_prompts(self.plan.tokenizer, [text])[0]))


def _asked(lengths: Sequence[int], amount: Amount) -> Stream:
    rows = np.asarray(lengths, dtype=np.int64).reshape(-1, 1)
    return Stream(rows, np.zeros_like(rows), [], amount)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _just(count: int) -> Amount:
    return Amount(count, count, count)


def _rows(plan: Plan, records: Any, tokens: dict[str, int], sides: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """(lengths, learned, prompt keys) of Examples or Pairs; tokens: those of each trace, the end-of-turn token included.

    The arithmetic of train/rows.py, from counts the select stage has made: no completion is encoded again.
    """
    rows, prompts = [], []
    known: dict[str, tuple[int, str]] = {}
    for record in records:
        if record.prompt not in known:
            (asked,) = loading.encode_prompts(plan.tokenizer, [record.prompt])
            known[record.prompt] = len(asked), np.asarray(asked, dtype=np.int32).tobytes().hex()
        prompt, key = known[record.prompt]
        ids = [record.trace_id] if isinstance(record, Example) else [record.chosen_id, record.rejected_id]
        rows.append([(prompt + tokens[id], prompt + tokens[id] - max(prompt, 1)) for id in ids])
        prompts.append(key)
    counts = np.asarray(rows, dtype=np.int64).reshape(len(rows), sides, 2)
    return counts[..., 0], counts[..., 1], prompts


# --- from a sample ----------------------------------------------------------------------------------------------------


def _sampled(plan: Plan, command: str) -> Look:
    with tempfile.TemporaryDirectory(prefix="redistill-plan-") as scratch:
        items, share = _read(plan, Path(scratch), command)
        in_input, seen, chosen, rows = _choose(plan, items)
        say(f"{command:<8} corpus, verify and select on a sample of {sum(len(row.traces) for row in rows):,} traces")
        stage_dirs = Path(scratch) / "stages"
        groups = _walk(plan, stage_dirs, [*rows] or items)
        rows_of = sorted((i for i in items if not isinstance(i, Dropped)), key=lambda item: has_gold(item.problem))
        problems = {item.problem.id: item.problem for item in rows_of}  # of several rows one with a gold answer
        whole = min(plan.recipe.corpus.max_problems or math.inf, in_input / share)
        is_held = _split(plan, [problems[id] for id in seen], whole)
        if not groups:
            raise OperatorError(
                "plan: no trace of the sample is left: all its problems are in a benchmark (corpus.decontaminate) or have no text."
            )
        task = SelectTask(
            render=plan.render,
            encode=WordwiseTokenizer(plan.tokenizer),
            is_dev=is_held,
            pairing=plan.policies["certain" if _by_a_score(plan) else plan.recipe.select.pairing.name],
            examples=examples if isinstance(examples := plan.recipe.select.examples, str) else "first",
            keep_truncated=plan.recipe.select.truncated_correct == "keep",
            bound_filters=[one for one in plan.filters if not (plan.recipe.score and reads_scores(one))],
            labelled=_labelled(plan),
            weights=None if plan.recipe.score else plan.recipe.select.weights,
            seed=plan.recipe.seed,
        )
        shard = select_shard(groups, task)
        size = _size(stage_dirs)
    records = {name: list(stream) for name, (_, stream) in shard.records.items()}
    exact = share == 1 and len(chosen) == len(seen)
    # what merging and decontamination leave of the problems, by the sample; which of them are held out is known of all
    total = float(len(groups))
    if not exact:
        total *= min(plan.recipe.corpus.max_problems or math.inf, in_input / share) / len(chosen)
    total_held = total * sum(is_held(problems[id]) for id in seen) / len(seen)
    dev = {problem.id for problem in records["dev"]}
    there = {side: [g for g in groups if is_held(g.problem) == side] for side in (True, False)}
    tokens = {trace.id: trace.num_tokens or 0 for group in records["groups"] for trace in group.traces}
    streams = {}
    for name, sides in sides_of(plan).items():
        counts = Counter(record.problem_id for record in records[name])
        per_problem = [counts[group.problem.id] for group in there[False]]
        wanted = len(per_problem) if exact else total - total_held
        streams[name] = Stream(*_rows(plan, records[name], tokens, sides), _scaled(per_problem, wanted))
    asking = _Asking(plan, is_held)
    for group in there[False]:
        asking.add(group.problem)
    # of the problems that are not held out, the share that is asked
    share_asked = {name: len(lengths) / max(1, len(there[False])) for name, lengths in asking.lengths.items()}
    not_held = len(there[False]) if exact else total - total_held
    gradable = [int(group.problem.id in dev) for group in there[True]]
    return Look(
        exact=exact,
        sentence=_sentence(len(groups), len(tokens), share, exact)
        + ("; no scorer was run, so nothing is chosen by a score yet" if plan.recipe.score else "")
        + _not_looked_at(plan)
        + ("" if isinstance(examples, str) else "; a row of self-correction is counted as its last attempt alone"),
        problems=Amount(total, total, total),
        traces=_scaled([len(group.traces) for group in groups], total),
        dev=_scaled(gradable, len(gradable) if exact else total_held),
        streams=streams,
        dropped={name: dict(shard.accounts[name].dropped.most_common()) for name in streams},
        outcomes=dict(Counter(t.verdict.outcome.value for g in groups for t in g.traces).most_common()),
        disk_bytes=int(size * (1 + _text_of_rows(records, groups)) * (1 if exact else total / len(groups))),
        asked={
            name: _asked(lengths, _just(round(not_held * share_asked[name])))
            for name, lengths in asking.lengths.items()
        },
    )


def _text_of_rows(records: Mapping[str, Sequence[Any]], groups: Sequence[Group]) -> float:
    """The completions that select writes again in examples and pairs, as a multiple of those of the groups."""
    whole = sum(len(trace.completion) for group in groups for trace in group.traces)
    kinds = {Example: ("completion",), Pair: ("chosen", "rejected")}
    rows = (record for stream in records.values() for record in stream if type(record) in kinds)
    return sum(len(getattr(row, side)) for row in rows for side in kinds[type(row)]) / max(1, whole)


def _not_looked_at(plan: Plan) -> str:
    """The settings that leave rows out and that a sample says nothing of, as the end of a sentence."""
    settings = plan.recipe.select
    there = {
        "select.weights": settings.weights is not None and bool(plan.recipe.score),  # its spans may be a scorer's
        "select.sample": settings.sample is not None,
        "select.keep": settings.keep is not None,
        "select.balance_pairs": settings.balance_pairs is not None,
    }
    named = [name for name, is_set in there.items() if is_set]
    return f"; what {', '.join(named)} will leave out is still counted" if named else ""


def _by_a_score(plan: Plan) -> bool:
    """Whether the recipe's pairing compares scores that only the run will find."""
    return bool(plan.recipe.score) and "by" in plan.policies[plan.recipe.select.pairing.name].keywords


def _labelled(plan: Plan) -> LabelledSettings | None:
    """How rows of critics are chosen here: spans that a scorer would write are not there, and are not asked for."""
    settings = plan.recipe.select.labelled
    if not reads_labelled(plan):
        return None
    return settings.model_copy(update={"spans": None}) if plan.recipe.score else settings


def _sentence(problems: int, traces: int, share: float, exact: bool) -> str:
    if exact:
        return f"all {problems:,} problems with {traces:,} traces were read"
    said = f"estimated from {problems:,} problems with {traces:,} traces, chosen by hash"
    return said + (
        f" from the first {share:.0%} of the input (where a file is sorted, its end may differ)" if share < 1 else ""
    )


def _scaled(counts: Sequence[int], total: float) -> Amount:
    """The sum over `total` problems, from those of a sample; the interval is of the normal law, for a finite population."""
    n = len(counts)
    mean = sum(counts) / max(1, n)
    if n >= total or n < 2:
        return Amount(mean * total, mean * total, mean * total)
    variance = sum((count - mean) ** 2 for count in counts) / (n - 1)
    half = T95 * math.sqrt(variance / n * (1 - n / total))
    return Amount(mean * total, max(sum(counts), (mean - half) * total), (mean + half) * total)


def _choose(plan: Plan, items: list[Group | Dropped]) -> tuple[int, list[str], set[str], list[Group]]:
    """(problems seen, ids of those that the run would take, of the sample, the sample's rows): in the order of the hash of
    (seed, id) that `max_problems` goes by."""
    rows = [item for item in items if not isinstance(item, Dropped)]
    traces: Counter[str] = Counter()
    for row in rows:
        traces[row.problem.id] += len(row.traces)
    order = sorted(traces, key=lambda id: content_id("", str(plan.recipe.corpus.split_seed), id))[
        : plan.recipe.corpus.max_problems
    ]
    taken, count = set[str](), 0
    for id in order:
        if len(taken) >= SAMPLED_PROBLEMS[1] or (count >= SAMPLED_TRACES and len(taken) >= SAMPLED_PROBLEMS[0]):
            break
        taken.add(id)
        count += traces[id]
    return len(traces), order, taken, [row for row in rows if row.problem.id in taken]


def _walk(plan: Plan, folder: Path, items: Sequence[Group | Dropped]) -> list[Group]:
    """The items through the stages corpus and verify: merged, cleaned, judged. No second opinion is asked: it costs."""
    recipe = plan.recipe
    corpus, verify = StageFolder(folder / "corpus", "sample"), StageFolder(folder / "verify", "sample")
    for stage_dir in (corpus, verify):
        stage_dir.open()
    collect(
        corpus,
        [lambda: iter(items)],
        seed=recipe.corpus.split_seed,
        num_shards=1,
        max_problems=None,
        max_chars=recipe.corpus.max_chars,
        benchmarks=benchmark_leaks.index(recipe, plan.avoided),
        leaks=recipe.corpus.decontaminate.leaks,
        near=recipe.corpus.near_duplicates,
        near_threshold=recipe.corpus.near_threshold,
        executor=LocalProcesses(1),
    )
    settings = recipe.verify
    workers = settings.workers or recipe.execution.workers or cores()
    present = sorted({word.partition("=")[0] for word in corpus.ledger()["tallies"]["labels"]})
    labels = counted_labels(settings.labels, settings.policy, present)
    judges = VerifyTask(
        plan.verifiers, workers, settings.timeout_seconds, settings.memory_mb, settings.policy, tuple(labels)
    )
    last = _with_extra_stages(plan, folder, "corpus", corpus)
    with closing_pool():
        verify_part(verify, judges, ShardInput(0, last.shard_files("groups")[0]))
    return list(_with_extra_stages(plan, folder, "verify", verify).read("groups"))


def _with_extra_stages(plan: Plan, folder: Path, after: str, before: StageFolder) -> StageFolder:
    """The folder of the last stage that the recipe puts after this one, made from it."""
    for settings, function in plan.extra:
        if settings.after == after:
            made = StageFolder(folder / settings.folder, "sample")
            made.open()
            apply_to_shard(made, function, settings.folder, ShardInput(0, before.shard_files("groups")[0]))
            before = made
    return before


# --- the beginning of the sources -------------------------------------------------------------------------------------


def _read(plan: Plan, scratch: Path, command: str) -> tuple[list[Group | Dropped], float]:
    """(rows of all sources, the share of their bytes that was read)."""
    pieces: list[tuple[partial[Any], Path | None]] = []
    for source in plan.sources:
        options = source.keywords
        paths = resolve(options["path"], options.get("revision"), options.get("split")) if "path" in options else [None]
        pieces += [(source, file) for file in paths]
    files = [file for _, file in pieces if file is not None]
    if files:
        megabytes = sum(min(file.stat().st_size, READ_BYTES) for file in files) / 1e6
        say(f"{command:<8} reading the sources: {megabytes:,.1f} MB")
    budget = READ_BYTES // max(1, len(files))
    items: list[Group | Dropped] = []
    read = whole = 0.0
    for number, (source, file) in enumerate(pieces):
        if file is None:
            items += source()
            continue
        path, share = beginning(file, budget, scratch / str(number))
        items += partial(source, path=str(path))()
        read, whole = read + share * file.stat().st_size, whole + file.stat().st_size
    return items, read / whole if whole else 1.0


def beginning(file: Path, budget: int, folder: Path) -> tuple[Path, float]:
    """(a file with the first `budget` bytes of text, in whole rows, the share of the file that these are); the file itself
    and 1.0 where it holds no more."""
    folder.mkdir(parents=True)
    if not re.search(r"\.(parquet|(jsonl|ndjson)(\.gz|\.zst)?)$", file.name):  # no part of another kind is whole rows
        return file, 1.0
    if file.suffix == ".parquet":
        return _first_rows(file, budget, folder)
    here = folder / (file.name.removesuffix(".gz").removesuffix(".zst"))
    with open(file, "rb") as raw:
        opened: Any = raw
        if file.suffix == ".gz":
            opened = gzip.GzipFile(fileobj=raw)
        elif file.suffix == ".zst":
            opened = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
        try:
            text = opened.read(budget)
        except (OSError, EOFError, zstandard.ZstdError):
            return file, 1.0  # damaged: let the reader of the corpus stage say how
        consumed = raw.tell()
    size = file.stat().st_size
    if len(text) < budget or consumed >= size:
        return file, 1.0
    whole = text[: text.rfind(b"\n") + 1]
    if not whole:
        return file, 1.0
    here.write_bytes(whole)
    return here, consumed / size * len(whole) / len(text)


def _first_rows(file: Path, budget: int, folder: Path) -> tuple[Path, float]:
    try:
        with pq.ParquetFile(file) as source:
            total, size, taken = source.metadata.num_rows, 0, 0
            here = folder / file.name
            with pq.ParquetWriter(here, source.schema_arrow) as target:
                for batch in source.iter_batches(batch_size=64):
                    target.write_batch(batch)
                    size, taken = size + batch.nbytes, taken + batch.num_rows
                    if size >= budget:
                        break
    except (OSError, pa.ArrowException):
        return file, 1.0
    return (file, 1.0) if taken >= total else (here, taken / total)
