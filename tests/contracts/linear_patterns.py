"""The regular expressions of the package, how each is used, and strings that make a bad one slow.

    for pattern in patterns():             Pattern("redistill.text.thinking", 101, "_TAG", re.compile(...), "search")
        for opening, piece in attacks(pattern.compiled): ...     ("", "</think>"), ("<", " "), ...

A pattern is attacked with repetitions of what it is made of: its literals, one character of each class, the openings of
its shortest match, and each of its repeats after what comes before it. That finds nested and neighbouring repeats, and a
search that begins anew at every character.
"""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any, NamedTuple

import redistill

ROOT = Path(redistill.__file__).parent
_CALLS = {"match": "match", "fullmatch": "fullmatch"}  # every other way of use goes through the whole text
_COMMON = ("\n", " ", "\t", "a", "1", "\\", "{", "}", "(", ")", "$", "<", "[", ".", ",", "-", '"', "*", "#", " \n", "a ", "1 ", "{}", "1,")  # fmt: skip
_OF_CATEGORY = {"CATEGORY_DIGIT": "1", "CATEGORY_SPACE": " ", "CATEGORY_WORD": "a", "CATEGORY_NOT_WORD": " "}


class Pattern(NamedTuple):
    """A compiled pattern, where it stands, and whether it is searched for or only matched at a place."""

    module: str
    line: int
    name: str
    compiled: re.Pattern[str]
    use: str


def patterns() -> Iterator[Pattern]:
    """The patterns of all modules: compiled at module level, in a tuple or dict there, or written in a call of `re`."""
    for path in sorted(ROOT.rglob("*.py")):
        module = ".".join(("redistill", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
        if module.endswith("__main__"):
            continue
        source = path.read_text(encoding="utf-8")
        yield from _of_names(module, source)
        yield from _inline(module, ast.parse(source))


def _of_names(module: str, source: str) -> Iterator[Pattern]:
    for name, value in vars(importlib.import_module(module)).items():
        if not re.search(rf"^{re.escape(name)}\b.*=", source, re.MULTILINE):
            continue  # imported from elsewhere
        several = value.values() if isinstance(value, dict) else value if isinstance(value, tuple | list) else [value]
        for compiled in several:
            parts = compiled if isinstance(compiled, tuple) else [compiled]
            for one in parts:
                if isinstance(one, re.Pattern) and isinstance(one.pattern, str):
                    uses = set(re.findall(rf"\b{re.escape(name)}\.(\w+)\(", source))
                    use = next(iter(uses)) if len(uses) == 1 else "search"
                    line = source[: source.index(name)].count("\n") + 1
                    yield Pattern(module, line, name, one, _CALLS.get(use, "search"))


def _inline(module: str, tree: ast.AST) -> Iterator[Pattern]:
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
            continue
        owner, text = node.func.value, node.args[0]
        if not (
            isinstance(owner, ast.Name)
            and owner.id == "re"
            and isinstance(text, ast.Constant)
            and isinstance(text.value, str)
        ):
            continue
        if node.func.attr != "compile":
            flags = [k.value for k in node.keywords if k.arg == "flags"] + node.args[2:]
            value = re.IGNORECASE if any("IGNORECASE" in ast.dump(flag) for flag in flags) else 0
            yield Pattern(module, node.lineno, "re." + node.func.attr, re.compile(text.value, value), _CALLS.get(node.func.attr, "search"))  # fmt: skip


def attacks(pattern: re.Pattern[str]) -> list[tuple[str, str]]:
    """(opening, piece to repeat after it), shortest first."""
    found = {("", piece) for piece in _COMMON}
    whole = _example(parser.parse(pattern.pattern, pattern.flags), "", found)
    found |= {("", whole[:length]) for length in (*range(1, min(len(whole), 12)), len(whole))}
    return sorted(((o, piece) for o, piece in found if piece), key=lambda one: (len(one[0] + one[1]), one))


def _example(tree: Any, before: str, found: set[tuple[str, str]]) -> str:
    """A short text that a parsed pattern matches, roughly; its repeats and alternatives are added to `found`."""
    text = ""
    for operation, argument in tree:
        kind = str(operation)
        if kind == "LITERAL":
            text += chr(argument)
        elif kind == "NOT_LITERAL":
            text += "a" if argument != ord("a") else "b"
        elif kind == "ANY":
            text += "a"
        elif kind == "IN":
            text += _member(argument)
        elif kind in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            least, _, inner = argument
            unit = _example(inner, before + text, found)
            found |= {("", unit), (before + text, unit)}
            text += unit * max(least, 1)
        elif kind in ("SUBPATTERN", "ATOMIC_GROUP"):
            text += _example(argument[-1] if kind == "SUBPATTERN" else argument, before + text, found)
        elif kind == "BRANCH":
            several = [_example(branch, before + text, found) for branch in argument[1]]
            found |= {("", one) for one in several}
            text += several[0]
        elif kind in ("ASSERT", "ASSERT_NOT"):
            found.add(("", _example(argument[1], before + text, found)))
    return text


def _member(items: Any) -> str:
    """A character of a class."""
    for operation, argument in items:
        kind = str(operation)
        if kind == "LITERAL":
            return chr(argument)
        if kind == "RANGE":
            return chr(argument[0])
        if kind == "CATEGORY":
            return _OF_CATEGORY.get(str(argument), "a")
        if kind == "NEGATE":
            excluded = {chr(a) for o, a in items if str(o) == "LITERAL"}
            return next(letter for letter in "ax 1" if letter not in excluded)
    return "a"
