"""`redistill validate` without torch: most checks name torch only in annotations and base classes, and importing it costs seconds.

    with without_torch():
        mistakes, notes = ...        as with torch, or NeedsTorch at the first check that computes with it

Inside the block `import torch` gives stand-ins. They serve as annotations, base classes and decorators; calling, iterating or
testing one raises NeedsTorch, and the caller repeats everything with the real library. transformers is imported as on a machine
without torch, which it supports: tokenizers and configs work, and its models raise ImportError. With `transformers=False` it is
a stand-in too. Every module imported inside the block is forgotten afterwards, so nothing keeps a stand-in.
"""

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import types
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

NEED_TORCH = ("torch", "accelerate", "peft", "bitsandbytes")
DECORATED = (types.FunctionType, type, staticmethod, classmethod)


class NeedsTorch(BaseException):
    """A check computes with torch. No Exception, because those become sentences on the way (model/loading.py)."""


class _StandIn:
    """Anything of a module that is not there, named `torch.nn.Module`."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, key: str) -> "_StandIn":
        if key.startswith("__"):
            raise AttributeError(key)
        return _StandIn(f"{self._name}.{key}")

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type]:
        return (_Base,)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """A decorator, with or without arguments (`@torch.no_grad()`), while a module is imported; nothing else."""
        if len(arguments) == 1 and not options and isinstance(arguments[0], DECORATED):
            return arguments[0]
        caller = sys._getframe(1)
        if caller.f_code.co_name == "<module>" or "__qualname__" in caller.f_locals:
            return _StandIn(f"{self._name}()")
        self._refuse()

    def __or__(self, other: Any) -> "_StandIn":
        return self

    __ror__ = __or__

    def __getitem__(self, key: Any) -> "_StandIn":
        return self

    def _refuse(self, *_: Any) -> NoReturn:
        raise NeedsTorch(self._name)

    __instancecheck__ = __subclasscheck__ = __bool__ = __iter__ = __len__ = __contains__ = __enter__ = _refuse


class _Base:
    """What a class of torch's stands for as a base class."""

    def __init__(self, *_: Any, **__: Any) -> None:
        raise NeedsTorch(type(self).__name__)


class _StandInModule(types.ModuleType):
    def __getattr__(self, key: str) -> _StandIn:
        if key.startswith("__"):
            raise AttributeError(key)
        return _StandIn(f"{self.__name__}.{key}")


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds stand-ins for the packages `names` and everything below them."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] not in self.names:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _StandInModule(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing to run."""


def is_torch_loaded() -> bool:
    """True where torch or transformers is in this process already, so there is nothing to save."""
    return not sys.modules.keys().isdisjoint(("torch", "transformers"))


@contextlib.contextmanager
def without_torch(*, transformers: bool) -> Iterator[None]:
    """Stand-ins for torch, and for transformers where False, within the block. Only where `is_torch_loaded` is False."""
    before = set(sys.modules)
    names = [*NEED_TORCH, *([] if transformers else ["transformers"])]
    finder = _Finder(
        [name for name in names if importlib.util.find_spec(name) is not None]
    )  # no more than is installed
    try:
        if transformers:
            _import_transformers()
        sys.meta_path.insert(0, finder)
        yield
    finally:
        if finder in sys.meta_path:
            sys.meta_path.remove(finder)
        for name in set(sys.modules) - before:
            if name.partition(".")[0] in (*finder.names, "redistill", "transformers"):
                _forget(name)


def _import_transformers() -> None:
    """transformers as on a machine without torch; what needs torch there raises ImportError."""
    quiet, before = "TRANSFORMERS_NO_ADVISORY_WARNINGS", os.environ.get("TRANSFORMERS_NO_ADVISORY_WARNINGS")
    sys.modules["torch"] = None  # type: ignore[assignment]  # Python's sign for "not installed"
    os.environ[quiet] = "1"
    try:
        library = importlib.import_module("transformers.utils.import_utils")
        library.is_torch_available()  # asked once and remembered
    finally:
        del sys.modules["torch"]
        if before is None:
            del os.environ[quiet]
        else:
            os.environ[quiet] = before


def _forget(name: str) -> None:
    module = sys.modules.pop(name)
    parent, _, own = name.rpartition(".")
    if sys.modules.get(parent) is not None and vars(sys.modules[parent]).get(own) is module:
        delattr(sys.modules[parent], own)
