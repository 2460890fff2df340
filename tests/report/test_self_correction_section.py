"""The section about verification and correction, on scores made up by hand."""

import json
import shutil
from pathlib import Path

import pytest

from redistill.report.blocks import Sentences, Table
from redistill.report.files import RunFiles
from redistill.report.page import render
from redistill.report.sections.self_correction import self_correction

FOUND = {
    "verification_accuracy": {"value": 0.75, "interval95": [0.7, 0.8], "of": 400},
    "error_recall": {"value": 0.6, "interval95": [0.5, 0.7], "of": 90},
    "correct_precision": {"value": 0.9, "interval95": [0.85, 0.95], "of": 300},
    "wrong_to_right": {"value": 0.25, "interval95": [0.2, 0.3], "of": 80},
    "right_to_wrong": {"value": None, "interval95": None, "of": 0},
    "attempts": 1.337, "segmented": 0.975, "no_verdict": 0.01, "unread": {"not_verified": 7, "<b>": 1},
    "by_first_attempts": [{"first_attempts": "none right", "num_problems": 12, "attempts": 2.5},
                          {"first_attempts": "all right", "num_problems": 30, "attempts": None}],
}  # fmt: skip


@pytest.fixture
def folder(run_folder: Path, tmp_path: Path) -> Path:
    run = tmp_path / "run"
    shutil.copytree(run_folder, run)
    for path in run.glob("evaluate/redi/*/scores.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "self_correction": FOUND}))
    path = run / "evaluate" / "comparisons.json"
    compared = json.loads(path.read_text())
    said = {
        "error_recall": {
            "difference": 0.1,
            "interval95": [0.01, 0.2],
            "sentence": "error recall: a is above b by 0.100.",
        }
    }
    path.write_text(json.dumps([{**one, "self_correction": said} for one in compared]))
    return run


def test_a_run_whose_answers_are_not_cut_has_no_such_section(run_folder: Path) -> None:
    assert self_correction(RunFiles(run_folder)) == []
    assert "Self-correction" not in render(RunFiles(run_folder))


def test_metrics_attempts_differences_and_what_could_not_be_cut_are_shown(folder: Path) -> None:
    run = RunFiles(folder)
    blocks = self_correction(run)
    metrics, attempts = [block for block in blocks if isinstance(block, Table)][:2]
    assert metrics.rows[0][1:4] == ["75.0", "70.0\u00a0to\u00a080.0", "400"]
    assert metrics.rows[0][13:] == [None, None, "0"]
    assert attempts.rows[0][1:] == ["1.34", "2.50 (12)", None, "97.5", "1.0"]
    said = [line for block in blocks if isinstance(block, Sentences) for line in block.items]
    assert "error recall: a is above b by 0.100." in said
    assert "redi: not cut into attempts: 7 not_verified, 1 <b>." in said
    page = render(run)
    assert "Self-correction" in page and "&lt;b&gt;" in page and "<b>." not in page
