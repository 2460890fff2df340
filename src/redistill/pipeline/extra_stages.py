"""Stages that a recipe adds between and after the six: `stages: [{name: limit-traces, after: corpus, per_problem: 8}]`.

After `corpus`, `verify` or `score` a stage is a function of Groups, done shard by shard like those stages, and what comes next reads
its Groups. After any other it is a function of the run's folder and its own folder. Either is a plug-in: a function, its
keyword-only arguments its options, and a line in the table below.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from redistill.config.tables import ExtraStage, Recipe
from redistill.evaluate.score_csv import score_csv
from redistill.io.joined import Base, can_add
from redistill.io.parquet import read_records
from redistill.io.progress import say
from redistill.io.shards import ShardInput, make_parts, parts_to_do
from redistill.io.stage_folder import Account, Shard, StageFolder
from redistill.pipeline.keys import values
from redistill.pipeline.stage import Run, Stage, stage_folder
from redistill.records import Dropped, Group
from redistill.select.limit_traces import limit_traces

ON_GROUPS = ("corpus", "verify", "score")  # after these a stage is given Groups, after others the run's folder


def feeding(recipe: Recipe, step: str) -> str:
    """The stage whose groups `verify`, `score` or `select` reads: the last one that a recipe puts before it."""
    above = {"verify": "corpus", "score": "verify", "select": "score" if recipe.score else "verify"}[step]
    return next((stage.folder for stage in reversed(recipe.stages) if stage.after == above), above)


def extra_stages(bound: Sequence[tuple[ExtraStage, partial[Any]]], last: dict[str, str]) -> list[Stage]:
    """The stages of a recipe's `stages`. last: the stage of the run that stands for each step they may come after."""
    stages = []
    for settings, function in bound:
        before = last[settings.after]
        run = run_on_groups if settings.after in ON_GROUPS else run_on_folder
        stages.append(
            Stage(
                settings.folder,
                inputs=(before,) if settings.after in ON_GROUPS else (),
                after=() if settings.after in ON_GROUPS else (before,),
                settings=values(stage=settings.model_dump(mode="json")),
                run=partial(run, settings=settings, function=function, before=before),
                uses=(function,),
                cached=settings.after in ON_GROUPS,
            )
        )
        last = {**last, settings.after: settings.folder}
    return stages


def run_on_groups(run: Run, *, settings: ExtraStage, function: partial[Any], before: str) -> None:
    """Every shard of the stage before it through the function; a trace that is gone is dropped under the stage's name."""
    folder = stage_folder(run, settings.folder, settings.model_dump(mode="json"))
    if folder.is_finished():
        return
    folder.open()
    source = StageFolder(run.folder / before, "")
    make_parts(
        run.executor,
        folder,
        partial(apply_to_shard, folder, function, settings.folder),
        parts_to_do(source, folder),
    )
    ledger = folder.finish(source.ledger()["num_shards"])
    account = ledger["accounts"]["traces"]
    say(f"{settings.folder:<8} traces: {account['kept']} of {account['in']} kept")


def apply_to_shard(
    folder: StageFolder, function: Callable[[list[Group]], list[Group]], name: str, part: ShardInput
) -> int:
    """One shard through the function, into the folder; returns 1."""
    before: list[Group] = list(read_records(part.path))
    after = function(before)
    kept = {trace.id for group in after for trace in group.traces}
    account, dropped = Account("trace"), []
    for trace in (trace for group in before for trace in group.traces):
        if trace.id in kept:
            account.keep()
        else:
            account.drop(name)
            dropped.append(Dropped(trace.id, name, name))
    base = Base(part.path, leaves_out=True) if can_add(before, after) else None
    folder.finish_shard(part.index, Shard({"groups": (Group, after)}, {"traces": account}, dropped), base=base)
    return 1


def run_on_folder(run: Run, *, settings: ExtraStage, function: partial[Any], before: str) -> None:
    """The function on the run's folder; its own is made first."""
    output = run.folder / settings.folder
    output.mkdir(parents=True, exist_ok=True)
    function(run.folder, output)
    say(f"{settings.folder:<8} {output}")


GROUP_STAGES: dict[str, Callable[..., list[Group]]] = {
    "limit-traces": limit_traces,
}
FOLDER_STAGES: dict[str, Callable[[Path, Path], None] | Callable[..., None]] = {
    "score-csv": score_csv,
}
