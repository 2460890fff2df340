"""Problems without traces: what a rollout stage, or a teacher that has yet to write, starts from.

    {"problem": "What is 2+2?", "answer": "4", "source": "mine", "images": ["sum.png"], "metadata": {"relevant": ["d7"]}}

Only `problem` is required; it may be a list of messages, and `answer` a table that holds it (verl's `reward_model`). Each row becomes a Group with no trace. Beside a source with traces of the same problem it adds
what that one does not know: the gold answer, metadata. Stages that learn from traces need some from another source.
"""

from collections.abc import Iterator

from redistill.corpus.sources import fields, turns
from redistill.corpus.sources.rows import Row, read_groups
from redistill.records import Dropped, Group, make_problem


def problems(
    *,
    path: str,
    revision: str | None = None,
    split: str | None = None,
    problem_column: str = "problem",
    answer_column: str = "answer",
    id_column: str | None = None,
    metadata_column: str = "metadata",
    keep_columns: list[str] | None = None,
) -> Iterator[Group | Dropped]:
    """Groups without traces.

    The problem's metadata is the table in metadata_column, where there is one, with these added under their own names:
    id_column, which holds the row's id elsewhere (ids here are hashes of content), and keep_columns, such as `[tests]`. A
    row without one of those is dropped: `missing_column`. Reasons beside those of every source: `bad_image_path`,
    `missing_image`.
    """
    kept = [*([id_column] if id_column else []), *(keep_columns or ())]

    def parse(row_id: str, row: Row) -> Group:
        if not all(column in row for column in kept):
            raise fields.missing(*(column for column in kept if column not in row))
        own = fields.metadata({column: row[column] for column in kept})
        problem = make_problem(
            turns.prompt_of(row, problem_column),
            answer=fields.answer(row.get(answer_column), answer_column),
            answer_type=fields.text(row.get("question_type"), "question_type") or None,
            source=fields.text(row.get("source") or row.get("data_source"), "source") or "problems",
            source_row=row_id,
            images=fields.images(row),
            metadata={**fields.metadata(row.get(metadata_column)), **own},
        )
        return Group(problem, ())

    return read_groups(path, parse, revision=revision, split=split)
