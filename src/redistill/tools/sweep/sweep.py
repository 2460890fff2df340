"""A sweep: many trials of one recipe, in processes of this machine; what is finished is never repeated.

    found = run_sweep(read_sweep("experiments/quickstart-kit/weights.yaml"), runs_dir=Path("runs"), workers=2)
    found["points"]          the table's rows;  runs/weights/ holds sweep.json, table.md, report.html, trials/

A trial is an ordinary run folder without a page. Stages, stages and reference log-probs that several trials need are made by
the one that comes first, of this sweep or of another in the same --runs-dir (trial.py). A trial that fails is written down, the
others go on.
"""

from collections.abc import Mapping, Sequence
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
        results: Found = {}
        try:
            _go(trials, results, folder, workers, on_code_change)
        finally:
            table = _write(sweep, trials, results, folder)
    failed = [trial.id for trial in trials if results[trial.id]["state"] == "failed"]
    if failed:
        first = results[failed[0]]["why"]
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


def _go(trials: Sequence[Trial], results: Found, folder: Path, workers: int, on_code_change: OnCodeChange) -> None:
    """All trials to their end; what each found goes into `found` as it comes."""
    started_from = {_start_key(t, name) for t in trials for name in t.recipe.train if name != t.stage}
    jobs = [
        Job(
            id=trial.id,
            recipe=_modest(trial.recipe, workers).model_dump(mode="json"),
            stage=trial.stage,
            folder=str((folder / "trials" / trial.id).absolute()),
            shared=str((folder.parent / SHARED).absolute()),
            share_stage=_start_key(trial, trial.stage) in started_from,
            on_code_change=on_code_change,
        )
        for trial in trials
    ]
    done = 0

    def tell(id: str, result: dict[str, Any]) -> None:
        nonlocal done
        done += 1
        results[id] = result
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
    return ", ".join(f"{name} {percent(score['mean'])}%" for name, score in result["scores"].items())


# --- what it leaves --------------------------------------------------------------------------------------------------


def _write(sweep: SweepSettings, trials: Sequence[Trial], results: Found, folder: Path) -> dict[str, Any]:
    table = tabulate(sweep, trials, results, folder)
    write_json(folder / "sweep.json", table)
    write_bytes(folder / "table.md", table_text(table).encode())
    write_sweep_page(folder)
    return table
