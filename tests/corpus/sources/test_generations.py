"""One generation in every form, and a bad one among good ones, which alone is lost and counted to the trace."""

import functools
import json
from pathlib import Path
from typing import Any

import pytest

from redistill.corpus import SOURCES, collect
from redistill.corpus.sources.rows import taking_notes
from redistill.io.stage_folder import StageFolder
from redistill.records import Group, Trace

THOUGHT = "<think>\n2+2\n</think>\n\n4"


def read(tmp_path: Path, *generations: Any, source: str = "traces", **options: Any) -> tuple[Trace, ...]:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"problem": "2+2?", "generations": generations}))
    (found,) = SOURCES[source](path=str(path), **options)
    assert isinstance(found, Group), found
    return found.traces


def test_a_generation_is_text_a_table_or_a_message(tmp_path: Path) -> None:
    forms = [
        {name: "4"}
        for name in ("text", "content", "completion", "response", "generation", "output", "generated_text", "value")
    ]
    forms += [
        "4",
        {"message": {"role": "assistant", "content": "4"}},
        [{"role": "assistant", "content": "4"}],
        {"role": "assistant", "content": "4"},
    ]  # type: ignore[list-item]
    forms += [{"messages": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]}]  # type: ignore[dict-item]
    assert [trace.completion for trace in read(tmp_path, *forms)] == ["4"] * len(forms)


def test_reasoning_label_finish_and_author_of_a_generation_are_its_own(tmp_path: Path) -> None:
    one = {"content": "4", "reasoning_content": "2+2", "is_correct": 1, "stop_reason": "max_tokens", "model": "m"}
    two = {"message": {"content": "4", "reasoning": "2+2"}, "finish_reason": "stop", "correct": "False"}
    first, second = read(tmp_path, one, two, unknown_finish="length")
    assert first.completion == second.completion == THOUGHT
    assert [t.verdicts["teacher_label"].outcome.value for t in (first, second)] == ["correct", "incorrect"]
    assert (first.finish_reason, second.finish_reason, first.author) == ("length", "stop", "m")


def test_thinking_that_the_template_opened_is_kept_or_opened_as_the_recipe_says(tmp_path: Path) -> None:
    texts = ["2+2\n</think>\n\n4", "\n2+2</think>4", "<think>a</think>4", "4"]
    assert [trace.completion for trace in read(tmp_path, *texts)] == texts
    opened = ["<think>\n2+2\n</think>\n\n4", "<think>\n2+2</think>4", "<think>a</think>4", "4"]
    assert [trace.completion for trace in read(tmp_path, *texts, open_thinking=True)] == opened


BAD = [
    7,
    {"text": 5},
    {"foo": 1},
    {"text": "6", "correct": 0.5},
    {"role": "user", "content": "x"},
    {"text": "", "tool_calls": [{"id": 1}]},
]
REASONS = ["wrong_type", "wrong_type", "missing_column", "bad_label", "unknown_role", "tool_calls"]


@pytest.mark.parametrize("source", ["traces", "completions"])
def test_a_bad_generation_is_lost_alone_with_its_place_and_its_reason(tmp_path: Path, source: str) -> None:
    names = {} if source == "traces" else {"prompt_column": "problem", "completions_column": "generations"}
    with taking_notes() as notes:
        kept = read(tmp_path, "4", *BAD, "5", source=source, **names)
    assert [trace.completion for trace in kept] == ["4", "5"]
    assert [(lost.id, lost.reason) for lost in notes.lost] == [
        (f"rows.jsonl:0#{n + 1}", reason) for n, reason in enumerate(REASONS)
    ]
    assert all(lost.detail.startswith("column `") and "; " in lost.detail for lost in notes.lost)


def test_the_account_of_traces_counts_what_was_lost_and_a_row_of_bad_ones_is_a_row(tmp_path: Path) -> None:
    rows = [
        {"problem": "2+2?", "generations": ["4", 7, None, {"foo": 1}]},
        {"problem": "3+3?", "generations": [7, {"foo": 1}]},
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    stage = StageFolder(tmp_path / "corpus", "f")
    stage.open()
    source = functools.partial(SOURCES["traces"], path=str(tmp_path / "rows.jsonl"))
    accounts = collect(stage, [source], seed=0, num_shards=2, max_problems=None)["accounts"]
    assert (accounts["rows"]["kept"], accounts["rows"]["dropped"]) == (1, {"wrong_type": 1})
    assert accounts["traces"] == {
        **accounts["traces"],
        "in": 4,
        "kept": 1,
        "dropped": {"wrong_type": 1, "empty_completion": 1, "missing_column": 1},
    }
    details = {dropped.id: dropped.detail for dropped in stage.read("dropped")}
    assert (
        "column `generations` holds 7" in details["rows.jsonl:0#1"]
        and "column `generations` holds 7" in details["rows.jsonl:1"]
    )
