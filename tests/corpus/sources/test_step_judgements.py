"""Labelled steps become problems with the gold answer Yes or No; a file of them is recognised, and no other file is taken for one."""

import json
from pathlib import Path
from typing import Any

import pytest

from redistill.corpus import SOURCES
from redistill.corpus.sources.layouts import survey
from redistill.errors import OperatorError
from redistill.records import Dropped, make_problem
from redistill.tools.init import judge, recipe_text

MISTAKES = [
    {"input": "(2 + 3) * 4 =", "steps": ["2 + 3 = 5.", "5 * 4 = 24.", "So 24."], "target": "20", "answer": "24", "mistake_index": 1},
    {"input": "1 + 1 =", "steps": ["2.", " "], "target": "2", "answer": "2", "mistake_index": None},
    {"input": "1 + 2 =", "steps": ["3."], "target": "3", "answer": "3", "mistake_index": 5},
]  # fmt: skip


def written(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_every_step_is_a_problem_or_dropped_with_a_reason(tmp_path: Path) -> None:
    found = list(SOURCES["step-judgements"](path=written(tmp_path / "m.jsonl", MISTAKES)))
    dropped = [(item.id, item.reason) for item in found if isinstance(item, Dropped)]
    assert dropped == [
        ("m.jsonl:0#0.2", "unlabelled_step"),
        ("m.jsonl:1#0.1", "empty_step"),
        ("m.jsonl:2", "bad_label"),
    ]
    problems = [item.problem for item in found if not isinstance(item, Dropped)]
    assert [(p.source_row, p.answer, p.metadata["step"]) for p in problems] == [
        ("m.jsonl:0#0.0", "Yes", 0),
        ("m.jsonl:0#0.1", "No", 1),
        ("m.jsonl:1#0.0", "Yes", 0),
    ]
    assert problems[1].statement.endswith("Previous Steps:\n2 + 3 = 5.\n\nNow Step:\n5 * 4 = 24.")
    assert {p.metadata["question_id"] for p in problems[:2]} == {make_problem("(2 + 3) * 4 =").id}


def test_long_solutions_can_be_cut(tmp_path: Path) -> None:
    path = written(tmp_path / "m.jsonl", MISTAKES[:1])
    found = list(SOURCES["step-judgements"](path=path, max_previous=0))
    assert [item.reason for item in found if isinstance(item, Dropped)] == ["too_many_steps", "unlabelled_step"]


PRM800K = {
    "labeler": "a", "generation": 3, "is_quality_control_question": False, "question": {"problem": "1 + 1 =", "ground_truth_answer": "2"},
    "label": {"steps": [{"completions": [{"text": "2.", "rating": 1}], "human_completion": None, "chosen_completion": 0}]},
}  # fmt: skip
MATH_SHEPHERD = {
    "input": "1 + 1 = ? Step 1: 1 + 1 = 3. ки\nStep 2: The answer is: 3 ки",
    "label": "1 + 1 = ? Step 1: 1 + 1 = 3. +\nStep 2: The answer is: 3 -",
    "task": "GSM8K",
}


@pytest.mark.parametrize(("row", "steps"), [(PRM800K, 1), (MATH_SHEPHERD, 2)], ids=["prm800k", "math-shepherd"])
def test_a_column_that_is_called_as_completions_are_hides_no_labelled_steps(
    row: dict, steps: int, tmp_path: Path
) -> None:
    found = survey(written(tmp_path / "m.jsonl", [row]), SOURCES)
    assert (found.best.source, found.best.groups) == ("step-judgements", steps)


def test_math_shepherds_tags_and_signs(tmp_path: Path) -> None:
    lying = {**MATH_SHEPHERD, "label": MATH_SHEPHERD["label"].replace("= 3.", "= 2.")}
    unsigned = {**MATH_SHEPHERD, "label": MATH_SHEPHERD["input"]}
    stepless = {**MATH_SHEPHERD, "input": "1 + 1 = ? It is 2. ки"}
    behind = {**MATH_SHEPHERD, "input": MATH_SHEPHERD["input"] + " and more"}
    found = list(
        SOURCES["step-judgements"](
            path=written(tmp_path / "m.jsonl", [MATH_SHEPHERD, lying, unsigned, stepless, behind])
        )
    )
    assert [item.reason for item in found if isinstance(item, Dropped)] == [
        "bad_label",
        "bad_label",
        "no_steps",
        "no_steps",
    ]
    first, second = [item.problem for item in found if not isinstance(item, Dropped)]
    assert (first.answer, second.answer) == ("Yes", "No")
    assert (
        second.statement
        == "Question:\n1 + 1 = ?\n\nPrevious Steps:\nStep 1: 1 + 1 = 3.\n\nNow Step:\nStep 2: The answer is: 3"
    )


def test_a_file_of_labelled_steps_is_recognised_and_init_says_what_it_is(tmp_path: Path) -> None:
    path = written(tmp_path / "m.jsonl", MISTAKES)
    found = survey(path, SOURCES)
    assert (found.best.source, found.best.groups) == ("step-judgements", 3)
    with pytest.raises(OperatorError, match=r"labelled steps and no written judgement.*r-prm"):
        recipe_text(found, judge(found.best), traces=path, model="m", name="m")


@pytest.mark.parametrize(
    "row",
    [
        {"problem": "2+2?", "answer": "4"},
        {"problem": "2+2?", "answer": "4", "generations": [{"text": "4", "correct": True}]},
        {"prompt": "2+2?", "completions": ["4", "5"], "labels": [True, False]},
        {"question": "2+2?", "label": "4"},
        {"id": "1", "problem": "2+2?", "steps": ["4"], "label": "4"},
    ],
)
def test_no_other_file_is_taken_for_labelled_steps(tmp_path: Path, row: dict[str, Any]) -> None:
    assert survey(written(tmp_path / "m.jsonl", [row] * 3), SOURCES).best.source != "step-judgements"
