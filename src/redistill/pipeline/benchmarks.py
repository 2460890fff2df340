"""What the students of a run are asked on a benchmark, and how."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from redistill.config.tables import BenchmarkSettings, Recipe
from redistill.evaluate import subsample
from redistill.evaluate.stage import benchmark_problems
from redistill.io.images import image_folders
from redistill.io.stage_folder import StageFolder
from redistill.pipeline.images import keeping_images
from redistill.pipeline.stage import Run, records_of
from redistill.records import Problem
from redistill.rollout.answer import EvalConfig


def corpus_problems(folder: Path) -> Iterator[Problem]:
    """The problems of a run's corpus."""
    return (group.problem for group in StageFolder(folder / "corpus", "").read("groups"))


def subset_key(recipe: Recipe, benchmark: BenchmarkSettings) -> dict[str, Any]:
    """What the seed of a benchmark's subset adds to the key of its answers; nothing where it is that of training, or no subset."""
    other = benchmark.max_problems is not None and recipe.corpus.split_seed != recipe.seed
    return {"subset_seed": recipe.corpus.split_seed} if other else {}


def problems_of(run: Run, benchmark: BenchmarkSettings) -> list[Problem]:
    """The problems of a benchmark, by id."""
    if not benchmark.is_held_out:
        with keeping_images(run.plan, image_folders(run.folder)[1]):
            return benchmark_problems(benchmark, run.recipe)
    dev = subsample(records_of(run.folder / "select", "dev"), benchmark.max_problems, run.recipe.corpus.split_seed)
    return sorted(dev, key=lambda problem: problem.id)


def asked(config: EvalConfig) -> dict[str, Any]:
    """How students are asked and judged, as values: so the key does not need the code that works them out."""
    verifiers = {name: [verifier.func.__qualname__, verifier.keywords] for name, verifier in config.judge.items()}
    shots = {"few_shot": found} if (found := config.render.keywords.get("shots")) else {}
    shots |= {"by_likelihood": True} if config.by_likelihood else {}
    return {
        "sampling": asdict(config.sampling),
        "template": config.render.keywords["template"],
        "verifiers": verifiers,
        **shots,
    }
