"""Several runs on one page, and the heat maps of a sweep."""

import json
import shutil
from pathlib import Path

import pytest
from made_up_run import make_group

from redistill.cli import main
from redistill.io.atomic import write_json
from redistill.io.parquet import read_records, write_records
from redistill.records import Group
from redistill.report.blocks import Figure, Table
from redistill.report.cross_run import _curves, _settings, run_names
from redistill.report.files import RunFiles
from redistill.report.sweep import heat, write_sweep_page


@pytest.fixture
def two(run_folder: Path, tmp_path: Path) -> tuple[Path, Path]:
    """The made-up run, and one with another learning rate whose student was asked the same problems."""
    first, second = (Path(shutil.copytree(run_folder, tmp_path / name)) for name in ("one", "two"))
    recipe = (second / "recipe.yaml").read_text()
    (second / "recipe.yaml").write_text(recipe.replace("learning_rate: 0.0001", "learning_rate: 0.0003"))
    return first, second


def test_several_runs_are_one_page_with_their_paired_difference(
    two: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = two[1] / "evaluate/redi/dev/groups/part-00000.parquet"
    for marker in (two[1] / "evaluate/redi/dev").glob("*.done"):
        marker.unlink()
    groups = list(read_records(path))
    write_records(path, Group, [make_group(1000 + i, "redi", 0.1 if i < 10 else 0.84) for i in range(len(groups))])
    main(["report", str(two[0]), str(two[1]), "--json"])
    page = Path(json.loads(capsys.readouterr().out)["report"])
    assert page == tmp_path.resolve() / "one--two.html"
    html = page.read_text("utf-8")
    for title in (
        "Side by side",
        "Paired differences",
        "Differences between the runs",
        "Funnels",
        "Training",
        "What it cost",
    ):
        assert f">{title}</h2>" in html
    assert (
        "redi@two is below redi@one" in html and "default-src" in html and "http" not in html.replace("http-equiv", "")
    )
    assert page.stat().st_size < 3_000_000


def test_what_two_recipes_do_not_share_is_a_table_and_what_they_share_is_not_in_it(two: tuple[Path, Path]) -> None:
    (table,) = _settings({"one": RunFiles(two[0]), "two": RunFiles(two[1])})
    assert isinstance(table, Table)
    assert list(table.rows) == [
        ("train.control.learning_rate", "0.0001", "0.0003"),
        ("train.redi.learning_rate", "0.0001", "0.0003"),
    ]


def test_a_stage_that_one_run_lacks_is_one_line(two: tuple[Path, Path]) -> None:
    recipe = (two[1] / "recipe.yaml").read_text()
    start, end = recipe.index("  control:"), recipe.index("  redi:")
    (two[1] / "recipe.yaml").write_text(recipe[:start] + recipe[end:])
    (table,) = _settings({"one": RunFiles(two[0]), "two": RunFiles(two[1])})
    assert isinstance(table, Table)
    keys = [row[0] for row in table.rows]
    assert keys == ["train.redi.learning_rate", "train.control"] and "redi" in str(table.rows[1][1])


def test_runs_of_one_name_are_told_apart_by_the_folder_above(tmp_path: Path) -> None:
    assert run_names([tmp_path / "a/x", tmp_path / "b/x", tmp_path / "b/y"]) == ["a/x", "b/x", "y"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{one}", "{one}"], "given twice"),
        (["{one}", "{one}/none"], "no run folder"),
        (["{one}", "--out", "x.html"], "--out is for the page of several runs"),
        (["{one}", "{two}", "--tokens"], "one run at a time"),
    ],
)
def test_what_cannot_be_shown_is_one_sentence(
    two: tuple[Path, Path], capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["report", *(word.format(one=two[0], two=two[1]) for word in words)])
    assert left.value.code == 2 and said in capsys.readouterr().err


# --- a sweep's heat maps --------------------------------------------------------------------------------------------

LR, WEIGHT, SEED = "train.redi.learning_rate", "train.redi.objective.rejected_weight", "x.kind"


def point(variant: str, mean: float, **settings: object) -> dict[str, object]:
    names = {"lr": LR, "weight": WEIGHT, "kind": SEED}
    column = {"seeds": [0], "each": [mean], "mean": mean, "interval95_over_seeds": None, "against_control": None}
    named = {names[key]: value for key, value in settings.items()}
    return {"variant": variant, "settings": named, "state": "done", "is_control": False, "benchmarks": {"dev": column}}


def test_a_heat_map_has_the_longer_axis_across_and_a_hole_where_nothing_is_finished(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn = []
    monkeypatch.setattr("redistill.report.sweep.heat_map", lambda *given: drawn.append(given))
    means = {(1e-4, 0.5): 0.5, (1e-4, 0.8): 0.6, (3e-4, 0.5): 0.7, (1e-3, 0.8): 0.2}
    points = [point("redi", m, lr=lr, weight=w) for (lr, w), m in means.items()]
    points += [point("sft", 0.4), point("dpo", 0.3, lr=1e-4, kind="b"), point("dpo", 0.35, lr=3e-4, kind="b")]
    (figure,) = heat(points, "dev", {LR: [3e-4, 1e-4, 1e-3], WEIGHT: [0.8, 0.5]})
    assert isinstance(figure, Figure) and [title for title, _ in figure.panels] == ["redi", "dpo, kind b"]
    grid, columns, rows, across, down, limits, _ = drawn[0]
    assert (across, down, columns, rows) == (
        "learning_rate",
        "rejected_weight",
        ["0.0001", "0.0003", "0.001"],
        ["0.5", "0.8"],
    )
    assert grid == [[0.5, 0.7, None], [0.6, None, 0.2]]
    assert limits == (0.2, 0.7) == drawn[1][5]  # one scale for all maps
    assert drawn[1][0] == [[0.3, 0.35]] and drawn[1][2] == [""]
    assert heat([point("sft", 0.4)], "dev", {}) == []


def test_the_folder_of_a_sweep_gives_the_sweeps_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    points = [
        point("redi", 0.1 * i + 0.01 * j, lr=lr, weight=w)
        for i, lr in enumerate((1e-4, 3e-4))
        for j, w in enumerate((0.5, 0.8))
    ]
    found = {
        "name": "weights",
        "control": None,
        "axes": {LR: [1e-4, 3e-4]},
        "seeds": [0],
        "trials": [],
        "points": points,
    }
    write_json(tmp_path / "sweep.json", {**found, "chosen": []})
    main(["report", str(tmp_path)])
    html = (tmp_path / "report.html").read_text("utf-8")
    assert html == write_sweep_page(tmp_path).read_text("utf-8") and "pass@1 on dev: redi" in html
    assert str((tmp_path / "report.html").resolve()) in capsys.readouterr().out


def test_a_curve_of_one_point_is_no_picture(two: tuple[Path, Path]) -> None:
    runs = {name: RunFiles(path) for name, path in zip(("one", "two"), two, strict=True)}
    whole = {title for title, _ in _curves(runs)[0].panels}
    for path in two:
        file = path / "train/redi/metrics.jsonl"
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        for row in rows[1:]:
            row.pop("margin", None)
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    runs = {name: RunFiles(path) for name, path in zip(("one", "two"), two, strict=True)}
    assert whole - {title for title, _ in _curves(runs)[0].panels} == {"margin (chosen − rejected)"}
