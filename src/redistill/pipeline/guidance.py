"""Guided search in a run: whose critic it is, whether it is one, what the answers depend on, and who opens it.

evaluate: {engine: {name: guided, critic: prm}}                                                   a stage with the objective process
evaluate: {engine: {name: guided, critic: runs/critic/train/prm/model}}                           its folder
evaluate: {engine: {name: guided, critic: {name: critic, model: runs/r-prm/train/dpo/model, analyses: 4}}}     a critic that writes
"""

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from redistill.config.binding import bind, options_of
from redistill.config.tables import EvaluateSettings, Plugin, PromptText, ScorerSettings, StageSettings
from redistill.config.validation_messages import did_you_mean, sentence_of
from redistill.errors import OperatorError
from redistill.model.score_heads import is_critic
from redistill.pipeline.scoring import option_settings
from redistill.rollout import TRANSPORT
from redistill.rollout.guided import GUIDED, check_sampling, guided
from redistill.safety.paths import home_path
from redistill.score import SCORERS
from redistill.score.guidance import GUIDES, Guide

if TYPE_CHECKING:
    from redistill.pipeline.plan import Plan
    from redistill.pipeline.stage import Run

WHERE = "evaluate.engine (guided): critic"
# options of a scorer that say nothing of a single step
NO_EFFECT = {
    "alpha": "it weighs the score of a whole answer",
    "threshold": "the best candidate is kept, whatever its score",
}


def is_guided(engine: Plugin) -> bool:
    """Whether this engine is the search."""
    return engine.name == GUIDED


def search_option(engine: Callable[..., Any], name: str) -> int:
    """An option of the bound guided engine, written or not."""
    written = engine.keywords if isinstance(engine, partial) else {}
    return int(written.get(name, options_of(guided)[name].default))


def critic_of(engine: Plugin) -> ScorerSettings:
    """The scorer that guides: one that is written out, or `process` with the stage or folder that is named."""
    critic = engine.options.get("critic")
    if isinstance(critic, Mapping) and "name" in critic:
        try:
            return ScorerSettings.model_validate(critic)
        except ValidationError as error:
            said = "; ".join(sentence_of(one, ScorerSettings) for one in error.errors())
            raise OperatorError(f"{WHERE}: {said}") from error
    if isinstance(critic, str):
        return ScorerSettings(name="process", options={"model": critic})
    raise OperatorError(f"{WHERE}: name a stage or a folder of a critic, or write a scorer out as a table with `name`.")


def check_guided(settings: EvaluateSettings, train: Mapping[str, StageSettings], critics: Collection[str]) -> None:
    """OperatorError where the engine is guided and its critic is none, or what is asked cannot be searched. critics: the stages of `train`
    that train one."""
    if not is_guided(settings.engine):
        return
    check_sampling(settings.temperature)
    scorer = critic_of(settings.engine)
    if scorer.name not in GUIDES:
        raise OperatorError(f"{WHERE}: {scorer.name} scores no steps; take {' or '.join(GUIDES)}.")
    bound = bind(SCORERS, scorer, WHERE)
    for option, why in NO_EFFECT.items():
        if option in scorer.options:
            raise OperatorError(f"{WHERE}: {option} has no effect here, for {why}; leave it out.")
    if scorer.into is not None:
        raise OperatorError(f"{WHERE}: nothing is written, so `into` has no effect; leave it out.")
    for benchmark in settings.benchmarks:
        if benchmark.asks_steps:
            raise OperatorError(
                f"evaluate.engine (guided): {benchmark.name} asks for judgements of steps, which are not searched for; take the engine "
                "transformers for it, in a recipe of its own."
            )
    model, written = bound.keywords.get("model"), isinstance(settings.engine.options["critic"], str)
    if model is None:
        raise OperatorError(f"{WHERE}: name its model, a stage or a folder.")
    if "base_url" in scorer.options:
        return  # a name that the server knows
    if model in train:
        _check_stage(model, scorer.name, train, critics)
    else:
        _check_folder(model, scorer, train, is_short=written)


def _check_stage(model: str, scorer: str, train: Mapping[str, StageSettings], critics: Collection[str]) -> None:
    objective = train[model].objective.name
    if scorer == "critic":
        if model in critics:
            raise OperatorError(
                f"{WHERE}: {model} gives scores and no text; write `critic: {model}`, or name a student."
            )
    elif model not in critics:
        raise OperatorError(
            f"{WHERE}: {model} is a student, which gives no scores; name a stage with the objective process or, of a student that judges "
            f"steps in writing, {{name: critic, model: {model}}}."
        )
    elif objective != "process":
        raise OperatorError(
            f"{WHERE}: {model} has learned {objective} and scores no steps; name a stage with the objective process."
        )


def _check_folder(model: str, scorer: ScorerSettings, train: Mapping[str, StageSettings], *, is_short: bool) -> None:
    folder = home_path(model)
    if not folder.is_dir():
        if is_short:
            raise OperatorError(f"{WHERE}: there is no stage and no folder {model!r}{did_you_mean(model, train)}")
        return  # a hub id
    if scorer.name == "critic" and is_critic(folder):
        raise OperatorError(
            f"{WHERE}: {model} gives scores and no text; write `critic: {model}`, or name a language model."
        )
    if scorer.name == "process" and scorer.options.get("layout", "ours") == "ours" and not is_critic(folder):
        raise OperatorError(
            f"{WHERE}: {model} holds no critic; give a folder that a stage with the objective process has left, such as "
            "runs/NAME/train/STAGE/model, or of a model that judges steps in writing {name: critic, model: PATH}."
        )


# --- in the stages of a run -----------------------------------------------------------------------------------------


def critics_stage(settings: EvaluateSettings, train: Collection[str]) -> str | None:
    """The stage whose critic guides; None where none does."""
    model = critic_of(settings.engine).options.get("model") if is_guided(settings.engine) else None
    return model if isinstance(model, str) and model in train else None


def guidance_inputs(plan: "Plan") -> tuple[str, ...]:
    """What the answers are made from beside the student."""
    stage = critics_stage(plan.recipe.evaluate, plan.recipe.train)
    return () if stage is None else (f"train/{stage}",)


def settings_outside_keys(settings: EvaluateSettings) -> list[str]:
    """Settings of `evaluate` that no answer depends on, and the critic of a guided engine, which is in a key by what it names
    (`guidance_key`), not by its place."""
    left_out = ["models", "benchmarks", "choose", "critic"]
    if settings.self_correction is None:  # it then names no other answers
        left_out.append("self_correction")
    if settings.engine.name == "openai":
        left_out += [f"engine.options.{option}" for option in TRANSPORT]
    return [*left_out, "engine.options.critic"] if is_guided(settings.engine) else left_out


def guidance_key(plan: "Plan") -> dict[str, Any]:
    """What of the critic the answers depend on; {} where none guides."""
    engine, prompt = plan.recipe.evaluate.engine, plan.recipe.prompt.for_training
    return guide_settings(engine, prompt) if is_guided(engine) else {}


def guide_settings(engine: Plugin, prompt: PromptText) -> dict[str, Any]:
    """The options of a guided engine's critic that decide, the checksums of its files, and how it is shown a problem."""
    return {"guide": option_settings(critic_of(engine)), "guide_prompt": prompt.model_dump(mode="json")}


def bind_guide(engine: Plugin, prompt: PromptText, seed: int) -> Guide | None:
    """The critic of a guided engine, bound and not loaded; None of another. prompt: how a problem is asked in training."""
    if not is_guided(engine):
        return None
    scorer = critic_of(engine)
    return Guide(GUIDES[scorer.name], bind(SCORERS, scorer, WHERE), prompt, seed)


def guidance_uses(guide: Guide | None) -> tuple[Any, ...]:
    """The code that decides what the critic says."""
    return () if guide is None else (Guide, guide.opened, guide.critic)


def engine_of(run: "Run") -> Callable[..., Any]:
    """The engine of a run's evaluation, whose critic will be loaded at its first question."""
    stage = critics_stage(run.recipe.evaluate, run.recipe.train)
    return with_guide(
        run.plan.engine, run.plan.guide, None if stage is None else str(run.folder / "train" / stage / "model")
    )


def with_guide(engine: Callable[..., Any], guide: Guide | None, folder: str | None = None) -> Callable[..., Any]:
    """The bound engine with its judge, where it has one. folder: of the critic that a stage has left."""
    return engine if guide is None else partial(engine, _judge=guide.judge(folder))
