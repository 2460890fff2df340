"""Data sets by name: which source reads one, under which options, recognized by columns that only it has.

    DATASETS["zwhe99/DeepMath-103K"].options   ->  {"prompt_column": "question", "completions_column": ["r1_solution_1", ...], ...}

`init` tries these beside everything else. The columns are those of the data cards (docs/datasets.md says where each was
looked up); tests/corpus/sources/test_known.py holds a row of each with what it must be read as.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class DataSet:
    """A source, its options, and the columns that a file of this data set has and others do not have together; none where
    the columns do not tell it from others, and trying its source does."""

    source: str
    columns: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)


DATASETS: dict[str, DataSet] = {
    "open-r1/OpenR1-Math-Raw": DataSet("openr1-math-raw", ("problem", "generations", "correctness", "is_reasoning_complete")),
    "open-r1/OpenR1-Math-220k": DataSet("openr1-math-220k", ("problem", "generations", "correctness_math_verify")),
    "open-thoughts/OpenThoughts-114k": DataSet("openthoughts", ("system", "conversations"), {"label": "all"}),
    "open-thoughts/OpenThoughts-114k (metadata)": DataSet(
        "completions",
        ("problem", "deepseek_reasoning", "deepseek_solution", "ground_truth_solution"),
        {
            "prompt_column": "problem",
            "completions_column": "deepseek_solution",
            "thinking_column": "deepseek_reasoning",
            "answer_column": "ground_truth_solution",
            "author": "DeepSeek-R1",
        },
    ),
    "open-thoughts/OpenThoughts2-1M": DataSet("openthoughts", (), {"label": "all"}),
    "open-thoughts/OpenThoughts3-1.2M": DataSet(
        "openthoughts", ("difficulty", "source", "domain", "conversations"), {"label": "all", "author": "QwQ-32B"}
    ),
    "open-r1/Mixture-of-Thoughts": DataSet("messages", ("messages", "num_tokens", "source"), {"author": "DeepSeek-R1"}),
    "a-m-team/AM-DeepSeek-R1-Distilled-1.4M": DataSet("am-deepseek-r1", ()),
    "simplescaling/s1K-1.1": DataSet(
        "completions",
        ("question", "solution", "deepseek_thinking_trajectory", "deepseek_attempt"),
        {
            "prompt_column": "question",
            "completions_column": "deepseek_attempt",
            "thinking_column": "deepseek_thinking_trajectory",
            "labels_column": "deepseek_grade",
            "answer_column": "solution",
            "author": "DeepSeek-R1",
        },
    ),
    "simplescaling/s1K": DataSet(
        "completions",
        ("question", "solution", "thinking_trajectories", "attempt"),
        {
            "prompt_column": "question",
            "completions_column": "attempt",
            "thinking_column": "thinking_trajectories",
            "answer_column": "solution",
            "author": "gemini-2.0-flash-thinking",
        },
    ),
    "bespokelabs/Bespoke-Stratos-17k": DataSet("openthoughts", (), {"label": "all"}),
    "GAIR/LIMO": DataSet(
        "completions",
        ("question", "solution", "answer"),
        {"prompt_column": "question", "completions_column": "solution", "answer_column": "answer"},
    ),
    "AI-MO/NuminaMath-CoT": DataSet("messages", ("problem", "solution", "messages", "source")),
    "AI-MO/NuminaMath-1.5": DataSet(
        "completions",
        ("problem", "solution", "answer", "problem_type", "question_type", "problem_is_valid", "solution_is_valid"),
        {"prompt_column": "problem", "completions_column": "solution", "answer_column": "answer", "author": "human"},
    ),
    "zwhe99/DeepMath-103K": DataSet(
        "completions",
        ("question", "final_answer", "r1_solution_1", "r1_solution_2", "r1_solution_3"),
        {
            "prompt_column": "question",
            "completions_column": ["r1_solution_1", "r1_solution_2", "r1_solution_3"],
            "answer_column": "final_answer",
            "author": "DeepSeek-R1",
        },
    ),
    "nvidia/OpenMathReasoning": DataSet(
        "completions",
        ("problem", "generated_solution", "expected_answer", "inference_mode"),
        {"prompt_column": "problem", "completions_column": "generated_solution", "answer_column": "expected_answer"},
    ),
    "nvidia/Llama-Nemotron-Post-Training-Dataset": DataSet(
        "completions",
        ("input", "output", "category", "generator", "reasoning"),
        {"prompt_column": "input", "completions_column": "output"},
    ),
    "nvidia/Nemotron-Post-Training-Dataset-v1": DataSet("messages", ("messages", "uuid", "category", "generator", "reasoning")),
    "HuggingFaceH4/ultrafeedback_binarized": DataSet("preference", ("prompt", "chosen", "rejected", "score_chosen", "score_rejected")),
    "BytedTsinghua-SIA/DAPO-Math-17k": DataSet(
        "problems", ("prompt", "reward_model", "data_source"), {"problem_column": "prompt", "answer_column": "reward_model"}
    ),
}  # fmt: skip


def candidates(columns: Iterable[str]) -> Iterator[tuple[str, DataSet]]:
    """(name, data set) of those whose columns are all there, the ones with most columns first."""
    present = set(columns)
    fitting = [(name, known) for name, known in DATASETS.items() if known.columns and set(known.columns) <= present]
    yield from sorted(fitting, key=lambda item: -len(item[1].columns))
