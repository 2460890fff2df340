"""The report's section on choosing among samples: what it says is what scores.json says, and without choices there is none."""

import shutil

import pytest

from redistill.io.atomic import read_json, write_json
from redistill.report import write_report
from redistill.report.blocks import Details, Figure, Sentences, Table, Tag, Text
from redistill.report.files import RunFiles
from redistill.report.sections.choosing import choosing

GAIN = {"difference": 0.05, "interval95": [0.01, 0.09], "sentence": "majority is above pass@1 by 0.050."}
CHOOSE = {
    "majority": {
        "curve": {
            "1": {"value": 0.84, "interval95": [0.8, 0.88], "undecided": 0.02, "monte_carlo_error": None},
            "2": {"value": 0.85, "interval95": [0.81, 0.89], "undecided": 0.015, "monte_carlo_error": None},
            "4": {"value": 0.89, "interval95": [0.85, 0.92], "undecided": 0.01, "monte_carlo_error": None},
        },
        "against_pass_at_1": GAIN,
    },
    "best-of-n (by <b>x</b>)": {"why": "no sample has a score '<b>x</b>'; there are fluency"},
}


@pytest.fixture
def run(run_folder, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run_folder, folder)
    path = folder / "evaluate/redi/dev/scores.json"
    write_json(path, {**read_json(path), "choose": CHOOSE})
    return RunFiles(folder)


def test_a_run_without_choices_has_no_section(run_folder):
    assert choosing(RunFiles(run_folder)) == []


def test_the_table_has_each_choice_between_one_sample_and_the_ceiling(run):
    table = next(block for block in choosing(run) if isinstance(block, Table))
    rows = [[cell.text if isinstance(cell, Tag) else cell for cell in row] for row in table.rows]
    assert [row[1] for row in rows] == ["one sample (pass@1)", "majority", "some sample is right (pass@4)"]
    assert rows[1][2:7] == ["89.0", "85.0\u00a0to\u00a092.0", "1.0", "5.0", "1.0\u00a0to\u00a09.0"]
    assert table.caption == "dev: one of 4 samples chosen, in percent"


def test_there_is_a_picture_a_sentence_and_a_line_on_what_could_not_be_made(run):
    blocks = choosing(run)
    figure = next(block for block in blocks if isinstance(block, Figure))
    assert [title for title, _ in figure.panels] == ["redi, % right"] and len(figure.legend) == 3
    assert next(block for block in blocks if isinstance(block, Sentences)).items == [GAIN["sentence"]]
    (missing,) = [block.text for block in blocks if isinstance(block, Text) and block.tone == "missing"]
    assert missing.startswith("redi: best-of-n (by <b>x</b>) is left out, for no sample has a score")
    assert isinstance(blocks[-1], Details)


def test_the_page_shows_it_and_escapes_what_it_shows(run):
    page = write_report(run.folder).read_text("utf-8")
    assert "Choosing among samples" in page and "<b>x</b>" not in page
