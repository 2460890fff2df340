"""Worked examples: which are drawn, how they are shown, and that none is a scored problem."""

import json

import pytest

from redistill.config.tables import BenchmarkSettings
from redistill.errors import OperatorError
from redistill.evaluate.few_shot import shots_of, stops_of
from redistill.records import make_problem
from redistill.text.prompts import TEMPLATES, render
from redistill.tools.evaluate import benchmark_entry

ASKED = [{"question": f"{i}+{i}?", "answer": f"Twice {i}. #### {2 * i}"} for i in range(4)]
OTHERS = [{"question": f"{i}+1?", "answer": f"One more than {i}. #### {i + 1}"} for i in range(10, 20)]


@pytest.fixture
def folder(tmp_path):
    """A copy of gsm8k's files, as Parquet under the names of the hub; its train split repeats the first question that is asked."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "main").mkdir()
    repeated = {"question": " 0+0? ", "answer": "Nothing. #### 0"}
    for split, rows in (("test", ASKED), ("train", [repeated, *OTHERS])):
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "main" / f"{split}-00000-of-00001.parquet")
    return tmp_path


def gsm8k(folder, **few_shot):
    return BenchmarkSettings.model_validate(
        {"name": "gsm8k", "file": str(folder), "max_problems": 1, "few_shot": few_shot}
    )


def test_examples_come_from_the_other_split_and_are_never_asked_themselves(folder):
    every = shots_of(gsm8k(folder, count=10, split="train"), "question-answer")
    assert sorted(every) == sorted(
        (row["question"], row["answer"]) for row in OTHERS
    )  # not 0+0?, which max_problems may leave out
    with pytest.raises(OperatorError, match="10 usable examples, 11 wanted"):
        shots_of(gsm8k(folder, count=11, split="train"), "question-answer")


def test_a_seed_draws_others_and_more_of_one_seed_add_to_fewer(folder):
    three, five = (shots_of(gsm8k(folder, count=count, split="train"), "") for count in (3, 5))
    assert five[:3] == three and len(set(five)) == 5
    assert shots_of(gsm8k(folder, count=3, split="train", seed=1), "") != three


def test_a_file_of_examples_and_the_form_of_their_answers(tmp_path):
    (tmp_path / "asked.jsonl").write_text(json.dumps({"problem": "2+2?", "answer": "4"}) + "\n")
    (tmp_path / "shown.jsonl").write_text(json.dumps({"problem": "3+3?", "solution": "6"}) + "\n")
    benchmark = BenchmarkSettings.model_validate({
        "name": "mine", "file": str(tmp_path / "asked.jsonl"),
        "few_shot": {"count": 1, "file": str(tmp_path / "shown.jsonl"), "answer_column": "solution"},
    })  # fmt: skip
    forms = {
        "plain": "\\boxed{6}",
        "answer-tag": "<answer>6</answer>",
        "hashes": "#### 6",
        "question-answer": "The answer is 6.",
    }
    assert {name: shots_of(benchmark, name)[0][1] for name in forms} == forms
    choices = benchmark.model_copy(update={"kind": "choices"})
    (tmp_path / "asked.jsonl").write_text(json.dumps({"problem": "2+2?", "choices": ["4", "5"], "answer": 0}) + "\n")
    assert shots_of(choices, "question-answer") == (("3+3?", "6"),)
    assert shots_of(benchmark.model_copy(update={"few_shot": None}), "plain") == ()


def test_the_prompt_is_the_examples_and_then_the_problem():
    shots = (("1+1?", "2"), ("2+2?", "4"))
    problem = make_problem("3+3?")
    text = render(problem, TEMPLATES["question-answer"], shots=shots)
    assert text == "Question: 1+1?\nAnswer: 2\n\nQuestion: 2+2?\nAnswer: 4\n\nQuestion: 3+3?\nAnswer:"
    turns = render(problem, "Q: {problem}", shots=shots, chat=lambda said: json.dumps(said))
    assert [(turn["role"], turn["content"]) for turn in json.loads(turns)] == [
        ("user", "Q: 1+1?"), ("assistant", "2"), ("user", "Q: 2+2?"), ("assistant", "4"), ("user", "Q: 3+3?"),
    ]  # fmt: skip


def test_an_answer_ends_where_the_next_example_begins(folder):
    benchmark = gsm8k(folder, count=1, split="train")
    assert stops_of(benchmark, "question-answer") == ("\nQuestion:",)
    assert stops_of(benchmark, "choice") == (
        "\nReason step by step and put the letter of the right answer in \\boxed{}.",
    )
    assert stops_of(benchmark, "bare") == () == stops_of(BenchmarkSettings(name="gsm8k"), "question-answer")


@pytest.mark.parametrize(
    ("benchmark", "words"),
    [
        ({"name": "dev"}, "dev has no other split"),
        ({"name": "gsm8k"}, r"name a `file` of examples, or a `split` \(known for gsm8k: train\)"),
        ({"name": "math-500"}, "this benchmark has no known one"),
    ],
)
def test_what_has_no_examples_says_so(folder, benchmark, words):
    (folder / "test.jsonl").write_text(json.dumps({"problem": "2+2?", "answer": "4"}) + "\n")
    file = {} if benchmark["name"] == "dev" else {"file": str(folder)}
    with pytest.raises(OperatorError, match=words):
        shots_of(BenchmarkSettings.model_validate({**benchmark, **file, "few_shot": {"count": 1}}), "plain")


def test_the_commands_word_for_them():
    assert benchmark_entry("gsm8k", None, "5:train") == {"name": "gsm8k", "few_shot": {"count": 5, "split": "train"}}
    assert benchmark_entry("gsm8k", 7, "3:a/shown.jsonl")["few_shot"] == {"count": 3, "file": "a/shown.jsonl"}
    own = "{name: gsm8k, few_shot: {count: 1, split: train}}"
    assert benchmark_entry(own, None, "5:train")["few_shot"] == {"count": 1, "split": "train"}
    for word in ("5", "train", "five:train", "5:"):
        with pytest.raises(OperatorError, match=r"5:train or 5:examples\.jsonl"):
            benchmark_entry("gsm8k", None, word)
