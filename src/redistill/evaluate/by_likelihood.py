"""Multiple choice without drawing: the option that the student finds likeliest after the question is its answer.

    {name: mine, file: arc.jsonl, kind: choices}      problem "Which gas ...?", choices ["oxygen", "carbon dioxide"], answer 1 or "B"
    scores.json   {..., "choices": {"acc": {...}, "acc_norm": {...}}}

As lm-eval counts them: the log-probability of each option's tokens after the prompt and a blank, summed (`acc`, which is pass@1
here), or divided by the option's characters (`acc_norm`); of equals the first. Prompt and option are encoded apart and joined as ids.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from redistill.config.tables import BenchmarkSettings, EvaluateSettings
from redistill.errors import OperatorError
from redistill.evaluate.intervals import mean_interval
from redistill.records import FINAL, Group, Outcome, Problem, Trace, Verdict, make_trace
from redistill.text.nesting import parsed

CHOICES, RIGHT = (
    "choices",
    "right_choice",
)  # in a problem's metadata: the options as texts, and the place of the right one
OPTION_COLUMNS = ("choices", "options", "endings")
ANSWER_COLUMNS = ("answer", "answerKey", "label", "gold")
VERIFIER = "log-likelihood"


def check_engine(benchmark: BenchmarkSettings, settings: EvaluateSettings) -> None:
    """OperatorError where options cannot be measured: a server gives no log-probabilities of a text that is given."""
    if benchmark.kind == "choices" and settings.engine.name != "transformers":
        raise OperatorError(
            f"evaluate.benchmarks ({benchmark.name}): kind choices needs the student's log-probabilities, which the engine "
            f"{settings.engine.name!r} does not give; set evaluate.engine to transformers."
        )


def read_choices(row: Mapping[str, Any], benchmark: BenchmarkSettings) -> tuple[list[str], int] | str:
    """(options, place of the right one) of a row; why there are none, in words. Options: a list of texts, or ARC's table of `text`
    and `label`. The answer: a place from 0, a label or letter, or the right option's text."""
    columns = (benchmark.choices_column,) if benchmark.choices_column else OPTION_COLUMNS
    value = next((row[name] for name in columns if row.get(name) is not None), None)
    labels: list[str] = []
    if isinstance(value, Mapping):
        labels, value = [str(label) for label in value.get("label", ())], value.get("text")
    if isinstance(value, str):
        try:
            value = parsed(value)
        except ValueError:
            value = None
    options = [str(option).strip() for option in value] if isinstance(value, Sequence) else []
    if len(options) < 2 or not all(options):
        return f"no list of two or more options in {' or '.join(map(repr, columns))}"
    labels = labels or [chr(ord("A") + place) for place in range(len(options))]
    said_in = (benchmark.answer_column,) if benchmark.answer_column else ANSWER_COLUMNS
    said = next((row[name] for name in said_in if row.get(name) is not None), None)
    text = str(said).strip()
    if text in labels:
        return options, labels.index(text)
    if text.isdecimal() and int(text) < len(options):
        return options, int(text)
    if text in options:
        return options, options.index(text)
    return f"the answer {text!r} is not one of its options, their letters or positions"


Measure = Callable[[Sequence[tuple[str, str]]], list[list[float] | str]]


def measure_of(load: Callable[[], Any]) -> Measure:
    """What measures options under a student, which is loaded at the first call and belongs to it alone: it is changed for packing."""
    held: list[Any] = []

    def measure(rows: Sequence[tuple[str, str]]) -> list[list[float] | str]:
        if not held:
            from redistill.model.batches import LogProbs

            held.append(LogProbs(*load()))
        return list(held[0](rows))

    return measure


def answered_by_likelihood(
    problems: Sequence[Problem], render: Callable[[Problem], str], measure: Measure, *, author: str
) -> list[Group]:
    """The problems with the student's choice as their one trace, judged: its verdict is that of `acc`, its score `acc_norm` is 1 or 0,
    and its note `log_likelihoods` holds what each option got. OperatorError for an option that does not fit into the context.
    """
    rows = [
        (prompt, _joined(prompt, option)) for p in problems for prompt in [render(p)] for option in p.metadata[CHOICES]
    ]
    scores = iter(measure(rows))
    groups = []
    for problem in problems:
        options, right = problem.metadata[CHOICES], problem.metadata[RIGHT]
        each = [next(scores) for _ in options]
        if isinstance(each[0], str) or any(isinstance(one, str) for one in each):
            raise OperatorError(
                f"problem {problem.id} ({problem.source_row}): an option and its prompt are longer than the student's "
                f"context; leave the problem out, or use fewer few-shot examples."
            )
        sums = np.array([float(np.sum(one)) for one in each])
        picked, picked_by_length = int(sums.argmax()), int((sums / [float(len(option)) for option in options]).argmax())
        verdict = Verdict(
            Outcome.correct if picked == right else Outcome.incorrect,
            options[picked],
            "likeliest_option",
            VERIFIER,
            "1",
        )
        trace = make_trace(
            problem.id,
            options[picked],
            author=author,
            sampling={"sample_index": 0},
            finish_reason="stop",
            verdicts={VERIFIER: verdict, FINAL: verdict},
            scores={"acc_norm": float(picked_by_length == right)},
            notes={"log_likelihoods": json.dumps([round(float(one), 6) for one in sums])},
        )
        groups.append(Group(problem, (trace,)))
    return groups


def _joined(prompt: str, option: str) -> str:
    """The option as it continues the prompt: after a blank, unless white space or an assistant's turn stands before it."""
    return option if prompt[-1:].isspace() or prompt.endswith(">") else f" {option}"


def choice_scores(groups: Iterable[Group]) -> dict[str, Any]:
    """{"acc": ..., "acc_norm": ...} with their intervals over problems."""
    traces: list[Trace] = [group.traces[0] for group in groups]
    columns = {
        "acc": [float(trace.verdict.outcome is Outcome.correct) for trace in traces],
        "acc_norm": [trace.scores["acc_norm"] for trace in traces],
    }
    return {
        name: {"value": float(np.mean(values)), "interval95": mean_interval(values)} for name, values in columns.items()
    }
