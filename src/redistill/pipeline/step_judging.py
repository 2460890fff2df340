"""The part of evaluation that only benchmarks of labelled steps have: P(Yes) of each stored analysis, read from the critic itself.

    runs/x/evaluate/dpo/processbench/p_yes.json      {"p_yes": {"t4f1...": 0.93, ...}}

Analyses are drawn, kept and verified as any student's answers; this stage reads probabilities off them, and the scores follow from both,
so another threshold asks nobody anything.
"""

from functools import partial
from typing import TYPE_CHECKING, Any

from redistill.config.tables import BenchmarkSettings, CriticSettings
from redistill.evaluate.stage import PROBABILITIES, find_probabilities, join_of
from redistill.pipeline.keys import values
from redistill.pipeline.stage import Run, Stage, stage_folder
from redistill.pipeline.student_identity import student_address
from redistill.pipeline.students import load_student
from redistill.rollout import Student
from redistill.rollout.step_rewards import yes_probabilities

if TYPE_CHECKING:
    from redistill.pipeline.plan import Plan

_READ = ("read", "line", "no_marker", "first_piece")  # what P(Yes) of an analysis depends on


def asked_of_critic(plan: "Plan", benchmark: BenchmarkSettings) -> dict[str, Any]:
    """What the analyses of a benchmark depend on beside what all answers do; {} of one that asks for answers."""
    if not benchmark.asks_steps:
        return {}
    return {"analyses": plan.recipe.evaluate.critic.analyses, "join": join_of(plan.recipe)}


def scored_by(plan: "Plan", benchmark: BenchmarkSettings) -> dict[str, Any]:
    """What the scores depend on beside the answers and their number."""
    return {"critic": plan.recipe.evaluate.critic} if benchmark.asks_steps else {}


def probability_stages(plan: "Plan", name: str, benchmark: BenchmarkSettings) -> list[Stage]:
    """The stage that reads P(Yes) of one critic's analyses; none for a benchmark that asks for answers."""
    if not benchmark.asks_steps:
        return []
    answers = f"evaluate/{name}/{benchmark.name}"
    critic: CriticSettings = plan.recipe.evaluate.critic
    return [
        Stage(
            f"{answers}/p_yes",
            inputs=(answers, *((f"train/{name}",) if name != "base" else ())),
            settings=values(**{setting: getattr(critic, setting) for setting in _READ}),
            run=partial(run_probabilities, name=name, benchmark=benchmark),
            uses=(yes_probabilities,),
            command="evaluate",
            path=f"{answers}/{PROBABILITIES}",
            costly=True,
        )
    ]


def run_probabilities(run: Run, *, name: str, benchmark: BenchmarkSettings) -> None:
    """Read and write P(Yes) of every analysis."""
    folder = stage_folder(run, f"evaluate/{name}/{benchmark.name}")
    find_probabilities(folder, run.plan.eval_config(benchmark), student_of(run, name), run.recipe.evaluate.critic)


def student_of(run: Run, name: str) -> Student:
    """A student of the run as engines meet it."""
    address = (
        student_address(run.recipe.student)
        if name == "base"
        else str((run.folder / "train" / name / "model").resolve())
    )
    return Student(lambda: load_student(run, name), address, owned=True)
