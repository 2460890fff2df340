"""What `redistill init` chooses by what a file and a student can do: dev problems, pairs per problem, steps, rates, lengths, the prompt.

    counts = counts_of(found, judged)              Counts(problems=180, examples_per_problem=21.0, pairs_per_problem=15.0, ...)
    choices = choose(counts, student, has_dev=False)  Choices(dev=36, max_pairs=5, pairs=Schedule(32, 1, 22), redi_rate=5e-6, ...)
    choices.warnings                               sentences on what this file is too small for

Every number is a first guess that a comment in the recipe names; `redistill lr-find` and `redistill plan` say more.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from transformers import AutoModelForCausalLM

from redistill.config.tables import StudentSettings
from redistill.errors import OperatorError
from redistill.model import loading
from redistill.text.figures import power_words

CHARACTERS_PER_TOKEN = 3  # of mathematics in English, roughly; only bounds the answers' length
DEV_LEAST, DEV_MOST, DEV_SHARE, DEV_CEILING = 100, 300, 0.05, 0.2  # problems; of few problems at most a fifth
STEPS_WANTED, STEPS_LEAST = 100, 20  # of a stage: from about a hundred on a warm-up and a decay mean something
PAIRS_MOST = 8  # of one problem: more of one problem's traces say little that is new

# (parameters, rate of SFT, rate of REDI): the quickstart's student and SmolLM2-135M here (experiments/, recipes/), and Qwen2.5-Math-1.5B
# (Xu et al. 2025). Between them the rates are interpolated on logarithms; the 3.5-million student of experiments/real-traces, which bore
# 1.5e-5 to 5e-5 in stage 2 and collapsed at 1.5e-4, lies on the line (3e-5).
RATES = ((3.5e5, 2.0e-3, 1.0e-4), (1.35e8, 1.0e-4, 5.0e-6), (1.5e9, 5.0e-5, 1.0e-6))


@dataclass(frozen=True, slots=True)
class Counts:
    """What a file holds: problems and lengths of the whole file, the rest as its sample says."""

    problems: int
    right_per_problem: float
    pairs_per_problem: float  # how many different pairs a problem can give: the mean of min(right, wrong)
    longest_trace: int  # tokens, roughly
    usual_trace: (
        int  # 99 of 100 are as long or shorter: one that runs on to its limit says nothing of what an answer needs
    )
    longest_problem: int


@dataclass(frozen=True, slots=True)
class StudentFacts:
    """What is known of the student without its weights: parameters and context; None where it could not be looked at."""

    parameters: float | None = None
    context: int | None = None


@dataclass(frozen=True, slots=True)
class Schedule:
    """A stage's batch size and epochs, and the steps that they come to."""

    batch_size: int
    epochs: int
    steps: int


@dataclass(frozen=True, slots=True)
class Choices:
    """The numbers of a recipe."""

    dev: int
    max_pairs: int
    sft: Schedule
    pairs: Schedule
    sft_rate: float
    redi_rate: float
    about_rates: str
    max_new_tokens: int
    max_completion_tokens: int | None  # where some traces are longer than the context
    power: str
    warnings: tuple[str, ...]


@lru_cache(maxsize=4)
def student_facts(model: str) -> StudentFacts:
    """Size and context of a student from its config; what is not there is read from the name (`SmolLM2-135M`, `Qwen-1.5B`)."""
    try:
        settings = StudentSettings(model=model)
        config = loading.load_config(settings, len(loading.load_tokenizer(settings)))
        with torch.device("meta"):
            skeleton = AutoModelForCausalLM.from_config(config)
        return StudentFacts(float(sum(p.numel() for p in skeleton.parameters())), loading.context_length(config))
    except (OperatorError, ValueError, KeyError, RuntimeError):  # a config that says too little builds no model
        named = re.search(r"(?<![\d.])(\d+(?:\.\d+)?)\s?([MB])(?![A-Za-z])", model)
        size = float(named[1]) * {"M": 1e6, "B": 1e9}[named[2]] if named else None
        return StudentFacts(size, None)


def rates(parameters: float | None) -> tuple[float, float, str]:
    """(rate of SFT, rate of REDI, where they come from), one digit each."""
    if parameters is None:
        return RATES[-1][1], RATES[-1][2], "the paper's, for 1.5 billion weights: the student's size is not known here"
    points = [math.log(size) for size, _, _ in RATES]
    at = min(max(math.log(parameters), points[0]), points[-1])
    place = next(i for i in range(len(points) - 1) if at <= points[i + 1])
    share = (at - points[place]) / (points[place + 1] - points[place])
    choices = [
        math.exp((1 - share) * math.log(RATES[place][column]) + share * math.log(RATES[place + 1][column]))
        for column in (1, 2)
    ]
    size = f"{parameters / 1e9:.2g} billion" if parameters >= 1e9 else f"{parameters / 1e6:.3g} million"
    return float(f"{choices[0]:.0e}"), float(f"{choices[1]:.0e}"), f"for {size} weights, between measured ones"


def dev_problems(problems: int) -> int:
    """Problems to hold out: a twentieth, at least 100 and at most 300, but never more than a fifth of them; 1 of very few."""
    wanted = min(max(DEV_LEAST, round(DEV_SHARE * problems)), DEV_MOST)
    return max(1, min(wanted, int(DEV_CEILING * problems))) if problems > 1 else 0


def schedule(rows: float, *, epochs: int, most_epochs: int) -> Schedule:
    """Batches of 32, smaller ones where these make fewer than STEPS_WANTED steps, then more epochs."""
    batch = 32
    while batch > 8 and rows * epochs / batch < STEPS_WANTED:
        batch //= 2
    while epochs < most_epochs and rows * epochs / batch < STEPS_WANTED:
        epochs += 1
    return Schedule(batch, epochs, max(1, round(rows * epochs / batch)))


def choose(counts: Counts, student: StudentFacts, *, has_dev: bool, n: int = 4) -> Choices:
    """The numbers for this file and this student."""
    dev = dev_problems(counts.problems) if has_dev else 0
    trained = max(1, counts.problems - dev)
    available = max(1, min(PAIRS_MOST, round(counts.pairs_per_problem)))
    wanted = math.ceil(STEPS_WANTED * 32 / trained)  # pairs a problem that make a hundred steps of 32 in one epoch
    max_pairs = max(1, min(available, wanted))
    sft = schedule(trained * max(1.0, counts.right_per_problem), epochs=3, most_epochs=5)
    pairs = schedule(trained * min(float(max_pairs), max(counts.pairs_per_problem, 0.01)), epochs=1, most_epochs=3)
    sft_rate, redi_rate, about = rates(student.parameters)
    context = next(size for size in (256 << i for i in range(20)) if size >= counts.usual_trace)
    limit = None
    if student.context is not None and student.context < 1 << 30:
        most = max(student.context // 2, student.context - counts.longest_problem - 128)  # 128: template and chat turns
        limit = most if counts.longest_trace > most else None
        context = min(context, most)
    warnings = []
    few = [name for name, found in (("sft", sft), ("redi", pairs)) if found.steps < STEPS_LEAST]
    if few and counts.pairs_per_problem > 0:
        warnings.append(
            f"{' and '.join(few)} will take fewer than {STEPS_LEAST} steps, too few to change a student: add problems, or traces per problem."
        )
    if dev and dev < DEV_LEAST:
        warnings.append(
            f"{dev} dev problems are few: below {DEV_LEAST} only large differences can be detected; add problems, or "
            f"score on a benchmark (evaluate.benchmarks)."
        )
    if limit is not None:
        warnings.append(
            f"some traces do not fit into the student's context of {student.context:,} tokens; those above "
            f"{limit:,} tokens are dropped with a reason (select.max_completion_tokens)."
        )
    return Choices(
        dev, max_pairs, sft, pairs, sft_rate, redi_rate, about, context, limit,
        power_words(dev, n=n) if dev else "", tuple(warnings),
    )  # fmt: skip


# --- the prompt -------------------------------------------------------------------------------------------------------


def _in_answer_tags(text: str) -> bool:
    return "</answer>" in text.partition("<answer>")[2]


def _in_a_box(text: str) -> bool:
    return "\\boxed{" in text


def _after_hashes(text: str) -> bool:
    return any(line.startswith("####") and line.strip("# \t") for line in text.splitlines())


# (whether a trace answers in this form, the template that asks for it); the most formal first
FORMS = ((_in_answer_tags, "answer-tag"), (_in_a_box, "plain"), (_after_hashes, "hashes"))


def template_for(traces: Sequence[str]) -> str:
    """The template that asks for the form in which most traces answer: json, answer-tag, boxed (`plain`) or hashes."""
    said = [text for text in traces if text.strip()]
    in_json = sum('"answer"' in text and text.rstrip("` \n").endswith("}") for text in said)
    if 2 * in_json > len(said):
        return "json"
    counts = {name: sum(map(form, said)) for form, name in FORMS}
    best = max(counts, key=lambda name: counts[name])  # of equal ones the first
    return best if 2 * counts[best] > len(said) else "plain"
