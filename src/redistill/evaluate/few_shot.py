"""Worked examples before each problem of a benchmark: drawn once from another split or file, the same for every problem.

    {name: gsm8k, few_shot: {count: 5, split: train, seed: 0}}
    shots_of(benchmark, template)  ->  (("Natalia sold clips ...", "Natalia sold 48/2 = 24 ... #### 72"), ...)     question, answer

Never from the scored problems: a question that the benchmark asks, in any spelling of its white space, is left out before anything
is drawn, whatever `max_problems` keeps of it.
"""

import functools
from pathlib import Path
from typing import Any

from redistill.config.tables import BenchmarkSettings
from redistill.config.validation_messages import did_you_mean
from redistill.errors import OperatorError
from redistill.evaluate.benchmarks import benchmark_file, load_benchmark, read_rows
from redistill.evaluate.registry import BENCHMARKS
from redistill.records import content_id, make_problem
from redistill.text.prompts import ASKED_ANCHORS, TEMPLATES
from redistill.verify.answers import find_answer


def shots_of(benchmark: BenchmarkSettings, template: str) -> tuple[tuple[str, str], ...]:
    """The (question, answer) examples of a benchmark, in the order of a hash of (seed, question); () where it asks for none. An
    answer in which nothing marks the answer is shown as the template asks for it (`\\boxed{4}`), else "The answer is 4."; of options as it is.

    OperatorError where they have no file, too few rows with both columns, or the benchmark is `dev`, which has no other split.
    """
    if benchmark.few_shot is None:
        return ()
    form = (
        "{answer}"
        if benchmark.kind == "choices"
        else _FORMS.get(ASKED_ANCHORS.get(template, ("",))[0], "The answer is {answer}.")
    )
    return tuple(
        (question, answer if find_answer(answer).answer is not None else form.replace("{answer}", answer))
        for question, answer in _drawn(benchmark.model_dump_json())
    )


_FORMS = {"boxed": "\\boxed{{answer}}", "answer_tag": "<answer>{answer}</answer>", "hashes": "#### {answer}"}


@functools.lru_cache(maxsize=16)  # a run asks for them at every stage
def _drawn(text: str) -> tuple[tuple[str, str], ...]:
    benchmark = BenchmarkSettings.model_validate_json(text)
    few_shot = benchmark.few_shot
    assert few_shot is not None
    where = f"evaluate.benchmarks ({benchmark.name}): few_shot"
    if benchmark.is_held_out and few_shot.file is None:
        raise OperatorError(f"{where} needs `file`, a file of examples, because dev has no other split.")
    scored = set() if benchmark.is_held_out else {problem.id for problem in load_benchmark(benchmark)}
    shots: dict[str, tuple[str, str]] = {}
    for row in read_rows(_file(benchmark, where)):
        question, answer = _read(benchmark, row)
        if isinstance(question, str) and question.strip() and answer is not None and str(answer).strip():
            id = make_problem(question).id
            if id not in scored:
                shots.setdefault(id, (question, str(answer).strip()))
    if len(shots) < few_shot.count:
        raise OperatorError(
            f"{where}: {len(shots)} usable examples, {few_shot.count} wanted (those in the benchmark itself are left "
            f"out); lower count, or set problem_column and answer_column."
        )
    ranked = sorted(shots, key=lambda id: content_id("", "few-shot", str(few_shot.seed), id))
    return tuple(shots[id] for id in ranked[: few_shot.count])


def _file(benchmark: BenchmarkSettings, where: str) -> Path:
    """The file of the examples."""
    few_shot = benchmark.few_shot
    assert few_shot is not None
    if few_shot.file is not None:
        return benchmark_file(benchmark.model_copy(update={"file": few_shot.file}))
    known = BENCHMARKS.get(benchmark.name)
    splits = dict(known.splits) if known else {}
    if few_shot.split is None or few_shot.split not in splits:
        there = f"known for {benchmark.name}: {', '.join(splits)}" if splits else "this benchmark has no known one"
        raise OperatorError(
            f"{where}: name a `file` of examples, or a `split` ({there}){did_you_mean(few_shot.split or '', splits) if splits else '.'}"
        )
    return benchmark_file(benchmark, splits[few_shot.split])


def _read(benchmark: BenchmarkSettings, row: dict[str, Any]) -> tuple[Any, Any]:
    """(question, answer to show): the question as the benchmark asks it, the answer as the column holds it."""
    few_shot, known = benchmark.few_shot, BENCHMARKS.get(benchmark.name)
    assert few_shot is not None
    if known and not {known.problem_column, known.answer_column} <= row.keys():
        known = None
    question = row.get(
        few_shot.problem_column or benchmark.problem_column or (known.problem_column if known else "problem")
    )
    answer = row.get(few_shot.answer_column or benchmark.answer_column or (known.answer_column if known else "answer"))
    if known and known.read and few_shot.problem_column is None:
        question = known.read(row)[0]
    return question, answer


def stops_of(benchmark: BenchmarkSettings, template: str) -> tuple[str, ...]:
    """Where an answer ends: at the template's words around a further problem, which a model that goes on with the pattern writes."""
    if benchmark.few_shot is None:
        return ()
    before, _, after = TEMPLATES.get(template, template).partition("{problem}")
    words = (before.strip() or after.strip()).partition("\n")[0]
    return (f"\n{words}",) if words else ()
