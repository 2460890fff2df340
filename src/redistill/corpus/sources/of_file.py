"""A source on a file or folder that a command names: `redistill rollout MODEL FILE --source NAME`."""

import functools
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path

from redistill.config.binding import function_of
from redistill.corpus.sources import FOLDERS, SOURCES
from redistill.corpus.sources.files import resolve
from redistill.errors import OperatorError
from redistill.records import Dropped, Group


def source_of_file(name: str, path: Path) -> tuple[functools.partial[Iterator[Group | Dropped]], list[Path]]:
    """(what reads it, the files that are read). OperatorError for an unknown source, for one that reads no file, and where
    nothing is there."""
    function = function_of(SOURCES, name, "--source")
    if function in FOLDERS:
        return functools.partial(function, folder=str(path)), FOLDERS[function](str(path))
    if name in SOURCES and not _reads_file(function):
        readers = [known for known, one in SOURCES.items() if one in FOLDERS or _reads_file(one)]
        raise OperatorError(f"--source {name}: this source reads no file; those that do: {', '.join(readers)}.")
    return functools.partial(function, path=str(path)), resolve(str(path))


def _reads_file(source: Callable[..., object]) -> bool:
    return "path" in inspect.signature(source).parameters
