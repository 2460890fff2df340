"""The first screen: what was asked, what may be claimed, what to do next, and where the rows are; the rest is folded."""

import shutil
from pathlib import Path

import pytest

from redistill.cli import main
from redistill.io.atomic import read_json, write_json
from redistill.report.blocks import Code, Details, KeyNumbers, Sentences, Text
from redistill.report.files import RunFiles
from redistill.report.page import OPEN, SECTIONS, render
from redistill.report.sections.reproducibility import facts
from redistill.report.sections.results import ROWS, result, scores


@pytest.fixture
def copy(run_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run_folder, tmp_path / "run"))


def change_scores(run: Path, model: str, **changes: object) -> None:
    path = run / "evaluate" / model / "dev" / "scores.json"
    write_json(path, {**read_json(path), **changes})


def next_steps(run: Path) -> list[str]:
    return [item for b in result(RunFiles(run)) if isinstance(b, Sentences) for item in b.items]


def test_it_says_what_was_asked_and_what_the_problems_can_show(copy: Path) -> None:
    said = [b.text for b in result(RunFiles(copy)) if isinstance(b, Text)]
    assert said[1] == (
        "Question: is REDI better than SFT continued (control)? 400 problems of dev, 4 samples each, none of which was trained on."
    )
    assert any(text.startswith("Answers of redi on dev: cut at 64 tokens") for text in said)
    assert next_steps(copy)[0].startswith("400 problems with n = 4 can show a difference of 5.7 points or more")
    assert "one training seed" in next_steps(copy)[-1]


def test_answers_that_were_all_cut_are_the_first_thing_to_change(copy: Path) -> None:
    change_scores(copy, "redi", truncation_rate=1.0, no_answer_rate=0.0)
    assert next_steps(copy)[0].startswith("dev: 100.0% of the answers were cut at 64 tokens")


def test_few_problems_and_few_steps_are_warned_of(copy: Path) -> None:
    for model in ("base", "sft", "control", "redi"):
        change_scores(copy, model, num_problems=12)
    lines = (copy / "train/redi/metrics.jsonl").read_text().splitlines(keepends=True)
    (copy / "train/redi/metrics.jsonl").write_text("".join(lines[:6]))
    said = " ".join(next_steps(copy))
    assert "12 problems on dev is few: 100 or more" in said
    assert "redi took fewer than 20 steps" in said and "select.pairing.max_pairs" in said


def test_a_difference_that_is_not_shown_comes_with_what_could_be(copy: Path) -> None:
    path = copy / "evaluate/comparisons.json"
    write_json(path, [{**one, "is_claimed": False} for one in read_json(path)])
    assert next_steps(copy)[0].startswith("No difference is shown. 400 problems with n = 4 can show")


def test_every_large_number_leads_to_the_commands_that_show_its_rows(copy: Path) -> None:
    blocks = result(RunFiles(copy))
    strip = next(b for b in blocks if isinstance(b, KeyNumbers))
    assert {item.rows for item in strip.items} == {ROWS}
    behind = next(b for b in blocks if isinstance(b, Details) and b.anchor == ROWS)
    code = behind.blocks[0]
    assert isinstance(code, Code)
    assert "redistill show evaluate/redi/dev/groups/part-00000.parquet" in code.text
    assert "redistill compare . . --student redi:control" in code.text
    html = render(RunFiles(copy))
    assert html.count(f'id="{ROWS}"') == 1 and html.count(f'href="#{ROWS}"') == 4


def test_the_first_sections_stand_open_and_the_others_are_folded(copy: Path) -> None:
    html = render(RunFiles(copy))
    assert set(OPEN) < set(SECTIONS)
    assert '<section id="result"' in html and '<div class="inside" id="training">' in html
    assert html.count('<details class="folded">') > 10


def test_the_prompt_that_was_sent_is_shown_and_chat_is_called_chat(copy: Path) -> None:
    asked = read_json(copy / "evaluate/redi/dev/scores.json")["settings"]
    prompt = "<|im_start|>user\n2+2=<|im_end|>\n"
    change_scores(copy, "redi", prompt_sent=prompt, settings={**asked, "chat": True, "prefill": "<think>"})
    server = {"engine": {"name": "openai", "options": {"api": "chat"}}}
    change_scores(copy, "sft", prompt_sent="2+2=", settings={**asked, **server})
    shown = {b.summary: b.blocks[0] for b in scores(RunFiles(copy)) if isinstance(b, Details) and "prompt" in b.summary}
    chat, plain = (shown[key] for key in sorted(shown, key=lambda key: "server" in key))
    assert isinstance(chat, Code) and chat.text == f"{prompt}<think>"
    assert [("in the chat template" in key, "chat message under the server's" in key) for key in sorted(shown)] == [
        (True, False),
        (False, True),
    ]
    assert isinstance(plain, Code) and plain.text == "2+2="


def test_the_page_shows_the_command_that_made_the_run(copy: Path) -> None:
    record = read_json(copy / "run.json")
    write_json(copy / "run.json", {**record, "command": "redistill run quickstart --set seed=1"})
    code = next(b for b in facts(RunFiles(copy)) if isinstance(b, Code))
    assert code.text == "redistill run quickstart --set seed=1"


def test_a_secret_in_the_command_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    from redistill.pipeline.run_record import command_line

    monkeypatch.setattr("sys.argv", ["/x/bin/redistill", "run", "a b.yaml", "--set", "evaluate.engine.api_key=abc"])
    assert command_line() == "redistill run 'a b.yaml' --set evaluate.engine.api_key=..."
    monkeypatch.setattr("sys.argv", ["/x/bin/pytest", "tests"])
    assert command_line() == ""


@pytest.mark.parametrize("verb", ["report", "scores"])
def test_a_folder_of_runs_is_called_one(copy: Path, capsys: pytest.CaptureFixture[str], verb: str) -> None:
    with pytest.raises(SystemExit) as left:
        main([verb, str(copy.parent)])
    said = capsys.readouterr().err
    assert left.value.code == 2 and "is a folder of runs and none itself" in said and str(copy) in said
    assert not (copy.parent / "report.html").exists()


def test_a_folder_that_is_no_run_gets_no_page(tmp_path, capsys):
    (tmp_path / "notes").mkdir()
    with pytest.raises(SystemExit) as left:
        main(["report", str(tmp_path)])
    assert left.value.code == 2 and "is not a run's folder" in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()
