"""What tests of rollouts share: a job whose answers are judged in this process, and a stage that trains on them."""

import functools
from pathlib import Path

from redistill.config.tables import LimitSettings, Plugin, RolloutSettings, StageSettings
from redistill.records import Outcome, Verdict, make_problem
from redistill.rollout.answer import EvalConfig
from redistill.rollout.requests import Sampling
from redistill.rollout.stage_engines import in_process
from redistill.select.pairing import certain
from redistill.train.advantages import ADVANTAGES
from redistill.train.rollout_supply import Rollouts
from redistill.train.rollouts import RolloutJob
from redistill.train.stage import StageJob, train_stage
from redistill.train.teachers import LoadedTeacher

from .conftest import tiny_student

PROBLEMS = [make_problem(f"{a}+{b}=", answer=str(a + b)) for a in range(1, 4) for b in range(1, 4)]


class HerePool:
    """A pool that judges in this process: right where the answer begins with an even digit, unreadable without a digit."""

    names = ("cascade",)

    def judge(self, items, names):
        for _, trace in items:
            first = next((c for c in trace.completion if c.isdigit()), None)
            even = first is not None and int(first) % 2 == 0
            outcome = Outcome.disagree if first is None else Outcome.correct if even else Outcome.incorrect
            yield {"cascade": Verdict(outcome)}


def right(problem, trace):
    outcome = trace.verdict.outcome
    return None if outcome is Outcome.disagree else float(outcome is Outcome.correct)


def job_of(
    problems=PROBLEMS,
    rewards=((1.0, right),),
    advantage="group",
    max_new_tokens=6,
    seed=0,
    engine=in_process,
    **settings,
):
    rollouts = RolloutSettings(**{"problems": 3, "n": 4, "rounds": 3, **settings})
    sampling = Sampling(rollouts.n, 1.0, 1.0, max_new_tokens, logprobs=True)
    config = EvalConfig(
        engine,
        lambda problem: problem.statement,
        {"cascade": None},
        "cascade",
        sampling,
        0,
        LimitSettings(),
    )
    return RolloutJob(
        settings=rollouts,
        config=config,
        problems=problems,
        rewards=rewards,
        advantage=ADVANTAGES[advantage] if isinstance(advantage, str) else advantage,
        pairing=functools.partial(certain, max_pairs=2, _keep_truncated=True),
        pool=HerePool(),
        author="own",
        seed=seed,
    )


SETTINGS = StageSettings(
    objective=Plugin(name="grpo"), learning_rate=1e-2, batch_size=4, save_every=2, tokens_per_micro_batch=60, warmup=0.0
)


def stage(
    folder,
    objective,
    job,
    settings=SETTINGS,
    teacher=None,
    student=tiny_student,
    fingerprint="f",
    teacher_of_objective=None,
    **more,
):
    """One stage on its own answers, under the name "own"."""
    of_job = {name: more.pop(name) for name in ("modifiers", "trial") if name in more}
    stage_job = StageJob(Path(folder), "own", settings, objective, fingerprint, seed=0, card="a card", **of_job)
    spec = LoadedTeacher(teacher) if callable(teacher) else teacher
    return train_stage(
        stage_job, records=(), student=student, teacher=teacher_of_objective, drawn=Rollouts(job, spec), **more
    )
