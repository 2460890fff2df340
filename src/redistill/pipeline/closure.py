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

import functools
import hashlib
import importlib.metadata
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from redistill.config.extras import EXTRAS, is_installed
from redistill.pipeline.source_definitions import PACKAGE, KeptModules, Module

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
            start += [(item, name) for name in package.module(item).definitions]
            continue
        if item.__module__.partition(".")[0] != PACKAGE:  # a plug-in of the user's own: its whole file
            file = inspect.getsourcefile(inspect.unwrap(item))
            own[item.__module__] = hashlib.sha256(Path(file).read_bytes()).hexdigest()[:24] if file else ""
            continue
        start.append((item.__module__, item.__qualname__.partition(".")[0]))
    for module, name in package.reached(start):
        definition = package.module(module).definitions[name]
        parts.setdefault(module, set()).add(definition.source)
        libraries |= definition.libraries
    hashes = {module: _hash("\n".join(sorted(sources))) for module, sources in parts.items()}
    return Code(dict(sorted((hashes | own).items())), _versions(libraries))


def is_presentation(module: str) -> bool:
    """True for a module that decides no result."""
    return any(module == name or module.startswith(f"{name}.") for name in PRESENTATION)


class _Package:
    """The modules of the package, each read when it is first asked for, from its source or from what was kept of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.modules: dict[str, Module] = {}
        self._kept = KeptModules(root)

    def path(self, module: str) -> Path:
        folder = self.root.joinpath(*module.split(".")[1:])
        return folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")

    def module(self, name: str) -> Module:
        if name not in self.modules:
            self.modules[name] = self._kept.module(name, self.path(name).read_bytes())
        return self.modules[name]

    def reached(self, start: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        """Every (module, name) that the start names, directly or through others."""
        seen: set[tuple[str, str]] = set()
        waiting = list(start)
        while waiting:
            module, name = waiting.pop()
            if (module, name) in seen or is_presentation(module) or module not in self._kept.names:
                continue
            seen.add((module, name))
            here = self.module(module)
            if name == "*":
                waiting += [(module, one) for one in here.definitions]
            elif (definition := here.definitions.get(name)) is not None:
                yield module, name
                waiting += definition.names
            elif (target := here.imports.get(name)) is not None and target[0].partition(".")[0] == PACKAGE:
                waiting += [(module, ""), (target[0], target[1] or "*")]
            elif f"{module}.{name}" in self._kept.names:
                waiting.append((f"{module}.{name}", "*"))
        self._kept.save()


@functools.lru_cache(maxsize=4)
def _package(root: Path) -> _Package:
    return _Package(root)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]


@functools.cache
def _distributions() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()


@functools.cache
def _distribution(library: str) -> tuple[str, str] | None:
    """(name, version) of the distribution that is imported by this name. Most have that name or stand in EXTRAS; to look it up
    among all that is installed takes as long as importing numpy."""
    likely = re.match(r"[\w.-]+", EXTRAS[library][1] if library in EXTRAS else library)
    try:
        distribution = importlib.metadata.distribution(likely[0] if likely else library)
    except importlib.metadata.PackageNotFoundError:
        if not is_installed(library):
            return None
        named = _distributions().get(library, [])[:1]
        return (named[0], importlib.metadata.version(named[0])) if named else None
    return distribution.metadata["Name"], distribution.version


def _versions(libraries: Iterable[str]) -> dict[str, str]:
    names = {name for library in libraries for name in (library, *BELOW.get(library, ()))} - NEUTRAL
    return dict(found for name in sorted(names) if (found := _distribution(name)) is not None)
