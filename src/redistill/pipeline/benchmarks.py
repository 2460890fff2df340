"""What the students of a run are asked on a benchmark, and how."""

from dataclasses import asdict
from typing import Any

from redistill.config.tables import BenchmarkSettings
from redistill.evaluate import subsample
from redistill.evaluate.stage import benchmark_problems
from redistill.io.images import image_folders
from redistill.pipeline.images import keeping_images
from redistill.pipeline.stage import Run, records_of
from redistill.records import Problem
from redistill.rollout.answer import EvalConfig


def problems_of(run: Run, benchmark: BenchmarkSettings) -> list[Problem]:
    """The problems of a benchmark, by id."""
    if not benchmark.is_held_out:
        with keeping_images(run.plan, image_folders(run.folder)[1]):
            return benchmark_problems(benchmark, run.recipe)
    dev = subsample(records_of(run.folder / "select", "dev"), benchmark.max_problems, run.recipe.seed)
    return sorted(dev, key=lambda problem: problem.id)


def asked(config: EvalConfig) -> dict[str, Any]:
    """How students are asked and judged, as values: so the key does not need the code that works them out."""
    verifiers = {name: [verifier.func.__qualname__, verifier.keywords] for name, verifier in config.judge.items()}
    return {"sampling": asdict(config.sampling), "template": config.render.keywords["template"], "verifiers": verifiers}
