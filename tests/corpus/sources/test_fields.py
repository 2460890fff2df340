"""A column taken as the type it must have: every usual way of writing it, and a sentence for what nobody can read."""

import math
from pathlib import Path
from typing import Any

import pytest

from redistill.corpus.sources import fields
from redistill.corpus.sources.rows import Row, RowError
from redistill.records import Outcome


def refusal(call: Any, *arguments: Any) -> tuple[str, str]:
    with pytest.raises(RowError) as caught:
        call(*arguments)
    return str(caught.value), caught.value.detail


@pytest.mark.parametrize(
    ("value", "gold"),
    [
        ("4", "4"), (" 4 ", "4"), (4, "4"), (4.0, "4"), (-0.5, "-0.5"), (2.0**60, str(2.0**60)), (True, "True"), (False, "False"), (b"4", "4"),
        (["4"], "4"), ([4], "4"), ([4.0], "4"), ([["4"]], "4"), (["4", "4"], "4"), (["4", None], "4"), ("['4']", "4"), ('["4"]', "4"),
        ({"ground_truth": "4", "style": "rule"}, "4"), ({"value": [4]}, "4"), ({"only": "4"}, "4"), ('{"ground_truth": "4"}', "4"),
        # text that is an answer as it stands
        ("[4]", "[4]"), ("[2, 5]", "[2, 5]"), ("{1, 2}", "{1, 2}"), ("['a', 'b']", "['a', 'b']"), ('{"inputs": [1]}', '{"inputs": [1]}'),
        ("Add.\n#### 4", "Add.\n#### 4"),
        # nothing
        (None, None), ("", None), (" ", None), (math.nan, None), ([], None), ([None], None), ("None", None), ("nan", None), ("N/A", None),
    ],
)  # fmt: skip
def test_a_gold_answer_in_every_form(value: Any, gold: str | None) -> None:
    assert fields.answer(value) == gold


def test_what_is_no_single_answer_names_its_column() -> None:
    reason, detail = refusal(fields.answer, ["3", "5"], "gold")
    assert (
        reason == "several_answers" and "column `gold` holds 2 answers, ['3', '5']; write one, such as '3, 5'" in detail
    )
    for value in ({"a": 1, "b": 2}, math.inf, object()):
        reason, detail = refusal(fields.answer, value, "gold")
        assert reason == "wrong_type" and detail.startswith("column `gold` holds ") and "; write " in detail


@pytest.mark.parametrize(
    ("values", "meant"),
    [
        (
            [
                True,
                1,
                1.0,
                "True",
                "true",
                "1",
                "1.0",
                "correct",
                "Correct",
                " yes ",
                "RIGHT",
                "pass",
                [True],
                "chosen",
            ],
            True,
        ),
        ([False, 0, 0.0, "False", "0", "incorrect", "wrong", "no", "fail", "rejected", [0]], False),
        ([None, "", "null", "unknown", math.nan, "None"], None),
    ],
)
def test_a_label_in_every_form(values: list[Any], meant: bool | None) -> None:
    assert [fields.as_bool(value, "label") for value in values] == [meant] * len(values)


@pytest.mark.parametrize("value", [0.5, -1, 2, "perhaps", "4", [True, False], {}, "0.9"])
def test_what_is_neither_right_nor_wrong_names_its_column(value: Any) -> None:
    reason, detail = refusal(fields.as_bool, value, "label")
    assert (
        reason == "bad_label" and detail.startswith("column `label` holds ") and detail.endswith("write true or false")
    )


def row(**columns: Any) -> Row:
    return Row(columns, Path("."))


def test_the_first_column_of_labels_is_heard_and_silence_is_no_label() -> None:
    labels = fields.label_of(row(correct=None, label="False", kto_tag=True), None)
    assert (labels["teacher_label"].outcome, labels["teacher_label"].reason) == (Outcome.incorrect, "column `label`")
    assert fields.label_of(row(label=None), None, default=True) == {}  # the column is there and says nothing
    assert fields.label_of(row(), None, default=True)["teacher_label"].outcome == Outcome.correct
    assert fields.label_of(row(label=False, mine=True), "mine")["teacher_label"].outcome == Outcome.correct


@pytest.mark.parametrize(
    ("columns", "finish"),
    [
        ({"finish_reason": "length"}, "length"), ({"finish_reason": "MAX_TOKENS"}, "length"), ({"stop_reason": "max_tokens"}, "length"),
        ({"finish_reason": {"type": "length", "length": 9}}, "length"), ({"truncated": True}, "length"), ({"is_truncated": "False"}, "stop"),
        ({"is_reasoning_complete": False}, "length"), ({"finish_reason": "stop"}, "stop"), ({"stop_reason": "end_turn"}, "stop"),
        ({"finish_reason": "eos"}, "stop"), ({"finish_reason": "tool_calls"}, None), ({"finish_reason": None}, None), ({}, None),
    ],
)  # fmt: skip
def test_a_finish_reason_in_every_form(columns: dict[str, Any], finish: str | None) -> None:
    assert fields.finish_of(row(**columns)) == finish


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('[{"a": 1}]', [{"a": 1}]),
        ("[{'a': 'it\\'s', 'b': None, 'c': True}]", [{"a": "it's", "b": None, "c": True}]),
        ("[1, 2", "[1, 2"),
        ("plain", "plain"),
        ("[__import__('os')]", "[__import__('os')]"),
        ("[" * 200 + "'a'" + "]" * 200, "[" * 200 + "'a'" + "]" * 200),
    ],
)
def test_a_list_in_a_cell_is_read_as_json_or_as_python_writes_it_and_nothing_is_run(text: str, value: Any) -> None:
    assert fields.decoded(text) == value


def test_aligned_columns_are_as_long_as_the_completions() -> None:
    assert fields.aligned(None, 2, "x") == [None, None] and fields.aligned("[true, false]", 2, "x") == [True, False]
    assert refusal(fields.aligned, [1], 2, "x") == (
        "length_mismatch",
        "column `x` holds 1 values for 2 completions; write one per completion",
    )
