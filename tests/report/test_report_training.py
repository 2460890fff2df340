"""The curves: what the guard saw is marked on them, what it went back behind is drawn pale, accuracy stands against step."""

import shutil
from pathlib import Path

import pytest

from redistill.report import charts
from redistill.report.blocks import Figure, Sentences, Table, Tag, Text
from redistill.report.files import RunFiles
from redistill.report.sections import training
from redistill.report.sections.accuracy import accuracy


@pytest.fixture(scope="module")
def run(run_folder: Path) -> RunFiles:
    return RunFiles(run_folder)


def test_stages_with_one_start_share_their_panels(run: RunFiles) -> None:
    figures = [b for b in training.training(run) if isinstance(b, Figure)]
    stages = [[tag.text for tag in f.legend if tag.series != ""] for f in figures]
    assert stages == [["sft"], ["control", "redi"]]
    assert [title for title, _ in figures[0].panels] == [
        "loss",
        "log-prob of chosen, per token",
        "gradient norm",
        "learning rate × gradient norm",
    ]  # SFT has no rejected side
    assert [title for title, _ in figures[1].panels][-3:] == [
        "update norm (how far the weights moved)",
        "top-token probability, rejected side, %",
        "the guard's state",
    ]


def test_the_guards_states_are_marked_once_where_they_begin_with_a_legend_of_shapes(run: RunFiles) -> None:
    panel = next(p for p in training._PANELS if p.key == "chosen_logp")
    control, redi = training._lines(run, panel, {s: run.steps(s) for s in ("control", "redi")})
    assert control.marks == [] and control.dots == {} and control.pale == []
    # a warning from step 60, a collapse at 70, and the end of the ten abandoned steps 31 to 40
    assert redi.marks == [(70, None, "collapse"), (60, None, "warning"), (40, -3.0, "back")]
    assert list(redi.dots) == [20, 40, 60, 80, 100, 120] and redi.pale[0][0] == list(range(31, 41))
    legend = [b for b in training.training(run) if isinstance(b, Figure)][1].legend
    assert [tag.text for tag in legend][2:] == ["● held-out rows", "▲ warning", "✕ collapse", "◄ rolled back from here"]
    said = next(b for b in training.training(run) if isinstance(b, Sentences))
    assert said.items == ["redi: At step 40 it went back to step 30."]


def test_a_chart_of_states_keeps_only_the_steps_where_something_changes() -> None:
    still = [(float(step), 0 if step < 50 else 3) for step in range(100)]
    assert charts.levels([(0, still)], training.GUARD_STATES, "x") == charts.levels(
        [(0, [still[i] for i in (0, 49, 50, 99)])], training.GUARD_STATES, "x"
    )


def test_accuracy_stands_against_step_probes_as_lines_whole_students_as_marks(
    run: RunFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    monkeypatch.setattr(charts, "accuracy", lambda lines, scores, label: drawn.append((lines, scores)))
    blocks = accuracy(run)
    ((probes, scores),) = drawn  # of base and SFT there are two marks only, which stand under Scores
    assert [(series, step, share) for series, step, share, _ in scores] == [
        (1, 0.0, 0.47), (2, 120.0, 0.46), (3, 120.0, 0.84),
    ]  # fmt: skip
    ((series, points),) = probes
    p = (0.47 * 64 + 2) / 68  # Agresti and Coull: two right and two wrong answers more
    assert series == 3 and points[0] == (0.0, 0.47, pytest.approx((p * (1 - p) / 68) ** 0.5))
    table = blocks[-1]
    assert isinstance(table, Table)
    row = [cell.text if isinstance(cell, Tag) else cell for cell in table.rows[0]]
    # probes at 0 (47.0%), 20 (55.0%), ... 120 (80.0%)
    assert row == ["redi", "7", "64", "47.0", "80.0", "120", "80.0", "3.1", None, "40"]


def test_a_stopped_guards_student_is_marked_at_the_step_that_was_kept(run_folder: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(run_folder, tmp_path / "run"))
    ledger = run / "train/redi/ledger.json"
    ledger.write_text('{"start": "sft", "guard": {"kept_step": 60, "stopped_at": 70}}')
    drawn = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(charts, "accuracy", lambda lines, scores, label: drawn.append(scores))
        accuracy(RunFiles(run))
    # of base and SFT there are two marks, which stand under Scores and are not drawn
    assert [step for _, step, _, _ in drawn[0]] == [0.0, 120.0, 60.0] and len(drawn) == 1


def test_without_a_probe_the_page_says_how_to_get_one(run_folder: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(run_folder, tmp_path / "run"))
    shutil.rmtree(run / "train/redi")
    last = accuracy(RunFiles(run))[-1]
    assert isinstance(last, Text) and "probe_every" in last.text
