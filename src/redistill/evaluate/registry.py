"""Benchmarks by name: where each lies on the Hugging Face hub, what its columns are called, how it is asked and judged.

    BENCHMARKS["math-500"]      hub HuggingFaceH4/MATH-500, file test.jsonl, columns problem and answer, 500 problems

None ships here; the named file is fetched at the pinned revision, or read from a folder of yours
(`{name: math-500, file: FOLDER}`). Ids, files, columns, revisions and licences were read in public projects that pin the
same ones, not on the hub itself: `unverified` says what no source confirmed. `template` and `verifier` are set only
where a benchmark cannot be asked or judged like the others.
"""

import hashlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from redistill.evaluate import public_rows

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One benchmark: its place, its columns, its manners. `read`: a row -> (statement, answer) or (statement, answer,
    metadata), where columns do not do."""

    hub: str
    file: str
    revision: str
    split: str
    problem_column: str
    answer_column: str
    num_problems: int
    citation: str
    licence: str
    config: str = ""
    template: str | None = None
    verifier: str | None = None
    verifier_options: Mapping[str, Any] = field(default_factory=dict)
    read: Callable[[Row], tuple[Any, ...]] | None = None
    is_gated: bool = False
    splits: Mapping[str, str] = field(default_factory=dict)  # files of other splits, for worked examples
    unverified: str = ""


def read_gsm8k(row: Row) -> tuple[Any, Any]:
    """The answer stands after the last `####` of the solution; commas in its digits are left out."""
    return row.get("question"), str(row.get("answer")).rpartition("####")[2].strip().replace(",", "")


LETTERS = "ABCDEFGHIJ"


def read_gpqa(row: Row) -> tuple[Any, Any]:
    """The question with its four answers under letters, in an order drawn from the question's own hash; the right letter."""
    question, right = str(row.get("Question")).strip(), str(row.get("Correct Answer")).strip()
    choices = [right, *(str(row.get(f"Incorrect Answer {i}")).strip() for i in (1, 2, 3))]
    random.Random(hashlib.sha256(question.encode()).digest()).shuffle(choices)
    listed = "\n".join(f"{letter}) {choice}" for letter, choice in zip(LETTERS, choices))
    return f"{question}\n\n{listed}", LETTERS[choices.index(right)]


def read_mmlu_pro(row: Row) -> tuple[Any, Any]:
    """The question with its up to ten options under letters, in the order of the file; the right letter. Options that only fill
    a list up (`N/A`) are left out, as MMLU-Pro's own evaluation leaves them out."""
    options = [str(option).strip() for option in row.get("options") or ()]
    right = LETTERS.find(str(row.get("answer")).strip()[:1] or "?")
    kept = [(place, option) for place, option in enumerate(options) if option != "N/A"]
    listed = "\n".join(f"{letter}) {option}" for letter, (_, option) in zip(LETTERS, kept))
    answer = next((letter for letter, (place, _) in zip(LETTERS, kept) if place == right), None)
    return f"{str(row.get('question')).strip()}\n\n{listed}", answer


# tasks of BIG-Bench Hard whose answer is not a letter
_BBH_TEXT = (
    "boolean_expressions", "causal_judgement", "dyck_languages", "formal_fallacies", "multistep_arithmetic_two", "navigate",
    "object_counting", "sports_understanding", "web_of_lies", "word_sorting",
)  # fmt: skip


def _bbh(task: str, problems: int = 250) -> Benchmark:
    """One task of BIG-Bench Hard: letters are judged as a choice, words, numbers and brackets in answer tags as they stand."""
    text = task in _BBH_TEXT
    return Benchmark(
        hub="SaylorTwift/bbh",
        file=f"{task}/test-00000-of-00001.parquet",
        revision="b5306be6f827cfafbb545ff5a51f96916029b0fd",
        split="test",
        config=task,
        problem_column="input",
        answer_column="target",
        num_problems=problems,
        citation="Suzgun et al. 2022, arXiv 2210.09261",
        licence="MIT (of BIG-Bench Hard)",
        template="answer-tag" if text else "choice",
        verifier="exact" if text else "choice",
        read=public_rows.read_bbh_text if text else public_rows.read_bbh_choice,
        unverified="the file's path, and the licence of this copy",
    )


BENCHMARKS: dict[str, Benchmark] = {
    "math-500": Benchmark(
        hub="HuggingFaceH4/MATH-500",
        file="test.jsonl",
        revision="6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be",
        split="test",
        problem_column="problem",
        answer_column="answer",
        num_problems=500,
        citation="Hendrycks et al. 2021, arXiv 2103.03874; the 500 of Lightman et al. 2023, arXiv 2305.20050",
        licence="MIT (of MATH)",
    ),
    "aime24": Benchmark(
        hub="HuggingFaceH4/aime_2024",
        file="data/train-00000-of-00001.parquet",
        revision="2fe88a2f1091d5048c0f36abc874fb997b3dd99a",
        split="train",
        problem_column="problem",
        answer_column="answer",
        num_problems=30,
        citation="American Invitational Mathematics Examination 2024, I and II",
        licence="problems of the Mathematical Association of America",
        unverified="the licence that the hub's page states",
    ),
    "aime25": Benchmark(
        hub="math-ai/aime25",
        file="test.jsonl",
        revision="563bb8404243c5f09de6ec262f2db674fe5bce9b",
        split="test",
        problem_column="problem",
        answer_column="answer",
        num_problems=30,
        citation="American Invitational Mathematics Examination 2025, I and II",
        licence="Apache-2.0 on the hub; problems of the Mathematical Association of America",
    ),
    "amc23": Benchmark(
        hub="math-ai/amc23",
        file="test-00000-of-00001.parquet",
        revision="80815d37005feb82cd7f8fbc6901d5d3eff43057",
        split="test",
        problem_column="question",
        answer_column="answer",
        num_problems=40,
        citation="American Mathematics Competitions 12, 2023, reworded for whole-number answers",
        licence="none stated; problems of the Mathematical Association of America",
    ),
    "amc83": Benchmark(
        hub="AI-MO/aimo-validation-amc",
        file="data/train-00000-of-00001.parquet",
        revision="69d78a4a2c840e82d69af6bc742bda09005f6316",
        split="train",
        problem_column="problem",
        answer_column="answer",
        num_problems=83,
        citation="American Mathematics Competitions 12, 2022 and 2023, reworded for whole-number answers; the REDI paper's AMC",
        licence="Apache-2.0 on the hub; problems of the Mathematical Association of America",
    ),
    "minerva": Benchmark(
        hub="math-ai/minervamath",
        file="test.jsonl",
        revision="ee46ddc498933b1977577953250ca5c66be64f96",
        split="test",
        problem_column="question",
        answer_column="answer",
        num_problems=272,
        citation="Lewkowycz et al. 2022, arXiv 2206.14858 (OCWCourses)",
        licence="none found; the problems are from MIT OpenCourseWare",
        unverified="the licence",
    ),
    "olympiadbench": Benchmark(
        hub="Hothan/OlympiadBench",
        file="OlympiadBench/OE_TO_maths_en_COMP/OE_TO_maths_en_COMP.parquet",
        revision="91184b52131e7fc9455fef848035173aea8cc01a",
        split="train",
        config="OE_TO_maths_en_COMP",
        problem_column="question",
        answer_column="final_answer",
        num_problems=674,
        citation="He et al. 2024, arXiv 2402.14008",
        licence="Apache-2.0",
    ),
    "gsm8k": Benchmark(
        hub="openai/gsm8k",
        file="main/test-00000-of-00001.parquet",
        revision="740312add88f781978c0658806c59bc2815b9866",
        split="test",
        config="main",
        problem_column="question",
        answer_column="answer",
        num_problems=1319,
        citation="Cobbe et al. 2021, arXiv 2110.14168",
        licence="MIT",
        read=read_gsm8k,
        splits={"train": "main/train-00000-of-00001.parquet"},
    ),
    "gpqa-diamond": Benchmark(
        hub="Idavidrein/gpqa",
        file="gpqa_diamond.csv",
        revision="633f5ee89ab8ad4522a9f850766b73f62147ffdd",
        split="train",
        config="gpqa_diamond",
        problem_column="Question",
        answer_column="Correct Answer",
        num_problems=198,
        citation="Rein et al. 2023, arXiv 2311.12022",
        licence="CC BY 4.0; its authors ask that no question be shown in public",
        template="choice",
        verifier="choice",
        read=read_gpqa,
        is_gated=True,
    ),
    "mmlu-pro": Benchmark(
        hub="TIGER-Lab/MMLU-Pro",
        file="data/test-00000-of-00001.parquet",
        revision="527feea0afed1de15a8c115abf7be4c912123315",
        split="test",
        problem_column="question",
        answer_column="answer",
        num_problems=12032,
        citation="Wang et al. 2024, arXiv 2406.01574",
        licence="MIT on the hub",
        template="choice",
        verifier="choice",
        read=read_mmlu_pro,
        splits={"validation": "data/validation-00000-of-00001.parquet"},
        unverified="the licence that the hub's page states",
    ),
    "olymmath-en-easy": Benchmark(
        hub="RUC-AIBOX/OlymMATH",
        file="data/OlymMATH-EN-EASY.jsonl",
        revision="5f83d12e63ee3267f35044461a6cebad58ec3be1",
        split="test",
        config="en-easy",
        problem_column="problem",
        answer_column="answer",
        num_problems=100,
        citation="Sun et al. 2025, arXiv 2503.21380",
        licence="MIT",
    ),
    "ifeval": Benchmark(
        hub="google/IFEval",
        file="ifeval_input_data.jsonl",
        revision="966cd89545d6b6acfd7638bc708b98261ca58e84",
        split="train",
        problem_column="prompt",
        answer_column="instruction_id_list",
        num_problems=541,
        citation="Zhou et al. 2023, arXiv 2311.07911",
        licence="Apache-2.0",
        template="bare",
        verifier="instructions",
        read=public_rows.read_ifeval,
    ),
    "livecodebench-v6": Benchmark(
        hub="livecodebench/code_generation_lite",
        file="test6.jsonl",
        revision="0fe84c3912ea0c4d4a78037083943e8f0c4dd505",
        split="test",
        config="v6",
        problem_column="question_content",
        answer_column="public_test_cases",
        num_problems=175,
        citation="Jain et al. 2024, arXiv 2403.07974; the problems that release v6 added",
        licence="CC on the hub, without a version; problems of AtCoder and LeetCode",
        template="bare",
        verifier="code-tests",
        verifier_options={"max_tests": 1000, "cpu_seconds": 6.0, "preamble": public_rows.PREAMBLE},
        read=public_rows.read_livecodebench,
        unverified="the licence that the hub's page states",
    ),
    "bbh-boolean-expressions": _bbh("boolean_expressions"),
    "bbh-causal-judgement": _bbh("causal_judgement", 187),
    "bbh-date-understanding": _bbh("date_understanding"),
    "bbh-disambiguation-qa": _bbh("disambiguation_qa"),
    "bbh-dyck-languages": _bbh("dyck_languages"),
    "bbh-formal-fallacies": _bbh("formal_fallacies"),
    "bbh-geometric-shapes": _bbh("geometric_shapes"),
    "bbh-hyperbaton": _bbh("hyperbaton"),
    "bbh-logical-deduction-five-objects": _bbh("logical_deduction_five_objects"),
    "bbh-logical-deduction-seven-objects": _bbh("logical_deduction_seven_objects"),
    "bbh-logical-deduction-three-objects": _bbh("logical_deduction_three_objects"),
    "bbh-movie-recommendation": _bbh("movie_recommendation"),
    "bbh-multistep-arithmetic-two": _bbh("multistep_arithmetic_two"),
    "bbh-navigate": _bbh("navigate"),
    "bbh-object-counting": _bbh("object_counting"),
    "bbh-penguins-in-a-table": _bbh("penguins_in_a_table", 146),
    "bbh-reasoning-about-colored-objects": _bbh("reasoning_about_colored_objects"),
    "bbh-ruin-names": _bbh("ruin_names"),
    "bbh-salient-translation-error-detection": _bbh("salient_translation_error_detection"),
    "bbh-snarks": _bbh("snarks", 178),
    "bbh-sports-understanding": _bbh("sports_understanding"),
    "bbh-temporal-sequences": _bbh("temporal_sequences"),
    "bbh-tracking-shuffled-objects-five-objects": _bbh("tracking_shuffled_objects_five_objects"),
    "bbh-tracking-shuffled-objects-seven-objects": _bbh("tracking_shuffled_objects_seven_objects"),
    "bbh-tracking-shuffled-objects-three-objects": _bbh("tracking_shuffled_objects_three_objects"),
    "bbh-web-of-lies": _bbh("web_of_lies"),
    "bbh-word-sorting": _bbh("word_sorting"),
    "olymmath-en-hard": Benchmark(
        hub="RUC-AIBOX/OlymMATH",
        file="data/OlymMATH-EN-HARD.jsonl",
        revision="5f83d12e63ee3267f35044461a6cebad58ec3be1",
        split="test",
        config="en-hard",
        problem_column="problem",
        answer_column="answer",
        num_problems=100,
        citation="Sun et al. 2025, arXiv 2503.21380",
        licence="MIT",
    ),
}
