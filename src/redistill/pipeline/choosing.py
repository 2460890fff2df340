"""Scores of students' answers, for choices by a scorer: per student, benchmark and scorer one stage between answers and scores.

    evaluate: {choose: [{name: best-of-n, by: {name: process, model: runs/critic/train/prm/model}}]}
    ->  evaluate/redi/dev/scorers/process/marks/part-00000.parquet

A scorer is one of the recipe's `score` that a choice names, or one that the choice writes out. Its work is that of the stage `score`: shard
by shard, resumable, and a trace that it cannot score gets a reason.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redistill.config.tables import BenchmarkSettings, Evaluation, Recipe, ScorerSettings
from redistill.errors import OperatorError
from redistill.evaluate.choose import scorers_of
from redistill.evaluate.stage import description, samples_of, write_scores
from redistill.io.stage_folder import StageFolder
from redistill.pipeline.keys import values
from redistill.pipeline.scoring import bind_scorer, draws_traces, score_shards, scorer_settings
from redistill.pipeline.stage import Run, Stage, stage_folder
from redistill.records import Group, Problem
from redistill.score.stage import joined

if TYPE_CHECKING:
    from redistill.pipeline.plan import Plan


def scorer_stages(plan: "Plan", answers: str) -> list[Stage]:
    """The stages that score the answers of one student on one benchmark; none where nothing is chosen by a scorer."""
    stages = []
    for settings in scorers_of(plan.recipe.evaluate.choose, plan.recipe.score):
        function = bind_answer_scorer(settings)
        stage = Stage(
            f"{answers}/scorers/{settings.folder}",
            inputs=(answers,),
            settings=values(**scorer_settings(plan, settings, function)),
            run=partial(run_answer_scorer, answers=answers, settings=settings, function=function),
            uses=(function,),
            command="evaluate",
            costly=True,
        )
        stages.append(stage)
    return stages


def bind_answer_scorer(settings: ScorerSettings) -> partial[Any]:
    """A scorer of answers with its options bound. OperatorError for one that draws answers itself: it scores problems."""
    function = bind_scorer(settings, "evaluate.choose")
    if draws_traces(function):
        raise OperatorError(
            f"evaluate.choose: {settings.name} scores a problem by answers that it samples itself, so it cannot score the student's answers."
        )
    return function


def run_answer_scorer(run: Run, *, answers: str, settings: ScorerSettings, function: partial[Any]) -> None:
    """Score the stored answers."""
    folder = stage_folder(run, f"{answers}/scorers/{settings.folder}", settings.model_dump(mode="json"))
    score_shards(run, folder, StageFolder(run.folder / answers, ""), settings, function)


def score_answers(
    folder: StageFolder,
    recipe: Recipe | Evaluation,
    benchmark: BenchmarkSettings,
    *,
    model: str,
    render: Callable[[Problem], str],
    **fields: Any,
) -> dict[str, Any]:
    """Write scores.json of a student's finished answers, with what its choices are worth by what their scorers found, and the prompt of
    the first problem as it was sent (`prompt_sent`)."""
    known = recipe.score if isinstance(recipe, Recipe) else ()
    chosen = recipe.evaluate.choose
    first = next(folder.read("groups"), None)
    fields["prompt_sent"] = "" if first is None else render(first.problem)
    return write_scores(
        folder, n=samples_of(recipe.evaluate, benchmark), choose=chosen, model=model, benchmark=benchmark.name, settings=description(benchmark, recipe),
        groups=with_scores(folder.folder, [settings.folder for settings in scorers_of(chosen, known)]), **fields,
    )  # fmt: skip


def with_scores(folder: Path, scorers: Sequence[str] | None = None) -> Iterator[Group]:
    """The answers in `folder` with what scorers found of them; default: all scorers that have finished there. Traces that a
    scorer drew itself are not answers of the student, and are left out."""
    if scorers is None:
        scorers = sorted(ledger.parent.name for ledger in folder.glob("scorers/*/ledger.json"))
    marks = [StageFolder(folder / "scorers" / name, "").read("marks") for name in scorers]
    for group, *marked in zip(StageFolder(folder, "").read("groups"), *marks, strict=True):
        whole = group
        for new in marked:
            whole = joined(whole, new)
        yield replace(group, traces=whole.traces[: len(group.traces)])
