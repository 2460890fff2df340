"""The student's own wrong answers as negatives: a traces file from the SFT student of each run: its stage `sft`, or what it starts from.

    python experiments/own_negatives.py runs/kit-own-traces runs/kit/trials/sft.seed-*       writes sft.seed-100.jsonl ...
    python experiments/own_negatives.py --own-right --samples 8 runs/own-both runs/kit/trials/sft.seed-*

Every problem that the student was trained on is answered by it, at temperature 1. A row holds the teachers' right traces (with
--own-right the student's own) and the student's wrong ones; problems that the student never got wrong make no pair. Held-out
problems keep their teachers' traces, so that they are the same as in the sweep.
"""

import argparse
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from redistill.config.parsing import load_recipe
from redistill.config.tables import BenchmarkSettings
from redistill.io.stage_folder import StageFolder
from redistill.model import loading
from redistill.pipeline.plan import make_plan
from redistill.records import Outcome, Trace
from redistill.rollout.answer import answered
from redistill.verify.stage import judged


def row_of(trace: Trace, author: str) -> dict[str, str]:
    """One generation of a row of the layout `traces`."""
    return {"text": trace.completion, "teacher": author, "finish_reason": trace.finish_reason or "stop"}


def write(run: Path, out: Path, samples: int, own_right: bool) -> None:
    """The traces file of one run."""
    plan = make_plan(load_recipe(run / "recipe.yaml"))
    eval_config = plan.eval_config(BenchmarkSettings())
    eval_config = replace(eval_config, sampling=replace(eval_config.sampling, n=samples, temperature=1.0))
    groups = {group.problem.id: group for group in StageFolder(run / "verify", "").read("groups")}
    trained_on = sorted({example.problem_id for example in StageFolder(run / "select", "").read("examples")})
    asked = [groups[id].problem for id in trained_on]
    own: dict[str, list[Trace]] = {}
    with eval_config.pool(workers=1) as pool:
        trained = run / "train" / "sft" / "model"
        student = lambda: loading.load_folder(trained if trained.exists() else Path(plan.recipe.student.model))  # noqa: E731
        for group in judged(pool, answered(eval_config, student, asked, author="student"), eval_config.verifier):
            own[group.problem.id] = group.traces
    held_out = {problem.id for problem in StageFolder(run / "select", "").read("dev")}
    out.parent.mkdir(parents=True, exist_ok=True)
    with open(out, "w", encoding="utf-8") as file:
        for id, group in groups.items():
            chosen = (
                group.traces
                if id in held_out
                else _only(own.get(id, ()) if own_right else group.traces, Outcome.correct)
            )
            kept = [row_of(t, t.author or "student") for t in chosen]
            kept += [row_of(t, "student") for t in _only(own.get(id, ()), Outcome.incorrect)]
            if kept:
                problem = group.problem
                row = {"problem": problem.statement, "answer": problem.answer, "source": problem.source}
                file.write(json.dumps({**row, "generations": kept}) + "\n")
    mistaken = sum(bool(_only(traces, Outcome.incorrect)) for traces in own.values())
    print(f"{out}: {mistaken} of {len(asked)} problems with a wrong answer of the student's own")


def _only(traces: Iterable[Trace], outcome: Outcome) -> list[Trace]:
    return [trace for trace in traces if trace.verdict.outcome is outcome]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the folder of the traces files")
    parser.add_argument("runs", type=Path, nargs="+", help="folders of runs or trials")
    parser.add_argument("--samples", type=int, default=2, help="answers a problem")
    parser.add_argument(
        "--own-right", action="store_true", help="the student's right answers are chosen, not the teachers'"
    )
    asked = parser.parse_args()
    for run in asked.runs:
        write(run, asked.out / f"{run.name}.jsonl", asked.samples, asked.own_right)
