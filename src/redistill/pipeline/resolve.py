"""What a recipe names, bound, found and checked, every mistake noted: nothing is trained, written or read through.

    errors = ErrorCollector();  parts = find_parts(recipe, errors);  errors.raise_if_any()        OperatorError with every mistake, one a line
    parts.objectives["redi"]                                                 the bound function

`redistill run` asks before it works and `redistill validate` asks without more, so both know the same mistakes. A new
check is a function that raises OperatorError, and a line in `find_parts`.
"""

import glob
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from transformers import PreTrainedTokenizerFast

from redistill.config.binding import bind
from redistill.config.extras import check_installed, is_installed
from redistill.config.tables import BenchmarkSettings, ExtraStage, Recipe, ScorerSettings, StudentSettings
from redistill.corpus import FOLDERS, SOURCES, VISUAL, benchmark_leaks, resolve
from redistill.corpus.two_habits.diagnosis import diagnose
from redistill.errors import ErrorCollector, OperatorError
from redistill.evaluate import BENCHMARKS, load_benchmark
from redistill.evaluate.choose import CHOICES, bind_choices, scorers_of
from redistill.evaluate.stage import eval_settings_for, verifiers_of
from redistill.evaluate.step_benchmarks import load_solutions
from redistill.io.stores import check_readable, is_address
from redistill.io.tracking import TRACKERS, check_tracker
from redistill.model import loading
from redistill.model.pictures import pictures_of
from redistill.model.rendering import check_template
from redistill.model.score_heads import check_same_tokens, is_critic, objective_of
from redistill.pipeline import rollouts, scoring
from redistill.pipeline.choosing import bind_answer_scorer
from redistill.pipeline.extra_stages import FOLDER_STAGES, GROUP_STAGES, ON_GROUPS
from redistill.pipeline.guidance import check_guided
from redistill.rollout import ENGINES
from redistill.safety.paths import home_path
from redistill.score import SCORERS
from redistill.select import FILTERS, PAIRINGS
from redistill.select.bind import bind_pairings
from redistill.train import MODIFIERS, OBJECTIVES, check_stage, needs_reference, needs_teacher
from redistill.train.adapters import lora_config
from redistill.train.modifiers import in_full, reads_critic
from redistill.train.objectives import name_of, needs_behaviour, trains_critic, without_reference
from redistill.train.preflight import check_before_run
from redistill.verify import JUDGES, VERIFIERS, Judge, check_bound, check_verifiers
from redistill.verify.policy import check_policy

DIAGNOSES: dict[str, Callable[..., Any]] = {"two-habits": diagnose}

# Where a recipe may name a plug-in, and the table it is looked up in; "train.*" stands for every stage.
PLUGINS: dict[str, Mapping[str, Any]] = {
    "corpus.sources": SOURCES,
    "corpus.decontaminate.files.verifier": VERIFIERS,
    "verify.verifiers": VERIFIERS,
    "verify.judge": JUDGES,
    "score": SCORERS,
    "select.filters": FILTERS,
    "stages": {**GROUP_STAGES, **FOLDER_STAGES},
    "select.pairing": PAIRINGS,
    "train.*.objective": OBJECTIVES,
    "train.*.modifiers": MODIFIERS,
    **rollouts.TABLES,
    "train.*.rollouts.verifier": VERIFIERS,
    "train.*.rollouts.score": SCORERS,
    "evaluate.engine": ENGINES,
    "evaluate.verifier": VERIFIERS,
    "evaluate.choose": CHOICES,
    "evaluate.benchmarks.verifier": VERIFIERS,
    "diagnosis": DIAGNOSES,
    "tracking": TRACKERS,
}


@dataclass(frozen=True, slots=True)
class Parts:
    """The plug-ins of a recipe with their options bound, its files, and its tokenizer.

    What had a mistake in it is None or left out: whole only after `ErrorCollector.raise_if_any` has raised nothing.
    """

    sources: list[partial[Any]]
    verifiers: dict[str, partial[Any]]
    second_opinion: Judge | None
    scorers: list[tuple[ScorerSettings, partial[Any]]]
    policies: dict[str, partial[Any]]  # every pairing, the recipe's own first
    objectives: dict[str, partial[Any]]
    modifiers: dict[str, list[partial[Any]]]
    rollouts: dict[str, rollouts.BoundRollouts]  # of the stages that draw their own rows
    engine: partial[Any]
    diagnosis: partial[Any] | None
    trackers: dict[str, partial[Any]]
    extra: list[tuple[ExtraStage, partial[Any]]]  # the recipe's further stages
    files: list[Path]  # of the sources, in their order
    tokenizer: PreTrainedTokenizerFast


def find_parts(
    recipe: Recipe, collector: ErrorCollector, *, fetch: bool = True, doubtful: Set[str] = frozenset()
) -> Parts:
    """Bind, find and check everything a recipe names; mistakes go to the collector.

    fetch False: what lies on the hub is not looked at. doubtful: tables that had mistakes and hold stand-ins now, of which
    nothing further is said.
    """
    finder = _Finder(recipe, collector, fetch, doubtful)
    sources = finder.bound_list("corpus.sources", recipe.corpus.sources, "corpus.sources")
    verifiers = finder.bound_list("verify.verifiers", recipe.verify.verifiers, "verify.verifiers")
    finder.bound("evaluate.verifier", recipe.evaluate.verifier, "evaluate.verifier")
    second = finder.bound("verify.judge", recipe.verify.judge, "verify.judge") if recipe.verify.judge else None
    finder.bound_list("select.filters", recipe.select.filters, "select.filters")
    scorers = [collector.try_call(scoring.bind_scorer, one, f"score.{i}") for i, one in enumerate(recipe.score)]
    policies = collector.try_call(bind_pairings, recipe)
    objectives, modifiers, drawn = finder.train_stages()
    critics = {name for name, objective in objectives.items() if objective is not None and trains_critic(objective)}
    collector.try_call(check_critics, recipe, critics)
    engine = finder.evaluation(critics)
    diagnosis = finder.bound("diagnosis", recipe.diagnosis, "diagnosis") if recipe.diagnosis else None
    trackers = finder.trackers()
    extra = [collector.try_call(_bind_extra, stage, f"stages.{i}") for i, stage in enumerate(recipe.stages)]
    if "verify" not in doubtful:
        collector.try_call(_check_policy, recipe)
    if not {"select", "score", "train", "evaluate"} & doubtful:
        collector.try_call(check_cues, recipe)
        collector.try_call(check_weights, recipe)
    files = finder.files(sources)
    finder.check_benchmarks(critics)
    return Parts(
        sources=sources,
        verifiers={settings.name: v for settings, v in zip(recipe.verify.verifiers, verifiers)},
        second_opinion=second() if second is not None else None,
        scorers=list(zip(recipe.score, scorers, strict=True)),
        policies=policies,
        objectives=objectives,
        modifiers=modifiers,
        rollouts=drawn,
        engine=engine,
        diagnosis=diagnosis,
        trackers={settings.name: tracker for settings, tracker in zip(recipe.tracking, trackers)},
        extra=list(zip(recipe.stages, extra, strict=True)),
        files=files,
        tokenizer=finder.tokenizer(),
    )


@dataclass(frozen=True, slots=True)
class _Finder:
    """The steps of find_parts, in the order in which mistakes are said; see there for the fields."""

    recipe: Recipe
    collector: ErrorCollector
    fetch: bool
    doubtful: Set[str]

    def bound(self, place: str, plugin: Any, where: str) -> Any:
        """The plug-in with its options; None where it has a mistake."""
        plugin_bound = self.collector.try_call(bind, PLUGINS[place], plugin, where)
        if plugin_bound is not None and PLUGINS[place] is VERIFIERS:
            self.collector.try_call(check_bound, plugin_bound, where)
        return plugin_bound

    def bound_list(self, place: str, plugins: Iterable[Any], where: str) -> list[Any]:
        """Each plug-in of a list with its options."""
        return [self.bound(place, plugin, f"{where}.{i}") for i, plugin in enumerate(plugins)]

    def train_stages(self) -> tuple[dict[str, Any], dict[str, list[Any]], dict[str, rollouts.BoundRollouts]]:
        """(objectives, modifiers, rollouts) of the training stages by their names."""
        objectives, modifiers = dict[str, Any](), dict[str, list[Any]]()
        drawn: dict[str, rollouts.BoundRollouts] = {}
        for name, stage in self.recipe.train.items():
            objective = self.bound("train.*.objective", stage.objective, f"train.{name}.objective")
            objectives[name] = objective if objective is None else cast(Any, without_reference(objective))
            listed = self.bound_list("train.*.modifiers", stage.modifiers, f"train.{name}.modifiers")
            modifiers[name] = [cast(Any, m and self.collector.try_call(in_full, m)) for m in listed]
            if objectives[name] is not None and None not in modifiers[name] and "train" not in self.doubtful:
                self.collector.try_call(check_one_stage, self.recipe, name, objectives[name], modifiers[name])
                if drawn_rows := self.collector.try_call(rollouts.bind_rollouts, self.recipe, name, objectives[name]):
                    drawn[name] = drawn_rows
                    if drawn_rows.settings.verifier is not None:
                        where = f"train.{name}.rollouts.verifier"
                        self.bound("train.*.rollouts.verifier", drawn_rows.settings.verifier, where)
            for wanted, module, what in (
                (stage.lora is not None, "peft", "lora"),
                (stage.optimizer == "adamw_8bit", "bitsandbytes", "optimizer (adamw_8bit)"),
            ):
                if wanted:
                    self.collector.try_call(check_installed, module, f"train.{name}.{what}")
            if stage.lora is not None and is_installed("peft"):
                self.collector.try_call(lora_config, stage.lora, f"train.{name}.lora")
        return objectives, modifiers, drawn

    def evaluation(self, critics: set[str]) -> Any:
        """The engine, once what chooses among answers was looked at too."""
        settings = self.recipe.evaluate
        engine = self.bound("evaluate.engine", settings.engine, "evaluate.engine")
        if engine is not None:
            self.collector.try_call(_check_engine, self.recipe, critics)
        self.collector.try_call(bind_choices, settings.choose, "evaluate.choose")
        for scorer in self.collector.try_call(scorers_of, settings.choose, self.recipe.score) or ():
            self.collector.try_call(bind_answer_scorer, scorer)
        return engine

    def trackers(self) -> list[Any]:
        """The trackers, in the order of the recipe."""
        bound_trackers = self.bound_list("tracking", self.recipe.tracking, "tracking")
        for settings, tracker in zip(self.recipe.tracking, bound_trackers):
            if tracker is not None:
                self.collector.try_call(check_tracker, settings.name, tracker)
        return bound_trackers

    def files(self, sources: Sequence[Any]) -> list[Path]:
        """The files of the sources, in their order."""
        files: list[Path] = []
        for place, source in enumerate(sources):
            options, where = source.keywords if source is not None else {}, f"corpus.sources.{place}"
            if "path" in options and (self.fetch or not is_elsewhere(options["path"])):
                files += self.collector.try_call(_resolve, options, where) or []
            elif "path" in options and is_address(options["path"]):
                self.collector.try_call(check_readable, options["path"], f"{where}.path")
            if source is not None and source.func in FOLDERS:
                files += self.collector.try_call(_files_of_folder, source, where) or []
        return files

    def check_benchmarks(self, critics: set[str]) -> None:
        """Look at the benchmarks, those that are only kept out of the corpus, and the guard's probes."""
        for benchmark in self.recipe.evaluate.benchmarks:
            self.collector.try_call(_check_benchmark, self.recipe, benchmark, self.fetch)
        for benchmark in benchmark_leaks.further(self.recipe):
            self.collector.try_call(_check_benchmark, self.recipe, benchmark, self.fetch)
        if not {"train", "corpus"} & self.doubtful:
            self.collector.try_call(_check_probes, self.recipe, critics)

    def tokenizer(self) -> Any:
        """The student's tokenizer, and what is known only with it; None where it is not looked for or has a mistake."""
        recipe = self.recipe
        if {"student", "prompt"} & self.doubtful or (not self.fetch and loading.is_on_hub(recipe.student)):
            return None
        tokenizer = self.collector.try_call(loading.load_tokenizer, recipe.student)
        if tokenizer is None:
            return None
        self.collector.try_call(check_before_run, recipe, tokenizer)
        self.collector.try_call(_check_images, recipe, tokenizer)
        for name, stage in recipe.train.items():
            if stage.critic_named is not None and stage.critic_named not in recipe.train:
                of_critic = f"train.{name}.{stage.critic_key}"
                self.collector.try_call(_check_critics_folder, stage.critic_named, tokenizer, of_critic)
        return tokenizer


# --- the checks -----------------------------------------------------------------------------------------------------


def check_one_stage(recipe: Recipe, name: str, objective: partial[Any], modifiers: list[partial[Any]]) -> None:
    """OperatorError where a stage's objective, modifiers, reference and teacher do not fit together."""
    check_stage(objective, modifiers, f"train.{name}")
    stage = recipe.train[name]
    if stage.reference is not None and not any(map(needs_reference, [objective, *modifiers])):
        raise OperatorError(f"train.{name}.reference: {stage.objective.name} does not use a reference; leave it out.")
    if needs_teacher(objective) and stage.teacher is None:
        raise OperatorError(
            f"train.{name}: {stage.objective.name} learns from a teacher; set `teacher` to base, an earlier stage, or a table such as {{model: PATH}}."
        )
    if stage.teacher is not None and not needs_teacher(objective):
        raise OperatorError(
            f"train.{name}.teacher: {stage.objective.name} does not use a teacher; leave it out, use `distill`, or "
            f"name the teacher of token advantages in `rollouts`."
        )
    asks = [name_of(modifier).replace("_", "-") for modifier in modifiers if reads_critic(modifier)]
    if stage.critic is not None and not asks:
        raise OperatorError(f"train.{name}.critic: its scores are not used; add token-credit to the stage's modifiers.")
    beside = stage.rollouts.critic if stage.rollouts is not None else None
    if asks and stage.critic is None and beside is None:
        place = f"train.{name}.critic" if stage.rollouts is None else f"train.{name}.rollouts.critic"
        raise OperatorError(
            f"train.{name}.modifiers: {asks[0]} weights tokens by a critic's scores; set {place} to a stage with the objective outcome."
        )
    if beside is not None and not asks:
        raise OperatorError(
            f"train.{name}.rollouts.critic: its scores are not used; add token-credit to the stage's modifiers."
        )
    if stage.critic is not None and stage.rollouts is not None:
        raise OperatorError(
            f"train.{name}.critic: it scores rows of the corpus, but this stage samples its own; leave it out, and name a critic that "
            "learns from them as rollouts.critic."
        )
    still = [m for m in modifiers if needs_behaviour(m) and m.keywords.get("estimator") != "k1"]
    if still and stage.rollouts is not None and stage.rollouts.updates == 1 and stage.rollouts.engine.name != "openai":
        raise OperatorError(
            f"train.{name}.modifiers: kl with `to: previous` has a gradient of 0 at the first of a round's updates, where the student "
            "equals that policy, and with `updates: 1` there is no other update; write `to: reference`, or more updates."
        )
    if stage.rollouts is None and any(map(needs_behaviour, modifiers)):
        raise OperatorError(
            f"train.{name}.modifiers: kl with `to: previous` compares with the policy that sampled the answers, which rows of the corpus "
            "do not have; write `to: reference`."
        )


def _bind_extra(stage: ExtraStage, where: str) -> partial[Any]:
    on_groups = stage.after in ON_GROUPS
    table, other = (GROUP_STAGES, FOLDER_STAGES) if on_groups else (FOLDER_STAGES, GROUP_STAGES)
    if stage.name in other:
        places = "corpus, verify or score" if not on_groups else "select, train, evaluate or report"
        raise OperatorError(f"{where}: {stage.name} comes after {places}, not after {stage.after}.")
    return bind(table, stage, where)


def check_cues(recipe: Recipe) -> None:
    """OperatorError where a recipe parts attempts and verifications by different words in different places: what one writes the
    other could not read."""
    named: dict[str, str] = {}
    examples = recipe.select.examples
    if not isinstance(examples, str):
        named["select.examples.cues"] = examples.cues
        named |= {
            f"score.{place}.cues": str(scorer.options.get("cues", "s2r"))
            for place, scorer in enumerate(recipe.score)
            if scorer.name == "checked-equations" and scorer.folder == examples.verification
        }
    if recipe.evaluate.self_correction is not None:
        named["evaluate.self_correction"] = recipe.evaluate.self_correction
    for name, stage in recipe.train.items():
        advantage = stage.rollouts.advantage if stage.rollouts is not None else None
        if advantage is not None and advantage.name == "actions":
            cues = advantage.options.get("cues", "s2r")
            named[f"train.{name}.rollouts.advantage.cues"] = str(cues)
    for place, cues in named.items():
        first, other = next(iter(named.items()))
        if cues != other:
            raise OperatorError(
                f"{place}: attempts and verifications are separated by {cues} here and by {other} in {first}; use the same."
            )


def check_weights(recipe: Recipe) -> None:
    """OperatorError where rows get weights that no stage reads."""
    listed = [modifier.name for stage in recipe.train.values() for modifier in stage.modifiers]
    if recipe.select.weights is not None and "span-weights" not in listed:
        raise OperatorError(
            "select.weights: no stage has the modifier span-weights, which reads them; add it to train.NAME.modifiers, or leave "
            "select.weights out."
        )


def _check_policy(recipe: Recipe) -> None:
    judges = [*(recipe.verify.labels or ()), *(v.name for v in recipe.verify.verifiers)]
    if not judges:
        raise OperatorError(
            "verify: no verifier and no label decides the verdicts; set at least one of verify.verifiers or verify.labels."
        )
    check_policy(recipe.verify.policy, judges)
    check_verifiers(v.name for v in recipe.verify.verifiers)


def check_critics(recipe: Recipe, critics: Set[str]) -> None:
    """OperatorError where a stage that trains a critic is named in a student's place, or draws rows; critics: its names."""
    wrong = []
    for name, settings in recipe.train.items():
        teacher = settings.rollouts.teacher if settings.rollouts is not None else None
        named: dict[str, Any] = {"start": settings.start, "reference": settings.reference}
        named |= {"teacher": settings.teacher, "rollouts.teacher": teacher}
        if name in critics:
            del named["start"]  # a critic may go on from a critic, or begin with a student's body
            if settings.objective.name == "implicit" and settings.start in critics:
                wrong.append(
                    f"train.{name}.start: {settings.start} is a critic, but an implicit critic starts from a language model; name a student."
                )
            if settings.rollouts is not None:
                wrong.append(
                    f"train.{name}.rollouts: a critic gives scores and samples no answers; leave rollouts out."
                )
        wrong += [
            f"train.{name}.{key}: {other} is a critic, which gives scores and no text; name a student."
            for key, other in named.items()
            if isinstance(other, str) and other in critics
        ]
    for model in recipe.evaluate.models or ():
        if model in critics and recipe.train[model].objective.name == "implicit":
            wrong.append(
                f"evaluate.models: {model} is an implicit critic, which does not answer problems; leave it out."
            )
        elif model in critics and not all(b.has_step_labels for b in recipe.evaluate.benchmarks):
            wrong.append(
                f"evaluate.models: {model} is a critic, which does not answer problems; leave it out, or use only benchmark files of labelled steps."
            )
    for name, settings in recipe.train.items():
        critic, place = settings.critic_named, f"train.{name}.{settings.critic_key}"
        if critic in recipe.train and critic not in critics:
            wrong.append(f"{place}: {critic} is a student, not a critic; name a stage with the objective outcome.")
        elif critic is not None and critic in critics and recipe.train[critic].objective.name == "process":
            wrong.append(
                f"{place}: {critic} scores the ends of steps, not every token; name a stage with the objective outcome."
            )
    if wrong:
        raise OperatorError("\n".join(wrong))


def _check_critics_folder(path: str, tokenizer: PreTrainedTokenizerFast, where: str) -> None:
    """OperatorError where a folder holds no critic, or one that cuts texts into other tokens than the student."""
    folder = home_path(path)
    if not is_critic(folder):
        raise OperatorError(
            f"{where}: {path} holds no critic; give the folder of a stage with the objective outcome, such as "
            "runs/NAME/train/STAGE/model."
        )
    if objective_of(folder) == "process":
        raise OperatorError(
            f"{where}: {path} scores the ends of steps, not every token; name a critic of the objective outcome."
        )
    check_same_tokens(loading.load_tokenizer(StudentSettings(model=path)), tokenizer, where, path)


def _check_images(recipe: Recipe, tokenizer: Any) -> None:
    """OperatorError where a source asks about images, or a stage freezes a part that sees, and the student reads text alone."""
    if pictures_of(tokenizer) is not None:
        frozen = [name for name, stage in recipe.train.items() if stage.freeze and stage.lora is not None]
        if frozen:
            raise OperatorError(
                f"train.{frozen[0]}.freeze: an adapter does not change the model's weights; set either lora or freeze."
            )
        return
    for place, source in enumerate(recipe.corpus.sources):
        if source.name in VISUAL:
            raise OperatorError(
                f"corpus.sources.{place}: {source.name} asks about images, but the student reads only text; name an image-text model, "
                "such as Qwen/Qwen2-VL-2B-Instruct, under `student`."
            )
    for name, stage in recipe.train.items():
        if stage.freeze:
            raise OperatorError(f"train.{name}.freeze: the student reads only text; leave it out.")


def _check_engine(recipe: Recipe, critics: Set[str]) -> None:
    """A server holds one student; which one, must be clear before anything is trained."""
    students = [name for name in recipe.train if name not in critics]
    engine, scored = recipe.evaluate.engine, list(recipe.evaluate.models or ["base", *students])
    check_guided(recipe.evaluate, recipe.train, critics)
    if engine.name != "openai":
        return
    if len(scored) > 1 and "{student}" not in str(engine.options.get("model")):
        raise OperatorError(
            f"evaluate.engine: a server serves one student, but {', '.join(scored)} are to be scored; name one in "
            f"evaluate.models, or write model: '{{student}}' for a server that loads models by name (transformers serve does)."
        )
    if engine.options.get("api") == "chat" and recipe.prompt.for_evaluation.chat:
        place = recipe.prompt.place("evaluate", "chat")
        raise OperatorError(
            f"evaluate.engine: api chat would wrap the prompt in the chat template a second time; set {place} to false."
        )


def _check_benchmark(recipe: Recipe, benchmark: BenchmarkSettings, fetch: bool) -> None:
    """OperatorError where a benchmark cannot be read, asked or judged."""
    template, verifier, where, anchors = eval_settings_for(benchmark, recipe)
    if benchmark.template is not None:
        check_template(template, f"evaluate.benchmarks ({benchmark.name}): template")
    if verifier is not recipe.evaluate.verifier or recipe.evaluate.strict_anchors is not None:
        verifiers_of(verifier, where, anchors)
    if benchmark.is_held_out:
        if benchmark.asks_steps and benchmark.max_problems is not None:
            raise OperatorError(
                "evaluate.benchmarks (dev): max_problems would cut solutions in the middle when steps are judged; leave it out."
            )
        if not recipe.corpus.holds_out:
            raise OperatorError(
                "evaluate.benchmarks names dev, but corpus.dev_fraction is 0: hold some problems out, or give a file."
            )
    elif not fetch and benchmark.file is not None and is_address(benchmark.file):
        check_readable(benchmark.file, f"evaluate.benchmarks ({benchmark.name}): file")
    elif benchmark.asks_steps:
        load_solutions(benchmark)
    elif benchmark.file is not None or benchmark.name not in BENCHMARKS or fetch:
        next(iter(load_benchmark(benchmark)))


def _check_probes(recipe: Recipe, critics: Set[str]) -> None:
    for stage, settings in recipe.train.items():
        if stage not in critics and settings.guard and settings.guard.probe_every and not recipe.corpus.holds_out:
            raise OperatorError(
                f"train.{stage}.guard.probe_every needs held-out problems, but corpus.dev_fraction is 0: hold some out, or "
                "set probe_every to 0."
            )


def _resolve(options: Mapping[str, Any], where: str) -> list[Path]:
    try:
        return resolve(options["path"], options.get("revision"), options.get("split"))
    except OperatorError as error:
        raise OperatorError(f"{where}: {error}") from error


def _files_of_folder(source: partial[Any], where: str) -> list[Path]:
    try:
        return FOLDERS[source.func](source.keywords["folder"])
    except OperatorError as error:
        raise OperatorError(f"{where}: {error}") from error


def is_elsewhere(path: str) -> bool:
    """True for an address of object storage, and for what is not a path here and reads like a dataset of the hub: `org/name`,
    `org/name:pattern`."""
    if is_address(path):
        return True
    here = home_path(path)
    if here.exists() or glob.glob(path, recursive=True):
        return False
    name = path.partition(":")[0]
    return (
        name.count("/") == 1 and not name.startswith((".", "/", "~")) and not glob.has_magic(name) and not here.suffix
    )
