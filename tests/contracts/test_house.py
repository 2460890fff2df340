"""The house's own laws: imports point down, the light rooms stay light, every registry is a plain table of plain functions."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import redistill
from redistill.config.binding import options_of

PACKAGE = Path(redistill.__file__).parent
STAGES = ("corpus", "verify", "select", "train", "rollout", "evaluate", "report")
GROUND_FLOOR = (
    "mistakes",
    "own_code",
    *(
        "errors",
        "records",
        "prompts",
        "texts",
        "disk",
        "storage",
        "settings",
        "recipe_text",
        "progress",
        "models",
        "logps",
        "memory",
        "show",
    ),
    *(
        "client",
        "reasons",
        "executors",
        "why",
        "terminal",
        "quiet",
        "paths",
        "template_trial",
        "trial",
        "tracking",
        "keys",
        "cost",
    ),
)
LIGHT = ("corpus", "verify", "select", "evaluate", "report")
FLOORS = {
    **dict.fromkeys(GROUND_FLOOR, 0),
    **dict.fromkeys(STAGES, 1),
    "recipes": 2,
    "cli": 3,
    "__main__": 4,
    "verbs": 4,
}
REGISTRIES = {
    "SOURCES": "redistill.corpus",
    "VERIFIERS": "redistill.verify",
    "JUDGES": "redistill.verify",
    "FILTERS": "redistill.select.filters",
    "PAIRINGS": "redistill.select.pairing",
    "OBJECTIVES": "redistill.train.objectives",
    "MODIFIERS": "redistill.train.modifiers",
    "ENGINES": "redistill.rollout",
    "METRICS": "redistill.evaluate.metrics",
    "BENCHMARKS": "redistill.evaluate.registry",
    "SECTIONS": "redistill.report.page",
    "DIAGNOSES": "redistill.pipeline.resolve",
    "CHECKS": "redistill.train.token_checks",
    "EXECUTORS": "redistill.io.executors",
    "TRACKERS": "redistill.io.tracking",
    "GPUS": "redistill.model.flops",
    "TEMPLATES": "redistill.text.prompts",
    "VERBS": "redistill.cli",
}
FILES = sorted(PACKAGE.rglob("*.py"))
MEMBERS = [
    pytest.param(function, id=f"{name}-{key}")
    for name, module in REGISTRIES.items()
    if name not in ("TEMPLATES", "VERBS", "BENCHMARKS", "GPUS")
    for key, function in getattr(importlib.import_module(module), name).items()
]


def part_of(path):
    """The room or ground-floor file that a source file belongs to: train/loop.py -> train, storage.py -> storage."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(path):
    """(module of this package, line) for every import in a file, also those inside functions."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            whole = node.module == "redistill"
            names = [f"redistill.{alias.name}" for alias in node.names] if whole else [node.module or ""]
        for name in names:
            if name.startswith("redistill.") and name != "redistill.__version__":
                yield name.split(".")[1], node.lineno


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down_and_rooms_never_import_rooms(path):
    here = part_of(path)
    for target, line in imported(path):
        if here == "__init__" or target == here:
            continue
        assert FLOORS[target] < FLOORS[here] or (FLOORS[here] == FLOORS[target] == 0), (
            f"{path}:{line}: {here} imports {target}"
        )


def test_every_file_stands_on_a_known_floor():
    assert {part_of(path) for path in FILES} <= {*FLOORS, "__init__"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_file_can_be_read_in_one_sitting_and_says_what_it_is_for(path):
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= 450
    assert ast.get_docstring(ast.parse(text)) or len(text.splitlines()) <= 3


def test_the_light_rooms_and_the_door_come_without_torch():
    modules = [f"redistill.{room}" for room in LIGHT]
    modules += [
        "redistill.cli",
        "redistill.tools.show",
        "redistill.io.storage",
        "redistill.config.tables",
        "redistill.text.prompts",
    ]
    modules += [
        f"redistill.{p.relative_to(PACKAGE).with_suffix('').as_posix().replace('/', '.')}"
        for p in FILES
        if part_of(p) in LIGHT and p.stem != "__init__"
    ]
    code = f"import importlib, sys\nfor m in {modules!r}: importlib.import_module(m)\nprint('torch' in sys.modules)"
    environment = {"PYTHONPATH": str(PACKAGE.parent), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120)
    assert done.stdout == "False\n", done.stderr


def test_records_and_errors_need_the_standard_library_only():
    for name in ("records.py", "errors.py"):
        for node in ast.walk(ast.parse((PACKAGE / name).read_text("utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert all(n.split(".")[0] in sys.stdlib_module_names for n in names), names


@pytest.mark.parametrize("name", REGISTRIES)
def test_a_registry_is_a_plain_dict_literal_that_nothing_adds_to(name):
    module = importlib.import_module(REGISTRIES[name])
    tree = ast.parse(Path(module.__file__).read_text("utf-8"))
    values = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name) and target.id == name
    ]
    assert len(values) == 1 and isinstance(values[0], ast.Dict)
    assert all(isinstance(key, ast.Constant) for key in values[0].keys)
    assert type(getattr(module, name)) is dict
    for path in FILES:  # no decorators, no side effects of an import
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            stored = isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del)
            assert not (stored and ast.unparse(node.value).endswith(name)), f"{path}:{node.lineno}"


@pytest.mark.parametrize("function", MEMBERS)
def test_a_plug_in_says_what_it_does_and_its_options_have_types(function):
    assert inspect.isfunction(function) and len((inspect.getdoc(function) or "").split()) >= 5
    hints = inspect.get_annotations(function, eval_str=True)
    for option in options_of(function).values():
        assert option.name in hints, f"{option.name} has no type"
    assert "return" in hints


@pytest.mark.parametrize(
    "name",
    [
        "SOURCES",
        "VERIFIERS",
        "FILTERS",
        "PAIRINGS",
        "OBJECTIVES",
        "MODIFIERS",
        "ENGINES",
        "DIAGNOSES",
        "JUDGES",
        "TRACKERS",
    ],
)
def test_every_plug_in_can_be_bound_from_a_recipe_and_refuses_what_it_does_not_know(name):
    from redistill.config.binding import bind
    from redistill.config.tables import Plugin
    from redistill.errors import OperatorError

    table = getattr(importlib.import_module(REGISTRIES[name]), name)
    needed = {"path": "x.jsonl", "answers": ["4"], "base_url": "http://127.0.0.1:8000/v1", "model": "m"}
    for key, function in table.items():
        options = {k: needed[k] for k, p in options_of(function).items() if p.default is p.empty}
        assert bind(table, Plugin(name=key, options=options), "here").keywords == options
        with pytest.raises(OperatorError, match=r"here \(.*\): no_such_option: unknown key"):
            bind(table, Plugin(name=key, options={**options, "no_such_option": 1}), "here")


def test_a_template_holds_its_problem_once():
    from redistill.text.prompts import TEMPLATES

    assert all(text.count("{problem}") == 1 for text in TEMPLATES.values())


def test_everything_printed_is_plain_text_or_json_in_ascii():
    """A trace's text must not drive the terminal: a printer passes terminal.plain, or escapes all but ASCII."""
    for path in (path for path in FILES if re.search(r"\b(print|input|write)\(", path.read_text("utf-8"))):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or ast.unparse(node.func) not in PRINTERS:
                continue
            where = f"{path}:{node.lineno}"
            if path.name in ("terminal.py", "progress.py"):
                assert "plain(" in ast.unparse(node), where
            else:
                assert ast.unparse(node.func) in ("print", "input"), f"{where}: print, or progress.say"
                assert all(is_inert(argument) for argument in node.args), f"{where}: print(plain(...))"


PRINTERS = ("print", "input", "sys.stdout.write", "sys.stderr.write", "tqdm.write", "os.write")


def is_inert(node):
    """Whether what this expression prints cannot hold a control character of a trace."""
    if isinstance(node, ast.IfExp):
        return is_inert(node.body) and is_inert(node.orelse)
    if isinstance(node, ast.JoinedStr):
        return all(is_inert(value.value) for value in node.values if isinstance(value, ast.FormattedValue))
    if isinstance(node, ast.Call):
        words = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        name = ast.unparse(node.func)
        json_text = name == "json.dumps" and words.get("ensure_ascii", "True") == "True"
        return name == "plain" or json_text or words.get("clean") == "plain"
    return isinstance(node, ast.Constant)


def test_nothing_that_reads_a_strangers_file_can_run_it():
    """No pickle but between our own processes, no code of a model's folder, YAML without tags, Jinja on our own page alone."""
    allowed = {"executors.py": {"pickle.loads"}, "page.py": {"Environment"}, "worker.py": set()}
    runs = {"pickle.load", "pickle.loads", "torch.load", "torch.save", "yaml.load", "yaml.unsafe_load", "yaml.full_load",
            "eval", "exec", "os.system", "os.popen", "Environment", "jinja2.Environment", "joblib.load", "np.lib.format"}  # fmt: skip
    for path in FILES:
        text = path.read_text("utf-8")
        if not re.search(r"pickle|load|eval|exec|system|popen|Environment|shell|remote_code", text):
            continue
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.Call):
                continue
            where, name = f"{path}:{node.lineno}", ast.unparse(node.func)
            assert name not in runs - allowed.get(path.name, set()), where
            for keyword in node.keywords:
                said = ast.unparse(keyword.value)
                assert (keyword.arg, said) not in {("shell", "True"), ("allow_pickle", "True")}, where
                assert keyword.arg != "trust_remote_code" or said == "False", where
    assert '"trust_remote_code": False' in (PACKAGE / "models.py").read_text("utf-8")
