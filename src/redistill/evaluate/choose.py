"""Which of n samples is the answer: what a way to choose is worth, for every k up to n, without drawing anything again.

    chosen = majority(samples)              samples: the n answers of a student to one problem, verified
    chosen.right[2]                         at k = 3: the share of all C(n, 3) subsets in which it chooses a right answer
    choose_scores(table, choices)           means over problems with intervals, and against pass@1 and majority

A choice never looks at the verdicts. What it chose then counts as one of three things: right; wrong; or *undecided*, where the verdict
on it is neither correct nor incorrect, and where it had nothing to choose from. Undecided is never counted as wrong: its share
stands beside, so the true value lies between `value` and `value + undecided`.

Who is chosen from: a majority counts the samples of which the verifier read an answer, whatever the verdict; the others (no answer,
cut off) do not vote. A choice by a score looks at all samples that have the score.
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any, Literal

import numpy as np
from pydantic import ValidationError

from redistill.config.binding import bind
from redistill.config.tables import Plugin, ScorerSettings
from redistill.config.validation_messages import sentence_of
from redistill.errors import OperatorError
from redistill.evaluate.compare import difference_of
from redistill.evaluate.intervals import mean_interval
from redistill.evaluate.metrics import Samples, is_correct, pass_at_1
from redistill.evaluate.subsets import (
    are_equal,
    best_over_subsets,
    curve_points,
    majority_over_subsets,
    weighted_over_subsets,
)
from redistill.records import DECIDED, Outcome, Trace
from redistill.rollout.answer import MEAN_LOGPROB
from redistill.verify.equal_answers import answer_groups

By = (
    str | dict[str, Any]
)  # a name of the traces' scores or spans, or a scorer as in a recipe's `score`, which then scores the samples
Aggregate = Literal["min", "product", "last", "mean"]  # of the values of a trace's steps, one number
HIDES_ANSWERS = "the verifier does not report the extracted answer"


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a choice is worth on one problem at each k of `curve_points`: the shares of subsets in which it chooses a right
    answer, and in which it is undecided. variance: of `right`, where subsets were drawn; 0 where all were looked at."""

    right: list[float]
    undecided: list[float]
    variance: list[float]


# --- ways to choose: the samples of one problem -> Chosen, or why it cannot choose --------------------------------------


def majority(samples: Samples) -> Chosen | str:
    """The most frequent answer; answers that tie are equally likely. Equal answers in other words are one
    (verify/equal_answers.py). An answer is right by the share of its decided samples that are."""
    answers = _answers(samples)
    if isinstance(answers, str):
        return answers
    ks, votes = curve_points(len(samples)), [answers.number_of.count(i) for i in range(len(answers.right))]
    abstaining = len(samples) - sum(votes)
    of = partial(majority_over_subsets, votes, abstaining=abstaining, ks=ks)
    return _chosen(of(answers.right), of(answers.decided))


def weighted_majority(
    samples: Samples, *, by: By, aggregate: Aggregate | None = None, weight: Literal["value", "exp"] = "value"
) -> Chosen | str:
    """The answer with the largest sum of scores. by, aggregate: as of `best-of-n`; weight: the score itself, or exp of it, for
    log-probabilities. A sample without a score, or with the weight 0, does not vote."""
    answers = _answers(samples)
    if isinstance(answers, str):
        return answers
    by = score_name(by)
    scores = [value_of(trace, by, aggregate) for trace in samples]
    weights = [0.0 if s is None else math.exp(s) if weight == "exp" else s for s in scores]
    if min(weights) < 0:
        return f"weights must be 0 or more, but {by} goes down to {min(weights):.4g}; write weight: exp for log-probabilities"
    number_of = [number if w > 0 else -1 for number, w in zip(answers.number_of, weights, strict=True)]
    ks, voting = curve_points(len(samples)), [(of, w) for of, w in zip(number_of, weights, strict=True) if of >= 0]
    if are_equal(of for of, _ in voting) or are_equal(w for _, w in voting):  # then weights decide nothing
        votes = [number_of.count(i) for i in range(len(answers.right))]
        of = partial(majority_over_subsets, votes, abstaining=len(samples) - sum(votes), ks=ks)
        return _chosen(of(answers.right), of(answers.decided))
    seed = int.from_bytes(hashlib.sha256(" ".join(t.id for t in samples).encode()).digest()[:8], "big")
    right, variance = weighted_over_subsets(number_of, weights, [float(v) for v in answers.right], ks=ks, seed=seed)
    decided, _ = weighted_over_subsets(number_of, weights, [float(v) for v in answers.decided], ks=ks, seed=seed)
    return _chosen(right, decided, variance)


def best_of_n(
    samples: Samples,
    *,
    by: By,
    aggregate: Aggregate | None = None,
    best: Literal["highest", "lowest"] = "highest",
    answered: bool = False,
) -> Chosen | str:
    """The sample with the best score; equal scores are equally likely. by: a name of the traces' scores, or of spans that score
    steps, which `aggregate` joins (not written: all four ways, side by side); or a scorer, as in a recipe's `score`. best: lowest for a score that falls with
    quality, such as perplexity. answered: only among samples that hold an answer."""
    scores = [value_of(trace, score_name(by), aggregate) for trace in samples]
    return _best([s if s is None or best == "highest" else -s for s in scores], samples, answered=answered)


def confidence(samples: Samples, *, answered: bool = False) -> Chosen | str:
    """The sample with the highest mean log-probability per token under the student itself, which the evaluation stores with every
    sample where this choice is asked for."""
    return best_of_n(samples, by=MEAN_LOGPROB, answered=answered)


def shortest(
    samples: Samples, *, of: Literal["tokens", "characters"] = "tokens", answered: bool = True
) -> Chosen | str:
    """The sample with the fewest tokens; answered: only among samples that hold an answer, because an empty one is short."""
    lengths = [t.num_tokens if of == "tokens" else len(t.completion) for t in samples]
    return _best([None if length is None else -float(length) for length in lengths], samples, answered=answered)


# --- parts of them ----------------------------------------------------------------------------------------------------


def value_of(trace: Trace, by: str, aggregate: Aggregate | None) -> float | None:
    """The score `by` of a trace, or the aggregate of its steps' values in the spans `by`; None where it has none."""
    if aggregate is None:
        return trace.scores.get(by)
    values = [span.value for span in trace.spans.get(by, ())]
    return AGGREGATES[aggregate](values) if values else None


AGGREGATES: dict[str, Callable[[Sequence[float]], float]] = {
    "min": min,
    "product": math.prod,
    "last": lambda values: values[-1],
    "mean": lambda values: math.fsum(values) / len(values),
}


@dataclass(frozen=True, slots=True)
class _Answers:
    """number_of (n,): the answer of each sample, -1 for none; right, decided (answers,): shares of what is known of them."""

    number_of: list[int]
    right: list[Fraction]
    decided: list[int]


def _answers(samples: Samples) -> _Answers | str:
    """The different answers among the samples. A verdict is on the answer, so one that timed out on one sample, and was decided
    on another, is decided."""
    if any(is_correct(trace) and trace.verdict.extracted is None for trace in samples):
        return HIDES_ANSWERS
    speaking = [place for place, trace in enumerate(samples) if trace.verdict.extracted is not None]
    groups = answer_groups([str(samples[place].verdict.extracted) for place in speaking])
    number_of = [-1] * len(samples)
    for place, group in zip(speaking, groups, strict=True):
        number_of[place] = group
    right, decided = [], []
    for number in range(len(set(groups))):
        known = [is_correct(t) for t, of in zip(samples, number_of, strict=True) if of == number and _is_decided(t)]
        right.append(Fraction(sum(known), max(len(known), 1)))
        decided.append(int(bool(known)))
    return _Answers(number_of, right, decided)


def _best(scores: Sequence[float | None], samples: Samples, *, answered: bool) -> Chosen:
    silent = (Outcome.no_answer, Outcome.truncated)
    if answered:
        scores = [None if t.verdict.outcome in silent else s for s, t in zip(scores, samples, strict=True)]
    of = partial(best_over_subsets, scores, ks=curve_points(len(samples)))
    return _chosen(of([is_correct(t) for t in samples]), of([int(_is_decided(t)) for t in samples]))


def _is_decided(trace: Trace) -> bool:
    return trace.verdict.outcome in DECIDED


def _chosen(right: list[float], decided: list[float], variance: list[float] | None = None) -> Chosen:
    """decided: the shares of subsets in which something decided is chosen."""
    return Chosen(right, [max(0.0, 1.0 - share) for share in decided], variance or [0.0] * len(right))


# --- scores of a benchmark ----------------------------------------------------------------------------------------------


def score_name(by: By) -> str:
    """The name of a score; of a scorer, the one under which it writes."""
    return by if isinstance(by, str) else _scorer(by).folder


def _scorer(table: Mapping[str, Any]) -> ScorerSettings:
    try:
        return ScorerSettings.model_validate(table)
    except ValidationError as error:
        said = "; ".join(sentence_of(one, ScorerSettings) for one in error.errors())
        raise OperatorError(f"evaluate.choose: by: {said}") from error


def scorers_of(choices: Sequence[Plugin], known: Sequence[ScorerSettings] = ()) -> list[ScorerSettings]:
    """The scorers by which samples are chosen: those that a choice writes out, and those of the recipe (`known`) that it names by
    their name, or by one of the scores they write, which begin with it and an underscore. OperatorError for two that write under one name."""
    scorers: dict[str, ScorerSettings] = {}
    for by in (choice.options.get("by") for choice in choices):
        named = [s for s in known if isinstance(by, str) and (by == s.folder or by.startswith(f"{s.folder}_"))]
        for scorer in [_scorer(by)] if isinstance(by, Mapping) else named[-1:]:
            if scorers.setdefault(scorer.folder, scorer) != scorer:
                raise OperatorError(f"evaluate.choose: two scorers write {scorer.folder}; give one of them an `into`.")
    return list(scorers.values())


def bind_choices(choices: Sequence[Plugin], where: str) -> dict[str, partial[Any]]:
    """Each choice by its label, its options bound. OperatorError for an unknown one, and where two are the same."""
    bound: dict[str, partial[Any]] = {}
    for plugin in choices:
        if label_of(plugin) in bound:
            raise OperatorError(f"{where}: {label_of(plugin)} is listed twice; remove one.")
        bound[label_of(plugin)] = bind(CHOICES, plugin, where)
    return bound


def reads_logprobs(choice: Plugin) -> bool:
    """Whether a choice needs the log-probabilities of the samples, which an evaluation stores only where they are read."""
    return choice.name == "confidence" or choice.options.get("by") == MEAN_LOGPROB


def label_of(choice: Plugin) -> str:
    """A choice's name, and its options where it has some: `best-of-n (by process, aggregate min)`."""
    said = {name: score_name(value) if name == "by" else value for name, value in choice.options.items()}
    options = ", ".join(f"{name} {value}" for name, value in said.items())
    return choice.name.rpartition(":")[2] + (f" ({options})" if options else "")


def choose_scores(table: Mapping[str, Samples], choices: Mapping[str, partial[Any]]) -> dict[str, Any]:
    """{"choose": {label: what the choice is worth}, "per_problem_choose": {label: {problem id: right at n}}}.

    Of each choice: `curve` {k: value, interval95, undecided, monte_carlo_error}; `against_pass_at_1` and
    `against_majority`, paired over the problems at k = n. A choice that cannot be made on one of the problems has `why` instead.
    table: the n samples of each problem.
    """
    if not choices:
        return {}
    scores: dict[str, Any] = {"choose": {}, "per_problem_choose": {}}
    references = {"against_pass_at_1": ("pass@1", {id: pass_at_1(samples) for id, samples in table.items()})}
    vote = _on_all(table, majority)
    if not isinstance(vote, str):
        references["against_majority"] = ("majority", {id: one.right[-1] for id, one in vote.items()})
    for label, choice in _with_every_aggregate(table, choices):
        chosen = _on_all(table, choice)
        if isinstance(chosen, str):
            scores["choose"][label] = {"why": chosen}
            continue
        at_n = {id: one.right[-1] for id, one in chosen.items()}
        against = {
            key: difference_of(at_n, values, (label, reference))
            for key, (reference, values) in references.items()
            if reference != label
        }
        scores["choose"][label] = {"curve": _curve(list(chosen.values()), len(next(iter(table.values())))), **against}
        scores["per_problem_choose"][label] = at_n
    return scores


def _on_all(table: Mapping[str, Samples], choice: Callable[[Samples], Chosen | str]) -> dict[str, Chosen] | str:
    """The choice on every problem; the reason of the first on which it cannot be made."""
    curves = {}
    for id, samples in table.items():
        one = choice(samples)
        if isinstance(one, str):
            return one
        curves[id] = one
    return curves


def _with_every_aggregate(
    table: Mapping[str, Samples], choices: Mapping[str, partial[Any]]
) -> Sequence[tuple[str, Callable[[Samples], Chosen | str]]]:
    """The choices. One that names no aggregate, by a name under which the traces hold steps, is made by every aggregate too; one by a
    name that no trace has says so."""
    traces = [trace for samples in table.values() for trace in samples]
    variants: list[tuple[str, Callable[[Samples], Chosen | str]]] = []
    for label, choice in choices.items():
        by = choice.keywords.get("by", MEAN_LOGPROB if choice.func is confidence else None)
        by = by if by is None else score_name(by)
        aggregate = choice.keywords.get("aggregate")
        scored = [t for t in traces if by in t.scores] if aggregate is None else []
        stepped = [t for t in traces if by in t.spans]
        if by is None or scored or (stepped and aggregate):
            variants.append((label, choice))
        if stepped and aggregate is None:
            for each in AGGREGATES:
                variants.append((f"{label.removesuffix(')')}, aggregate {each})", partial(choice, aggregate=each)))
        if by is not None and not scored and not stepped:
            variants.append((label, partial(_cannot, _missing(by, aggregate, traces))))
    return variants


def _cannot(why: str, samples: Samples) -> str:
    return why


def _missing(by: str, aggregate: str | None, traces: Sequence[Trace]) -> str:
    """What to say where no trace has the score, or the steps, by which to choose."""
    names = sorted(
        {name for t in traces for name in (t.scores if aggregate is None else ())}
        | {n for t in traces for n in t.spans}
    )
    known = f"there are {', '.join(names)}" if names else "the samples have no scores"
    return f"no sample has {'a score' if aggregate is None else 'steps with values'} {by!r}; {known}"


def _curve(chosen: Sequence[Chosen], n: int) -> dict[str, Any]:
    curve = {}
    for place, k in enumerate(curve_points(n)):
        values = [one.right[place] for one in chosen]
        variance = math.fsum(one.variance[place] for one in chosen)
        curve[str(k)] = {
            "value": float(np.mean(values)),
            "interval95": mean_interval(values),
            "undecided": float(np.mean([one.undecided[place] for one in chosen])),
            "monte_carlo_error": math.sqrt(variance) / len(chosen) if variance else None,
        }
    return curve


CHOICES: dict[str, Callable[..., Chosen | str]] = {
    "majority": majority,
    "weighted-majority": weighted_majority,
    "best-of-n": best_of_n,
    "confidence": confidence,
    "shortest": shortest,
}
