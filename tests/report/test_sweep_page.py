"""The page of a sweep: a result in a sentence, one colour a variant, seeds as points, links to its trials, times and the recipe."""

import re
from pathlib import Path
from typing import Any

import pytest

from redistill.cli import main
from redistill.io.atomic import write_json
from redistill.report.blocks import Code, Details, Figure, Link, Table, Text
from redistill.report.sweep import _again, _curves, _result, _trials, write_sweep_page

AXIS = "train.redi.learning_rate"


def column(each: list[float], against: dict[str, Any] | None = None, over: list[float] | None = None) -> dict[str, Any]:
    mean = sum(each) / len(each)
    return {"seeds": list(range(len(each))), "each": each, "mean": mean, "interval95_over_seeds": over, "against_control": against}  # fmt: skip


def point(variant: str, settings: dict[str, Any], dev: dict[str, Any]) -> dict[str, Any]:
    return {"variant": variant, "settings": settings, "state": "done", "is_control": False, "benchmarks": {"dev": dev}}


def trial(id: str, variant: str, settings: dict[str, Any]) -> dict[str, Any]:
    line = [[step, 0.1 * step] for step in range(1, 6)]
    known = {"state": "done", "why": "", "scores": {"dev": {"mean": 0.5}}, "curve": line, "log_probs": {}}
    return {"id": id, "variant": variant, "settings": settings, "seed": 0, "run": f"trials/{id}", **known}


@pytest.fixture
def found() -> dict[str, Any]:
    against = {
        "difference": 0.17,
        "each": [0.1, 0.24],
        "interval95_over_seeds": None,
        "interval95_over_problems": [0.1, 0.2],
    }
    points = [
        point("control", {}, column([0.5, 0.4])),
        point("redi", {AXIS: 1e-4}, column([0.6, 0.64], against)),
        point("redi", {AXIS: 3e-4}, column([0.3, 0.3])),
    ]
    trials = [trial("control.seed-0", "control", {}), trial("redi.a.seed-0", "redi", {AXIS: 1e-4})]
    trials.append(trial("redi.b.seed-0", "redi", {AXIS: 3e-4}))
    return {"name": "rates", "control": "control", "axes": {AXIS: [1e-4, 3e-4]}, "seeds": [0, 1], "trials": trials,
            "points": points, "chosen": []}  # fmt: skip


def test_two_seeds_are_shown_themselves_and_claim_nothing(found: dict[str, Any]) -> None:
    blocks = _result(found, "dev")
    lead = next(b for b in blocks if isinstance(b, Text))
    assert lead.text == (
        "Best of 3 points on dev: redi, learning_rate 0.0001, 62.0% pass@1 (mean of 2 seeds), +17.0 points against control "
        "(+10.0, +24.0 by seed). Three seeds are needed for an interval over seeds, so nothing is claimed."
    )
    table = next(b for b in blocks if isinstance(b, Table))
    assert table.rows[1][3] == "seeds: 60.0, 64.0" and table.rows[1][5] == "seeds: +10.0, +24.0"


def test_three_seeds_say_what_may_be_claimed(found: dict[str, Any]) -> None:
    redi = found["points"][1]["benchmarks"]["dev"]
    redi |= column([0.6, 0.64, 0.62], {**redi["against_control"], "interval95_over_seeds": [0.05, 0.29]}, [0.57, 0.67])
    (lead, *_) = [b for b in _result(found, "dev") if isinstance(b, Text)]
    assert lead.text.endswith(
        "+17.0 points against control (95% over seeds +5.0 to +29.0): above the control for these seeds."
    )
    redi["against_control"]["interval95_over_seeds"] = [-0.05, 0.39]
    (lead, *_) = [b for b in _result(found, "dev") if isinstance(b, Text)]
    assert lead.text.endswith("no difference can be claimed.")


def test_no_axis_of_shares_goes_beyond_100(found: dict[str, Any]) -> None:
    found["points"][1]["benchmarks"]["dev"] = column([0.2, 0.98, 0.99], None, [0.0, 1.0])
    figure = next(b for b in _result(found, "dev") if isinstance(b, Figure))
    shown = [float(n) for n in re.findall(r">(\d+)</text>", str(figure.panels[0][1]))]
    assert shown and max(shown) <= 100


def test_a_variant_has_one_colour_on_all_charts(found: dict[str, Any]) -> None:
    (curves,) = _curves(found, "dev")
    assert isinstance(curves, Figure)
    table = next(b for b in _result(found, "dev") if isinstance(b, Table))
    in_table = {tag.text.split(",")[0]: tag.series for tag in (row[0] for row in table.rows)}  # type: ignore[union-attr]
    # the best point of each variant alone, in the variant's colour
    assert {tag.text: tag.series for tag in curves.legend} == {
        "redi, learning_rate 0.0001": in_table["redi"],
        "control": in_table["control"],
    }


def test_trials_are_linked_with_their_time_and_the_recipe_stands_there(found: dict[str, Any], tmp_path: Path) -> None:
    record = {"seconds": {"trial": 12.5}, "recipe": {"name": "rates"}}
    (tmp_path / "trials/redi.a.seed-0").mkdir(parents=True)
    write_json(tmp_path / "trials/redi.a.seed-0/run.json", record)
    (tmp_path / "sweep.yaml").write_text("name: rates\n")
    (details,) = _trials(found, tmp_path)
    assert isinstance(details, Details) and details.summary == "3 trials, 12.5 s together"
    table = details.blocks[0]
    assert isinstance(table, Table)
    assert table.rows[1][0] == Link("redi.a.seed-0", "trials/redi.a.seed-0/") and table.rows[1][3] == "12.5 s"
    assert table.rows[0][0] == "control.seed-0"  # no folder, no link
    codes = [c.text for b in _again(found, tmp_path) if isinstance(b, Details) for c in b.blocks if isinstance(c, Code)]
    assert codes == ["name: rates\n", "name: rates\n"]
    write_json(tmp_path / "sweep.json", found)
    assert 'href="trials/redi.a.seed-0/"' in write_sweep_page(tmp_path).read_text()


def test_scores_of_a_sweep_are_its_table(
    found: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_json(tmp_path / "sweep.json", found)
    (tmp_path / "table.md").write_text("# rates\n\n| redi | 62.0 |\n")
    main(["scores", str(tmp_path)])
    assert "| redi | 62.0 |" in capsys.readouterr().out


def test_where_all_points_are_equal_none_is_the_best_and_there_is_no_map(found: dict[str, Any]) -> None:
    for point in found["points"]:
        point["benchmarks"]["dev"] |= {"mean": 0.0}
    lead, *blocks = _result(found, "dev")
    assert isinstance(lead, Text)
    assert lead.text == "All 3 points have the same pass@1 on dev, 0.0% (mean of 2 seeds): none is better."
    assert len([block for block in blocks if isinstance(block, Figure)]) == 1  # the points themselves
