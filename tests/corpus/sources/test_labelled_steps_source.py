"""Labelled solutions become traces whose spans say which steps are right."""

import json
from pathlib import Path

import pytest

from redistill.corpus import SOURCES
from redistill.corpus.sources.layouts import survey
from redistill.records import Dropped, Outcome, Span

WRONG = {"input": "(2 + 3) * 4 =", "steps": ["2 + 3 = 5.", "5 * 4 = 24.", "So 24."], "target": "20", "answer": "24", "mistake_index": 1}  # fmt: skip
RIGHT = {"input": "1 + 2 =", "steps": ["3."], "target": "3", "answer": "3", "mistake_index": None}


def read(path: Path, rows: list[dict[str, object]], **options: str) -> list[object]:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return list(SOURCES["labelled-steps"](path=str(path), **options))


def test_a_wrong_step_has_0_those_before_it_1_and_those_behind_it_nothing(tmp_path: Path) -> None:
    wrong, right = read(tmp_path / "m.jsonl", [WRONG, RIGHT])
    (trace,) = wrong.traces
    assert trace.completion == "2 + 3 = 5.\n\n5 * 4 = 24.\n\nSo 24."
    assert trace.spans == {"steps": (Span(0, 10, 1.0), Span(12, 23, 0.0))}
    assert trace.completion[12:23] == "5 * 4 = 24."
    assert trace.verdicts["step_labels"].outcome is Outcome.incorrect
    assert right.traces[0].verdicts["step_labels"].outcome is Outcome.correct


@pytest.mark.parametrize(
    ("join", "text", "second"),
    [("line", "a\nb", (2, 3)), ("none", "ab", (1, 2)), ("numbered", "Step 1: a\nStep 2: b", (18, 19))],
)
def test_spans_stand_on_the_steps_however_they_are_joined(
    tmp_path: Path, join: str, text: str, second: tuple[int, int]
) -> None:
    (group,) = read(tmp_path / "m.jsonl", [{**WRONG, "steps": ["a", "b"]}], join=join)
    (trace,) = group.traces
    assert (trace.completion, trace.spans["steps"][1]) == (text, Span(*second, 0.0))


def test_a_solution_that_is_judged_in_part_has_no_verdict_and_one_that_is_not_is_dropped(tmp_path: Path) -> None:
    rows = [{"prompt": "1+1?", "completions": ["a", "b"], "labels": labels} for labels in ([True, None], [None, None])]
    part, none = read(tmp_path / "s.jsonl", rows, layout="stepwise")
    assert part.traces[0].verdicts == {} and part.traces[0].spans == {"steps": (Span(0, 1, 1.0),)}
    assert isinstance(none, Dropped) and none.reason == "unlabelled_step"


def test_a_file_of_labelled_steps_is_still_recognised_as_problems_for_a_written_critic(tmp_path: Path) -> None:
    read(tmp_path / "m.jsonl", [WRONG, RIGHT])
    assert survey(str(tmp_path / "m.jsonl"), SOURCES).best.source == "step-judgements"
