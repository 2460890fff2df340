"""Benchmark files -> problems, and every operator's slip in one sentence."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from redistill.errors import OperatorError
from redistill.evaluate.benchmarks import load_benchmark, subsample
from redistill.records import make_problem
from redistill.settings import BenchmarkSettings

ROWS = [
    {"benchmark": "aime24", "problem": "How many?", "answer": "204"},
    {"benchmark": "amc23", "problem": "How few?", "answer": 27.0},
    {"benchmark": "aime24", "problem": "Which roots?", "answer": ["2", "-2"]},
    {"benchmark": "amc23", "problem": "Why?", "answer": None},
]


def write(folder, rows, name="b.jsonl"):
    path = folder / name
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return str(path)


def load(file, **options):
    return list(load_benchmark(BenchmarkSettings(name="mine", file=file, **options)))


@pytest.mark.parametrize("name", ["b.jsonl", "b.jsonl.gz"])
def test_rows_become_problems_with_text_answers(tmp_path, name):
    problems = load(write(tmp_path, ROWS, name))
    assert [p.answer for p in problems] == ["204", "27", "2, -2", None]
    assert [p.source_row for p in problems] == [f"{name}:{i}" for i in range(4)]
    assert {p.source for p in problems} == {"mine"}
    # the id is that of the statement wherever it comes from, so decontamination finds it
    assert problems[0].id == make_problem("How many?").id


def test_parquet_reads_the_same(tmp_path):
    rows = [{"question": r["problem"], "gold": str(r["answer"])} for r in ROWS]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "b.parquet")
    problems = load(str(tmp_path / "b.parquet"), problem_column="question", answer_column="gold")
    assert [p.statement for p in problems] == [r["problem"] for r in ROWS]


def test_one_benchmark_of_a_file_is_taken_by_its_column(tmp_path):
    problems = load(write(tmp_path, ROWS), benchmark="aime24")
    assert [p.statement for p in problems] == ["How many?", "Which roots?"]
    assert problems[1].source_row == "b.jsonl:2"


def test_a_statement_that_comes_twice_is_one_problem_with_its_first_answer(tmp_path):
    rows = [*ROWS, {"benchmark": "aime24", "problem": "How  many?", "answer": "5"}]
    assert [p.answer for p in load(write(tmp_path, rows), benchmark="aime24")] == ["204", "2, -2"]


@pytest.mark.parametrize(
    "name, content, options, said",
    [
        ("none.jsonl", None, {}, "there is no benchmark file at"),
        ("b.csv", b"problem,answer\n", {}, "use .jsonl, .jsonl.gz, .parquet"),
        ("b.jsonl", b"", {}, "holds no rows"),
        ("b.jsonl", b'{"problem": "q", "answer": 1}\n{"prob', {}, "line 2 is not JSON"),
        ("b.jsonl", b"[1, 2]\n", {}, "line 1 is not a JSON object"),
        ("b.jsonl", b"\xff\xfe", {}, "cannot read"),
        ("b.jsonl.gz", b"not gzip", {}, "cannot read"),
        ("b.jsonl.gz", gzip.compress(b'{"problem": "q"}' * 99)[:-12], {}, "cannot read"),
        ("b.parquet", b"not parquet", {}, "cannot read"),
        ("b.jsonl", b'{"problems": "q", "answer": "1"}\n', {}, "no column 'problem'; did you mean 'problems'?"),
        ("b.jsonl", b'{"problem": "q", "gold": "1"}\n', {}, "no column 'answer'; known here: problem, gold"),
        ("b.jsonl", b'{"problem": "q", "answer": "1"}\n', {"benchmark": "x"}, "no column 'benchmark'"),
        ("b.jsonl", json.dumps(ROWS[0]).encode(), {"benchmark": "aime"}, "no benchmark 'aime'; it holds aime24"),
        ("b.jsonl", b'{"problem": " ", "answer": "1"}\n', {}, "row 0: 'problem' must be text"),
    ],
)
def test_an_operators_slip_is_one_sentence_at_the_call(tmp_path, name, content, options, said):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(OperatorError) as error:
        load_benchmark(BenchmarkSettings(name="mine", file=str(tmp_path / name), **options))
    assert said in str(error.value)


def test_dev_has_no_file_to_read():
    with pytest.raises(OperatorError, match="'dev' has no `file`"):
        load_benchmark(BenchmarkSettings())


PROBLEMS = [make_problem(f"Question {i}", answer="1") for i in range(50)]


def test_a_subsample_keeps_the_order_and_does_not_depend_on_it():
    chosen = subsample(PROBLEMS, 10, seed=1)
    assert len(chosen) == 10 and chosen == [p for p in PROBLEMS if p in chosen]
    assert {p.id for p in subsample(reversed(PROBLEMS), 10, seed=1)} == {p.id for p in chosen}
    assert subsample(PROBLEMS, 10, seed=2) != chosen


def test_a_smaller_subsample_is_part_of_every_larger_one():
    assert {p.id for p in subsample(PROBLEMS, 10, seed=1)} < {p.id for p in subsample(PROBLEMS, 20, seed=1)}


def test_all_are_kept_where_nothing_limits():
    assert subsample(PROBLEMS, None, seed=0) == PROBLEMS == subsample(PROBLEMS, 50, seed=0)
