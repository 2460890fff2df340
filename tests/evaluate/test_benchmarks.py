"""Benchmark files -> problems, and every operator's slip in one sentence."""

import csv
import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from redistill.config.tables import BenchmarkSettings
from redistill.errors import OperatorError
from redistill.evaluate import BENCHMARKS
from redistill.evaluate import benchmarks as module
from redistill.evaluate.benchmarks import load_benchmark, subsample
from redistill.records import make_problem
from redistill.text.prompts import TEMPLATES
from redistill.verify import VERIFIERS

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
        ("b.txt", b"problem,answer\n", {}, "use .jsonl, .jsonl.gz, .json, .parquet, .csv"),
        ("b.csv", b"problem,answer\n", {}, "holds no rows"),
        ("b.jsonl", b"", {}, "holds no rows"),
        ("b.jsonl", b'{"problem": "q", "answer": 1}\n{"prob', {}, "line 2 is not JSON"),
        ("b.jsonl", b"[1, 2]\n", {}, "line 1 is not a JSON object"),
        ("b.jsonl", b"\xff\xfe", {}, "cannot read"),
        ("b.jsonl.gz", b"not gzip", {}, "cannot read"),
        ("b.jsonl.gz", gzip.compress(b'{"problem": "q"}' * 99, mtime=0)[:-12], {}, "cannot read"),
        ("b.parquet", b"not parquet", {}, "cannot read"),
        ("b.jsonl", b'{"problems": "q", "answer": "1"}\n', {}, "no column 'problem'; did you mean 'problems'?"),
        ("b.jsonl", b'{"problem": "q", "gold": "1"}\n', {}, "no column 'answer'; available: problem, gold"),
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


# --- the registry ------------------------------------------------------------------------------------------------


def copy_of(folder, known, rows):
    """A folder as a clone of the hub's dataset would be: the benchmark's file at its place, of its kind."""
    path = folder / known.file
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        with open(path, "w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize("name", [n for n, known in BENCHMARKS.items() if known.read is None])
def test_every_benchmark_is_read_from_a_folder_with_the_hubs_columns(tmp_path, name):
    known = BENCHMARKS[name]
    answers = [["1", "2"], ["3"]] if name == "olympiadbench" else [5, 6] if name == "aime25" else ["5", "6.0"]
    rows = [{known.problem_column: f"How many {i}?", known.answer_column: a} for i, a in enumerate(answers)]
    copy_of(tmp_path, known, rows)
    problems = list(load_benchmark(BenchmarkSettings(name=name, file=str(tmp_path))))
    assert [p.statement for p in problems] == ["How many 0?", "How many 1?"]
    assert [p.answer for p in problems] == (["1, 2", "3"] if name == "olympiadbench" else [str(a) for a in answers])
    assert {p.source for p in problems} == {name}


def test_gsm8k_takes_the_number_after_the_hashes(tmp_path):
    rows = [{"question": "How much?", "answer": "500+700=<<500+700=1200>>1200\n#### 1,200"}]
    copy_of(tmp_path, BENCHMARKS["gsm8k"], rows)
    (problem,) = load_benchmark(BenchmarkSettings(name="gsm8k", file=str(tmp_path)))
    assert (problem.statement, problem.answer) == ("How much?", "1200")


def test_gpqa_puts_its_answers_under_letters_in_the_same_order_every_time(tmp_path):
    rows = [
        {
            "Question": f"Which {i}?",
            "Correct Answer": " right",
            "Incorrect Answer 1": "a, b",
            "Incorrect Answer 2": "two\nlines",
            "Incorrect Answer 3": "no",
        }
        for i in range(40)
    ]
    copy_of(tmp_path, BENCHMARKS["gpqa-diamond"], rows)
    settings = BenchmarkSettings(name="gpqa-diamond", file=str(tmp_path))
    problems = list(load_benchmark(settings))
    assert problems == list(load_benchmark(settings))
    for problem in problems:
        assert f"{problem.answer}) right" in problem.statement and problem.statement.count("\n") == 6
    assert {p.answer for p in problems} == set("ABCD")  # 40 draws of four: one is missing with chance 4e-5


def test_mmlu_pro_puts_its_options_under_letters_as_the_file_orders_them(tmp_path):
    rows = [
        {"question_id": 70, "question": "Which? ", "options": [f"option {n}" for n in range(10)], "answer": "I", "answer_index": 8, "category": "law"},
        {"question_id": 71, "question": "Which of four?", "options": ["no", "N/A", "yes", "N/A", "maybe"], "answer": "C", "answer_index": 2, "category": "math"},
    ]  # fmt: skip
    copy_of(tmp_path, BENCHMARKS["mmlu-pro"], rows)
    one, other = load_benchmark(BenchmarkSettings(name="mmlu-pro", file=str(tmp_path)))
    assert one.statement.startswith("Which?\n\nA) option 0\nB) option 1\n") and one.statement.endswith("\nJ) option 9")
    assert one.answer == "I"
    assert (other.statement, other.answer) == ("Which of four?\n\nA) no\nB) yes\nC) maybe", "B")


def test_the_papers_amc_is_the_file_of_83_and_the_other_has_40(tmp_path):
    known = BENCHMARKS["amc83"]
    assert (known.hub, known.num_problems, BENCHMARKS["amc23"].num_problems) == ("AI-MO/aimo-validation-amc", 83, 40)
    copy_of(tmp_path, known, [{"id": 0, "problem": "What is $m+n$?", "answer": 142.0, "url": "u"}])
    (problem,) = load_benchmark(BenchmarkSettings(name="amc83", file=str(tmp_path)))
    assert (problem.statement, problem.answer) == ("What is $m+n$?", "142")


def test_a_file_of_other_columns_may_hold_a_known_benchmark(tmp_path):
    rows = [{"benchmark": "gsm8k", "problem": "How much?", "answer": "18"}]
    (problem,) = load(write(tmp_path, rows), benchmark="gsm8k")
    (same,) = load_benchmark(BenchmarkSettings(name="gsm8k", file=str(tmp_path / "b.jsonl")))
    assert same.answer == problem.answer == "18" and same.id == problem.id


def test_a_benchmark_that_cannot_be_fetched_says_what_to_do(tmp_path, monkeypatch):
    def offline(*arguments, **options):
        raise LocalEntryNotFoundError("no network")

    monkeypatch.setattr(module, "hf_hub_download", offline)
    with pytest.raises(OperatorError, match=r"math-500 could not be fetched .* write \{name: math-500, file: FOLDER\}"):
        load_benchmark(BenchmarkSettings(name="math-500"))
    with pytest.raises(OperatorError, match=r"is not a known benchmark; did you mean 'math-500'\?"):
        load_benchmark(BenchmarkSettings(name="math500"))
    with pytest.raises(OperatorError, match=r"holds neither data/train-00000-of-00001.parquet nor train-00000"):
        load_benchmark(BenchmarkSettings(name="aime24", file=str(tmp_path)))


def test_a_fetch_asks_for_the_pinned_revision_unless_told(tmp_path, monkeypatch):
    asked = []

    def fetched(hub, file, *, repo_type, revision):
        asked.append((hub, file, repo_type, revision))
        return write(tmp_path, [{"problem": "q", "answer": "1"}])

    monkeypatch.setattr(module, "hf_hub_download", fetched)
    load_benchmark(BenchmarkSettings(name="math-500"))
    load_benchmark(BenchmarkSettings(name="math-500", revision="main"))
    known = BENCHMARKS["math-500"]
    assert asked == [(known.hub, known.file, "dataset", revision) for revision in (known.revision, "main")]


@pytest.mark.parametrize("known", BENCHMARKS.values(), ids=BENCHMARKS)
def test_a_record_is_whole(known):
    assert len(known.revision) == 40 and int(known.revision, 16)
    assert known.hub.count("/") == 1 and known.file.endswith((".jsonl", ".parquet", ".csv"))
    assert known.citation and known.licence and known.num_problems >= 30
    assert known.template is None or known.template in TEMPLATES
    assert known.verifier is None or known.verifier in VERIFIERS


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
