"""Recipes: every mistake is a sentence with its place, and a setting is what it looks like."""

import itertools
import json
import math
import re
from pathlib import Path
from typing import Literal

import pytest

import tiny_recipe
from redistill.config.binding import bind
from redistill.config.parsing import load_recipe, parse_recipe
from redistill.config.tables import Plugin
from redistill.config.validation_messages import did_you_mean
from redistill.config.yaml_text import read_text, read_value, recipe_path
from redistill.errors import OperatorError
from redistill.io.atomic import read_yaml
from redistill.tools.validate import mistakes

RECIPE = """\
name: small
student: {from_config: {model_type: llama, rms_norm_eps: 1e-5}, alphabet: "01"}
corpus: {sources: [two-habits, {name: traces, path: x.jsonl}]}
train:
  sft: {objective: sft, learning_rate: 2e-5}
  redi: {objective: redi, start: sft, learning_rate: 1e-6}
"""


@pytest.fixture
def recipe(tmp_path):
    def load(*overrides, text=RECIPE, name=None):
        path = tmp_path / "small.yaml"
        path.write_text(text)
        return load_recipe(path, overrides, name)

    return load


def test_a_number_may_be_written_with_an_exponent_anywhere(recipe):
    loaded = recipe("train.sft.eps=1E-9", "train.sft.weight_decay=-0e+1", "train.sft.lora={lora_dropout: 5e-2}")
    assert loaded.train["redi"].learning_rate == 1e-6
    assert loaded.train["sft"].eps == 1e-9 and loaded.train["sft"].lora == {"lora_dropout": 0.05}
    assert loaded.student.from_config["rms_norm_eps"] == 1e-5  # also where the recipe's types do not reach


def test_a_word_that_only_looks_like_a_number_stays_a_word(recipe):
    assert recipe("report.title=1e-6 is small").report.title == "1e-6 is small"
    assert recipe("report.title='1e-6'").report.title == "1e-6"


@pytest.mark.parametrize(
    "override, sentence",
    [
        ("train.redi.learning_rat=1", "train.redi.learning_rat: unknown key; did you mean 'learning_rate'?"),
        ("studnt.model=x", "studnt: unknown key; did you mean 'student'?"),
        ("evaluate.benchmarks=[{fil: x}]", "evaluate.benchmarks.0.fil: unknown key; did you mean 'file'?"),
        ("select.exmples=all", "select.exmples: unknown key; did you mean 'examples'?"),
        ("verify.zebra=1", "verify.zebra: unknown key; available: workers, timeout_seconds, memory_mb, verifiers"),
        ("train.redi.start=stf", "train.redi.start: no earlier stage is called 'stf'; did you mean 'sft'?"),
        ("train.base={objective: sft, learning_rate: 1}", "train.base: a stage's name may hold letters"),
        ("evaluate.models=[redy]", "evaluate.models: no stage is called 'redy'; did you mean 'redi'?"),
        ("evaluate.n=0", "evaluate.n: input should be greater than 0 (got '0')"),
        ("student.model=x", "student: write either `model` (a folder, hub id or .gguf) or `from_config`"),
        ("corpus.sources=[]", "corpus.sources: list should have at least 1 item"),
        ("corpus.sources=[{path: x}]", "write a name, or a table with `name` and its options"),
        ("name=a/b", "name: string should match pattern"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_what_may_be_meant(recipe, override, sentence):
    with pytest.raises(OperatorError) as error:
        recipe(override)
    assert sentence in str(error.value)


def test_a_missing_setting_is_named(recipe):
    with pytest.raises(OperatorError, match=r"small.yaml: student: this setting is required"):
        recipe(text=RECIPE.replace("student:", "report: {}\n#"))


def test_set_reaches_into_tables_lists_and_short_forms(recipe):
    loaded = recipe(
        "train.redi.objective.rejected_weight=1.0",
        "corpus.sources.0.problems=60",
        "corpus.sources.1.path=a=b.jsonl",
        "evaluate.temperature=0",
        "seed=7",
    )
    assert loaded.train["redi"].objective == Plugin(name="redi", options={"rejected_weight": 1.0})
    assert [s.options for s in loaded.corpus.sources] == [{"problems": 60}, {"path": "a=b.jsonl"}]
    assert (loaded.seed, loaded.evaluate.temperature) == (7, 0.0)


def test_an_option_of_a_plug_in_that_is_not_written_needs_its_name_too(recipe):
    assert recipe("select.pairing={name: certain, max_pairs: 2}").select.pairing.options == {"max_pairs": 2}
    with pytest.raises(OperatorError, match=r"select.pairing: write a name, or a table with `name` and its options"):
        recipe("select.pairing.max_pairs=2")


@pytest.mark.parametrize(
    "override, sentence",
    [
        ("seed", "write it as a.b=value"),
        ("=3", "write it as a.b=value"),
        ("corpus.sources.7.path=x", "corpus.sources.7 is not a table"),
        ("corpus.sources.x.path=x", "corpus.sources.x is not a table"),
        ("train.sft.learning_rate.deep=1", "is not a table in this recipe"),
        ("seed=[", "the value is not valid YAML"),
        ("seed=!!python/object:os.system x", "the value is not valid YAML"),
    ],
)
def test_an_override_that_has_no_place_is_refused(recipe, override, sentence):
    with pytest.raises(OperatorError) as error:
        recipe(override)
    assert sentence in str(error.value) and repr(override) in str(error.value)


def test_set_changes_one_stage_of_two_that_share_an_anchor(recipe):
    text = RECIPE.replace("sft: {", "sft: &s {").replace(
        "redi: {objective: redi, start: sft, learning_rate: 1e-6}", "two: *s"
    )
    loaded = recipe("train.two.learning_rate=1", text=text)
    assert (loaded.train["sft"].learning_rate, loaded.train["two"].learning_rate) == (2e-5, 1.0)


def test_name_on_the_command_line_wins(recipe):
    assert recipe(name="other").name == "other"


def test_what_is_written_for_the_run_reads_back_as_the_same_recipe(recipe):
    import yaml

    loaded = recipe("train.redi.objective.rejected_weight=1.0")
    assert (
        parse_recipe(yaml.safe_load(yaml.safe_dump(loaded.model_dump(mode="json"), sort_keys=False)), "again") == loaded
    )


# --- plug-ins ---


def member(first: str, *, count: int = 3, share: float = 0.5, kind: Literal["a", "b"] = "a", _hidden: int = 0) -> str:
    return f"{first}{count}{share}{kind}"


def needy(*, path: str) -> str:
    return path


TABLE = {"member": member, "needy": needy}


def test_options_are_checked_by_the_function_s_own_types():
    bound = bind(TABLE, Plugin(name="member", options={"count": "5", "share": "1e-3"}), "here")
    assert bound("x") == "x50.001a" and bound.keywords == {"count": 5, "share": 1e-3}


@pytest.mark.parametrize(
    "plugin, sentence",
    [
        (Plugin(name="membr"), "here: there is no 'membr'; did you mean 'member'?"),
        (Plugin(name="member", options={"cuont": 1}), "here (member): cuont: unknown key; did you mean 'count'?"),
        (Plugin(name="member", options={"_hidden": 1}), "_hidden: unknown key"),
        (Plugin(name="member", options={"kind": "c"}), "kind: input should be 'a' or 'b' (got 'c')"),
        (Plugin(name="member", options={"count": "many"}), "count: input should be a valid integer"),
        (Plugin(name="needy"), "here (needy): path: this setting is required"),
    ],
)
def test_a_plug_in_s_mistakes_are_told_like_a_recipe_s(plugin, sentence):
    with pytest.raises(OperatorError) as error:
        bind(TABLE, plugin, "here")
    assert sentence in str(error.value)


def test_without_a_near_word_the_known_ones_are_listed():
    assert did_you_mean("zebra", ["sft", "redi"]) == "; available: sft, redi"
    assert did_you_mean("zebra", []) == ""


@pytest.mark.parametrize(
    "bomb",
    [
        "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"  # billion laughs: ten to the ninth ones
        + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in itertools.pairwise("abcdefghi")),
        "a: &a {x0: 1, x1: 1}\n"  # the same by merge keys, which a YAML reader copies while it reads
        + "".join(f"{b}: &{b} {{<<: [{', '.join([f'*{a}'] * 10)}]}}\n" for a, b in itertools.pairwise("abcdefghi")),
        "a: " + "1" * 50_000,
        "a: &a [*a]",
        "a: " + "[\n" * 2_000,
        "a: " + "x" * 200_000,
        "a: !!python/object/apply:os.system [id]",
        "a: !!python/name:os.system",
        "a: \x1b[2J",
    ],
    ids=["laughs", "merges", "digits", "holds-itself", "deep", "long", "object", "name", "control"],
)
def test_a_text_that_would_grow_or_run_is_refused(bomb, tmp_path):
    with pytest.raises(OperatorError, match=r"too large|refers to itself|not valid YAML"):
        read_text(bomb, "my.yaml")
    (tmp_path / "recipe.yaml").write_text(bomb)
    with pytest.raises(OperatorError, match="cannot read"):
        read_yaml(tmp_path / "recipe.yaml")


PLAIN_WORDS = """
words: [yes, No, on, OFF, y, 1:30, 2026-11-28, 2026-02-30, 0o17, "010", ~x, 1_000 steps]
truths: [true, False, TRUE]
numbers: [010, 1_000, 0x1F, -7, 1e-6, 2.5E3, .5, 1., 1_0.5]
nothing: [~, null, Null, ]
endless: [.inf, -.INF]
"""


def test_plain_words_are_those_of_yaml_1_2():
    read = read_text(PLAIN_WORDS, "x")
    words = ["yes", "No", "on", "OFF", "y", "1:30", "2026-11-28", "2026-02-30", "0o17", "010", "~x", "1_000 steps"]
    assert read["words"] == words
    assert read["truths"] == [True, False, True]
    assert read["numbers"] == [10, 1000, 31, -7, 1e-6, 2500.0, 0.5, 1.0, 10.5]
    assert [type(number) for number in read["numbers"]] == [int] * 4 + [float] * 5
    assert read["nothing"] == [None, None, None] and read["endless"] == [math.inf, -math.inf]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"train": {"sft": {"objective": "sft", "learning_rate": 1e-3, "steps": True}}}, "train.sft.steps: write a number"),
        ({"evaluate": {"temperature": False}}, "evaluate.temperature: write a number (got 'False')"),
        ({"select": {"sample": {"by": "q", "bins": [0.5, True]}}}, "select.sample.bins: write a number"),
        ({"seed": True}, "seed: write a number"),
        ({"seed": -1}, "seed: input should be greater than or equal to 0"),
        ({"seed": 2**63}, "seed: input should be less than"),
        ({"corpus": {"sources": [{"name": "two-habits"}], "split_seed": -1}}, "corpus.split_seed: input should be greater"),
    ],
)  # fmt: skip
def test_a_truth_is_no_number_and_a_seed_is_one_that_generators_take(change, sentence):
    with pytest.raises(OperatorError) as error:
        parse_recipe({**_smallest(), **change}, "x")
    assert sentence in str(error.value)


def test_options_of_a_plug_in_refuse_a_truth_and_a_seed_too():
    def made(*, seed: int = 0, steps: int | None = None, widths: list[float] | None = None, quick: bool = False): ...

    table = {"made": made}
    assert bind(table, Plugin(name="made", options={"quick": True, "steps": 3}), "here").keywords == {
        "quick": True,
        "steps": 3,
    }
    for options in ({"seed": -1}, {"seed": 2**80}, {"steps": True}, {"widths": [1.0, False]}):
        with pytest.raises(OperatorError, match="here"):
            bind(table, Plugin(name="made", options=options), "here")


def test_what_is_not_written_follows_the_one_who_judges():
    tree = {**_smallest(), "verify": {"verifiers": [{"name": "mine:yes_no", "strict": True}]}}
    recipe = parse_recipe(tree, "x")
    assert recipe.verify.policy == "agree" and recipe.evaluate.verifier.options == {"strict": True}
    assert parse_recipe({**tree, "evaluate": {"verifier": "exact"}}, "x").evaluate.verifier.name == "exact"
    labels = parse_recipe({**_smallest(), "verify": {"verifiers": [], "labels": ["teacher_label"]}}, "x")
    assert labels.verify.policy == "teacher_label" and labels.evaluate.verifier.name == "cascade"
    both = parse_recipe({**_smallest(), "verify": {"labels": ["teacher_label"]}}, "x")
    assert both.verify.policy == "agree"


def _smallest():
    stage = {"objective": "sft", "learning_rate": 1e-3}
    sources = [{"name": "two-habits"}]
    return {"name": "x", "student": {"model": "org/m"}, "corpus": {"sources": sources}, "train": {"sft": stage}}


def test_a_recipe_that_ships_is_known_by_its_name_wherever_one_stands_and_a_file_goes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_recipe("quickstart").name == "quickstart"
    assert load_recipe("recipes/quickstart.yaml").name == "quickstart"  # as pages of before have it
    (tmp_path / "quickstart").write_text("name: mine\n")
    assert recipe_path("quickstart") == Path("quickstart")
    with pytest.raises(
        OperatorError,
        match=r"no recipe at quickstrt; name a YAML file, or one of the bundled recipes: .*quickstart, ",
    ):
        load_recipe("quickstrt")
    with pytest.raises(OperatorError, match=r"no recipe at elsewhere/quickstart\.yaml"):
        load_recipe("elsewhere/quickstart.yaml")


# --- a prompt for each use ---------------------------------------------------------------------------------------------


def uses(prompt):
    """(template, chat) of training and of evaluation."""
    return tuple((use.template, use.chat) for use in (prompt.for_training, prompt.for_evaluation))


@pytest.mark.parametrize(
    ("written", "taught", "asked"),
    [
        ({}, ("plain", False), ("plain", False)),
        ({"template": "json", "chat": True}, ("json", True), ("json", True)),
        ({"template": "json", "chat": True, "evaluate": {"template": "paper"}}, ("json", True), ("paper", True)),
        ({"chat": True, "train": {"template": "bare"}}, ("bare", True), ("plain", True)),
        ({"train": {"chat": True}, "evaluate": {"template": "json"}}, ("plain", True), ("json", False)),
        (
            {"train": {"template": "bare", "chat": True}, "evaluate": {"template": "paper", "chat": False}},
            ("bare", True),
            ("paper", False),
        ),
        ({"template": "json", "train": {"template": None}, "evaluate": {}}, ("json", False), ("json", False)),
    ],
)
def test_a_plain_prompt_is_of_both_uses_and_each_use_may_have_its_own(recipe, written, taught, asked):
    prompt = recipe(f"prompt={json.dumps(written)}").prompt
    assert uses(prompt) == (taught, asked)
    dumped = parse_recipe(recipe(f"prompt={json.dumps(written)}").model_dump(mode="json"), "again").prompt
    assert uses(dumped) == (taught, asked) and dumped.model_dump() == prompt.model_dump()


def test_one_prompt_is_written_as_one(recipe):
    assert recipe("prompt={template: json}").prompt.model_dump() == {"template": "json", "chat": False}
    split = recipe("prompt={chat: true, train: {template: bare}, evaluate: {template: paper}}").prompt
    assert split.model_dump() == {"chat": True, "train": {"template": "bare"}, "evaluate": {"template": "paper"}}
    assert split.model_dump(exclude_defaults=True) == split.model_dump()


def test_a_plain_setting_that_nobody_reads_is_refused(recipe):
    both = "prompt={train: {template: bare}, evaluate: {template: paper}}"
    with pytest.raises(OperatorError, match=r"prompt: `template` has no effect, .*; change prompt\.train\.template or"):
        recipe(both, "prompt.template=plain")
    assert uses(recipe(both, "prompt.chat=true").prompt) == (("bare", True), ("paper", True))
    with pytest.raises(OperatorError, match=r"prompt\.train\.tempalte: unknown key; did you mean 'template'"):
        recipe("prompt.train.tempalte=bare")


def test_the_place_of_a_prompts_setting_is_where_it_is_written(recipe):
    prompt = recipe("prompt={chat: true, train: {template: bare}}").prompt
    places = [prompt.place(use, key) for use in ("train", "evaluate") for key in ("template", "chat")]
    assert places == ["prompt.train.template", "prompt.chat", "prompt.template", "prompt.chat"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed: 1\nseed: 2\n", "`seed` is written twice in one table, on lines 1 and 2; keep one of them"),
        ("train:\n  redi: {objective: redi}\n  redi: {objective: sft}\n", "`redi` is written twice in one table, on lines 2 and 3"),
        ("student: {model: a, model: b}\n", "`model` is written twice"),
        ("a: [{x: 1, 'x': 2}]\n", "`x` is written twice"),
    ],
)  # fmt: skip
def test_a_key_that_is_written_twice_is_refused_with_both_lines(text, said):
    with pytest.raises(OperatorError, match=re.escape(said)):
        read_value(text, "my.yaml")


def test_merged_tables_and_like_keys_of_different_tables_are_no_repetition():
    text = "base: &b {x: 1, y: 2}\nother: &c {z: 3}\nboth: {<<: [*b, *c], x: 4}\nagain: {x: 1, X: 2}\n"
    assert read_value(text, "my.yaml")["both"] == {"x": 4, "y": 2, "z": 3}


@pytest.mark.parametrize("value", [".inf", "-.inf", ".nan"])
@pytest.mark.parametrize(
    "place", ["train.redi.learning_rate", "train.redi.objective.rejected_weight", "evaluate.temperature"]
)
def test_a_number_that_is_not_finite_is_refused(place, value):
    assert any("finite number" in one or "greater than" in one for one in mistakes("quickstart", [f"{place}={value}"]))


@pytest.mark.parametrize(
    ("select", "said"),
    [
        ({"sample": {"by": "source", "keep": {"a": 2}}}, "select.sample.keep.a: input should be less than or equal to 1 (got '2')"),
        ({"sample": {"by": "source", "keep": "some"}}, "select.sample.keep: input should be a valid dictionary (got 'some')"),
        ({"labelled": {"spans": 3}}, "select.labelled.spans: input should be a valid string (got '3')"),
    ],
)  # fmt: skip
def test_of_a_value_of_several_kinds_one_sentence_is_said_without_the_kinds_names(select, said):
    with pytest.raises(OperatorError) as caught:
        parse_recipe({**tiny_recipe.RECIPE, "select": select}, "r.yaml")
    assert str(caught.value) == f"r.yaml: {said}"
