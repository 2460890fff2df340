"""Chat rows -> Groups: conversations with right completions only (`messages`), and preference pairs (`preference`).

    {"messages": [{"role": "user", "content": "What is 2+2?"}, {"role": "assistant", "content": "4"}], "answer": "4"}
    {"prompt": "What is 2+2?", "chosen": "4", "rejected": "5"}           or each a list of messages

The source's claim becomes the verdict `teacher_label`. System messages are left out: the recipe's template speaks in
their place. Conversations of several user turns are dropped (`several_turns`), since the first question and the last
answer of one do not belong together.
"""

from collections.abc import Iterator
from typing import Any

from redistill.corpus.sources import fields
from redistill.corpus.sources.fields import RowError
from redistill.records import Dropped, Group, Problem, Trace, make_problem, make_trace


def messages(
    *,
    path: str,
    revision: str | None = None,
    messages_column: str = "messages",
    answer_column: str | None = None,
    author: str = "",
) -> Iterator[Group | Dropped]:
    """Groups of one trace: the user message is the statement, the last assistant message a correct completion."""

    def parse(row_id: str, row: dict[str, Any]) -> Group:
        question, completion = _conversation(fields.items(row, messages_column))
        problem = _problem(question, row, answer_column, "messages", row_id)
        return Group(problem, (_trace(problem, completion, author, True, messages_column),))

    return fields.read_groups(path, revision, parse)


def preference(
    *,
    path: str,
    revision: str | None = None,
    prompt_column: str = "prompt",
    chosen_column: str = "chosen",
    rejected_column: str = "rejected",
    answer_column: str | None = None,
    author: str = "",
) -> Iterator[Group | Dropped]:
    """Groups of two traces: chosen, labelled correct, and rejected, labelled incorrect.

    Without a prompt column the user message of both conversations is the statement; if they differ: `prompts_differ`.
    """

    def parse(row_id: str, row: dict[str, Any]) -> Group:
        asked, chosen = _side(row, chosen_column)
        asked_again, rejected = _side(row, rejected_column)
        question: str | None
        if row.get(prompt_column) is not None:
            prompt = row[prompt_column]
            question = _conversation(prompt)[0] if isinstance(prompt, list) else fields.text(prompt)
        elif asked is None and asked_again is None:
            raise RowError("missing_column")
        elif asked != asked_again:
            raise RowError("prompts_differ")
        else:
            question = asked
        problem = _problem(question, row, answer_column, "preference", row_id)
        both = (
            _trace(problem, chosen, author, True, chosen_column),
            _trace(problem, rejected, author, False, rejected_column),
        )
        return Group(problem, both)

    return fields.read_groups(path, revision, parse)


def _problem(question: str | None, row: dict[str, Any], answer_column: str | None, source: str, row_id: str) -> Problem:
    return make_problem(
        fields.statement({"question": question}, "question"),
        answer=fields.answer(row.get(answer_column)) if answer_column else None,
        source=fields.text(row.get("source")) or source,
        source_row=row_id,
    )


def _trace(problem: Problem, completion: str | None, author: str, correct: bool, column: str) -> Trace:
    if completion is None:
        raise RowError("no_generations")
    verdicts = fields.label(correct, name="teacher_label", column=column)
    return make_trace(problem.id, completion, author=author, verdicts=verdicts)


def _side(row: dict[str, Any], column: str) -> tuple[str | None, str | None]:
    """(user message, completion) of one side of a preference."""
    if column not in row:
        raise RowError("missing_column")
    return _conversation(row[column]) if isinstance(row[column], list) else (None, fields.text(row[column]))


def _conversation(turns: list[Any]) -> tuple[str | None, str | None]:
    """(the user message, the last assistant message), each None where there is none."""
    said: dict[str, list[str]] = {"user": [], "assistant": []}
    for turn in turns:
        if fields.role(turn) in ("user", "assistant"):
            said[turn["role"]].append(fields.content(turn["content"]))
    if len(said["user"]) > 1:
        raise RowError("several_turns")
    return next(iter(said["user"]), None), next(reversed(said["assistant"]), None)
