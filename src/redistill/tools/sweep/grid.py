"""What a sweep asks for: a recipe, named variants, axes and seeds -> one resolved recipe a trial.

name: weights
recipe: recipe.yaml                # beside this file, or from where you stand
stage: redi                        # the stage that varies, and whose student is scored
seeds: [0, 1, 2, 3, 4]
axes: {train.redi.learning_rate: [1e-4, 3e-4]}
variants:
  control: {set: {train.redi.objective: {name: redi, rejected_weight: 0.0}}}
  redi: {axes: {train.redi.objective.rejected_weight: [0.5, 0.8]}}
control: control

make_trials(read_sweep("sweep.yaml"))   ->  [Trial("control.learning_rate-0.0001.seed-0", ...), ...]
"""

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from redistill.config.parsing import parse_recipe, sentences_of
from redistill.config.tables import Recipe, Settings
from redistill.config.validation_messages import did_you_mean
from redistill.config.yaml_text import put, read_tree
from redistill.errors import OperatorError
from redistill.io.fingerprints import fingerprint

MAX_TRIALS = 10_000
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$"
_LABEL = re.compile(r"[^A-Za-z0-9._-]+")


class VariantSettings(Settings):
    """One named way of doing it: changes to the recipe, and axes of its own beside the sweep's."""

    stage: str | None = None  # the student that is scored; default: the sweep's stage
    set: dict[str, Any] = Field(default_factory=dict)
    axes: dict[str, list[Any]] = Field(default_factory=dict)


class SweepSettings(Settings):
    """A sweep's file."""

    name: str = Field(pattern=_NAME)
    recipe: str
    stage: str
    seeds: list[int] = Field(default_factory=lambda: [0], min_length=1)
    set: dict[str, Any] = Field(default_factory=dict)
    axes: dict[str, list[Any]] = Field(default_factory=dict)
    variants: dict[str, VariantSettings] = Field(default_factory=dict)
    control: str | None = None
    choose: list[str] = Field(default_factory=list)  # axes whose best value each seed takes from the other seeds


@dataclass(frozen=True, slots=True)
class Trial:
    """One point of the grid with one seed. `settings`: the values of its axes; `recipe`: resolved, with its stages only."""

    id: str
    variant: str
    settings: dict[str, Any]
    seed: int
    stage: str
    recipe: Recipe

    @property
    def point(self) -> str:
        """What the trials of all seeds share."""
        return f"{self.variant} {json.dumps(self.settings, sort_keys=True)}"


def read_sweep(path: str | Path, overrides: Sequence[str] = (), name: str | None = None) -> SweepSettings:
    """A sweep's file, checked; `recipe` becomes the path from here. OperatorError lists every mistake, one a line."""
    path = Path(path)
    tree = read_tree(path, overrides, name)
    try:
        sweep = SweepSettings.model_validate(tree)
    except ValidationError as error:
        raise OperatorError(f"{path}: " + "\n  ".join(sentences_of(error, SweepSettings))) from error
    if not sweep.variants:
        sweep = sweep.model_copy(update={"variants": {sweep.stage: VariantSettings()}})
    sibling = path.parent / sweep.recipe
    sweep = sweep.model_copy(update={"recipe": str(sibling if sibling.is_file() else sweep.recipe)})
    _check(sweep, str(path))
    return sweep


def _check(sweep: SweepSettings, where: str) -> None:
    wrong = []
    if sweep.control is not None and sweep.control not in sweep.variants:
        wrong.append(f"control: no variant is called {sweep.control!r}{did_you_mean(sweep.control, sweep.variants)}")
    for name, variant in sweep.variants.items():
        if not re.match(_NAME, name):
            wrong.append(f"variants.{name}: name a variant with letters, digits, '.', '_' and '-' (40 at most)")
        wrong += [f"variants.{name}.axes.{axis}: it has no values" for axis, v in variant.axes.items() if not v]
    wrong += [f"axes.{axis}: it has no values" for axis, values in sweep.axes.items() if not values]
    axes = {*sweep.axes, *(axis for variant in sweep.variants.values() for axis in variant.axes)}
    if "seed" in axes:
        wrong.append("axes.seed: write seeds: [0, 1, 2] instead; a table over seeds needs to know them")
    wrong += [f"choose: {axis!r} is not an axis{did_you_mean(axis, axes)}" for axis in sweep.choose if axis not in axes]
    if len(set(sweep.seeds)) < len(sweep.seeds):
        wrong.append("seeds: one stands there twice")
    if sweep.choose and len(sweep.seeds) < 2:
        wrong.append("choose: a seed uses the values that were best on the other seeds; give two seeds or more")
    if wrong:
        raise OperatorError(f"{where}: " + "\n  ".join(wrong))


def make_trials(sweep: SweepSettings) -> list[Trial]:
    """Every variant with every value of its axes and every seed; seeds run fastest, so that neighbours share nothing and
    workers do not wait for one another. OperatorError where a trial's recipe is wrong."""
    tree = read_tree(sweep.recipe)
    trials: list[Trial] = []
    ids: set[str] = set()
    for name, variant in sweep.variants.items():
        axes = _axes(sweep, variant, tree)
        for values in itertools.product(*axes.values()):
            settings = dict(zip(axes, values))
            for seed in sweep.seeds:
                trials.append(_trial(sweep, name, variant, settings, seed, ids))
        if len(trials) > MAX_TRIALS:
            raise OperatorError(f"{sweep.name}: over {MAX_TRIALS:,} trials; leave out some values.")
    return trials


def _axes(sweep: SweepSettings, variant: VariantSettings, tree: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The axes of a variant: its own over the sweep's; those of stages that do not lead to its student are left out."""
    own = {**sweep.axes, **variant.axes}
    recipe = _changed(sweep, variant, {}, sweep.seeds[0])
    stages = recipe.get("train") if isinstance(recipe.get("train"), Mapping) else tree.get("train", {})
    leads = _needed(stages or {}, variant.stage or sweep.stage)
    return {axis: values for axis, values in own.items() if _stage_of(axis) is None or _stage_of(axis) in leads}


def _stage_of(axis: str) -> str | None:
    parts = axis.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "train" else None


def _needed(stages: Mapping[str, Any], stage: str) -> set[str]:
    """The stages that lead to one, itself included."""
    needed: set[str] = set()
    waiting = [stage]
    while waiting:
        name = waiting.pop()
        if name in stages and name not in needed:
            needed.add(name)
            settings = stages[name] if isinstance(stages[name], Mapping) else {}
            waiting += [settings[key] for key in ("start", "reference") if isinstance(settings.get(key), str)]
    return needed


def _changed(sweep: SweepSettings, variant: VariantSettings, settings: Mapping[str, Any], seed: int) -> dict[str, Any]:
    tree = read_tree(sweep.recipe)
    for key, value in {**sweep.set, **variant.set, **settings}.items():
        copied = json.loads(json.dumps(value, default=str).replace("{seed}", str(seed)))  # no two trials share a table
        put(tree, key, copied, f"{sweep.name}: {key}")
    return {**tree, "seed": seed}


def _trial(
    sweep: SweepSettings, name: str, variant: VariantSettings, settings: dict[str, Any], seed: int, ids: set[str]
) -> Trial:
    stage = variant.stage or sweep.stage
    tree = _changed(sweep, variant, settings, seed)
    parts = [f"{axis.split('.')[-1]}-{_label(value)}" for axis, value in settings.items()]
    id = ".".join([name, *parts, f"seed-{seed}"])
    if len(id) > 90 or id in ids:
        id = f"{id[:80]}.{fingerprint(name, settings, seed)[:8]}"
    ids.add(id)
    recipe = parse_recipe({**tree, "name": id}, f"{sweep.recipe}, trial {id}")
    if stage != "base" and stage not in recipe.train:
        raise OperatorError(
            f"{sweep.name}, variant {name}: no stage is called {stage!r}{did_you_mean(stage, recipe.train)}"
        )
    stages = {key: recipe.train[key].model_dump(mode="json") for key in recipe.train}
    needed = _needed(stages, stage)
    train = {key: value for key, value in recipe.train.items() if key in needed or stage == "base"}
    evaluate = recipe.evaluate.model_copy(update={"models": [stage]})
    recipe = recipe.model_copy(update={"train": train, "evaluate": evaluate, "diagnosis": None})
    return Trial(id, name, settings, seed, stage, recipe)


def _label(value: Any) -> str:
    if isinstance(value, Mapping) and "name" in value:
        value = "-".join(str(v) for v in value.values())
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return _LABEL.sub("-", text).strip("-")[:24] or "none"
