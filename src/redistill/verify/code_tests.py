"""`code-tests`: a program is as good as the share of its problem's tests that it passes.

    metadata    {"tests": {"inputs": ["3 4\\n"], "outputs": ["7\\n"]}}     or  ["assert add(3, 4) == 7"]
    completion  ```python\\na, b = map(int, input().split())\\nprint(a + b)\\n```
    verdict     correct, score 1.0, "all_passed: 1 of 1"

Each test runs the program anew in a sandbox without network, files or rights (safety/sandbox.py); where the machine allows none,
nothing runs and the command stops with one sentence. What the sandbox itself may have caused (a limit, a module that is not there, a
file that it may not open) is undecided, never wrong. Source: AM-DeepSeek-R1-Distilled, arXiv:2503.19633, and its sibling reports:
the first 10 tests, graded by the share that passes.
"""

import ast
import builtins
import json
import math
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field

from redistill.records import Outcome, Problem, Trace, Verdict
from redistill.safety.sandbox import Finished, Limits, check_sandbox, run_program
from redistill.text.thinking import read_thinking
from redistill.verify.exact import compare_exact
from redistill.verify.judging import MAX_EXTRACTED, Reading, compare_bounded, different
from redistill.verify.relevance import TESTS
from redistill.verify.several import is_one_of_several

VERSION = "code-tests 2"  # raise the number when what is counted changes
Compare = Literal["tokens", "lines", "numbers"]
_RUN = Reading("run", complete=True)  # the test says what is right, and the program has said something else
_TOLERANCE = 1e-6
_FENCE = re.compile(r"[ \t]*(`{3,})[ \t]*([A-Za-z0-9+#.-]*)[^`\n]*")
_PYTHON = ("python", "python3", "py", "py3")
_ERROR = re.compile(r"([A-Za-z_][\w.]*)(?::|$)")

HARNESS = """\
import os, sys
secret, out = os.dup(0), os.dup(1)
null = os.open(os.devnull, os.O_RDWR)
os.dup2(null, 0)
os.dup2(null, 1)
space = {"__name__": "solution"}
for name in ("solution.py", "test.py"):
    with open("/code/" + name, encoding="utf-8") as file:
        exec(compile(file.read(), name, "exec"), space)
os.write(out, os.read(secret, 1000))
"""


@dataclass(frozen=True, slots=True)
class CodeTest:
    """Standard input and the output that it must give, or Python lines that must run after the program without an error."""

    stdin: str = ""
    output: str | None = None
    asserts: str = ""


def code_tests(
    problem: Problem,
    trace: Trace,
    *,
    max_tests: Annotated[int, Field(gt=0)] = 10,
    cpu_seconds: Annotated[float, Field(ge=1)] = 10.0,
    memory_mb: Annotated[int, Field(ge=64)] = 1024,
    compare: Compare = "tokens",
    block: Literal["last", "first", "all"] = "last",
    packages: bool = False,
    preamble: str = "",
) -> Verdict:
    """Whether the answer's program passes the tests of its problem's metadata, and which share of them.

    max_tests: the first ones. cpu_seconds, memory_mb: of one test. compare: words of the output (those with a decimal point as
    numbers), whole lines, or all as numbers in any notation, so that 18.0 is 18 and 276,000 is 276000. block: which fenced block is the program. packages: whether it may
    import what is installed beside this package. preamble: lines that stand before the program, such as imports. Reasons: `all_passed`; `wrong_output`, `raised`, `exit_code`, `ended_early` (before
    the asserts) are wrong; undecided are the limits `cpu_time`, `memory`, `processes`, `disk`, `output`, `idle`, `wall_clock`, and
    `missing_module`, `no_access`, `other_notation` (among numbers: perhaps the wanted value), `no_code`, `other_language`, `no_tests`, `tests_unreadable`, `one_of_several`. The first test that
    meets a limit is the last that runs.
    """
    verdict = partial(Verdict, verifier="code-tests", verifier_version=VERSION)
    try:
        tests = read_tests(problem.metadata.get(TESTS))[:max_tests]
    except (ValueError, TypeError, KeyError, SyntaxError, RecursionError, MemoryError):
        return verdict(Outcome.ungradable, None, "tests_unreadable")
    if not tests:
        return verdict(Outcome.ungradable, None, "no_tests")
    program, missed = read_program(trace.completion, block)
    if program is None:
        if missed == "other_language":
            return verdict(Outcome.ungradable, None, missed)
        cut = missed == "cut" or trace.finish_reason == "length"
        return verdict(Outcome.truncated if cut else Outcome.no_answer, None, "no_code")
    kept = program[:MAX_EXTRACTED]
    program = f"{preamble}\n{program}" if preamble else program
    limits = Limits(cpu_seconds=cpu_seconds, memory_mb=memory_mb)
    reasons: list[str] = []
    for test in tests:
        reasons.append(run_test(program, test, limits=limits, compare=compare, packages=packages))
        if reasons[-1] in LIMITS:
            break
    passed = reasons.count("")
    score = passed / len(tests)
    if passed == len(tests):
        return verdict(Outcome.correct, kept, f"all_passed: {passed} of {len(tests)}", score=score)
    outcome, number = _worst(reasons)
    reason = reasons[number]
    if outcome is Outcome.incorrect:
        outcome, reason = different(_RUN, _RUN, reason)
        if reason == "wrong_output" and is_one_of_several(problem):
            outcome, reason = Outcome.disagree, "one_of_several"
    word, _, detail = reason.partition(": ")
    said = f"{word}: {detail + ', ' if detail else ''}test {number + 1} of {len(tests)}, {passed} passed"
    return verdict(outcome, kept, said, score=score)


LIMITS = frozenset({"cpu_time", "memory", "processes", "disk", "output", "idle", "wall_clock"})
_UNDECIDED = ("missing_module", "no_access", "other_notation")


def _worst(reasons: Sequence[str]) -> tuple[Outcome, int]:
    """The outcome of tests that did not all pass, and the first that decides it: a test that certainly failed outweighs the rest."""
    kinds = {
        Outcome.incorrect: lambda reason: reason and reason not in LIMITS and not reason.startswith(_UNDECIDED),
        Outcome.timeout: lambda reason: reason in LIMITS,
        Outcome.ungradable: lambda reason: reason.startswith(_UNDECIDED),
    }
    for outcome, fits in kinds.items():
        for number, reason in enumerate(reasons):
            if fits(reason):
                return outcome, number
    raise AssertionError(f"no test failed: {reasons}")


def run_test(program: str, test: CodeTest, *, limits: Limits, compare: Compare, packages: bool) -> str:
    """ "" where the program passes one test, else why it does not."""
    if test.output is not None:
        run = run_program(program, stdin=test.stdin, limits=limits, packages=packages)
        return fault_of(run) or output_fault(test.output, run.stdout, compare)
    secret = secrets.token_hex(16)
    files = {"solution.py": program, "test.py": test.asserts}
    run = run_program(HARNESS, stdin=secret, limits=limits, packages=packages, files=files)
    return fault_of(run) or ("" if run.stdout == secret else "ended_early")


def fault_of(run: Finished) -> str:
    """ "" for a program that ran to its end; else what it ran out of, or how it failed."""
    if run.status != "exited":
        return run.status
    if run.code == 0:
        return ""
    lines = [line for line in run.stderr.strip().splitlines() if line.strip()]
    last = lines[-1] if lines else ""
    match = _ERROR.match(last)
    error = match[1].rpartition(".")[2] if match and run.code == 1 else ""
    if error == "MemoryError":
        return "memory"
    if error == "BlockingIOError" or "can't start new thread" in last:
        return "processes"
    if "No space left on device" in last or "File too large" in last:
        return "disk"
    if error in ("ModuleNotFoundError", "ImportError"):
        return f"missing_module: {last.partition(':')[2].strip()[:80]}"
    kind = getattr(builtins, error, None) if error else None
    if error == "gaierror" or (isinstance(kind, type) and issubclass(kind, OSError)):
        return f"no_access: {error}"
    return f"raised: {error[:60]}" if error else f"exit_code: {run.code}"


def output_fault(wanted: str, said: str, compare: Compare) -> str:
    """ "" for the wanted output, else `wrong_output`; among `numbers` `other_notation` where it may be the same value written otherwise.

    A gold answer stands as the wanted output there, so `276,000`, `$5` and `1/2` are read as elsewhere (exact.py) before a program that
    prints 276000, 5 or 0.5 is called wrong.
    """
    if same_output(wanted, said, compare):
        return ""
    if compare != "numbers" or not said.strip():
        return "wrong_output"
    words, others = wanted.split(), said.split()
    pairs = list(zip(words, others, strict=True)) if len(words) == len(others) else [(wanted, said)]
    exact = partial(compare_exact, relative_tolerance=_TOLERANCE, percent="either", units=True)
    found = {compare_bounded(exact, one, other)[0] for one, other in pairs if not _same_number(one, other, compare)}
    if Outcome.incorrect in found:
        return "wrong_output"
    return "" if found <= {Outcome.correct} else "other_notation"


def same_output(wanted: str, said: str, compare: Compare) -> bool:
    """Whether an output is the wanted one: white space at the ends of lines and of the text never counts."""
    ours, theirs = ([line.rstrip() for line in text.strip().splitlines()] for text in (wanted, said))
    if ours == theirs:
        return True
    if compare == "lines":
        return False
    words, others = wanted.split(), said.split()
    return len(words) == len(others) and all(
        one == other or _same_number(one, other, compare) for one, other in zip(words, others, strict=True)
    )


def _same_number(wanted: str, said: str, compare: Compare) -> bool:
    if compare == "tokens" and not ("." in wanted or "e" in wanted.lower()):
        return False  # a whole number is said as one
    try:
        one, other = float(wanted), float(said)
    except ValueError:
        return False
    return math.isfinite(one) and math.isclose(one, other, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)


# --- what is read -------------------------------------------------------------------------------------------------------


def read_program(completion: str, block: str = "last") -> tuple[str | None, str]:
    """(the program, "") of a completion's fenced blocks behind the thinking; else (None, `no_code`, `other_language` or `cut`). Blocks
    marked as Python go before those without a mark; output blocks and those of other languages are none."""
    thought = read_thinking(completion)
    if thought.state == "open":
        return None, "cut"
    blocks, is_open = fenced_blocks(thought.answer)
    marked = [text for mark, text in blocks if mark.lower() in _PYTHON]
    plain = [text for mark, text in blocks if not mark]
    programs = [text for text in marked or plain if text.strip()]
    if not programs:
        others = [mark for mark, _ in blocks if mark and mark.lower() not in ("output", "text", *_PYTHON)]
        return None, "cut" if is_open else "other_language" if others else "no_code"
    if block == "all":
        return "\n".join(programs), ""
    return programs[0 if block == "first" else -1], ""


def fenced_blocks(text: str) -> tuple[list[tuple[str, str]], bool]:
    """((mark, text) of each closed block between lines of ```, whether one is left open)."""
    blocks: list[tuple[str, str]] = []
    fence, mark, lines = "", "", list[str]()
    for line in text.splitlines():
        match = _FENCE.fullmatch(line)
        if match is None:
            lines.append(line)
        elif not fence:
            fence, mark, lines = match[1], match[2], []
        elif not match[2] and len(match[1]) >= len(fence):
            blocks.append((mark, "\n".join(lines) + "\n"))
            fence = ""
        else:
            lines.append(line)
    return blocks, bool(fence)


def read_tests(written: Any) -> list[CodeTest]:
    """The tests of a metadata entry, in the layouts that public data has; a text is read as JSON, as a Python literal or as asserts.

    {"inputs": [...], "outputs": [...]}, also with "fn_name": calls with their results (APPS, TACO, PRIME); a list of {"input", "output"};
    a list of lines of asserts; one text of asserts. ValueError, TypeError or SyntaxError for anything else.
    """
    if written is None or written == "":
        return []
    if isinstance(written, str):
        return read_tests(_parsed(written)) if written.lstrip()[:1] in "{[" else _asserts(written)
    if isinstance(written, Mapping):
        if "inputs" not in written and "input" in written:
            return [CodeTest(_text(written["input"]), _text(written["output"]))]
        inputs, outputs = list(written["inputs"]), list(written["outputs"])
        if len(inputs) != len(outputs):
            raise ValueError("inputs and outputs differ in number")
        if name := written.get("fn_name"):
            return [_call(name, one, other) for one, other in zip(inputs, outputs, strict=True)]
        return [CodeTest(_text(one), _text(other)) for one, other in zip(inputs, outputs, strict=True)]
    if isinstance(written, list | tuple):
        return [test for one in written for test in read_tests(one)]
    raise TypeError(f"tests are no {type(written).__name__}")


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return ast.literal_eval(text)


def _asserts(text: str) -> list[CodeTest]:
    """One test per assert at the top of the text, each with all that stands there beside asserts; a text without any is one test."""
    tree = ast.parse(text)
    asserts = [node for node in tree.body if isinstance(node, ast.Assert)]
    common = "\n".join(ast.unparse(node) for node in tree.body if not isinstance(node, ast.Assert))
    return [CodeTest(asserts=f"{common}\n{ast.unparse(node)}\n") for node in asserts] or [CodeTest(asserts=text)]


def _text(value: Any) -> str:
    """What a program reads or writes: a text, or lines of it. ValueError for what is neither, such as a null where a test was lost."""
    if value is None or isinstance(value, Mapping):
        raise ValueError(f"a test reads or writes {value!r}, which is no text")
    return (
        "\n".join(map(_text, value))
        if isinstance(value, list | tuple)
        else value
        if isinstance(value, str)
        else str(value)
    )


def _call(name: Any, arguments: Any, result: Any) -> CodeTest:
    """A function's call as an assert. Results may stand in a list of one, as APPS writes them; a tuple counts as a list."""
    if not (isinstance(name, str) and name.isidentifier()):
        raise ValueError("fn_name is not a name")
    values = [result, *result] if isinstance(result, list) and len(result) == 1 else [result]
    check = f"found = {name}(*{arguments!r})\nfound = list(found) if isinstance(found, tuple) else found\n"
    return CodeTest(asserts=f"{check}assert found in {values!r}, found\n")


def wall_seconds(verifier: Any) -> float | None:
    """How long one program may take by the clock before the pool gives it up; None for other verifiers, which do not wait."""
    if getattr(verifier, "func", verifier) is not code_tests:
        return None
    options = {**(code_tests.__kwdefaults__ or {}), **getattr(verifier, "keywords", {})}
    return float(Limits(cpu_seconds=options["cpu_seconds"]).wall_seconds * options["max_tests"] + 60.0)


def check_code_tests() -> None:
    """OperatorError unless this machine can protect itself from the programs."""
    check_sandbox()
