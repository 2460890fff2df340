"""The section on thoughts: its figures are those of the answers, and a gain by form alone is told from a gain."""

import shutil

import pytest

from redistill.io.atomic import read_json, write_json
from redistill.report.blocks import Table, Tag
from redistill.report.files import RunFiles
from redistill.report.sections import thinking as section


@pytest.fixture
def run(run_folder, tmp_path):
    return RunFiles(shutil.copytree(run_folder, tmp_path / "run"))


def rows_of(block):
    return [[cell.text if isinstance(cell, Tag) else cell for cell in row] for row in block.rows]


def set_scores(run, model, lenient, strict):
    path = run.folder / "evaluate" / model / "dev" / "scores.json"
    known = read_json(path)
    known["pass_at_1"]["value"] = lenient
    known["strict"] = {"pass_at_1": {"value": strict, "interval95": [0, 1]}, "only_lenient_finds_an_answer": 0.0}
    write_json(path, known)


def test_a_gain_that_only_the_strict_parse_sees_is_form(run, monkeypatch):
    models = [model for model in run.models if (model, "dev") in run.scores]
    fresh = RunFiles(run.folder)
    for number, model in enumerate(models):
        set_scores(fresh, model, 0.5 + 0.1 * number, 0.1 + 0.3 * number)
    monkeypatch.setattr(section, "_answers", lambda *unused: [])
    blocks = section.thinking(fresh)
    (table,) = [block for block in blocks if isinstance(block, Table)]
    first, second = rows_of(table)[:2]
    assert first == [models[0], "50.0", "10.0", None, None, None]
    # lenient rose by 10 points and strict by 30: 20 of the 30 are form
    assert second == [models[1], "60.0", "40.0", "10.0", "30.0", "20.0"]


def test_figures_of_answers_stand_in_two_tables(run, monkeypatch):
    from redistill.text.thoughts import Answer

    said = [
        Answer("p1", "<think>Wait, 4</think>4", 10, True),
        Answer("p2", "<think>so it is</think>5", 20, False),
        Answer("p3", "<think>so it is</think>6", 30, False),
        Answer("p4", "7", 40, None),
    ]
    monkeypatch.setattr(section, "_answers", lambda *unused: said)
    lengths, habits = [b for b in section.thinking(run) if isinstance(b, Table)][:2]
    assert rows_of(lengths)[0][1:] == ["75.0", "10", "25", "0"]  # the right one is shorter than both
    assert rows_of(habits)[0][1:] == ["25.0", "100.0", "0.0", "0.0", "66.7"]


def test_nothing_is_said_where_nobody_thinks(run, monkeypatch):
    monkeypatch.setattr(section, "_answers", lambda *unused: [])
    for path in run.folder.glob("evaluate/*/*/scores.json"):
        write_json(path, {**read_json(path), "strict": None})
    assert section.thinking(RunFiles(run.folder)) == []
