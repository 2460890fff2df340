"""What the executor does with one shard of the verify and select stages: a shard's file in, a finished shard out.

    parts = parts_to_do(corpus, stage_dir)
    make_parts(executor, stage_dir, partial(verify_part, stage_dir, judges), parts, tick)

These functions run in other processes, perhaps on other machines, so they are given paths and settings and hold no
model: this file comes without torch.
"""

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redistill.io.joined import Base
from redistill.io.parquet import read_outcomes, read_records
from redistill.io.shards import ShardInput
from redistill.io.stage_folder import Account, Shard, StageFolder
from redistill.records import FINAL, Dropped, Group, Outcome, Problem, Trace, Verdict
from redistill.verify import (
    GOLD,
    OUT_OF_TIME,
    OWN_GOLD,
    READS_NO_ANSWER,
    VerifierPool,
    as_ungradable,
    check_gold,
    verify_group,
)
from redistill.verify.noise import Gradings

# --- verify ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class VerifyTask:
    """How groups are judged: verifiers by name with their options bound, the limits of their workers, the policy."""

    verifiers: Mapping[str, Callable[..., Any]]
    workers: int
    timeout_seconds: float
    memory_mb: int
    policy: str
    labels: tuple[str, ...] = ()

    def pool(self) -> VerifierPool:
        """A pool of workers that can be killed, which knows the check of gold answers too."""
        return VerifierPool(
            {**self.verifiers, GOLD: check_gold},
            workers=self.workers,
            timeout_seconds=self.timeout_seconds,
            memory_mb=self.memory_mb,
        )


def verify_part(stage_dir: StageFolder, judges: VerifyTask, part: ShardInput) -> int:
    """Judge one shard into the stage; returns its number of traces. The pool stays open for the next: closing_pool."""
    pool, held = pool_of_process(judges), list(read_records(part.path))
    # labels alone need no gold answer, nor does who judges by other facts
    golds = check_golds(pool, held) if judges.verifiers.keys() - READS_NO_ANSWER else None
    groups = list(judged(pool, held, judges.policy, labels=judges.labels, golds=golds))
    stage_dir.finish_shard(part.index, verified_shard(groups, golds), base=Base(part.path), before=held)
    return sum(len(group.traces) for group in groups)


_OPEN: list[tuple[VerifyTask, VerifierPool]] = []  # the one pool of this process: starting its workers takes a second


def pool_of_process(judges: VerifyTask) -> VerifierPool:
    """The open pool of this process, for these judges; a former one is closed."""
    if not _OPEN or _OPEN[0][0] is not judges:
        _close()
        _OPEN.append((judges, judges.pool()))
    return _OPEN[0][1]


def _close() -> None:
    while _OPEN:
        _OPEN.pop()[1].close()


@contextlib.contextmanager
def closing_pool() -> Iterator[None]:
    """End the workers that verify_part has left waiting in this process; those of another process end with it."""
    try:
        yield
    finally:
        _close()


def judged(
    pool: VerifierPool,
    groups: Iterable[Group],
    policy: str,
    tick: Callable[[int], Any] = lambda count: None,
    labels: Sequence[str] = (),
    golds: Mapping[str, Verdict] | None = None,
) -> Iterator[Group]:
    """Groups with their verdicts. All traces go through the pool at once, so its workers are kept busy.

    golds: what check_golds found; no trace of a problem that cannot be graded is sent to a verifier that compares with it. A
    trace that a server refused to write is ungradable: nobody has answered."""
    held, golds = list(groups), golds or {}
    spared = {id: as_ungradable(found) for id, found in golds.items() if found.outcome != Outcome.correct}
    names = [name for name in pool.names if name != GOLD]
    own = [name for name in names if name in OWN_GOLD]
    answered = [(g.problem, t) for g in held for t in g.traces if not t.refused]
    alone = [(problem, trace) for problem, trace in answered if problem.id in spared] if own else []
    others = iter(list(pool.judge(alone, own)))  # before the rest: a pool answers one question after the other
    results = pool.judge(((problem, trace) for problem, trace in answered if problem.id not in spared), names)
    for group in held:
        spare = (
            {name: spared[group.problem.id] for name in names if name not in own}
            if group.problem.id in spared
            else None
        )
        verdicts = []
        for trace in group.traces:
            if trace.refused:
                verdicts.append({name: Verdict(Outcome.ungradable, None, "refused_by_server", name) for name in names})
            elif spare is not None:
                verdicts.append(_without_clock({**spare, **(next(others) if own else {})}))
            else:
                verdicts.append(_without_clock(next(results)) if names else {})
        if kind := golds[group.problem.id].extracted if group.problem.id in golds else None:
            kept = group.problem.answer_type or kind
            group = dataclasses.replace(group, problem=dataclasses.replace(group.problem, answer_type=kept))
        yield verify_group(group, verdicts, policy, labels)
        tick(len(group.traces))


def check_golds(pool: VerifierPool, groups: Iterable[Group]) -> dict[str, Verdict]:
    """Problem id -> whether its gold answer can be graded, and its type: asked before any trace is judged."""
    problems = {group.problem.id: group.problem for group in groups}
    results = pool.judge(((problem, _NO_TRACE) for problem in problems.values()), [GOLD])
    return {id: verdicts[GOLD] for id, verdicts in zip(problems, results, strict=True)}


_NO_TRACE = Trace("", "")


def _without_clock(verdicts: Mapping[str, Verdict]) -> dict[str, Verdict]:
    """Verdicts whose seconds are not a measurement, which would differ from run to run: those of a time limit stay."""
    timed = {name for name, verdict in verdicts.items() if verdict.seconds and verdict.reason not in OUT_OF_TIME}
    return {name: dataclasses.replace(v, seconds=0.0) if name in timed else v for name, v in verdicts.items()}


def verified_shard(groups: Sequence[Group], golds: Mapping[str, Verdict] | None = None) -> Shard:
    """A shard of judged groups, with outcomes and reasons counted by verifier; with `golds`, also the problems whose gold
    answer cannot be graded (stream `ungradable`), accounted for by reason."""
    account = Account("trace")
    tallies: dict[str, Counter[str]] = {"outcomes": Counter()}
    for trace in (t for g in groups for t in g.traces):
        account.keep()  # a verdict is an answer to a trace, never a reason to lose it
        for name, verdict in trace.verdicts.items():
            if name == FINAL:
                tallies["outcomes"][verdict.outcome.value] += 1
            else:
                tallies.setdefault(f"outcomes:{name}", Counter())[verdict.outcome.value] += 1
                if verdict.reason:
                    tallies.setdefault(f"reasons:{name}", Counter())[verdict.reason.partition(":")[0]] += 1
    if golds is None:
        return Shard({"groups": (Group, groups)}, {"traces": account}, (), tallies)
    checked, ungradable, dropped = Account("problem"), [], []
    tallies["answer_types"] = Counter()
    for problem in (group.problem for group in groups):
        if golds[problem.id].outcome == Outcome.correct:
            checked.keep()
            tallies["answer_types"][golds[problem.id].extracted or "unknown"] += 1
        else:
            reason = as_ungradable(golds[problem.id]).reason
            checked.drop(reason)
            ungradable.append(problem)
            dropped.append(Dropped(problem.id, "verify", reason))
    streams: dict[str, tuple[type, Any]] = {"groups": (Group, groups), "ungradable": (Problem, ungradable)}
    return Shard(streams, {"traces": account, "golds": checked}, dropped, tallies)


def label_noise(stage_dir: StageFolder, *, seed: int) -> dict[str, Any]:
    """Who contradicts whom on the traces of a judged stage_dir, and how many rejected ones may be right (verify/noise.py)."""
    gradings = Gradings()
    for path in stage_dir.shard_files("groups"):
        for problem_id, author, outcomes in read_outcomes(path):
            gradings.add(problem_id, author, outcomes)
    return gradings.summary(seed=seed)


# --- select ---------------------------------------------------------------------------------------------------------
