"""The section about critics on labelled steps, on scores made up by hand."""

import json
import shutil
from pathlib import Path

import pytest

from redistill.cli.scores import scores_text
from redistill.report.blocks import Table
from redistill.report.files import RunFiles
from redistill.report.page import render
from redistill.report.sections.steps import steps
from redistill.tools.scores import score_table

MEASURES = {
    "error_accuracy": {"value": 0.25, "interval95": [0.2, 0.3]},
    "correct_accuracy": {"value": 0.75, "interval95": [0.7, 0.8]},
    "f1": {"value": 0.375, "interval95": [0.31, 0.44]},
    "coin": {"error_accuracy": 0.1, "correct_accuracy": 0.5, "f1": 0.167},
}
STEPS = {
    **MEASURES, "num_traces": 40, "unjudged": 2, "analyses": 4, "threshold": 0.5, "read": "probability", "num_steps_judged": 90,
    "subsets": {"gsm8k": MEASURES, "math": {**MEASURES, "f1": {"value": None, "interval95": None}}},
    "by_analyses": {"1": {"f1": 0.3}, "2": {"f1": 0.35}, "4": {"f1": 0.375}},
    "prmbench": {"prm_score": 0.6, "f1": 0.7, "negative_f1": 0.5, "positive_accuracy": 0.8, "negative_accuracy": 0.4,
                 "subsets": {"circular": {"prm_score": None}}},
    "per_solution": [],
}  # fmt: skip


@pytest.fixture
def folder(run_folder: Path, tmp_path: Path) -> Path:
    run = tmp_path / "run"
    shutil.copytree(run_folder, run)
    for path in run.glob("evaluate/redi/*/scores.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "steps": STEPS}))
    return run


def test_a_run_without_critics_has_no_such_section(run_folder: Path) -> None:
    assert steps(RunFiles(run_folder)) == []
    assert "Labelled steps" not in render(RunFiles(run_folder))


def test_both_accuracies_stand_beside_f1_and_the_coin(folder: Path) -> None:
    run = RunFiles(folder)
    tables = [block for block in steps(run) if isinstance(block, Table)]
    first = tables[0].rows[0]
    assert [first[place] for place in (1, 2, 3, 5, 6)] == ["25.0", "75.0", "37.5", "16.7", "2"]
    assert [row[3] for row in tables[0].rows[:3]] == ["37.5", "37.5", None]
    assert tables[1].rows[0][1:] == ("30.0", "35.0", "37.5")
    assert tables[2].rows[0][1:] == ("60.0", "70.0", "50.0", "80.0", "40.0")
    assert "Labelled steps" in render(run)


def test_the_command_scores_says_it_in_a_line(folder: Path) -> None:
    line = next(line for line in scores_text(score_table(folder)).splitlines() if "2 of 40" in line)
    assert line.split()[2:] == ["25.0", "75.0", "37.5", "31.0", "to", "44.0", "16.7", "2", "of", "40"]


def test_a_long_name_and_many_unjudged_solutions_run_into_no_other_column(folder: Path) -> None:
    table = score_table(folder)
    table["scores"] = [{**row, "model": "a-name-of-a-student-that-is-long"} for row in table["scores"]]
    for row in (row for row in table["scores"] if "steps" in row):
        row["steps"] |= {"unjudged": 123_456, "num_traces": 123_456}
    said = scores_text(table).splitlines()
    lines = [line for line in said if "123456 of 123456" in line]
    assert {line.split()[0] for line in lines} == {"a-name-of-a-student-that-is-long"}
    assert "16.7" in {line.split()[-4] for line in lines}
    (head,) = [one for one in said if one.startswith("critic")]
    assert {len(line) for line in lines} == {len(head)}
