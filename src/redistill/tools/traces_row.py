"""A group as a row of the `traces` layout, which the source `traces` reads back: what `rollout` and `score` write.

traces_row(group)   ->   {"problem": "2+2?", "answer": "4", "generations": [{"text": "4", "correct": true, "scores": {...}}]}
"""

from typing import Any

from redistill.records import DECIDED, FINAL, Group, Outcome, Trace

LABEL = "teacher_label"  # the verdict that the source makes of `correct`


def traces_row(group: Group) -> dict[str, Any]:
    """The problem with its traces. `correct` is the joined verdict where there is one and it is decided, else the label that
    the data brought; scores, spans and notes are written where a trace has some."""
    problem = group.problem
    row: dict[str, Any] = {"problem": problem.statement, "answer": problem.answer, "source": problem.source}
    if problem.answer_type:
        row["question_type"] = problem.answer_type
    if problem.images:
        row["images"] = [{"path": image.path, "sha256": image.sha256} for image in problem.images]
    if problem.metadata:
        row["metadata"] = dict(problem.metadata)
    row["generations"] = [_generation(trace) for trace in group.traces]
    return row


def _generation(trace: Trace) -> dict[str, Any]:
    row: dict[str, Any] = {
        "text": trace.completion,
        "teacher": trace.author,
        "finish_reason": trace.finish_reason,
        "num_tokens": trace.num_tokens,
        "sampling": dict(trace.sampling),
    }
    verdict = trace.verdicts.get(FINAL) or trace.verdicts.get(LABEL)
    if verdict is not None:
        if verdict.outcome in DECIDED:
            row["correct"] = verdict.outcome is Outcome.correct
        if verdict.extracted is not None:
            row["pred"] = verdict.extracted
    if trace.scores:
        row["scores"] = dict(trace.scores)
    if trace.spans:
        row["spans"] = {
            name: [[span.start, span.end, span.value] for span in parts] for name, parts in trace.spans.items()
        }
    if trace.notes:
        row["notes"] = dict(trace.notes)
    return row
