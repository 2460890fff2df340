"""The students and critics of a run: what a stage starts from, and the model cards of what the stages have left."""

from collections.abc import Callable
from functools import partial
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerFast

from redistill.evaluate import BENCHMARKS
from redistill.io.atomic import write_bytes
from redistill.model import loading
from redistill.model.score_heads import load_critic, new_critic
from redistill.pipeline.plan import stage_stream
from redistill.pipeline.stage import Run
from redistill.report.model_card import card
from redistill.safety.paths import home_path
from redistill.train import needs_scores
from redistill.train.objectives.implicit import is_implicit, log_ratio_scale
from redistill.train.reference import ImplicitCritic


def load_student(run: Run, name: str) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """The base student, or the one a stage left."""
    if name == "base":
        return loading.load_model(run.recipe.student, run.plan.tokenizer, seed=run.recipe.seed), run.plan.tokenizer
    return loading.load_folder(run.folder / "train" / name / "model")


def load_start(run: Run, stage: str) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """What a stage starts from: a student or, for a stage that trains a critic, the critic that an earlier one left, else
    the student with a new head."""
    start = run.recipe.train[stage].start
    if not needs_scores(run.plan.objectives[stage]):
        return load_student(run, start)
    if start in run.plan.critics and needs_scores(run.plan.objectives[start]):
        return load_critic(run.folder / "train" / start / "model")
    student, tokenizer = load_student(run, start)
    return new_critic(student), tokenizer


def load_named_critic(run: Run, name: str) -> tuple[PreTrainedModel, PreTrainedTokenizerFast] | ImplicitCritic:
    """The critic that a stage of the run left, or that lies in a folder; of an implicit one also what it is compared with."""
    if name in run.plan.critics and is_implicit(run.plan.objectives[name]):
        settings = run.recipe.train[name]
        model, tokenizer = load_student(run, name)
        compared, _ = load_student(run, settings.reference or settings.start)
        return ImplicitCritic(model, tokenizer, compared, log_ratio_scale(run.plan.objectives[name]))
    folder = run.folder / "train" / name / "model" if name in run.plan.critics else home_path(name)
    return load_critic(folder)


def critic_loader(run: Run, stage: str) -> Callable[[], Any] | None:
    """What loads the critic of a stage: the one it names or, where one learns beside its student, what that one starts from.
    None where it has none."""
    settings = run.recipe.train[stage]
    if settings.critic is not None:
        return partial(load_named_critic, run, settings.critic)
    if settings.rollouts is None or settings.rollouts.critic is None:
        return None
    return partial(_beginning_critic, run, stage)


def _beginning_critic(run: Run, stage: str) -> Any:
    settings = run.recipe.train[stage]
    assert settings.rollouts is not None and settings.rollouts.critic is not None
    critic = settings.rollouts.critic
    if critic.start is not None:
        return load_named_critic(run, critic.start)
    student, tokenizer = load_student(run, settings.start)
    if critic.objective.name == "implicit":
        return student, tokenizer
    return new_critic(student), tokenizer


def model_card(run: Run, stage: str) -> str:
    """The model card of a stage's student, from what the run's folder holds by now."""
    return card(
        run.folder,
        run.recipe,
        stage,
        stage_stream(run.plan, stage),
        run.plan.files,
        base_on_hub=loading.is_on_hub(run.recipe.student),
        hubs={name: known.hub for name, known in BENCHMARKS.items()},
    )


def run_model_cards(run: Run) -> None:
    """Write the cards of all students anew: they say what is known of them."""
    for stage in run.recipe.train:
        path, text = run.folder / "train" / stage / "model" / "README.md", model_card(run, stage).encode()
        if path.parent.is_dir() and (not path.exists() or path.read_bytes() != text):
            write_bytes(path, text)
