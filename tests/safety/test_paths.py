"""Names and links do not lead out of a run's folder, and no name is an option of a launched command."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from redistill.cli import main
from redistill.config.parsing import parse_recipe
from redistill.errors import OperatorError
from redistill.safety.paths import FOLDER_NAME, HUB_ID, REVISION, check_links, home_path, shell_word
from redistill.safety.terminal import plain

WAYS_OUT = ["../x", "..", "a/b", "/etc", ".", "", "-x", ".hidden", "a b", "a;b", "a\x00", "a\n", "é", "x" * 101]


@pytest.mark.parametrize("name", WAYS_OUT)
def test_no_name_that_becomes_a_folder_leads_elsewhere(name):
    assert not FOLDER_NAME.fullmatch(name)
    good = {
        "name": "x",
        "student": {"model": "a/b"},
        "corpus": {"sources": ["traces"]},
        "train": {"sft": {"objective": "sft", "learning_rate": 1.0}},
    }
    parse_recipe(good, "here")
    for wrong in (
        {**good, "name": name},
        {**good, "train": {name: good["train"]["sft"]}},
        {**good, "evaluate": {"benchmarks": [{"name": name, "file": "x.jsonl"}]}},
        {**good, "student": {"model": "a/b", "revision": f"main/../{name}"}},
    ):
        with pytest.raises(OperatorError):
            parse_recipe(wrong, "here")


def test_the_name_of_an_evaluated_student_is_no_path(tmp_path, capsys):
    (tmp_path / "b.jsonl").write_text('{"problem": "1+1", "answer": "2"}\n')
    with pytest.raises(SystemExit) as end:
        main(["evaluate", "a/b", "--benchmark", f"file:{tmp_path / 'b.jsonl'}", "--as", "../../out", "--name", "n",
              "--runs-dir", str(tmp_path / "runs"), "--engine", "openai", "--base-url", "http://127.0.0.1:9/v1"])  # fmt: skip
    assert end.value.code == 2 and "--as '../../out'" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("model", ["--help/x", "-m/x", "a/-x", "a b/c", "a/b;c", "a/b c", "a/$(id)", "../b", "a/b/c"])
def test_no_name_of_a_model_is_an_option_or_a_word_more(model, capsys):
    assert not HUB_ID.fullmatch(model)
    for host in ("127.0.0.1", "--trust-remote-code", "a b"):
        with pytest.raises(SystemExit) as end:
            main(["serve", "--print", f"--host={host}", "--", model])
        assert end.value.code == 2
    assert "serve" in capsys.readouterr().err


@pytest.mark.parametrize("revision", ["main", "v1.0", "refs/pr/1", "0123abc", "release-2"])
def test_branches_tags_and_commits_are_revisions(revision):
    assert REVISION.fullmatch(revision) and not REVISION.fullmatch(f"../{revision}")


def test_a_link_out_of_a_runs_folder_is_refused_and_one_within_it_is_not(tmp_path, capsys):
    run, secret = tmp_path / "run", tmp_path / "secret"
    (run / "evaluate" / "redi" / "dev").mkdir(parents=True)
    secret.mkdir()
    (secret / "scores.json").write_text(json.dumps({"key": "of somebody else"}))
    (run / "recipe.yaml").write_text("name: x\n")
    (run / "latest").symlink_to(run / "evaluate")
    check_links(run)
    link = run / "evaluate" / "redi" / "dev" / "scores.json"
    link.symlink_to(secret / "scores.json")
    for verb in (["scores", run], ["report", run], ["why", "t1", run], ["compare", run, run], ["regrade", run, "--verifier", "exact"]):  # fmt: skip
        with pytest.raises(SystemExit) as end:
            main([str(word) for word in verb])
        assert end.value.code == 2 and "outside the run's folder" in capsys.readouterr().err, verb
    (tmp_path / "alias").symlink_to(run)
    link.unlink()
    check_links(tmp_path / "alias")  # the folder itself may be reached by a link


@pytest.mark.parametrize(
    "name", ["a.yaml", "a b.yaml", "-x.yaml", "it's $HOME `id` \"\\", "new\nline\t'\\\x07", "é\u2028", "bad\udcff"]
)
def test_a_path_is_one_word_of_a_printed_command(name):
    shown = shell_word(name)
    assert "\n" not in shown and plain(shown) == shown
    words = subprocess.run(["bash", "-c", f"printf '%s\\0' {shown}"], capture_output=True, check=True).stdout
    assert os.fsdecode(words) in (f"{name}\0", f"./{name}\0")


def test_a_file_that_begins_like_a_home_keeps_its_name(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ann")
    assert home_path("~/x.jsonl") == Path("/home/ann/x.jsonl")
    assert home_path("~nobody-of-that-name.jsonl") == Path("~nobody-of-that-name.jsonl")
