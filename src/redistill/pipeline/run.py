"""A run: traces in, a better student and a report out.

    run(load_recipe("quickstart"), runs_dir=Path("runs"))

corpus -> verify -> select -> train (each stage) -> evaluate -> report. Each stage leaves a folder whose key says what it was
made from; run again, a finished stage is skipped, and one cut short goes on.
"""

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml

from redistill.config.tables import Recipe
from redistill.config.validation_messages import did_you_mean
from redistill.errors import OperatorError
from redistill.io.atomic import make_folder, remove_partial_files, write_bytes
from redistill.io.executors import Executor, LocalProcesses, open_executor
from redistill.io.far_nodes import HeldRun
from redistill.io.remote_runs import RemoteRun, open_run_folder
from redistill.io.stage_folder import StageFolder
from redistill.io.stores import address, is_address
from redistill.pipeline.graph import OnCodeChange, before, check_code_changes, fingerprints_of, ordered, resolve
from redistill.pipeline.images import look_for_images
from redistill.pipeline.lock import alone
from redistill.pipeline.plan import Plan, make_plan
from redistill.pipeline.run_folder import RunOrigin, check_owner, empty_trash, prepare, put_aside, take, trash_folders
from redistill.pipeline.run_record import StageTimes, run_record, standing_of
from redistill.pipeline.stage import Run, Stage, stage_folder
from redistill.pipeline.stages import stages_of
from redistill.train.stage import is_finished


def run(
    recipe: Recipe,
    *,
    runs_dir: Path,
    start: str | None = None,
    until: str | None = None,
    on_code_change: OnCodeChange = "ask",
    overwrite: bool = False,
    from_run: Path | None = None,
    recipe_file: str | Path = "",
) -> Path:
    """Run a recipe and return its folder.

    start: make this stage and those after it again; until: stop after it. on_code_change: what happens to costly results where
    only code has changed since. overwrite: replace the finished run of another recipe. from_run: a run folder whose
    stages are taken where they fit. recipe_file: where the recipe was read, to know it again.
    """
    if is_address(runs_dir) and "RANK" in os.environ:
        raise OperatorError(
            f"--runs-dir: {address(runs_dir)}: under `accelerate launch` the run folder must be on this machine; give a local folder."
        )
    plan = make_plan(recipe)
    if int(os.environ.get("RANK", "0")) > 0:
        return _help_training(plan, runs_dir / recipe.name, until, on_code_change)
    with (
        _place(runs_dir, recipe.name) as (folder, remote),
        alone(folder),
        open_executor(recipe.execution, HeldRun(folder, remote)) as executor,
    ):
        keep = remote.upload if remote is not None else lambda: None
        this = open_run(
            plan, folder, executor, start=start, until=until, on_code_change=on_code_change, overwrite=overwrite,
            from_run=from_run, origin=RunOrigin(str(recipe_file and Path(recipe_file).resolve()), recipe.name),
        )  # fmt: skip
        times = StageTimes(folder)
        with contextlib.ExitStack() as undo:
            undo.callback(_keep_times, folder, recipe, plan, times)
            stages = _until(list(this.stages.values()), until)
            for stage in stages:
                if stage.name == "report":
                    run_record(folder, recipe, plan.files, times.seconds)
                with times.making(stage.step, standing_of(folder, stage.place) if stage.cached else "none"):
                    make(this, stage.name)
                    if stage.name == "select":
                        executor.close()  # the stages after it have the machine to themselves
                keep()
            undo.pop_all()
        if "report" not in [stage.name for stage in stages]:
            run_record(folder, recipe, plan.files, times.seconds)
            keep()
    return folder


def _keep_times(folder: Path, recipe: Recipe, plan: Plan, times: StageTimes) -> None:
    """What was spent so far, of a run that stops: on a full disk it cannot be kept, and what the user must see is why it stopped."""
    with contextlib.suppress(OperatorError):
        run_record(folder, recipe, plan.files, times.seconds)


@contextmanager
def _place(runs_dir: Path, name: str) -> Iterator[tuple[Path, RemoteRun | None]]:
    """(the run's folder on this machine, and where it is in object storage too, None for a run on a disk)."""
    if is_address(runs_dir):
        with open_run_folder(runs_dir / name, alone) as remote:
            yield remote.folder, remote
        return
    make_folder(runs_dir / name)
    yield runs_dir / name, None


def open_run(
    plan: Plan,
    folder: Path,
    executor: Executor | None = None,
    *,
    origin: RunOrigin,
    start: str | None = None,
    until: str | None = None,
    on_code_change: OnCodeChange = "ask",
    overwrite: bool = False,
    from_run: Path | None = None,
) -> Run:
    """The run of a plan in a folder that is locked: what is there is kept where it fits, and what does not fit goes to the trash.

    OperatorError, with nothing touched, where the folder holds another recipe's finished run, where only code has changed
    since a costly result was made, and where `from_run` has no stage that fits.
    """
    stages = ordered(stages_of(plan))
    known = list(dict.fromkeys(stage.step for stage in stages))
    for word, name in (("--from", start), ("--until", until)):
        if name is not None and name not in known:
            raise OperatorError(f"{word} {name}: there is no such stage{did_you_mean(name, known)}")
    if start is not None and until is not None and known.index(start) > known.index(until):
        raise OperatorError(f"--from {start} comes after --until {until}; nothing would run.")
    elsewhere = [*([from_run] if from_run else []), *trash_folders(folder)]
    states = resolve(stages, folder, on_code_change=on_code_change, elsewhere=elsewhere)
    check_owner(folder, states, origin, seed=plan.recipe.seed, overwrite=overwrite)
    asked = {stage.name for stage in _until(stages, until)}
    if start is not None:
        asked -= {stage.name for stage in stages if known.index(stage.step) >= known.index(start)}
    if on_code_change == "ask":
        check_code_changes(state for name, state in states.items() if name in asked)
    remove_partial_files(folder)
    put_aside(folder, states, [stage for stage in stages if start and known.index(stage.step) >= known.index(start)])
    take(folder, states, from_run)
    origin.write(folder)
    write_bytes(folder / "recipe.yaml", yaml.safe_dump(plan.recipe.model_dump(mode="json"), sort_keys=False).encode())
    fingerprints = fingerprints_of(states.values())
    look_for_images(folder)
    return Run(plan, folder, fingerprints, executor or LocalProcesses(1), {s.name: s for s in stages}, states)


def make(this: Run, name: str) -> None:
    """Make one stage, or leave it as it is where it is whole."""
    stage = this.stages[name]
    if stage.cached:
        prepare(this.folder, this.states[name])
    stage.run(this)
    if stage.cached:
        empty_trash(this.folder, this.states[name])


def make_with_inputs(this: Run, name: str) -> None:
    """Make a stage and all that it needs."""
    for stage in _closure(list(this.stages.values()), {name}):
        make(this, stage.name)


def _until(stages: Sequence[Stage], until: str | None) -> list[Stage]:
    """The stages up to the step `until`, and what they need."""
    if until is None:
        return list(stages)
    steps = list(dict.fromkeys(stage.step for stage in sorted(stages, key=lambda s: _depth(stages, s))))
    wanted = set(steps[: steps.index(until) + 1])
    return _closure(stages, {stage.name for stage in stages if stage.step in wanted})


def _depth(stages: Sequence[Stage], stage: Stage) -> int:
    """Where the last stage of this step stands: a step is over when all of its stages are."""
    return max(place for place, other in enumerate(stages) if other.step == stage.step)


def _closure(stages: Sequence[Stage], names: set[str]) -> list[Stage]:
    """The named stages and all that come before them, in order."""
    wanted = set(names)
    for stage in reversed(stages):
        if stage.name in wanted:
            wanted |= set(before(stage))
    return [stage for stage in stages if stage.name in wanted]


def _help_training(plan: Plan, folder: Path, until: str | None, on_code_change: OnCodeChange) -> Path:
    """What the other ranks of `accelerate launch` do: wait for the pairs, train with rank 0, and leave."""
    if until in ("corpus", "verify", "score", "select"):
        return folder
    stages = ordered(stages_of(plan))
    states = resolve(stages, folder, on_code_change=on_code_change, elsewhere=trash_folders(folder))
    fingerprints = fingerprints_of(states.values())
    look_for_images(folder)
    this = Run(plan, folder, fingerprints, stages={stage.name: stage for stage in stages}, states=states)
    select = stage_folder(this, "select")
    while not (
        select.ledger_path.exists() and StageFolder(select.folder, "").ledger().get("fingerprint") == select.fingerprint
    ):
        time.sleep(1.0)
    for name, settings in plan.recipe.train.items():
        if is_finished(folder / "train" / name, fingerprints[f"train/{name}"]):
            continue
        start = folder / "train" / settings.start
        while settings.start != "base" and not is_finished(start, fingerprints[f"train/{settings.start}"]):
            time.sleep(1.0)
        this.stages[f"train/{name}"].run(this)
    return folder
