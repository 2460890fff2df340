"""Calls that a docstring shows can be made: the function is there, and takes what the example gives it.

A file opens with an example, `pair_id(chosen_id, rejected_id)`, and examples outlive signatures. Here each call at the beginning
of an indented line is bound to the signature in the source, without importing it; `...` stands for further arguments. Names
that the file neither defines nor imports from redistill are left alone: they are the reader's, or another library's. Where a
file's example shows a call of plain values with its plain result, `pass_at_k(4, 1, k=2) ->  0.5`, the call is made.
"""

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).parents[2] / "src"
# An indented line that begins with a call, perhaps `value = call(...)`.
SHOWN = re.compile(r"^ {2,}(?:\w+(?:, \w+)* = )?(?=[A-Za-z_]\w*\()", re.MULTILINE)


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def calls_of(docstring: str) -> Iterator[ast.Call]:
    """The calls at the beginning of indented lines; one that goes on over several lines is read to its end."""
    for match in SHOWN.finditer(docstring):
        rest = docstring[match.end() :]
        for end in (place.end() for place in re.finditer(r"\)", rest[:600])):
            try:
                read = ast.parse(" ".join(rest[:end].split()), mode="eval").body
            except SyntaxError:
                continue
            if isinstance(read, ast.Call) and isinstance(read.func, ast.Name):
                yield read
            break


def signature_of(name: str, tree: ast.Module) -> inspect.Signature | None:
    """The signature of a function or class at the top of a file, or of one that it imports from redistill; None: not known here."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
            return _of_arguments(node.args)
        if isinstance(node, ast.ClassDef) and node.name == name:
            return _of_class(node)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("redistill"):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    path = SOURCE / Path(*node.module.split(".")).with_suffix(".py")  # type: ignore[union-attr]
                    return signature_of(alias.name, parsed(path)) if path.exists() else None
    return None


def _of_arguments(arguments: ast.arguments, skip: int = 0) -> inspect.Signature:
    kinds, empty = inspect.Parameter, inspect.Parameter.empty
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [empty] * (len(positional) - len(arguments.defaults)) + [None] * len(arguments.defaults)
    parameters = [kinds(a.arg, kinds.POSITIONAL_OR_KEYWORD, default=d) for a, d in zip(positional, defaults)][skip:]
    if arguments.vararg:
        parameters.append(kinds(arguments.vararg.arg, kinds.VAR_POSITIONAL))
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults):
        parameters.append(kinds(argument.arg, kinds.KEYWORD_ONLY, default=empty if default is None else None))
    if arguments.kwarg:
        parameters.append(kinds(arguments.kwarg.arg, kinds.VAR_KEYWORD))
    return inspect.Signature(parameters)


def _of_class(node: ast.ClassDef) -> inspect.Signature | None:
    for part in node.body:
        if isinstance(part, ast.FunctionDef) and part.name == "__init__":
            return _of_arguments(part.args, skip=1)
    if node.bases and not any(isinstance(base, ast.Name) and base.id == "NamedTuple" for base in node.bases):
        return None  # what it takes is defined elsewhere
    fields = [part for part in node.body if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)]
    kinds, empty = inspect.Parameter, inspect.Parameter.empty
    return inspect.Signature(
        [kinds(f.target.id, kinds.POSITIONAL_OR_KEYWORD, default=empty if f.value is None else None) for f in fields]  # type: ignore[union-attr]
    )


def refusal(call: ast.Call, signature: inspect.Signature) -> str:
    """Why a call cannot be made; "" where it can, as far as its dots leave that open."""
    more = any(isinstance(a, ast.Constant) and a.value is ... for a in call.args) or any(
        k.arg is None for k in call.keywords
    )
    given = [a for a in call.args if not (isinstance(a, ast.Constant) and a.value is ...)]
    if any(isinstance(argument, ast.Starred) for argument in given):
        return ""
    named = {k.arg: None for k in call.keywords if k.arg is not None}
    try:
        (signature.bind_partial if more else signature.bind)(*given, **named)
    except (TypeError, ValueError) as error:
        return str(error)
    return ""


def test_the_calls_of_docstrings_are_calls_of_what_is_there() -> None:
    wrong, checked = [], 0
    for path in sorted(SOURCE.rglob("*.py")):
        tree = parsed(path)
        for node in ast.walk(tree):
            if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for call in calls_of(ast.get_docstring(node, clean=False) or ""):
                if (signature := signature_of(call.func.id, tree)) is None:  # type: ignore[attr-defined]
                    continue
                checked += 1
                if why := refusal(call, signature):
                    wrong.append(f"{path.relative_to(SOURCE)}: {ast.unparse(call)}: {why}")
    assert wrong == []
    assert checked > 100, checked  # else the examples are written in a way that this does not see


def test_a_call_that_cannot_be_made_is_seen() -> None:
    tree = ast.parse(
        '"""An example.\n\n    mean(values, weights=w)  ->  0.5\n    mean(values, ...)\n"""\ndef mean(values, *, axis): ...'
    )
    first, second = calls_of(ast.get_docstring(tree, clean=False) or "")
    signature = signature_of("mean", tree)
    assert (
        signature is not None and "missing a required" in refusal(first, signature) and refusal(second, signature) == ""
    )


RESULT = re.compile(r" {2,}([A-Za-z_]\w*\(.*\)) +->  *(.*)")


def results_of(path: Path) -> Iterator[tuple[str, Any]]:
    """(call, result) of each line of a file's docstring that shows both in plain values. Its texts may hold TeX as it is written:
    of a backslash only those of `\\n`, `\\u` and `\\\\` are escapes."""
    for line in (ast.get_docstring(parsed(path), clean=False) or "").splitlines():
        if (match := RESULT.fullmatch(line)) is None or "..." in match[0]:
            continue
        call, said = (re.sub(r"(?<!\\)\\(?![nu\\])", r"\\\\", part) for part in match.groups())
        try:
            read = ast.parse(call, mode="eval").body
            assert isinstance(read, ast.Call) and isinstance(read.func, ast.Name)
            assert signature_of(read.func.id, parsed(path)) is not None
            for value in (*read.args, *(keyword.value for keyword in read.keywords)):
                ast.literal_eval(value)
        except (SyntaxError, ValueError, AssertionError):
            continue
        for end in (len(said), *(place.start() for place in re.finditer(r"  |[:;,] ", said))):
            try:
                result = ast.literal_eval(said[:end])
            except (SyntaxError, ValueError):
                continue
            yield call, result
            break


def test_the_results_of_docstrings_are_results() -> None:
    wrong, made = [], 0
    for path in sorted(SOURCE.rglob("*.py")):
        for call, result in results_of(path):
            module = importlib.import_module(".".join(path.relative_to(SOURCE).with_suffix("").parts))
            made += 1
            value = eval(call, vars(module))
            rounded = isinstance(result, float) or (isinstance(result, dict) and "f1" in result)
            if value != (pytest.approx(result, abs=6e-4) if rounded else result):
                wrong.append(f"{path.relative_to(SOURCE)}: {call} is {value!r}, not {result!r}")
    assert wrong == []
    assert made > 30, made
