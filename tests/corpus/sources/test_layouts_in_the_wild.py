"""Columns as public files and tools have them: each is read in full, or refused with what to do."""

import json

import pytest

from redistill.corpus import SOURCES
from redistill.corpus.sources.layouts import recognise
from redistill.errors import OperatorError

RIGHT, WRONG = "<think>\n2+2\n</think>\n\nIt is \\boxed{4}.", "It is \\boxed{5}."
IN_THE_WILD = {
    # the columns of public files (data cards of the hub), values our own
    "feedbackagent: rendered prompts, a list of rewards": (
        [{"gt": "4", "idx": 0, "prompt": "<|start_header_id|>user<|end_header_id|>\n\n2+2?<|eot_id|>", "completions": [RIGHT, WRONG],
          "problem": "2+2?", "response": RIGHT, "rewards": [True, False], "preds": ["4", "5"]}],
        {"labels_column": "rewards", "answer_column": "gt"},
    ),
    "mytestdpo: completions under a name of their own": (
        [{"idx": 0, "gt": "4", "prompt": "2+2?", "answer": "add\n#### 4", "my_solu": [RIGHT, WRONG], "pred": ["4", "5"], "rewards": [True, False]}],
        {"completions_column": "my_solu", "labels_column": "rewards"},
    ),
    "verifiers: a completion of messages per row, a reward": (
        [{"example_id": 0, "prompt": [{"role": "user", "content": "2+2?"}], "answer": "4", "reward": reward,
          "completion": [{"role": "assistant", "content": text, "reasoning_content": None}]} for text, reward in ((RIGHT, 1.0), (WRONG, 0.0))],
        {"completions_column": "completion", "labels_column": "reward"},
    ),
    "Olmo's RL-Zero: scores of a verifier": (
        [{"prompt": "2+2?", "ground_truth": ["4"], "olmo_completions": [RIGHT, WRONG], "verifier_scores": [1.0, 0.0], "avg_score": 0.5}],
        {"completions_column": "olmo_completions", "labels_column": "verifier_scores", "answer_column": "ground_truth"},
    ),
    "SYNTHETIC-1: llm_response with a score": (
        [{"prompt": "2+2?", "llm_response": text, "score": score, "gold_standard_solution": "4", "verification_info": "{'ground_truth': '4'}"}
         for text, score in ((RIGHT, 1.0), (WRONG, 0.0))],
        {"completions_column": "llm_response", "labels_column": "score", "answer_column": "gold_standard_solution"},
    ),
    "verl's validation dump: rendered prompts": (
        [{"input": "<|im_start|>system\nBe brief<|im_end|>\n<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n", "output": text, "gts": "4", "acc": right}
         for text, right in ((RIGHT, 1.0), (WRONG, 0.0))],
        {"prompt_column": "input", "completions_column": "output", "answer_column": "gts"},
    ),
    "solutions with a label for each": (
        [{"problem": "2+2?", "ref_answer": "4", "solutions": [RIGHT, WRONG], "correct": [True, False], "pass_rate": 0.5}],
        {"prompt_column": "problem", "completions_column": "solutions", "answer_column": "ref_answer"},
    ),
    "grades in words": (
        [{"question": "2+2?", "answer": "4", "response": text, "grade": grade} for text, grade in ((RIGHT, "CORRECT"), (WRONG, "INCORRECT"))],
        {"prompt_column": "question", "completions_column": "response", "labels_column": "grade"},
    ),
    "a reply of an API": (
        [{"question": "2+2?", "gold": 4, "response": {"choices": [{"message": {"role": "assistant", "content": text}}]}, "correct": right}
         for text, right in ((RIGHT, "yes"), (WRONG, "no"))],
        {"prompt_column": "question", "completions_column": "response", "answer_column": "gold"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", IN_THE_WILD)
def test_columns_met_in_the_wild(name, tmp_path):
    rows, options = IN_THE_WILD[name]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = recognise(str(path), SOURCES)
    assert (found.source, found.options) == ("completions", options)
    assert {(p.statement, p.answer and p.answer[-1], t.completion) for p, t in found.said} == {
        ("2+2?", "4", RIGHT),
        ("2+2?", "4", WRONG),
    }
    assert (found.right, found.wrong, found.paired) == (1, 1, True)


def test_a_reference_solution_is_no_trace_by_its_looks(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"prompt": "2+2?", "gold_standard_solution": RIGHT}) + "\n")
    assert recognise(str(path), SOURCES).source == "problems"


@pytest.mark.parametrize(
    ("prompt", "statement"),
    [
        ("system\nYou are Qwen.\nuser\n2+2?\nassistant\n", "2+2?"),  # decoded without special tokens
        ("user\n\n2+2?\n\nassistant\n\n<think>\n", "2+2?"),
        ("\n\nHuman: 2+2?\n\nAssistant:", "2+2?"),
        ("User: 2+2?\n\nAssistant: <think>\n", "2+2?"),
        ("A conversation between User and Assistant. The Assistant solves it. User: 2+2? Assistant:", "2+2?"),
        (
            "A conversation between User and Assistant.\nUser: 2+2?\nAssistant: Let me solve this step by step.\n<think>",
            "2+2?",
        ),
        *[(text, text) for text in ("Who is the user\nof this assistant", "Fill in. User: hi. What would you answer?")],
        *[
            (text, text)
            for text in ('Name the speaker of "Assistant:"', "assistant\nuser\n2+2?", "Is this an assistant")
        ],
        ("Go on. User: hi Assistant: hello", "Go on. User: hi Assistant: hello"),
    ],
)
def test_turns_that_words_open_give_the_question_where_the_assistant_is_to_speak(prompt, statement, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"prompt": prompt, "completions": [RIGHT]}) + "\n")
    (group,) = SOURCES["completions"](path=str(path))
    assert group.problem.statement == statement


@pytest.mark.parametrize(
    ("row", "source", "options"),
    [
        (
            {"messages": [{"role": "user", "content": "2+2?"}], "ground_truth": "4", "dataset": "gsm8k"},
            "problems",
            {"problem_column": "messages", "answer_column": "ground_truth"},
        ),
        (
            {"conversations": [{"from": "human", "value": "2+2?"}], "answer": "4"},
            "problems",
            {"problem_column": "conversations"},
        ),
    ],
)
def test_conversations_that_only_ask_are_problems(row, source, options, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n")
    found = recognise(str(path), SOURCES)
    assert (found.source, found.options, found.answers) == (source, options, 1)
    (group,) = SOURCES[source](path=str(path), **options)
    assert (group.problem.statement, group.problem.answer) == ("2+2?", "4")


def test_thinking_in_a_column_of_a_chain_of_thought_is_kept(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"Question": "2+2?", "Complex_CoT": "Two and two.", "Response": "4"}) + "\n")
    found = recognise(str(path), SOURCES)
    assert found.unread == ()
    assert found.said[0][1].completion == "<think>\nTwo and two.\n</think>\n\n4"


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        ("Human: 1+1?\nAssistant: 2\nHuman: 2+2?\nAssistant:", "several_turns"),
        ("user\n1+1?\nassistant\n2\nuser\n2+2?\nassistant\n", "several_turns"),
        ("User:\nAssistant:", "templated_prompt"),
        (
            "<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n2<|im_end|>\n<|im_start|>user\n2+2?<|im_end|>",
            "several_turns",
        ),
        ("<|im_start|>assistant\n", "templated_prompt"),
    ],
)
def test_a_rendered_prompt_without_its_one_question_is_refused(prompt, reason, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"prompt": prompt, "completions": [RIGHT]}) + "\n")
    (dropped,) = SOURCES["completions"](path=str(path))
    assert dropped.reason == reason


def test_a_file_of_columns_is_said_to_be_one(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps({"problem": ["1+1?", "2+2?"], "answer": [2, 4], "response": [WRONG, RIGHT]}))
    with pytest.raises(OperatorError, match="holds columns instead of rows"):
        recognise(str(path), SOURCES)
