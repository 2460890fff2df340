"""What a choice among k of n samples is worth, over all C(n, k) subsets: exact, as pass@k is.

    best_over_subsets([3, 1, 2], right=[0, 1, 1], ks=[1, 2, 3])          ->  [2/3, 1/3, 0]
    majority_over_subsets([2, 1], right=[1, 0], abstaining=1, ks=[1, 2, 3])  ->  [1/2, 2/3, 3/4]

Evaluating a choice once, on the n samples in the order they were drawn, gives one number for k = n and throws away what the samples
say about smaller k. Here every subset of k counts equally, and a tie is split equally among those who tie, so no order matters.
All sums are of whole numbers and fractions, rounded once at the end: laws such as "the best by an oracle is pass@k" hold to the bit.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import lru_cache

import numpy as np

# Subsets of one size that are enumerated; with more of them this many are drawn. All of C(16, 8) = 12,870 fit.
MOST_SUBSETS = 20_000
DRAWN_SUBSETS = 4_096
# Two sums of weights nearer than this, relative to the larger, are a tie: they differ by rounding.
_SAME_SUM = 1e-9


def curve_points(n: int) -> list[int]:
    """The k at which a curve up to n is measured: all up to 32, then doublings, and n."""
    doublings = itertools.takewhile(lambda k: k < n, (2**power for power in itertools.count(6)))
    return list(range(1, n + 1)) if n <= 32 else [*range(1, 33), *doublings, n]


def best_over_subsets(
    scores: Sequence[float | None], right: Sequence[int | Fraction], ks: Sequence[int]
) -> list[float]:
    """The mean of `right` over the sample with the highest score, for each k; samples of equal score are equally likely.

    scores (n,): None for a sample that cannot be chosen; a subset of such samples alone counts 0. right (n,): what choosing the
    sample is worth. Closed form by sorting: the best of a subset has a score s where it holds a sample of score s and none
    higher, which C(n - higher, k) - C(n - higher - equal, k) subsets do.
    """
    n = len(scores)
    levels: dict[float, list[int | Fraction]] = {}
    for score, value in zip(scores, right, strict=True):
        if score is not None:
            levels.setdefault(score, []).append(value)
    means = []
    for k in ks:
        total, higher = Fraction(0), 0
        for score in sorted(levels, reverse=True):
            values = levels[score]
            subsets = math.comb(n - higher, k) - math.comb(n - higher - len(values), k)
            total += Fraction(sum(values)) * subsets / len(values)
            higher += len(values)
        means.append(float(total / math.comb(n, k)))
    return means


def majority_over_subsets(
    votes: Sequence[int], right: Sequence[int | Fraction], *, abstaining: int, ks: Sequence[int]
) -> list[float]:
    """The mean of `right` over the answer with most votes, for each k; answers with equally many are equally likely.

    votes (m,): samples of each answer; right (m,): what the answer is worth; abstaining: samples without an answer. A subset
    of these alone counts 0. Exact in polynomial time: for each winning number of votes x, the ways to draw from the answers one
    after another are counted by (samples drawn, answers with exactly x votes), all others having fewer.
    """
    n = sum(votes) + abstaining
    scale = math.lcm(*(Fraction(value).denominator for value in right)) * math.lcm(*range(1, len(votes) + 1))
    worth = [
        int(value * scale) for value in right
    ]  # so that every sum below, and each share of a tie, is a whole number
    won = sum(
        (_won_with(x, votes, worth, abstaining) for x in range(1, max(votes, default=0) + 1)), np.zeros(n + 1, object)
    )
    return [float(Fraction(int(won[k]), scale * math.comb(n, k))) for k in ks]


def _won_with(x: int, votes: Sequence[int], right: Sequence[int], abstaining: int) -> np.ndarray:
    """By the number of samples drawn (n + 1,): over the subsets whose winner has x votes, the sum of what it is worth.

    right: whole numbers that the number of answers, and every smaller number, divides.
    """
    n = sum(votes) + abstaining
    fewer = sum(count for count in votes if count < x) + abstaining  # drawn from freely: none of them reaches x
    able = [(count, value) for count, value in zip(votes, right, strict=True) if count >= x]
    most_tied = min(len(able), n // x)
    ways = np.zeros((most_tied + 1, n + 1), dtype=object)  # by (answers with x votes, samples drawn)
    worth = np.zeros_like(ways)  # the same ways, each counted with the sum over its tied answers of what they are worth
    ways[0, 0] = 1
    for count, value in able:
        new_ways, new_worth = np.zeros_like(ways), np.zeros_like(worth)
        for y in range(min(x, count + 1)):
            times = math.comb(count, y)
            new_ways[:, y:] += times * ways[:, : n + 1 - y]
            new_worth[:, y:] += times * worth[:, : n + 1 - y]
        times = math.comb(count, x)
        new_ways[1:, x:] += times * ways[:-1, : n + 1 - x]
        new_worth[1:, x:] += times * (worth[:-1, : n + 1 - x] + value * ways[:-1, : n + 1 - x])
        ways, worth = new_ways, new_worth
    won = sum((worth[tied] // tied for tied in range(1, most_tied + 1)), np.zeros(n + 1, object))
    free = np.array([math.comb(fewer, y) for y in range(fewer + 1)], dtype=object)
    return np.convolve(won, free)[: n + 1]


def weighted_over_subsets(
    answer: Sequence[int], weight: Sequence[float], right: Sequence[float], *, ks: Sequence[int], seed: int
) -> tuple[list[float], list[float]]:
    """The mean of `right` over the answer with the largest sum of weights, for each k, and the variance of that estimate.

    answer (n,): the number of the sample's answer, -1 for a sample that does not vote. weight (n,): above 0 where it votes. right
    (answers,): what an answer is worth. Up to MOST_SUBSETS subsets of a size are all looked at, and the variance is 0; of
    more, DRAWN_SUBSETS are drawn by `seed`.
    """
    n = len(answer)
    of_answer = np.zeros((n, len(right)))  # (samples, answers)
    for sample, number in enumerate(answer):
        if number >= 0:
            of_answer[sample, number] = weight[sample]
    means, variances = [], []
    generator = np.random.default_rng(seed)
    for k in ks:
        is_whole = math.comb(n, k) <= MOST_SUBSETS
        members = _all_subsets(n, k) if is_whole else _drawn_subsets(n, k, generator)
        sums = of_answer[members].sum(axis=1)  # (subsets, answers)
        most = sums.max(axis=1, keepdims=True) if len(right) else np.zeros((len(members), 1))
        winners = (sums >= most * (1 - _SAME_SUM)) & (sums > 0)
        worth = (winners * np.asarray(right, dtype=float)).sum(axis=1) / np.maximum(winners.sum(axis=1), 1)
        means.append(float(worth.mean()))
        variances.append(0.0 if is_whole else float(worth.var(ddof=1)) / len(worth))
    return means, variances


@lru_cache(maxsize=64)
def _all_subsets(n: int, k: int) -> np.ndarray:
    """(subsets, k): the members of each."""
    return np.array(list(itertools.combinations(range(n), k)))


def _drawn_subsets(n: int, k: int, generator: np.random.Generator) -> np.ndarray:
    """(DRAWN_SUBSETS, k): members drawn without replacement."""
    return np.argsort(generator.random((DRAWN_SUBSETS, n)), axis=1)[:, :k]


def are_equal(values: Iterable[float]) -> bool:
    """Whether all values are one; True for none."""
    return len(set(values)) <= 1
