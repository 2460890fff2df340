"""How good a ranked list is, as trec_eval counts it.

    ndcg(["d3", "d1", "d9"], {"d1": 1, "d9": 1}, k=10)    ->  0.693      (1/log2(3) + 1/log2(4)) / (1 + 1/log2(3))
    recall(["d3", "d1", "d9"], {"d1": 1, "d7": 1}, k=10)  ->  0.5

A relevant document that was not retrieved counts in the ideal list, one that was not judged counts as not relevant, and equal
scores are ordered by falling id, all as trec_eval does. A document that is returned twice counts at its first place.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

# Ids of the relevant documents, with grades above 0, or a plain list of ids, which may hold one twice.
Relevant = Mapping[str, float] | Sequence[str]
Gains = Literal["binary", "graded"]
Duplicates = Literal["drop", "count"]


def ndcg(
    ranked: Sequence[str], relevant: Relevant, *, k: int, gains: Gains = "binary", duplicates: Duplicates = "drop"
) -> float:
    """Normalised discounted cumulative gain of the first k places: sum of gain / log2(1 + rank) over that of the ideal list.

    gains: 1 for every relevant document (Rec-R1), or its grade (trec_eval's ndcg_cut). duplicates: an id that a list of
    targets holds twice counts once, or `count`s twice in the ideal list, as in Rec-R1's released code: then [a, a, a, b] is
    at most .637. 0 where nothing is relevant. Source: Järvelin and Kekäläinen 2002.
    """
    grades = grades_of(relevant)
    ideal = list(grades.values()) if duplicates == "drop" or isinstance(relevant, Mapping) else [1.0] * len(relevant)
    if gains == "binary":
        grades, ideal = dict.fromkeys(grades, 1.0), [1.0] * len(ideal)
    best = _discounted(sorted(ideal, reverse=True)[:k])
    return _discounted([grades.get(id, 0.0) for id in without_repeats(ranked)[:k]]) / best if best else 0.0


def recall(ranked: Sequence[str], relevant: Relevant, *, k: int) -> float:
    """The share of the relevant documents among the first k places; 0 where nothing is relevant."""
    grades = grades_of(relevant)
    return len(grades.keys() & set(without_repeats(ranked)[:k])) / len(grades) if grades else 0.0


def grades_of(relevant: Relevant) -> dict[str, float]:
    """Each relevant document once, with its grade; a grade of 0 or below says that it is not relevant."""
    if isinstance(relevant, Mapping):
        return {id: float(grade) for id, grade in relevant.items() if grade > 0}
    return dict.fromkeys(relevant, 1.0)


def without_repeats(ranked: Sequence[str]) -> list[str]:
    """The list with every id at its first place alone."""
    return list(dict.fromkeys(ranked))


def _discounted(gains: Sequence[float]) -> float:
    return math.fsum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, 1))
