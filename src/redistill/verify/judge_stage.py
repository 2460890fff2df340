"""The judge in the verify stage: first the bill, then the opinions, shard by shard.

    apply_llm_judge(stage_dir, rules, judge, own_cache=Path("runs/demo/judge.jsonl"))

`rules` is the finished stage of the rules' verdicts; `stage_dir` gets the same groups with the judge's. Replies lie in
`own_cache`, or where the judge's `cache` says, which no change of a recipe removes: what is paid for is paid for once. The bill in the ledger is of all replies that the
verdicts rest on, whenever they came, and of those that were billed and refused.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from redistill.io.asked_model import check_calls, cost_of
from redistill.io.atomic import read_json, write_json
from redistill.io.joined import Base
from redistill.io.kept import Kept, order_lines
from redistill.io.parquet import read_records
from redistill.io.progress import bar, say
from redistill.io.stage_folder import Account, Shard, StageFolder
from redistill.records import Dropped, Group, Problem
from redistill.verify.judge import JUDGE_VERSION, Judge, asks_of, paid_bill, with_llm_verdicts
from redistill.verify.stage import verified_shard


def apply_llm_judge(stage_dir: StageFolder, rules: StageFolder, judge: Judge, *, own_cache: Path) -> dict[str, Any]:
    """Fill `stage_dir`, and return the ledger's facts about the judge. OperatorError before anything is asked when more calls
    are needed than `max_calls` allows."""
    shards = rules.shard_files("groups")
    with Kept(Path(judge.cache) if judge.cache else own_cache) as kept:
        expected = cost_of(judge, asks_of(judge, rules.read("groups")), kept)
        say(f"judge    {judge.model}, {judge.policy}: {expected.words(before=True)}")
        asked_now = check_calls("verify.judge", judge, expected, "traces")
        answered_before = _answered_before(stage_dir, expected.kept)
        with bar(label="judge", unit="call", total=asked_now) as progress:
            for index, path in enumerate(shards):
                if not stage_dir.is_done(index):
                    groups = with_llm_verdicts(
                        judge, list(read_records(path)), kept, on_reply=lambda reply: progress.update(1)
                    )
                    stage_dir.finish_shard(index, _shard(rules, index, groups), base=Base(path))
        paid = paid_bill(judge, rules.read("groups"), kept, answered_before)
    order_lines(own_cache)  # a file that several runs share keeps the order in which replies came
    changed = changes_of(rules.read_without_text("groups"), stage_dir.read_without_text("groups"))
    words = ", ".join(f"{count:,} {before} -> {after}" for (before, after), count in changed.most_common())
    say(f"judge    {paid.words(before=False)}; it changed {changed.total():,} verdicts{f' ({words})' if words else ''}")
    return {
        "model": judge.model,
        "version": JUDGE_VERSION,
        "policy": judge.policy,
        "calls": paid.calls,
        "answered_before": paid.kept,
        "tokens_in": int(paid.tokens_in),
        "tokens_out": int(paid.tokens_out),
        "dollars": paid.dollars,
        "changed": {f"{before} -> {after}": count for (before, after), count in changed.most_common()},
    }


def _answered_before(stage_dir: StageFolder, kept: int) -> int:
    """How many calls were answered before this stage began, which a run that goes on after a kill can no longer count."""
    path = stage_dir.folder / "judge.json"
    if not path.exists():
        write_json(path, {"answered_before": kept})
    return int(read_json(path)["answered_before"])


def changes_of(before: Iterable[Group], after: Iterable[Group]) -> Counter[tuple[str, str]]:
    """(outcome of the rules, outcome with the judge) -> traces, of those whose outcome is another."""
    changes: Counter[tuple[str, str]] = Counter()
    for old, new in zip(before, after, strict=True):
        for one, other in zip(old.traces, new.traces, strict=True):
            if one.verdict.outcome is not other.verdict.outcome:
                changes[one.verdict.outcome.value, other.verdict.outcome.value] += 1
    return changes


def _shard(rules: StageFolder, index: int, groups: Sequence[Group]) -> Shard:
    """The shard with the judge's verdicts, and what the rules found besides them: gold answers that nobody can grade."""
    shard, marker = verified_shard(groups), read_json(rules.marker(index))
    accounts = {name: Account.from_json(account) for name, account in marker["accounts"].items()}
    shard.accounts = {**accounts, **shard.accounts}
    shard.tallies = {**{name: Counter(tally) for name, tally in marker["tallies"].items()}, **shard.tallies}
    for stream, kind in (("ungradable", Problem), ("dropped", Dropped)):
        path = rules.folder / stream / f"part-{index:05d}.parquet"
        records = list(read_records(path)) if path.exists() else []
        if stream == "dropped":
            shard.dropped = records
        elif path.exists():
            shard.records[stream] = (kind, records)
    return shard
