"""The plain format for labelled traces: one problem a row, its generations in a list.

    {"problem": "What is 2+2?", "answer": "4", "source": "mine", "task": "sums", "generations": [
        {"text": "2+2 is \\\\boxed{4}", "teacher": "teacher-7b", "correct": true, "pred": "4", "score": 0.9,
         "spans": {"steps": [[0, 16, 1.0]]}, "notes": {"critic": "one step, right"}}],
     "images": ["sum.png"], "metadata": {"id": 7}}

Only `problem` and `generations` with their `text` are required. `correct` becomes the verdict `teacher_label`: it is
the source's word, often says false for truncated or unreadable answers too, and is worth checking again. A span is
[start, end, value] in characters of the text, end excluded; the end-of-turn token is the character after the last.
"""

from collections.abc import Iterator
from typing import Any, Literal

from redistill.corpus.sources import fields
from redistill.corpus.sources.fields import Row, RowError
from redistill.records import Dropped, Group, Trace, make_problem, make_trace


def traces(
    *,
    path: str,
    revision: str | None = None,
    problem_column: str = "problem",
    answer_column: str = "answer",
    generations_column: str = "generations",
    tasks: list[str] | None = None,
    unknown_finish: Literal["stop", "length"] | None = None,
) -> Iterator[Group | Dropped]:
    """Groups of the plain format.

    tasks: keep only rows whose `task` is listed (`task_excluded`); unknown_finish: the finish_reason of generations
    that state none. A numeric `score` becomes the trace's score of that name. `spans` and `notes` of a generation,
    `images` and `metadata` of a row may be missing. Reasons beside those of every source: `bad_span`, `bad_image_path`,
    `missing_image`.
    """

    def parse(row_id: str, row: Row) -> Group:
        if tasks is not None and row.get("task") not in tasks:
            raise RowError("task_excluded")
        problem = make_problem(
            fields.statement(row, problem_column),
            answer=fields.answer(row.get(answer_column)),
            answer_type=fields.text(row.get("question_type")) or None,
            source=fields.text(row.get("source")) or "traces",
            source_row=row_id,
            images=fields.images(row),
            metadata=_metadata(row),
        )
        generations = fields.items(row, generations_column)
        return Group(problem, tuple(_trace(problem.id, i, g, unknown_finish, row) for i, g in enumerate(generations)))

    return fields.read_groups(path, revision, parse)


def _metadata(row: Row) -> dict[str, Any]:
    """The row's table, and its `task`, which says whose scorer knows the answers (verify/several.py)."""
    task = row.get("task")
    return {**({"task": task} if isinstance(task, str) and task else {}), **fields.metadata(row.get("metadata"))}


def _trace(problem_id: str, index: int, generation: Any, unknown_finish: str | None, row: Row) -> Trace:
    if not isinstance(generation, dict):
        raise RowError("wrong_type")
    if "text" not in generation:
        raise RowError("missing_column")
    generation = Row(generation, row.folder)
    pred, finish = generation.get("pred"), generation.get("finish_reason")
    extracted = fields.text(pred) if isinstance(pred, str) else None
    completion, score = fields.text(generation["text"]), fields.finite(generation.get("score"))
    trace = make_trace(
        problem_id,
        completion,
        author=fields.text(generation.get("teacher")),
        sampling={"sample_index": index},
        finish_reason=unknown_finish if finish is None else finish if finish in ("stop", "length") else None,
        verdicts=fields.label(generation.get("correct"), name="teacher_label", column="correct", extracted=extracted),
        scores={} if score is None else {"score": score},  # a score that is no finite number is not known
        spans=fields.spans(generation.get("spans"), completion),
        notes=fields.notes(generation.get("notes")),
    )
    generation.note_unread("generations[].")
    return trace
