"""open-thoughts/OpenThoughts-114k and others in the ShareGPT layout: conversations of `from` and `value`.

    {"system": "Your role as an assistant ...", "conversations": [{"from": "user", "value": "What is 2+2?"},
      {"from": "assistant", "value": "<|begin_of_thought|>2+2=4<|end_of_thought|> <|begin_of_solution|>\\\\boxed{4}<|end_of_solution|>"}]}

Every way of writing the tags (these, <think> of later sets such as OpenThoughts3, a closing tag alone where the template
opened it) becomes <think>...</think>. The system text is left out: the recipe's template speaks in its place. The sets carry
no gold answers and were filtered by their makers to different degrees, so a trace is called right only where the recipe or
a column of labels says so.
"""

from collections.abc import Iterator
from typing import Literal

from redistill.corpus.sources import fields, generations, several_turns, tags, turns
from redistill.corpus.sources.rows import Row, RowError, read_groups
from redistill.records import Dropped, Group, make_problem


def openthoughts(
    *,
    path: str,
    revision: str | None = None,
    split: str | None = None,
    conversations_column: str = "conversations",
    answer_column: str | None = None,
    label: Literal["all", "none"] = "none",
    label_column: str | None = None,
    author: str = "DeepSeek-R1",
    conversations: bool = True,
) -> Iterator[Group | Dropped]:
    """Groups of one trace: the user's value is the statement, the assistant's the completion; conversations of several turns as
    in `messages`.

    answer_column: a column with gold answers, where a set has one; label: `all` gives every trace the verdict
    `teacher_label` correct, but for rows that a column of labels (label_column, or one called so) calls wrong. Reasons:
    `several_turns`, `tool_calls`, `unknown_role`, `broken_tags`, and those of every source.
    """

    def parse(row_id: str, row: Row) -> Group:
        fields.items(row, conversations_column)
        value = row[conversations_column]
        asked, said = several_turns.conversation(value, row, conversations_column, keep=conversations)
        problem = make_problem(
            fields.asked(asked.statement, conversations_column),
            answer=fields.answer(row.get(answer_column), answer_column) if answer_column else None,
            source=fields.text(row.get("source") or row.get("domain"), "source") or "openthoughts",
            source_row=row_id,
            metadata=asked.metadata,
        )
        if said.completion is None:
            raise RowError("no_generations", f"column `{conversations_column}` has no answer to the question")
        text = tags.with_thinking(said.completion, turns.thinking_of(row))
        verdicts = fields.label_of(row, label_column)
        if not verdicts and label == "all":
            verdicts = fields.label(True, name="teacher_label", column=conversations_column)
        trace = generations.make(
            problem.id,
            tags.join(*tags.split(text)) if text.strip() else text,
            row,
            conversations_column,
            author=author or said.author,
            verdicts=verdicts,
            finish_reason=said.finish or fields.finish_of(row),
        )
        return Group(problem, (trace,))

    return read_groups(path, parse, revision=revision, split=split)
