"""The section about students whose answers are search queries: each against the raw query and pseudo-feedback, with samples.

runs/x/retrieval/baselines.json      {"dev": {"measure": "ndcg@100", "problems": {"p4f...": {"raw": 0.12, "feedback": 0.15}}}}
runs/x/retrieval/gains.json          {"dev": [{"query_by": "grpo", "mean": 0.31, "gain": 0.19, "gain_interval95": [0.1, 0.28], ...}]}

A gain is a student's mean score minus that of the raw query, problem by problem, with the interval of a paired difference.
"""

from collections.abc import Sequence

from redistill.records import Group
from redistill.report.blocks import Block, Browser, Leaf, Passage, Passages, Table, Tag, Text
from redistill.report.files import RunFiles
from redistill.report.sections.rollouts import rounds_of
from redistill.report.sections.traces import tone_of, verdict_lines
from redistill.report.shapes import BenchmarkBaselines
from redistill.report.text import both_ends, count, cut, percent, short
from redistill.text.figures import between, points

SHOWN = 8  # problems with their queries
NAMES = {"raw": "raw query", "feedback": "pseudo-feedback"}


def retrieval(run: RunFiles) -> list[Block]:
    """Nothing for a run whose answers are not queries: the heading is left out with it."""
    blocks: list[Block] = []
    for benchmark, baselines in run.baselines.items():
        if not baselines.problems:
            continue
        blocks.append(_scores(run, benchmark, baselines))
        blocks += _samples(run, benchmark, baselines)
    if blocks and (variance := _variance(run)):
        blocks.insert(1, variance)
    return blocks


def _scores(run: RunFiles, benchmark: str, baselines: BenchmarkBaselines) -> Table:
    body: list[tuple[str | Tag | None, ...]] = []
    for row in run.gains.get(benchmark, []):
        name: str | Tag = NAMES[row.query_by] if row.query_by in NAMES else Tag(row.query_by, run.series(row.query_by))
        own = (name, percent(row.mean), _interval(row.interval95))
        gain = points(row.gain) if row.gain is not None else None
        body.append((*own, gain, _interval(row.gain_interval95, signed=True), count(row.better), count(row.worse)))
    head = (
        "query by",
        f"{baselines.measure}, %",
        "95% interval",
        "gain over the raw query, points",
        "95% interval",
        "better",
        "worse",
    )
    return Table(f"{benchmark}: what the queries retrieve, {count(len(baselines.problems))} problems", head, body)


def _interval(interval: Sequence[float] | None, *, signed: bool = False) -> str | None:
    return between(interval, signed=signed) if interval else None


def _variance(run: RunFiles) -> Text | None:
    """The share of problems whose answers all earned the same: from them a stage with advantages learns nothing."""
    said = []
    for stage in run.stages:
        shares = [row.no_variance for row in rounds_of(run, stage) if row.no_variance is not None]
        if shares:
            said.append(f"{stage} {percent(sum(shares) / len(shares))}%")
    return Text(f"Problems of a round whose answers all earned the same reward, over all rounds: {', '.join(said)}.", "quiet") if said else None  # fmt: skip


def _samples(run: RunFiles, benchmark: str, baselines: BenchmarkBaselines) -> list[Block]:
    """Problems with the first query of the last student that was scored, those with the largest gains and losses."""
    students = list(run.scores_on(benchmark))
    if not students:
        return []
    student, wanted = students[-1], min(SHOWN, run.most_texts)
    held: list[tuple[float, Group]] = []
    for group in run.sample(f"evaluate/{student}/{benchmark}/groups", max_shards=4, max_records=400):
        baseline = baselines.problems.get(group.problem.id)
        if baseline and group.traces and group.traces[0].verdict.score is not None:
            held.append((group.traces[0].verdict.score - baseline["raw"], group))
    held.sort(key=lambda item: (-item[0], item[1].problem.id))
    leaves = []
    for number, (gain, group) in enumerate(both_ends(held, wanted), 1):
        trace, raw = group.traces[0], baselines.problems[group.problem.id]["raw"]
        lines = [
            f"raw query {percent(raw)}%, rewrite {percent(raw + gain)}% ({points(gain)} points)",
            *verdict_lines(trace),
        ]
        shown = [
            Passage(
                "query", "", [f"relevant: {short(group.problem.answer or '–')}"], cut(group.problem.statement, 600, 200)
            ),
            Passage(student, tone_of(trace), lines, cut(trace.completion, 500, 300)),
        ]
        leaves.append(Leaf(f"{points(gain)} {short(group.problem.statement, 60)}", str(number), [Passages(shown)]))
    return [Browser(f"Queries of {student} on {benchmark}, by their gain", leaves)] if leaves else []
