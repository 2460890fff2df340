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

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One benchmark: its place, its columns, its manners. `read`: a row -> (statement, answer), where columns do not do."""

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
    read: Callable[[Row], tuple[Any, Any]] | None = None
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
