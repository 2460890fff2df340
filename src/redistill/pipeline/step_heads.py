"""Stages that measure a critic with a score head on benchmarks of labelled steps.

    evaluate: {models: [prm], benchmarks: [{name: bigbench-mistake, file: mistakes.jsonl}]}
    runs/x/evaluate/prm/bigbench-mistake/scores.json      {..., "steps": {"error_accuracy": ..., "f1": ...}}

The head reads each solution once and says of every step how likely it is right; from there on its verdicts are kept, counted and
compared like those of a critic that writes (step_judging.py).
"""

from functools import partial
from pathlib import Path

from redistill.config.tables import BenchmarkSettings, Recipe
from redistill.evaluate.stage import PROBABILITIES, description, join_of, keep_judged, step_facts
from redistill.evaluate.step_benchmarks import load_solutions
from redistill.evaluate.step_heads import P_YES, head_judgements
from redistill.io.atomic import write_json
from redistill.model.reward_heads import Origin, open_reader
from redistill.pipeline.benchmarks import asked, problems_of
from redistill.pipeline.choosing import score_answers
from redistill.pipeline.keys import values
from redistill.pipeline.plan import Plan, input_name
from redistill.pipeline.stage import Run, Stage, stage_folder


def one_look(recipe: Recipe) -> Recipe:
    """The recipe as it is for a head, which looks at each step once."""
    critic = recipe.evaluate.critic.model_copy(update={"analyses": 1})
    return recipe.model_copy(update={"evaluate": recipe.evaluate.model_copy(update={"critic": critic})})


def head_stages(plan: Plan, name: str, benchmark: BenchmarkSettings) -> list[Stage]:
    """The verdicts of one critic on the steps of one benchmark, and their scores."""
    recipe, verdicts = plan.recipe, f"evaluate/{name}/{benchmark.name}"
    critic = recipe.evaluate.critic
    return [
        Stage(
            verdicts,
            inputs=(f"train/{name}",),
            settings=values(
                prompt=recipe.prompt.for_training,
                limits=[recipe.verify.timeout_seconds, recipe.verify.memory_mb],
                asked=asked(plan.eval_config(benchmark)),
                problems=plan.inputs[input_name(benchmark)],
                benchmark=benchmark.model_dump(exclude={"file"}),
                seed=recipe.seed,
                join=join_of(recipe),
                line=critic.line,
            ),
            run=partial(run_verdicts, name=name, benchmark=benchmark),
            uses=(head_judgements, plan.render),
            command="evaluate",
        ),
        Stage(
            f"{verdicts}/scores",
            inputs=(verdicts,),
            settings=values(threshold=critic.threshold),
            run=partial(run_head_scores, name=name, benchmark=benchmark),
            uses=(step_facts,),
            command="evaluate",
            path=f"{verdicts}/scores.json",
        ),
    ]


def run_verdicts(run: Run, *, name: str, benchmark: BenchmarkSettings) -> None:
    """Score every labelled step and keep the verdicts."""
    recipe = one_look(run.recipe)
    folder = stage_folder(run, f"evaluate/{name}/{benchmark.name}", description(benchmark, recipe))
    if folder.is_finished():
        return
    reader = open_reader("ours", Origin(str(Path(run.folder / "train" / name / "model")), None, f"evaluate ({name})"))
    groups = head_judgements(
        reader,
        run.plan.render,
        load_solutions(benchmark, recipe.seed),
        author=name,
        line=recipe.evaluate.critic.line,
        join=join_of(recipe),
    )
    keep_judged(folder, run.plan.eval_config(benchmark), groups, label=f"evaluate {name}")


def run_head_scores(run: Run, *, name: str, benchmark: BenchmarkSettings) -> None:
    """Scores of the stored verdicts."""
    folder, recipe = stage_folder(run, f"evaluate/{name}/{benchmark.name}"), one_look(run.recipe)
    if (folder.folder / "scores.json").exists():
        return
    probabilities = {t.id: t.scores.get(P_YES) for group in folder.read("groups") for t in group.traces}
    write_json(folder.folder / PROBABILITIES, {"p_yes": probabilities})
    steps = step_facts(folder, benchmark, recipe, problems_of(run, benchmark))
    score_answers(folder, recipe, benchmark, model=name, render=run.plan.render, **steps)
