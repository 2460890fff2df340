"""A plug-in of the user's own as it is called: a fault in it, or a result of another type than asked for, is one sentence.

    OwnPlugin(yes_no, "mine:yes_no", returned_by(VERIFIERS))(problem, trace)
        OperatorError: mine:yes_no returned True (bool) for trace t41f...; it should return Verdict.

What it should return is read off the annotations of the built-in plug-ins of that place. What a source yields is looked at
as it comes.
"""

import collections.abc
import functools
import numbers
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from redistill.config.user_plugins import last_words
from redistill.errors import OperatorError

SHOWN_CHARS = 80  # of a wrong value
# Not the user's mistake as such: a verifier's limits and a full GPU have sentences of their own.
_NOT_OURS_TO_SAY = (OperatorError, RecursionError, MemoryError)


def returned_by(table: Mapping[str, Callable[..., Any]]) -> list[Any]:
    """What the plug-ins of a table return, by their annotations, each once."""
    hints = [typing.get_type_hints(member).get("return", Any) for member in table.values()]
    return [hint for place, hint in enumerate(hints) if hint not in hints[:place]]


class OwnPlugin:
    """The user's function under the name that the recipe gives it; expected: the annotations of what it may return. It has the
    signature, name and module of the function, and is pickled by reference to it."""

    def __init__(self, function: Callable[..., Any], name: str, expected: list[Any]) -> None:
        functools.update_wrapper(self, function)
        self.function, self.name, self.expected = function, name, expected

    def __reduce__(self) -> Any:
        return OwnPlugin, (self.function, self.name, self.expected)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and "function" in self.__dict__:
            return getattr(self.function, name)  # __kwdefaults__, __code__
        raise AttributeError(name)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        about = _about(arguments)
        returned = self._caught(about, self.function, *arguments, **options)
        items = next((typing.get_args(hint)[0] for hint in self.expected if _is_iterator(hint)), None)
        if items is not None and isinstance(returned, collections.abc.Iterable):
            return self._each(iter(returned), items)
        self._check(returned, self.expected, about, "return")
        return returned

    def _each(self, returned: Iterator[Any], items: Any) -> Iterator[Any]:
        end = object()
        while (item := self._caught("", next, returned, end)) is not end:
            self._check(item, [items], "", "yield")
            yield item

    def _caught(self, about: str, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        except Exception as error:
            if isinstance(error, _NOT_OURS_TO_SAY) or type(error).__name__ == "OutOfMemoryError":
                raise
            words = last_words(error, Path(self.function.__code__.co_filename).resolve(), named=True)
            raise OperatorError(
                f"{self.name} failed{about and f' on {about}'}: {words}; correct it and run the same command again."
            ) from error

    def _check(self, returned: Any, expected: list[Any], about: str, verb: str) -> None:
        if not any(hint is type(None) or fits(returned, hint) for hint in expected):
            wanted = " or ".join(map(in_words, expected))
            raise OperatorError(
                f"{self.name} {verb}ed {_shown(returned)}{about and f' for {about}'}; it should {verb} {wanted}."
            )


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is what an annotation says, element by element. A bool is not a number."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or isinstance(hint, typing.TypeVar) or origin is typing.Literal:
        return origin is None or value in arguments
    if origin is typing.Annotated:
        return fits(value, arguments[0])
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, one) for one in arguments)
    if hint is None or hint is type(None):
        return value is None
    if hint in (int, float):
        return isinstance(value, numbers.Integral if hint is int else numbers.Real) and not isinstance(value, bool)
    if origin is collections.abc.Callable:
        return callable(value)
    if origin is tuple:
        several = (arguments[0],) * len(value) if arguments[1:] == (...,) and isinstance(value, tuple) else arguments
        return isinstance(value, tuple) and len(value) == len(several) and all(map(fits, value, several))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return isinstance(value, origin) and all(
            fits(k, arguments[0]) and fits(v, arguments[1]) for k, v in value.items()
        )
    if isinstance(origin, type):  # list, Sequence, Iterator ...
        items: Any = value if isinstance(value, collections.abc.Collection) else ()  # an iterator is not used up
        return isinstance(value, origin) and all(fits(item, arguments[0]) for item in items)
    if getattr(hint, "_is_protocol", False):
        return all(hasattr(value, name) for name in vars(hint) if not name.startswith("_"))
    return isinstance(value, hint)


def in_words(hint: Any) -> str:
    """An annotation without the places of its names: `list[Trace] or str`."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(map(in_words, typing.get_args(hint)))
    if hint is type(None):
        return "None"
    return (
        hint.__name__
        if isinstance(hint, type) and not typing.get_args(hint)
        else re.sub(r"\b(?:\w+\.)+(?=\w)", "", str(hint))
    )


def _is_iterator(hint: Any) -> bool:
    return typing.get_origin(hint) is collections.abc.Iterator


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple) and value:
        kinds = sorted({type(item).__name__ for item in value})
        return f"a {type(value).__name__} of {', '.join(kinds)}"
    text = " ".join(repr(value).split())
    return f"{text[:SHOWN_CHARS]}{'...' if len(text) > SHOWN_CHARS else ''} ({type(value).__name__})"


def _about(arguments: tuple[Any, ...]) -> str:
    """Which record it was called on: the trace of (problem, trace) or of a side, the problem of a group."""
    for value in reversed(arguments):
        value = getattr(value, "trace", None) or getattr(value, "problem", None) or value
        if isinstance(identity := getattr(value, "id", None), str):
            return f"{type(value).__name__.lower()} {identity}"
    return ""
