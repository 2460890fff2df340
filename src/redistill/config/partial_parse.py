"""A recipe with mistakes, read as far as it can be: what is wrong with its keys and types, and the rest of it.

    found, recipe, doubtful = partial_parse(tree)
    found                  ["train.redi.learning_rat: unknown key; did you mean 'learning_rate'?"]

A table with a mistake in it would hide those behind it, so what cannot be read is said and put aside for a stand-in.
"""

import copy
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from redistill.config.parsing import sentences_of
from redistill.config.tables import Recipe

_STAGE = {"objective": "sft", "learning_rate": 1e-6}
_SOURCE = {"name": "two-habits"}
# what takes the place of a setting that is required and cannot be read
_STAND_INS: dict[str, Any] = {
    "name": "unnamed",
    "student": {"from_config": {}, "alphabet": "01"},
    "corpus": {"sources": [_SOURCE]},
    "sources": [_SOURCE],
    "train": {"sft": _STAGE},
    "objective": "sft",
    "learning_rate": 1e-6,
}


def partial_parse(tree: Mapping[str, Any]) -> tuple[list[str], Recipe | None, frozenset[str]]:
    """(mistakes of keys and types, the recipe without them, the tables that they stood in).

    The recipe is for looking further, never for running. None where nothing sensible is left.
    """
    said: list[str] = []
    replaced: Any = copy.deepcopy(dict(tree))
    doubtful: set[str] = set()
    for round_ in range(12):
        try:
            return said, Recipe.model_validate(replaced), frozenset(doubtful)
        except ValidationError as error:
            errors = sorted(error.errors(), key=lambda e: [str(part) for part in e["loc"]], reverse=True)
            across = all(not e["loc"] for e in errors)  # what stages say of each other comes once all keys are right
            said += (
                sentences_of(error, Recipe, replaced) if round_ == 0 or (across and "stages" not in doubtful) else []
            )
            for mistake in errors:
                doubtful |= _doubtful(mistake["loc"], mistake["type"])
                _replace_invalid(replaced, mistake["loc"])
    return said, None, frozenset(doubtful)


def _doubtful(place: tuple[int | str, ...], kind: str) -> set[str]:
    """What nothing more can be said of once this mistake is replaced."""
    if not place or kind == "extra_forbidden":  # a key too many hides nothing
        return set()
    if place[0] == "train" and len(place) > 2 and place[2] not in ("objective", "modifiers"):
        return {"stages"} if place[2] in ("start", "reference") else set()
    return {str(place[0]), *(["stages"] if place == ("train",) else [])}


def _replace_invalid(tree: dict[str, Any], place: tuple[int | str, ...]) -> None:
    """Put a stand-in where a mistake is, or nothing, which takes the default."""
    if not place:  # stages that refer to stages: each stands alone
        tree["train"] = {
            name if name != "base" and name.isalnum() else f"stage{i}": {
                key: value for key, value in stage.items() if key not in ("start", "reference")
            }
            for i, (name, stage) in enumerate(tree["train"].items())
        }
        (tree.get("evaluate") or {}).pop("models", None)
        return
    inner: Any = tree
    for part in place[:-1]:
        if part in inner if isinstance(inner, dict) else isinstance(part, int) and part < len(inner):
            inner = inner[part]
        else:  # pydantic names a step that is not in the file, such as the kind of a union
            break
        if not isinstance(inner, dict | list):
            return
    last = place[-1]
    if isinstance(inner, list) and isinstance(last, int) and last < len(inner):
        if place[:2] == ("corpus", "sources"):
            inner[last] = _SOURCE
        else:
            del inner[last]
    elif isinstance(inner, dict):
        stand_in = _STAGE if len(place) == 2 and place[0] == "train" else _STAND_INS.get(str(last))
        if stand_in is not None and (len(place) == 1 or place[0] in ("train", "corpus")):
            inner[last] = copy.deepcopy(stand_in)
        else:
            inner.pop(last, None)
