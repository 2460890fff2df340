"""a-m-team/AM-DeepSeek-R1-Distilled-1.4M and files of its layout: a question, one completion, and notes beside each.

    {"messages": [
      {"role": "user", "content": "What is 2+2?", "info": {"source": "openR1", "reference_answer": "4", "test_case": null,
        "think_content": null, "answer_content": null}},
      {"role": "assistant", "content": "<think>2+2=4</think><answer>\\\\boxed{4}</answer>", "info": {"source": "openR1",
        "reference_answer": null, "test_case": null, "think_content": "2+2=4", "answer_content": "\\\\boxed{4}"}}]}

Both ways of writing the tags (a bare answer, and <answer>) become one. The report says that what failed its reference
answer or its tests was left out, and that 39% of the rows had neither: only rows with one of the two are labelled.
Source: Zhao et al. 2025, arXiv 2503.19633.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from redistill.corpus.sources import fields, tags, turns
from redistill.corpus.sources.rows import Row, RowError, read_groups
from redistill.records import Dropped, Group, make_problem, make_trace
from redistill.verify.relevance import TESTS


def am_deepseek_r1(
    *,
    path: str,
    revision: str | None = None,
    split: str | None = None,
    label: Literal["checked", "all", "none"] = "checked",
    test_cases: Literal["leave", "as_answer"] = "leave",
    author: str = "DeepSeek-R1",
) -> Iterator[Group | Dropped]:
    """Groups of one trace; `source` of the row is kept, the gold answer is `reference_answer`.

    label: which rows get the verdict `teacher_label` correct: those with a reference answer or tests, all, or none.
    Tests become the problem's metadata, where the verifier `code-tests` finds them. test_cases: a row that has tests and no reference
    answer gets the answer type `test_case`; `as_answer` puts the tests' text in the place of its gold answer too. Reasons: `several_turns`,
    `broken_tags`, and those of every source.
    """

    def parse(row_id: str, row: Row) -> Group:
        said_turns = [turn for turn in fields.items(row, "messages") if _role(turn) != "system"]
        if len(said_turns) > 2:
            raise RowError("several_turns")
        if [_role(turn) for turn in said_turns] != ["user", "assistant"]:
            raise RowError("no_generations" if [_role(turn) for turn in said_turns] == ["user"] else "wrong_type")
        asked, said = said_turns
        if said.get("tool_calls") or said.get("function_call"):
            raise RowError(
                "tool_calls",
                "column `messages` holds tool calls, which are not text; write the whole answer as one assistant message",
            )
        notes, own = _info(asked), _info(said)
        reference, tests = fields.answer(notes.get("reference_answer")), fields.answer(notes.get("test_case"))
        problem = make_problem(
            fields.statement({"content": turns.parts(asked["content"], "messages[].content")[0]}, "content"),
            answer=reference or (tests if test_cases == "as_answer" else None),
            answer_type="test_case" if tests and not reference else None,
            source=fields.text(notes.get("source") or own.get("source")) or "am-deepseek-r1",
            source_row=row_id,
            metadata={TESTS: tests} if tests else None,
        )
        checked = bool(reference or tests)
        column = "reference_answer" if reference else "test_case" if tests else "messages"
        right = True if label == "all" or (label == "checked" and checked) else None
        verdicts = fields.label(right, name="teacher_label", column=column)
        return Group(problem, (make_trace(problem.id, _completion(said, own), author=author, verdicts=verdicts),))

    return read_groups(path, parse, revision=revision, split=split)


def _role(turn: Any) -> Any:
    if not isinstance(turn, dict) or "role" not in turn or "content" not in turn:
        raise RowError("wrong_type", "column `messages` holds something other than messages; write role and content")
    return turn["role"]


def _info(turn: Mapping[str, Any]) -> Mapping[str, Any]:
    info = turn.get("info")
    if info is None:
        return {}
    if not isinstance(info, dict):
        raise RowError("wrong_type")
    return info


def _completion(turn: Mapping[str, Any], info: Mapping[str, Any]) -> str:
    """The text of the turn, tags made one; its two parts in `info` serve where the text itself is empty or broken."""
    thinking, answer = fields.text(info.get("think_content")).strip(), fields.text(info.get("answer_content")).strip()
    try:
        parts = tags.split(turns.parts(turn["content"], "messages[].content")[0])
    except RowError:
        if not (thinking and answer):
            raise
        parts = (thinking, answer)
    if not parts[1] and answer:
        parts = (thinking or None, answer)
    return tags.join(*parts)
