"""A user's plug-in that returns the wrong thing, or fails, is one sentence, whatever kind of plug-in it is."""

import inspect
import pickle
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import pytest

from redistill.config.binding import bind, function_of
from redistill.config.own_plugin import OwnPlugin, fits, in_words, returned_by
from redistill.config.tables import Plugin
from redistill.config.user_plugins import load_code
from redistill.datafree.networks import NETWORKS
from redistill.errors import OperatorError
from redistill.pipeline.extra_stages import FOLDER_STAGES, GROUP_STAGES
from redistill.pipeline.resolve import PLUGINS
from redistill.records import Group, Outcome, Trace, Verdict, make_problem, make_trace
from redistill.retrieval.retrievers import RETRIEVERS
from redistill.verify import VERIFIERS

KINDS = {
    **{place: table for place, table in PLUGINS.items() if place != "stages"},
    "stages": GROUP_STAGES,
    "networks": NETWORKS,
    "retrievers": RETRIEVERS,
}


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])

    def load(name: str, text: str) -> None:
        (tmp_path / f"{name}.py").write_text(text)
        load_code(tmp_path / f"{name}.py")

    return load


def positional(function: Any) -> list[str]:
    return [p.name for p in inspect.signature(function).parameters.values() if p.kind is not p.KEYWORD_ONLY]


@pytest.mark.parametrize("place", KINDS)
def test_a_bool_from_any_kind_of_plug_in_is_a_sentence(place: str, load: Callable[[str, str], None]) -> None:
    table = KINDS[place]
    names = positional(next(iter(table.values())))
    module = "bool_" + "".join(letter for letter in place if letter.isalnum())
    load(module, f"def wrong({', '.join(names)}):\n    return True\n")
    function = bind(table, Plugin(name=f"{module}:wrong"), "here")
    with pytest.raises(OperatorError) as said:
        for _ in function(*[None] * len(names)):
            pass
    words = str(said.value)
    (wanted,) = {in_words(hint) for hint in returned_by(table)} if len(returned_by(table)) == 1 else {"Tensor"}
    assert words.startswith(f"{module}:wrong returned True (bool)") and "\n" not in words
    assert "it should return " in words and wanted in words


def test_what_a_source_yields_is_looked_at_row_by_row(load: Callable[[str, str], None]) -> None:
    load(
        "own_source",
        "from redistill.records import Dropped\ndef rows():\n    yield Dropped('a', 'b', 'c')\n    yield {'x': 1}\n",
    )
    found = bind(PLUGINS["corpus.sources"], Plugin(name="own_source:rows"), "here")()
    assert next(found).id == "a"
    with pytest.raises(
        OperatorError, match=r"own_source:rows yielded \{'x': 1\} \(dict\); it should yield Group or Dropped"
    ):
        next(found)


def test_a_list_with_one_wrong_item_is_named_by_what_it_holds(load: Callable[[str, str], None]) -> None:
    load("own_pairs", "def pairs(group):\n    return [(group.traces[0], None)]\n")
    problem = make_problem("2+2?", answer="4")
    group = Group(problem, (make_trace(problem.id, "4"),))
    function = bind(PLUGINS["select.pairing"], Plugin(name="own_pairs:pairs"), "here")
    expected = rf"own_pairs:pairs returned a list of tuple for problem {problem.id}; it should return list\[tuple\[Trace, Trace\]\] or str\."
    with pytest.raises(OperatorError, match=expected):
        function(group)


FAULTY = """\
from redistill.errors import OperatorError

def verdict(problem, trace):
    return {}["no such key"]

def rows():
    yield from ()
    raise OSError("the disk is gone")

def too_deep(problem, trace):
    return too_deep(problem, trace)

def told(problem, trace):
    raise OperatorError("my own sentence.")
"""


def test_what_a_plug_in_raises_is_a_sentence_with_its_line(load: Callable[[str, str], None]) -> None:
    load("own_faults", FAULTY)
    problem = make_problem("2+2?", answer="4")
    trace = make_trace(problem.id, "4")
    line = r"KeyError: 'no such key' \(line 4 of own_faults.py\); correct it"
    with pytest.raises(OperatorError, match=rf"own_faults:verdict failed on trace {trace.id}: {line}"):
        function_of(VERIFIERS, "own_faults:verdict", "here")(problem, trace)
    with pytest.raises(
        OperatorError, match=r"own_faults:rows failed: OSError: the disk is gone \(line 8 of own_faults.py\)"
    ):
        list(function_of(PLUGINS["corpus.sources"], "own_faults:rows", "here")())
    with pytest.raises(RecursionError):  # the worker makes it a verdict `timeout`
        function_of(VERIFIERS, "own_faults:too_deep", "here")(problem, trace)
    with pytest.raises(OperatorError, match=r"^my own sentence\.$"):
        function_of(VERIFIERS, "own_faults:told", "here")(problem, trace)


def test_it_looks_like_the_function_and_travels_to_other_processes(load: Callable[[str, str], None]) -> None:
    load(
        "own_good",
        "from redistill.records import Outcome, Verdict\ndef good(problem, trace, *, a: int = 1):\n    return Verdict(Outcome.correct, 'x')\n",
    )
    function = function_of(VERIFIERS, "own_good:good", "here")
    assert isinstance(function, OwnPlugin)
    assert (function.__name__, function.__module__, function.__kwdefaults__) == ("good", "own_good", {"a": 1})
    assert str(inspect.signature(function)) == "(problem, trace, *, a: int = 1)"
    again = pickle.loads(pickle.dumps(function))
    assert again(None, None).outcome is Outcome.correct and again.expected == [Verdict]


@pytest.mark.parametrize(
    ("value", "hint", "good"),
    [
        (1.5, float, True), (1, float, True), (np.float32(1.5), float, True), (True, float, False), ("1", float, False),
        (3, int, True), (3.0, int, False), (True, int, False), (True, bool, True), (None, float | None, True),
        ("a", str | None, True), (0, str | None, False), ("a", Annotated[str, "x"], True), ("a", Literal["b"], False),
        ([1, 2], list[int], True), ([1, "2"], list[int], False), ((1, 2), list[int], False), ((1, 2), Sequence[int], True),
        ((1, "a"), tuple[int, str], True), ((1,), tuple[int, str], False), ((1, 2, 3), tuple[int, ...], True),
        ({"a": 1}, dict[str, int], True), ({"a": "b"}, Mapping[str, int], False), (len, Callable[[Any], int], True),
        (iter([1]), Iterator[int], True), ([1], Iterator[int], False), (object(), Any, True), ([[1.0]], list[list[float]], True),
        ([], list[Trace], True),
    ],
)  # fmt: skip
def test_what_fits_an_annotation(value: Any, hint: Any, good: bool) -> None:
    assert fits(value, hint) is good


def test_a_stage_on_the_run_folder_may_return_anything(load: Callable[[str, str], None]) -> None:
    load("own_stage", "def after(run, output):\n    return True\n")
    assert bind(FOLDER_STAGES, Plugin(name="own_stage:after"), "here")(None, None) is True
