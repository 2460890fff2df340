"""Labels of conversations count, and preference pairs come in every form."""

import json
from pathlib import Path
from typing import Any

import pytest

from redistill.corpus import SOURCES
from redistill.records import Group

USER, R, W = (
    {"role": "user", "content": "2+2?"},
    {"role": "assistant", "content": "4"},
    {"role": "assistant", "content": "5"},
)
G, B = {"from": "gpt", "value": "4"}, {"from": "gpt", "value": "5"}


def read(tmp_path: Path, source: str, row: dict[str, Any], **options: Any) -> Any:
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    (found,) = SOURCES[source](path=str(tmp_path / "rows.jsonl"), **options)
    return found


def labels(group: Group) -> list[str | None]:
    return [t.verdicts["teacher_label"].outcome.value if t.verdicts else None for t in group.traces]


@pytest.mark.parametrize(
    ("column", "value", "outcome"),
    [
        ("label", False, "incorrect"), ("label", 0, "incorrect"), ("label", "False", "incorrect"), ("correct", 0.0, "incorrect"),
        ("kto_tag", False, "incorrect"), ("is_correct", "wrong", "incorrect"), ("label", True, "correct"), ("label", None, None),
        ("other", False, "correct"),  # no column of labels: the source's claim
    ],
)  # fmt: skip
@pytest.mark.parametrize("source", ["messages", "openthoughts"])
def test_a_label_beside_a_conversation_decides_and_null_decides_nothing(
    tmp_path: Path, source: str, column: str, value: Any, outcome: str | None
) -> None:
    name = "messages" if source == "messages" else "conversations"
    group = read(
        tmp_path, source, {name: [USER, R], column: value}, **({} if source == "messages" else {"label": "all"})
    )
    if source == "openthoughts" and value is None:
        outcome = "correct"  # the recipe says so of every row that no label calls wrong
    assert labels(group) == [outcome]
    assert labels(read(tmp_path, source, {name: [USER, R], "mine": 0}, label_column="mine")) == ["incorrect"]


@pytest.mark.parametrize(
    ("row", "options"),
    [
        ({"prompt": "2+2?", "chosen": "4", "rejected": "5"}, {}),
        ({"prompt": "2+2?", "chosen": R, "rejected": W}, {}),
        ({"prompt": [USER], "chosen": [R], "rejected": [W]}, {}),
        ({"chosen": [USER, R], "rejected": [USER, W]}, {}),
        ({"prompt": "2+2?", "chosen": json.dumps([USER, R]), "rejected": json.dumps([USER, W])}, {}),
        (
            {"conversations": [{"from": "human", "value": "2+2?"}], "chosen": G, "rejected": B},
            {"prompt_column": "conversations"},
        ),
        (
            {"messages": [USER, R], "rejected_response": "5"},
            {"chosen_column": "messages", "rejected_column": "rejected_response"},
        ),
        (
            {"messages": [USER, R], "rejected_messages": [USER, W]},
            {"chosen_column": "messages", "rejected_column": "rejected_messages"},
        ),
        ({"prompt": "2+2?", "chosen": [USER, R], "rejected": ["5"]}, {}),
    ],
)
def test_a_pair_in_every_form(tmp_path: Path, row: dict[str, Any], options: dict[str, str]) -> None:
    group = read(tmp_path, "preference", row, **options)
    assert (group.problem.statement, [t.completion for t in group.traces]) == ("2+2?", ["4", "5"])
    assert labels(group) == ["correct", "incorrect"]


@pytest.mark.parametrize("nothing", [None, "", {"role": "assistant", "content": None}])
def test_a_side_that_is_empty_is_an_empty_trace_and_the_other_is_kept(tmp_path: Path, nothing: Any) -> None:
    group = read(tmp_path, "preference", {"prompt": "2+2?", "chosen": "4", "rejected": nothing})
    assert [t.completion for t in group.traces] == ["4", ""]


def test_alpacas_input_belongs_to_the_question_of_a_pair(tmp_path: Path) -> None:
    row = {"instruction": "Solve.", "input": "2+2?", "chosen": "4", "rejected": "5"}
    assert read(tmp_path, "preference", row, prompt_column="instruction").problem.statement == "Solve.\n2+2?"
