"""A model or a server answers problems; what comes back is a file of traces: the command `rollout`.

    rollout(settings, Path("problems.jsonl"), out=Path("answers.jsonl"), author="teacher", until_right=4)
        -> {"problems": 200, "answers": 512, "outcomes": {"correct": 187, ...}, "solved": 187}

The file is what the source `traces` reads. Answers are judged beside, and a verdict is written only where it is decided: an
answer that could not be judged has no label. Every finished answer is kept at once in a journal beside the file, so a command
that is stopped goes on where it was.
"""

import contextlib
import dataclasses
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from redistill.config.binding import bind
from redistill.config.parsing import parse_evaluation
from redistill.config.tables import Evaluation, ImageSettings
from redistill.config.yaml_text import apply_override
from redistill.corpus.sources.of_file import source_of_file
from redistill.errors import OperatorError
from redistill.evaluate.stage import sampling_of, verifiers_of
from redistill.io.atomic import atomic_write, check_output, make_folder
from redistill.io.progress import bar, say
from redistill.model import loading
from redistill.model.pictures import pictures_of
from redistill.model.rendering import renderer
from redistill.pipeline.guidance import bind_guide, check_guided, with_guide
from redistill.pipeline.images import keeping_images_of
from redistill.pipeline.lock import alone
from redistill.pipeline.student_identity import student_address
from redistill.records import Dropped, Group, Outcome, Problem, Trace
from redistill.rollout import ENGINES, IN_PROCESS, Student
from redistill.rollout.answer import EvalConfig, answered
from redistill.rollout.requests import Sample
from redistill.safety.paths import home_path, shell_word
from redistill.tools.evaluate import has_chat_template, short_name
from redistill.tools.traces_row import traces_row
from redistill.verify.stage import judged

AT_A_TIME = 64  # problems that are asked together: bounds what is held in memory


def rollout(
    settings: Evaluation,
    path: Path,
    *,
    out: Path,
    author: str,
    source: str = "problems",
    until_right: int | None = None,
    max_problems: int | None = None,
) -> dict[str, Any]:
    """Have the model of `settings` answer the problems of `path`, and write problems and answers to `out`.

    settings: student, prompt, verify limits and, in `evaluate`, engine, sampling and verifier; its benchmarks are not read.
    source: reads the file. until_right: ask n answers, and n more as long as a problem has no right one, at most so many
    times; None: once. Returns counts. OperatorError where `out` is there already, or no problem can be read.
    """
    check_output(out, path)
    if out.exists():
        raise OperatorError(f"{out} already exists; name another file, or remove it first.")
    if out.suffix != ".jsonl":
        raise OperatorError(f"{out}: the answers are written as JSON lines; end the name with .jsonl.")
    problems = list(_problems(path, source, max_problems))
    needs_tokenizer = settings.prompt.chat or settings.evaluate.engine.name in IN_PROCESS
    tokenizer: Any = loading.load_tokenizer(settings.student) if needs_tokenizer else None
    with tempfile.TemporaryDirectory(prefix="redistill-images-") as images:
        if pictures_of(tokenizer) is not None:  # once more, and the images of the rows are kept this time
            with keeping_images_of(tokenizer, ImageSettings(), Path(images)):
                problems = list(_problems(path, source, max_problems))
        return _drawn(settings, tokenizer, problems, out=out, author=author, tries=until_right or 1)


def _drawn(
    settings: Evaluation, tokenizer: Any, problems: Sequence[Problem], *, out: Path, author: str, tries: int
) -> dict[str, Any]:
    """Ask, judge and write; returns counts."""
    engine = bind(ENGINES, settings.evaluate.engine, "engine")
    check_guided(settings.evaluate, {}, ())
    config = EvalConfig(
        with_guide(engine, bind_guide(settings.evaluate.engine, settings.prompt, settings.seed)),
        renderer(settings.prompt, tokenizer)[0],
        verifiers_of(settings.evaluate.verifier, "verifier"),
        settings.evaluate.verifier.name,
        sampling_of(settings.evaluate),
        settings.seed,
        settings.verify,
    )
    student = Student(
        lambda: (loading.load_model(settings.student, tokenizer, seed=settings.seed), tokenizer),
        student_address(settings.student),
        owned=True,
    )
    journal, outcomes, solved, stored = out.with_name(f"{out.name}.journal"), Counter[str](), 0, [0]
    lock = out.with_name(f"{out.name}.lock")
    make_folder(lock, "--out")
    with (
        alone(lock),
        _saying_what_is_stored(stored),
        config.pool() as pool,
        atomic_write(out) as part,
        open(part, "w", encoding="utf-8") as file,
        bar(label="rollout", unit="problem", total=len(problems)) as progress,
    ):
        for start in range(0, len(problems), AT_A_TIME):
            asked = problems[start : start + AT_A_TIME]
            for group in _answers(config, student, asked, pool, author, journal, tries, stored):
                file.write(json.dumps(traces_row(group), ensure_ascii=False) + "\n")
                outcomes.update(str(trace.verdict.outcome) for trace in group.traces)
                solved += any(trace.verdict.outcome is Outcome.correct for trace in group.traces)
                progress.update(1)
    journal.unlink(missing_ok=True)
    _remove(lock)
    return {
        "problems": len(problems),
        "answers": sum(outcomes.values()),
        "outcomes": dict(outcomes.most_common()),
        "solved": solved,
    }


def rollout_file(
    model: str,
    path: Path,
    *,
    out: Path,
    source: str = "problems",
    n: int = 1,
    until_right: int | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    max_new_tokens: int | None = None,
    max_problems: int | None = None,
    template: str | None = None,
    prefill: str | None = None,
    chat: bool | None = None,
    engine: str | None = None,
    base_url: str | None = None,
    seed: int = 0,
    author: str | None = None,
    overrides: Sequence[str] = (),
) -> dict[str, Any]:
    """`rollout` with the arguments of the command line; what is None takes its default of a recipe."""
    if base_url is not None and engine != "openai":
        raise OperatorError("rollout: --base-url belongs to --engine openai; write both.")
    if until_right is not None and until_right < 1:
        raise OperatorError(f"rollout: --until-right {until_right} must be 1 or more.")
    chosen: dict[str, Any] = {"name": engine or "transformers"}
    if base_url is not None:
        folder = home_path(model)
        chosen |= {"base_url": base_url, "model": str(folder.resolve()) if folder.is_dir() else model}
    sampling = {
        "n": n, "temperature": temperature, "top_p": top_p, "max_new_tokens": max_new_tokens, "prefill": prefill,
    }  # fmt: skip
    tree: dict[str, Any] = {
        "name": "rollout",
        "seed": seed,
        "student": {"model": model},
        "prompt": {key: value for key, value in {"template": template, "chat": chat}.items() if value is not None},
        "evaluate": {"engine": chosen, **{key: value for key, value in sampling.items() if value is not None}},
    }
    for override in overrides:
        apply_override(tree, override)
    settings = parse_evaluation(tree, "rollout")
    if "chat" not in tree["prompt"] and settings.evaluate.engine.name in IN_PROCESS:
        tree["prompt"]["chat"] = has_chat_template(settings.student)
        settings = parse_evaluation(tree, "rollout")
    return rollout(
        settings, path, out=out, author=author or short_name(model), source=source, until_right=until_right,
        max_problems=max_problems,
    )  # fmt: skip


def _problems(path: Path, source: str, most: int | None) -> Iterator[Problem]:
    """The problems of a file, each once, in its order; what its traces say is not looked at."""
    read, _ = source_of_file(source, path)
    seen = set[str]()
    for item in read():
        if isinstance(item, Dropped) or item.problem.id in seen:
            continue
        if most is not None and len(seen) == most:
            break
        seen.add(item.problem.id)
        yield item.problem
    if not seen:
        raise OperatorError(
            f"{path}: the source {source} finds no problem in it; `redistill init --traces {shell_word(path)}` shows what can be read."
        )


def _answers(
    config: EvalConfig,
    student: Student,
    problems: Sequence[Problem],
    pool: Any,
    author: str,
    journal: Path,
    turns: int,
    stored: list[int],
) -> list[Group]:
    """The problems with their judged answers: asked again as long as none is right, at most `turns` times. stored: one number, to
    which each answer is added as soon as it is in the journal."""

    def count(sample: Sample) -> None:
        stored[0] += 1

    by_problem = {problem.id: Group(problem, ()) for problem in problems}
    open_problems = list(problems)
    for turn in range(turns):
        if not open_problems:
            break
        seed = int(np.random.SeedSequence([config.seed, turn]).generate_state(1, np.uint64)[0]) if turn else config.seed
        mine = dataclasses.replace(config, seed=seed)
        drawn = answered(mine, student, open_problems, author=author, journal=journal, tell=count)
        groups = judged(pool, drawn, config.verifier)
        for group in groups:
            before = by_problem[group.problem.id].traces
            traces = tuple(_numbered(trace, len(before)) for trace in group.traces)
            by_problem[group.problem.id] = Group(group.problem, (*before, *traces))
        open_problems = [
            problem
            for problem in open_problems
            if not any(trace.verdict.outcome is Outcome.correct for trace in by_problem[problem.id].traces)
        ]
    return list(by_problem.values())


@contextlib.contextmanager
def _saying_what_is_stored(stored: Sequence[int]) -> Iterator[None]:
    """Where Ctrl-C stops the drawing: how many answers need not be drawn again."""
    try:
        yield
    except KeyboardInterrupt:
        say(f"rollout: stopped with {stored[0]:,} answers stored; the same command samples the rest")
        raise


def _numbered(trace: Trace, before: int) -> Trace:
    index = before + int(trace.sampling["sample_index"])
    return dataclasses.replace(trace, sampling={**trace.sampling, "sample_index": index})


def _remove(lock: Path) -> None:
    for path in lock.iterdir():
        path.unlink()
    lock.rmdir()
