"""The section about critics: how well each finds the first wrong step of labelled solutions, beside a coin's.

runs/x/evaluate/STUDENT/BENCHMARK/scores.json     {..., "steps": {"error_accuracy": ..., "f1": ..., "coin": ..., "by_analyses": ...}}

Error accuracy and correct accuracy stand beside F1: training may buy one with the other, and F1 alone does not show it.
"""

from collections.abc import Mapping

from redistill.report.blocks import Block, Table, Tag, Text
from redistill.report.files import RunFiles
from redistill.report.shapes import StepMeasures, StepScores
from redistill.report.text import count, interval, percent


def steps(run: RunFiles) -> list[Block]:
    """Nothing for a run in which no steps are judged: the heading is left out with it."""
    blocks: list[Block] = []
    for benchmark in run.benchmarks:
        rows = {
            model: found for model, scores in run.scores_on(benchmark).items() if (found := scores.steps) is not None
        }
        if not rows:
            continue
        blocks += [Text(_how(benchmark, next(iter(rows.values())))), _measures(run, benchmark, rows)]
        blocks += [table for table in (_by_analyses(run, rows), _prmbench(run, rows)) if table is not None]
    return blocks


def _how(benchmark: str, scores: StepScores) -> str:
    read = "the probability of Yes" if scores.read == "probability" else "the written verdicts"
    return (
        f"{benchmark}: {count(scores.num_traces)} solutions, {count(scores.num_steps_judged)} steps, {scores.analyses} analyses of each; a "
        f"step's score is the mean of {read}, and the first step below {scores.threshold:g} is the predicted error. Random F1 is that of predicting an "
        "error for half of the solutions, at a random step."
    )


def _measures(run: RunFiles, benchmark: str, rows: Mapping[str, StepScores]) -> Table:
    body: list[tuple[str | Tag | None, ...]] = []
    for model, measures in rows.items():
        unjudged = count(measures.unjudged)
        body.append((Tag(model, run.series(model)), *_cells(measures), percent(measures.coin.get("f1")), unjudged))
        for name, subset in measures.subsets.items():
            body.append((f"{model}, {name}", *_cells(subset), percent(subset.coin.get("f1")), None))
    head = ("critic", "error accuracy", "correct accuracy", "F1", "95% interval", "random F1", "unjudged")
    return Table(f"{benchmark}: the first wrong step, %", head, body)


def _cells(measures: StepMeasures) -> tuple[str | None, ...]:
    return (
        percent(measures.error_accuracy.value),
        percent(measures.correct_accuracy.value),
        percent(measures.f1.value),
        interval(measures.f1.interval95),
    )


def _by_analyses(run: RunFiles, rows: Mapping[str, StepScores]) -> Table | None:
    counts = list(dict.fromkeys(k for found in rows.values() for k in found.by_analyses))
    if len(counts) < 2:
        return None
    body = [
        (Tag(model, run.series(model)), *(percent(found.by_analyses.get(k, {}).get("f1")) for k in counts))
        for model, found in rows.items()
    ]
    return Table("F1 by the number of analyses, %", ("critic", *counts), body)


def _prmbench(run: RunFiles, rows: Mapping[str, StepScores]) -> Table | None:
    names = ("prm_score", "f1", "negative_f1", "positive_accuracy", "negative_accuracy")
    body: list[tuple[str | Tag | None, ...]] = []
    for model, measures in rows.items():
        if measures.prmbench is None:
            continue
        body.append((Tag(model, run.series(model)), *(percent(getattr(measures.prmbench, name)) for name in names)))
        for kind, subset in measures.prmbench.subsets.items():
            body.append((f"{model}, {kind}", *(percent(getattr(subset, name)) for name in names)))
    head = (
        "critic",
        "PRM score",
        "F1 of right steps",
        "F1 of wrong steps",
        "right steps accepted",
        "wrong steps rejected",
    )
    return Table("PRMBench's measures, every step a decision, %", head, body) if body else None
