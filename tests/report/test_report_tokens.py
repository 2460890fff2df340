"""Texts coloured by what training did to their tokens: no character is lost, and the numbers are those of the file."""

import shutil
from pathlib import Path

import pytest

from redistill.cli import main
from redistill.io.atomic import write_json
from redistill.report import pairs_shown, write_report
from redistill.report.blocks import Browser, Key, Passages
from redistill.report.files import RunFiles
from redistill.report.sections.traces import pairs
from redistill.report.tokens import coloured, named, tone


def test_tones_have_fixed_borders_in_nats() -> None:
    changes = (0.0, 0.04, 0.05, -0.05, 0.3, -0.3, -1.0, 2.9, 3.0, -10.0)
    assert [tone(c) for c in changes] == ["", "", "up1", "down1", "up2", "down2", "down3", "up3", "up4", "down4"]


def test_a_coloured_text_keeps_every_character_and_joins_neighbours_of_one_tone() -> None:
    text = "2+2=5;#5"
    changes = [(0, 1, -1.0, -1.5), (1, 2, -1.0, -1.6), (4, 5, -0.1, -4.0), (5, 6, -2.0, -1.0), (8, 8, -0.1, -0.2)]
    spans = coloured([("shared", 0, 4), ("mark", 4, 5), ("", 5, 8)], text, changes)
    assert spans == [("shared down2", "2+"), ("shared", "2="), ("mark down4", "5"), ("up3", ";"), ("", "#5")]
    assert "".join(part for _, part in spans) == text


def test_a_token_that_reaches_over_a_cut_shows_what_stays_of_it() -> None:
    spans = coloured([("", 0, 2), ("cut", 2, 6), ("", 6, 8)], "abcdefgh", [(1, 7, 0.0, 1.0)])
    assert spans == [("", "a"), ("up3", "b"), ("cut", "4 characters left out"), ("up3", "g"), ("", "h")]


def test_several_tokens_on_one_character_are_their_sum() -> None:
    assert coloured([("", 0, 2)], "é!", [(0, 1, 0.0, -0.6), (0, 1, 0.0, -0.6), (1, 2, 0.0, 0.0)]) == [
        ("down3", "é"), ("", "!"),
    ]  # fmt: skip


def test_what_moved_most_is_said_in_words_too() -> None:
    changes = [(0, 1, -1.0, -1.5), (1, 2, -1.0, -1.01), (2, 3, -3.0, -2.0), (3, 3, 0.0, -2.0)]
    assert named("ab ", changes) == [
        "log-prob per token −0.38 nats, over 4 tokens",  # (-.5 - .01 + 1 - 2) / 4
        "fell most: the end −2.00, “a” −0.50",
        "rose most: “blank” +1.00",
    ]
    assert named("ab", []) == []


def test_the_page_colours_the_pairs_it_shows(run_folder: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(run_folder, tmp_path / "run"))
    shown = pairs_shown(run)
    sides = {"chosen": [(0, 1, -1.0, -5.0)], "rejected": [(0, 1, -1.0, -0.5)]}
    found = [{"chosen_id": p.chosen_id, "rejected_id": p.rejected_id, **sides} for p in shown[:1]]
    write_json(run / "train/redi/token_changes.json", {"stage": "redi", "start": "sft", "pairs": found})
    blocks = pairs(RunFiles(run))
    assert any(isinstance(b, Key) for b in blocks)
    (browser,) = (b for b in blocks if isinstance(b, Browser))
    first, second = (leaf.blocks[1] for leaf in browser.leaves[:2])
    assert isinstance(first, Passages) and isinstance(second, Passages)
    assert first.items[0].spans[0] == ("shared down4", shown[0].chosen[0])
    assert first.items[1].spans[0] == ("shared up2", shown[0].rejected[0])
    assert all("down" not in kind for kind, _ in second.items[0].spans)  # not measured: not coloured
    assert 'class="shared down4"' in write_report(run).read_text("utf-8")


def test_tokens_of_a_folder_without_a_recipe_are_refused_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["report", str(tmp_path), "--tokens"])
    assert left.value.code == 2 and "is not a run's folder (it has no recipe.yaml)" in capsys.readouterr().err
