"""Cache keys: what a stage's result was made from, kept as `key.json` in its folder, and what has changed since.

    key = new_key(settings, {"verify": "5f0c..."}, [run_select, certain])
    changes = compare(stored, key)      Changes(settings=["pairing.name: certain, now shortest"], code=["redistill.select.pairing"])

A key holds the settings as values, the fingerprints of what the stage reads, hashes of the code that decides (closure.py) and
versions of libraries. The parts are kept, not only their hash, so a mismatch can be named, and a setting that has been
added since, and has its default, is not a change.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from redistill.errors import OperatorError
from redistill.io.atomic import read_json, write_json
from redistill.io.fingerprints import fingerprint
from redistill.pipeline.closure import Root, code_of

KEY_FILE = "key.json"


@dataclass(frozen=True, slots=True)
class Values:
    """Settings as JSON values: `full` with every default written out, `written` without what has its default."""

    full: dict[str, Any]
    written: dict[str, Any]

    def also(self, **settings: Any) -> "Values":
        """These and some more."""
        more = values(**settings)
        return Values(self.full | more.full, self.written | more.written)


def values(**settings: Any) -> Values:
    """Settings by name: tables of a recipe (pydantic models) or plain JSON values."""
    full = {name: _dump(value) for name, value in settings.items()}
    written = {name: _dump(value, exclude_defaults=True) for name, value in settings.items()}
    return Values(json.loads(json.dumps(full, default=str)), json.loads(json.dumps(written, default=str)))


def table(model: BaseModel, *leave_out: str) -> "_Table":
    """A table of a recipe without the settings that cannot change a result: worker counts, "judge.options.price_in"."""
    return _Table(model, leave_out)


@dataclass(frozen=True, slots=True)
class _Table:
    model: BaseModel
    leave_out: tuple[str, ...]


def _dump(value: Any, exclude_defaults: bool = False) -> Any:
    if isinstance(value, _Table):
        tree = value.model.model_dump(mode="json", exclude_defaults=exclude_defaults)
        for path in value.leave_out:
            *parents, last = path.split(".")
            place: Any = tree
            for part in parents:
                place = place[int(part)] if isinstance(place, list) else (place or {}).get(part)
            if isinstance(place, dict):
                place.pop(last, None)
        return tree
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_defaults=exclude_defaults)
    return value


@dataclass(frozen=True, slots=True)
class Key:
    """What a result depends on. inputs: the marks of the keys of what it reads; code, libraries: as of closure.Code;
    recipe_fingerprint: of all settings down to the sources, without code; kept: changed modules that a user has accepted."""

    settings: dict[str, Any]
    inputs: dict[str, "Mark"]
    code: dict[str, str]
    libraries: dict[str, str]
    fingerprint: str
    recipe_fingerprint: str
    written: dict[str, Any] = field(default_factory=dict)
    kept: tuple[str, ...] = ()

    @property
    def mark(self) -> "Mark":
        """By what others name this key."""
        return (self.fingerprint, self.recipe_fingerprint)

    def to_json(self) -> dict[str, Any]:
        """The table in key.json."""
        return {
            "fingerprint": self.fingerprint,
            "recipe_fingerprint": self.recipe_fingerprint,
            "settings": self.settings,
            "inputs": self.inputs,
            "code": self.code,
            "libraries": self.libraries,
            "kept": list(self.kept),
        }


Mark = tuple[str, str]  # a key's fingerprint and its recipe_fingerprint


def new_key(settings: Values, inputs: Mapping[str, Mark], roots: Iterable[Root]) -> Key:
    """The key of a result made now from these settings, inputs and code."""
    code = code_of(roots)
    parts = (settings.full, dict(inputs), dict(code.modules), dict(code.libraries))
    by_settings = fingerprint(settings.full, [recipe for _, recipe in inputs.values()])
    return Key(*parts, fingerprint=fingerprint(*parts), recipe_fingerprint=by_settings, written=settings.written)


def key_from_json(stored: Mapping[str, Any]) -> Key:
    """The key that `to_json` wrote."""
    return Key(
        dict(stored["settings"]), {n: (mark[0], mark[1]) for n, mark in stored["inputs"].items()}, dict(stored["code"]),
        dict(stored["libraries"]), stored["fingerprint"], stored["recipe_fingerprint"], kept=tuple(stored.get("kept", ())),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Changes:
    """What differs between a stored key and one of now, a phrase each. inputs: made from other settings; remade: inputs of
    the same settings, made by other code; code: modules and libraries."""

    settings: list[str] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    remade: list[str] = field(default_factory=list)
    code: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.settings or self.inputs or self.remade or self.code)


def compare(stored: Key, now: Key) -> Changes:
    """What has changed since `stored` was made."""
    settings = [
        f"{place}: {_shown(before)}, now {_shown(after)}"
        for place, before, after in _differences(stored.settings, now.settings, now.written)
    ]
    inputs = [
        name for name, mark in now.inputs.items() if name not in stored.inputs or stored.inputs[name][1] != mark[1]
    ]
    inputs += [name for name in stored.inputs if name not in now.inputs]
    remade = [name for name, mark in now.inputs.items() if name not in inputs and stored.inputs[name] != mark]
    code = [name for name in sorted({*stored.code, *now.code}) if stored.code.get(name) != now.code.get(name)]
    code += [  # a library that was absent, or is now, is an optional one that this result did not use
        f"{name} {stored.libraries[name]} -> {now.libraries[name]}"
        for name in sorted({*stored.libraries} & {*now.libraries})
        if stored.libraries[name] != now.libraries[name]
    ]
    return Changes(settings, inputs, remade, code)


class _Absent:
    def __repr__(self) -> str:
        return "absent"


_ABSENT = _Absent()


def _differences(stored: Any, now: Any, written: Any, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(place, before, after); a setting that `stored` does not know, and that has its default now, is not a difference."""
    if isinstance(stored, dict) and isinstance(now, dict):
        for key in sorted({*stored, *now}):
            inner = f"{place}.{key}" if place else key
            chosen = written.get(key, _ABSENT) if isinstance(written, dict) else _ABSENT
            if key not in stored:
                if chosen is not _ABSENT:
                    yield inner, _ABSENT, now[key]
            elif key not in now:
                yield inner, stored[key], _ABSENT
            else:
                yield from _differences(stored[key], now[key], chosen, inner)
    elif isinstance(stored, list) and isinstance(now, list) and len(stored) == len(now):
        inner_written = written if isinstance(written, list) and len(written) == len(now) else [_ABSENT] * len(now)
        for number, (one, other, chosen) in enumerate(zip(stored, now, inner_written, strict=True)):
            yield from _differences(one, other, chosen, f"{place}.{number}")
    elif stored != now:
        yield place, stored, now


def _shown(value: Any) -> str:
    if value is _ABSENT:
        return "absent"
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


# --- on disk ------------------------------------------------------------------------------------------------------


def read_keys(folder: Path, file: str = KEY_FILE) -> dict[str, Key]:
    """The keys in a stage's folder: "" is the stage's own, the others are those of its streams. Empty where there are none."""
    path = folder / file
    if not path.exists():
        return {}
    try:
        return {name: key_from_json(stored) for name, stored in read_json(path)["keys"].items()}
    except (OperatorError, KeyError, TypeError):
        return {}  # a damaged key says nothing, so what lies there counts as made by something else


def write_keys(folder: Path, keys: Mapping[str, Key], file: str = KEY_FILE) -> None:
    """Write key.json."""
    write_json(folder / file, {"keys": {name: key.to_json() for name, key in keys.items()}})
