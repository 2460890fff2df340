"""Which source code a stage's result depends on, found by walking names and imports: what a cache key holds of the code.

    code = code_of([run_verify, cascade, "redistill.verify.worker"])
    code.modules      {"redistill.verify.cascade": "5f0c...", ...}     a hash of the used definitions of each module
    code.libraries    {"sympy": "1.14.0", "math-verify": "0.9.0"}      versions of the libraries that these import

The walk is by definition, not by file: from a function to the functions, classes and constants that it names, in its own
module and in those that it imports from. Adding an objective to a file therefore changes nothing for a stage that uses
another objective of that file; changing a comparison deep inside the verifiers changes the key of everything that verifies.
Docstrings, comments and annotations of functions do not count. Modules that only show what happens (PRESENTATION) are left
out; a test runs every stage and checks that each function that ran is either in its stage's closure or in that list.
"""

import ast
import contextlib
import functools
import gc
import hashlib
import importlib.metadata
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

PACKAGE = "redistill"
ROOT = Path(__file__).parents[1]

# Modules and folders that decide no result: they show, log, explain or name places. Settings are in a key as values, so
# the tables that read them are not in it as code.
PRESENTATION = (
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
)
# Libraries that cannot change a result, by the name that is imported.
NEUTRAL = {
    "tqdm",
    "rich",
    "psutil",
    "pydantic",
    "yaml",
    "huggingface_hub",
    "matplotlib",
    "jinja2",
    "markupsafe",
    "ray",
    "httpx2",
    "tenacity",
}
# What a library computes with, where our own code does not import it.
BELOW = {"math_verify": ("latex2sympy2_extended", "sympy"), "transformers": ("tokenizers",)}

Root = Callable[..., Any] | type | str  # a function or class of the package, or the name of a module (`python -m`)


@dataclass(frozen=True, slots=True)
class Code:
    """Hashes of the used definitions by module, files of a user's own by their name, and versions of libraries."""

    modules: Mapping[str, str]
    libraries: Mapping[str, str]


def code_of(roots: Iterable[Root], root: Path = ROOT) -> Code:
    """The closure of these functions, classes (also wrapped in `functools.partial`) and modules. `root`: the package's folder."""
    package = _package(root)
    parts: dict[str, set[str]] = {}
    libraries: set[str] = set()
    own: dict[str, str] = {}
    start: list[tuple[str, str]] = []
    for item in roots:
        while isinstance(item, partial):
            item = item.func
        if isinstance(item, str):
            start += [(item, name) for name in package.module(item).names()]
            continue
        if item.__module__.partition(".")[0] != PACKAGE:  # a plug-in of the user's own: its whole file
            file = inspect.getsourcefile(inspect.unwrap(item))
            own[item.__module__] = hashlib.sha256(Path(file).read_bytes()).hexdigest()[:24] if file else ""
            continue
        start.append((item.__module__, item.__qualname__.partition(".")[0]))
    for module, name in package.reached(start):
        definition = package.module(module).definition(name)
        assert definition is not None
        parts.setdefault(module, set()).add(definition.source)
        libraries |= definition.libraries
    hashes = {module: _hash("\n".join(sorted(sources))) for module, sources in parts.items()}
    return Code(dict(sorted((hashes | own).items())), _versions(libraries))


def definitions_of(roots: Iterable[Root], root: Path = ROOT) -> set[tuple[str, str]]:
    """(module, top-level name) of every definition in the closure."""
    package, start = _package(root), list[tuple[str, str]]()
    for item in roots:
        while isinstance(item, partial):
            item = item.func
        if isinstance(item, str):
            start += [(item, name) for name in package.module(item).names()]
        elif item.__module__.partition(".")[0] == PACKAGE:
            start.append((item.__module__, item.__qualname__.partition(".")[0]))
    return set(package.reached(start))


def is_presentation(module: str) -> bool:
    """True for a module that decides no result."""
    return any(module == name or module.startswith(f"{name}.") for name in PRESENTATION)


# --- one module ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Definition:
    """A top-level name of a module: its source without docstrings, and what it names: (module, name), "*" for all of it."""

    source: str
    names: frozenset[tuple[str, str]]
    libraries: frozenset[str]


class _Module:
    """A source file, cut into its top-level definitions. `""` stands for the statements that run when it is imported."""

    def __init__(self, name: str, tree: ast.Module, exists: Callable[[str], bool]) -> None:
        self.name, self._exists = name, exists
        self._imports: dict[str, tuple[str, str]] = {}  # local name -> (module, name in it, "" for the module itself)
        found: dict[str, list[ast.stmt]] = {"": []}
        for statement in _flat(tree.body):
            if isinstance(statement, ast.Import | ast.ImportFrom):
                self._imports |= dict(self._imported(statement))
                continue
            names = _defined(statement)
            for defined in names or [""]:
                if names or not _is_docstring(statement):
                    found.setdefault(defined, []).append(statement)
        self._statements = found
        self._definitions: dict[str, _Definition] = {}

    def names(self) -> list[str]:
        """All top-level names, and "" for the statements that run on import."""
        return list(self._statements)

    def definition(self, name: str) -> _Definition | None:
        """A top-level name's definition; None where the module defines no such name."""
        if name in self._statements and name not in self._definitions:
            self._definitions[name] = self._read(name, self._statements[name])
        return self._definitions.get(name)

    def resolve(self, name: str) -> tuple[str, str] | None:
        """Where a name of this module is defined: here, or where it is imported from; None where it is nobody's."""
        if name in self._statements:
            return self.name, name
        return self._imports.get(name)

    def _imported(self, node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, tuple[str, str]]]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound = alias.asname or alias.name.partition(".")[0]
                yield bound, (alias.name if alias.asname else bound, "")
            return
        for alias in node.names:
            module = f"{node.module}.{alias.name}"
            is_module = module.startswith(f"{PACKAGE}.") and self._exists(module)
            yield alias.asname or alias.name, (module, "") if is_module else (node.module or "", alias.name)

    def _read(self, defined: str, statements: list[ast.stmt]) -> _Definition:
        names: set[tuple[str, str]] = set() if defined == "" else {(self.name, "")}
        libraries: set[str] = set()
        modules = {module for module, name in self._imports.values() if name == ""}
        for node in _nodes(statements):
            targets: list[tuple[str, str]] = []
            if isinstance(node, ast.Import | ast.ImportFrom):
                targets = list(dict(self._imported(node)).values())  # inside a function: all that it binds
                names |= {(m, "*") for m, name in targets if name == "" and m.startswith(f"{PACKAGE}.")}
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                module = self._imports.get(node.value.id)
                if module is not None and module[1] == "":
                    targets.append((module[0], node.attr))
            elif isinstance(node, ast.Name) and (target := self.resolve(node.id)) is not None:
                targets.append(target)
            for module_name, name in targets:
                if module_name.partition(".")[0] != PACKAGE:
                    libraries.add(module_name.partition(".")[0])
                elif name or module_name not in modules:
                    names.add((module_name, name or "*"))
        source = "\n".join(map(ast.unparse, statements))
        return _Definition(source, frozenset(names), frozenset(libraries - set(sys.stdlib_module_names)))


class _Package:
    def __init__(self, root: Path) -> None:
        self.root = root
        self._modules: dict[str, _Module] = {}

    def path(self, module: str) -> Path:
        folder = self.root.joinpath(*module.split(".")[1:])
        return folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")

    def module(self, name: str) -> _Module:
        if name not in self._modules:
            with _no_collection():
                tree = _bare(ast.parse(self.path(name).read_text("utf-8")))
            self._modules[name] = _Module(name, tree, lambda other: self.path(other).exists())
        return self._modules[name]

    def reached(self, start: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        """Every (module, name) that the start names, directly or through others."""
        seen: set[tuple[str, str]] = set()
        waiting = list(start)
        while waiting:
            module, name = waiting.pop()
            if (module, name) in seen or is_presentation(module) or not self.path(module).exists():
                continue
            seen.add((module, name))
            here = self.module(module)
            if name == "*":
                waiting += [(module, one) for one in here.names()]
            elif (definition := here.definition(name)) is not None:
                yield module, name
                waiting += definition.names
            elif (target := here.resolve(name)) is not None and target[0].partition(".")[0] == PACKAGE:
                waiting += [(module, ""), (target[0], target[1] or "*")]
            elif self.path(f"{module}.{name}").exists():
                waiting.append((f"{module}.{name}", "*"))


@functools.lru_cache(maxsize=4)
def _package(root: Path) -> _Package:
    return _Package(root)


# --- small helpers ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Without the search for garbage, which would go through all syntax trees again and again and finds none."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _flat(statements: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Top-level statements, those inside `if`, `try` and `with` too."""
    for statement in statements:
        if isinstance(statement, ast.If | ast.Try | ast.With):
            for block in ("body", "orelse", "finalbody"):
                yield from _flat(getattr(statement, block, []))
            for handler in getattr(statement, "handlers", []):
                yield from _flat(handler.body)
            if isinstance(statement, ast.If):
                yield ast.Expr(statement.test)
        else:
            yield statement


def _defined(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    if not isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        return []
    return [
        node.id for target in targets if target is not None for node in ast.walk(target) if isinstance(node, ast.Name)
    ]


def _is_docstring(statement: ast.AST) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _nodes(start: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """These nodes and all below them, in no order. ast.walk asks each node for its fields by name, which takes longer."""
    waiting = list(start)
    while waiting:
        node = waiting.pop()
        yield node
        for value in vars(node).values():
            if isinstance(value, ast.AST):
                waiting.append(value)
            elif type(value) is list:
                waiting += [item for item in value if isinstance(item, ast.AST)]


def _bare(tree: ast.Module) -> ast.Module:
    """The tree without docstrings and without the annotations of functions, changed in place: neither decides a result."""
    for node in _nodes([tree]):
        for block in ("body", "orelse", "finalbody"):
            statements = getattr(node, block, None)
            if type(statements) is list:
                statements[:] = [_unannotated(one) if type(one) is ast.AnnAssign else one for one in statements]
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
            arguments = node.args
            every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
            for argument in every:
                if argument is not None:
                    argument.annotation = None
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            _undocumented(node)
    return tree


def _unannotated(node: ast.AnnAssign) -> ast.stmt:
    if node.value is not None and isinstance(node.target, ast.Name):
        return ast.copy_location(ast.Assign([node.target], node.value), node)
    node.annotation = ast.Constant(None) if not isinstance(node.annotation, ast.Constant) else node.annotation
    return node


def _undocumented(node: Any) -> Any:
    if node.body and _is_docstring(node.body[0]):
        node.body = node.body[1:] or [ast.Pass()]
    return node


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]


@functools.cache
def _distributions() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()


def _versions(libraries: Iterable[str]) -> dict[str, str]:
    names = {name for library in libraries for name in (library, *BELOW.get(library, ()))} - NEUTRAL
    found = {}
    for name in sorted(names):
        for distribution in _distributions().get(name, [])[:1]:
            found[distribution] = importlib.metadata.version(distribution)
    return found
