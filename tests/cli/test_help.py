"""Help at 80 columns: no broken word, no cut list, no line beyond the terminal, an example of every command; and a slip is named."""

import inspect
import re

import pytest

from redistill.cli import COMMANDS, main
from redistill.cli.generate import docstring

WORD = re.compile(r"[\w./{}:'-]+")


def help_of(words, capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    main([*words, "--help"])
    return capsys.readouterr().out


def words_of(text):
    return set(WORD.findall(text))


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_no_line_is_wider_than_the_terminal_and_every_word_is_whole(name, capsys, monkeypatch, columns):
    said = help_of(name.split(), capsys, monkeypatch, columns)
    assert [line for line in said.splitlines() if len(line) > columns or line.endswith(" ")] == []
    assert "\n\n\n" not in said and said.startswith(f"Usage: redistill {name}".rstrip())
    if name:
        function = COMMANDS[name].function
        text = docstring(function)
        meanings = re.findall(r"^ {0,4}\w+: (.*)$", text.get("Args", ""), re.MULTILINE)
        assert words_of(f"{text['']} {text['Examples']} {' '.join(meanings)}") <= words_of(said)
        assert f"\nexamples:\n  redistill {name.split()[0]}" in said
        assert len(meanings) == len(text.get("Args", "").splitlines()) and set(text) <= {
            "",
            "Args",
            "Returns",
            "Examples",
        }


def test_every_argument_and_option_has_a_meaning(capsys, monkeypatch):
    for name in COMMANDS:
        said = help_of(name.split(), capsys, monkeypatch, 200)
        rows = [line for line in said.splitlines() if re.match(r"  (--|[A-Z_]+\b)", line)]
        assert rows and [row for row in rows if len(row) <= 30 or not row[26:].strip(" ()")] == [], name


def test_the_list_of_commands_is_whole_and_ends_its_sentences(capsys, monkeypatch):
    said = " ".join(help_of([], capsys, monkeypatch, 80).split())
    for name, command in COMMANDS.items():
        sentence = docstring(command.function)[""].split("\n\n")[0]
        assert sentence.endswith(".")
        assert " " in name or f"{name} {sentence}" in said
    places = [
        said.index(f" {name} {docstring(COMMANDS[name].function)[''][:12]}") for name in ("run", "show", "report")
    ]
    assert places == sorted(places)  # in the order of COMMANDS, not of the alphabet


def test_choices_and_defaults_stand_in_the_help(capsys, monkeypatch):
    said = " ".join(help_of(["export"], capsys, monkeypatch, 80).split())
    assert "(trl, verl, prime-rl, tinker, am, hub, gguf, lm-eval, lighteval, vllm) [required]" in said
    assert "(ours, engine) (default: ours)" in said
    said = help_of(["verify"], capsys, monkeypatch, 80)
    assert "(default: 5.0)" in said and said.count("default: cascade") == 1 and "cascade'," not in said


def test_help_names_the_type_of_what_an_option_takes(capsys, monkeypatch):
    said = help_of(["compare"], capsys, monkeypatch, 80)
    assert "--student A:B" in said  # no emoji for what stands between colons


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rnu", "quickstart"], 'Unknown command "rnu". Did you mean "run"?'),
        (["evalute"], 'Did you mean "evaluate"?'),
        (["xyzzy"], 'Unknown command "xyzzy". `redistill --help` lists the commands.'),
        (["run", "quickstart", "--untill", "select"], "Unknown option: --untill. Did you mean --until?"),
        (["evaluate", "m", "--benchmrk", "dev"], "--benchmark"),
        (["export", "runs/x", "-o", "y", "--to", "prime-lr"], 'Did you mean "prime-rl"?'),
        (["run", "quickstart", "--log-level", "errr"], 'Did you mean "error"?'),
        (["run"], "`redistill run` needs RECIPE; `redistill run --help` says more."),
        (
            ["run", "quickstart", "--set"],
            "`redistill run` needs a value after --set; `redistill run --help` says more.",
        ),
        (
            ["run", "quickstart", "twice"],
            "unexpected argument of `redistill run`: twice; `redistill run --help` lists its arguments.",
        ),
        (["show", "x.jsonl", "first"], 'Invalid value for NUMBER: unable to convert "first" into int.'),
        (
            ["lr-find", "quickstart", "--stage", "redi", "--rates", "1e-4,x"],
            "not numbers parted by commas, such as 1e-4,3e-4",
        ),
    ],
)
def test_a_slip_is_one_sentence_with_the_nearest_word(words, said, capsys):
    with pytest.raises(SystemExit) as left:
        main(words)
    err = capsys.readouterr().err
    assert left.value.code == 2 and said in err and err.startswith("redistill: ") and len(err.splitlines()) == 1


def test_the_examples_in_the_docstrings_parse():
    """Each is a command line that the parser takes whole; what a shell would do with it (globs, >) is left out."""
    import shlex

    from redistill.cli.generate import make_app

    app, tried = make_app(COMMANDS, ""), 0
    for command in COMMANDS.values():
        text = docstring(command.function)["Examples"].replace("\\\n", " ")
        for line in text.splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["redistill"]:
                words = words[1 : words.index(">")] if ">" in words else words[1:]
                _, bound, ignored = app.parse_args(words, print_error=False, exit_on_error=False)
                assert isinstance(bound, inspect.BoundArguments) and not ignored, line
                tried += 1
    assert tried > 50
