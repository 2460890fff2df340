"""Multiple choice by log-likelihood: acc and acc_norm against a computation one row at a time, with transformers alone."""

import copy
import json

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from redistill.config.tables import BenchmarkSettings
from redistill.errors import OperatorError
from redistill.evaluate.benchmarks import load_benchmark
from redistill.evaluate.by_likelihood import (
    CHOICES,
    RIGHT,
    answered_by_likelihood,
    choice_scores,
    measure_of,
    read_choices,
)
from redistill.model.loading import character_tokenizer
from redistill.records import Outcome, make_problem
from redistill.text.prompts import TEMPLATES, render

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ?:\n"


def problem_of(question, options, right):
    return make_problem(question, answer=options[right], metadata={CHOICES: list(options), RIGHT: right})


def asked(problem):
    return render(problem, TEMPLATES["question-answer"])


def fixed(values):
    """In place of the student: made-up log-probs a token of each (prompt, option), in their order."""
    rows = iter(values)
    return lambda given: [next(rows) for _ in given]


def test_acc_is_by_sums_and_acc_norm_by_characters_by_hand():
    # sums -3 and -4: the first by sums; over 2 and 8 characters -1.5 and -.5: the second by length
    problems = [problem_of("one?", ["ab", "abcdefgh"], 1), problem_of("two?", ["ab", "abcdefgh"], 0)]
    made_up = [[-1.0, -2.0], [-4.0], [-3.0], [-1.0, -1.0, -2.0]]
    groups = answered_by_likelihood(problems, asked, fixed(made_up), author="s")
    assert [group.traces[0].completion for group in groups] == ["ab", "ab"]
    assert [group.traces[0].verdict.outcome for group in groups] == [Outcome.incorrect, Outcome.correct]
    assert [group.traces[0].scores["acc_norm"] for group in groups] == [1.0, 0.0]
    assert {name: found["value"] for name, found in choice_scores(groups).items()} == {"acc": 0.5, "acc_norm": 0.5}
    assert json.loads(groups[0].traces[0].notes["log_likelihoods"]) == [-3.0, -4.0]


def test_the_first_of_equals_is_taken_and_the_option_stands_after_a_blank():
    seen = []

    def measured(rows):
        seen.extend(rows)
        return [[-1.0], [-1.0]]

    (group,) = answered_by_likelihood([problem_of("one?", ["ab", "cd"], 0)], asked, measured, author="s")
    assert seen == [("Question: one?\nAnswer:", " ab"), ("Question: one?\nAnswer:", " cd")]
    assert group.traces[0].completion == "ab"


def test_a_student_is_measured_as_one_row_at_a_time_does_it():
    tokenizer = character_tokenizer(LETTERS)
    config = AutoConfig.for_model("llama", vocab_size=len(tokenizer), hidden_size=16, intermediate_size=24, num_hidden_layers=2,
                                  num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=128)  # fmt: skip
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(6)  # a student of some opinion
    texts = [
        ("What is up?", ["sky", "the blue sky above", "no"], 1),
        ("And down?", ["earth", "mud"], 1),
        ("Left?", ["a", "bcd", "xyzzy", "q w"], 3),
    ]
    problems = [problem_of(*one) for one in texts]
    groups = answered_by_likelihood(problems, asked, measure_of(lambda: (copy.deepcopy(model), tokenizer)), author="s")
    right, right_by_length = [], []
    for (question, options, place), group in zip(texts, groups, strict=True):
        sums = []
        for option in options:
            prompt = tokenizer.convert_tokens_to_ids(list(f"Question: {question}\nAnswer:"))
            said = tokenizer.convert_tokens_to_ids(list(f" {option}"))
            with torch.no_grad():
                logps = model(torch.tensor([prompt + said])).logits[0].double().log_softmax(-1)
            sums.append(sum(float(logps[len(prompt) - 1 + i, id]) for i, id in enumerate(said)))
        assert json.loads(group.traces[0].notes["log_likelihoods"]) == pytest.approx(sums, abs=2e-4)
        right.append(float(max(range(len(sums)), key=sums.__getitem__) == place))
        norms = [total / len(option) for total, option in zip(sums, options, strict=True)]
        right_by_length.append(float(max(range(len(norms)), key=norms.__getitem__) == place))
    found = choice_scores(groups)
    assert (found["acc"]["value"], found["acc_norm"]["value"]) == (sum(right) / 3, sum(right_by_length) / 3)


def test_what_does_not_fit_is_said():
    with pytest.raises(OperatorError, match="longer than the student's context"):
        answered_by_likelihood(
            [problem_of("one?", ["a", "b"], 0)], asked, lambda rows: [[-1.0], "too_long"], author="s"
        )


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ({"choices": {"text": ["oxygen", "carbon dioxide"], "label": ["1", "2"]}, "answerKey": "2"}, (["oxygen", "carbon dioxide"], 1)),  # ARC
        ({"endings": ["runs.", "flies."], "label": "1"}, (["runs.", "flies."], 1)),  # HellaSwag
        ({"choices": ["3", "4"], "answer": 0}, (["3", "4"], 0)),  # MMLU
        ({"options": ["x", "y"], "answer": "B"}, (["x", "y"], 1)),  # MMLU-Pro
        ({"options": ["x", "y"], "answer": "y"}, (["x", "y"], 1)),
        ({"options": '["x", "y"]', "answer": "A"}, (["x", "y"], 0)),
    ],
)  # fmt: skip
def test_layouts_of_options(row, found):
    assert read_choices(row, BenchmarkSettings(name="x", file="f", kind="choices")) == found


def test_rows_without_options_stop_with_their_place(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(
        "".join(json.dumps(row) + "\n" for row in [{"problem": "a?", "choices": ["x", "y"], "answer": "C"}])
    )
    with pytest.raises(OperatorError, match=r"rows.jsonl row 0: the answer 'C' is not one of its options"):
        list(load_benchmark(BenchmarkSettings(name="x", file=str(path), kind="choices")))
    path.write_text(json.dumps({"problem": "a?", "answer": "C"}) + "\n")
    with pytest.raises(OperatorError, match="no list of two or more options"):
        list(load_benchmark(BenchmarkSettings(name="x", file=str(path), kind="choices")))
