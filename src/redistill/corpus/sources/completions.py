"""A prompt and what was said to it: one completion or a list of them, with a label each where there are labels.

    {"prompt": "What is 2+2?", "completions": ["2+2 is \\\\boxed{4}", "\\\\boxed{5}"], "labels": [true, false], "answer": "4"}
    {"prompt": [{"role": "user", "content": "What is 2+2?"}], "completion": [{"role": "assistant", "content": "4"}]}

`spans` and `notes` may stand beside them, one table a completion as in `traces`; `images` and `metadata` are the problem's.
The second row is TRL's layout: `completions_column: completion`, and `labels_column: label` for its unpaired preferences.
"""

from collections.abc import Iterator
from typing import Any

from redistill.corpus.sources import fields
from redistill.corpus.sources.fields import Row, RowError
from redistill.records import Dropped, Group, make_problem, make_trace


def completions(
    *,
    path: str,
    revision: str | None = None,
    prompt_column: str = "prompt",
    completions_column: str = "completions",
    labels_column: str = "labels",
    answer_column: str = "answer",
    author: str = "",
) -> Iterator[Group | Dropped]:
    """Groups of plain prompts and completions; the columns of labels and answers may be missing.

    A label true or false becomes the verdict `teacher_label`, null none. A prompt of messages may hold one user turn
    (`several_turns`); its system text is left out. As many labels, `spans` and `notes` as completions, else
    `length_mismatch`.
    """

    def parse(row_id: str, row: Row) -> Group:
        if prompt_column not in row:
            raise RowError("missing_column")
        statement = {prompt_column: _asked(row[prompt_column])}
        said = _list(row.get(completions_column)) if completions_column in row else None
        if said is None:
            raise RowError("missing_column")
        if not said:
            raise RowError("no_generations")
        labels, spans, notes = (_each(row.get(column), len(said)) for column in (labels_column, "spans", "notes"))
        problem = make_problem(
            fields.statement(statement, prompt_column),
            answer=fields.answer(row.get(answer_column)),
            source=fields.text(row.get("source")) or "completions",
            source_row=row_id,
            images=fields.images(row),
            metadata=fields.metadata(row.get("metadata")),
        )
        texts = [_said(completion) for completion in said]
        traces = [
            make_trace(
                problem.id,
                text,
                author=author,
                sampling={"sample_index": index},
                verdicts=fields.label(labels[index], name="teacher_label", column=labels_column),
                spans=fields.spans(spans[index], text),
                notes=fields.notes(notes[index]),
            )
            for index, text in enumerate(texts)
        ]
        return Group(problem, tuple(traces))

    return fields.read_groups(path, revision, parse)


def _list(value: Any) -> list[Any]:
    """A list of completions; text, or one list of messages, is one completion."""
    if value is None:
        return []
    if isinstance(value, str) or (isinstance(value, list) and value and isinstance(value[0], dict)):
        return [value]
    if not isinstance(value, list):
        raise RowError("wrong_type")
    return value


def _each(value: Any, count: int) -> list[Any]:
    """One value a completion: a list of them, a single value as a list of one, null as nothing for any."""
    values = [None] * count if value is None else value if isinstance(value, list) else [value]
    if len(values) != count:
        raise RowError("length_mismatch")
    return values


def _asked(prompt: Any) -> str:
    if not isinstance(prompt, list):
        return fields.text(prompt)
    turns = [turn for turn in prompt if fields.role(turn) != "system"]
    if len(turns) > 1:
        raise RowError("several_turns")
    if not turns or turns[0]["role"] != "user":
        raise RowError("wrong_type")
    return fields.content(turns[0]["content"])


def _said(completion: Any) -> str:
    if not isinstance(completion, list):
        return fields.text(completion)
    if len(completion) != 1 or fields.role(completion[0]) != "assistant":
        raise RowError("several_turns")
    return fields.content(completion[0]["content"])
