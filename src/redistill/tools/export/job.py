"""What is exported of a run: the problems with their prompts, the student, the stage's settings, and the recipe that rewards.

    job = read_job(Path("runs/x"), out=Path("elsewhere"), stage=None, loss="ours", code=[])
    job.train[0].prompt                           the text that the student is asked, prefill included

A prompt is the recipe's own text, chat template applied. An engine would add to it or take from it when it encodes it, so
each exporter asks `encoded_as` for the text that comes out as the tokens that our own engine gives the student.
"""

import json
import shutil
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import resources
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from redistill.config.binding import bind
from redistill.config.parsing import load_recipe
from redistill.config.tables import Plugin, Recipe, RolloutSettings, StageSettings, StudentSettings
from redistill.errors import OperatorError
from redistill.io.atomic import write_bytes
from redistill.io.stage_folder import StageFolder, check_layout
from redistill.model import loading
from redistill.model.rendering import renderer
from redistill.pipeline.benchmarks import corpus_problems
from redistill.pipeline.extra_stages import feeding
from redistill.pipeline.rollouts import bind_rewards, default_advantage, needs_gold
from redistill.records import Problem
from redistill.safety.paths import home_path
from redistill.select import split_of
from redistill.tools.rewards import problem_facts, rollouts_for, stage_for
from redistill.train import OBJECTIVES, needs_pairs, needs_reference, needs_teacher
from redistill.train.external_loss import is_separable
from redistill.train.objectives import needs_mismatched, trains_critic
from redistill.train.rollouts import kept_answers
from redistill.verify.relevance import has_gold

Loss = Literal["ours", "engine"]
AUTHORS_STAND_IN = "topr"  # its reference stands in for the author of the answers, whom an online trainer knows


@dataclass(frozen=True, slots=True)
class Asked:
    """A problem and the text that the student is asked: template, chat template and prefill applied."""

    problem: Problem
    prompt: str
    ids: list[int]  # the tokens that our own engine gives the student


@dataclass(frozen=True, slots=True)
class ExportJob:
    """All that an exporter writes from. `folder` is being filled; the recipe and the student may lie in it."""

    recipe: Recipe
    stage: str
    settings: StageSettings
    rollouts: RolloutSettings
    objective: partial[Any]
    tokenizer: Any
    model: str  # a folder or a hub id; "model" for the folder of that name beside the files
    train: list[Asked]
    dev: list[Asked]  # held-out problems
    folder: Path
    loss: Loss
    code: list[str] = field(default_factory=list)  # files of the user's own, in `folder`

    @property
    def updates(self) -> int:
        """Optimizer steps a round."""
        rollouts = self.rollouts
        return rollouts.updates or max(1, self.problems * rollouts.n // self.settings.batch_size)

    @property
    def problems(self) -> int:
        """Problems a round."""
        return min(self.rollouts.problems, len(self.train))

    @property
    def prefill(self) -> str:
        """What opens every completion: part of the prompt, and of the text that is rewarded."""
        evaluate = self.recipe.evaluate
        return evaluate.prefill if self.rollouts.prefill is None else self.rollouts.prefill

    @property
    def max_new_tokens(self) -> int:
        """Tokens of an answer at most."""
        return self.rollouts.max_new_tokens or self.recipe.evaluate.max_new_tokens

    @property
    def longest_prompt(self) -> int:
        """Tokens of the longest prompt."""
        return max(len(asked.ids) for asked in [*self.train, *self.dev])

    def option(self, name: str) -> Any:
        """An option of the objective, its default where the recipe leaves it out."""
        function = self.objective.func
        return self.objective.keywords.get(name, (function.__kwdefaults__ or {}).get(name))

    def needs_lengths(self) -> bool:
        """True when a reward counts an answer's tokens."""
        return any(reward.name == "length" and reward.weight for reward in self.rollouts.reward)

    def write(self, name: str, text: str) -> None:
        """A file of the export."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, text.encode())

    def write_table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """A Parquet file of the export."""
        pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), self.folder / name)

    @property
    def decay(self) -> Literal["linear", "constant"]:
        """How the learning rate ends. OperatorError for an end that the exports do not write."""
        if self.settings.decay == "cosine" or self.settings.final_rate:
            raise OperatorError(
                f"train.{self.stage}.decay: cosine, or an end above 0 (`final_rate`), is not exported; write `decay: linear` or `constant`."
            )
        return self.settings.decay

    @property
    def advantage(self) -> Plugin:
        """How rewards become advantages."""
        return self.rollouts.advantage or default_advantage(self.objective)

    def fill(self, template: str, **values: Any) -> str:
        """A template of this package with `%%{name}` filled in; the values are written as they are."""
        text = (resources.files("redistill.tools.export") / "templates" / template).read_text("utf-8")
        common = {"recipe": self.recipe.name, "stage": self.stage, "objective": self.settings.objective.name}
        return Template(text).substitute({**common, **values})

    def reward_file(self, engine: str, body: str | None, **values: Any) -> str:
        """reward.py: what all engines' have in common, and the function that this one calls."""
        common = self.fill(
            "reward.py.txt",
            engine=engine,
            code=repr(self.code),
            stage_name=repr(self.stage),
            prefill=repr(self.prefill),
            extra_imports=values.pop("extra_imports", ""),
        )
        return common + self.fill(body, **values) if body is not None else common.rstrip() + "\n"


class Template(string.Template):
    delimiter = "%%"


def read_job(run: Path, *, out: Path, stage: str | None, loss: Loss, code: Sequence[Path]) -> ExportJob:
    """Read a run and begin the export in `out`: its recipe, the student where no folder or hub id names it, one's own code.

    OperatorError where the run has no corpus yet, the stage is not there or its start has not been trained, and where a
    problem cannot be asked as text.
    """
    if not (run / "recipe.yaml").exists():
        raise OperatorError(f"{run} is not a run: it has no recipe.yaml; name a folder such as runs/quickstart.")
    check_layout(run)
    recipe = load_recipe(run / "recipe.yaml")
    name = stage_for(recipe, stage)
    settings, rollouts = recipe.train[name], rollouts_for(recipe, name)
    if settings.rollouts is not None and settings.rollouts.teacher is not None:
        raise OperatorError(
            f"train.{name}.rollouts.teacher: an advantage from a teacher's log-probs is not exported; take an engine's own "
            "on-policy distillation, or a stage with rewards."
        )
    objective = bind(OBJECTIVES, settings.objective, f"train.{name}.objective")
    advantage = settings.rollouts.advantage if settings.rollouts is not None else None
    if advantage is not None and advantage.name == "actions":
        raise OperatorError(
            f"train.{name}.rollouts.advantage: advantages of attempts and verifications are not exported, because no engine passes "
            "the tokens of an action to a loss; train the stage here, or use another advantage."
        )
    if settings.rollouts is not None and (
        rollouts.critic is not None or kept_answers(rollouts, objective) == "one-each"
    ):
        raise OperatorError(
            f"train.{name}: it learns from one right and one wrong answer of a problem, or weights tokens by a critic "
            f"that is trained with the student, which no engine does; train it here, or export a stage with grpo."
        )
    if trains_critic(objective):
        raise OperatorError(
            f"export: train.{name} trains a critic, which does not answer prompts; name a stage that trains a student."
        )
    if needs_teacher(objective):
        raise OperatorError(
            f"train.{name}.objective: {settings.objective.name} compares whole distributions with a teacher's, which "
            f"no engine passes to a loss; use an engine's own distillation, or a stage with rewards."
        )
    model, tokenizer = _student(recipe, settings.start, run, out)
    train, dev = _asked(recipe, rollouts, name, run, tokenizer)
    (out / "recipe.yaml").write_bytes((run / "recipe.yaml").read_bytes())
    for path in code:
        shutil.copyfile(path, out / path.name)
    return ExportJob(
        recipe, name, settings, rollouts, objective, tokenizer, model, train, dev, out, loss, [p.name for p in code]
    )


def _student(recipe: Recipe, start: str, run: Path, out: Path) -> tuple[str, Any]:
    """Where an engine finds the student that the stage starts from, and its tokenizer."""
    if start != "base":
        folder = run / "train" / start / "model"
        if not (folder / "config.json").exists():
            raise OperatorError(
                f"{run}: the stage {start}, from which the exported one starts, has left no student yet; run the recipe "
                f"until train first."
            )
        return str(folder.resolve()), loading.load_folder(folder)[1]
    tokenizer = loading.load_tokenizer(recipe.student)
    student = recipe.student
    if _is_plain(student):
        path = home_path(student.model or "")
        return (str(path.resolve()) if path.is_dir() else str(student.model)), tokenizer
    model = loading.load_model(student, tokenizer, seed=recipe.seed)
    loading.save_model(
        model, tokenizer, out / "model", card=f"The student of the recipe {recipe.name}, before training.\n"
    )
    return "model", tokenizer


def _is_plain(student: StudentSettings) -> bool:
    """True where an engine that is given the student's folder or hub id loads the student that is meant."""
    model = student.model or ""
    edited = student.config_edits or student.end_of_turn is not None
    return bool(model) and not (model.startswith("package:") or model.endswith(".gguf") or edited)


def _asked(
    recipe: Recipe, rollouts: RolloutSettings, stage: str, run: Path, tokenizer: Any
) -> tuple[list[Asked], list[Asked]]:
    source = StageFolder(run / feeding(recipe, "verify"), "")
    if not source.shard_files("groups"):
        raise OperatorError(f"{run} has no corpus yet; run its recipe until verify first.")
    problems = {group.problem.id: group.problem for group in source.read("groups")}
    rewards = bind_rewards(rollouts, f"train.{stage}.rollouts")
    usable = [problem for _, problem in sorted(problems.items()) if has_gold(problem) or not needs_gold(rewards)]
    pictures = next((problem for problem in usable if problem.images), None)
    if pictures is not None:
        raise OperatorError(f"{run}: problem {pictures.id} has images; only problems of text are exported.")
    held_out = set(map(attrgetter("id"), filter(split_of(recipe, partial(corpus_problems, run)), usable)))
    if len(held_out) == len(usable):
        raise OperatorError(
            f"{run}: no problem is left to export ({len(problems):,} in all); add problems with gold answers, or use a reward that needs none."
        )
    render, _ = renderer(recipe.prompt.for_evaluation, tokenizer)
    prefill = recipe.evaluate.prefill if rollouts.prefill is None else rollouts.prefill
    texts = [render(problem) + prefill for problem in usable]
    asked = [
        Asked(problem, text, list(ids))
        for problem, text, ids in zip(usable, texts, loading.encode_prompts(tokenizer, texts), strict=True)
    ]
    sampled = _in_sample(run, recipe)
    train = [a for a in asked if a.problem.id not in held_out and (sampled is None or a.problem.id in sampled)]
    return train, [a for a in asked if a.problem.id in held_out]


def _in_sample(run: Path, recipe: Recipe) -> set[str] | None:
    """Ids of the problems that `select.sample` leaves; None where the recipe has none."""
    if recipe.select.sample is None:
        return None
    selected = StageFolder(run / "select", "")
    if not selected.shard_files("problems"):
        raise OperatorError(f"{run} has no sample of problems yet; run its recipe until select first.")
    return {problem.id for problem in selected.read("problems")}


def encoded_as(job: ExportJob, asked: Asked, *, special_tokens: bool) -> str:
    """The text that the engine's tokenizer call turns into `asked.ids`. special_tokens: whether the call adds the tokens that
    the tokenizer adds by itself. OperatorError where no text does."""
    bos = job.tokenizer.bos_token or ""
    candidates = [asked.prompt, asked.prompt.removeprefix(bos) if bos else asked.prompt, bos + asked.prompt]
    for text in dict.fromkeys(candidates):
        if list(job.tokenizer(text, add_special_tokens=special_tokens)["input_ids"]) == asked.ids:
            return text
    raise OperatorError(
        f"problem {asked.problem.id}: the engine's tokenizer call encodes its prompt differently from training; this "
        f"student's tokenizer cannot be exported."
    )


def facts_json(problem: Problem) -> str:
    """The problem as reward.py hands it on, in a column of text."""
    return json.dumps(problem_facts(problem), sort_keys=True)


def no_loss_of_ours(job: ExportJob, engine: str, why: str) -> OperatorError:
    """What is said where an engine cannot lower the stage's objective."""
    return OperatorError(
        f"export: {engine} {why}; write --loss engine to export the prompts and rewards with {engine}'s own loss, or "
        f"use another engine (--to tinker supports every objective but kto)."
        if engine != "tinker"
        else f"export: {engine} {why}; write --loss engine to export the prompts and rewards with {engine}'s own loss."
    )


def check_answer_by_answer(job: ExportJob, engine: str) -> None:
    """OperatorError where an engine that hands a loss single answers cannot lower the stage's objective."""
    name = job.settings.objective.name
    if needs_mismatched(job.objective) or (needs_pairs(job.objective) and not is_separable(job.objective)):
        raise no_loss_of_ours(
            job, engine, f"hands a loss single answers in micro-batches, and {name} compares the two answers of a pair"
        )
    if needs_reference(job.objective) and name != AUTHORS_STAND_IN:
        raise no_loss_of_ours(job, engine, f"gives a custom loss no log-probs of a reference model, which {name} needs")


def loss_notes(job: ExportJob, which: str) -> str:
    """What a README says of our loss answer by answer: how pairs become single answers (`which`: what is right, or what weighs it),
    and whose reference it has; "" where there is nothing to say."""
    pairs = (
        f" Every right answer to a problem meets every wrong one{which}; the recipe's pairing is not asked."
        if needs_pairs(job.objective)
        else ""
    )
    author = (
        " Its reference is the policy that sampled the answers, as in its paper; a stage of redistill compares with its start."
        if job.settings.objective.name == AUTHORS_STAND_IN
        else ""
    )
    return pairs + author
