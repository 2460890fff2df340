"""open-thoughts/OpenThoughts-114k and others in the ShareGPT layout: conversations of `from` and `value`.

    {"system": "Your role as an assistant ...", "conversations": [{"from": "user", "value": "What is 2+2?"},
      {"from": "assistant", "value": "<|begin_of_thought|>2+2=4<|end_of_thought|> <|begin_of_solution|>\\\\boxed{4}<|end_of_solution|>"}]}

Both ways of writing the tags (these, and <think> of later sets such as OpenThoughts3) become <think>...</think>. The
system text is left out: the recipe's template speaks in its place. The sets carry no gold answers and were filtered by
their makers to different degrees, so a trace is called right only where the recipe says so.
"""

from collections.abc import Iterator
from typing import Any, Literal

from redistill.corpus.sources import fields, tags
from redistill.corpus.sources.fields import RowError
from redistill.records import Dropped, Group, make_problem, make_trace

_ROLES = {"user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant", "system": "system"}


def openthoughts(
    *,
    path: str,
    revision: str | None = None,
    conversations_column: str = "conversations",
    answer_column: str | None = None,
    label: Literal["all", "none"] = "none",
    author: str = "DeepSeek-R1",
) -> Iterator[Group | Dropped]:
    """Groups of one trace: the user's value is the statement, the assistant's the completion.

    answer_column: a column with gold answers, where a set has one; label: `all` gives every trace the verdict
    `teacher_label` correct. Reasons: `several_turns`, `broken_tags`, and those of every source.
    """

    def parse(row_id: str, row: dict[str, Any]) -> Group:
        said = [
            (role, value) for role, value in map(_turn, fields.items(row, conversations_column)) if role != "system"
        ]
        roles = [role for role, _ in said]
        if len(said) > 2:
            raise RowError("several_turns")
        if roles != ["user", "assistant"]:
            raise RowError("no_generations" if roles == ["user"] else "wrong_type")
        problem = make_problem(
            fields.statement({"value": said[0][1]}, "value"),
            answer=fields.answer(row.get(answer_column)) if answer_column else None,
            source=fields.text(row.get("source") or row.get("domain")) or "openthoughts",
            source_row=row_id,
        )
        verdicts = fields.label(label == "all" or None, name="teacher_label", column=conversations_column)
        completion = tags.join(*tags.split(said[1][1]))
        return Group(problem, (make_trace(problem.id, completion, author=author, verdicts=verdicts),))

    return fields.read_groups(path, revision, parse)


def _turn(turn: Any) -> tuple[str, str]:
    if not isinstance(turn, dict) or not {"from", "value"} <= turn.keys():
        raise RowError("wrong_type")
    if not isinstance(turn["from"], str) or turn["from"] not in _ROLES:
        raise RowError("wrong_type")
    return _ROLES[turn["from"]], fields.text(turn["value"])
