"""Programs are graded by the tests that they pass; what the sandbox or a limit may have caused is undecided."""

import functools
import json

import pytest

from redistill.records import Group, Outcome, make_problem, make_trace
from redistill.safety.sandbox import Finished, SandboxRefused, check_sandbox
from redistill.verify import GOLD, OWN_GOLD, VERIFIERS, VerifierPool, check_gold
from redistill.verify.code_tests import (
    CodeTest,
    code_tests,
    fault_of,
    fenced_blocks,
    output_fault,
    read_program,
    read_tests,
    same_output,
    wall_seconds,
)
from redistill.verify.relevance import has_gold
from redistill.verify.stage import check_golds, judged

SUMS = {"inputs": ["1 2\n", "3 4\n"], "outputs": ["3\n", "7\n"]}


def allowed() -> None:
    try:
        check_sandbox()
    except SandboxRefused as error:
        pytest.skip(str(error))


def verdict(program: str, tests=SUMS, *, fence="python", metadata=None, **options):
    allowed()
    problem = make_problem("Write a program.", metadata={"tests": tests, **(metadata or {})})
    return code_tests(
        problem, make_trace(problem.id, f"So:\n```{fence}\n{program}\n```\n", finish_reason="stop"), **options
    )


@pytest.mark.parametrize(
    ("program", "outcome", "score", "reason"),
    [
        ("a, b = map(int, input().split())\nprint(a + b)", Outcome.correct, 1.0, "all_passed: 2 of 2"),
        ("print(3)", Outcome.incorrect, 0.5, "wrong_output: test 2 of 2, 1 passed"),
        ("print('no')", Outcome.incorrect, 0.0, "wrong_output: test 1 of 2, 0 passed"),
        ("print(1 / 0)", Outcome.incorrect, 0.0, "raised: ZeroDivisionError, test 1 of 2, 0 passed"),
        ("a, b = input().split()\nif a == '3': raise ValueError\nprint(3)", Outcome.incorrect, 0.5, "raised: ValueError, test 2 of 2, 1 passed"),
        ("def f(:", Outcome.incorrect, 0.0, "raised: SyntaxError, test 1 of 2, 0 passed"),
        ("print(3); raise SystemExit(2)", Outcome.incorrect, 0.0, "exit_code: 2, test 1 of 2, 0 passed"),
        ("import torch_is_not_there", Outcome.ungradable, 0.0,
         "missing_module: No module named 'torch_is_not_there', test 1 of 2, 0 passed"),
        ("open('/etc/passwd')", Outcome.ungradable, 0.0, "no_access: FileNotFoundError, test 1 of 2, 0 passed"),
        ("import socket; socket.create_connection(('8.8.8.8', 53), 1)", Outcome.ungradable, 0.0, "no_access: OSError, test 1 of 2, 0 passed"),
        ("x = [0] * 10**9", Outcome.timeout, 0.0, "memory: test 1 of 2, 0 passed"),
        ("import os\nwhile True: os.fork()", Outcome.timeout, 0.0, "processes: test 1 of 2, 0 passed"),
        ("while True: print('x' * 999)", Outcome.timeout, 0.0, "output: test 1 of 2, 0 passed"),
        ("import os; open('/tmp/x', 'wb').write(b'x' * (1 << 25))", Outcome.timeout, 0.0, "disk: test 1 of 2, 0 passed"),
    ],
)  # fmt: skip
def test_standard_input_and_output(program, outcome, score, reason) -> None:
    found = verdict(program)
    assert (found.outcome, found.score, found.reason) == (outcome, score, reason)
    assert found.extracted == program + "\n" and found.verifier == "code-tests"


def test_a_limit_ends_the_tests_and_the_rest_counts_as_not_passed() -> None:
    found = verdict("print(3)\nif input()[0] == '3':\n  while True: pass", cpu_seconds=1)
    assert (found.outcome, found.score) == (Outcome.timeout, 0.5) and found.reason == "cpu_time: test 2 of 2, 1 passed"
    # a test that certainly failed outweighs it
    found = verdict("print(4)\nif input()[0] == '3':\n  while True: pass", cpu_seconds=1)
    assert (found.outcome, found.score) == (Outcome.incorrect, 0.0) and found.reason.startswith("wrong_output: test 1")


def test_asserts() -> None:
    tests = ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"]
    assert verdict("def add(a, b): return a + b", tests).reason == "all_passed: 2 of 2"
    found = verdict("def add(a, b): return 3", tests)
    assert (found.outcome, found.score, found.reason) == (
        Outcome.incorrect,
        0.5,
        "raised: AssertionError, test 2 of 2, 1 passed",
    )
    assert verdict("def plus(a, b): return a + b", tests).reason == "raised: NameError, test 1 of 2, 0 passed"
    # what would run on its own does not: it is not a script here
    assert (
        verdict("def add(a, b): return a + b\nif __name__ == '__main__': print(add(*input().split()))", tests).score
        == 1.0
    )


@pytest.mark.parametrize("way", ["import sys; sys.exit(0)", "import os; os._exit(0)", "print('ok')\nraise SystemExit"])
def test_a_program_that_ends_before_the_asserts_has_not_passed_them(way) -> None:
    found = verdict(f"def add(a, b): return 0\n{way}", ["assert add(1, 2) == 3"])
    assert (found.outcome, found.reason) == (Outcome.incorrect, "ended_early: test 1 of 1, 0 passed")


def test_one_of_several_right_outputs_is_not_wrong() -> None:
    found = verdict("print(9)", metadata={"several_answers": True})
    assert (found.outcome, found.reason) == (Outcome.disagree, "one_of_several: test 1 of 2, 0 passed")


def test_what_cannot_be_run_is_undecided() -> None:
    problem = make_problem("p", metadata={"tests": SUMS})

    def of(text, finish="stop", problem=problem):
        found = code_tests(problem, make_trace(problem.id, text, finish_reason=finish))
        return found.outcome, found.reason

    assert of("no program") == (Outcome.no_answer, "no_code")
    assert of("no program", "length") == (Outcome.truncated, "no_code")
    assert of("```python\nprint(3") == (Outcome.truncated, "no_code")
    assert of("<think>```python\nprint(3)\n```") == (Outcome.truncated, "no_code")
    assert of("```cpp\nint main() {}\n```") == (Outcome.ungradable, "other_language")
    for tests, reason in ((None, "no_tests"), ("", "no_tests"), ({"inputs": ["1"], "outputs": []}, "tests_unreadable"),
                          ("{broken", "tests_unreadable"), ("assert (", "tests_unreadable"), ({"inputs": [None], "outputs": ["1"]}, "tests_unreadable"),
                          ({"inputs": ["1"], "outputs": [None]}, "tests_unreadable"), ({"inputs": [["1", None]], "outputs": ["1"]}, "tests_unreadable"),
                          ([{"input": "1", "output": {"stdout": "1"}}], "tests_unreadable"), (3, "tests_unreadable")):  # fmt: skip
        assert of("```python\n1\n```", problem=make_problem("p", metadata={"tests": tests})) == (
            Outcome.ungradable,
            reason,
        )


def test_which_block_is_the_program() -> None:
    text = "<think>```python\nwrong\n```</think>A:\n```python\none\n```\nB:\n```py\ntwo\n```\n```output\n3\n```\n```\nplain\n```\n"
    assert read_program(text) == ("two\n", "")
    assert read_program(text, "first") == ("one\n", "")
    assert read_program(text, "all") == ("one\n\ntwo\n", "")
    assert read_program("```\nplain\n```") == ("plain\n", "")
    assert fenced_blocks("````python\na\n```\nb\n````\n```\nopen") == ([("python", "a\n```\nb\n")], True)
    assert fenced_blocks("text ```python x``` text") == ([], False)


def test_layouts_of_tests() -> None:
    one = [CodeTest("1 2\n", "3\n")]
    for written in (
        {"inputs": ["1 2\n"], "outputs": ["3\n"]},
        json.dumps({"inputs": ["1 2\n"], "outputs": ["3\n"]}),
        str({"inputs": ["1 2\n"], "outputs": ["3\n"]}),  # a Python literal
        [{"input": "1 2\n", "output": "3\n"}],
        {"input": "1 2\n", "output": "3\n"},
    ):
        assert read_tests(written) == one
    assert read_tests({"inputs": [["1", "2"]], "outputs": [["3"]]}) == [CodeTest("1\n2", "3")]
    assert read_tests("import math\nassert f(1) == 2\nassert f(2) == 3") == [
        CodeTest(asserts="import math\nassert f(1) == 2\n"),
        CodeTest(asserts="import math\nassert f(2) == 3\n"),
    ]
    (check,) = read_tests("def check(f):\n    assert f(1) == 2\ncheck(double)")
    assert "check(double)" in check.asserts


def test_calls_of_a_function() -> None:
    assert verdict("def none(): return None", {"fn_name": "none", "inputs": [[]], "outputs": [None]}).score == 1.0
    tests = {"fn_name": "pair", "inputs": [[1, 2], [3, 4]], "outputs": [[[1, 2]], [3, 4]]}
    assert verdict("def pair(a, b): return (a, b)", tests).score == 1.0
    assert verdict("def pair(a, b): return [b, a]", tests).score == 0.0


@pytest.mark.parametrize(
    ("wanted", "said", "tokens", "lines", "numbers"),
    [
        ("3\n", "3", True, True, True),
        ("a b\nc", "a b  \nc\n\n", True, True, True),
        ("a b\nc", "a b c", True, False, True),
        ("0.5", "0.50000000001", True, False, True),
        ("0.5", "0.51", False, False, False),
        ("18", "18.0", False, False, True),
        ("18", "18.1", False, False, False),
        ("yes", "Yes", False, False, False),
        ("nan", "nan", True, True, True),
        ("1.0", "inf", False, False, False),
        ("1 2", "1", False, False, False),
        ("", "", True, True, True),
        ("", "x", False, False, False),
    ],
)
def test_outputs_are_compared(wanted, said, tokens, lines, numbers) -> None:
    found = [same_output(wanted, said, how) for how in ("tokens", "lines", "numbers")]
    assert found == [tokens, lines, numbers]


@pytest.mark.parametrize(
    ("wanted", "said", "fault"),
    [
        ("276,000", "276000", ""),
        ("276,000", "276001", "wrong_output"),
        ("$1.50", "1.5", ""),
        ("1/2", "0.5", ""),
        ("50%", "50", ""),
        ("1 234", "1234", ""),
        ("1 2 3", "1 2 4", "wrong_output"),
        ("1 2 1,000", "1 2 1000", ""),
        ("-5", "5", "wrong_output"),
        ("5", "", "wrong_output"),
        ("18", "The answer is 18", "other_notation"),  # a sentence is not read: neither right nor wrong
        ("1.234", "1234", "other_notation"),
        ("33.3", "33.33333", "other_notation"),
        ("7", "nan", "other_notation"),
    ],
)
def test_numbers_in_another_notation_are_equal_or_undecided(wanted, said, fault) -> None:
    assert output_fault(wanted, said, "numbers") == fault
    assert output_fault(wanted, said, "lines") == "wrong_output"


def test_how_a_program_failed_is_read_from_its_last_line() -> None:
    def fault(error: str, code: int = 1) -> str:
        return fault_of(Finished("exited", code, "", f"Traceback ...\n{error}\n", 0.1))

    assert fault("ValueError: bad") == "raised: ValueError" and fault("mine.Odd: x") == "raised: Odd"
    assert fault("MemoryError") == "memory" and fault("BlockingIOError: [Errno 11] x") == "processes"
    assert fault("OSError: [Errno 28] No space left on device") == "disk"
    assert (
        fault("PermissionError: [Errno 13] x") == "no_access: PermissionError" and fault("x", -11) == "exit_code: -11"
    )
    assert fault("socket.gaierror: [Errno -3] x") == "no_access: gaierror"
    assert (
        fault_of(Finished("idle", 0, "", "", 0.1)) == "idle"
        and fault_of(Finished("exited", 0, "", "ValueError: warned", 0.1)) == ""
    )


def test_the_pool_gives_it_the_time_that_its_own_limits_need() -> None:
    allowed()
    verifier = functools.partial(VERIFIERS["code-tests"], cpu_seconds=1)
    problem = make_problem("p", metadata={"tests": {"inputs": ["1 2"], "outputs": ["3"]}})
    texts = (
        "a, b = map(int, input().split())\nprint(a + b)",
        "import time; time.sleep(1.2)\nprint(9)",
        "while True: pass",
    )
    traces = [make_trace(problem.id, f"```python\n{text}\n```") for text in texts]
    # a tenth of a second, and a second of the wall: neither of the processor, for the work is another process's, nor of the wall
    with VerifierPool({"code-tests": verifier}, workers=1, timeout_seconds=0.1, memory_mb=2048) as pool:
        found = [verdicts["code-tests"] for verdicts in pool.judge((problem, trace) for trace in traces)]
    assert [v.reason.partition(":")[0] for v in found] == ["all_passed", "wrong_output", "cpu_time"]
    assert wall_seconds(verifier) == (10 * 1 + 2 * 5) * 10 + 60 and wall_seconds(VERIFIERS["cascade"]) is None


def test_a_problem_with_tests_needs_no_gold_answer() -> None:
    allowed()
    assert "code-tests" in OWN_GOLD
    problem = make_problem("p", metadata={"tests": SUMS})
    assert has_gold(problem) and not has_gold(make_problem("p"))
    group = Group(problem, (make_trace(problem.id, "```python\na, b = map(int, input().split())\nprint(a + b)\n```"),))
    table = {name: functools.partial(VERIFIERS[name]) for name in ("cascade", "code-tests")}
    with VerifierPool({**table, GOLD: check_gold}, workers=1, timeout_seconds=5, memory_mb=2048) as pool:
        (done,) = judged(pool, [group], "code-tests", golds=check_golds(pool, [group]))
    assert done.traces[0].verdicts["cascade"].outcome is Outcome.ungradable
    assert done.traces[0].verdict.outcome is Outcome.correct and done.traces[0].verdict.score == 1.0
