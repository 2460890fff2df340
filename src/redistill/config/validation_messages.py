"""What pydantic finds wrong, as sentences for a user: where it is, what it is, and what may have been meant.

did_you_mean("reddi", ["sft", "redi"])   ->  "; did you mean 'redi'?"
sentence_of(error, StageSettings)        ->  "train.redi.learning_rat: unknown key; did you mean 'learning_rate'?"
"""

import difflib
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or the list of what is known where nothing is near."""
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else f"; available: {', '.join(known)}" if known else ""


def sentence_of(error: Mapping[str, Any], model: type[BaseModel]) -> str:
    """One of `ValidationError.errors()` of a table; several lines where the table's own check said several."""
    place = ".".join(str(part) for part in error["loc"]) or "recipe"
    if error["type"] == "extra_forbidden":
        keys = _keys_at(model, error["loc"][:-1])
        return f"{place}: unknown key{did_you_mean(str(error['loc'][-1]), keys)}"
    if error["type"] == "missing":
        return f"{place}: this setting is required"
    message = error["msg"].removeprefix("Value error, ")
    if place == "recipe":
        return message
    shown = "" if isinstance(error.get("input"), (dict, list)) else f" (got {str(error.get('input'))[:80]!r})"
    return f"{place}: {message[:1].lower()}{message[1:]}{shown}"


def _keys_at(model: type[BaseModel], place: tuple[Any, ...]) -> list[str]:
    kind: Any = model
    for part in place:
        if isinstance(kind, type) and issubclass(kind, BaseModel) and part in kind.model_fields:
            kind = kind.model_fields[part].annotation
        elif typing.get_origin(kind) in (dict, list):
            kind = typing.get_args(kind)[-1]
        if typing.get_origin(kind) in (typing.Union, types.UnionType):
            kind = next((k for k in typing.get_args(kind) if k is not type(None)), kind)
    return list(kind.model_fields) if isinstance(kind, type) and issubclass(kind, BaseModel) else []
