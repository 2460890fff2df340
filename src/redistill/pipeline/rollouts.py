"""What a stage's `rollouts` name, bound and checked, and the job that its trainer is given.

bound = bind_rollouts(recipe, "grpo", objective)          OperatorError where the parts do not fit together
with rollouts_of(run, "grpo") as drawn:
    train_stage(job, records=(), student=..., drawn=drawn)
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redistill.config.binding import bind
from redistill.config.tables import BenchmarkSettings, Plugin, Recipe, RolloutSettings, ScorerSettings, Settings
from redistill.errors import OperatorError
from redistill.evaluate.stage import verifiers_of
from redistill.io.progress import say
from redistill.io.stage_folder import StageFolder
from redistill.model import loading
from redistill.pipeline.benchmarks import corpus_problems
from redistill.pipeline.extra_stages import feeding
from redistill.pipeline.keys import table
from redistill.pipeline.retrieval import index_files, with_index
from redistill.pipeline.scoring import bind_scorer, needs_of, scorer_settings
from redistill.pipeline.teachers import (
    Given,
    check_sources,
    check_teacher,
    first_right_traces,
    needs_traces,
    spec_of,
)
from redistill.records import Group, Problem
from redistill.rollout.answer import EvalConfig
from redistill.rollout.openai_engine import TRANSPORT
from redistill.rollout.requests import Sampling
from redistill.rollout.stage_engines import STAGE_ENGINES, check_engine, refreshed_server, say_what_none_means
from redistill.score import BoundScorer
from redistill.score.stage import with_scores_of
from redistill.select import PAIRINGS, split_key, split_of
from redistill.train import needs_pairs, needs_teacher
from redistill.train.action_rows import is_of_actions, option_of
from redistill.train.advantages import ADVANTAGES
from redistill.train.objectives import CRITIC_OBJECTIVES, needs_behaviour, needs_mismatched, needs_values
from redistill.train.objectives.implicit import is_implicit
from redistill.train.objectives.policy import oreal
from redistill.train.rollouts import RolloutJob, is_of_teacher, kept_answers, reads_advantages
from redistill.verify.pool import VerifierPool
from redistill.verify.relevance import has_gold
from redistill.verify.rewards import REWARDS
from redistill.verify.spread_pool import SpreadPool
from redistill.verify.stage import VerifyTask

if TYPE_CHECKING:
    from redistill.pipeline.plan import Plan
    from redistill.pipeline.stage import Run
    from redistill.train.rollout_supply import Rollouts

TABLES: dict[str, Mapping[str, Any]] = {
    "train.*.rollouts.reward": REWARDS,
    "train.*.rollouts.advantage": ADVANTAGES,
    "train.*.rollouts.pairing": PAIRINGS,
    "train.*.rollouts.engine": STAGE_ENGINES,
    "train.*.rollouts.critic.objective": CRITIC_OBJECTIVES,
}


@dataclass(frozen=True, slots=True)
class BoundRollouts:
    """The plug-ins of a stage's rollouts."""

    settings: RolloutSettings
    rewards: list[tuple[float, partial[Any]]]
    advantage: partial[Any]
    pairing: partial[Any]
    engine: partial[Any]
    scorers: list[tuple[ScorerSettings, partial[Any]]]
    by_teacher: bool = (
        False  # rows are all answers, whatever they earned, because a teacher says of each token how good it was
    )


def bind_rollouts(recipe: Recipe, name: str, objective: Callable[..., Any]) -> BoundRollouts | None:
    """The stage's rollouts, None where it has none. OperatorError where something it names cannot be, or does not fit."""
    settings, where = recipe.train[name].rollouts, f"train.{name}.rollouts"
    if settings is None:
        if reads_advantages(objective):
            asked = recipe.train[name].objective.name
            raise OperatorError(
                f"train.{name}: {asked} needs advantages, which only a student's own answers have; add a table `rollouts` to the stage."
            )
        return None
    bound = BoundRollouts(
        settings,
        bind_rewards(settings, where),
        bind(ADVANTAGES, settings.advantage or default_advantage(objective), f"{where}.advantage"),
        bind(PAIRINGS, settings.pairing, f"{where}.pairing"),
        bind(STAGE_ENGINES, settings.engine, f"{where}.engine"),
        [(one, bind_round_scorer(one, f"{where}.score.{place}")) for place, one in enumerate(settings.score)],
    )
    by_teacher = is_of_teacher(bound.advantage) or (needs_teacher(objective) and settings.keep != "correct")
    bound = dataclasses.replace(bound, by_teacher=by_teacher)
    _check(recipe, name, objective, bound)
    _check_engine(recipe, name, objective, bound)
    return bound


NEEDS_OF_ROUNDS = ("_into", "_prompt", "_held", "_seed")  # what a scorer of a round's answers may name


def bind_round_scorer(settings: ScorerSettings, where: str) -> partial[Any]:
    """A scorer of a round's answers. OperatorError for one that asks for more than an answer and its prompt."""
    scorer = bind_scorer(settings, where)
    more = [name for name in needs_of(scorer) if name not in NEEDS_OF_ROUNDS]
    if more:
        raise OperatorError(
            f"{where}: {settings.name} scores a corpus, not a round's answers (it needs {', '.join(more)}); use "
            f"process, reward-model, or a scorer of your own."
        )
    return scorer


def default_advantage(objective: Callable[..., Any]) -> Plugin:
    """The advantage of a stage that names none: OREAL's own shaping, else GRPO's."""
    return Plugin(name="shaped" if getattr(objective, "func", objective) is oreal else "group")


def bind_rewards(settings: RolloutSettings, where: str) -> list[tuple[float, partial[Any]]]:
    """(weight, reward) of each reward that the settings name, options bound. OperatorError for one that cannot be."""
    return [
        (reward.weight, bind(REWARDS, reward, f"{where}.reward.{place}"))
        for place, reward in enumerate(settings.reward)
    ]


def _check(recipe: Recipe, name: str, objective: Callable[..., Any], bound: BoundRollouts) -> None:
    settings, stage, where = bound.settings, recipe.train[name], f"train.{name}.rollouts"
    written = _changed(settings)
    if all(weight == 0 for weight, _ in bound.rewards):
        raise OperatorError(
            f"{where}.reward: every reward has weight 0, so no answer gets one; give one of them a weight."
        )
    folders = [one.folder for one in settings.score]
    for _, reward in bound.rewards:
        by = reward.keywords.get("by", "") if reward.func is REWARDS["score"] else None
        if by is not None and not any(by == folder or by.startswith(f"{folder}_") for folder in folders):
            raise OperatorError(
                f"{where}.reward: no scorer gives the answers a score {by!r}; name one in {where}.score"
                + (f" (there: {', '.join(folders)})." if folders else ".")
            )
    if len(set(folders)) < len(folders):
        raise OperatorError(f"{where}.score: two scorers write the same name; give one of them an `into`.")
    if needs_mismatched(objective):
        raise OperatorError(
            f"{where}: {stage.objective.name} compares rows across a whole data set, so it cannot be used with rollouts."
        )
    if settings.updates is not None and {"steps", "epochs"} & _changed(stage):
        raise OperatorError(
            f"{where}.updates: {settings.rounds} rounds of {settings.updates} steps already set the number of steps; "
            f"leave out train.{name}.steps and epochs, or leave out updates."
        )
    if is_of_teacher(bound.advantage) != (settings.teacher is not None):
        raise OperatorError(
            f"{where}: the advantage `teacher` and the table `teacher` go together; name a teacher, or another advantage."
        )
    check_teacher(settings.teacher, where)
    if not reads_advantages(objective) and ({"advantage", "teacher"} & written):
        raise OperatorError(
            f"{where}.advantage: {stage.objective.name} does not use advantages; leave it out, or use grpo or reinforce."
        )
    _check_actions(settings, objective, bound, where, stage.objective.name)
    if settings.n == 1:
        _check_one_answer(settings, objective, bound, where)
    if "pairing" in written and not needs_pairs(objective):
        raise OperatorError(f"{where}.pairing: {stage.objective.name} does not use pairs; leave it out.")
    if settings.keep == "one-each" and not reads_advantages(objective):
        raise OperatorError(
            f"{where}.keep: one-each draws a right and a wrong answer, but {stage.objective.name} does not use "
            f"advantages; use oreal, grpo or reinforce, or an objective of pairs."
        )
    if kept_answers(settings, objective) == "one-each" and is_of_teacher(bound.advantage):
        raise OperatorError(
            f"{where}.keep: one-each separates right from wrong answers by their advantage, but a teacher's advantages are per token; "
            "write `keep: all`, or another advantage."
        )
    _check_critic(recipe, name, objective)
    if "keep" in written and needs_pairs(objective):
        raise OperatorError(f"{where}.keep: with pairs, the pairing decides which answers are used; leave it out.")
    if settings.keep == "correct" and reads_advantages(objective):
        raise OperatorError(
            f"{where}.keep: {stage.objective.name} compares right answers with wrong ones; leave keep out, or use `sft`."
        )


def _check_one_answer(
    settings: RolloutSettings, objective: Callable[..., Any], bound: BoundRollouts, where: str
) -> None:
    """OperatorError where one answer per problem can teach nothing, because it is compared with others or paired with one."""
    if needs_pairs(objective) or kept_answers(settings, objective) == "one-each":
        raise OperatorError(
            f"{where}.n: with one answer per problem there is never a right and a wrong one of the same problem; raise n."
        )
    compares = bound.advantage.func in (ADVANTAGES["group"], ADVANTAGES["leave-one-out"], ADVANTAGES["mean"])
    of_whole = is_of_actions(bound.advantage) and option_of(bound.advantage, "level") == "outcome"
    if reads_advantages(objective) and (compares or of_whole):
        raise OperatorError(
            f"{where}.n: one answer per problem has no other to be compared with, so every advantage would be 0; raise n."
        )


# Options of the advantage `actions` that only process rewards have.
_OF_PROCESS = ("baseline", "bonus", "least", "after_right", "max_actions")


def _check_actions(
    settings: RolloutSettings, objective: Callable[..., Any], bound: BoundRollouts, where: str, name: str
) -> None:
    """OperatorError where the objective and the advantage of actions do not go together, and for settings without an effect."""
    if settings.accuracy is not None and settings.accuracy[0] > settings.accuracy[1]:
        low, high = settings.accuracy
        raise OperatorError(
            f"{where}.accuracy: the lower bound {low} is above the upper bound {high}; write [low, high]."
        )
    if settings.accuracy is not None and needs_pairs(objective):
        raise OperatorError(f"{where}.accuracy: with pairs, the pairing decides which answers are used; leave it out.")
    of_actions = is_of_actions(bound.advantage)
    if "action" in needs_values([objective]) and not of_actions:
        raise OperatorError(
            f"{where}.advantage: {name} applies to attempts and verifications; set `advantage: actions`."
        )
    if not of_actions:
        return
    if "reward" in _changed(settings):
        raise OperatorError(
            f"{where}.reward: the advantage `actions` rewards attempts and verifications by whether they are correct; leave it out."
        )
    if settings.critic is not None or settings.keep == "one-each":
        word = "critic" if settings.critic is not None else "keep"
        raise OperatorError(
            f"{where}.{word}: it applies to whole answers, but the advantage `actions` applies to their parts; leave it out."
        )
    idle = [option for option in _OF_PROCESS if option in bound.advantage.keywords]
    if option_of(bound.advantage, "level") == "outcome" and idle:
        raise OperatorError(
            f"{where}.advantage.{idle[0]}: with `level: outcome` an answer is one action, compared with the problem's other answers; leave it out."
        )


def _check_critic(recipe: Recipe, name: str, objective: Callable[..., Any]) -> None:
    """OperatorError where a critic beside the student has nothing to learn from, or is of a kind that scores no tokens."""
    stage = recipe.train[name]
    assert stage.rollouts is not None
    critic, where = stage.rollouts.critic, f"train.{name}.rollouts.critic"
    if critic is None:
        return
    critic_objective = bind(CRITIC_OBJECTIVES, critic.objective, f"{where}.objective")
    if not reads_advantages(objective):
        raise OperatorError(
            f"{where}: it learns from right and wrong answers, but {stage.objective.name} does not use advantages; "
            f"use oreal, grpo or reinforce, or leave it out."
        )
    if critic.warm_rounds >= stage.rollouts.rounds:
        raise OperatorError(
            f"{where}.warm_rounds: the student takes its first step after {critic.warm_rounds} rounds, but the stage has only "
            f"{stage.rollouts.rounds}; lower warm_rounds, or raise rounds."
        )
    if critic.start is not None and is_implicit(critic_objective):
        raise OperatorError(
            f"{where}.start: an implicit critic is compared with its own start, which is the student's start; leave start out."
        )


def _check_engine(recipe: Recipe, name: str, objective: Callable[..., Any], bound: BoundRollouts) -> None:
    settings, where, written = bound.settings, f"train.{name}.rollouts", _changed(bound.settings)
    served, options = bound.engine.func is refreshed_server, bound.engine.keywords
    check_engine(settings.engine.name, options, f"{where}.engine", lora=recipe.train[name].lora is not None)
    for setting in ("behaviour", "importance_cap"):
        if setting in written and not served:
            raise OperatorError(
                f"{where}.{setting}: only a server's answers come from another policy than the student; leave it out, or set a server as `engine`."
            )
        if setting in written and not reads_advantages(objective):
            raise OperatorError(
                f"{where}.{setting}: {recipe.train[name].objective.name} does not use advantages; leave it out."
            )
        if setting in written and options.get("token_ids") == "encoded" and getattr(settings, setting) is not None:
            raise OperatorError(f"{where}.{setting}: re-encoded answers have no log-probs of the server; leave it out.")
    if settings.behaviour == "server" and not needs_behaviour(objective):
        raise OperatorError(
            f"{where}.behaviour: {recipe.train[name].objective.name} has no ratio to the sampling policy; leave it out, or use grpo."
        )
    if settings.behaviour == "server" and "importance_cap" in written:
        raise OperatorError(
            f"{where}.importance_cap: with `behaviour: server` the objective's own ratio already uses the server's log-probs; keep one of the two."
        )


def _changed(settings: Settings) -> set[str]:
    """The fields that say something: not those of a recipe that was written out whole, as a run's recipe.yaml is."""
    fields = type(settings).model_fields
    return {
        name
        for name in settings.model_fields_set
        if getattr(settings, name) != fields[name].get_default(call_default_factory=True)
    }


def eval_config_of(plan: "Plan", name: str) -> EvalConfig:
    """How a stage's problems are asked and judged: as dev is in evaluation, but for what its rollouts say."""
    settings, evaluate = plan.recipe.train[name].rollouts, plan.recipe.evaluate
    assert settings is not None
    config = plan.eval_config(BenchmarkSettings())
    verifier = settings.verifier or evaluate.verifier
    sampling = Sampling(
        n=settings.n,
        temperature=settings.temperature,
        top_p=settings.top_p,
        max_new_tokens=settings.max_new_tokens or evaluate.max_new_tokens,
        prefill=evaluate.prefill if settings.prefill is None else settings.prefill,
        logprobs=True,
    )
    judge = verifiers_of(verifier, f"train.{name}.rollouts.verifier")
    engine = plan.rollouts[name].engine
    return dataclasses.replace(config, engine=engine, judge=judge, verifier=verifier.name, sampling=sampling)


# How a server is reached, and what its folder is called: no part of a result.
UNDECIDING = tuple(f"rollouts.engine.options.{option}" for option in TRANSPORT)


def key_settings(plan: "Plan", name: str) -> dict[str, Any]:
    """What a stage's result depends on beside its own table: which problems it is asked, how, and how answers are judged."""
    config, recipe = eval_config_of(plan, name), plan.recipe
    return {
        "dev_fraction": recipe.corpus.dev_fraction,
        "split_by": recipe.corpus.split_by,
        **split_key(recipe),
        "prompt": table(recipe.prompt.for_evaluation),
        "template": config.render.keywords["template"],
        "sampling": dataclasses.asdict(config.sampling),
        "limits": [recipe.verify.timeout_seconds, recipe.verify.memory_mb],
        "verifiers": {n: [v.func.__qualname__, v.keywords] for n, v in config.judge.items()},
        **_key_of_scorers(plan, name),
    }


def _key_of_scorers(plan: "Plan", name: str) -> dict[str, Any]:
    """What the scores of a round's answers depend on, where there are scorers."""
    scorers = plan.rollouts[name].scorers
    return {"scorers": [scorer_settings(plan, settings, function) for settings, function in scorers]} if scorers else {}


def critics_scoring(recipe: Recipe, name: str) -> set[str]:
    """The earlier stages whose critics score the stage's answers: a scorer's option `model` names them."""
    settings, before = recipe.train[name].rollouts, list(recipe.train)[: list(recipe.train).index(name)]
    models = [one.options.get("model") for one in settings.score] if settings is not None else []
    return {model for model in models if isinstance(model, str) and model in before}


def _round_scorers(run: "Run", name: str) -> list[Callable[[Sequence[Group]], list[Group]]]:
    """The scorers with all that they name; each holds its model from round to round."""
    scorers = list[Callable[[Sequence[Group]], list[Group]]]()
    earlier = critics_scoring(run.recipe, name)
    for settings, function in run.plan.rollouts[name].scorers:
        has: dict[str, Any] = {"_into": settings.folder, "_prompt": run.recipe.prompt.for_evaluation, "_held": {}}
        has["_seed"] = run.recipe.seed
        handed = {need: has[need] for need in needs_of(function)}
        if function.keywords.get("model") in earlier:
            handed["model"] = str(run.folder / "train" / function.keywords["model"] / "model")
        scorers.append(partial(with_scores_of, BoundScorer(settings.folder, partial(function, **handed))))
    return scorers


def uses(plan: "Plan", name: str) -> tuple[Any, ...]:
    """The code that decides beside that of training: drawing, judging, rewarding."""
    from redistill.train.rollout_supply import Rollouts

    bound, config = plan.rollouts[name], eval_config_of(plan, name)
    rewards = [reward for _, reward in bound.rewards]
    chat = [loading.chat_function] if plan.recipe.prompt.for_evaluation.chat else []
    return (
        Rollouts,
        RolloutJob,
        EvalConfig,
        bound.engine,
        config.render,
        *chat,
        *config.judge.values(),
        *rewards,
        bound.advantage,
        bound.pairing,
        *(function for _, function in bound.scorers),
        *([spec_of] if bound.settings.teacher is not None else []),
    )


def judging_pool(run: "Run", config: EvalConfig) -> VerifierPool:
    """Who judges answers of a student: workers of this machine, or of the Ray cluster that the run has."""
    if not run.executor.is_cluster:
        return config.pool(run.recipe.verify.workers)
    limits = config.limits
    judges = VerifyTask(config.judge, 1, limits.timeout_seconds, limits.memory_mb, config.verifier)
    return SpreadPool(run.executor, judges, partial(index_files, run.folder))


@contextmanager
def rollouts_of(run: "Run", name: str, load: Callable[[str], Any]) -> "Iterator[Rollouts]":
    """What the stage's trainer is given in the place of rows, with worker processes that live as long as the stage.
    load: loads the student that a stage left, or `base`."""
    from redistill.train.rollout_supply import Rollouts

    bound, recipe, config = run.plan.rollouts[name], run.recipe, eval_config_of(run.plan, name)
    config = dataclasses.replace(config, judge=with_index(run.folder, config.judge))
    if bound.engine.keywords.get("refresh") == "none":
        say_what_none_means(name)
    with judging_pool(run, config) as pool:
        asked = problems_of(run.folder, recipe, bound, name)
        times = Counter(problem.id for problem in asked)
        job = RolloutJob(
            settings=bound.settings,
            config=config,
            problems=list({problem.id: problem for problem in asked}.values()),
            scorers=_round_scorers(run, name),
            times={id: count for id, count in times.items() if count > 1},
            rewards=bound.rewards,
            advantage=bound.advantage,
            pairing=bound.pairing,
            pool=pool,
            author=name,
            seed=recipe.seed,
        )
        teacher = bound.settings.teacher
        check_sources(teacher, job.problems, f"train.{name}.rollouts")
        yield Rollouts(job, None if teacher is None else spec_of(teacher, _given(run, name, job, load)))


def _given(run: "Run", name: str, job: RolloutJob, load: Callable[[str], Any]) -> Given:
    """What the stage's teachers are made with."""
    recipe, stage, right = run.recipe, run.recipe.train[name], dict[str, str]()
    if needs_traces(stage):
        judged = StageFolder(run.folder / feeding(recipe, "select"), "").read("groups")
        right = first_right_traces(judged, {problem.id for problem in job.problems})
        say(f"train    {name}: the teacher is shown a right trace for {len(right):,} of {len(job.problems):,} problems")
    prefill = job.config.sampling.prefill
    return Given(
        recipe=recipe,
        load=load,
        start=partial(load, stage.start),
        render=lambda problem: job.config.render(problem) + prefill,
        right_traces=right,
        limit=min(stage.max_tokens or run.plan.context, run.plan.context),
    )


def needs_gold(rewards: Sequence[tuple[float, partial[Any]]]) -> bool:
    """True when an answer to a problem without a gold answer can earn no reward."""
    return any(reward.func is REWARDS["accuracy"] and weight for weight, reward in rewards)


def source_of(plan: "Plan") -> str:
    """The stage, or its stream, that the problems of stages with rollouts come from."""
    return plan.feeding("verify") if plan.recipe.select.sample is None else "select:problems"


def problems_of(folder: Path, recipe: Recipe, bound: BoundRollouts, name: str) -> list[Problem]:
    """The problems of the corpus that are not held out, by id, of these the ones that `select.sample` leaves, each as often as it
    is repeated; those without a gold answer are left out where the reward needs one, which is said."""
    is_held = split_of(recipe, partial(corpus_problems, folder))
    if recipe.select.sample is None:
        before = StageFolder(folder / feeding(recipe, "verify"), "")
        problems = [g.problem for g in before.read("groups") if not is_held(g.problem)]
    else:
        problems = list(StageFolder(folder / "select", "").read("problems"))
        if not problems:
            raise OperatorError(
                f"train.{name}.rollouts: select.sample keeps no problem; see the reasons in select/ledger.json."
            )
    any_will_do = bound.by_teacher or not needs_gold(bound.rewards)
    asked = [problem for problem in problems if any_will_do or has_gold(problem)]
    every, left = (len({problem.id for problem in some}) for some in (problems, asked))
    if left < every:
        say(
            f"train    {name}: {every - left:,} of {every:,} problems have no gold answer, so their answers cannot be rewarded; they are skipped"
        )
    if not asked:
        raise OperatorError(
            f"train.{name}.rollouts: no problem is left to sample ({len(problems):,} are not held out, none of them with "
            f"a gold answer); add problems with gold answers, or use a reward that needs none."
        )
    return sorted(asked, key=lambda problem: problem.id)
