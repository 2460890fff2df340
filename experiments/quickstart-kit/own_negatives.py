"""The student's own wrong answers as negatives: for each seed a traces file for own.yaml.

    python experiments/quickstart-kit/own_negatives.py runs/kit 100 101 102 103 104      after the sweep weights.yaml

Every problem that has a pair is answered by its seed's SFT student, twice at temperature 1. A row holds the teacher's right
traces and the student's wrong ones; problems that the student got right twice keep the teacher's right traces alone and make
no pair. Held-out problems keep their teacher's traces, so that they are the same as in weights.yaml.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

from redistill import models
from redistill.recipes.plan import make_plan
from redistill.recipes.scoring import answered
from redistill.recipes.shards import judged
from redistill.records import Outcome, Trace
from redistill.settings import BenchmarkSettings, load_recipe
from redistill.storage import Room

SAMPLES = 2


def row_of(trace: Trace, author: str) -> dict[str, str]:
    """One generation of a row of the layout `traces`."""
    return {"text": trace.completion, "teacher": author, "finish_reason": trace.finish_reason or "stop"}


def write(run: Path, out: Path) -> None:
    """The traces file of one seed."""
    plan = make_plan(load_recipe(run / "recipe.yaml"))
    exam = plan.exam(BenchmarkSettings())
    exam = replace(exam, sampling=replace(exam.sampling, n=SAMPLES, temperature=1.0))
    groups = {group.problem.id: group for group in Room(run / "verify", "").read("groups")}
    paired = sorted({pair.problem_id for pair in Room(run / "select", "").read("pairs")})
    asked = [groups[id].problem for id in paired]
    wrong: dict[str, list[Trace]] = {}
    with exam.pool(workers=1) as pool:
        student = lambda: models.load_folder(run / "train" / "sft" / "model")  # noqa: E731
        for group in judged(pool, answered(exam, student, asked, author="student"), exam.verifier):
            wrong[group.problem.id] = [t for t in group.traces if t.verdict.outcome is Outcome.incorrect]
    held_out = {problem.id for problem in Room(run / "select", "").read("dev")}
    out.parent.mkdir(parents=True, exist_ok=True)
    with open(out, "w", encoding="utf-8") as file:
        for id, group in groups.items():
            right = [t for t in group.traces if t.verdict.outcome is Outcome.correct]
            kept = [row_of(t, "teacher") for t in (group.traces if id in held_out else right)]
            kept += [row_of(t, "student") for t in wrong.get(id, [])]
            if kept:
                problem = group.problem
                row = {"problem": problem.statement, "answer": problem.answer, "source": problem.source}
                file.write(json.dumps({**row, "generations": kept}) + "\n")
    print(f"{out}: {sum(map(bool, wrong.values()))} of {len(asked)} problems with a wrong answer of the student's own")


if __name__ == "__main__":
    sweep = Path(sys.argv[1])
    for seed in sys.argv[2:]:
        write(sweep / "trials" / f"sft.seed-{seed}", sweep.parent / "kit-own-traces" / f"seed-{seed}.jsonl")
