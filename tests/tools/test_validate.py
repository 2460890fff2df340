"""Every mistake of a recipe at once, and the JSON schema that keeps an editor from making them."""

import json
import os
import subprocess
import sys
import typing
from pathlib import Path

import jsonschema
import pytest

from redistill.cli import main
from redistill.config import tables
from redistill.config.parsing import load_recipe
from redistill.config.yaml_text import SHIPPED, read_tree
from redistill.errors import OperatorError
from redistill.pipeline import resolve
from redistill.pipeline.plan import make_plan
from redistill.tools.schema import recipe_schema
from redistill.tools.validate import mistakes

ROOT = Path(__file__).parents[2]
RECIPES = sorted(SHIPPED.glob("*.yaml"))
GOOD = """\
name: small
student: {from_config: {hidden_size: 16, num_attention_heads: 2}, alphabet: "0123456789+-*=;#"}
prompt: {template: bare}
corpus: {sources: [two-habits]}
train:
  sft: {objective: sft, learning_rate: 1e-3}
  redi: {objective: {name: redi, rejected_weight: 0.8}, start: sft, learning_rate: 1e-4}
"""
BAD = """\
name: a/b
seed: x
student: {model: ./nothing, from_confg: 1}
corpus: {sources: [{name: tracess}, {name: traces, path: no.jsonl, pth: 1}, {name: traces, path: no.jsonl}]}
verify: {policy: nobody}
select: {pairing: certan}
train:
  sft: {objective: sfft, learning_rate: 1e-3}
  redi: {objective: {name: redi, alpha: 1}, start: sft, learning_rat: 1e-3}
  dpo: {objective: redi, start: stf, reference: sft, learning_rate: 1}
evaluate: {n: 0, benchmarks: [{name: b, file: no.jsonl}, aime], engine: vlm, models: [sft, dop]}
"""


@pytest.fixture
def file(tmp_path):
    """file(text) -> the path of a recipe with this text."""

    def make(text):
        (tmp_path / "my.yaml").write_text(text)
        return str(tmp_path / "my.yaml")

    return make


def test_every_mistake_is_said_at_once_with_its_place(file):
    said = mistakes(file(BAD))
    beginnings = [
        "name: string should match pattern",
        "seed: input should be a valid integer",
        "student.from_confg: unknown key; did you mean 'from_config'?",
        "train.redi.learning_rate: this setting is required",
        "train.redi.learning_rat: unknown key; did you mean 'learning_rate'?",
        "evaluate.n: input should be greater than 0 (got '0')",
        "train.dpo.start: no earlier stage is called 'stf'; did you mean 'sft'?",
        "evaluate.models: no stage is called 'dop'; did you mean 'dpo'?",
        "corpus.sources.0: there is no 'tracess'; did you mean 'traces'?",
        "corpus.sources.1 (traces): pth: unknown key; did you mean 'path'?",
        "corpus.sources.2: there is no file or folder at no.jsonl",
        "select.pairing: there is no 'certan'; did you mean 'certain'?",
        "train.sft.objective: there is no 'sfft'; did you mean 'sft'?",
        "train.redi.objective (redi): alpha: unknown key",
        "evaluate.engine: there is no 'vlm'",
        "verify.policy: there is no 'nobody'",
        "there is no benchmark file at no.jsonl.",
        "benchmark 'aime' has no `file`, and is not a known benchmark; did you mean 'aime25'?",
        "student.model: ./nothing is neither a folder",
    ]
    assert [b for b in beginnings if not any(s.startswith(b) for s in said)] == []
    assert len(said) == len(beginnings)  # and nothing that is not there


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("student:", "studnt:", "student: this setting is required"),
        ("corpus: {sources: [two-habits]}", "corpus: 3", "corpus: input should be a valid dictionary"),
        ("  redi: {objective: {name: redi, rejected_weight: 0.8}, start: sft, ", "  redi: {", "train.redi.objective"),
        ("sft: {objective: sft, learning_rate: 1e-3}", "sft: 3", "train.sft: input should be a valid dictionary"),
        ("train:", "evaluate: 7\ntrain:", "evaluate: input should be a valid dictionary"),
    ],
)
def test_a_mistake_draws_no_others_after_it(file, old, new, sentence):
    said = mistakes(file(GOOD.replace(old, new)))
    assert any(s.startswith(sentence) for s in said)
    assert all("unknown key" in s for s in said if not s.startswith(sentence))


@pytest.mark.parametrize(
    "override",
    [
        "train.redi.objective.alpha=1",
        "train.redi.reference=sft",
        "train.redi.modifiers=[nll-ancor]",
        "verify.policy=teacher_label",
        "corpus.dev_fraction=0",
        "prompt.chat=true",
        "prompt.template=Solve",
        "evaluate.verifier=exat",
        "select.max_prompt_tokens=0",
        "evaluate.models=[sf]",
    ],
)
def test_run_and_validate_know_the_same_mistakes(file, override):
    path = file(GOOD)
    said = mistakes(path, [override])
    with pytest.raises(OperatorError) as error:
        make_plan(load_recipe(path, [override]))
    assert [str(error.value).removeprefix(f"{path}: ")] == said


def test_an_empty_recipe_is_called_empty(file):
    for text in ("", "# nothing yet\n"):
        (said,) = mistakes(file(text))
        assert "my.yaml is empty; `redistill init` writes a recipe" in said


def test_what_lies_on_the_hub_is_left_alone(file, monkeypatch):
    def never(*arguments, **options):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(resolve, "resolve", never)
    monkeypatch.setattr(resolve.loading, "load_tokenizer", never)
    text = GOOD.replace("[two-habits]", "[{name: openr1-math-raw, path: 'open-r1/OpenR1-Math-Raw:data/*'}]")
    student = "{model: Qwen/Qwen2.5-Math-1.5B}"
    path = file(text.replace(text.splitlines()[1].removeprefix("student: "), student))
    assert mistakes(path) == []
    with pytest.raises(AssertionError, match="the network was asked"):
        make_plan(load_recipe(path))


def test_the_verb_says_fine_or_exits_with_2(file, capsys):
    main(["validate", file(GOOD)])
    assert capsys.readouterr().out.endswith("my.yaml is fine\n")
    with pytest.raises(SystemExit) as end:
        main(["validate", file(GOOD), "--set", "seed=x", "--set", "verify.policy=x"])
    out, err = capsys.readouterr()
    at_once, after = err.split("validate loading the libraries that the recipe needs\n")
    assert end.value.code == 2 and out == "" and len(after.splitlines()) == 3 and "has 2 mistakes" in after
    (at_once,) = at_once.splitlines()  # what `policy` may be is asked of a library
    assert at_once.startswith("validate seed: ") and at_once.removeprefix("validate ") in after
    with pytest.raises(SystemExit) as end:
        main(["validate", file(GOOD), "--set", "seed=x", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert end.value.code == 2 and not told["fine"] and told["mistakes"][0].startswith("seed: ")
    for arguments in (["validate"], ["validate", "nothing.yaml"]):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 2


def test_mistakes_of_keys_and_types_are_said_before_any_library_is_loaded(file):
    """In a process of its own that stops there: no torch, no pyarrow, no transformers."""
    program = (
        "import sys\n"
        "from redistill import api\n"
        "from redistill.cli import main\n"
        "def stop(*_, **__):\n"
        "    print(*{'torch', 'transformers', 'pyarrow', 'numpy', 'sympy'} & sys.modules.keys())\n"
        "    sys.exit(0)\n"
        "api.validate = stop\n"
        "main(sys.argv[1:])\n"
    )
    command = [sys.executable, "-c", program, "validate", file(GOOD), "--set", "train.redi.learning_rat=1", "--json"]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert "validate train.redi.learning_rat: unknown key; did you mean 'learning_rate'?" in done.stderr
    assert done.stdout.splitlines()[0] == ""


# --- the schema -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def schema():
    return recipe_schema()


@pytest.fixture(scope="module")
def fits(schema):
    """fits(tree): True where the schema lets a recipe pass."""
    return jsonschema.Draft202012Validator(schema).is_valid


def test_the_committed_schema_is_current(schema):
    committed = json.loads((ROOT / "docs" / "recipe.schema.json").read_text())
    assert committed == schema, "run: redistill validate --schema > docs/recipe.schema.json"


def test_every_setting_that_takes_a_plug_in_has_its_registry():
    """parts.PLUGINS leads to each setting of kind Plugin: found apart, by walking over all tables."""

    def places(kind, place):
        if isinstance(kind, type) and issubclass(kind, tables.Plugin):
            yield place
        elif isinstance(kind, type) and issubclass(kind, tables.Settings):
            for name, inner in typing.get_type_hints(kind).items():
                yield from places(inner, f"{place}.{name}")
        else:
            for inner in typing.get_args(kind):
                yield from places(inner, place + ".*" if typing.get_origin(kind) is dict else place)

    assert set(places(tables.Recipe, "")) == {f".{place}" for place in resolve.PLUGINS}


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_a_shipped_recipe_fits_the_schema_and_tells_the_editor_where_it_is(path, fits):
    tree = read_tree(path)
    assert fits(tree)
    assert fits(load_recipe(path).model_dump(mode="json"))  # what a run writes beside its results
    first = path.read_text("utf-8").splitlines()[0]
    assert first.startswith("# yaml-language-server: $schema=")
    assert (path.parent / first.partition("=")[2]).resolve() == ROOT / "docs" / "recipe.schema.json"


@pytest.mark.parametrize(
    "override",
    [
        "trian={}",
        "train.redi.learning_rat=1",
        "train.redi.objective=reddi",
        "train.redi.objective.rejected_weigth=1",
        "train.redi.objective.rejected_weight=much",
        "train.redi.modifiers=[{name: divergence-window, window: 0}]",
        "corpus.sources=[traces]",
        "corpus.sources=[{name: two-habits, jump: 2}]",
        "corpus.sources=[]",
        "select.filters=[{name: repetition, on: [nothing]}]",
        "evaluate.n=0",
        "verify.verifiers=[casade]",
    ],
)
def test_the_schema_refuses_what_a_run_would_refuse(file, fits, override):
    assert fits(read_tree(file(GOOD))) and not fits(read_tree(file(GOOD), [override]))
    assert mistakes(file(GOOD), [override])


def test_the_verb_prints_the_schema(capsys):
    main(["validate", "--schema"])
    jsonschema.Draft202012Validator.check_schema(json.loads(capsys.readouterr().out))
