"""The JSON schema of a recipe, plug-ins and their options included: an editor completes and marks while one writes.

    # yaml-language-server: $schema=../docs/recipe.schema.json        the first line of a recipe
    redistill validate --schema > docs/recipe.schema.json             after a change of settings or plug-ins

Made from the same settings and functions that `redistill run` reads: a new plug-in is in it at once. What one setting says
of another (a stage that starts from another) is beyond a schema: `redistill validate` knows it.
"""

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel

from redistill.config.binding import options_model
from redistill.config.tables import Plugin, Recipe
from redistill.config.user_plugins import NAME
from redistill.pipeline.resolve import PLUGINS


def recipe_schema() -> dict[str, Any]:
    """The schema, as plain data in a fixed order."""
    schema = Recipe.model_json_schema()
    definitions: dict[str, Any] = schema.pop("$defs")
    for place, table in PLUGINS.items():
        model, setting, plugin = _setting(place)
        properties = (schema if model is Recipe else definitions[model.__name__])["properties"]
        own = {k: v for k, v in definitions[plugin.__name__]["properties"].items() if k not in ("name", "options")}
        name = place.replace("*", "STAGE")
        properties[setting] = _pointed(properties[setting], plugin.__name__, name)
        definitions[name] = _choice(table, own, definitions)
    for kind in [Plugin.__name__, *(kind.__name__ for kind in Plugin.__subclasses__())]:
        definitions.pop(kind, None)
    benchmarks = definitions["EvaluateSettings"]["properties"]["benchmarks"]
    benchmarks["items"] = {
        "anyOf": [{"type": "string"}, benchmarks["items"]]
    }  # a name alone, as config/tables.py reads it
    schema["title"] = "A recipe of redistill"
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return _plain({**dialect, **schema, "$defs": dict(sorted(definitions.items()))})


def _setting(place: str) -> tuple[type[BaseModel], str, type[BaseModel]]:
    """(the table that holds a setting, its key, the kind of plug-in in it) of a place such as `train.*.objective`."""
    model: type[BaseModel] = Recipe
    *tables, key = [part for part in place.split(".") if part != "*"]
    for table in tables:
        (model,) = _models_in(model.model_fields[table].annotation)
    (plugin,) = _models_in(model.model_fields[key].annotation)
    return model, key, plugin


def _models_in(kind: Any) -> list[type[BaseModel]]:
    """The tables in an annotation: StageSettings of dict[str, StageSettings], Plugin of list[Plugin] | None."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [kind]
    return [found for inner in typing.get_args(kind) for found in _models_in(inner)]


def _pointed(value: Any, old: str, new: str) -> Any:
    """The same piece of schema, with references to `old` leading to `new`."""
    if isinstance(value, list):
        return [_pointed(inner, old, new) for inner in value]
    if isinstance(value, dict):
        return {k: _pointed(inner, old, new) for k, inner in value.items()}
    return f"#/$defs/{new}" if value == f"#/$defs/{old}" else value


def _choice(
    table: Mapping[str, Callable[..., Any]], own: Mapping[str, Any], definitions: dict[str, Any]
) -> dict[str, Any]:
    """A member of a registry: its name, or its name and options. own: settings that every member has besides."""
    tables, short = [], []
    for name, function in table.items():
        options = options_model(name, function).model_json_schema()
        definitions.update(options.pop("$defs", {}))
        tables.append(
            {
                "type": "object",
                "description": (inspect.getdoc(function) or "").partition("\n\n")[0].replace("\n", " "),
                "properties": {"name": {"const": name}, **own, **options.get("properties", {})},
                "required": ["name", *options.get("required", [])],
                "additionalProperties": False,
            }
        )
        if not options.get("required"):
            short.append(name)
    written = {  # as a run's own recipe.yaml writes it
        "type": "object",
        "properties": {"name": {"enum": list(table)}, "options": {"type": "object"}, **own},
        "required": ["name", "options"],
        "additionalProperties": False,
    }
    names = [{"enum": short}] if short else []
    mine = {"type": "string", "pattern": NAME, "description": "a function of your own file, which --code names"}
    table_of_mine = {"type": "object", "properties": {"name": mine, **own}, "required": ["name"]}
    return {"anyOf": [*names, *tables, written, mine, table_of_mine]}


def _plain(value: Any) -> Any:
    """Without what pydantic writes for itself: titles made of names, and whole tables as defaults."""
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _plain(inner)
        for key, inner in value.items()
        if not (key == "title" and isinstance(inner, str) and "$schema" not in value)
        and not (key == "default" and isinstance(inner, dict))
    }
