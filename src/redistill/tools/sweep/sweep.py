"""A sweep: many trials of one recipe, in processes of this machine; what is finished is never repeated.

    found = run_sweep(read_sweep("experiments/quickstart-kit/weights.yaml"), runs_dir=Path("runs"), workers=2)
    found["points"]          the table's rows;  runs/weights/ holds sweep.json, table.md, report.html, trials/

A trial is an ordinary run folder without a page. Stages, stages and reference log-probs that several trials need are made by
the one that comes first, of this sweep or of another in the same --runs-dir (sweep_trial.py). Successive halving is synchronous: all trials reach a rung before any goes on, so
what is stopped depends neither on the number of workers nor on which was faster, and a sweep that was killed decides the same
again. A trial that fails is written down, the others go on.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from redistill.config.tables import Recipe
from redistill.errors import ErrorCollector, OperatorError
from redistill.io.atomic import make_folder, write_bytes, write_json
from redistill.io.executors import cores
from redistill.io.progress import say
from redistill.pipeline.graph import OnCodeChange
from redistill.pipeline.lock import alone
from redistill.pipeline.resolve import find_parts
from redistill.report.sweep import write_sweep_page
from redistill.text.figures import percent
from redistill.tools.sweep.grid import SweepSettings, Trial, make_trials
from redistill.tools.sweep.table import table_text, tabulate
from redistill.tools.sweep.workers import Job, do_jobs

SHARED = ".shared"  # in --runs-dir: sweeps share with one another too; no run can have this name

Found = dict[str, dict[str, Any]]  # trial id -> what is known of it


def run_sweep(
    sweep: SweepSettings, *, runs_dir: Path, workers: int, on_code_change: OnCodeChange = "ask"
) -> dict[str, Any]:
    """Run every trial that is not finished and write sweep.json, table.md and the page; returns the content of sweep.json.

    OperatorError before any work for a wrong recipe, after all work where trials failed (their reasons are in the table).
    """
    trials = make_trials(sweep)
    _check(trials)
    folder = runs_dir / sweep.name
    make_folder(folder)
    with alone(folder):
        write_bytes(folder / "sweep.yaml", yaml.safe_dump(sweep.model_dump(mode="json"), sort_keys=False).encode())
        say(f"sweep    {sweep.name}: {len(trials)} trials, {workers} at a time")
        go = partial(_go, trials=trials, folder=folder, workers=workers, on_code_change=on_code_change)
        found: Found = {}
        halving: list[dict[str, Any]] = []
        try:
            going = _halved(sweep, trials, found, go, halving) if sweep.halving else list(trials)
            go(going, found=found)
        finally:
            table = _write(sweep, trials, found, folder, halving)
    failed = [trial.id for trial in trials if found[trial.id]["state"] == "failed"]
    if failed:
        first = found[failed[0]]["why"]
        raise OperatorError(
            f"{len(failed)} of {len(trials)} trials failed, the first of them {failed[0]}: {first} The others are in "
            f"{folder}/table.md; the same command tries the failed ones again."
        )
    return table


def _check(trials: Sequence[Trial]) -> None:
    """Every mistake of the trials' recipes, those of one point once, before any work."""
    seen: dict[str, None] = {}
    for trial in {t.point: t for t in trials}.values():
        collector = ErrorCollector()
        find_parts(trial.recipe, collector)
        try:
            collector.raise_if_any()
        except OperatorError as error:
            seen.setdefault(f"variant {trial.variant}: {error}")
    if seen:
        raise OperatorError("\n".join(seen))


def _go(
    going: Sequence[Trial],
    trials: Sequence[Trial],
    found: Found,
    folder: Path,
    workers: int,
    on_code_change: OnCodeChange,
    pause_at: int | None = None,
) -> None:
    """Trials to their end, or to a rung."""
    started_from = {_start_key(t, name) for t in trials for name in t.recipe.train if name != t.stage}
    jobs = [
        Job(
            id=trial.id,
            recipe=_modest(trial.recipe, workers).model_dump(mode="json"),
            stage=trial.stage,
            folder=str((folder / "trials" / trial.id).absolute()),
            shared=str((folder.parent / SHARED).absolute()),
            share_stage=_start_key(trial, trial.stage) in started_from,
            pause_at=pause_at,
            on_code_change=on_code_change,
        )
        for trial in going
    ]
    done = 0

    def tell(id: str, result: dict[str, Any]) -> None:
        nonlocal done
        done += 1
        found[id] = result
        say(f"sweep    {done} of {len(jobs)}: {id}: {_in_words(result)}")

    do_jobs(jobs, workers, tell)


def _modest(recipe: Recipe, workers: int) -> Recipe:
    """The same recipe with its share of the cores for processes of its own; changes no result."""
    share = max(1, cores() // workers)
    verify = recipe.verify.model_copy(update={"workers": recipe.verify.workers or share})
    execution = recipe.execution.model_copy(update={"workers": recipe.execution.workers or share})
    return recipe.model_copy(update={"verify": verify, "execution": execution})


def _start_key(trial: Trial, stage: str) -> str:
    """Says whether two trials have one stage in common; coarser than fingerprints, and free."""
    settings = trial.recipe.train.get(stage)
    return f"{trial.seed} {stage} {settings.model_dump_json() if settings else ''}"


def _in_words(result: Mapping[str, Any]) -> str:
    if result["state"] == "failed":
        return f"failed, {result['why']}"
    if result["state"] == "paused":
        return "no probe" if result["probe"] is None else f"probe {percent(result['probe'])}%"
    return ", ".join(f"{name} {percent(score['mean'])}%" for name, score in result["scores"].items())


# --- successive halving ---------------------------------------------------------------------------------------------


def _halved(
    sweep: SweepSettings,
    trials: Sequence[Trial],
    found: Found,
    go: Callable[..., None],
    decisions: list[dict[str, Any]],
) -> list[Trial]:
    """The trials that may go to their end. Points are ranked by the mean probe of their seeds; the control and variants that
    score another stage always go on. go: `_go` with the rest bound. What was decided goes into `decisions`. Source: Jamieson and Talwalkar 2016,
    arXiv 1502.07943, with the learning rate's schedule left as it is."""
    assert sweep.halving is not None
    judged = [t for t in trials if t.stage == sweep.stage and t.variant != sweep.control]
    spared = [t for t in trials if t not in judged]
    for rung in sweep.halving.rungs:
        go(judged, found=found, pause_at=rung)
        scores: dict[str, list[float]] = {}
        for trial in judged:
            scores.setdefault(trial.point, []).append(_probe(found[trial.id], rung))
        ranked = sorted(scores, key=lambda point: -sum(scores[point]) / len(scores[point]))
        stays = set(ranked[: max(1, math.ceil(sweep.halving.keep * len(ranked)))])
        means = {point: sum(values) / len(values) for point, values in scores.items()}
        lowest = min(means[point] for point in stays)
        decisions.append(
            {"rung": rung, "probe": means, "kept": [p for p in ranked if p in stays], "stopped": [p for p in ranked if p not in stays]}
        )  # fmt: skip
        for trial in judged:
            if trial.point not in stays and found.get(trial.id, {}).get("state") != "failed":
                why = f"probe {percent(means[trial.point])}% at step {rung}; the {len(stays)} of {len(ranked)} points that went on had {percent(lowest)}% or more"
                curve = found.get(trial.id, {}).get("curve", [])
                found[trial.id] = {"state": "stopped", "why": why, "curve": curve}
        say(f"halving  rung {rung}: {len(stays)} of {len(ranked)} points go on")
        judged = [t for t in judged if t.point in stays]
    return [*spared, *judged]


def _probe(known: Mapping[str, Any], rung: int) -> float:
    """The probe at a rung, or the last before it where the stage is shorter; -1 for a trial that failed."""
    scores = [score for step, score in known.get("curve", []) if step <= rung]
    return scores[-1] if scores else -1.0


# --- what it leaves --------------------------------------------------------------------------------------------------


def _write(
    sweep: SweepSettings, trials: Sequence[Trial], found: Found, folder: Path, halving: list[dict[str, Any]]
) -> dict[str, Any]:
    known = {id: result for id, result in found.items() if result["state"] != "paused"}
    table = {**tabulate(sweep, trials, known, folder), "halving": halving}
    write_json(folder / "sweep.json", table)
    write_bytes(folder / "table.md", table_text(table).encode())
    write_sweep_page(folder)
    return table
