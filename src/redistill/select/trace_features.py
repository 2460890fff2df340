"""What select writes beside each trace: its length for the student and where it stands among its siblings.

    with_columns(group, {trace id: tokens}).traces[0].scores
    ->  {"pass_rate": 0.75, "teacher_pass_rate": 0.5, "length_rank": 0.33, "reflections": 2.0}

`num_tokens` becomes the student's count, the end-of-turn token included. A score that cannot be known (a pass rate where
no trace was judged) is left out; scores of the source stay.
"""

import dataclasses
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping

from redistill.records import Group, Outcome, Trace
from redistill.text.repetition import reflections

# A trace without an answer has not passed; one that the verifier could not judge (timeout, disagree, ungradable) says
# nothing about the teacher.
_PASSED, _FAILED = {Outcome.correct}, {Outcome.incorrect, Outcome.no_answer, Outcome.truncated}


def pass_rate(traces: Iterable[Trace]) -> tuple[float | None, int]:
    """(share of right ones among the judged traces, how many were judged); None where none was."""
    outcomes = [t.verdict.outcome for t in traces]
    passed = sum(outcome in _PASSED for outcome in outcomes)
    judged = passed + sum(outcome in _FAILED for outcome in outcomes)
    return (passed / judged if judged else None), judged


def spread(traces: Iterable[Trace]) -> tuple[float, float, float, int]:
    """(mean, standard deviation, largest, number) of the verify scores: a graded verifier's score, else 1 for a right trace and 0 for
    one that has failed; a trace that was not judged has none. The deviation is that of these traces themselves (divisor n)."""
    scores = []
    for trace in traces:
        verdict = trace.verdict
        if verdict.score is not None:
            scores.append(verdict.score)
        elif verdict.outcome in _PASSED | _FAILED:
            scores.append(float(verdict.outcome in _PASSED))
    if not scores:
        return 0.0, 0.0, 0.0, 0
    return math.fsum(scores) / len(scores), statistics.pstdev(scores), max(scores), len(scores)


def with_columns(group: Group, num_tokens: Mapping[str, int]) -> Group:
    """The group with `num_tokens` and the scores below on every trace.

    pass_rate: of the whole group; teacher_pass_rate: of the traces by the same author; length_rank: 0 for the shortest
    of the group to 1 for the longest, equal lengths share the mean of their places, 0.5 for a trace alone; reflections:
    how often the text looks back at its own steps.
    """
    whole, _ = pass_rate(group.traces)
    by_teacher = {
        author: pass_rate(t for t in group.traces if t.author == author)[0]
        for author in {t.author for t in group.traces}
    }
    ranks = _ranks([num_tokens[t.id] for t in group.traces])
    traces = []
    for trace, rank in zip(group.traces, ranks, strict=True):
        columns = {
            "pass_rate": whole,
            "teacher_pass_rate": by_teacher[trace.author],
            "length_rank": rank,
            "reflections": float(reflections(trace.completion)),
        }
        scores = {**trace.scores, **{name: value for name, value in columns.items() if value is not None}}
        traces.append(dataclasses.replace(trace, num_tokens=num_tokens[trace.id], scores=scores))
    return dataclasses.replace(group, traces=tuple(traces))


def _ranks(lengths: list[int]) -> list[float]:
    """Each length's place from 0 to 1: (shorter ones + half of the equal others) / (all others)."""
    counts, shorter, total = Counter(lengths), {}, 0
    for length in sorted(counts):
        shorter[length] = total
        total += counts[length]
    others = len(lengths) - 1
    return [(shorter[n] + (counts[n] - 1) / 2) / others if others else 0.5 for n in lengths]
