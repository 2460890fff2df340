"""Rows of public benchmarks whose question or judgement is not a column: -> (statement, answer, metadata).

LiveCodeBench's hidden tests are a JSON text in a pickle in zlib in base64. The pickle is not opened: its opcodes are read, and
anything but one text is refused.
"""

import base64
import binascii
import json
import pickletools
import zlib
from collections.abc import Mapping
from typing import Any

from redistill.errors import OperatorError
from redistill.text.nesting import parsed
from redistill.verify.relevance import INSTRUCTIONS, TESTS

Row = Mapping[str, Any]
MAX_TESTS_BYTES = 2**28  # of one problem's hidden tests, unpacked

# what LiveCodeBench puts before every program, which its starter code relies on
PREAMBLE = "".join(
    f"from {name} import *\n"
    for name in (
        "string", "re", "datetime", "collections", "heapq", "bisect", "copy", "math", "random", "statistics", "itertools", "functools",
        "operator", "io", "sys", "json", "builtins", "typing",
    )
) + "import string, re, datetime, collections, heapq, bisect, copy, math, random, statistics, itertools, functools, operator, io, sys, json\n"  # fmt: skip


def read_ifeval(row: Row) -> tuple[Any, Any, dict[str, Any]]:
    """The prompt as it stands; the instructions with their arguments, of which those without a value are left out."""
    ids, arguments = list(row.get("instruction_id_list") or ()), list(row.get("kwargs") or ())
    given = [{name: value for name, value in (one or {}).items() if value is not None} for one in arguments]
    kept = [{"id": str(id), **(given[place] if place < len(given) else {})} for place, id in enumerate(ids)]
    return row.get("prompt"), None, {INSTRUCTIONS: kept}


def read_livecodebench(row: Row) -> tuple[Any, Any, dict[str, Any]]:
    """The question with the benchmark's words on the form of the answer; public and hidden tests together."""
    question, starter = str(row.get("question_content") or "").strip(), str(row.get("starter_code") or "")
    if starter.strip():
        form = (
            "You will use the following starter code to write the solution to the problem and enclose your code within delimiters.\n"
            f"```python\n{starter}\n```"
        )
    else:
        form = (
            "Read the inputs from stdin solve the problem and write the answer to stdout (do not directly test on the sample inputs). "
            "Enclose your code within delimiters as follows.\n```python\n# YOUR CODE HERE\n```"
        )
    statement = (
        f"### Question:\n{question}\n\n### Format: {form}\n\n### Answer: (use the provided format with backticks)\n\n"
    )
    tests = [*_tests(row.get("public_test_cases"), row), *_tests(row.get("private_test_cases"), row)]
    return statement, None, {TESTS: _as_metadata(tests, row)}


def _tests(value: Any, row: Row) -> list[dict[str, Any]]:
    """The tests of a column: JSON, or JSON that was packed."""
    try:
        text = value if isinstance(value, str) else json.dumps(value or [])
        if not text.lstrip().startswith("["):
            text = unpacked(text)
        tests = parsed(text)
        if not isinstance(tests, list) or not all(
            isinstance(one, dict) and {"input", "output"} <= one.keys() for one in tests
        ):
            raise ValueError("they are not a list of inputs and outputs")
        return tests
    except (ValueError, RecursionError, binascii.Error, zlib.error) as error:
        raise OperatorError(
            f"livecodebench: the tests of question {row.get('question_id')!r} cannot be read ({error})."
        ) from error


def unpacked(text: str) -> str:
    """The text in a pickle in zlib in base64, without opening the pickle; ValueError where it holds anything else or is too large."""
    inflate = zlib.decompressobj()
    data = inflate.decompress(base64.b64decode(text, validate=True), MAX_TESTS_BYTES)
    if inflate.unconsumed_tail or not inflate.eof:
        raise ValueError(f"they unpack to more than {MAX_TESTS_BYTES >> 20} MiB, or are truncated")
    texts = list[str]()
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name in _UNICODE:
            texts.append(str(argument))
        elif opcode.name not in _HARMLESS:
            raise ValueError(f"the pickle holds {opcode.name}, not a single string")
    if len(texts) != 1:
        raise ValueError("the pickle does not hold a single string")
    return texts[0]


_UNICODE = frozenset(("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"))
_HARMLESS = frozenset(("PROTO", "FRAME", "MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT", "STOP"))


def _as_metadata(tests: list[dict[str, Any]], row: Row) -> Any:
    """The tests as the verifier `code-tests` reads them: input and output, or asserts on the method that the starter code names."""
    if not any(test.get("testtype") == "functional" for test in tests):
        return {"inputs": [test["input"] for test in tests], "outputs": [test["output"] for test in tests]}
    metadata = row.get("metadata")
    try:
        metadata = parsed(metadata) if isinstance(metadata, str) else metadata
    except ValueError:
        metadata = None
    name = metadata.get("func_name") if isinstance(metadata, Mapping) else None
    if not isinstance(name, str) or not name.isidentifier():
        raise OperatorError(
            f"livecodebench: question {row.get('question_id')!r} has tests for a function but does not name the function."
        )
    try:
        return [_assert(name, test) for test in tests]
    except (ValueError, TypeError) as error:
        raise OperatorError(
            f"livecodebench: a test of question {row.get('question_id')!r} is not JSON ({error}); download the benchmark again."
        ) from error


def _assert(name: str, test: Mapping[str, Any]) -> str:
    arguments = [parsed(line) for line in str(test["input"]).split("\n")]
    call = f"found = Solution().{name}(*{arguments!r})\nfound = list(found) if isinstance(found, tuple) else found\n"
    return f"{call}assert found == {parsed(test['output'])!r}, found\n"


def read_bbh_choice(row: Row) -> tuple[Any, Any]:
    """The letter of `(A)`."""
    return row.get("input"), str(row.get("target") or "").strip().strip("()")


def read_bbh_text(row: Row) -> tuple[Any, Any]:
    """The target as it stands."""
    return row.get("input"), str(row.get("target") or "").strip()
