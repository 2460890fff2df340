"""Names and links do not lead out of a run's folder, and no name is an option of a launched command."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from redistill.cli import main
from redistill.config.parsing import parse_recipe
from redistill.config.tables import StudentSettings
from redistill.errors import OperatorError
from redistill.evaluate.benchmarks import read_rows
from redistill.model.loading import load_tokenizer
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
        assert end.value.code == 2 and "outside the run folder" in capsys.readouterr().err, verb
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


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 1\n"


def told(capsys, *words):
    """The last line on stderr of a command that is refused."""
    with pytest.raises(SystemExit) as end:
        main([*words])
    assert end.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("name", ["x.jsonl", "x.parquet", "x.csv", "x.jsonl.gz", "x.zip"])
def test_a_pointer_or_a_pipe_in_the_place_of_data_is_a_sentence_and_nothing_waits_for_it(name, tmp_path, capsys):
    place = tmp_path / name
    commands = (["init", "--traces", str(place), "--model", "m"], ["audit", str(place)])
    place.write_bytes(LFS)
    for command in commands:
        assert f"{place} is a Git LFS pointer and not the file itself" in told(capsys, *command), command
    place.unlink()
    os.mkfifo(place)
    for command in commands:
        assert f"{place} is a named pipe (FIFO) and no ordinary file" in told(capsys, *command), command
    with pytest.raises(OperatorError, match="is a named pipe"):
        read_rows(place)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors", "x.gguf"])
def test_a_pointer_or_a_pipe_in_a_model_is_a_sentence(name, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    (tmp_path / name).write_bytes(LFS)
    model = str(tmp_path / name if name.endswith(".gguf") else tmp_path)
    with pytest.raises(OperatorError, match=f"{name} is a Git LFS pointer"):
        load_tokenizer(StudentSettings(model=model))
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    with pytest.raises(OperatorError, match=rf"{name} is a named pipe \(FIFO\)"):
        load_tokenizer(StudentSettings(model=model))


def test_recipes_and_outputs_that_are_no_files_are_sentences(tmp_path, capsys):
    pipe = tmp_path / "p.yaml"
    os.mkfifo(pipe)
    (tmp_path / "l.yaml").write_bytes(LFS)
    (tmp_path / "rows.jsonl").write_text('{"a": "1", "b": "1"}\n')
    for command in ("run", "plan", "sweep"):
        assert f"{pipe} is a named pipe (FIFO)" in told(capsys, command, str(pipe))
        assert "l.yaml is a Git LFS pointer" in told(capsys, command, str(tmp_path / "l.yaml"))
    (tmp_path / "device.jsonl").symlink_to("/dev/null")
    for out in ("/dev/null", str(tmp_path / "device.jsonl")):  # to replace it would break the machine
        said = told(capsys, "verify", str(tmp_path / "rows.jsonl"), "--gold", "a", "--prediction", "b", "--out", out)
        assert f"{out} is a device and no ordinary file" in said
    assert (tmp_path / "device.jsonl").is_symlink() and Path("/dev/null").is_char_device()
