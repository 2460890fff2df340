"""Everything a recipe names, found and checked before any work begins.

plan = make_plan(recipe)        OperatorError for an unknown plug-in, a wrong option, a file that is not there
plan.objectives["redi"]         the bound function
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from redistill.config.tables import (
    BenchmarkSettings,
    ExtraStage,
    Recipe,
    ScorerSettings,
    StageSettings,
)
from redistill.config.user_plugins import code_files
from redistill.corpus import benchmark_leaks
from redistill.errors import ErrorCollector
from redistill.evaluate import BENCHMARKS, benchmark_file
from redistill.evaluate.benchmarks import subsample
from redistill.evaluate.few_shot import shots_of
from redistill.evaluate.stage import (
    EvalConfig,
    cues_of,
    eval_settings_for,
    problems_to_avoid,
    sampling_of,
    verifiers_of,
)
from redistill.io.atomic import sha256_file
from redistill.io.stage_folder import StageFolder
from redistill.io.stores import address_of
from redistill.model import loading
from redistill.model.rendering import renderer
from redistill.pipeline.extra_stages import feeding
from redistill.pipeline.guidance import bind_guide
from redistill.pipeline.resolve import find_parts
from redistill.pipeline.retrieval import with_index
from redistill.pipeline.rollouts import BoundRollouts
from redistill.records import Problem
from redistill.score.guidance import Guide
from redistill.select import BoundFilter
from redistill.select.bind import bind_filters
from redistill.train import needs_pairs
from redistill.train.eval_probe import dev_probe
from redistill.train.objectives import needs_scores, trains_critic
from redistill.train.preflight import check_rows
from redistill.train.probe import Probe
from redistill.verify import Judge


@dataclass(slots=True)
class Plan:
    """A recipe with its plug-ins bound, its inputs found."""

    recipe: Recipe
    sources: list[partial[Any]]
    verifiers: dict[str, partial[Any]]
    second_opinion: Judge | None
    scorers: list[tuple[ScorerSettings, partial[Any]]]
    policies: dict[str, partial[Any]]
    filters: list[BoundFilter]
    objectives: dict[str, partial[Any]]
    modifiers: dict[str, list[partial[Any]]]
    rollouts: dict[str, BoundRollouts]
    engine: Callable[..., Any]
    guide: Guide | None  # the critic of a guided engine
    diagnosis: Callable[..., Any] | None
    trackers: dict[str, partial[Any]]
    extra: list[tuple[ExtraStage, partial[Any]]]
    tokenizer: PreTrainedTokenizerFast
    render: partial[str]
    context: int
    inputs: dict[str, str]
    avoided: list[Problem] = field(default_factory=list)  # problems of benchmarks, which the corpus must not hold

    def eval_config(self, benchmark: BenchmarkSettings) -> EvalConfig:
        """How students are examined on a benchmark."""
        template, verifier, where, anchors = eval_settings_for(benchmark, self.recipe)
        asked = self.recipe.prompt.for_evaluation.model_copy(update={"template": template})
        render, _ = renderer(asked, self.tokenizer, shots_of(benchmark, template))
        judges = verifiers_of(verifier, where, anchors)
        sampling = sampling_of(self.recipe.evaluate, benchmark, template)
        recipe, cues = self.recipe, cues_of(self.recipe.evaluate, benchmark)
        chosen = benchmark.kind == "choices"
        return EvalConfig(
            self.engine, render, judges, verifier.name, sampling, recipe.seed, recipe.verify, chosen, cues
        )

    def probe_config(self) -> EvalConfig:
        """How a guard's probe asks, on dev. It chooses among no samples, so nothing that is trained depends on `evaluate.choose`."""
        config = self.eval_config(BenchmarkSettings())
        return replace(config, sampling=replace(config.sampling, logprobs=False))

    def feeding(self, step: str) -> str:
        """The stage whose groups `verify`, `score` or `select` reads."""
        return feeding(self.recipe, step)

    def check_rows(self, records: Iterable[Any]) -> None:
        """The checks that need rows of the data (train/preflight.py)."""
        check_rows(self.recipe, self.tokenizer, records)

    @property
    def critics(self) -> list[str]:
        """The stages that train a critic: their objective is of scores, or of labels."""
        return [name for name, objective in self.objectives.items() if trains_critic(objective)]

    def probe(self, stage: str, settings: StageSettings, folder: Path) -> AbstractContextManager[Probe | None]:
        """What the stage's guard asks the student while it trains; nothing where it does not ask, or trains a critic."""
        if settings.guard is None or settings.guard.probe_every == 0 or stage in self.critics:
            return nullcontext()
        dev = StageFolder(folder / "select", "").read("dev")
        problems = subsample(dev, settings.guard.probe_problems, self.recipe.corpus.split_seed)
        config = self.probe_config()
        config = replace(config, judge=with_index(folder, config.judge))
        return dev_probe(config, settings.guard, sorted(problems, key=lambda problem: problem.id))

    @property
    def files(self) -> dict[str, str]:
        """Checksums of all files that the run is made from: its inputs, and the user's own code that it names."""
        return self.inputs | code_files(_names_in(self.recipe.model_dump()))

    @property
    def scored(self) -> list[str]:
        """The students and critics that are scored, in the order of the recipe: critics where labelled steps are all that is asked,
        and the student before training only where some student is trained."""
        settings = self.recipe.evaluate
        if settings.models:
            return list(settings.models)
        students = ["base", *(name for name in self.recipe.train if name not in self.critics)]
        if not all(benchmark.has_step_labels for benchmark in settings.benchmarks):
            return students
        heads = [name for name in self.recipe.train if needs_scores(self.objectives[name])]
        return [*(students if students != ["base"] or not heads else ()), *heads]


def make_plan(recipe: Recipe) -> Plan:
    """Bind, find and check everything; nothing is written. OperatorError says what is wrong and where, one mistake a line."""
    collector = ErrorCollector()
    parts = find_parts(recipe, collector)
    collector.raise_if_any()
    files = {address_of(path): path for path in parts.files}
    files |= {input_name(b): benchmark_file(b) for b in recipe.evaluate.benchmarks if not b.is_held_out}
    files |= {input_name(b): benchmark_file(b) for b in benchmark_leaks.further(recipe)}
    context = loading.context_length(loading.load_config(recipe.student, len(parts.tokenizer)))
    return Plan(
        recipe=recipe,
        sources=parts.sources,
        verifiers=parts.verifiers,
        second_opinion=parts.second_opinion,
        scorers=parts.scorers,
        policies=parts.policies,
        filters=bind_filters(recipe, context),
        objectives=parts.objectives,
        modifiers=parts.modifiers,
        rollouts=parts.rollouts,
        engine=parts.engine,
        guide=bind_guide(recipe.evaluate.engine, recipe.prompt.for_training, recipe.seed),
        diagnosis=parts.diagnosis,
        trackers=parts.trackers,
        extra=parts.extra,
        tokenizer=parts.tokenizer,
        render=renderer(recipe.prompt.for_training, parts.tokenizer)[0],
        context=context,
        inputs={name: sha256_file(path) for name, path in files.items()},
        avoided=benchmark_leaks.avoided(recipe, problems_to_avoid),
    )


def input_name(benchmark: BenchmarkSettings) -> str:
    """What run.json calls a benchmark's file: its path, or its place on the hub."""
    known = BENCHMARKS.get(benchmark.name)
    return benchmark.file or (f"{known.hub}/{known.file}" if known else benchmark.name)


def _names_in(value: Any) -> Iterator[str]:
    """Every `name` of plain data: those of plug-ins are among them."""
    if isinstance(value, dict) and isinstance(value.get("name"), str):
        yield value["name"]
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _names_in(inner)


def stage_stream(plan: Plan, stage: str) -> str:
    """Which of select's streams a stage reads: "labelled" for a critic, "rollouts" for one that draws its own rows."""
    if stage in plan.rollouts:
        return "rollouts"
    if needs_pairs(plan.objectives[stage]):
        return "pairs"
    return "labelled" if trains_critic(plan.objectives[stage]) else "examples"


def reads_labelled(plan: Plan) -> bool:
    """True where a stage reads right and wrong traces with their labels."""
    return any(stage_stream(plan, stage) == "labelled" for stage in plan.recipe.train)
