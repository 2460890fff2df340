"""What a corpus must not hold: the problems that a recipe scores on, and those of any further file it names.

    avoided(recipe, load_benchmark)  ->  [Problem("...", source="aime24", source_row="benchmarks.jsonl:60"), ...]

All rows of a benchmark count, also those that its `max_problems` leaves out of the scores.
"""

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from redistill.config.tables import BenchmarkSettings, Recipe
from redistill.corpus.decontaminate import Benchmarks
from redistill.io.fingerprints import fingerprint
from redistill.records import Problem


def avoided(recipe: Recipe, load: Callable[[BenchmarkSettings], Iterable[Problem]]) -> list[Problem]:
    """The problems of evaluate.benchmarks (but for `dev`, which is held out of the corpus) and of the extra files.

    load: evaluate.load_benchmark, which this folder may not import."""
    settings = recipe.corpus.decontaminate
    asked = list(recipe.evaluate.benchmarks) if settings.benchmarks else []
    named = [benchmark for benchmark in asked if not benchmark.is_held_out]
    return [problem for benchmark in [*named, *further(recipe)] for problem in load(benchmark)]


def further(recipe: Recipe) -> list[BenchmarkSettings]:
    """The extra files; a bare path is called by its name: data/held.jsonl.gz is `held`."""
    return [
        BenchmarkSettings(name=re.sub(r"[^A-Za-z0-9_-].*", "", Path(file).name) or "file", file=file)
        if isinstance(file, str)
        else file
        for file in recipe.corpus.decontaminate.files
    ]


def index(recipe: Recipe, problems: list[Problem]) -> Benchmarks | None:
    """The problems as the corpus stage looks for them; None where there are none."""
    settings = recipe.corpus.decontaminate
    return Benchmarks(problems, ngram=settings.ngram, threshold=settings.threshold) if problems else None


def identity(recipe: Recipe, problems: list[Problem]) -> str:
    """A hash of the problems and of how they are looked for."""
    settings = recipe.corpus.decontaminate.model_dump(include={"leaks", "ngram", "threshold"})
    rows = [(problem.source, Path(problem.source_row).name, problem.statement) for problem in problems]
    return fingerprint(settings, rows)
