"""The text of a recipe -> plain data: YAML without object tags, overrides applied, nothing checked but that it is a table.

    read_tree("my.yaml", ["train.redi.learning_rate=1e-6"])  ->  {"name": "mine", "train": {"redi": {...}}, ...}

Every trouble with the text is one sentence; what the keys mean is the business of config/tables.py.
"""

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from redistill.errors import OperatorError
from redistill.safety.paths import check_content
from redistill.text.utf8 import utf8

MAX_CHARS = 2**17  # of a recipe's text; recipes are some thousands long, and a YAML reader is slow
MAX_NODES = 100_000  # values in a recipe; YAML anchors can multiply a few lines into more than fits into memory
MAX_DIGITS = 400  # of a number; reading one takes time that grows with the square of its digits


class _Loader(yaml.SafeLoader):
    """YAML without object tags, its plain words read by the core schema of YAML 1.2: `yes`, `off`, `1:30` and `2026-11-28` are
    text, where YAML 1.1 makes them true, false, 90 and a date; 010 is ten; 1e-6 is a number (YAML 1.1 wants 1.0e-6)."""

    def close(self) -> None:
        """Let go of the text."""
        self.dispose()


_Loader.yaml_implicit_resolvers = {}  # none of YAML 1.1's
for _kind, _pattern, _first in (
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", "true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", "[-+]?[0-9][0-9_]*|0x[0-9a-fA-F]+", list("-+0123456789")),
    ("float", r"[-+]?([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", list("-+.0123456789")),
    ("merge", "<<", ["<"]),
):  # fmt: skip
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(rf"^(?:{_pattern})$"), _first)


def _whole_number(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    text = loader.construct_scalar(node).replace("_", "")
    return int(text, 16 if text.startswith("0x") else 10)


_Loader.add_constructor("tag:yaml.org,2002:int", _whole_number)


def read_value(text: str, where: str) -> Any:
    """Plain data in which no two places share a table, so that --set changes one of them. OperatorError in a sentence."""
    if len(text) > MAX_CHARS:
        raise OperatorError(f"{where} is too large: {len(text):,} characters; the limit is {MAX_CHARS:,}.")

    def unshared(value: Any) -> Any:
        if isinstance(value, dict):
            return {unshared(key): unshared(inner) for key, inner in value.items()}
        if isinstance(value, str) and utf8(value) != value:
            raise ValueError(f"{value[:80]!r} holds half a character, which no file can hold; leave it out")
        return [unshared(inner) for inner in value] if isinstance(value, list) else value

    try:
        with contextlib.closing(_Loader(text)) as loader:
            node = loader.get_single_node()
            if node is None:
                return None
            # counted before anything is made of it: a merge key copies what it names
            if _written_out(node, {}) > MAX_NODES:
                raise OperatorError(f"{where} is too large: over {MAX_NODES:,} values once YAML anchors are expanded.")
            return unshared(loader.construct_document(node))
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a number of too many digits
        raise OperatorError(f"{where} is not valid YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise OperatorError(
            f"{where} is nested too deeply, or contains a YAML anchor that refers to itself."
        ) from error


def _written_out(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node stands for where every anchor is written out; each node is looked at once. `known`: the
    counts found so far, by the node's address. RecursionError for a node that holds itself, ValueError for a number
    without end."""
    if id(node) in known:
        if not known[id(node)]:
            raise RecursionError("a node that holds itself")
        return known[id(node)]
    known[id(node)] = 0
    count = 1
    if isinstance(node, yaml.MappingNode):
        _refuse_repeated(node)
        count += sum(_written_out(key, known) - 1 + _written_out(value, known) for key, value in node.value)
    elif isinstance(node, yaml.SequenceNode):
        count += sum(_written_out(value, known) for value in node.value)
    elif node.tag.endswith((":int", ":float")) and len(node.value) > MAX_DIGITS:
        raise ValueError(f"a number of {len(node.value):,} characters")
    known[id(node)] = count
    return count


def _refuse_repeated(node: yaml.MappingNode) -> None:
    """ValueError for a key that is written twice in one table: YAML would take the last one without a word."""
    lines: dict[str, int] = {}
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            line = key.start_mark.line + 1
            if key.value in lines and key.tag != "tag:yaml.org,2002:merge":
                raise ValueError(
                    f"`{key.value[:80]}` is written twice in one table, on lines {lines[key.value]} and {line}; keep one of them"
                )
            lines[key.value] = line


SHIPPED = Path(__file__).parents[1] / "recipes"


def recipe_path(recipe: str | Path, folder: Path = SHIPPED) -> Path:
    """The file of a recipe: a path, or the name of one that ships in `folder` (`quickstart`). OperatorError for neither."""
    path = Path(recipe)
    check_content(path)
    if path.is_file():
        return path
    shipped = folder / f"{path.name.removesuffix('.yaml')}.yaml"
    if str(path) in (path.name, f"recipes/{path.name}") and shipped.is_file():
        return shipped
    names = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
    raise OperatorError(f"there is no recipe at {path}; name a YAML file, or one of the bundled recipes: {names}.")


def read_tree(path: str | Path, overrides: Sequence[str] = (), name: str | None = None) -> dict[str, Any]:
    """What a recipe's file says, overrides applied, nothing checked but that it is a table."""
    path = recipe_path(path)
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OperatorError(f"cannot read {path} as text: {error}.") from error
    tree = read_text(text, str(path))
    for override in overrides:
        apply_override(tree, override)
    if name is not None:
        tree["name"] = name
    return tree


def read_text(text: str, where: str) -> dict[str, Any]:
    """What a recipe's text says, nothing checked but that it is a table."""
    tree = read_value(text, where)
    if tree is None:
        raise OperatorError(
            f"{where} is empty; `redistill init` writes a recipe, and `redistill recipes` lists those that ship."
        )
    if not isinstance(tree, dict):
        raise OperatorError(
            f"{where} must hold a table (name: ..., student: ..., corpus: ...), not {type(tree).__name__}."
        )
    return tree


def apply_override(tree: dict[str, Any], override: str) -> None:
    """Change one setting of plain data by `a.b=value`. OperatorError where there is no such place."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise OperatorError(
            f"--set {override!r}: write it as a.b=value, for example --set train.redi.learning_rate=1e-6."
        )
    put(tree, key, read_value(text, f"--set {override!r}: the value"), f"--set {override!r}")


def put(tree: dict[str, Any], key: str, value: Any, where: str) -> None:
    """Change the setting `a.b` of plain data to a value. OperatorError, which begins with `where`, where there is no such
    place."""
    *parents, last = key.split(".")
    place: Any = tree
    for step, part in enumerate(parents):
        index: Any = int(part) if isinstance(place, list) and part.isdigit() and int(part) < len(place) else part
        if not isinstance(place, dict) and index is part:
            raise OperatorError(f"{where}: {'.'.join(parents[: step + 1])} is not a table in this recipe.")
        inner = place.get(index) if isinstance(place, dict) else place[index]
        if inner is None or isinstance(inner, str):  # a table that is not written yet, or a name that grows options
            place[index] = inner = {} if inner is None else {"name": inner}
        place = inner
    if isinstance(place, list) and last.isdigit() and int(last) < len(place):
        place[int(last)] = value
    elif isinstance(place, dict):
        place[last] = value
    else:
        raise OperatorError(f"{where}: {'.'.join(parents)} is not a table in this recipe.")
