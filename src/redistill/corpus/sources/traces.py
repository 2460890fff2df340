"""The plain format for labelled traces: one problem a row, its generations in a list.

    {"problem": "What is 2+2?", "answer": "4", "source": "mine", "task": "sums", "generations": [
        {"text": "2+2 is \\\\boxed{4}", "teacher": "teacher-7b", "correct": true, "pred": "4", "score": 0.9,
         "scores": {"fluency": 3.2}, "spans": {"steps": [[0, 16, 1.0]]}, "notes": {"critic": "one step, right"}}],
     "images": ["sum.png"], "metadata": {"id": 7}}

Only `problem` and `generations` with their `text` are required; a generation may also be the text alone, or a message. `correct` becomes the verdict `teacher_label`: it is
the source's word, often says false for truncated or unreadable answers too, and is worth checking again. A span is
[start, end, value] in characters of the text, end excluded; the end-of-turn token is the character after the last.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from redistill.corpus.sources import columns, fields, generations, turns
from redistill.corpus.sources.rows import Row, RowError, each, read_groups
from redistill.records import Dropped, Group, Trace, make_problem


def traces(
    *,
    path: str,
    revision: str | None = None,
    split: str | None = None,
    problem_column: str = "problem",
    answer_column: str = "answer",
    generations_column: str = "generations",
    tasks: list[str] | None = None,
    unknown_finish: Literal["stop", "length"] | None = None,
    open_thinking: bool = False,
) -> Iterator[Group | Dropped]:
    """Groups of the plain format.

    tasks: keep only rows whose `task` is listed (`task_excluded`); unknown_finish: the finish_reason of generations
    that state none; open_thinking: write `<think>` before a text that closes it and does not open it. A numeric `score`
    becomes the trace's score of that name. A generation that cannot be read is left out alone. `scores`, `spans` and `notes` of a
    generation, `images` and `metadata` of a row may be missing. Reasons beside those of every source: `bad_span`,
    `bad_image_path`, `missing_image`.
    """

    def parse(row_id: str, row: Row) -> Group:
        if tasks is not None and row.get("task") not in tasks:
            raise RowError("task_excluded")
        problem = make_problem(
            turns.prompt_of(row, problem_column),
            answer=fields.answer(row.get(answer_column), answer_column),
            answer_type=fields.text(row.get("question_type"), "question_type") or None,
            source=fields.text(row.get("source"), "source") or "traces",
            source_row=row_id,
            images=fields.images(row),
            metadata=_metadata(row),
        )
        author = fields.author_of(row)

        def trace(index: int, value: Any) -> Trace:
            unsaid = not isinstance(value, Mapping) or not any(value.get(name) for name in columns.FINISH)
            return generations.make(
                problem.id,
                value,
                row,
                generations_column,
                index=index,
                open_thinking=open_thinking,
                row_author=author,
                finish_reason=unknown_finish if unsaid else None,
            )

        return Group(problem, each(row_id, fields.items(row, generations_column), trace))

    return read_groups(path, parse, revision=revision, split=split)


def _metadata(row: Row) -> dict[str, Any]:
    """The row's table, and its `task`, which says whose scorer knows the answers (verify/several.py)."""
    task = row.get("task")
    return {**({"task": task} if isinstance(task, str) and task else {}), **fields.metadata(row.get("metadata"))}
