"""Binding plug-ins: a name and its options in a recipe -> the function with its options checked and bound.

    bind(OBJECTIVES, Plugin(name="redi", options={"rejected_weight": 0.8}), "train.redi.objective")  ->  partial(redi, ...)

A plug-in's options are its function's keyword-only arguments, checked by pydantic against their annotations.
"""

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from redistill.config.own_plugin import OwnPlugin, returned_by
from redistill.config.plugin_tables import Checked, Plugin, Seed
from redistill.config.user_plugins import find_own, is_own, own_names
from redistill.config.validation_messages import did_you_mean, plain_errors, sentence_of
from redistill.errors import OperatorError


def options_of(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """A plug-in's options: its keyword-only parameters whose names do not start with an underscore."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY and not p.name.startswith("_")}


class _Options(Checked):
    """A plug-in's options; a user's own may have any type."""

    model_config = ConfigDict(arbitrary_types_allowed=True)


def options_model(name: str, function: Callable[..., Any]) -> type[BaseModel]:
    """A plug-in's options as a table that refuses what it does not know."""
    hints = typing.get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {
        option: (hints.get(option, Any), ... if p.default is p.empty else p.default)
        for option, p in options_of(function).items()
    }
    if fields.get("seed", [None])[0] is int:
        fields["seed"] = (Seed, fields["seed"][1])
    return create_model(name, __base__=_Options, **fields)


def function_of(table: Mapping[str, Any], name: str, where: str) -> Callable[..., Any]:
    """The function of a plug-in: of the table, or of the user's own file (config/user_plugins.py). OperatorError for an unknown one."""
    if is_own(name):
        return OwnPlugin(find_own(name, table, where), name, returned_by(table))
    if name not in table:
        own = "".join(f"; the function of your own file is written {known}" for known in own_names(name))
        raise OperatorError(f"{where}: there is no {name!r}{own or did_you_mean(name, table)}")
    return table[name]


def bind(table: Mapping[str, Any], plugin: Plugin, where: str) -> functools.partial[Any]:
    """The plug-in's function with its options type-checked and bound. OperatorError for an unknown name or option.

    An option's type is the parameter's annotation, checked by pydantic (so "1e-6" becomes a number); a parameter
    without a default is a required option. The result carries `.keywords`, all options that were written.
    """
    function = function_of(table, plugin.name, where)
    model = options_model(plugin.name, function)
    try:
        bound = model.model_validate(plugin.options)
    except ValidationError as error:
        lines = [sentence_of(e, model) for e in plain_errors(error, plugin.options)]
        raise OperatorError(f"{where} ({plugin.name}): " + "; ".join(lines)) from error
    return functools.partial(function, **{name: getattr(bound, name) for name in bound.model_fields_set})
