"""`redistill validate`: every mistake of a recipe at once, found without reading the traces through or fetching anything.

    mistakes("my.yaml")  ->  ["train.redi.learning_rat: unknown key; did you mean 'learning_rate'?",
                              "train.redi.objective: there is no 'reddi'; did you mean 'redi'?"]

A table with a mistake in it would hide those behind it, so what cannot be read is said, put aside for a stand-in, and the
rest is looked at as `redistill run` would. What lies on the hub or in object storage is left alone: `run` finds it or says so.
"""

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from redistill.config.binding import bind
from redistill.config.parsing import sentences_of
from redistill.config.tables import Recipe
from redistill.config.yaml_text import read_text, read_tree
from redistill.corpus.sources.files import note_on
from redistill.corpus.sources.rows import sample_rows, taking_notes
from redistill.errors import ErrorCollector, OperatorError
from redistill.pipeline.resolve import PLUGINS, find_parts, is_elsewhere
from redistill.records import Dropped

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


def mistakes(path: str | Path, overrides: Sequence[str] = ()) -> list[str]:
    """All that is wrong with a recipe, a sentence each; empty where it is fine."""
    try:
        tree = read_tree(path, overrides)
    except OperatorError as error:
        return [str(error)]
    return _mistakes_of(tree)


def mistakes_in(text: str, where: str) -> list[str]:
    """The same of a recipe that is not in a file yet."""
    return _mistakes_of(read_text(text, where))


NOTED_ROWS = 200  # of every source's first file


def notes(path: str | Path, overrides: Sequence[str] = ()) -> list[str]:
    """What is no mistake and yet worth knowing of a recipe without mistakes: splits and files that its sources leave out,
    columns that they do not read, and rows that they drop, by a look at the first rows on this machine."""
    recipe = partial_parse(read_tree(path, overrides))[1]
    said: list[str] = []
    for place, plugin in enumerate(recipe.corpus.sources if recipe is not None else []):
        source = bind(PLUGINS["corpus.sources"], plugin, f"corpus.sources.{place}")
        options = source.keywords
        if "path" not in options or is_elsewhere(options["path"]):
            continue
        where = f"corpus.sources.{place}"
        if note := note_on(options):
            said.append(f"{where}: {note}")
        with taking_notes() as noted, sample_rows(options["path"], options.get("split"), NOTED_ROWS):
            items = list(source())
        dropped = Counter(item.reason for item in items if isinstance(item, Dropped))
        example = {
            item.reason: f"{item.id}: {item.detail}" if item.detail else item.id
            for item in reversed(items)
            if isinstance(item, Dropped)
        }
        said += [
            f"{where}: {count} of {len(items)} sampled rows are dropped as {reason}, such as {example[reason]}"
            for reason, count in dropped.most_common()
        ]
        if noted.unread:
            said.append(f"{where}: the columns {', '.join(sorted(noted.unread))} are not read by {plugin.name}")
    return said


def _mistakes_of(tree: Mapping[str, Any]) -> list[str]:
    found, recipe, doubtful = partial_parse(tree)
    if recipe is not None:
        collector = ErrorCollector()
        find_parts(recipe, collector, fetch=False, doubtful=doubtful)
        found += [sentence for sentence in collector.sentences if sentence not in found]
    return found


def partial_parse(tree: Mapping[str, Any]) -> tuple[list[str], Recipe | None, frozenset[str]]:
    """(mistakes of keys and types, the recipe without them, the tables that they stood in).

    The recipe is for looking further, never for running. None where nothing sensible is left.
    """
    said: list[str] = []
    healed: Any = copy.deepcopy(dict(tree))
    doubtful: set[str] = set()
    for round_ in range(12):
        try:
            return said, Recipe.model_validate(healed), frozenset(doubtful)
        except ValidationError as error:
            found = sorted(error.errors(), key=lambda e: [str(part) for part in e["loc"]], reverse=True)
            across = all(not e["loc"] for e in found)  # what stages say of each other comes once all keys are right
            said += sentences_of(error) if round_ == 0 or (across and "stages" not in doubtful) else []
            for mistake in found:
                doubtful |= _doubtful(mistake["loc"], mistake["type"])
                _heal(healed, mistake["loc"])
    return said, None, frozenset(doubtful)


def _doubtful(place: tuple[int | str, ...], kind: str) -> set[str]:
    """What nothing more can be said of once this mistake is healed."""
    if not place or kind == "extra_forbidden":  # a key too many hides nothing
        return set()
    if place[0] == "train" and len(place) > 2 and place[2] not in ("objective", "modifiers"):
        return {"stages"} if place[2] in ("start", "reference") else set()
    return {str(place[0]), *(["stages"] if place == ("train",) else [])}


def _heal(tree: dict[str, Any], place: tuple[int | str, ...]) -> None:
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
