"""What pydantic finds wrong, as sentences for a user: where it is, what it is, and what may have been meant.

did_you_mean("reddi", ["sft", "redi"])   ->  "; did you mean 'redi'?"
sentence_of(error, StageSettings)        ->  "train.redi.learning_rat: unknown key; did you mean 'learning_rate'?"
"""

import difflib
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or the list of what is known where nothing is near."""
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else f"; available: {', '.join(known)}" if known else ""


def plain_errors(error: ValidationError, tree: Any) -> list[dict[str, Any]]:
    """The errors of a tree of plain data, each at a place that is in it. Of a value that may be of several kinds pydantic lists what keeps
    it from each of them, with the kind as a part of the place; kept is what is said of the nearest kind, without its name."""
    found, branches = list[dict[str, Any]](), dict[tuple[Any, ...], dict[Any, list[dict[str, Any]]]]()
    for one in error.errors():
        kept, kind = _place_in(one["loc"], tree, is_missing=one["type"] == "missing")
        plain = {**one, "loc": kept}
        if kind is None:
            found.append(plain)
            continue
        at = branches.setdefault(one["loc"][:kind], {})
        if not at:  # stands where the first of its kinds stood
            found.append({"branches": at, "length": kind})
        at.setdefault(one["loc"][kind], []).append(plain)
    return [one for item in found for one in (_nearest(item) if "branches" in item else [item])]


def _place_in(place: tuple[Any, ...], tree: Any, *, is_missing: bool) -> tuple[tuple[Any, ...], int | None]:
    """(the parts of a place that are keys of the tree, the number of the first part that is none)."""
    kept, kind, node = list[Any](), None, tree
    for number, part in enumerate(place):
        names = {str(key): key for key in node} if isinstance(node, Mapping) else {}
        inside = node[names[str(part)]] if str(part) in names else None
        # A kind may be called by the key that only it has, such as `base_url`: what stands behind is a key beside that one.
        beside = [
            str(key) in names or (is_missing and number == len(place) - 2) for key in place[number + 1 : number + 2]
        ]
        if any(beside) and str(part) in names and not isinstance(inside, Mapping | list | tuple):
            kind = number if kind is None else kind
            continue
        if str(part) in names:
            node = inside
        elif isinstance(node, list | tuple) and isinstance(part, int) and part < len(node):
            node = node[part]
        elif not (part == "[key]" or (is_missing and number == len(place) - 1)):
            kind = number if kind is None else kind
            continue
        kept.append(part)
    return tuple(kept), kind


def _nearest(item: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of the errors by kind those of the kind that the value comes nearest to: whose errors lie deepest, and are fewest."""
    return min(item["branches"].values(), key=lambda errors: (-max(len(e["loc"]) for e in errors), len(errors)))


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
