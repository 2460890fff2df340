"""Where an export goes: nothing of the user's is removed, nothing half-written is left, two at once do not harm each other."""

import pytest

from redistill.cli import main
from redistill.errors import OperatorError
from redistill.tools import export as exports


@pytest.fixture
def write(monkeypatch):
    """What `export --to am` does between its beginning and its end; a test replaces it."""
    steps = []

    def am(run, folder):
        (folder / "am.jsonl").write_text("rows")
        for step in steps:
            step(folder)

    monkeypatch.setitem(exports.CORPORA, "am", am)
    return steps.append


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_of_the_user_that_looks_unfinished_is_left_alone(write, tmp_path):
    (tmp_path / "x.part").mkdir()
    (tmp_path / "x.part" / "mine").write_text("mine")
    assert names(exports.export(tmp_path / "run", to="am", out=tmp_path / "x")) == ["am.jsonl"]
    assert names(tmp_path) == ["x", "x.part"] and (tmp_path / "x.part" / "mine").read_text() == "mine"


def test_an_export_that_is_stopped_leaves_nothing(write, tmp_path):
    def stop(_):
        raise KeyboardInterrupt

    write(stop)
    with pytest.raises(KeyboardInterrupt):
        exports.export(tmp_path / "run", to="am", out=tmp_path / "x")
    assert names(tmp_path) == []


def test_of_two_exports_to_one_place_the_first_to_end_stays_whole(write, tmp_path):
    begun = []

    def another(_):
        if not begun:  # a second process begins and ends while the first one writes
            begun.append(True)
            exports.export(tmp_path / "run", to="am", out=tmp_path / "x")
            (tmp_path / "x" / "am.jsonl").write_text("the second's")

    write(another)
    with pytest.raises(OperatorError, match="x already exists; name another folder"):
        exports.export(tmp_path / "run", to="am", out=tmp_path / "x")
    assert names(tmp_path) == ["x"] and (tmp_path / "x" / "am.jsonl").read_text() == "the second's"


@pytest.mark.parametrize("out", ["file/x", "loop/x", "/proc/x"])
def test_a_place_that_cannot_be_made_is_a_sentence(out, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "t.jsonl").write_text('{"problem": "1+1", "answer": "2", "generations": [{"text": "2"}]}\n')
    for command in (
        ["export", "run", "--to", "am", "-o", out],
        ["score", "t.jsonl", "--with", "corpus-ngram", "--out", f"{out}.jsonl"],
    ):
        with pytest.raises(SystemExit) as end:
            main(command)
        said = capsys.readouterr().err.splitlines()[-1]
        assert end.value.code == 2 and said.startswith("redistill: ") and "cannot make the folder" in said
    assert names(tmp_path) == ["file", "loop", "t.jsonl"] and (tmp_path / "file").read_text() == "mine"
