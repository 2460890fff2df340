"""One trial of a sweep: a run folder without a page, whose stages come from the shared ones where they are the same.

    do_trial(recipe, stage="redi", folder=Path("runs/weights/trials/redi.seed-0"), shared=Path("runs/.shared"))
        ->  {"state": "done", "scores": {"dev": {"mean": 0.83, "low": 0.80, "high": 0.86, "n": 295}}, "curve": [], ...}

A stage is shared by its fingerprint: whoever comes first makes it, the others wait for it and link its files. Files are hard
links, so they take no space and a trial's folder is whole by itself; where the file system has none they are copies.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from redistill.config.tables import Recipe
from redistill.errors import OperatorError
from redistill.io.atomic import read_json, write_json
from redistill.io.fingerprints import fingerprint
from redistill.pipeline.graph import OnCodeChange, fingerprints_of, ordered, resolve
from redistill.pipeline.lock import alone
from redistill.pipeline.plan import make_plan
from redistill.pipeline.run import make, open_run
from redistill.pipeline.run_folder import RunOrigin, link_tree, prepare, trash_folders
from redistill.pipeline.run_record import run_record
from redistill.pipeline.stage import Run, stage_folder
from redistill.pipeline.stages import run_train, run_train_on_own_answers, stages_of
from redistill.train.guard_state import read_lines
from redistill.train.stage import is_finished

CURVE_POINTS = 25  # of the log-prob curves: means over as many equal parts of the stage
WAIT_SECONDS = 30.0  # for a process of a sweep that was killed just now to let go of a trial's folder


def do_trial(
    recipe: Recipe,
    *,
    stage: str,
    folder: Path,
    shared: Path,
    share_stage: bool = False,
    on_code_change: OnCodeChange = "ask",
) -> dict[str, Any]:
    """Make what is missing of one trial and return what it found; a finished one answers from its files.

    share_stage: other trials start from this student. OperatorError as of `run`.
    """
    plan = make_plan(recipe)
    states = resolve(ordered(stages_of(plan)), folder, on_code_change=on_code_change, elsewhere=trash_folders(folder))
    kept = _kept(folder, _identity(recipe, stage, fingerprints_of(states.values())))
    if kept is not None:
        return kept
    folder.mkdir(parents=True, exist_ok=True)
    with _patiently_alone(folder):
        run, began = (
            open_run(plan, folder, origin=RunOrigin("", recipe.name), on_code_change=on_code_change),
            time.perf_counter(),
        )
        scored = [name for name in run.stages if name == "score" or name.startswith("scorers/")]
        for name in ("corpus", "verify", *scored, "select"):
            _share(shared, run, name, partial(make, run, name))
        for earlier in _before(recipe, stage):
            _share(shared, run, f"train/{earlier}", partial(_train, shared, run, earlier))
        if share_stage:
            _share(shared, run, f"train/{stage}", partial(_train, shared, run, stage))
        elif stage != "base":
            _train(shared, run, stage)
        for benchmark in recipe.evaluate.benchmarks:
            make(run, f"evaluate/{stage}/{benchmark.name}")
            make(run, f"evaluate/{stage}/{benchmark.name}/scores")
        run_record(folder, recipe, plan.inputs, {"trial": round(time.perf_counter() - began, 1)})
        result = {"state": "done", "scores": _scores(folder, recipe, stage), **curves(folder, stage)}
        write_json(folder / "trial.json", {"fingerprint": _identity(recipe, stage, run.fingerprints), **result})
        return result


def _identity(recipe: Recipe, stage: str, fingerprints: Mapping[str, str]) -> str:
    return fingerprint([fingerprints[f"evaluate/{stage}/{b.name}/scores"] for b in recipe.evaluate.benchmarks])


def _kept(folder: Path, stage_fingerprint: str) -> dict[str, Any] | None:
    path = folder / "trial.json"
    if not path.exists():
        return None
    result = read_json(path)
    return (
        {k: v for k, v in result.items() if k != "fingerprint"} if result["fingerprint"] == stage_fingerprint else None
    )


@contextmanager
def _patiently_alone(folder: Path) -> Iterator[None]:
    """`alone`, but a holder that is about to end is waited for."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        held = alone(folder)
        try:
            held.__enter__()
            break
        except OperatorError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
    try:
        yield
    finally:
        held.__exit__(None, None, None)


def _before(recipe: Recipe, stage: str) -> list[str]:
    """The stages that lead to this one, in the recipe's order: a trial's recipe has no others."""
    return [name for name in recipe.train if name != stage] if stage != "base" else []


# --- what several trials share ---------------------------------------------------------------------------------------


def _share(shared: Path, run: Run, name: str, make_it: Callable[[], None]) -> None:
    """A stage from the shared ones, or made here and then shared."""
    folder, stage_fingerprint = run.folder / name, run.fingerprints[name]
    whole = (
        partial(is_finished, folder, stage_fingerprint)
        if name.startswith("train/")
        else stage_folder(run, name).is_finished
    )
    _shared(shared / name / stage_fingerprint, folder, make_it, whole)


def _shared(entry: Path, target: Path, make: Callable[[], None], whole: Callable[[], bool]) -> None:
    """Bring `target` into being: linked from `entry`, or made while others wait, then put into `entry`."""
    entry.parent.mkdir(parents=True, exist_ok=True)
    with open(entry.with_name(f"{entry.name}.lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released with the process, however it ends
        there = entry.is_dir()
        if there and not whole():
            shutil.rmtree(target, ignore_errors=True)
            link_tree(entry, target)
            there = whole()  # a damaged one is made again here, and shared anew
        make()
        if not there:
            shutil.rmtree(entry, ignore_errors=True)
            partial_entry = entry.with_name(f"{entry.name}.part")
            shutil.rmtree(partial_entry, ignore_errors=True)
            link_tree(target, partial_entry)
            os.replace(partial_entry, entry)


def _train(shared: Path, run: Run, stage: str) -> None:
    """One stage; a reference's log-probs, whose names say what they are, come from the other trials and go to them."""
    mine, theirs = run.folder / "train" / ".references", shared / "references"
    link_tree(theirs, mine)
    try:
        prepare(run.folder, run.states[f"train/{stage}"])
        train = run_train_on_own_answers if stage in run.plan.rollouts else run_train
        train(run, name=stage)
    finally:
        link_tree(mine, theirs)


# --- what a trial tells ----------------------------------------------------------------------------------------------


def _scores(folder: Path, recipe: Recipe, stage: str) -> dict[str, Any]:
    by_benchmark = {}
    for benchmark in recipe.evaluate.benchmarks:
        scores = read_json(folder / "evaluate" / stage / benchmark.name / "scores.json")
        low, high = scores["pass_at_1"]["interval95"] or (None, None)
        by_benchmark[benchmark.name] = {
            "mean": scores["pass_at_1"]["value"],
            "low": low,
            "high": high,
            "n": scores["num_problems"],
            "samples": scores["num_samples"],
        }
    return by_benchmark


def curves(folder: Path, stage: str) -> dict[str, Any]:
    """{"curve": [[step, probe accuracy]], "log_probs": {"chosen": [[step, nats a token]], "rejected": ...}}; empty where the
    stage has none."""
    lines = read_lines(folder / "train" / stage / "metrics.jsonl")
    drawn = {}
    for side in ("chosen", "rejected"):
        points = [(line["step"], line[f"{side}_logp"]) for line in lines if line.get(f"{side}_logp") is not None]
        if points:
            drawn[side] = _thinned(points)
    curve = [[line["step"], line["probe_accuracy"]] for line in lines if "probe_accuracy" in line]
    return {"curve": curve, "log_probs": drawn}


def _thinned(points: list[tuple[int, float]]) -> list[list[float]]:
    """Means over equal runs of steps, each at its last step."""
    size = -(-len(points) // CURVE_POINTS)
    parts = [points[i : i + size] for i in range(0, len(points), size)]
    return [[part[-1][0], round(sum(value for _, value in part) / len(part), 5)] for part in parts]
