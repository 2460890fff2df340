"""Help at 80 columns: no broken word, no cut list, no line beyond the terminal; and a slip of the fingers is named."""

import re

import pytest

from redistill.cli import VERBS, main
from redistill.cli.help_text import first_sentence, wrapped


def help_of(words, capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    with pytest.raises(SystemExit) as left:
        main([*words, "--help"])
    assert left.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("verb", ["", *VERBS])
def test_no_line_is_wider_than_the_terminal_and_every_word_is_whole(verb, capsys, monkeypatch, columns):
    said = help_of([verb] if verb else [], capsys, monkeypatch, columns)
    assert [line for line in said.splitlines() if len(line) > columns] == []
    text = VERBS[verb].TEXT if verb else ""
    words = set(re.findall(r"[\w./{}:'-]+", text))
    assert words <= set(re.findall(r"[\w./{}:'-]+", said))


def test_the_list_of_verbs_is_whole_and_ends_its_sentences(capsys, monkeypatch):
    said = " ".join(help_of([], capsys, monkeypatch, 80).split())
    for name, verb in VERBS.items():
        sentence = first_sentence(verb.TEXT)
        assert sentence.endswith(".") and f"{name} {sentence}" in said


def test_a_long_command_goes_on_after_a_backslash_and_can_be_pasted():
    command = "  redistill score traces.jsonl --with '{name: perplexity, model: HuggingFaceTB/SmolLM2-135M}' --out scored.jsonl"
    lines = wrapped(f"examples:\n{command}", 80).splitlines()
    assert lines[0] == "examples:" and all(line.endswith(" \\") for line in lines[1:-1])
    pasted = "\n".join(lines[1:]).replace("\\\n", "")
    assert pasted.split() == command.split()


def test_what_a_command_is_for_stands_above_it_where_it_does_not_fit_beside():
    lines = wrapped(
        "  redistill run my.yaml --until select " + " " * 11 + "look at the pairs before training; " + "x " * 20, 80
    )
    assert (
        lines.splitlines()[0].startswith("  # look at the pairs")
        and lines.splitlines()[-1] == "  redistill run my.yaml --until select"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rnu", "quickstart"], "there is no command 'rnu'; did you mean 'run'?"),
        (["evalute"], "did you mean 'evaluate'?"),
        (["xyzzy"], "there is no command 'xyzzy'; the commands are run, evaluate"),
        (["run", "quickstart", "--untill", "select"], "did you mean '--until'?"),
        (["evaluate", "m", "--benchmrk", "dev"], "--benchmark"),
    ],
)
def test_a_slip_is_one_sentence_with_the_nearest_word(words, said, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["redistill", *words])
    with pytest.raises(SystemExit) as left:
        main(words)
    err = capsys.readouterr().err
    assert left.value.code == 2 and said in err and err.startswith("redistill: ") and len(err.splitlines()) == 1
