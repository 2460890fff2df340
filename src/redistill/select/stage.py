"""The select stage: one shard of verified Groups -> Examples, Pairs and held-out Problems, with every drop accounted for.

    shard = select_shard(groups, SelectTask(render=..., encode=..., is_dev=..., pairing=certain))
    shard.accounts["pairs"].to_json()  ->  {"unit": "problem", "in": 9, "kept": 7, "dropped": {"no_correct_trace": 2}}

Three accounts: `examples` counts traces, `pairs` counts problems (kept when at least one pair of it stays; its extra
pairs that a filter drops are tallied under `extra_pairs`), `dev` counts held-out problems. Two more streams go
beside: `groups`, the same groups with the columns of trace_features.py, and `candidates`, the pairs of every pairing policy.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from redistill.config.tables import LabelledSettings, SelfCorrectionSettings
from redistill.io.executors import Executor
from redistill.io.joined import Base
from redistill.io.parquet import read_records, read_without_text
from redistill.io.shards import ShardInput, files_of_shard, make_parts, parts_to_do
from redistill.io.stage_folder import Account, Shard, StageFolder
from redistill.records import Candidate, Dropped, Example, Group, Outcome, Pair, Problem, pair_id
from redistill.select.eligible import Chosen, GroupFilters, PreparedShard, choose, example_reasons, tokens_of
from redistill.select.labelled import labelled_reasons, labelled_rows
from redistill.select.pairing import Pairs
from redistill.select.self_correction import self_correction
from redistill.select.span_weights import example_weights, pair_weights
from redistill.select.statistics import PAPER_REJECTED_WEIGHT, TraceTables, describe
from redistill.select.task import SelectTask
from redistill.select.tokens import END_OF_TURN_TOKENS, shared_prefix
from redistill.verify.policy import labels_of
from redistill.verify.relevance import has_gold


def select_shard(groups: Iterable[Group], task: SelectTask) -> Shard:
    """Streams `examples`, `pairs`, `dev`, `groups` and `candidates` of these groups, whose traces carry the joined verdict.

    Where the task trains a critic, its rows are a further stream `labelled`, of all traces of the sample. With a sample
    there are the stream `problems`, those of it that are trained on, with or without a right trace, and their account.
    Tallies: `tokens_correct`, `tokens_incorrect` (completion tokens of the training problems' decided traces, in bins
    "256-511"), `prefix_net_weight` (kept pairs, "negative" or "positive"), `extra_pairs` (see above), `repeated` (how often more
    than once a problem's rows are written, by its value), `sampled_values` (problems by value, where a sample names values).
    """
    prepared, ledger = PreparedShard(groups, task), _Ledger()
    pairing = prepared.with_token_ids(task.pairing)
    compared = {name: prepared.with_token_ids(policy) for name, policy in task.policies.items()}
    rows: list[Example] = []
    pairs: list[Pair] = []
    candidates: list[Candidate] = []
    for_critics: list[Example] = []
    for group in prepared.train:
        prompt, filters = prepared.prompts[group.problem.id], prepared.filters(group, task)
        chosen = choose(group, example_reasons(group, task, filters), task.choice, ledger.tallies)
        if isinstance(task.examples, SelfCorrectionSettings):
            rows += _self_corrections(group, prompt, chosen, task.examples, task, filters, ledger)
        else:
            rows += _examples(group, prompt, chosen, task, ledger)
        if task.labelled is not None:
            for_critics += _labelled(group, prompt, task.labelled, task, filters, ledger)
        if isinstance(chosen.rest, str):
            ledger.drop("pairs", group.problem.id, chosen.rest)
            continue
        pairs += _pairs(chosen.rest, pairing(chosen.rest), prompt, task, filters, ledger) * chosen.times
        known: dict[tuple[str, str], Candidate] = {}  # policies make the same pairs
        for name, policy in compared.items():
            candidates += _candidates(chosen.rest, name, policy(chosen.rest), filters, prepared.token_ids, known)
    dev = [p for g in prepared.groups if task.is_dev(g.problem) for p in _held_out(g, ledger)]
    for name, outcome in (("tokens_correct", Outcome.correct), ("tokens_incorrect", Outcome.incorrect)):
        decided = (t for g in prepared.train for t in g.traces if t.verdict.outcome is outcome)
        ledger.tallies[name].update(_bin(tokens_of(t)) for t in decided)
    streams: dict[str, tuple[type, Iterable[Any]]] = {
        "examples": (Example, rows),
        "pairs": (Pair, pairs),
        "dev": (Problem, dev),
        "groups": (Group, prepared.groups),
        "candidates": (Candidate, candidates),
    }
    if task.labelled is None:
        del ledger.accounts["labelled"]
    else:
        streams["labelled"] = (Example, for_critics)
        for trace in (trace for g in prepared.groups if task.is_dev(g.problem) for trace in g.traces):
            ledger.drop("labelled", trace.id, "held_out_for_dev")
    if task.choice is not None and task.choice.sample is not None:
        streams["problems"] = (Problem, _in_sample(prepared.groups, task, ledger))
    return Shard(streams, ledger.accounts, ledger.dropped, ledger.tallies)


class _Ledger:
    """What a shard writes down beside its records: accounts, drops and tallies."""

    def __init__(self) -> None:
        units = {"examples": "trace", "pairs": "problem", "dev": "problem", "labelled": "trace"}
        self.accounts = {name: Account(unit) for name, unit in units.items()}
        self.dropped: list[Dropped] = []
        names = ("tokens_correct", "tokens_incorrect", "prefix_net_weight", "extra_pairs", "chosen_labelled_wrong", "rejected_labelled_right", "repeated")  # fmt: skip
        self.tallies: dict[str, Counter[str]] = {name: Counter() for name in names}

    def keep(self, account: str) -> None:
        self.accounts[account].keep()

    def put(self, account: str, id: str, reason: str | None) -> None:
        """Kept, or dropped where there is a reason."""
        if reason is None:
            self.keep(account)
        else:
            self.drop(account, id, reason)

    def drop(self, account: str, id: str, reason: str) -> None:
        self.accounts[account].drop(reason)
        self.dropped.append(Dropped(id, f"select/{account}", reason))


def _examples(group: Group, prompt: str, chosen: Chosen, task: SelectTask, ledger: _Ledger) -> Iterator[Example]:
    """A row for each trace that has no reason against it, written as often as its problem is repeated."""
    for trace in group.traces:
        reason = chosen.reasons[trace.id]
        row = (prompt, trace.completion, example_weights(trace, task.weights) or ())
        if not reason and task.every_turn is not None:
            turns = task.every_turn(group.problem, prompt, trace.completion)
            reason, row = (turns, row) if isinstance(turns, str) else (None, turns or row)
        if reason:
            ledger.drop("examples", trace.id, reason)
            continue
        ledger.keep("examples")
        if task.every_turn is not None and row[2]:
            ledger.tallies.setdefault("conversations", Counter())["every_turn"] += 1
        asked, completion, spans = row
        yield from [Example(group.problem.id, trace.id, asked, completion, spans=spans)] * chosen.times


def _self_corrections(
    group: Group, prompt: str, chosen: Chosen, settings: SelfCorrectionSettings, task: SelectTask, filters: GroupFilters,
    ledger: _Ledger,
) -> list[Example]:  # fmt: skip
    """The problem's row of attempts and verifications, written as often as the problem is repeated; none where there is none."""

    def num_tokens(text: str) -> int:
        return len(task.encode([text])[0]) + END_OF_TURN_TOKENS

    built = self_correction(
        group, prompt, chosen.reasons, settings, judge=filters, num_tokens=num_tokens, seed=task.seed
    )
    for trace in group.traces:
        ledger.put("examples", trace.id, built.reasons[trace.id])
    for name, counts in (("attempts", built.attempts), ("verifications", built.verifications)):
        ledger.tallies.setdefault(name, Counter()).update(counts)
    return [] if built.row is None else [built.row] * chosen.times


def _labelled(
    group: Group, prompt: str, settings: LabelledSettings, task: SelectTask, filters: GroupFilters, ledger: _Ledger
) -> Iterator[Example]:
    """A critic's rows of a group, whose traces are counted."""
    left_out = task.choice.problem_reason(group) if task.choice is not None else None
    why = labelled_reasons(group, settings, task.keep_truncated, filters, task.seed)
    reasons = {id: reason or left_out for id, reason in why.items()}
    for trace in group.traces:
        ledger.put("labelled", trace.id, reasons[trace.id])
    return labelled_rows(group, prompt, settings, reasons)


def _in_sample(groups: Sequence[Group], task: SelectTask, ledger: _Ledger) -> list[Problem]:
    """The problems that the sample leaves, for stages that ask problems and read no trace, each as often as it is repeated."""
    assert task.choice is not None, "no choice, no sample"
    ledger.accounts["problems"] = Account("problem")
    kept = []
    for group in groups:
        reason = "held_out_for_dev" if task.is_dev(group.problem) else task.choice.problem_reason(group)
        if reason:
            ledger.drop("problems", group.problem.id, reason)
        else:
            ledger.keep("problems")
            kept += [group.problem] * task.choice.times(group)
    return kept


def _pairs(
    group: Group, made: Pairs | str, prompt: str, task: SelectTask, filters: GroupFilters, ledger: _Ledger
) -> list[Pair]:
    """The pairs of one problem that pass; the problem is dropped for its first pair's reason when none does."""
    id = group.problem.id
    if isinstance(made, str):
        ledger.drop("pairs", id, made)
        return []
    spans = [pair_weights(chosen, rejected, task.weights) for chosen, rejected in made]
    reasons = [
        filters(chosen=chosen, rejected=rejected) or ("no_weight_spans" if weighed is None else None)
        for (chosen, rejected), weighed in zip(made, spans, strict=True)
    ]
    if task.choice is not None:
        ids = (pair_id(chosen.id, rejected.id) for chosen, rejected in made)
        reasons = [why or task.choice.pair_reason(group, id) for why, id in zip(reasons, ids, strict=True)]
    if None not in reasons:
        ledger.drop("pairs", id, str(reasons[0]))
        return []
    ledger.keep("pairs")
    rows = []
    for (chosen, rejected), reason, weighed in zip(made, reasons, spans, strict=True):
        if reason:
            ledger.tallies["extra_pairs"][reason] += 1
            ledger.dropped.append(Dropped(pair_id(chosen.id, rejected.id), "select/pairs", reason))
            continue
        for tally, side, against in (("chosen_labelled_wrong", chosen, Outcome.incorrect), ("rejected_labelled_right", rejected, Outcome.correct)):  # fmt: skip
            ledger.tallies[tally].update(name for name, outcome in labels_of(side).items() if outcome is against)
        negative = tokens_of(rejected) < PAPER_REJECTED_WEIGHT * tokens_of(chosen)
        ledger.tallies["prefix_net_weight"]["negative" if negative else "positive"] += 1
        right, wrong = weighed or ((), ())
        pair = Pair(id, prompt, chosen.completion, rejected.completion, chosen.id, rejected.id)
        rows.append(replace(pair, chosen_spans=right, rejected_spans=wrong))
    return rows


def _candidates(
    group: Group,
    policy: str,
    made: Pairs | str,
    filters: GroupFilters,
    token_ids: Mapping[str, Sequence[int]],
    known: dict[tuple[str, str], Candidate],
) -> Iterator[Candidate]:
    """What a policy would make of one problem, with the reason of those that a filter drops. known: the pairs of other policies."""
    for chosen, rejected in () if isinstance(made, str) else made:
        key = (chosen.id, rejected.id)
        if key not in known:
            known[key] = Candidate(
                id=pair_id(chosen.id, rejected.id),
                policy=policy,
                problem_id=group.problem.id,
                source=group.problem.source,
                chosen_id=chosen.id,
                rejected_id=rejected.id,
                chosen_author=chosen.author,
                rejected_author=rejected.author,
                chosen_tokens=tokens_of(chosen),
                rejected_tokens=tokens_of(rejected),
                shared_tokens=shared_prefix(token_ids[chosen.id], token_ids[rejected.id]),
                reason=filters(chosen=chosen, rejected=rejected) or "",
            )
        yield known[key] if known[key].policy == policy else replace(known[key], policy=policy)


def _held_out(group: Group, ledger: _Ledger) -> list[Problem]:
    """The problem itself where it can be graded; its traces and pairs are dropped as `held_out_for_dev`."""
    for trace in group.traces:
        ledger.drop("examples", trace.id, "held_out_for_dev")
    ledger.drop("pairs", group.problem.id, "held_out_for_dev")
    if not has_gold(group.problem):
        ledger.drop("dev", group.problem.id, "ungradable")
        return []
    ledger.keep("dev")
    return [group.problem]


def _bin(tokens: int) -> str:
    """The power-of-two bin of a count of 1 or more: 300 -> "256-511"."""
    low = 1 << (tokens.bit_length() - 1)
    return f"{low}-{2 * low - 1}"


def select_part(stage_dir: StageFolder, task: SelectTask, part: ShardInput) -> TraceTables:
    """Choose from one shard into the stage; returns what its traces look like."""
    groups: list[Group] = list(read_records(part.path))
    shard = select_shard(groups, task)
    stage_dir.finish_shard(part.index, shard, base=Base(part.path), before=groups)
    return describe(shard.records["groups"][1])


def describe_part(path: Path) -> TraceTables:
    """What the traces of a shard look like that an earlier process has made."""
    return describe(read_without_text(path))


def select_all(
    executor: Executor,
    stage_dir: StageFolder,
    task: SelectTask,
    before: StageFolder,
    bars: Callable[..., AbstractContextManager[Any]],
) -> TraceTables:
    """Make every shard that is missing; what the traces of all shards look like. bars: as io.progress.bar."""
    tables, parts = TraceTables(), parts_to_do(before, stage_dir)
    made = [path for path in stage_dir.shard_files("groups") if path.stem not in {f"part-{p.index:05d}" for p in parts}]
    with bars(label="select", unit="shard", total=len(parts)) as progress:

        def tick(part: TraceTables) -> None:
            tables.merge(part)
            progress.update(1)

        make_parts(executor, stage_dir, partial(select_part, stage_dir, task), parts, tick)
    size = sum(path.stat().st_size for path in made)
    for _, part in executor.map(describe_part, made, label="select", size_bytes=size, reads=files_of_shard):
        tables.merge(part)
    return tables


def sides_against_labels(ledger: Mapping[str, Any]) -> str | None:
    """How many sides of the pairs the data's own labels contradict, None where there is none."""
    tallies, pairs = ledger["tallies"], sum(ledger["tallies"].get("prefix_net_weight", {}).values())
    sides = (
        ("chosen_labelled_wrong", "chosen sides are wrong"),
        ("rejected_labelled_right", "rejected sides are right"),
    )
    said = [
        f"{count:,} of {pairs:,} {words} by {label}" for tally, words in sides for label, count in tallies.get(tally, {}).items()
    ]  # fmt: skip
    return f"{'; '.join(said)}: verify.policy agree leaves such traces out" if said else None


def attempts_of(ledger: Mapping[str, Any]) -> str | None:
    """How many attempts the rows of self-correction have, and how many verifications are true; None without such rows."""
    if "attempts" not in ledger["tallies"]:
        return None
    by_count = sorted(ledger["tallies"]["attempts"].items(), key=lambda item: int(item[0]))
    rows = ", ".join(f"{count:,} of {k} attempt{'s' if k != '1' else ''}" for k, count in by_count) or "none"
    tally = dict(ledger["tallies"]["verifications"])
    true, false = tally.get("true", 0), tally.get("false_verdict", 0)
    others = sum(tally.values()) - true - false
    return f"rows by attempts: {rows}; verifications: {true:,} true, {false:,} false (left out), {others:,} traces without one"
