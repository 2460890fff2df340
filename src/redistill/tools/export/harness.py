"""Grading inside lm-eval: the recipe's verifier on an answer that the harness has drawn.

grade = grader(Path("tasks/recipe.yaml"))
grade({"answer": "42", "prompt": "..."}, "It is \\\\boxed{42}.")   ->   {"acc": 1.0, "undecided": 0.0}
"""

import atexit
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from redistill.config.parsing import load_recipe
from redistill.evaluate.stage import verifiers_of
from redistill.records import DECIDED, Outcome, make_problem, make_trace
from redistill.verify import VerifierPool


def grader(recipe: Path) -> Callable[[Mapping[str, Any], str], dict[str, float]]:
    """A function of (document, answer) -> acc and undecided, 0 or 1, by evaluate.verifier of the recipe. The prefill that opened the
    answer is part of what is graded. Answers are judged in a process that can be killed."""
    loaded = load_recipe(recipe)
    settings, limits = loaded.evaluate, loaded.verify
    name = settings.verifier.name
    judges = {name: verifiers_of(settings.verifier, "evaluate.verifier")[name]}

    @functools.cache
    def pool() -> VerifierPool:
        opened = VerifierPool(judges, workers=1, timeout_seconds=limits.timeout_seconds, memory_mb=limits.memory_mb)
        atexit.register(opened.close)
        return opened

    def grade(document: Mapping[str, Any], answer: str) -> dict[str, float]:
        problem = make_problem(str(document["prompt"]), answer=str(document["answer"]) or None)
        trace = make_trace(problem.id, settings.prefill + answer)
        outcome = next(iter(pool().judge([(problem, trace)])))[name].outcome
        return {"acc": float(outcome is Outcome.correct), "undecided": float(outcome not in DECIDED)}

    return grade
