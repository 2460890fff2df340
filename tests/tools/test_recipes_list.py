"""`redistill recipes` lists what ships, by each recipe's own header; and `--log-level`."""

import json

import pytest

from redistill.cli import main
from redistill.config.yaml_text import SHIPPED
from redistill.io import progress
from redistill.tools.recipes import headline, shipped


def test_every_recipe_that_ships_is_listed_with_a_sentence(capsys):
    main(["recipes", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert list(found) == sorted(path.stem for path in SHIPPED.rglob("*.yaml"))
    assert all(line[0].isupper() and line.endswith(".") and len(line) > 30 for line in found.values()), found
    main(["recipes"])
    text = capsys.readouterr().out
    assert all(f"\n{name}  " in f"\n{text}" for name in found) and max(map(len, text.splitlines())) <= 120
    assert " ".join(text.split()) == " ".join(" ".join([name, line]) for name, line in shipped().items())


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("# yaml-language-server: $schema=x\n# One thing. Another.\nname: a\n", "One thing."),
        ("# After Xu et al. 2025, in\n# two lines. 1. first\n", "After Xu et al. 2025, in two lines."),
        ("# About arXiv 2505.24850 without an end\n#\n# Second paragraph.\n", "About arXiv 2505.24850 without an end"),
        ("name: a\n# too late\n", ""),
    ],
)
def test_the_first_sentence_of_a_header(text, line):
    assert headline(text) == line


@pytest.fixture
def level_afterwards(monkeypatch):
    for name in ("TRANSFORMERS_VERBOSITY", "HF_HUB_VERBOSITY"):
        monkeypatch.setenv(name, "warning")
    yield
    progress.set_level(None)


def test_the_log_level_decides_what_stderr_holds(level_afterwards, capsys, tmp_path):
    refused = ["show", str(tmp_path / "gone.parquet")]
    heard = {}
    for words in ([], ["--log-level", "error"], ["--log-level", "debug"]):
        with pytest.raises(SystemExit) as end:
            main([*refused, *words])
        assert end.value.code == 2
        progress.say("a line of progress")
        heard[words[-1] if words else ""] = capsys.readouterr().err
    assert "a line of progress" in heard[""] and "Traceback" not in heard[""]
    assert "a line of progress" not in heard["error"] and heard["error"].startswith("redistill: ")
    assert "Traceback" in heard["debug"] and heard["debug"].rstrip().endswith("a line of progress")
