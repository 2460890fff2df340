"""A command is declared once, in redistill.api: what the command line knows of it is what the function says."""

import inspect
import itertools
import re
import shlex
from pathlib import Path
from typing import get_args

import pytest

from redistill import api
from redistill.api.parameters import Flags, two_names
from redistill.cli import COMMANDS, main
from redistill.cli.generate import Command, cli_parameters, docstring, make_app

ROOT = Path(__file__).parents[2]
FROM_PYTHON_ONLY = {"reward", "reward_function"}  # `redistill serve --rewards` is for everybody else
OF_EVERY_COMMAND = {"json", "log_level"}


def flags_of(hint):
    return next((one.help for one in getattr(hint, "__metadata__", ()) if isinstance(one, Flags)), None)


def test_every_public_function_is_a_command_and_the_reverse():
    functions = {name for name in dir(api) if inspect.isfunction(getattr(api, name))}
    assert functions == set(api.__all__)
    assert {command.function.__name__ for command in COMMANDS.values()} == functions - FROM_PYTHON_ONLY
    assert all(command.function is getattr(api, command.function.__name__) for command in COMMANDS.values())
    renamed = {name for name, command in COMMANDS.items() if name.replace("-", "_") != command.function.__name__}
    assert renamed == {"validate --schema"}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_the_parameters_and_defaults_of_its_function_and_no_others(name):
    command = COMMANDS[name]
    expected = {}
    for parameter in inspect.signature(command.function).parameters.values():
        if flags := flags_of(parameter.annotation):
            assert parameter.default not in flags and set(flags) < set(get_args(get_args(parameter.annotation)[0]))
            expected |= dict.fromkeys(flags, False)
        else:
            expected[parameter.name] = parameter.default
    found = {parameter.name: parameter.default for parameter in cli_parameters(command)}
    printing = {p.name for p in inspect.signature(command.text).parameters.values() if p.kind is p.KEYWORD_ONLY}
    assert {key: value for key, value in found.items() if key not in OF_EVERY_COMMAND | printing} == expected
    assert OF_EVERY_COMMAND - {"json"} <= set(found) and ("json" in found) == (command.data is not None)
    assert printing == ({"only_print"} if name == "serve" else set())


@pytest.mark.parametrize("name", api.__all__)
def test_a_function_has_types_and_a_docstring_that_knows_its_parameters(name):
    function = getattr(api, name)
    parameters = inspect.signature(function).parameters
    assert all(p.annotation is not p.empty for p in parameters.values()) and "return" in function.__annotations__
    assert len(docstring(function)[""].split()) >= 8
    told = [line.partition(":")[0] for line in docstring(function).get("Args", "").splitlines()]
    assert [one for one in parameters if one in told] == told, "Args: in the order of the parameters, and no others"


def test_what_the_command_line_says_arrives_at_the_function(capsys):
    calls = []

    def probe(**options):
        calls.append(options)
        return {"ok": True}

    known = {name: Command(c.function, lambda found, options: "", call=probe) for name, c in COMMANDS.items()}
    app = make_app(known, "")

    def given(*words):
        app(list(words), result_action="return_value")
        return calls.pop()

    run = given(
        "run", "r", "--set", "a=1", "--set=b=[2]", "--from", "train", "--keep", "--workers", "3", "--code", "x.py"
    )
    assert run == {
        "recipe": "r", "overrides": ["a=1", "b=[2]"], "name": None, "runs_dir": "runs", "start": "train", "until": None,
        "on_code_change": "keep", "overwrite": False, "from_run": None, "executor": None, "workers": 3, "code": ["x.py"],
    }  # fmt: skip
    assert "on_code_change" not in given("run", "r")  # the function's default
    assert given("run", "r", "--remake")["on_code_change"] == "remake"
    model = given(
        "evaluate", "m", "--benchmark", "{name: a, file: b}", "--benchmark", "c", "--no-chat", "--as", "me", "--n", "2"
    )
    assert (model["benchmarks"], model["chat"], model["student_name"], model["n"]) == (
        ["{name: a, file: b}", "c"],
        False,
        "me",
        2,
    )
    assert given("evaluate", "m", "--benchmark", "c")["chat"] is None
    assert given("compare", "a", "b", "--student", "redi:control")["students"] == ("redi", "control")
    assert given("compare", "a", "b")["students"] == (None, None)
    assert given("lr-find", "r", "--stage", "s", "--rates", "1e-4,3e-4")["rates"] == [1e-4, 3e-4]
    assert given("report", "a", "b", "--out", "c")["run"] == ["a", "b"]
    assert given("score", "f", "-o", "x", "--with", "p")["scorers"] == ["p"]
    served = given("serve", "m", "--port", "81", "--server-args", "--max-model-len", "9", "-q", "x")
    assert (served["port"], served["server_args"]) == (81, ["--max-model-len", "9", "-q", "x"])
    assert capsys.readouterr().out.strip() == ""


def test_one_name_is_both_students():
    class Token:
        value = "redi"

    assert two_names(None, [Token]) == ("redi", "redi")


def test_log_level_debug_shows_the_traceback_of_a_mistake(capsys, monkeypatch):
    levels = []
    monkeypatch.setattr("redistill.io.progress.set_level", levels.append)
    for words, told in (([], False), (["--log-level", "debug"], True)):
        with pytest.raises(SystemExit):
            main(["show", "nothing.jsonl", *words])
        assert ("Traceback" in capsys.readouterr().err) is told
    assert levels == [None, "debug"]


def test_the_commands_in_the_pages_parse():
    """Those of bash blocks, with what a shell takes away; a place such as RUN or ... is any word."""
    app, tried = make_app(COMMANDS, ""), 0
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for block in re.findall(r"^ *```bash\n(.*?)^ *```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                words = list(itertools.takewhile(lambda word: word not in (">", "|", "&&", "&", ";"), words))
                if words[:1] in (["redistill"], [".venv/bin/redistill"]) and words[1] in COMMANDS:
                    app.parse_args(words[1:], print_error=False, exit_on_error=False)
                    tried += 1
    assert tried > 40, tried
