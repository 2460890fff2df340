"""The popular data sets by name: two rows of each in its exact columns, and what they must be read as, written by hand.

Where the columns were looked up, and what could not be found, is said in docs/datasets.md.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from redistill.corpus import SOURCES
from redistill.corpus.sources.known import DATASETS
from redistill.corpus.sources.layouts import survey

Q, R, W = "What is 2+2?", "<think>\n2+2=4\n</think>\n\n\\boxed{4}", "<think>\n2+2=5\n</think>\n\n\\boxed{5}"
USER, SAID = {"role": "user", "content": Q}, {"role": "assistant", "content": R}
HUMAN, GPT = {"from": "human", "value": Q}, {"from": "gpt", "value": R}
OLD = (
    "<|begin_of_thought|>\n\n2+2=4\n\n<|end_of_thought|>\n\n<|begin_of_solution|>\n\n\\boxed{4}\n\n<|end_of_solution|>"
)


@dataclass
class Case:
    """Columns of a row, and what the first row is read as: completions, golds, labels by name (True, False or None)."""

    row: dict[str, Any]
    source: str
    completions: list[str]
    gold: str | None = None
    labels: dict[str, list[bool | None]] = field(default_factory=dict)
    finish: list[str | None] | None = None
    authors: set[str] = field(default_factory=lambda: {""})
    unread: set[str] = field(default_factory=set)


NUMINA = {
    "problem": Q,
    "solution": "It is $\\boxed{4}$.",
    "answer": "4",
    "problem_type": "Algebra",
    "question_type": "math-word-problem",
}
R1_META = {"source": "olympiads", "uuid": "u"}
TRAIN_NEMOTRON = {
    "uuid": "u",
    "license": "cc-by-4.0",
    "generator": "DeepSeek-R1-0528",
    "version": "v1",
    "category": "math",
}
CASES: dict[str, Case] = {
    "open-r1/OpenR1-Math-Raw": Case(
        {**NUMINA, **R1_META, "problem_is_valid": "Yes", "solution_is_valid": "Yes", "synthetic": False, "generations": [R, W],
         "generations_count": 2, "is_reasoning_complete": [True, False], "correctness_count": 1,
         "correctness": {"llama_verification": [True, None], "math_verify": [False, True], "math_verify_reparsed_answer": [True, False]}},
        "openr1-math-raw", [R, W], "4", {"math_verify": [True, False], "llama_verification": [True, None]}, ["stop", "length"],
        {"DeepSeek-R1"}, {"solution", "problem_type", "uuid", "problem_is_valid", "solution_is_valid", "synthetic", "generations_count", "correctness_count"},
    ),
    "open-r1/OpenR1-Math-220k": Case(
        {**NUMINA, **R1_META, "is_reasoning_complete": [True, True], "generations": [R, W], "correctness_math_verify": [True, False],
         "correctness_llama": None, "finish_reasons": ["stop", "length"], "correctness_count": 1, "messages": [USER, SAID]},
        "openr1-math-220k", [R, W], "4", {"math_verify": [True, False]}, ["stop", "length"], {"DeepSeek-R1"},
        {"solution", "problem_type", "uuid", "correctness_count"},
    ),
    "open-thoughts/OpenThoughts-114k": Case(
        {"system": "Your role ...", "conversations": [{"from": "user", "value": Q}, {"from": "assistant", "value": OLD}]},
        "openthoughts", [R], None, {"teacher_label": [True]}, authors={"DeepSeek-R1"}, unread={"system"},
    ),
    "open-thoughts/OpenThoughts-114k (metadata)": Case(
        {"problem": Q, "deepseek_reasoning": "2+2=4", "deepseek_solution": "\\boxed{4}", "ground_truth_solution": "It is $\\boxed{4}$.",
         "domain": "math", "source": "numina_math", "test_cases": None, "starter_code": None},
        "completions", [R], "It is $\\boxed{4}$.", authors={"DeepSeek-R1"}, unread={"domain"},
    ),
    "open-thoughts/OpenThoughts2-1M": Case(
        {"conversations": [{"from": "user", "value": Q}, {"from": "assistant", "value": R}], "source": "automath"},
        "openthoughts", [R], None, {"teacher_label": [True]}, authors={"DeepSeek-R1"},
    ),
    "open-thoughts/OpenThoughts3-1.2M": Case(
        {"difficulty": 8, "source": "ai2-adapt-dev/openmath-2-math", "domain": "math", "conversations": [HUMAN, GPT]},
        "openthoughts", [R], None, {"teacher_label": [True]}, authors={"QwQ-32B"}, unread={"difficulty", "domain"},
    ),
    "open-r1/Mixture-of-Thoughts": Case(
        {"messages": [USER, SAID], "num_tokens": 7, "source": "open-r1/OpenR1-Math-220k"},
        "messages", [R], None, {"teacher_label": [True]}, authors={"DeepSeek-R1"}, unread={"num_tokens"},
    ),
    "a-m-team/AM-DeepSeek-R1-Distilled-1.4M": Case(
        {"messages": [
            {**USER, "info": {"source": "openR1", "reference_answer": "4", "test_case": None, "think_content": None, "answer_content": None}},
            {"role": "assistant", "content": "<think>2+2=4</think><answer>\\boxed{4}</answer>",
             "info": {"source": "openR1", "reference_answer": None, "test_case": None, "think_content": "2+2=4", "answer_content": "\\boxed{4}"}}]},
        "am-deepseek-r1", [R], "4", {"teacher_label": [True]}, authors={"DeepSeek-R1"},
    ),
    "simplescaling/s1K-1.1": Case(
        {"solution": "4", "question": Q, "cot_type": "math", "source_type": "AI-MO/NuminaMath-CoT/aops_forum", "metadata": "{'a': 1}",
         "gemini_thinking_trajectory": "hm", "gemini_attempt": "5", "deepseek_thinking_trajectory": "2+2=4", "deepseek_attempt": "\\boxed{4}",
         "gemini_grade": "No", "gemini_grade_reason": "r", "deepseek_grade": "Yes", "deepseek_grade_reason": "r"},
        "completions", [R], "4", {"teacher_label": [True]}, authors={"DeepSeek-R1"},
        unread={"cot_type", "source_type", "gemini_thinking_trajectory", "gemini_attempt", "gemini_grade", "gemini_grade_reason",
                "deepseek_grade_reason"},
    ),
    "simplescaling/s1K": Case(
        {"solution": "4", "question": Q, "cot_type": "math", "source_type": "s", "metadata": "{}", "cot": None,
         "thinking_trajectories": ["2+2=4"], "attempt": "\\boxed{4}"},
        "completions", [R], "4", authors={"gemini-2.0-flash-thinking"}, unread={"cot_type", "source_type"},
    ),
    "bespokelabs/Bespoke-Stratos-17k": Case(
        {"system": "Your role ...", "conversations": [{"from": "user", "value": Q}, {"from": "assistant", "value": OLD}]},
        "openthoughts", [R], None, {"teacher_label": [True]}, authors={"DeepSeek-R1"}, unread={"system"},
    ),
    "GAIR/LIMO": Case({"question": Q, "solution": R, "answer": "4"}, "completions", [R], "4"),
    "AI-MO/NuminaMath-CoT": Case(
        {"source": "synthetic_math", "problem": Q, "solution": "It is 4.", "messages": [USER, {"role": "assistant", "content": "It is 4."}]},
        "messages", ["It is 4."], None, {"teacher_label": [True]}, unread={"problem", "solution"},
    ),
    "AI-MO/NuminaMath-1.5": Case(
        {**NUMINA, "problem_is_valid": "Yes", "solution_is_valid": "Yes", "source": "olympiads", "synthetic": False},
        "completions", ["It is $\\boxed{4}$."], "4", authors={"human"},
        unread={"problem_type", "problem_is_valid", "solution_is_valid", "synthetic"},
    ),
    "zwhe99/DeepMath-103K": Case(
        {"question": Q, "final_answer": "4", "difficulty": 5.0, "topic": "Mathematics -> Algebra", "r1_solution_1": R, "r1_solution_2": W,
         "r1_solution_3": "\\boxed{4}"},
        "completions", [R, W, "\\boxed{4}"], "4", authors={"DeepSeek-R1"}, unread={"difficulty", "topic"},
    ),
    "nvidia/OpenMathReasoning": Case(
        {"expected_answer": "4", "problem_type": "has_answer_extracted", "problem_source": "aops_c6", "generation_model": "QwQ-32B",
         "pass_rate_72b_tir": "0.5", "problem": Q, "generated_solution": R, "inference_mode": "cot", "used_in_kaggle": True},
        "completions", [R], "4", authors={"QwQ-32B"},
        unread={"problem_type", "problem_source", "pass_rate_72b_tir", "inference_mode", "used_in_kaggle"},
    ),
    "nvidia/Llama-Nemotron-Post-Training-Dataset": Case(
        {"version": "v1", "category": "math", "generator": "DeepSeek-R1", "license": "cc-by-4.0", "reasoning": "on", "system_prompt": "detailed thinking on",
         "input": [USER], "output": R, "used_in_training": "Ultra"},
        "completions", [R], None, authors={"DeepSeek-R1"}, unread={"version", "category", "license", "system_prompt", "used_in_training"},
    ),
    "nvidia/Nemotron-Post-Training-Dataset-v1": Case(
        {**TRAIN_NEMOTRON, "reasoning": "on", "messages": [{**USER, "tool_calls": []}, {**SAID, "tool_calls": []}], "metadata": "{}"},
        "messages", [R], None, {"teacher_label": [True]}, authors={"DeepSeek-R1-0528"},
        unread={"uuid", "license", "version", "category", "metadata"},
    ),
    "HuggingFaceH4/ultrafeedback_binarized": Case(
        {"prompt": Q, "prompt_id": "p", "chosen": [USER, SAID], "rejected": [USER, {"role": "assistant", "content": W}],
         "messages": [USER, SAID], "score_chosen": 8.0, "score_rejected": 2.0},
        "preference", [R, W], None, {"teacher_label": [True, False]}, unread={"prompt_id", "messages", "score_chosen", "score_rejected"},
    ),
    "BytedTsinghua-SIA/DAPO-Math-17k": Case(
        {"data_source": "math_dapo", "prompt": [USER], "ability": "MATH", "reward_model": {"ground_truth": "4", "style": "rule-lighteval/MATH_v2"},
         "extra_info": {"index": "i"}},
        "problems", [], "4", unread={"ability", "extra_info"},
    ),
}  # fmt: skip
# Formats of tools, which init reads without a name for them.
FORMATS: dict[str, Case] = {
    "TRL prompt-completion": Case({"prompt": Q, "completion": R, "answer": "4"}, "completions", [R], "4"),
    "TRL conversational": Case({"prompt": [USER], "completion": [SAID], "answer": "4"}, "completions", [R], "4"),
    "TRL preference": Case({"prompt": [USER], "chosen": [SAID], "rejected": [{"role": "assistant", "content": W}]}, "preference", [R, W], None, {"teacher_label": [True, False]}),
    "TRL unpaired preference": Case({"prompt": Q, "completion": W, "label": False}, "completions", [W], None, {"teacher_label": [False]}),
    "LLaMA-Factory alpaca": Case({"instruction": "Solve.", "input": Q, "output": R, "system": "s", "history": [], "answer": "4"}, "completions", [R], "4", unread={"system"}),
    "LLaMA-Factory alpaca preference": Case({"instruction": Q, "input": "", "chosen": R, "rejected": W}, "preference", [R, W], None, {"teacher_label": [True, False]}),
    "LLaMA-Factory alpaca kto": Case({"instruction": Q, "input": "", "output": W, "kto_tag": False}, "completions", [W], None, {"teacher_label": [False]}),
    "LLaMA-Factory sharegpt": Case({"conversations": [HUMAN, GPT], "system": "s", "tools": "t", "answer": "4"}, "openthoughts", [R], "4", {"teacher_label": [True]}, authors={"DeepSeek-R1"}, unread={"system", "tools"}),
    "LLaMA-Factory sharegpt preference": Case({"conversations": [HUMAN], "chosen": GPT, "rejected": {"from": "gpt", "value": W}}, "preference", [R, W], None, {"teacher_label": [True, False]}),
    "LLaMA-Factory sharegpt kto": Case({"conversations": [HUMAN, {"from": "gpt", "value": W}], "kto_tag": False}, "openthoughts", [W], None, {"teacher_label": [False]}, authors={"DeepSeek-R1"}),
    "ms-swift messages": Case({"messages": [USER, SAID], "answer": "4"}, "messages", [R], "4", {"teacher_label": [True]}),
    "ms-swift DPO": Case({"messages": [USER, SAID], "rejected_response": W}, "preference", [R, W], None, {"teacher_label": [True, False]}),
    "ms-swift KTO": Case({"messages": [USER, {"role": "assistant", "content": W}], "label": False}, "messages", [W], None, {"teacher_label": [False]}),
    "ms-swift query and response": Case({"query": Q, "response": R, "rejected_response": W}, "preference", [R, W], None, {"teacher_label": [True, False]}),
    "distilabel": Case({"instruction": Q, "generation": R, "distilabel_metadata": {"raw": "x"}, "model_name": "m", "answer": "4"}, "completions", [R], "4", authors={"m"}, unread={"distilabel_metadata"}),
    "distilabel, several generations": Case({"instruction": Q, "generations": [R, W], "model_names": ["a", "b"], "ratings": [5, 1], "answer": "4"}, "traces", [R, W], "4", unread={"model_names", "ratings"}),
    "NeMo-Skills": Case({"problem": Q, "expected_answer": "4", "generation": W, "predicted_answer": "5", "symbolic_correct": False}, "completions", [W], "4", {"teacher_label": [False]}, unread={"predicted_answer"}),
    "vLLM RequestOutput": Case({"request_id": "0", "prompt": Q, "outputs": [{"index": 0, "text": "2+2=4\n</think>\n\n\\boxed{4}", "finish_reason": "stop"}, {"index": 1, "text": "2+2=", "finish_reason": "length"}], "answer": "4"}, "completions", ["2+2=4\n</think>\n\n\\boxed{4}", "2+2="], "4", finish=["stop", "length"], unread={"request_id", "outputs[].index"}),
    "OpenAI chat completion": Case({"messages": [USER], "choices": [{"index": 0, "message": {"role": "assistant", "content": "\\boxed{4}", "reasoning_content": "2+2=4"}, "finish_reason": "stop"}], "answer": "4"}, "completions", [R], "4", finish=["stop"], unread={"choices[].index"}),
    "verl rollouts": Case({"input": Q, "output": W, "gts": "4", "score": -1.0, "acc": False, "step": 1}, "completions", [W], "4", {"teacher_label": [False]}, unread={"score", "step"}),
    "gpt-oss Multilingual-Thinking": Case({"reasoning_language": "French", "developer": "d", "user": Q, "analysis": "2+2=4", "final": "\\boxed{4}", "messages": [{"role": "system", "content": "s", "thinking": None}, {**USER, "thinking": None}, {"role": "assistant", "content": "\\boxed{4}", "thinking": "2+2=4"}]}, "messages", [R], None, {"teacher_label": [True]}, unread={"reasoning_language", "developer", "user", "analysis", "final"}),
}  # fmt: skip


def rows_of(case: Case) -> list[dict[str, Any]]:
    """The row, and the same with another question: no problem is duplicated."""
    return [case.row, json.loads(json.dumps(case.row).replace("What is 2+2?", "What is 1+3?"))]


@pytest.mark.parametrize("name", [*CASES, *FORMATS])
def test_a_data_set_in_its_exact_columns_is_read_as_what_it_is(name: str, tmp_path: Path) -> None:
    case = {**CASES, **FORMATS}[name]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows_of(case)))
    found = survey(str(tmp_path / "rows.jsonl"), SOURCES).best
    assert (found.source, found.groups, found.dropped, found.lost) == (case.source, 2, {}, {})
    if name in DATASETS and DATASETS[name].columns:
        assert found.dataset == name and found.options == DATASETS[name].options
    said = found.said[: len(case.completions)]
    assert [trace.completion for _, trace in said] == case.completions and len(found.said) == 2 * len(said)
    if said:
        statement = "Solve.\nWhat is 2+2?" if case.row.get("input") == Q and "instruction" in case.row else Q
        assert {(problem.statement, problem.answer) for problem, _ in said} == {(statement, case.gold)}
    labels = {label for _, trace in said for label in trace.verdicts}
    assert labels == set(case.labels)
    for label, expected in case.labels.items():
        verdicts = [trace.verdicts.get(label) for _, trace in said]
        assert [None if verdict is None else verdict.outcome.value == "correct" for verdict in verdicts] == expected
    if case.finish:
        assert [trace.finish_reason for _, trace in said] == case.finish
    assert not said or {trace.author for _, trace in said} == case.authors
    assert set(found.unread) == case.unread


def test_every_data_set_that_is_known_by_name_has_its_case_and_its_source() -> None:
    assert set(CASES) == set(DATASETS)
    assert {known.source for known in DATASETS.values()} <= set(SOURCES)


def test_the_page_names_every_data_set() -> None:
    page = (Path(__file__).parents[3] / "docs" / "datasets.md").read_text("utf-8")
    assert not [name for name in DATASETS if name.partition(" ")[0] not in page]
