"""What the source files of the package define and name, one at a time, and a file that keeps it for the next process.

    kept = KeptModules(ROOT)
    module = kept.module("redistill.verify.exact", path.read_bytes())
    module.definitions["exact"].names      {("redistill.verify.answers", "final_answer"), ...}
    kept.save()

A run asks for some 300 files at its start, and parsing them takes about as long as importing torch. What was found in a
file depends on its bytes, on which modules there are and on this reader alone, so it is kept under a hash of these in
`code.json` of the cache's folder (REDISTILL_CACHE). The file may be removed at any time.
"""

import ast
import contextlib
import gc
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redistill.errors import OperatorError
from redistill.io.atomic import read_json, write_json
from redistill.io.stores import cache_folder

PACKAGE = "redistill"
FILE = "code.json"
MOST_KEPT = 2000  # modules, those of this process last: some five states of the package

Name = tuple[str, str]  # (module, name in it): "" for the module itself, "*" for all of it


@dataclass(frozen=True, slots=True)
class Definition:
    """A top-level name of a module: its source without docstrings, what of the package it names, and the libraries."""

    source: str
    names: frozenset[Name]
    libraries: frozenset[str]


@dataclass(frozen=True, slots=True)
class Module:
    """A source file, cut into its top-level definitions. `""` stands for the statements that run when it is imported.
    imports: each local name that comes from elsewhere."""

    definitions: Mapping[str, Definition]
    imports: Mapping[str, Name]


class KeptModules:
    """Modules of the package in the folder `root`, each read once for the same bytes, by whichever process. names: of all."""

    def __init__(self, root: Path) -> None:
        files = sorted(path.relative_to(root).with_suffix("").parts for path in root.rglob("*.py"))
        self.names = frozenset(".".join((PACKAGE, *parts)).removesuffix(".__init__") for parts in files)
        here = [sys.version, Path(__file__).read_text("utf-8"), *sorted(self.names)]
        self._state = hashlib.sha256("\0".join(here).encode()).digest()
        self._kept = _load(cache_folder() / FILE)
        self._changed = False

    def module(self, name: str, source: bytes) -> Module:
        """The module of this name with these bytes."""
        key = hashlib.sha256(b"\0".join((self._state, name.encode(), source))).hexdigest()[:32]
        try:
            definitions = _from_json(self._kept[key])
        except (
            KeyError,
            TypeError,
            ValueError,
            AttributeError,
        ):  # not there, or of a file that somebody else has written
            with _no_collection():
                definitions = read_module(name, source.decode("utf-8"), self.names)
            self._changed = True
            self._kept.pop(key, None)
            self._kept[key] = _to_json(definitions)
        return definitions

    def save(self) -> None:
        """Keep what was read since. A cache: where it cannot be written, the next process reads the sources again."""
        if not self._changed:
            return
        newest = dict(list(self._kept.items())[-MOST_KEPT:])
        with contextlib.suppress(OperatorError):
            write_json(cache_folder() / FILE, newest)
        self._changed = False


def read_module(name: str, text: str, modules: Set[str]) -> Module:
    """Parse a source file. modules: the names of all modules of the package."""
    tree = _bare(ast.parse(text))
    imports: dict[str, Name] = {}
    statements: dict[str, list[ast.stmt]] = {"": []}
    for statement in _flat(tree.body):
        if isinstance(statement, ast.Import | ast.ImportFrom):
            imports |= dict(_imported(statement, modules))
            continue
        names = _defined(statement)
        for defined in names or [""]:
            if names or not _is_docstring(statement):
                statements.setdefault(defined, []).append(statement)
    reader = _Reader(name, imports, frozenset(statements), modules)
    return Module({defined: reader.definition(defined, found) for defined, found in statements.items()}, imports)


@dataclass(frozen=True, slots=True)
class _Reader:
    """What the statements of one module name. here: the module's own top-level names."""

    module: str
    imports: Mapping[str, Name]
    here: frozenset[str]
    modules: Set[str]

    def definition(self, defined: str, statements: list[ast.stmt]) -> Definition:
        names: set[Name] = set() if defined == "" else {(self.module, "")}
        libraries: set[str] = set()
        whole = {module for module, name in self.imports.values() if name == ""}
        for node in _nodes(statements):
            targets: list[Name] = []
            if isinstance(node, ast.Import | ast.ImportFrom):
                targets = list(dict(_imported(node, self.modules)).values())  # inside a function: all that it binds
                names |= {(m, "*") for m, name in targets if name == "" and m.startswith(f"{PACKAGE}.")}
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                module = self.imports.get(node.value.id)
                if module is not None and module[1] == "":
                    targets.append((module[0], node.attr))
            elif isinstance(node, ast.Name):
                target = (self.module, node.id) if node.id in self.here else self.imports.get(node.id)
                if target is not None:
                    targets.append(target)
            for module_name, name in targets:
                if module_name.partition(".")[0] != PACKAGE:
                    libraries.add(module_name.partition(".")[0])
                elif name or module_name not in whole:
                    names.add((module_name, name or "*"))
        source = "\n".join(map(ast.unparse, statements))
        return Definition(source, frozenset(names), frozenset(libraries - set(sys.stdlib_module_names)))


def _imported(node: ast.Import | ast.ImportFrom, modules: Set[str]) -> Iterator[tuple[str, Name]]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            bound = alias.asname or alias.name.partition(".")[0]
            yield bound, (alias.name if alias.asname else bound, "")
        return
    for alias in node.names:
        module = f"{node.module}.{alias.name}"
        yield alias.asname or alias.name, (module, "") if module in modules else (node.module or "", alias.name)


# --- the file -----------------------------------------------------------------------------------------------------


def _load(path: Path) -> dict[str, str]:
    try:
        table = read_json(path)
    except OperatorError:  # there is none yet, or a bit of it has changed
        return {}
    if not isinstance(table, dict):
        return {}
    return {key: kept for key, kept in table.items() if isinstance(kept, str) and key != "checksum"}


def _to_json(module: Module) -> str:
    definitions = {
        name: [one.source, sorted(one.names), sorted(one.libraries)] for name, one in module.definitions.items()
    }
    return json.dumps([definitions, module.imports])


def _from_json(stored: str) -> Module:
    definitions, imports = json.loads(stored)
    return Module(
        {
            name: Definition(source, frozenset((m, n) for m, n in names), frozenset(libraries))
            for name, (source, names, libraries) in definitions.items()
        },
        {name: (m, n) for name, (m, n) in imports.items()},
    )


# --- syntax trees -------------------------------------------------------------------------------------------------


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
