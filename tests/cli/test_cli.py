"""The command line: light to start, its mistakes one sentence, its text harmless to a terminal of any kind."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import redistill
from redistill import __version__
from redistill.cli import main

SOURCE = Path(redistill.__file__).parents[1]
HEAVY = {"torch", "transformers", "datasets", "pydantic", "pyarrow", "numpy", "yaml"}


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["evaluate", "--help"]])
def test_help_answers_at_once_without_heavy_imports(words):
    code = f"import sys\nfrom redistill.cli import main\nmain({words!r})\nprint({HEAVY!r} & set(sys.modules))"
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(SOURCE)}, capture_output=True, text=True
    )
    assert done.stdout.endswith("set()\n") and done.stdout.startswith("Usage: redistill"), done.stderr
    assert time.perf_counter() - started < 60  # the machine may be busy; the imports above are what counts


def test_version_and_what_is_no_command_line(capsys):
    main(["--version"])
    assert capsys.readouterr().out == f"redistill {__version__}\n"
    for arguments in ([], ["rum"], ["run"], ["run", "x.yaml", "--executor", "lunch"], ["run", "x.yaml", "y.yaml"]):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        out, err = capsys.readouterr()
        assert end.value.code == 2 and out == ""
        assert err.startswith("redistill: ") and len(err.splitlines()) == 1


def test_an_error_goes_to_stderr_with_its_control_characters_as_signs(capsys, tmp_path):
    for words in (["run", str(tmp_path / "\x1b[31m.yaml")], ["\x1b[31m"], ["run", "x", "--\x1b[31m"]):
        with pytest.raises(SystemExit) as end:
            main(words)
        out, err = capsys.readouterr()
        assert end.value.code == 2 and out == "" and "\\x1b[31m" in err and "\x1b" not in err


def test_text_beyond_the_terminals_alphabet_is_shown_as_signs(tmp_path):
    (tmp_path / "m.jsonl").write_text('{"a": "\\u00e9 \\ud83d\\ude42 \\ud800"}\n')
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "redistill", "show", str(tmp_path / "m.jsonl")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "a: \\xe9 \\U0001f642 \\ud800\n")


def test_a_negative_number_is_a_value(capsys, tmp_path):
    (tmp_path / "m.jsonl").write_text('{"a": 1}\n{"a": 2}\n{"a": 3}\n')
    main(["show", str(tmp_path / "m.jsonl"), "-1"])
    assert capsys.readouterr().out == "a: 3\n"


def test_two_flags_that_exclude_each_other_are_a_sentence(capsys):
    with pytest.raises(SystemExit) as end:
        main(["run", "quickstart", "--keep", "--remake"])
    assert end.value.code == 2 and "--keep and --remake exclude each other" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_installed_for_a_shell_and_knows_commands_options_and_choices(shell, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "HOME": str(tmp_path)}
    command = [sys.executable, "-m", "redistill", "--install-completion", "--shell", shell, "-o", str(tmp_path / "c")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    script = (tmp_path / "c").read_text("utf-8")
    for word in ("lr-find", "install-completion", "until-right", "benchmark", "prime-rl", "log-level", "schema"):
        assert word in script, word


def test_bash_takes_the_completion(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "HOME": str(tmp_path)}
    command = [sys.executable, "-m", "redistill", "--install-completion", "--shell", "bash", "-o", str(tmp_path / "c")]
    assert subprocess.run(command, env=environment, capture_output=True).returncode == 0
    ask = (
        f"source {tmp_path / 'c'}; COMP_WORDS=(redistill export runs/x --to pr); COMP_CWORD=4; COMP_LINE='redistill export runs/x "
        "--to pr'; COMP_POINT=${#COMP_LINE}; eval \"$(complete -p redistill | sed -E 's/.*-F ([^ ]+).*/\\1 redistill pr --to/')\"; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "--norc", "-c", ask], env=environment, capture_output=True, text=True)
    assert "prime-rl" in done.stdout.split(), done.stdout + done.stderr
