"""IFEval, LiveCodeBench and BBH in their own layouts: made files, read and judged."""

import base64
import json
import pickle
import zlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from redistill.config.parsing import parse_evaluation
from redistill.config.tables import BenchmarkSettings
from redistill.errors import OperatorError
from redistill.evaluate.benchmarks import load_benchmark
from redistill.evaluate.public_rows import unpacked
from redistill.evaluate.registry import BENCHMARKS
from redistill.evaluate.stage import eval_settings_for, verifiers_of
from redistill.records import Outcome, make_trace
from redistill.verify import VERIFIERS


def packed(tests):
    """As LiveCodeBench packs its hidden tests."""
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(tests)))).decode()


STDIN = {
    "question_title": "Sum", "question_content": "Print the sum.", "platform": "atcoder", "question_id": "abc1", "starter_code": "",
    "public_test_cases": json.dumps([{"input": "1 2\n", "output": "3\n", "testtype": "stdin"}]),
    "private_test_cases": packed([{"input": "5 6\n", "output": "11\n", "testtype": "stdin"}]), "metadata": "{}",
}  # fmt: skip
CALL = {
    "question_title": "Twice", "question_content": "Return each number twice.", "platform": "leetcode", "question_id": "17",
    "starter_code": "class Solution:\n    def twice(self, nums: List[int], times: int) -> List[int]:\n        ",
    "public_test_cases": json.dumps([{"input": "[1, 2]\n2", "output": "[2, 4]", "testtype": "functional"}]),
    "private_test_cases": packed([{"input": "[]\n3", "output": "[]", "testtype": "functional"}]),
    "metadata": json.dumps({"func_name": "twice"}),
}  # fmt: skip
GOOD = "```python\na, b = map(int, input().split())\nprint(a + b)\n```"
TWICE = "```python\nclass Solution:\n    def twice(self, nums: List[int], times: int) -> List[int]:\n        return [times * n for n in nums]\n```"


def load(tmp_path, name, rows):
    """The problems of made rows under the file name of the hub, read from a copy of its files."""
    path = tmp_path / BENCHMARKS[name].file
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return list(load_benchmark(BenchmarkSettings(name=name, file=str(tmp_path))))


def asked(name):
    """(template, verifier bound) of a benchmark as `evaluate` takes them."""
    settings = parse_evaluation(
        {"name": "x", "student": {"model": "m"}, "evaluate": {"benchmarks": [{"name": name, "file": "f"}]}}, "x"
    )
    template, verifier, where, anchors = eval_settings_for(settings.evaluate.benchmarks[0], settings)
    return template, verifiers_of(verifier, where, anchors)[
        verifier.name
    ] if verifier.name != "code-tests" else verifier


def test_ifeval_is_asked_as_it_stands_and_judged_by_its_instructions(tmp_path):
    row = {
        "key": 1000, "prompt": "Write about the sea without commas.", "instruction_id_list": ["punctuation:no_comma", "keywords:existence"],
        "kwargs": [{"num_words": None, "keywords": None}, {"num_words": None, "keywords": ["sea"]}],
    }  # fmt: skip
    (problem,) = load(tmp_path, "ifeval", [row])
    assert problem.statement == row["prompt"] and problem.answer is None
    assert problem.metadata == {
        "instructions": [{"id": "punctuation:no_comma"}, {"id": "keywords:existence", "keywords": ["sea"]}]
    }
    template, judge = asked("ifeval")
    assert template == "bare"
    assert [judge(problem, make_trace(problem.id, text)).outcome for text in ("The sea.", "Sea, sun.")] == [
        Outcome.correct,
        Outcome.incorrect,
    ]


def test_livecodebench_runs_public_and_hidden_tests(tmp_path):
    found = load(tmp_path, "livecodebench-v6", [STDIN, CALL])
    assert found[0].statement.startswith("### Question:\nPrint the sum.\n\n### Format: Read the inputs from stdin")
    assert "def twice(self" in found[1].statement and found[1].statement.endswith(
        "### Answer: (use the provided format with backticks)\n\n"
    )
    assert found[0].metadata["tests"] == {"inputs": ["1 2\n", "5 6\n"], "outputs": ["3\n", "11\n"]}
    template, verifier = asked("livecodebench-v6")
    assert template == "bare" and verifier.options["max_tests"] == 1000
    judge = VERIFIERS["code-tests"]
    answers = [(found[0], GOOD, "correct"), (found[0], GOOD.replace("a + b", "3"), "incorrect"), (found[1], TWICE, "correct"),
               (found[1], TWICE.replace("times *", "1 *"), "incorrect")]  # fmt: skip
    for problem, answer, outcome in answers:
        verdict = judge(problem, make_trace(problem.id, answer), **verifier.options)
        assert (str(verdict.outcome), verdict.score) == (outcome, 1.0 if outcome == "correct" else 0.5), verdict


class Evil:
    """Unpickled, it would run a command."""

    def __reduce__(self):
        return (print, ("run",))


@pytest.mark.parametrize("value", [Evil(), ["a"], 5, {"a": "b"}])
def test_a_pickle_of_anything_but_one_text_is_refused_unopened(value, capsys):
    with pytest.raises(ValueError, match="pickle"):
        unpacked(base64.b64encode(zlib.compress(pickle.dumps(value))).decode())
    assert capsys.readouterr().out == ""
    for protocol in (2, 3, 4, 5):
        assert unpacked(base64.b64encode(zlib.compress(pickle.dumps("[1]" * 200, protocol))).decode()) == "[1]" * 200


def test_tests_that_cannot_be_read_name_the_question(tmp_path):
    for broken in ("no base64!", base64.b64encode(b"no zlib").decode(), packed({"a": 1})):
        with pytest.raises(OperatorError, match="tests of question 'abc1' cannot be read"):
            load(tmp_path, "livecodebench-v6", [{**STDIN, "private_test_cases": broken}])


@pytest.mark.parametrize(
    ("name", "target", "gold", "template", "right", "wrong"),
    [
        ("bbh-date-understanding", "(B)", "B", "choice", "\\boxed{B}", "\\boxed{C}"),
        ("bbh-navigate", "Yes", "Yes", "answer-tag", "<answer>Yes</answer>", "<answer>No</answer>"),
        ("bbh-object-counting", "8", "8", "answer-tag", "<answer>8</answer>", "<answer>9</answer>"),
        (
            "bbh-formal-fallacies",
            "invalid",
            "invalid",
            "answer-tag",
            "<answer>invalid</answer>",
            "<answer>valid</answer>",
        ),
        ("bbh-boolean-expressions", "True", "True", "answer-tag", "<answer>True</answer>", "<answer>False</answer>"),
    ],
)
def test_bbh_by_task(tmp_path, name, target, gold, template, right, wrong):
    (problem,) = load(tmp_path, name, [{"input": "Which?\nOptions:\n(A) a\n(B) b\n(C) c", "target": target}])
    found, judge = asked(name)
    assert (problem.answer, found) == (gold, template)
    assert [judge(problem, make_trace(problem.id, text)).outcome for text in (right, wrong)] == [
        Outcome.correct,
        Outcome.incorrect,
    ]


def test_sequences_of_bbh_are_right_as_they_stand_and_never_certainly_wrong(tmp_path):
    for name, target, other in (
        ("bbh-dyck-languages", "] ) }", ") ] }"),
        ("bbh-word-sorting", "apple bear", "bear apple"),
    ):
        (problem,) = load(tmp_path, name, [{"input": "Complete.", "target": target}])
        _, judge = asked(name)
        assert judge(problem, make_trace(problem.id, f"<answer>{target}</answer>")).outcome is Outcome.correct
        assert judge(problem, make_trace(problem.id, f"<answer>{other}</answer>")).outcome is Outcome.ungradable


def test_there_are_27_tasks_with_6511_problems():
    tasks = [found for name, found in BENCHMARKS.items() if name.startswith("bbh-")]
    assert (len(tasks), sum(found.num_problems for found in tasks)) == (27, 6511)
