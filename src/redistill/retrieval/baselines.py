"""What a search finds without any student: by the query as it was asked, and by the query with words of what it found first.

    baselines = baseline_scores(query, searcher, feedback, measure, "problem p1")  ->  {"raw": 0.41, "feedback": 0.46}

Pseudo-relevance feedback takes the query's first documents for relevant and adds their most telling words: the rival that needs no
training. Source: Rocchio 1971 in the form of Manning, Raghavan and Schütze 2008, section 9.1.6.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable

from redistill.retrieval.index import Searcher

FIRST, ADDED = 10, 10  # documents that are taken for relevant, words that are added
DEPTH = 1000  # places of a baseline's list; a measure cuts it further
_WORD = re.compile(r"\w\w+")


class Feedback:
    """Pseudo-relevance feedback over documents; keeps how many documents each word is in, and the texts."""

    def __init__(self, documents: Iterable[tuple[str, str]]) -> None:
        self._words = {id: Counter(_WORD.findall(text.lower())) for id, text in documents}
        self._in = Counter(word for words in self._words.values() for word in words)

    def expanded(self, query: str, first: Iterable[str]) -> str:
        """The query and the ADDED words of these documents with the highest sum of tf * log(documents / documents with it); equal
        sums by the alphabet, words of the query left out."""
        asked, weight = set(_WORD.findall(query.lower())), Counter[str]()
        for id in first:
            for word, count in self._words.get(id, Counter()).items():
                weight[word] += count * math.log(len(self._words) / self._in[word])  # type: ignore[assignment]
        ranked = sorted((word for word in weight if word not in asked), key=lambda word: (-weight[word], word))
        return " ".join([query, *ranked[:ADDED]])


def baseline_scores(
    query: str, searcher: Searcher, feedback: Feedback | None, measure: Callable[[list[str]], float], asker: str
) -> dict[str, float]:
    """{"raw": ..., "feedback": ...} by `measure`, a function of a ranked list; no feedback without documents."""
    raw = searcher.ranked(query, DEPTH, asker)
    scores = {"raw": measure(raw)}
    if feedback is not None:
        scores["feedback"] = (
            measure(searcher.ranked(feedback.expanded(query, raw[:FIRST]), DEPTH, asker)) if raw else 0.0
        )
    return scores
