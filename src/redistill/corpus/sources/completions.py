"""A prompt and what was said to it: one completion or a list of them, with a label each where there are labels.

    {"prompt": "What is 2+2?", "completions": ["2+2 is \\\\boxed{4}", "\\\\boxed{5}"], "labels": [true, false], "answer": "4"}
    {"prompt": [{"role": "user", "content": "What is 2+2?"}], "completion": [{"role": "assistant", "content": "4"}]}
    {"instruction": "Solve it.", "input": "What is 2+2?", "output": "4", "kto_tag": true}

`spans` and `notes` may stand beside them, one table a completion as in `traces`; `images` and `metadata` are the problem's.
The second row is TRL's layout: `completions_column: completion`, and `labels_column: label` for its unpaired preferences; the
third alpaca's: `prompt_column: instruction`, whose `input` belongs to the question, and `completions_column: output`. Rows
with the same problem become one problem with several traces.
"""

from collections.abc import Iterator
from typing import Any

from redistill.corpus.sources import columns, fields, generations, turns
from redistill.corpus.sources.rows import Row, RowError, each, read_groups
from redistill.records import Dropped, Group, Trace, make_problem


def completions(
    *,
    path: str,
    revision: str | None = None,
    split: str | None = None,
    prompt_column: str = "prompt",
    input_column: str | None = None,
    completions_column: str | list[str] = "completions",
    thinking_column: str | None = None,
    labels_column: str = "labels",
    answer_column: str = "answer",
    author: str = "",
    open_thinking: bool = False,
) -> Iterator[Group | Dropped]:
    """Groups of plain prompts and completions; the columns of labels and answers may be missing.

    input_column: a column that belongs to the question after the prompt (of `instruction` it is `input`). Of several
    completions_column each holds completions of the same problem. thinking_column: reasoning that stands apart (default:
    `reasoning_content` and its like); it comes into <think> tags before the completion. A label true or false (also 1,
    "True", "correct") becomes the verdict `teacher_label`, null none; without labels_column the first column that is called
    a label counts. open_thinking: as in `traces`. A prompt of messages may hold one user turn (`several_turns`); its
    system text is left out. As many labels, `spans`, `notes` and finish reasons as completions, else `length_mismatch`.
    """
    names = [completions_column] if isinstance(completions_column, str) else completions_column

    def parse(row_id: str, row: Row) -> Group:
        statement = turns.prompt_of(row, prompt_column, input_column)
        if not any(name in row for name in names):
            raise fields.missing(*names)
        said = [(name, value) for name in names for value in _list(row.get(name), name)]
        if not said:
            raise RowError("no_generations", f"column `{names[0]}` is empty")
        beside = _beside(row, len(said), labels_column, thinking_column)
        problem = make_problem(
            statement,
            answer=fields.answer(row.get(answer_column), answer_column) if answer_column not in names else None,
            answer_type=fields.text(row.get("question_type"), "question_type") or None,
            source=fields.text(row.get("source") or row.get("data_source"), "source") or "completions",
            source_row=row_id,
            images=fields.images(row),
            metadata=fields.metadata(row.get("metadata")) if isinstance(row.get("metadata"), dict) else {},
        )
        row_author = fields.author_of(row, author)

        def trace(index: int, named: Any) -> Trace:
            name, value = named
            column, label = beside["label"][index]
            return generations.make(
                problem.id,
                value,
                row,
                name,
                index=index,
                author=author,
                row_author=row_author,
                thinking=turns.thinking_text(beside["thinking"][index], thinking_column or "reasoning"),
                open_thinking=open_thinking,
                verdicts=fields.label(label, name="teacher_label", column=column),
                finish_reason=beside["finish"][index],
                spans=beside["spans"][index],
                notes=beside["notes"][index],
            )

        return Group(problem, each(row_id, said, trace))

    return read_groups(path, parse, revision=revision, split=split)


def _beside(row: Row, count: int, labels_column: str, thinking_column: str | None) -> dict[str, list[Any]]:
    """What stands beside the completions, one value for each of them."""
    named = labels_column if labels_column in row else None
    labels = row.first([named] if named else columns.LABELS)
    column, values = labels if labels is not None else (named or labels_column, None)
    reasoning = row.first([thinking_column] if thinking_column else columns.THINKING)
    return {
        "label": [(column, value) for value in fields.aligned(values, count, column)],
        "thinking": _reasoning(reasoning, count),
        "finish": _finish(row, count),
        "spans": fields.aligned(row.get("spans"), count, "spans"),
        "notes": fields.aligned(row.get("notes"), count, "notes"),
    }


def _reasoning(thinking: tuple[str, Any] | None, count: int) -> list[Any]:
    """A reasoning per completion; of a single completion a list is the parts of its one reasoning."""
    if thinking is None or turns.thinking_text(thinking[1], thinking[0]) is None:
        return [None] * count
    name, value = thinking
    return [value] if count == 1 else fields.aligned(value, count, name)


def _finish(row: Row, count: int) -> list[str | None]:
    """stop, length or None per completion, of a column that holds one for each, or one for a single completion."""
    cell = row.first([*columns.FINISH, *columns.COMPLETE])
    if cell is None or not isinstance(cell[1], list):
        return [fields.finish_of(row)] * count
    name, values = cell
    if name in columns.COMPLETE:
        return [{True: "stop", False: "length"}.get(value) for value in fields.aligned(values, count, name)]
    return [fields.finish_reason(value) for value in fields.aligned(values, count, name)]


def _list(value: Any, column: str) -> list[Any]:
    """A list of completions; text, a table, or one list of messages, is one completion."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = fields.decoded(value)
    if value is None:
        return []
    if isinstance(value, str | bytes | dict) or _is_one(value):
        return [value]
    if not isinstance(value, list):
        raise RowError(
            "wrong_type", f"column `{column}` holds {value!r:.80}; write a completion as text, or a list of them"
        )
    return value


def _is_one(value: Any) -> bool:
    """True for a list of messages that is one completion, and not one message for each of several."""
    if not turns.is_turns(value):
        return False
    roles = [columns.ROLES.get(str(turn.get("role") or turn.get("from")).lower()) for turn in value]
    return len(value) == 1 or set(roles) != {"assistant"} or any(turn.get("channel") for turn in value)
