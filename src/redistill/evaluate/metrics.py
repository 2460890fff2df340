"""What one problem is worth: its n samples -> a number in [0, 1]; a benchmark's score is the mean over its problems.

    pass_at_1(samples)   ->  0.25        one of four samples is certainly correct
    pass_at_k(4, 1, k=2) ->  0.5

Only a certain `correct` scores; a sample that could not be decided scores 0 here and is counted under its own word in
the rates of scores.py.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence

from redistill.errors import OperatorError
from redistill.records import DECIDED, Outcome, Trace

Samples = Sequence[Trace]  # the n samples of one problem in the order of their sample_index


def is_correct(trace: Trace) -> int:
    """1 for a certain `correct`, else 0."""
    return int(trace.verdict.outcome is Outcome.correct)


def pass_at_1(samples: Samples) -> float:
    """The share of correct samples (avg@n)."""
    return sum(map(is_correct, samples)) / len(samples)


def pass_at_k(n: int, c: int, *, k: int) -> float:
    """The chance that k of the n samples, drawn without replacement, hold a correct one: 1 - C(n-c, k) / C(n, k).

    n samples, c of them correct. OperatorError unless 1 <= k <= n: with fewer samples than k there is no unbiased
    estimate. Whole-number arithmetic up to one division. Source: Chen et al. 2021, arXiv 2107.03374, Eq. 1.
    """
    if not 1 <= k <= n:
        raise OperatorError(
            f"pass@{k} cannot be estimated from {n} samples per problem; set evaluate.n to {k} or more."
        )
    return (math.comb(n, k) - math.comb(n - c, k)) / math.comb(n, k)


def majority_at_n(samples: Samples) -> float | None:
    """1.0 where the most frequent extracted answer is correct (maj@n); ties go to the answer seen first.

    Samples without an extracted answer do not vote; where nobody votes the problem scores 0. The winner is judged by
    its first decided sample, since the verifier may have timed out on another of the same answer. None where a correct
    sample carries no extracted answer: the verifier does not say what it read, so no vote can be held. Answers are
    compared as text, white space collapsed: 1/2 and 0.5 split their vote.
    """
    if any(is_correct(t) and t.verdict.extracted is None for t in samples):
        return None
    ballots = [" ".join(t.verdict.extracted.split()) if t.verdict.extracted is not None else None for t in samples]
    votes = Counter(b for b in ballots if b is not None)
    if not votes:
        return 0.0
    winner = votes.most_common(1)[0][0]  # a Counter keeps first-seen order among equals
    decided = (t for t, b in zip(samples, ballots) if b == winner and t.verdict.outcome in DECIDED)
    return float(is_correct(first)) if (first := next(decided, None)) else 0.0


def all_correct_at_n(samples: Samples) -> float:
    """1.0 where every sample is correct: what one can rely on."""
    return float(all(map(is_correct, samples)))


def mean_score(samples: Samples) -> float | None:
    """The mean score by a graded verifier, such as an NDCG. A sample without an answer, and one that could not be judged, scores 0, as
    in pass@1. None where a sample was decided without a score: then the verifier is not a graded one."""
    if any(t.verdict.score is None and t.verdict.outcome in DECIDED for t in samples):
        return None
    return math.fsum(t.verdict.score or 0.0 for t in samples) / len(samples)


METRICS: dict[str, Callable[[Samples], float | None]] = {
    "pass_at_1": pass_at_1,
    "majority_at_n": majority_at_n,
    "all_correct_at_n": all_correct_at_n,
    "mean_score": mean_score,
}
