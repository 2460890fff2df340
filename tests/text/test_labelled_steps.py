"""Rows of each data set of labelled steps, in its own columns, and what they must be read as, by hand."""

import copy
from typing import Any

import pytest

from redistill.text.labelled_steps import BadSteps, Reading, judgements, layout_of, read_solutions

MISTAKE = {
    "input": "(2 + 3) * 4 =",
    "steps": ["2 + 3 = 5.", "5 * 4 = 24.", "So the answer is 24."],
    "target": "20",
    "answer": "24",
    "mistake_index": 1,
}
PROCESSBENCH = {
    "id": "gsm8k-7",
    "generator": "Qwen2-7B-Instruct",
    "problem": "2+2*3?",
    "steps": ["2*3=6", "2+6=8"],
    "final_answer_correct": True,
    "label": -1,
}
TRACES = {
    "problem_id": "processbench-math-1",
    "source": "processbench-math",
    "problem": "2+2*3?",
    "answer": None,
    "generations": [
        {"text": "2*3=6\n\n2+6=9", "teacher": "m", "correct": False, "first_error_step": 1, "upstream_id": "math-1"},
        {"text": "8", "teacher": "m", "correct": True, "first_error_step": -1, "upstream_id": "math-2"},
    ],
}
PRMBENCH = {
    "original_question": "q",
    "modified_question": "q'",
    "original_process": ["a", "b"],
    "modified_process": ["a", "x", "c"],
    "modified_steps": [2],
    "error_steps": [2, 3],  # from 1
    "reason": "r",
    "idx": "prm_1",
    "question": "q",
    "classification": "circular",
}
PRM800K = {
    "labeler": "l",
    "question": {"problem": "2+2*3?", "ground_truth_answer": "8"},
    "label": {
        "steps": [
            {
                "completions": [{"text": "2*3=5", "rating": -1}, {"text": "2*3=6", "rating": 1}],
                "human_completion": None,
                "chosen_completion": 1,
            },
            {"completions": [{"text": "Hm.", "rating": 0}], "human_completion": None, "chosen_completion": 0},
            {
                "completions": [{"text": "2+6=9", "rating": -1}, {"text": "Six.", "rating": None}],
                "human_completion": None,
                "chosen_completion": None,
            },
        ],
        "finish_reason": "found_error",
    },
}
STEPWISE = {"prompt": "2+2*3?", "completions": ["2*3=6", "2+6=9"], "labels": [True, False]}


def told(row: dict[str, Any], *arguments: Any) -> list[tuple[str, tuple[str, ...], tuple[bool | None, ...], str]]:
    return [(s.question, s.steps, s.labels, s.subset) for s in read_solutions(row, *arguments)]


def test_bigbench_mistake_labels_nothing_behind_the_first_mistake() -> None:
    assert layout_of(MISTAKE) == "bigbench-mistake"
    assert told(MISTAKE) == [("(2 + 3) * 4 =", tuple(MISTAKE["steps"]), (True, False, None), "bigbench-mistake")]
    (right,) = read_solutions({**MISTAKE, "mistake_index": None})
    assert (right.labels, right.first_error) == ((True, True, True), -1)


def test_processbench_counts_from_0_and_minus_1_is_no_error() -> None:
    assert layout_of(PROCESSBENCH) == "processbench"
    assert told(PROCESSBENCH) == [("2+2*3?", ("2*3=6", "2+6=8"), (True, True), "gsm8k")]
    (wrong,) = read_solutions({**PROCESSBENCH, "label": 0})
    assert (wrong.labels, wrong.first_error) == ((False, None), 0)


def test_processbench_as_traces_is_split_at_blank_lines() -> None:
    assert layout_of(TRACES) == "processbench-traces"
    assert told(TRACES) == [
        ("2+2*3?", ("2*3=6", "2+6=9"), (True, False), "processbench-math"),
        ("2+2*3?", ("8",), (True,), "processbench-math"),
    ]


def test_prmbench_counts_from_1_and_labels_every_step() -> None:
    assert layout_of(PRMBENCH) == "prmbench"
    assert told(PRMBENCH) == [("q'", ("a", "x", "c"), (True, False, False), "circular")]
    assert told(PRMBENCH, "auto", Reading(originals=True))[1] == ("q", ("a", "b"), (True, True), "circular")


def test_prm800k_follows_the_chosen_steps_and_keeps_the_others() -> None:
    assert layout_of(PRM800K) == "prm800k"
    (found,) = read_solutions(PRM800K)
    assert (found.question, found.steps, found.labels) == ("2+2*3?", ("2*3=6", "Hm."), (True, True))
    assert list(judgements(found)) == [
        (0, (), "2*3=6", True),
        (0, (), "2*3=5", False),
        (1, ("2*3=6",), "Hm.", True),
        (2, ("2*3=6", "Hm."), "2+6=9", False),
        (2, ("2*3=6", "Hm."), "Six.", None),
    ]


@pytest.mark.parametrize(("neutral", "label"), [("right", True), ("wrong", False), ("drop", None)])
def test_what_a_neutral_rating_means_is_an_option(neutral: Any, label: bool | None) -> None:
    (found,) = read_solutions(PRM800K, "auto", Reading(neutral=neutral))
    assert found.labels[1] is label


def test_layouts_whose_columns_others_have_too_must_be_named() -> None:
    assert layout_of(STEPWISE) is None
    assert told(STEPWISE, "stepwise") == [("2+2*3?", ("2*3=6", "2+6=9"), (True, False), "stepwise")]
    spans = {
        "problem": "q",
        "generations": [{"text": "ab;cd", "spans": {"steps": [[0, 3, 1.0], [3, 5, 0.0]]}}, "no spans"],
    }
    assert layout_of(spans) is None
    assert told(spans, "spans") == [("q", ("ab;", "cd"), (True, False), "spans")]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"problem": "q", "answer": "4"}, "missing_column"),
        ({**MISTAKE, "mistake_index": 3}, "bad_label"),
        ({**MISTAKE, "mistake_index": True}, "bad_label"),
        ({**MISTAKE, "steps": []}, "no_steps"),
        ({**MISTAKE, "steps": "2 + 3"}, "wrong_type"),
        ({**MISTAKE, "input": " "}, "empty_statement"),
        ({**PROCESSBENCH, "label": -2}, "bad_label"),
        ({**PRMBENCH, "error_steps": [0]}, "bad_label"),
        ({**PRMBENCH, "error_steps": [4]}, "bad_label"),
        ({**TRACES, "generations": [{"text": "8", "first_error_step": 1}]}, "bad_label"),
        (
            {**PRM800K, "label": {"steps": [{"completions": [{"text": "a", "rating": 2}], "chosen_completion": 0}]}},
            "bad_label",
        ),
    ],
)
def test_a_row_that_cannot_be_read_says_why(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadSteps) as refusal:
        read_solutions(row)
    assert str(refusal.value) == reason and refusal.value.detail


SPANS = {"problem": "q", "generations": [{"text": "ab;cd", "spans": {"steps": [[0, 3, 1.0], [3, 5, 0.0]]}}]}
ODD = [None, True, -1, 2, 1.5, float("nan"), 10**30, "x", [], [None], ["a"], {}, {"text": "z"}, {"steps": [None]}, [[0, 9, 1.0]],
       [[3, 1, 1.0]], [[0, 1]], [[0, 1, None]], {"steps": [{"completions": "ab", "chosen_completion": 0}]}]  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, one in inner for found in places(one, (*path, key)))]


@pytest.mark.parametrize("layout", ["bigbench-mistake", "processbench", "processbench-traces", "prmbench", "prm800k", "stepwise", "spans"])  # fmt: skip
def test_whatever_stands_in_any_place_of_a_row_is_read_or_is_a_reason(layout: str) -> None:
    rows = {"bigbench-mistake": MISTAKE, "processbench": PROCESSBENCH, "processbench-traces": TRACES, "prmbench": PRMBENCH,
            "prm800k": PRM800K, "stepwise": STEPWISE, "spans": SPANS}  # fmt: skip
    for path in places(rows[layout])[1:]:
        for odd in ODD:
            row = copy.deepcopy(rows[layout])
            inner: Any = row
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]] = odd
            try:
                found = read_solutions(row, layout)
            except BadSteps as refusal:
                assert str(refusal) and refusal.detail
            else:
                assert all(len(one.steps) == len(one.labels) for one in found)


def test_an_index_that_a_table_has_made_a_fraction_is_the_same_index() -> None:
    """A column of whole numbers and nulls comes out of pandas and of some Parquet files as 1.0."""
    assert told({**PROCESSBENCH, "label": 1.0})[0][2] == (True, False)
    assert told({**MISTAKE, "mistake_index": 0.0}) == told({**MISTAKE, "mistake_index": 0})
    assert told({**PRMBENCH, "error_steps": [2.0, 3.0]}) == told(PRMBENCH)
    with pytest.raises(BadSteps):
        told({**PROCESSBENCH, "label": 0.5})


@pytest.mark.parametrize(
    "spans", [[[0, 6, 1.0]], [[-1, 3, 1.0]], [[3, 3, 1.0]], [[0, 3, 1.0], [2, 5, 0.0]], [[0, 3, 1.5]], [[0, 3, float("nan")]], [[0.5, 3, 1.0]]]
)  # fmt: skip
def test_spans_that_do_not_fit_their_text_are_a_reason_and_no_other_steps(spans: list[Any]) -> None:
    with pytest.raises(BadSteps, match="bad_label"):
        told({"problem": "q", "generations": [{"text": "ab;cd", "spans": {"steps": spans}}]}, "spans")


def test_the_span_of_the_end_of_turn_is_no_step_and_the_order_of_spans_is_that_of_the_text() -> None:
    row = {
        "problem": "q",
        "generations": [{"text": "ab;cd", "spans": {"steps": [[3, 5, 0.0], [0, 3, 1.0], [5, 6, 1.0]]}}],
    }
    assert told(row, "spans") == told(SPANS, "spans")
