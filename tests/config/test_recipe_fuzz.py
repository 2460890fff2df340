"""Any YAML is a recipe that can be planned or sentences of mistakes, never a traceback; and `validate` and `run` agree."""

import copy
import os

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fuzzing import drawn
from redistill.config.parsing import load_recipe
from redistill.errors import OperatorError
from redistill.pipeline.plan import make_plan
from redistill.tools.validate import mistakes

GOOD = {
    "name": "small",
    "seed": 0,
    "student": {
        "from_config": {"hidden_size": 16, "num_attention_heads": 2, "max_position_embeddings": 64},
        "alphabet": "0123456789+-*=;#",
        "config_edits": {"rope_theta": 20000.0},
    },
    "prompt": {"template": "bare", "chat": False},
    "corpus": {"sources": [{"name": "two-habits", "problems": 10, "digits": 3}], "dev_fraction": 0.2},
    "verify": {"verifiers": ["cascade"], "labels": [], "policy": "cascade"},
    "select": {"examples": "first", "pairing": {"name": "certain", "max_pairs": 2}, "max_prompt_tokens": 30},
    "train": {
        "sft": {"objective": {"name": "sft", "aggregation": "sequence"}, "learning_rate": 1e-3, "steps": 2},
        "dpo": {
            "objective": {"name": "dpo", "beta": 0.2},
            "start": "sft",
            "reference": "sft",
            "learning_rate": 1e-4,
            "max_tokens": 60,
            "modifiers": [{"name": "nll-anchor", "alpha": 0.5}],
            "guard": {"probe_every": 5},
        },
    },
    "evaluate": {"benchmarks": ["dev"], "n": 2, "models": ["sft", "dpo"], "engine": {"name": "transformers"}},
    "report": {"title": "small"},
}
WORDS = ["", "sft", "base", "all", "traces", "no/such", "1e-6", "{problem}", "x" * 300, "é\u202e\x1b", "../..", "null"]
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, 1, -1, 10**30, 0.0, -0.5, 1e308, float("nan"), float("inf")]),
    st.sampled_from(WORDS),
    st.just([]),
    st.just({}),
    st.just([None]),
    st.just({"name": "sft"}),
    st.just({"name": 3, "options": 4}),
    st.just([["a"], {"b": []}]),
    st.just({1: 2}),
)


def places(tree, here=()):
    """Every place of a recipe: ("train", "sft", "steps"), ("corpus", "sources", 0), ..."""
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield (*here, key)
        if isinstance(value, dict | list):
            yield from places(value, (*here, key))


@st.composite
def changed(draw):
    """The good recipe with one to three of its places replaced, removed or given a key that is not known."""
    tree = copy.deepcopy(GOOD)
    for _ in range(draw(st.integers(1, 3))):
        *parents, last = draw(st.sampled_from(sorted(places(tree), key=str)))
        inner = tree
        for part in parents:
            inner = inner[part]
        kind = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
        if kind == "remove":
            del inner[last]
        elif kind == "add" and isinstance(inner, dict):
            inner[draw(st.sampled_from([*WORDS, 7, None]))] = copy.deepcopy(draw(VALUES))
        else:
            inner[last] = copy.deepcopy(draw(VALUES))
    return yaml.safe_dump(tree, allow_unicode=True, sort_keys=False)


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder to work in, with nothing in it that a changed path could find."""
    folder, before = tmp_path_factory.mktemp("fuzz"), os.getcwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


def looked_at(text, here):
    """(what validate says, what run says before it works: None where it would begin)."""
    path = here / "my.yaml"
    path.write_text(text, "utf-8", "surrogatepass")
    said = mistakes(path)
    assert all(isinstance(s, str) and s.strip() for s in said)
    try:
        make_plan(load_recipe(path))
    except OperatorError as error:
        return said, str(error)
    return said, None


SLOWLY = drawn(60)


@SLOWLY
@given(changed())
def test_a_recipe_with_anything_in_it_is_planned_or_refused_in_sentences(here, text):
    said, refused = looked_at(text, here)
    if "no/such" not in text:  # a hub id, which validate leaves to run
        assert bool(said) == (refused is not None), (said, refused)


@SLOWLY
@given(st.one_of(st.text(max_size=60), st.recursive(VALUES, lambda v: st.lists(v) | st.dictionaries(st.sampled_from([*GOOD, "x"]), v)).map(yaml.safe_dump)))  # fmt: skip
def test_a_text_that_is_no_recipe_is_refused_in_sentences(here, text):
    said, refused = looked_at(text, here)
    assert said and refused


def test_the_recipe_that_is_changed_is_a_good_one(here):
    assert looked_at(yaml.safe_dump(GOOD, sort_keys=False), here) == ([], None)
