"""Reading a recipe: a YAML file with `--set` overrides in, a typed Recipe out, every mistake one sentence.

load_recipe("my.yaml", ["seed=1"])  ->  Recipe; OperatorError lists all that is wrong, one mistake per line
"""

import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from redistill.config.tables import Evaluation, Plugin, Recipe
from redistill.config.validation_messages import plain_errors, sentence_of
from redistill.config.yaml_text import read_tree, read_value
from redistill.errors import OperatorError


def read_plugin(text: str, where: str) -> Plugin:
    """A plug-in as the command line writes it: `exact`, or `{name: cascade, percent: strip}`."""
    try:
        return Plugin.model_validate(read_value(text, where))
    except ValidationError as error:
        raise OperatorError(f"{where}: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from error


def load_recipe(path: str | Path, overrides: typing.Sequence[str] = (), name: str | None = None) -> Recipe:
    """The recipe in a YAML file, with `a.b=value` overrides applied. OperatorError lists every mistake, one a line."""
    return parse_recipe(read_tree(path, overrides, name), str(path))


def parse_recipe(tree: Mapping[str, Any], where: str) -> Recipe:
    """A Recipe from plain data; OperatorError lists every mistake with its place and, for a wrong key, the nearest."""
    return _parse(Recipe, tree, where)


def parse_evaluation(tree: Mapping[str, Any], where: str) -> Evaluation:
    """An Evaluation from plain data; errors as of `parse_recipe`."""
    return _parse(Evaluation, tree, where)


_Top = typing.TypeVar("_Top", Recipe, Evaluation)


def _parse(kind: type[_Top], tree: Mapping[str, Any], where: str) -> _Top:
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        raise OperatorError(f"{where}: " + "\n  ".join(sentences_of(error, kind, tree))) from error


def sentences_of(
    error: ValidationError, kind: type[BaseModel] = Recipe, tree: Mapping[str, Any] | None = None
) -> list[str]:
    """What pydantic found wrong with a recipe or an evaluation (`tree`), a sentence each."""
    errors = error.errors() if tree is None else plain_errors(error, tree)
    return [line for e in errors for line in sentence_of(e, kind).split("\n")]
