"""The architecture holds: imports point down, folders that promise it come without torch, every registry is a plain dict literal."""

import ast
import functools
import graphlib
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
# From the lowest to the highest. A file imports its own folder and what stands above it in this list, nothing else:
# folders of one row do not import each other.
LAYERS = (
    ("errors", "records"),
    ("text", "safety"),
    ("config",),
    ("io",),
    ("model",),
    ("retrieval",),
    ("verify",),
    ("rollout",),
    ("corpus", "score", "select", "train", "evaluate", "datafree", "report"),
    ("pipeline",),
    ("tools",),
    ("api",),
    ("cli",),
    ("__main__",),
)
LAYER = {folder: height for height, layer in enumerate(LAYERS) for folder in layer}
WITHOUT_TORCH = (
    "corpus",
    "retrieval",
    "verify",
    "score",
    "select",
    "evaluate",
    "report",
    "io",
    "config",
    "safety",
    "text",
    "cli",
    "api",
)
# What data-free distillation of image classifiers may use of this package: no prompts, no language models, no verifiers.
OF_DATAFREE = ("errors", "safety", "config", "io", "datafree")
PLUG_INS = (  # a recipe names their members, and gives them options
    "NETWORKS",
    "IMAGE_SETS",
    "SOURCES",
    "VERIFIERS",
    "RETRIEVERS",
    "JUDGES",
    "SCORERS",
    "FILTERS",
    "PAIRINGS",
    "OBJECTIVES",
    "MODIFIERS",
    "ENGINES",
    "CHOICES",
    "STAGE_ENGINES",
    "DIAGNOSES",
    "TRACKERS",
)
FUNCTIONS = (*PLUG_INS, "METRICS", "SPLITTERS", "SECTIONS", "CHECKS", "EXECUTORS")
REGISTRIES = (*FUNCTIONS, "EXPORTS", "BENCHMARKS", "GPUS", "TEMPLATES", "COMMANDS")
FILES = sorted(PACKAGE.rglob("*.py"))


@functools.cache
def parsed(path):
    return ast.parse(path.read_text("utf-8"))


def module_name(path):
    """select/filters.py -> redistill.select.filters, cli/__init__.py -> redistill.cli."""
    name = "redistill." + path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".")
    return name.removesuffix(".__init__")


@functools.cache
def tables():
    """{registry: [(path, the dict literal of that name)]}, wherever in the package it stands."""
    found = {name: [] for name in REGISTRIES}
    for path in FILES:
        for node in parsed(path).body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            for target in targets:
                if isinstance(target, ast.Name) and target.id in found and isinstance(node.value, ast.Dict):
                    found[target.id].append((path, node.value))
    return found


def registry(name):
    ((path, _),) = tables()[name]
    return getattr(importlib.import_module(module_name(path)), name)


def part_of(path):
    """The stage or ground-floor file that a source file belongs to: train/stage.py -> train, io/stage_folder.py -> storage."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(path):
    """(folder of this package, line) for every import in a file, also those inside functions."""
    for module, node in imported_modules(path):
        yield module.split(".")[1], node.lineno


def imported_modules(path):
    """(module of this package, its node) for every import in a file, also those inside functions."""
    for node in ast.walk(parsed(path)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            whole = node.module == "redistill"
            names = (
                [f"redistill.{alias.name}" for alias in node.names]
                if whole
                else [f"{node.module}.{alias.name}" for alias in node.names]
            )
        for name in names:
            if name.startswith("redistill.") and name != "redistill.__version__":
                yield module_of(name), node


def module_of(name):
    """The module that an imported name is or comes from."""
    path = PACKAGE.joinpath(*name.split(".")[1:])
    return name if path.with_suffix(".py").exists() or path.is_dir() else name.rpartition(".")[0]


def test_imports_point_down():
    wrong = []
    for path in FILES:
        here = part_of(path)
        if here == "__init__":
            continue
        wrong += [
            f"{path.relative_to(PACKAGE)}:{line} imports {target}"
            for target, line in imported(path)
            if target != here and not LAYER[target] < LAYER[here]
        ]
    assert not wrong


def test_modules_of_a_folder_import_each_other_in_no_circle():
    graph = {}
    for path in FILES:
        graph[module_name(path)] = {
            module
            for module, node in imported_modules(path)
            if node.col_offset == 0  # those inside functions run later
        }
    sorter = graphlib.TopologicalSorter(
        {name: {m for m in modules if m in graph and m != name} for name, modules in graph.items()}
    )
    sorter.prepare()


def test_every_folder_has_its_place_in_the_order():
    assert {part_of(path) for path in FILES} <= {*LAYER, "__init__"}


def test_a_file_can_be_read_in_one_sitting_and_says_what_it_is_for():
    for path in FILES:
        text = path.read_text("utf-8")
        assert len(text.splitlines()) <= 600, path
        assert ast.get_docstring(parsed(path)) or len(text.splitlines()) <= 3, path


def test_folders_that_promise_it_come_without_torch():
    modules = [module_name(path) for path in FILES if part_of(path) in WITHOUT_TORCH and path.stem != "__init__"]
    code = f"import importlib, sys\nfor m in {modules!r}: importlib.import_module(m)\nprint('torch' in sys.modules)"
    environment = {"PYTHONPATH": str(PACKAGE.parent), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120)
    assert done.stdout == "False\n", done.stderr


def test_data_free_distillation_comes_without_language_code():
    files = [path for path in FILES if part_of(path) == "datafree"]
    wrong = [
        f"{path}:{line} imports {target}"
        for path in files
        for target, line in imported(path)
        if target not in OF_DATAFREE
    ]
    assert files and not wrong
    modules = [module_name(path) for path in files]
    code = f"import importlib, sys\nfor m in {modules!r}: importlib.import_module(m)\nprint([m for m in ('transformers', 'sklearn', 'PIL', 'redistill.model') if m in sys.modules])"
    environment = {"PYTHONPATH": str(PACKAGE.parent), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120)
    assert done.stdout == "[]\n", done.stdout + done.stderr


def test_records_and_errors_need_the_standard_library_only():
    for path in (path for path in FILES if part_of(path) in LAYERS[0]):
        for node in ast.walk(parsed(path)):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert all(n.split(".")[0] in sys.stdlib_module_names for n in names), names


def test_a_registry_is_a_plain_dict_literal_that_nothing_adds_to():
    for name, found in tables().items():
        assert len(found) == 1, f"{name} stands in {[str(path) for path, _ in found]}"
        ((_, value),) = found
        assert all(isinstance(key, ast.Constant) for key in value.keys), name
        assert type(registry(name)) is dict, name
    for path in FILES:  # no decorators, no side effects of an import
        for node in ast.walk(parsed(path)):
            stored = isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del)
            assert not (stored and ast.unparse(node.value).endswith(REGISTRIES)), f"{path}:{node.lineno}"


def test_a_plug_in_says_what_it_does_and_its_options_have_types():
    members = [(f"{table}-{key}", function) for table in FUNCTIONS for key, function in registry(table).items()]
    for name, function in members:
        assert inspect.isfunction(function) and len((inspect.getdoc(function) or "").split()) >= 5, name
        hints = inspect.get_annotations(function, eval_str=True)
        for option in options_of(function).values():
            assert option.name in hints, f"{name}: {option.name} has no type"
        assert "return" in hints, name


@pytest.mark.parametrize("name", PLUG_INS)
def test_every_plug_in_can_be_bound_from_a_recipe_and_refuses_what_it_does_not_know(name):
    from redistill.config.binding import bind
    from redistill.config.tables import Plugin
    from redistill.errors import OperatorError

    table = registry(name)
    needed = {
        "path": "x.jsonl",
        "refresh": "none",
        "folder": "made:shop",
        "answers": ["4"],
        "base_url": "http://127.0.0.1:8000/v1",
        "url": "http://127.0.0.1:8000/search",
        "model": "m",
        "by": "x",
        "critic": "prm",
    }
    for key, function in table.items():
        options = {k: needed[k] for k, p in options_of(function).items() if p.default is p.empty}
        assert bind(table, Plugin(name=key, options=options), "here").keywords == options
        with pytest.raises(OperatorError, match=r"here \(.*\): no_such_option: unknown key"):
            bind(table, Plugin(name=key, options={**options, "no_such_option": 1}), "here")


def test_a_template_holds_its_problem_once():
    from redistill.text.prompts import TEMPLATES

    assert all(text.count("{problem}") == 1 for text in TEMPLATES.values())


def test_everything_printed_is_plain_text_or_json_in_ascii():
    """A trace's text must not drive the terminal: a printer passes terminal.plain, or escapes all but ASCII.

    The streams themselves are written to in two files, by what guards a print and by what draws a bar.
    """
    writers = set()
    for path in (path for path in FILES if re.search(r"\b(print|input|write)\(", path.read_text("utf-8"))):
        for node in ast.walk(parsed(path)):
            if not isinstance(node, ast.Call) or ast.unparse(node.func) not in PRINTERS:
                continue
            where = f"{path}:{node.lineno}"
            if ast.unparse(node.func) in ("print", "input"):
                assert all(is_inert(argument) for argument in node.args), f"{where}: print(plain(...))"
            else:
                writers.add(path)
                assert "plain(" in ast.unparse(node), where
    assert len(writers) <= 2, f"print, or progress.say: {sorted(writers)}"


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
    in_one_file = {
        "pickle.loads": set(),
        "Environment": set(),
    }  # what an executor's process sends back; the report's page
    switched_off = 0
    runs = {"pickle.load", "pickle.loads", "torch.load", "torch.save", "yaml.load", "yaml.unsafe_load", "yaml.full_load",
            "eval", "exec", "os.system", "os.popen", "Environment", "jinja2.Environment", "joblib.load", "np.lib.format"}  # fmt: skip
    for path in FILES:
        text = path.read_text("utf-8")
        switched_off += text.count('"trust_remote_code": False')
        if not re.search(r"pickle|load|eval|exec|system|popen|Environment|shell|remote_code", text):
            continue
        for node in ast.walk(parsed(path)):
            if not isinstance(node, ast.Call):
                continue
            where, name = f"{path}:{node.lineno}", ast.unparse(node.func)
            assert name not in runs - set(in_one_file), where
            if name in in_one_file:
                in_one_file[name].add(path)
            for keyword in node.keywords:
                said = ast.unparse(keyword.value)
                assert (keyword.arg, said) not in {("shell", "True"), ("allow_pickle", "True")}, where
                assert keyword.arg != "trust_remote_code" or said == "False", where
    assert all(len(paths) == 1 for paths in in_one_file.values()), in_one_file
    assert switched_off  # where models are loaded


def test_every_name_of_a_module_is_used_outside_the_tests():
    """Functions, classes and constants of src that nothing but a test names would be kept alive by their tests alone."""
    used = set()
    for path in FILES:
        docstrings = {
            id(node.body[0].value)
            for node in ast.walk(parsed(path))
            if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None
        }
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                used.add(node.id)
            elif isinstance(node, ast.Attribute):
                used.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                used |= set(re.findall(r"\w+", node.value))
    root = PACKAGE.parents[1]
    texts = [*PACKAGE.rglob("*.yaml"), *PACKAGE.rglob("templates/**/*.txt")]
    for folder in ("docs", "benchmarks", "experiments", "examples"):
        texts += [path for path in (root / folder).rglob("*.*") if path.suffix in (".py", ".md", ".ipynb")]
    for path in (path for path in texts if "reference" not in path.parts):
        used |= set(re.findall(r"\w+", path.read_text("utf-8")))
    unused = []
    for path in FILES:
        for node in parsed(path).body:
            names = [getattr(node, "name", None)] if not getattr(node, "decorator_list", None) else []
            if isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names = [target.id for target in targets if isinstance(target, ast.Name)]
            unused += [f"{path}:{node.lineno} {name}" for name in names if name and name not in used]
    assert unused == []


def test_no_handler_catches_everything():
    """What is to be undone whatever happens stands in a `finally` or an ExitStack; a handler names what it knows."""
    wide = [
        f"{path}:{node.lineno}"
        for path in FILES
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ExceptHandler) and (node.type is None or "BaseException" in ast.unparse(node.type))
    ]
    assert wide == []
