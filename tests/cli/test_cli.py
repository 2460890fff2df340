"""The door: help that a newcomer can use at once, in a terminal of any kind."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import redistill
from redistill import __version__
from redistill.cli import VERBS, main

SOURCE = Path(redistill.__file__).parents[1]


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_every_verb_shows_an_example(verb, capsys):
    with pytest.raises(SystemExit) as end:
        main([verb, "--help"])
    text = capsys.readouterr().out
    assert end.value.code == 0 and f"\n  redistill {verb} " in text and "example" in text


def test_help_lists_every_verb_with_its_sentence(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    for verb in VERBS:
        line = next(line for line in text.splitlines() if line.startswith(f"    {verb} "))
        assert len(line.split()) > 4


def test_help_answers_at_once_without_torch():
    code = (
        "import sys\nfrom redistill.cli import main\ntry: main(['run', '--help'])\n"
        "except SystemExit: print({'torch', 'pydantic', 'pyarrow'} & set(sys.modules))"
    )
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(SOURCE)}, capture_output=True, text=True
    )
    assert done.stdout.endswith("set()\n"), done.stderr
    assert time.perf_counter() - started < 60  # the machine may be busy; the imports above are what counts


def test_version_and_a_verb_that_does_not_exist(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0 and capsys.readouterr().out == f"redistill {__version__}\n"
    for arguments in ([], ["rum"], ["run"], ["run", "x.yaml", "--until", "lunch"]):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 2


def test_an_error_goes_to_stderr_with_its_control_characters_as_signs(capsys, tmp_path):
    with pytest.raises(SystemExit) as end:
        main(["run", str(tmp_path / "\x1b[31m.yaml")])
    out, err = capsys.readouterr()
    assert end.value.code == 2 and out == "" and "\\x1b[31m" in err and "\x1b" not in err


def test_text_beyond_the_terminals_alphabet_is_shown_as_signs(tmp_path):
    (tmp_path / "m.jsonl").write_text('{"a": "\\u00e9 \\ud83d\\ude42 \\ud800"}\n')
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "redistill", "show", str(tmp_path / "m.jsonl")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "a: \\xe9 \\U0001f642 \\ud800\n")
