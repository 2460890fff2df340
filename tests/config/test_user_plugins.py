"""A person's own file as plug-ins: only a file that was named is imported, and its functions must fit."""

import pytest

from redistill.config.binding import bind
from redistill.config.tables import Plugin
from redistill.config.user_plugins import code_files, code_identity, find_own, load_code
from redistill.errors import OperatorError
from redistill.verify import VERIFIERS

GOOD = """\
from redistill.records import Outcome, Verdict

def shout(problem, trace, *, loud: bool = False):
    right = trace.completion.isupper() or not loud
    return Verdict(Outcome.correct if right else Outcome.incorrect, trace.completion, "shouted")

def three(problem, trace, more):
    return None
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.path", [*__import__("sys").path])

    def write(name, text):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_a_function_of_a_named_file_is_bound_with_its_options_checked(write):
    path = write("own_a.py", GOOD)
    assert load_code(path) == "own_a"
    bound = bind(VERIFIERS, Plugin(name="own_a:shout", options={"loud": "true"}), "here")
    assert bound.keywords == {"loud": True} and bound.func.__module__ == "own_a"
    with pytest.raises(OperatorError, match="loude: unknown key; did you mean 'loud'"):
        bind(VERIFIERS, Plugin(name="own_a:shout", options={"loude": True}), "here")


def test_what_was_not_named_is_never_imported(write, tmp_path):
    marker = tmp_path / "ran"
    write("own_b.py", f"open({str(marker)!r}, 'w')\ndef f(problem, trace): ...\n")
    with pytest.raises(OperatorError, match=r"pass its file: --code own_b\.py"):
        bind(VERIFIERS, Plugin(name="own_b:f"), "verify.verifiers.0")
    for name in ("os:system", "builtins:eval"):
        with pytest.raises(OperatorError, match="a recipe cannot load by itself"):
            find_own(name, VERIFIERS, "here")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("own_c.txt", "", "there is no such file; name a Python file"),
        ("own-c.py", "", "there is no such file; name a Python file"),
        ("json.py", "", "there is another module called json"),
        ("own_d.py", "x = 1\ny = 1 / 0\n", r"ZeroDivisionError: division by zero \(line 2\)"),
        ("own_e.py", "def f(:\n", r"SyntaxError.*\(line 1\)"),
    ],
)
def test_a_file_that_cannot_be_used_is_a_sentence(name, text, words, write):
    with pytest.raises(OperatorError, match=words) as said:
        load_code(write(name, text))
    assert "\n" not in str(said.value)


def test_a_function_that_is_not_there_or_does_not_fit_is_a_sentence(write):
    load_code(write("own_f.py", GOOD))
    with pytest.raises(OperatorError, match="no function 'shou'; did you mean 'shout'"):
        find_own("own_f:shou", VERIFIERS, "here")
    with pytest.raises(OperatorError, match=r"takes \(problem, trace, more\); it should take \(problem, trace\)"):
        find_own("own_f:three", VERIFIERS, "here")


def test_a_path_instead_of_a_files_name_is_said_as_it_should_be_written(write):
    load_code(write("own_n.py", GOOD))
    for name in ("own_n.py:shout", "folder/own_n.py:shout", "./own_n:shout"):
        with pytest.raises(OperatorError, match=r"^here: .*: own_n:shout, with --code own_n\.py\.$"):
            bind(VERIFIERS, Plugin(name=name), "here")


def test_a_bare_name_of_an_own_function_is_said_with_its_file(write):
    load_code(write("own_m.py", GOOD.replace("shout", "whisper_m")))
    with pytest.raises(OperatorError, match=r"there is no 'whisper_m'; the function .* is written own_m:whisper_m$"):
        bind(VERIFIERS, Plugin(name="whisper_m"), "here")


def test_a_changed_file_is_another_identity_and_is_read_again(write):
    load_code(write("own_g.py", "def f(problem, trace): return 1\n"))
    before = code_identity(["own_g:f", "cascade"])
    load_code(write("own_g.py", "def f(problem, trace): return 22\n"))
    assert find_own("own_g:f", VERIFIERS, "here")(None, None) == 22
    assert len(before) == 1 and before != code_identity(["own_g:f"]) and code_identity(["cascade"]) == []
    assert [path.rpartition("/")[2] for path in code_files(["own_g:f"])] == ["own_g.py"]
