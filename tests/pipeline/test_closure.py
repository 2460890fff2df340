"""A key sees the code that decides and only that: found by walking names, mutated in a copy, and held against what really runs."""

import inspect
import json
import shutil
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from test_guided_run import tree as guided_tree

import redistill
from redistill.config.parsing import parse_recipe
from redistill.pipeline import source_definitions
from redistill.pipeline.closure import PRESENTATION, ROOT, _package, code_of, is_presentation
from redistill.pipeline.graph import ordered
from redistill.pipeline.guidance import guidance_uses
from redistill.pipeline.plan import Plan, make_plan
from redistill.pipeline.run import make, open_run
from redistill.pipeline.run_folder import RunOrigin
from redistill.pipeline.stages import run_answers, stages_of
from redistill.rollout import ENGINES
from redistill.train.objectives import redi, sft
from redistill.verify import cascade, exact
from tiny_recipe import RECIPE

SOURCE = Path(redistill.__file__).parent


@pytest.fixture(scope="module")
def roots():
    """What each stage of a small recipe with a probing guard is made by."""
    own = {"problems": 2, "n": 2, "rounds": 2, "updates": 1, "max_new_tokens": 4}
    stages = {
        "redi": {**RECIPE["train"]["redi"], "guard": {"probe_every": 2}},
        "own": {"objective": "grpo", "modifiers": ["kl"], "start": "sft", "learning_rate": 1e-3, "rollouts": own},
    }
    tree = {**RECIPE, "train": {**RECIPE["train"], **stages}}
    return {stage.name: (stage.run, *stage.uses) for stage in stages_of(make_plan(parse_recipe(tree, "here")))}


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The package elsewhere, where it may be changed."""
    folder = tmp_path_factory.mktemp("copy") / "redistill"
    shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def definitions_of(roots):
    """(module, top-level name) of every definition in the closure of these functions."""
    start = set()
    for item in roots:
        while isinstance(item, partial):
            item = item.func
        if isinstance(item, str):
            start |= {(item, name) for name in _package(ROOT).module(item).definitions}
        else:
            start.add((item.__module__, item.__qualname__.partition(".")[0]))
    return set(_package(ROOT).reached(start))


@contextmanager
def edited(copy, file, old, new):
    """The copy with the first `old` of one file replaced; restored afterwards."""
    module = "redistill." + file.removesuffix(".py").replace("/", ".")
    text = (copy / file).read_text("utf-8")
    assert old in text, f"{file}: {old!r} is gone"
    try:
        (copy / file).write_text(text.replace(old, new, 1), "utf-8")
        _package(copy).modules.pop(module, None)
        yield
    finally:
        (copy / file).write_text(text, "utf-8")
        _package(copy).modules.pop(module, None)


CACHED = {"corpus", "verify", "select", "train/sft", "train/redi", "evaluate/redi/dev", "evaluate/redi/dev/scores"}


@pytest.mark.parametrize(
    "file, old, new, inside, outside",
    [
        # verify: one line that makes every verdict another, deep below the stage's function
        ("verify/stage.py", "yield verify_group(group, verdicts, policy, labels)", "yield group",
         {"verify", "evaluate/redi/dev", "train/redi"}, {"corpus", "select", "train/sft", "evaluate/redi/dev/scores"}),
        # a child process is started with `python -m`: no import leads to it
        ("verify/worker.py", "verdict = verifier(problem, trace)", "verdict = Verdict(Outcome.incorrect)",
         {"verify", "evaluate/redi/dev"}, {"corpus", "select", "train/sft"}),
        ("corpus/relate.py", "\nimport ", "\nimport string\nimport ", set(), CACHED),
        ("corpus/stage.py", "num_shards = num_shards or max(4,", "num_shards = num_shards or max(5,",
         {"corpus"}, CACHED - {"corpus"}),
        ("select/split.py", 'content_id("", ', 'content_id("x", ', {"select"}, CACHED - {"select"}),
        ("train/step.py", "ranks.backward(loss * ranks.count)", "ranks.backward(loss)",
         {"train/sft", "train/redi"}, {"corpus", "verify", "select", "evaluate/redi/dev"}),
        ("rollout/slots.py", "import torch\n", "import torch\n\nUNUSED = 1\n", set(), CACHED),
        ("evaluate/metrics.py", "return (math.comb(n, k) -", "return (math.comb(n, k + 1) -", {"evaluate/redi/dev/scores"}, CACHED - {"evaluate/redi/dev/scores"}),
        ("report/page.py", "def write_report(", "LINES = 1\n\n\ndef write_report(", set(), CACHED),
        ("io/progress.py", "def say(", "QUIET = 1\n\n\ndef say(", set(), CACHED),
        ("pipeline/lock.py", "lock.truncate(0)", "lock.truncate(1)", set(), CACHED),
    ],
    ids=lambda value: value if isinstance(value, str) and value.endswith(".py") else None,
)  # fmt: skip
def test_a_change_is_seen_by_the_stages_that_run_it_and_by_no_other(file, old, new, inside, outside, roots, copy):
    before = {name: code_of(found, copy) for name, found in roots.items()}
    with edited(copy, file, old, new):
        found = {name for name, members in roots.items() if code_of(members, copy) != before[name]}
    assert inside <= found and not found & outside, found


def test_another_objective_in_the_same_file_changes_nothing_for_this_one(copy):
    before, last = code_of([redi], copy), "import torch\n"
    with edited(
        copy, "train/objectives/likelihood.py", last, last + "\n\ndef another(chosen_logps):\n    return 1\n\n"
    ):
        assert code_of([redi], copy) == before
    with edited(copy, "train/objectives/likelihood.py", "rejected_weight: float = ", "rejected_weight: float = 0.5 * "):
        assert code_of([redi], copy) != before


def test_docstrings_comments_and_annotations_decide_nothing(copy):
    before, file = code_of([sft, redi], copy), "train/objectives/calling.py"
    with edited(copy, file, '"""', '"""Other words. '):
        assert code_of([sft, redi], copy) == before
    with edited(copy, file, ") -> Tensor:", ") -> object:  # a comment"):
        assert code_of([sft, redi], copy) == before


@pytest.fixture
def forgotten(monkeypatch, tmp_path):
    """A process that has read nothing of the package yet, with a cache's folder of its own."""
    monkeypatch.setenv("REDISTILL_CACHE", str(tmp_path / "cache"))
    _package.cache_clear()
    yield tmp_path / "cache" / "code.json"
    _package.cache_clear()


def test_the_next_process_parses_nothing_and_has_the_same_keys(forgotten, monkeypatch, roots):
    members = roots["train/redi"]
    first = code_of(members)
    written = forgotten.read_bytes()
    _package.cache_clear()
    monkeypatch.setattr(source_definitions.ast, "parse", None)
    assert code_of(members) == first
    assert forgotten.read_bytes() == written


@pytest.mark.parametrize("spoil", [
    lambda data: data[: len(data) // 2],
    lambda data: data.replace(b"redi", b"rid1", 1),
    lambda data: b"[]",
    lambda data: json.dumps(dict.fromkeys(json.loads(data), 3)).encode(),
    lambda data: json.dumps(dict.fromkeys(json.loads(data), '[{"": 1}, {}]')).encode(),
], ids=["cut", "a bit", "a list", "numbers", "another shape"])  # fmt: skip
def test_what_was_kept_and_is_not_whole_is_read_again(forgotten, spoil):
    first = code_of([redi])
    forgotten.write_bytes(spoil(forgotten.read_bytes()))
    _package.cache_clear()
    assert code_of([redi]) == first


def test_a_name_that_becomes_a_module_is_seen_though_the_file_that_imports_it_is_the_same(forgotten, tmp_path):
    root = tmp_path / "redistill"
    (root / "a").mkdir(parents=True)
    (root / "a" / "__init__.py").write_text("b = 1\n")
    source = b"from redistill.a import b\n\ndef f():\n    return b\n"
    kept = source_definitions.KeptModules(root)
    assert kept.module("redistill.x", source).imports == {"b": ("redistill.a", "b")}
    kept.save()
    (root / "a" / "b.py").write_text("")
    assert source_definitions.KeptModules(root).module("redistill.x", source).imports == {"b": ("redistill.a.b", "")}


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(forgotten, monkeypatch):
    forgotten.parent.write_text("a file where the folder would be")
    first = code_of([redi])
    assert first == code_of([redi]) and forgotten.parent.is_file()


def test_a_verifier_brings_its_libraries_and_not_those_of_others():
    assert {"sympy", "math-verify"} <= code_of([cascade]).libraries.keys()
    assert "torch" not in code_of([cascade]).libraries
    assert "math-verify" not in code_of([exact]).libraries


def test_what_is_left_out_only_shows_or_explains():
    """Widening this list hides code from every key: think of a result that such a module could change, then edit both."""
    assert set(PRESENTATION) == {
        "redistill.errors",
        "redistill.config.corpus_tables",
        "redistill.config.differences",
        "redistill.config.drop_reasons",
        "redistill.config.extras",
        "redistill.config.model_tables",
        "redistill.config.plugin_tables",
        "redistill.config.rollout_tables",
        "redistill.config.tables",
        "redistill.config.validation_messages",
        "redistill.io.progress",
        "redistill.io.tracking",
        "redistill.pipeline.prospects",
        "redistill.pipeline.run_tracking",
        "redistill.report",
        "redistill.safety.telemetry_off",
        "redistill.safety.terminal",
        "redistill.text.figures",
        "redistill.text.unread_answers",
        "redistill.train.live",
    }


def test_every_function_that_a_stage_runs_is_in_its_closure(tmp_path, monkeypatch):
    """The walk against the truth: a whole small run under a profiler, stage by stage."""
    own = {"problems": 2, "n": 2, "rounds": 2, "updates": 1, "max_new_tokens": 4}
    stages = {
        "redi": {**RECIPE["train"]["redi"], "guard": {"probe_every": 2}},
        "own": {"objective": "grpo", "modifiers": ["kl"], "start": "sft", "learning_rate": 1e-3, "rollouts": own},
    }
    tree = {**RECIPE, "train": {**RECIPE["train"], **stages}}
    tree = {
        **tree,
        "diagnosis": "two-habits",
        "score": ["perplexity"],
        "stages": [{"name": "limit-traces", "after": "corpus", "per_problem": 2}],
    }
    assert not ran_outside(tree, tmp_path, monkeypatch)


def test_a_critic_that_guides_an_evaluation_is_in_the_closure_of_its_answers(tmp_path, monkeypatch):
    assert not ran_outside(guided_tree(), tmp_path, monkeypatch)


def test_no_other_evaluation_depends_on_scorers():
    plain = code_of([run_answers, ENGINES["transformers"]]).modules
    uses = guidance_uses(make_plan(parse_recipe(guided_tree(), "here")).guide)
    searched = code_of([run_answers, ENGINES["guided"], *uses]).modules
    for name in ("process", "guidance"):
        assert f"redistill.score.{name}" not in plain and f"redistill.score.{name}" in searched
    assert "redistill.score.label" not in searched


def ran_outside(tree, tmp_path, monkeypatch):
    """{stage: functions that it ran and that its closure lacks} of a run of this recipe."""
    plan = make_plan(parse_recipe(tree, "here"))
    monkeypatch.setattr(Plan, "check_rows", lambda self, records: None)  # it refuses a run, and decides nothing else
    run = open_run(plan, tmp_path, origin=RunOrigin("", "tiny"))
    missing = {}
    for stage in ordered(stages_of(plan)):
        codes, ran = set(), set()
        code_of_stage = definitions_of((stage.run, *stage.uses))
        sys.settrace(lambda frame, event, argument, codes=codes: codes.add(frame.f_code))  # calls alone: no lines, no C
        try:
            make(run, stage.name)
        finally:
            sys.settrace(None)
        for code in (code for code in codes if code.co_filename.startswith(str(SOURCE))):
            module = Path(code.co_filename).relative_to(SOURCE).with_suffix("").as_posix().replace("/", ".")
            name = code.co_qualname.partition(".")[0]
            # the body of a class runs as its module is imported, which may happen inside a stage
            if not name.startswith("<") and code.co_flags & inspect.CO_OPTIMIZED:
                ran.add((f"redistill.{module}".removesuffix(".__init__"), name))
        if stage.cached:
            missing[stage.name] = {
                (module, name)
                for module, name in ran - code_of_stage
                if not is_presentation(module) and module not in GLUE and (module, name) not in VALUES
            }
    return {name: sorted(found) for name, found in missing.items() if found}


# The run's own machinery (it decides what is made, not what comes out), and how shards are spread over processes.
GLUE = {
    "redistill.pipeline.run",
    "redistill.pipeline.run_folder",
    "redistill.pipeline.graph",
    "redistill.pipeline.keys",
    "redistill.pipeline.stage",
    "redistill.pipeline.plan",
    "redistill.io.executors",
}
# What turns a recipe into bound functions and settings: a key holds what they return, as values.
VALUES = {
    ("redistill.evaluate.by_likelihood", "check_engine"),  # refuses a run, and decides nothing else
    ("redistill.evaluate.few_shot", "shots_of"),  # the examples are values of the key (pipeline/benchmarks.asked)
    ("redistill.config.binding", "bind"),
    ("redistill.config.binding", "function_of"),
    ("redistill.config.binding", "options_model"),
    ("redistill.config.binding", "options_of"),
    ("redistill.config.user_plugins", "code_files"),
    ("redistill.config.user_plugins", "is_own"),
    ("redistill.evaluate.benchmarks", "subsample"),
    ("redistill.evaluate.stage", "cues_of"),
    ("redistill.evaluate.stage", "eval_settings_for"),
    ("redistill.evaluate.stage", "samples_of"),
    ("redistill.evaluate.stage", "sampling_of"),
    ("redistill.evaluate.stage", "verifiers_of"),
    ("redistill.model.rendering", "check_template"),
    ("redistill.model.rendering", "renderer"),
    ("redistill.pipeline.extra_stages", "feeding"),
    ("redistill.pipeline.retrieval", "with_index"),
    ("redistill.verify", "check_bound"),
    ("redistill.verify", "check_verifiers"),
    ("redistill.verify.retrieval", "frozen"),
}
