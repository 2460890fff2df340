"""Plug-ins of the user's own, in a file outside this package: `--code my_verifiers.py`, and `my_verifiers:yes_no` in a recipe.

    load_code(Path("my_verifiers.py"))                  the file is imported, as the module my_verifiers
    find_own("my_verifiers:yes_no", VERIFIERS, "...")   its function yes_no, where it fits beside those of VERIFIERS

A recipe is data, and somebody else may have written it: reading one never runs code. Only a file that the user names on
the command line is imported, and only a function of such a file can be named by a recipe. The file's folder goes to the end of
the import path, so that worker processes find it too and nothing of that folder takes the place of another module.
"""

import hashlib
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from redistill.config.validation_messages import did_you_mean
from redistill.errors import OperatorError
from redistill.safety.paths import home_path

NAME = r"^[A-Za-z_]\w*:[A-Za-z_]\w*$"  # as a recipe writes it: MODULE:FUNCTION

_LOADED: dict[str, tuple[Path, str]] = {}  # module -> its file, and the file's SHA-256 when it was imported


def load_code(path: str | Path) -> str:
    """Import a .py file and return its module's name; imported anew where the file has changed since.

    OperatorError where there is no such file, where its name is taken by another module, or where importing it fails.
    """
    path = home_path(path)
    name = path.stem
    if path.suffix != ".py" or not path.is_file() or not name.isidentifier():
        raise OperatorError(f"--code {path}: there is no such file; name a Python file, such as my_verifiers.py.")
    path = path.resolve()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if _LOADED.get(name) == (path, digest):
        return name
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    importlib.invalidate_caches()
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None or Path(spec.origin).resolve() != path:
        where = f" at {spec.origin}" if spec is not None else ""
        raise OperatorError(f"--code {path}: there is another module called {name}{where}; give the file another name.")
    try:
        module = importlib.import_module(name)
        if name in _LOADED:
            importlib.reload(module)
    except Exception as error:  # whatever the user's code raises is the user's to read
        raise OperatorError(f"--code {path}: cannot be imported: {last_words(error, path)}.") from error
    _LOADED[name] = (path, digest)
    return name


def is_own(name: str) -> bool:
    """True for `my_verifiers:yes_no`, False for a plug-in of this package."""
    return ":" in name


def own_names(function: str) -> list[str]:
    """How a recipe names the functions of this name in the files that were given with --code."""
    return [
        f"{module}:{function}"
        for module in sorted(_LOADED)
        if inspect.isfunction(vars(sys.modules[module]).get(function))
    ]


def find_own(name: str, table: Mapping[str, Callable[..., Any]], where: str) -> Callable[..., Any]:
    """The function that a recipe names. OperatorError where its file was not named with --code, has no such function, or
    the function does not take what those of `table` take."""
    module, _, function = name.partition(":")
    if not module.isidentifier():
        stem = module.removesuffix(".py").replace("\\", "/").rpartition("/")[2]
        raise OperatorError(
            f"{where}: your own code is named by its file's name without folder and ending: {stem}:{function}, with --code {stem}.py."
        )
    if module not in _LOADED:
        raise OperatorError(
            f"{where}: {name} is your own code, which a recipe cannot load by itself; pass its file: --code {module}.py."
        )
    path, members = _LOADED[module][0], vars(sys.modules[module])
    function_found = members.get(function)
    if not inspect.isfunction(function_found):
        known = [key for key, value in members.items() if inspect.isfunction(value) and value.__module__ == module]
        raise OperatorError(f"{where}: {path} has no function {function!r}{did_you_mean(function, known)}")
    wanted = [_positional(member) for member in table.values()]
    if len(_positional(function_found)) not in {len(parameters) for parameters in wanted}:
        takes = ", ".join(_positional(function_found)) or "nothing"
        raise OperatorError(
            f"{where}: {name} takes ({takes}); it should take ({', '.join(wanted[0])}), and its options after a *."
        )
    return function_found


def code_files(names: Iterable[str]) -> dict[str, str]:
    """The files that these plug-ins come from, by path, with their SHA-256; those of this package count for nothing."""
    modules = sorted({name.partition(":")[0] for name in names if is_own(name)} & _LOADED.keys())
    return {str(_LOADED[module][0]): _LOADED[module][1] for module in modules}


def code_identity(names: Iterable[str]) -> list[str]:
    """The checksums of those files, for fingerprints."""
    return list(code_files(names).values())


def code_folders() -> list[str]:
    """The folders of all files that were named, for the import path of processes elsewhere."""
    return sorted({str(path.parent) for path, _ in _LOADED.values()})


def last_words(error: BaseException, path: Path, named: bool = False) -> str:
    """What went wrong and in which line of the user's file: `ZeroDivisionError: division by zero (line 12)`; named: `(line 12 of
    mine.py)`."""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).resolve() == path]
    if isinstance(error, SyntaxError):
        lines.append(error.lineno)
    place = f" (line {lines[-1]}{f' of {path.name}' if named else ''})" if lines else ""
    words = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {words}{place}" if words else f"{type(error).__name__}{place}"


def _positional(function: Callable[..., Any]) -> list[str]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in inspect.signature(function).parameters.values() if p.kind in kinds]
