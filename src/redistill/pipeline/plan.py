"""Everything a recipe names, found and checked before any work begins, and the fingerprint of every room.

    plan = make_plan(recipe)        OperatorError for an unknown plug-in, a wrong option, a file that is not there
    plan.objectives["redi"]         the bound function
    plan.prints["select"]           a hash of all that the select room's result depends on

A fingerprint holds the room's settings, its code, and the fingerprint of the room before, so a change runs again what
depends on it and nothing else. Worker counts and other settings that cannot change a result are left out.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from redistill.config.tables import BenchmarkSettings, Plugin, Recipe, StageSettings, StudentSettings
from redistill.config.user_plugins import code_files, code_identity
from redistill.corpus import benchmark_leaks
from redistill.errors import ErrorCollector
from redistill.evaluate import BENCHMARKS, benchmark_file, load_benchmark
from redistill.evaluate.stage import EvalConfig, eval_settings_for, sampling_of, verifiers_of
from redistill.io.atomic import sha256_file
from redistill.io.fingerprints import code_fingerprint, fingerprint
from redistill.model import loading
from redistill.model.rendering import renderer
from redistill.pipeline.resolve import find_parts
from redistill.records import Problem
from redistill.rollout import TRANSPORT
from redistill.select import BoundFilter
from redistill.select.bind import bind_filters
from redistill.train import needs_pairs
from redistill.verify import Judge
from redistill.verify.judge import NON_RESULT_OPTIONS

# settings of a stage that change where and in which order a step is computed, not the step: a stage that was cut short
# may go on with others, and one that is finished stays so
ROUNDING = {"tokens_per_micro_batch", "gradient_checkpointing", "distributed", "offload_optimizer", "memory_gib"}


@dataclass(slots=True)
class Plan:
    """A recipe with its plug-ins bound, its inputs found and its fingerprints worked out."""

    recipe: Recipe
    sources: list[partial[Any]]
    verifiers: dict[str, partial[Any]]
    second_opinion: Judge | None
    policies: dict[str, partial[Any]]
    bound_filters: list[BoundFilter]
    objectives: dict[str, partial[Any]]
    modifiers: dict[str, list[partial[Any]]]
    engine: Callable[..., Any]
    diagnosis: Callable[..., Any] | None
    trackers: dict[str, partial[Any]]
    tokenizer: PreTrainedTokenizerFast
    render: Callable[[Problem], str]
    context: int
    inputs: dict[str, str]
    avoided: list[Problem] = field(default_factory=list)  # problems of benchmarks, which the corpus must not hold
    fingerprints: dict[str, str] = field(default_factory=dict)

    def eval_config(self, benchmark: BenchmarkSettings) -> EvalConfig:
        """How students are examined on a benchmark."""
        template, verifier, where, anchors = eval_settings_for(benchmark, self.recipe)
        render, _ = renderer(self.recipe.prompt.model_copy(update={"template": template}), self.tokenizer)
        judges = verifiers_of(verifier, where, anchors)
        sampling = sampling_of(self.recipe.evaluate)
        return EvalConfig(self.engine, render, judges, verifier.name, sampling, self.recipe.seed, self.recipe.verify)

    @property
    def files(self) -> dict[str, str]:
        """Checksums of all files that the run is made from: its inputs, and the person's own code that it names."""
        return self.inputs | code_files(_names_in(self.recipe.model_dump()))

    @property
    def scored(self) -> list[str]:
        """The students that are scored, in the order of the recipe."""
        return list(self.recipe.evaluate.models or ["base", *self.recipe.train])


def make_plan(recipe: Recipe) -> Plan:
    """Bind, find and check everything; nothing is written. OperatorError says what is wrong and where, one mistake a line."""
    collector = ErrorCollector()
    parts = find_parts(recipe, collector)
    collector.raise_if_any()
    files = {str(path): path for path in parts.files}
    files |= {input_name(b): benchmark_file(b) for b in recipe.evaluate.benchmarks if not b.is_held_out}
    files |= {input_name(b): benchmark_file(b) for b in benchmark_leaks.further(recipe)}
    context = loading.context_length(loading.load_config(recipe.student, len(parts.tokenizer)))
    plan = Plan(
        recipe=recipe,
        sources=parts.sources,
        verifiers=parts.verifiers,
        second_opinion=parts.second_opinion,
        policies=parts.policies,
        bound_filters=bind_filters(recipe, context),
        objectives=parts.objectives,
        modifiers=parts.modifiers,
        engine=parts.engine,
        diagnosis=parts.diagnosis,
        trackers=parts.trackers,
        tokenizer=parts.tokenizer,
        render=renderer(recipe.prompt, parts.tokenizer)[0],
        context=context,
        inputs={name: sha256_file(path) for name, path in files.items()},
        avoided=benchmark_leaks.avoided(recipe, load_benchmark),
    )
    plan.fingerprints = _fingerprints(plan)
    return plan


def input_name(benchmark: BenchmarkSettings) -> str:
    """What run.json calls a benchmark's file: its path, or its place on the hub."""
    known = BENCHMARKS.get(benchmark.name)
    return benchmark.file or (f"{known.hub}/{known.file}" if known else benchmark.name)


def student_address(student: StudentSettings) -> str:
    """By what a server on this machine may know a student: its folder or hub id; empty where it has neither."""
    model = student.model or ""
    folder = Path(model).expanduser()
    nameless = model.startswith("package:") or model.endswith(".gguf")
    return str(folder.resolve()) if folder.is_dir() else "" if nameless else model


def student_identity(student: StudentSettings) -> Any:
    """What the student is: its settings, and the checksums of its files where they are on this machine."""
    if student.from_config is not None:
        return student.model_dump()
    where, gguf = loading.locate(student)
    folder = Path(where)
    if not folder.is_dir():
        return student.model_dump()
    names = (
        [gguf]
        if gguf
        else sorted(p.name for p in folder.iterdir() if p.suffix in (".safetensors", ".json", ".model", ".jinja"))
    )
    settings = student.model_dump(exclude={"model"})
    return {**settings, "files": {name: sha256_file(folder / name) for name in names}}


def _fingerprints(plan: Plan) -> dict[str, str]:
    recipe = plan.recipe
    student = student_identity(recipe.student)
    corpus = [s.model_dump() for s in recipe.corpus.sources]
    for source in corpus:
        source["options"].pop("path", None)  # the files' checksums stand for it
    fingerprints: dict[str, str] = {}
    fingerprints["corpus"] = fingerprint(
        corpus, list(plan.inputs.values()), recipe.seed, recipe.corpus.max_problems, recipe.corpus.shards,
        recipe.corpus.near_duplicates, recipe.corpus.near_threshold, benchmark_leaks.identity(recipe, plan.avoided),
        code_fingerprint("corpus", "records.py"), *_own(*recipe.corpus.sources),
    )  # fmt: skip
    verify = recipe.verify.model_dump(exclude={"workers"})
    for option in NON_RESULT_OPTIONS if recipe.verify.judge else ():
        verify["judge"]["options"].pop(option, None)
    fingerprints["verify"] = fingerprint(
        fingerprints["corpus"],
        verify,
        code_fingerprint("verify", "records.py", "text/prompts.py"),
        *_own(*recipe.verify.verifiers),
    )
    fingerprints["select"] = fingerprint(
        fingerprints["verify"], recipe.select.model_dump(), recipe.prompt.model_dump(), recipe.corpus.dev_fraction, recipe.seed,
        student, code_fingerprint("select", "text/prompts.py", "records.py", "text/repetition.py"),
        *_own(recipe.select.pairing, *recipe.select.filters),
    )  # fmt: skip
    unpaired = fingerprint(  # what examples and held-out problems depend on: another pairing trains no SFT again
        fingerprints["verify"], recipe.select.model_dump(exclude={"pairing"}), recipe.prompt.model_dump(), recipe.corpus.dev_fraction,
        recipe.seed, student, code_fingerprint("select", "text/prompts.py", "records.py", "text/repetition.py"), *_own(*recipe.select.filters),
    )  # fmt: skip
    fingerprints["train/base"] = fingerprint(student, recipe.seed)
    code = code_fingerprint("train", "model/logps.py", "model/loading.py")
    for name, stage in recipe.train.items():
        settings = stage.model_dump(exclude=ROUNDING)
        fingerprints[f"train/{name}"] = fingerprint(
            fingerprints["select"] if needs_pairs(plan.objectives[name]) else unpaired, fingerprints[f"train/{stage.start}"],
            fingerprints[f"train/{stage.reference or stage.start}"], settings, recipe.seed, code, *_probe_parts(recipe, stage),
            *_own(stage.objective, *stage.modifiers),
        )  # fmt: skip
    code = code_fingerprint(
        "rollout", "evaluate", "verify", "model/loading.py", "text/prompts.py", "records.py", "evaluate/stage.py"
    )
    sampling = recipe.evaluate.model_dump(exclude={"models", "benchmarks"})
    if recipe.evaluate.engine.name == "openai":
        for option in TRANSPORT:
            sampling["engine"]["options"].pop(option, None)
    for name in ["base", *recipe.train]:
        for benchmark in recipe.evaluate.benchmarks:
            problems = unpaired if benchmark.is_held_out else plan.inputs[input_name(benchmark)]
            fingerprints[f"evaluate/{name}/{benchmark.name}"] = fingerprint(
                fingerprints[f"train/{name}"], problems, benchmark.model_dump(exclude={"file"}), sampling,
                recipe.prompt.model_dump(), recipe.seed, recipe.verify.timeout_seconds, recipe.verify.memory_mb, code,
                *_own(recipe.evaluate.engine, recipe.evaluate.verifier, benchmark.verifier),
            )  # fmt: skip
    return fingerprints


def _probe_parts(recipe: Recipe, stage: StageSettings) -> list[Any]:
    """What a stage's guard depends on where it asks the student: nothing where it does not."""
    if stage.guard is None or stage.guard.probe_every == 0:
        return []
    sampling = recipe.evaluate.model_dump(include={"temperature", "top_p", "max_new_tokens", "prefill", "verifier"})
    code = code_fingerprint(
        "rollout", "verify", "text/prompts.py", "records.py", "train/eval_probe.py", "evaluate/stage.py"
    )
    return [sampling, recipe.verify.timeout_seconds, recipe.verify.memory_mb, code, *_own(recipe.evaluate.verifier)]


def _names_in(value: Any) -> Iterator[str]:
    """Every `name` of plain data: those of plug-ins are among them."""
    if isinstance(value, dict) and isinstance(value.get("name"), str):
        yield value["name"]
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _names_in(inner)


def _own(*plugins: Plugin | None) -> list[Any]:
    """What a room depends on where plug-ins come from a person's own file: that file. Nothing where none does."""
    digests = code_identity(plugin.name for plugin in plugins if plugin is not None)
    return [digests] if digests else []


def stage_stream(plan: Plan, stage: str) -> str:
    """Which of the select room's streams a stage reads."""
    return "pairs" if needs_pairs(plan.objectives[stage]) else "examples"
