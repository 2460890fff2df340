"""How well a critic finds errors in labelled traces: the measures of ProcessBench and PRMBench, as pure functions.

    first_error([0.9, 0.8, 0.2, 0.7])                      ->  2: the first step that scores below one half
    process_scores([-1, 2, 0], [-1, 2, 1])                 ->  {"error_accuracy": 0.5, "correct_accuracy": 1.0, "f1": 0.667}

A label is the index, from 0, of the first wrong step, or -1 where every step is right, in labels and predictions alike. None is
a trace that the critic could not judge: it counts as no prediction, which is never right, and is counted apart.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from redistill.errors import OperatorError
from redistill.evaluate.intervals import mean_interval

NO_ERROR = -1


def first_error(scores: Sequence[float], *, threshold: float = 0.5) -> int:
    """The index of the first step that scores below `threshold`, -1 where none does (ProcessBench, R-PRM: below 0.5).

    scores: one a step in order, each P(step is right). A score of exactly 0 is a score, one of exactly `threshold` passes.
    OperatorError for a score that is not a number.
    """
    for place, score in enumerate(scores):
        if math.isnan(score):
            raise OperatorError(f"step {place} has no score (NaN); a critic must score every step.")
        if score < threshold:
            return place
    return NO_ERROR


def process_scores(labels: Sequence[int], predicted: Sequence[int | None]) -> dict[str, float]:
    """ProcessBench's measures: `error_accuracy` over the traces with an error (the very step is found), `correct_accuracy`
    over those without (none is claimed), and `f1`, their harmonic mean.

    Source: Zheng et al. 2024, arXiv 2412.06559. A share over no trace is NaN, and then so is f1; f1 is 0 where both are 0.
    """
    if len(labels) != len(predicted):
        raise OperatorError(f"{len(labels)} labels and {len(predicted)} predictions; there must be one per trace.")
    wrong = [guess == label for label, guess in zip(labels, predicted, strict=True) if label != NO_ERROR]
    right = [guess == NO_ERROR for label, guess in zip(labels, predicted, strict=True) if label == NO_ERROR]
    error, correct = _share(wrong), _share(right)
    return {"error_accuracy": error, "correct_accuracy": correct, "f1": harmonic_mean(error, correct)}


def harmonic_mean(error: float, correct: float) -> float:
    """Of the two accuracies; 0 where both are 0."""
    if math.isnan(error) or math.isnan(correct):
        return math.nan
    return 2 * error * correct / (error + correct) if error + correct else 0.0


def coin_floor(labels: Sequence[int], lengths: Sequence[int]) -> dict[str, float]:
    """What blind guessing reaches in expectation: a fair coin says whether there is an error, and where it says so a step is
    drawn uniformly. Correct accuracy 1/2, error accuracy the mean of 1 / (2 * steps) over the traces with an error.

    lengths: steps of each trace. f1 is that of the two expectations.
    """
    error = _mean([0.5 / steps for label, steps in zip(labels, lengths, strict=True) if label != NO_ERROR])
    correct = 0.5 if NO_ERROR in labels else math.nan
    return {"error_accuracy": error, "correct_accuracy": correct, "f1": harmonic_mean(error, correct)}


def report_steps(
    labels: Sequence[int],
    predicted: Sequence[int | None],
    lengths: Sequence[int],
    *,
    subsets: Sequence[str] | None = None,
) -> dict[str, Any]:
    """All of it for one critic: measures with 95% intervals, the coin's floor, and both per subset with their mean.

    lengths: steps of each trace. Intervals of the accuracies: Wilson's; of f1: `f1_interval`. `mean_f1` is the unweighted mean
    over subsets, as ProcessBench reports it.
    """
    rows = list(zip(labels, predicted, lengths, subsets or [""] * len(labels), strict=True))
    scores: dict[str, Any] = {"num_traces": len(rows), "unjudged": sum(guess is None for _, guess, _, _ in rows)}
    scores |= _one(rows)
    if subsets is not None and len(set(subsets)) > 1:
        names = sorted(set(subsets))
        scores["subsets"] = {name: _one([row for row in rows if row[3] == name]) for name in names}
        scores["mean_f1"] = _mean([scores["subsets"][name]["f1"]["value"] for name in names])
    return scores


def _one(rows: Sequence[tuple[int, int | None, int, str]]) -> dict[str, Any]:
    labels, predicted, lengths = [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows]
    hits = [(label, float(guess == label)) for label, guess in zip(labels, predicted, strict=True)]
    wrong, right = [hit for label, hit in hits if label != NO_ERROR], [hit for label, hit in hits if label == NO_ERROR]
    values = process_scores(labels, predicted)
    return {
        "error_accuracy": {"value": values["error_accuracy"], "interval95": mean_interval(wrong)},
        "correct_accuracy": {"value": values["correct_accuracy"], "interval95": mean_interval(right)},
        "f1": {"value": values["f1"], "interval95": f1_interval(wrong, right)},
        "with_error": len(wrong),
        "without_error": len(right),
        "coin": coin_floor(labels, lengths),
    }


_DRAWS = 10_000  # of an interval: its ends move by some thousandths of its width from seed to seed


def f1_interval(wrong: Sequence[float], right: Sequence[float]) -> list[float] | None:
    """95% interval of the harmonic mean of two accuracies, from 1 or 0 per trace with and per trace without an error.

    Both are shares of independent traces: each is drawn from its Jeffreys posterior, Beta(hits + 1/2, misses + 1/2), and the
    interval is between the 2.5% and 97.5% quantiles of their harmonic means. Draws have a fixed seed. None where there is no
    trace of a kind.
    """
    if not wrong or not right:
        return None
    rng = np.random.default_rng(0)
    error, correct = (rng.beta(sum(hits) + 0.5, len(hits) - sum(hits) + 0.5, _DRAWS) for hits in (wrong, right))
    low, high = np.quantile(2 * error * correct / (error + correct), [0.025, 0.975])
    return [float(low), float(high)]


# --- PRMBench -----------------------------------------------------------------------------------------------------------


def prmbench_scores(
    labels: Sequence[Iterable[int]], scores: Sequence[Sequence[float]], *, threshold: float = 0.5
) -> dict[str, float]:
    """PRMBench's step measures: every step is a decision, `labels` the wrong steps of each trace (from 0; its files count
    from 1), `scores` P(right) of each step.

    `f1`: of finding right steps, as a positive class; `negative_f1`: of finding wrong steps; `prm_score`: the mean of both;
    `accuracy`, and `positive_accuracy` and `negative_accuracy` over right and over wrong steps. Source: Song et al. 2025,
    arXiv 2501.03124. Steps of all traces are pooled. NaN where there is no step of a kind.
    """
    truth, said = list[bool](), list[bool]()
    for wrong, trace in zip(labels, scores, strict=True):
        marked = set(wrong)
        if marked and not 0 <= min(marked) <= max(marked) < len(trace):
            raise OperatorError(f"a wrong step {max(marked)} is outside a trace of {len(trace)} steps, counted from 0.")
        truth += [place not in marked for place in range(len(trace))]
        said += [score >= threshold for score in trace]
    pairs = list(zip(truth, said, strict=True))
    positive, negative = _f1(pairs), _f1([(not is_right, not says) for is_right, says in pairs])
    return {
        "f1": positive,
        "negative_f1": negative,
        "prm_score": (positive + negative) / 2,
        "accuracy": _share([is_right == says for is_right, says in pairs]),
        "positive_accuracy": _share([says for is_right, says in pairs if is_right]),
        "negative_accuracy": _share([not says for is_right, says in pairs if not is_right]),
    }


def _f1(pairs: Sequence[tuple[bool, bool]]) -> float:
    """Of the class True: 2 TP / (2 TP + FP + FN)."""
    hits = sum(truth and said for truth, said in pairs)
    mistakes = sum(truth != said for truth, said in pairs)
    return 2 * hits / (2 * hits + mistakes) if hits + mistakes else math.nan


def _share(hits: Sequence[bool]) -> float:
    return sum(hits) / len(hits) if hits else math.nan


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan
