"""The passes before the choice: what sample and keep, and balanced pairs, choose from, over all shards, and their cuts.

task = with_cuts(task, stage_dir, before, executor)    # a task whose choice needs no cuts comes back as it is
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from redistill.io.executors import Executor
from redistill.io.parquet import read_records
from redistill.io.shards import ShardInput, make_parts, parts_to_do
from redistill.io.stage_folder import Shard, StageFolder
from redistill.records import Group, Ranked, pair_id
from redistill.select.eligible import PreparedShard, choose, example_reasons
from redistill.select.keep import balance, find_cuts
from redistill.select.span_weights import pair_weights
from redistill.select.task import SelectTask

Rank = Callable[[Iterable[Group], SelectTask], Shard]


def with_cuts(task: SelectTask, stage_dir: StageFolder, before: StageFolder, executor: Executor) -> SelectTask:
    """The task with the cuts of its choice: those of sample and keep, then those that balance its pairs. What there is to choose
    from is written once, shard by shard, in folders beside the stage's own."""
    if task.choice is not None and (task.choice.balances or task.choice.ranks):
        ranked = _rank_all("ranked", rank_shard, task, stage_dir, before, executor)
        task = replace(task, choice=find_cuts(task.choice, lambda: ranked.read("ranked")))
    if task.choice is not None and task.choice.balance_pairs is not None:
        pairs = _rank_all("ranked_pairs", rank_pairs_shard, task, stage_dir, before, executor)
        task = replace(task, choice=balance(task.choice, lambda: pairs.read("ranked")))
    return task


def _rank_all(
    name: str, rank: Rank, task: SelectTask, stage_dir: StageFolder, before: StageFolder, executor: Executor
) -> StageFolder:
    """The folder of what there is to choose from, made where it is not whole."""
    ranked = StageFolder(stage_dir.folder / name, stage_dir.fingerprint)
    if not ranked.is_finished():
        ranked.open()
        make_parts(executor, ranked, partial(rank_part, ranked, rank, task), parts_to_do(before, ranked))
        ranked.finish(before.ledger()["num_shards"])
    return ranked


def rank_part(ranked: StageFolder, rank: Rank, task: SelectTask, part: ShardInput) -> int:
    """Write down what one shard has to choose from; returns 1."""
    ranked.finish_shard(part.index, rank(read_records(part.path), task))
    return 1


def rank_shard(groups: Iterable[Group], task: SelectTask) -> Shard:
    """Stream `ranked`: what keep and sample choose from, the right traces of these groups that no filter drops."""
    choice = task.choice
    assert choice is not None, "nothing is ranked without a choice"
    prepared = PreparedShard(groups, task)
    rows = []
    for group in prepared.train:
        reasons = example_reasons(group, task, prepared.filters(group, task))
        if choice.balances or choice.problem_reason(group) is None:
            rows += [choice.row(group, trace) for trace in group.traces if reasons[trace.id] is None]
    return Shard({"ranked": (Ranked, rows)})


def rank_pairs_shard(groups: Iterable[Group], task: SelectTask) -> Shard:
    """Stream `ranked`: the pairs of these groups that sample, keep and filters leave, to be balanced."""
    choice = task.choice
    assert choice is not None, "nothing is ranked without a choice"
    prepared = PreparedShard(groups, task)
    pairing, uncounted = prepared.with_token_ids(task.pairing), defaultdict[str, Counter[str]](Counter)
    rows = []
    for group in prepared.train:
        filters = prepared.filters(group, task)
        rest = choose(group, example_reasons(group, task, filters), choice, uncounted).rest
        made = rest if isinstance(rest, str) else pairing(rest)
        for chosen, rejected in () if isinstance(made, str) else made:
            passes = filters(chosen=chosen, rejected=rejected) is None
            if passes and pair_weights(chosen, rejected, task.weights) is not None:
                rows.append(choice.pair_row(group, pair_id(chosen.id, rejected.id)))
    return Shard({"ranked": (Ranked, rows)})
