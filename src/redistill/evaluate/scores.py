"""Scores of one student on one benchmark: verified Groups with n samples a problem -> a JSON-able dict.

    score(groups, n=4)   ->  {"num_problems": 2, "num_samples": 4, "num_ungradable": 0,
                              "pass_at_1": {"value": 0.625, "sem_over_sample_columns": 0.125,
                                            "sem_over_problems": 0.375, "interval95": [0.13, 0.95]}, ...}

A pure function of stored generations: a new verifier re-scores old samples without drawing them again. A missing
sample is an error, never a failure of the student.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from redistill.errors import OperatorError
from redistill.evaluate.choose import choose_scores
from redistill.evaluate.intervals import mean_interval
from redistill.evaluate.metrics import METRICS, Samples, is_correct, pass_at_k
from redistill.evaluate.search_costs import search_costs
from redistill.evaluate.self_correction import self_correction_scores
from redistill.records import Group, Outcome, Trace
from redistill.text.repetition import repeats
from redistill.text.thinking import thinking_state
from redistill.verify.relevance import has_gold

STRICT = "strict"  # the name of the verdict of the same verifier that read answers only where the prompt asked for them


def score(groups: Iterable[Group], *, n: int, choices: Mapping[str, partial[Any]] | None = None) -> dict[str, Any]:
    """All scores of one student whose n samples a problem carry sample_index 0..n-1 and the joined verdict.

    Shares, not percent. `interval95`: over problems, by `mean_interval`. The two errors of pass_at_1 answer two questions:
    `sem_over_sample_columns`, how far another n draws on these problems would move it (std, ddof 1, of the n whole-benchmark
    scores / sqrt(n), the paper's but for its ddof 0; None for n = 1), and `sem_over_problems`, how far other problems of the
    kind would (std, ddof 1, of the per-problem means / sqrt(problems), lighteval's); on 30 problems they differ several-fold. `rates` and
    what follows are over all samples of the gradable problems; `strict` is there where the verdicts of a strict parse are. A problem without a gold answer is left out and counted:
    that is a matter of the gold alone, else a student whose gibberish nobody can grade would be scored on fewer
    problems than the others. A problem with a sample that the server refused to write is left out too, and counted:
    it was not answered wrongly. `mean_tokens` is over samples whose num_tokens is known. Problems go by id, so order changes nothing.
    choices: ways to choose one of the n, bound (choose.py); what they are worth stands under `choose`.
    Errors: OperatorError for samples missing, repeated or beyond n, and where no gradable problem is left.
    """
    if n < 1:
        raise OperatorError(f"evaluate needs n of 1 or more (got n={n}).")
    graded, num_ungradable, refused = _gradable(groups, n)
    hits = np.array([[is_correct(t) for t in samples] for samples in graded.values()])  # (problems, n)
    columns: dict[str, list[float | None]] = {
        name: [metric(samples) for samples in graded.values()] for name, metric in METRICS.items()
    }
    is_graded = any(t.verdict.score is not None for samples in graded.values() for t in samples)
    if not is_graded:
        columns["mean_score"] = [None] * len(graded)
    columns |= {f"pass_at_k {k}": _pass_at(k, n, hits) for k in range(1, n + 1)}
    traces = [t for samples in graded.values() for t in samples]
    if all(STRICT in t.verdicts for t in traces):
        strict = [[t.verdicts[STRICT].outcome is Outcome.correct for t in samples] for samples in graded.values()]
        columns["strict"] = [sum(row) / n for row in strict]
    columns_with = _with_intervals(columns)
    columns_with["pass_at_1"] |= {
        "sem_over_sample_columns": _sem(hits.mean(axis=0)),
        "sem_over_problems": _sem(hits.mean(axis=1)),
    }
    outcomes = Counter(t.verdict.outcome for t in traces)
    rates = {str(outcome): outcomes[outcome] / len(traces) for outcome in Outcome}
    return {
        "num_problems": len(graded),
        "num_samples": n,
        "num_ungradable": num_ungradable,
        **({"num_refused": sum(refused.values()), "left_out": sorted(refused)} if refused else {}),
        **{name: columns_with[name] for name in METRICS},
        "pass_at_k": {str(k): columns_with[f"pass_at_k {k}"] for k in range(1, n + 1)},
        "strict": _strict(traces, columns_with) if "strict" in columns_with else None,
        "rates": rates,
        "truncation_rate": _share(traces, lambda t: t.finish_reason == "length"),
        "no_answer_rate": rates["no_answer"],
        "unfinished_thinking_rate": _share(traces, is_unfinished_thinking),
        "repetition_rate": _share(traces, lambda t: repeats(t.completion)),
        **_tokens(traces),
        **search_costs(traces),
        **choose_scores(graded, choices or {}),
        **self_correction_scores(graded),
        "per_problem": {id: [int(hit) for hit in row] for id, row in zip(graded, hits)},
        **({"per_problem_scores": _scores(graded)} if columns_with["mean_score"]["value"] is not None else {}),
    }


def score_choices(groups: Iterable[Group], *, n: int, choices: Mapping[str, partial[Any]]) -> dict[str, Any]:
    """What `score` says under `choose` and `per_problem_choose` of these choices, and nothing else."""
    return choose_scores(_gradable(groups, n)[0], choices)


def _gradable(groups: Iterable[Group], n: int) -> tuple[dict[str, Samples], int, dict[str, int]]:
    """(the samples of every problem that is scored, how many problems have no gold answer, {problem: samples of it that the
    server refused}); OperatorError where none is scored."""
    table, without_gold = _samples_by_problem(groups, n)
    gradable = {id: samples for id, samples in table.items() if id not in without_gold}
    if not gradable:
        raise OperatorError(
            f"nothing to score: none of {len(table)} problems is gradable. Check the benchmark's answer column."
        )
    counts = {id: sum(bool(trace.refused) for trace in samples) for id, samples in gradable.items()}
    refused = {id: count for id, count in counts.items() if count}
    if len(refused) == len(gradable):
        raise OperatorError(f"nothing to score: for each of the {len(gradable)} problems the server refused a sample.")
    return {id: samples for id, samples in gradable.items() if id not in refused}, len(without_gold), refused


def _scores(graded: Mapping[str, Samples]) -> dict[str, list[float]]:
    """The scores of a graded verifier by problem, in the order of the samples; 0 as in the metric mean_score."""
    return {id: [t.verdict.score or 0.0 for t in samples] for id, samples in graded.items()}


def _pass_at(k: int, n: int, hits: np.ndarray) -> list[float | None]:
    """pass@k of each problem; hits (problems, n)."""
    return [pass_at_k(n, int(c), k=k) for c in hits.sum(axis=1)]


def is_unfinished_thinking(trace: Trace) -> bool:
    """True where thinking was begun, by the student or the prefill, and not ended."""
    return thinking_state(trace.completion) == "open"


def _share(traces: Sequence[Trace], holds: Callable[[Trace], bool]) -> float:
    return sum(map(holds, traces)) / len(traces)


def _strict(traces: Sequence[Trace], scores: Mapping[str, Any]) -> dict[str, Any]:
    """pass@1 of the strict parse, and the share of samples in which it finds no answer where the lenient one does."""
    lost = _share(traces, lambda t: t.verdicts[STRICT].extracted is None and t.verdict.extracted is not None)
    return {"pass_at_1": scores["strict"], "only_lenient_finds_an_answer": lost}


def _tokens(traces: Sequence[Trace]) -> dict[str, Any]:
    """Tokens an answer, prefill not counted: over all samples whose length is known, and by what they came to."""
    known = [(t.num_tokens, is_correct(t)) for t in traces if t.num_tokens is not None]
    if not known:
        return {"mean_tokens": None, "tokens": None}
    of = {
        "all": [length for length, _ in known],
        "correct": [length for length, right in known if right],
        "not_correct": [length for length, right in known if not right],
    }
    tokens = {
        name: {"mean": float(np.mean(found)), "p50": float(np.median(found)), "p90": float(np.percentile(found, 90))}
        for name, found in of.items()
        if found
    }
    return {"mean_tokens": tokens["all"]["mean"], "tokens": tokens}


def _with_intervals(columns: dict[str, list[float | None]]) -> dict[str, dict[str, Any]]:
    """Mean and interval of each column of per-problem values; both None where a value is None."""
    intervals: dict[str, dict[str, Any]] = {}
    for name, values in columns.items():
        known = [value for value in values if value is not None]
        is_whole = len(known) == len(values)
        intervals[name] = {
            "value": float(np.mean(known)) if is_whole else None,
            "interval95": mean_interval(known) if is_whole else None,
        }
    return intervals


def _sem(values: np.ndarray) -> float | None:
    """Standard error of the mean, ddof 1; None for a single value, whose spread is unknown and not 0."""
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None


def _samples_by_problem(groups: Iterable[Group], n: int) -> tuple[dict[str, Samples], set[str]]:
    """Problem id -> its samples in index order, problems in id order, and the ids that have no gold answer;
    OperatorError where the table has holes."""
    table: dict[str, Samples] = {}
    without_gold: set[str] = set()
    faults: list[str] = []
    for group in groups:
        id = group.problem.id
        by_index = {t.sampling.get("sample_index"): t for t in group.traces}
        fault = _fault([t.sampling.get("sample_index") for t in group.traces], n)
        if id in table:
            fault = "comes twice"
        if fault:
            faults.append(f"{id} {fault}")
        else:
            table[id] = [by_index[i] for i in range(n)]
            if not has_gold(group.problem):
                without_gold.add(id)
    if faults:
        more = f" and {len(faults) - 5} more problems" if len(faults) > 5 else ""
        raise OperatorError(
            f"cannot score with n={n} samples per problem: {'; '.join(faults[:5])}{more}. Run the rollout again to "
            f"fill the gaps, or set evaluate.n to the number drawn."
        )
    return dict(sorted(table.items())), without_gold


def _fault(indices: Sequence[Any], n: int) -> str | None:
    """What is wrong with a problem's sample indices, in words: each of 0..n-1 must be there once."""
    counts = Counter(indices)
    fault = {
        "lacks sample_index": [i for i in range(n) if i not in counts],
        "repeats sample_index": [i for i in counts if counts[i] > 1],
        "has unexpected sample_index": [i for i in counts if i not in range(n)],
    }
    return ", ".join(f"{what} {', '.join(map(str, which[:5]))}" for what, which in fault.items() if which) or None
