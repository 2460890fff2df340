"""The student's own wrong answers as negatives: a traces file from the SFT student of each run: its stage `sft`, or what it starts from.

    python experiments/own_negatives.py runs/kit-own-traces runs/kit/trials/sft.seed-*       writes sft.seed-100.jsonl ...

Every problem that the student was trained on is answered by it, twice at temperature 1. A row holds the teachers' right
traces and the student's wrong ones; problems that the student got right twice keep the teachers' right traces alone and make
no pair. Held-out problems keep their teachers' traces, so that they are the same as in the sweep.
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
    """The traces file of one run."""
    plan = make_plan(load_recipe(run / "recipe.yaml"))
    exam = plan.exam(BenchmarkSettings())
    exam = replace(exam, sampling=replace(exam.sampling, n=SAMPLES, temperature=1.0))
    groups = {group.problem.id: group for group in Room(run / "verify", "").read("groups")}
    trained_on = sorted({example.problem_id for example in Room(run / "select", "").read("examples")})
    asked = [groups[id].problem for id in trained_on]
    wrong: dict[str, list[Trace]] = {}
    with exam.pool(workers=1) as pool:
        trained = run / "train" / "sft" / "model"
        student = lambda: models.load_folder(trained if trained.exists() else Path(plan.recipe.student.model))  # noqa: E731
        for group in judged(pool, answered(exam, student, asked, author="student"), exam.verifier):
            wrong[group.problem.id] = [t for t in group.traces if t.verdict.outcome is Outcome.incorrect]
    held_out = {problem.id for problem in Room(run / "select", "").read("dev")}
    out.parent.mkdir(parents=True, exist_ok=True)
    with open(out, "w", encoding="utf-8") as file:
        for id, group in groups.items():
            right = [t for t in group.traces if t.verdict.outcome is Outcome.correct]
            kept = [row_of(t, t.author) for t in (group.traces if id in held_out else right)]
            kept += [row_of(t, "student") for t in wrong.get(id, [])]
            if kept:
                problem = group.problem
                row = {"problem": problem.statement, "answer": problem.answer, "source": problem.source}
                file.write(json.dumps({**row, "generations": kept}) + "\n")
    print(f"{out}: {sum(map(bool, wrong.values()))} of {len(asked)} problems with a wrong answer of the student's own")


if __name__ == "__main__":
    folder, *runs = map(Path, sys.argv[1:])
    for run in runs:
        write(run, folder / f"{run.name}.jsonl")
