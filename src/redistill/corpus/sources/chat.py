"""Chat rows -> Groups: conversations (`messages`), and preference pairs (`preference`).

    {"messages": [{"role": "user", "content": "What is 2+2?"}, {"role": "assistant", "content": "4"}], "answer": "4"}
    {"messages": [...], "label": false}                                  KTO of ms-swift: a wrong completion
    {"prompt": "What is 2+2?", "chosen": "4", "rejected": "5"}           or each a message or a list of messages

The source's claim becomes the verdict `teacher_label`: of a row with a label that one, of a row without any right. Of one question
and its answer system messages are left out: the recipe's template speaks in their place. Conversations of several turns, with
tools or without, are kept as they are (several_turns.py).
"""

from collections.abc import Iterator
from typing import Any

from redistill.corpus.sources import fields, generations, several_turns, tags, turns
from redistill.corpus.sources.rows import Row, RowError, each, read_groups
from redistill.corpus.sources.several_turns import Asked
from redistill.records import Dropped, Group, Problem, Trace, make_problem


def messages(
    *,
    path: str,
    revision: str | None = None,
    split: str | None = None,
    messages_column: str = "messages",
    answer_column: str | None = None,
    label_column: str | None = None,
    author: str = "",
    open_thinking: bool = False,
    conversations: bool = True,
) -> Iterator[Group | Dropped]:
    """Groups of one trace: the user message is the statement, the assistant message after it the completion. Of a conversation
    of several turns all before its last answer is the problem, and a label is of that answer; `conversations: false` drops them.

    label_column: true or false (also 1, "True", "correct"), whether the completion is right; by default the first column
    that is called a label (`label`, `correct`, `kto_tag` ...), and where there is none every completion is right. Reasoning
    in a field of its own comes into <think> tags before the text. open_thinking: as in `traces`. Reasons beside those of
    every source: `several_turns`, `tool_calls`, `unknown_role`, `two_thinkings`, `bad_label`.
    """

    def parse(row_id: str, row: Row) -> Group:
        _check_list(row, messages_column)
        asked, said = several_turns.conversation(row[messages_column], row, messages_column, keep=conversations)
        problem = _problem(asked, row, answer_column, "messages", row_id, messages_column)
        if said.completion is None:
            raise RowError("no_generations", f"column `{messages_column}` has no assistant message after the question")
        text = tags.with_thinking(said.completion, turns.thinking_of(row))
        verdicts = fields.label_of(row, label_column, default=True)
        finish = said.finish or fields.finish_of(row)
        trace = generations.make(
            problem.id,
            text,
            row,
            messages_column,
            author=author or said.author or fields.author_of(row),
            open_thinking=open_thinking,
            verdicts=_in_column(verdicts, messages_column),
            finish_reason=finish,
        )
        return Group(problem, (trace,))

    return read_groups(path, parse, revision=revision, split=split)


def preference(
    *,
    path: str,
    revision: str | None = None,
    split: str | None = None,
    prompt_column: str = "prompt",
    input_column: str | None = None,
    chosen_column: str = "chosen",
    rejected_column: str = "rejected",
    answer_column: str | None = None,
    author: str = "",
    open_thinking: bool = False,
    conversations: bool = True,
) -> Iterator[Group | Dropped]:
    """Groups of two traces: chosen, labelled correct, and rejected, labelled incorrect; of a list of texts each is one.

    Without a prompt column the user message of both conversations is the statement; if they differ: `prompts_differ`. A
    side that is null or blank is left out alone. input_column and open_thinking: as in `completions`. Both sides may answer a
    conversation of several turns; `conversations: false` drops those.
    """

    def parse(row_id: str, row: Row) -> Group:
        sides = [(chosen_column, True), (rejected_column, False)]
        read = [(column, right, *_side(row, column, conversations)) for column, right in sides]
        prompts = list(dict.fromkeys(asked.statement for _, _, asked, _ in read if asked.statement is not None))
        metadata = next((asked.metadata for _, _, asked, _ in read if asked.metadata), {})
        question: str | None
        before = several_turns.asked(row.get(prompt_column), row, prompt_column, keep=conversations)
        if before is not None:
            question, metadata = before.statement, before.metadata
            if any(prompt.split() != (question or "").split() for prompt in prompts):
                raise RowError(
                    "prompts_differ",
                    f"column `{prompt_column}` and the messages column hold different conversations",
                )
        elif metadata and len(prompts) == 1:
            question = prompts[0]
        elif row.get(prompt_column) is not None:
            question = turns.prompt_of(row, prompt_column, input_column)
            if any(prompt.split() != question.split() for prompt in prompts) and prompt_column not in (
                chosen_column,
                rejected_column,
            ):
                question = _same(prompts, question, row, prompt_column)
        elif not prompts:
            raise fields.missing(prompt_column)
        elif len(prompts) > 1:
            raise RowError(
                "prompts_differ", f"columns `{chosen_column}` and `{rejected_column}` hold different user messages"
            )
        else:
            question = prompts[0]
        problem = _problem(Asked(question, metadata), row, answer_column, "preference", row_id, prompt_column)
        said = [(column, right, text) for column, right, _, texts in read for text in texts]

        def trace(index: int, side: tuple[str, bool, Any]) -> Trace:
            column, right, text = side
            verdicts = fields.label(right, name="teacher_label", column=column)
            return generations.make(
                problem.id, text, row, column, author=author, open_thinking=open_thinking, verdicts=verdicts
            )

        if not said:
            raise RowError("no_generations", f"columns `{chosen_column}` and `{rejected_column}` are empty")
        return Group(problem, each(row_id, said, trace))

    return read_groups(path, parse, revision=revision, split=split)


def _same(prompts: list[str], question: str, row: Row, prompt_column: str) -> str:
    """The question of the prompt column where the conversations repeat it in other words than a template's."""
    if all(question.strip() in prompt or prompt.strip() in question for prompt in prompts):
        return question
    raise RowError("prompts_differ", f"column `{prompt_column}` and the user messages hold different questions")


def _check_list(row: Row, column: str) -> None:
    """RowError as of every list: `missing_column`, `wrong_type`, `no_generations`."""
    fields.items(row, column)


def _in_column(verdicts: dict[str, Any], column: str) -> dict[str, Any]:
    """Verdicts that no column of labels said are said of the column of messages."""
    if "teacher_label" in verdicts and not verdicts["teacher_label"].reason:
        return fields.label(True, name="teacher_label", column=column)
    return verdicts


def _problem(asked: Asked, row: Row, answer_column: str | None, source: str, row_id: str, column: str) -> Problem:
    return make_problem(
        fields.asked(asked.statement, column),
        answer=fields.answer(row.get(answer_column), answer_column) if answer_column else None,
        source=fields.text(row.get("source"), "source") or source,
        source_row=row_id,
        metadata=asked.metadata,
    )


def _side(row: Row, column: str, conversations: bool) -> tuple[Asked, list[Any]]:
    """(what was asked, completions) of one side of a preference; a generation that is a table or text is read later."""
    if column not in row:
        raise fields.missing(column)
    value = row[column]
    if isinstance(value, str) and value.lstrip().startswith(("[{", "{")):
        value = fields.decoded(value)
    if turns.is_turns(value):
        asked, said = several_turns.conversation(value, row, column, keep=conversations)
        return asked, [said.completion]
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return Asked(None), list(value)
    return Asked(None), [value]
