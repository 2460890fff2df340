"""How high may the learning rate be? Short trials of one stage over a grid, each ended at the guard's first alarm.

    found = lr_find(recipe, runs_dir=Path("runs"), stage="redi", weights=[0.8, 1.0], rates=[1e-4, 3e-4], steps=100)
    found["largest"]     [{"rejected_weight": 0.8, "learning_rate": 3e-4}, {"rejected_weight": 1.0, "learning_rate": 1e-4}]

A trial warms up as the stage does, then holds its rate to the end: harder than a real run, whose rate decays. It runs on
the run's own pairs and start student, which are made first where they are missing. Finished trials are kept in
runs/NAME/lr-find/STAGE.json and are not run again.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from redistill.config.binding import bind
from redistill.config.tables import GuardSettings, Plugin, Recipe, StageSettings
from redistill.config.validation_messages import did_you_mean
from redistill.errors import OperatorError
from redistill.io.atomic import make_folder, read_json, write_json
from redistill.io.fingerprints import fingerprint
from redistill.io.progress import say
from redistill.io.stage_folder import StageFolder
from redistill.pipeline.conversations import modifiers_of
from redistill.pipeline.graph import OnCodeChange
from redistill.pipeline.lock import alone
from redistill.pipeline.plan import make_plan, stage_stream
from redistill.pipeline.run import make_with_inputs, open_run
from redistill.pipeline.run_folder import RunOrigin
from redistill.pipeline.stage import Run
from redistill.pipeline.students import critic_loader, load_start, load_student
from redistill.text.figures import percent
from redistill.train import OBJECTIVES
from redistill.train.guard import chosen_fall
from redistill.train.guard_state import read_lines
from redistill.train.stage import StageJob, train_stage

LOOKS = 10  # how often a trial is looked at


def lr_find(
    recipe: Recipe,
    *,
    runs_dir: Path,
    stage: str,
    weights: Sequence[float],
    rates: Sequence[float],
    steps: int,
    recipe_file: str = "",
    on_code_change: OnCodeChange = "ask",
) -> dict[str, Any]:
    """The trials of a grid and, for each weight, the largest rate without an alarm (None where every rate had one).

    `weights` are values of the objective's rejected_weight; none: the objective as the recipe has it. Rates are tried from
    the smallest; above one that was alarmed, larger ones of that weight are not tried. OperatorError for an unknown stage, one
    with rollouts, or an objective without that option.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise OperatorError("lr-find: it runs as one process; start it without accelerate launch or torchrun.")
    if stage not in recipe.train:
        raise OperatorError(f"lr-find: no stage is called {stage!r}{did_you_mean(stage, recipe.train)}")
    settings = recipe.train[stage]
    if settings.rollouts is not None:
        raise OperatorError(
            f"lr-find: train.{stage} samples its own rows, and its rounds determine the number of steps, so a trial of a few steps "
            "shows little; try rates with `redistill sweep` and fewer rounds."
        )
    plan = make_plan(recipe)
    tried: list[float | None] = [*weights] if weights else [None]
    plugins = {w: Plugin(name=settings.objective.name, options=_options(settings.objective, w)) for w in tried}
    objectives = {weight: bind(OBJECTIVES, plugin, "lr-find --weights") for weight, plugin in plugins.items()}
    folder = runs_dir / recipe.name
    make_folder(folder)
    path = folder / "lr-find" / f"{stage}.json"
    with alone(folder):
        run = open_run(
            plan, folder, origin=RunOrigin(recipe_file, recipe.name), until="train", on_code_change=on_code_change
        )
        make_with_inputs(run, "select")
        if recipe.train[stage].start != "base":
            make_with_inputs(run, f"train/{recipe.train[stage].start}")
        trials = {t["fingerprint"]: t for t in (read_json(path)["trials"] if path.exists() else [])}
        table: list[dict[str, Any]] = []
        skipped: list[dict[str, Any]] = []
        for weight, objective in objectives.items():
            for rate in sorted(rates):
                trial = _trial_settings(recipe, settings, plugins[weight], rate, steps)
                stage_fingerprint = fingerprint(run.fingerprints[f"train/{stage}"], trial.model_dump())
                if stage_fingerprint not in trials:
                    trials[stage_fingerprint] = {
                        "fingerprint": stage_fingerprint,
                        "rejected_weight": weight,
                        "learning_rate": rate,
                    }
                    trials[stage_fingerprint] |= _try(run, stage, trial, objective, stage_fingerprint)
                    write_json(path, {"trials": list(trials.values())})
                table.append(trials[stage_fingerprint])
                say(f"lr-find  {sentence(table[-1])}")
                if not table[-1]["good"]:
                    left = [other for other in sorted(rates) if other > rate]
                    skipped += [{"rejected_weight": weight, "learning_rate": other, "after": rate} for other in left]
                    if left:
                        say(f"lr-find  {skipped_sentence(weight, left, rate)}")
                    break
    largest = []
    for weight in plugins:
        good = [t["learning_rate"] for t in table if t["rejected_weight"] == weight and t["good"]]
        largest.append({"rejected_weight": weight, "learning_rate": max(good, default=None)})
    return {"stage": stage, "objective": settings.objective.name, "steps": steps, "trials": table, "skipped": skipped,
            "largest": largest}  # fmt: skip


def skipped_sentence(weight: float | None, rates: Sequence[float], after: float) -> str:
    """Which rates were not tried, and why."""
    of = "" if weight is None else f"weight {weight:g}, "
    listed = ", ".join(f"{rate:.3g}" for rate in rates)
    return f"{of}not tried: {listed}, because a lower rate ({after:.3g}) already raised an alarm"


def sentence(trial: dict[str, Any]) -> str:
    """One trial as a line of text."""
    weight = "" if trial["rejected_weight"] is None else f"weight {trial['rejected_weight']:g}, "
    reasons = f" ({', '.join(trial['reasons'])})" if trial["reasons"] else ""
    return f"{weight}rate {trial['learning_rate']:.3g}: {trial['state']}{reasons} after {trial['steps']} steps"


def table_text(result: dict[str, Any]) -> str:
    """The whole answer for a terminal."""
    lines = [f"{'weight':>7} {'rate':>9} {'steps':>6} {'chosen fell':>12} {'margin':>8} {'probe, %':>9}  state"]
    for trial in result["trials"]:
        weight = "-" if trial["rejected_weight"] is None else f"{trial['rejected_weight']:g}"
        margin = "-" if trial["held_out_margin"] is None else f"{trial['held_out_margin']:.3f}"
        probe = percent(trial["probe_accuracy"])
        state = trial["state"] + (f" ({', '.join(trial['reasons'])})" if trial["reasons"] else "")
        lines.append(
            f"{weight:>7} {trial['learning_rate']:>9.3g} {trial['steps']:>6} {trial['chosen_fall']:>12.3f} {margin:>8} "
            f"{probe:>6}  {state}"
        )
    passed: dict[tuple[float | None, float], list[float]] = {}
    for one in result["skipped"]:
        passed.setdefault((one["rejected_weight"], one["after"]), []).append(one["learning_rate"])
    lines += [skipped_sentence(weight, rates, after) for (weight, after), rates in passed.items()]
    for best in result["largest"]:
        weight = "" if best["rejected_weight"] is None else f"weight {best['rejected_weight']:g}: "
        rate = "none of these" if best["learning_rate"] is None else f"{best['learning_rate']:.3g}"
        lines.append(f"{weight}largest rate without an alarm: {rate}")
    return "\n".join(lines)


def _options(objective: Plugin, weight: float | None) -> dict[str, Any]:
    return objective.options if weight is None else {**objective.options, "rejected_weight": weight}


def _trial_settings(
    recipe: Recipe, settings: StageSettings, objective: Plugin, rate: float, steps: int
) -> StageSettings:
    every = max(1, steps // LOOKS)
    looks = {"action": "log", "every": every, "probe_every": every if recipe.corpus.dev_fraction > 0 else 0}
    guard = (settings.guard or GuardSettings()).model_copy(update=looks)
    changed = {"objective": objective, "learning_rate": rate, "steps": steps, "decay": "constant", "guard": guard}
    return settings.model_copy(update={**changed, "save_every": steps + 1})


def _try(run: Run, stage: str, settings: StageSettings, objective: Any, stage_fingerprint: str) -> dict[str, Any]:
    folder = run.folder / "lr-find" / f"{stage}-trial"
    job = StageJob(
        folder=folder,
        stage=stage,
        settings=settings,
        objective=objective,
        fingerprint=stage_fingerprint,
        seed=run.recipe.seed,
        card="",
        modifiers=modifiers_of(run, stage),
        trial=True,
    )
    with run.plan.probe(stage, settings, run.folder) as probe:
        ledger = train_stage(
            job,
            records=StageFolder(run.folder / "select", "").read(stage_stream(run.plan, stage)),
            student=lambda: load_start(run, stage),
            reference=(lambda: load_student(run, settings.reference or "base")) if settings.reference else None,
            probe=probe,
            critic=critic_loader(run, stage),
        )
    history = read_lines(folder / "metrics.jsonl")
    shutil.rmtree(folder)
    last = history[-1]
    measured = [line for line in history if line.get("held_out_margin") is not None]
    probed = [line for line in history if line.get("probe_accuracy") is not None]
    return {
        "steps": ledger["steps"],
        "state": last["guard"],
        "reasons": last.get("guard_reasons", []),
        "good": last["guard"] in ("steady", "drift"),
        "chosen_fall": chosen_fall(history),
        "held_out_margin": measured[-1]["held_out_margin"] if measured else None,
        "probe_accuracy": probed[-1]["probe_accuracy"] if probed else None,
    }
