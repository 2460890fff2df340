"""Pseudo-feedback and gains by hand."""

import math

import pytest

from redistill.pipeline.retrieval import gain_row
from redistill.retrieval.baselines import Feedback, baseline_scores
from redistill.retrieval.index import Searcher
from redistill.retrieval.ranking import ndcg

TEXTS = {"a": "soap soap lavender", "b": "lavender field", "c": "towel", "d": "field field field"}


def test_the_words_of_the_first_documents_are_added_by_weight():
    """Of a and b: soap 2 log(4/1) = 2.77, lavender 2 log(4/2) = 1.39, field 1 log(4/2) = .69."""
    feedback = Feedback(TEXTS.items())
    assert feedback.expanded("wash", ["a", "b"]) == "wash soap lavender field"
    assert feedback.expanded("Lavender", ["a", "b"]) == "Lavender soap field"
    assert feedback.expanded("wash", []) == "wash"


def test_baselines_of_a_query():
    def search(query, k):
        return ["b", "a"] if query == "wash" else ["a", "b"]

    searcher = Searcher("mine", search, None)
    found = baseline_scores("wash", searcher, Feedback(TEXTS.items()), lambda r: ndcg(r, ["a"], k=10), "q")
    assert found == {"raw": pytest.approx(1 / math.log2(3)), "feedback": 1.0}
    nothing = Searcher("mine", lambda query, k: [], None)
    assert baseline_scores("wash", nothing, Feedback([]), lambda r: 0.0, "q") == {"raw": 0.0, "feedback": 0.0}
    assert baseline_scores("wash", searcher, None, lambda r: 0.5, "q") == {"raw": 0.5}


def test_a_gain_is_paired():
    raw = {"p": 0.0, "q": 0.5, "r": 0.5}
    row = gain_row("grpo", {"p": 0.6, "q": 0.4, "r": 0.5}, raw)
    assert row["mean"] == pytest.approx(0.5) and row["gain"] == pytest.approx((0.6 - 0.1 + 0) / 3)
    assert (row["better"], row["worse"]) == (1, 1) and row["gain_interval95"][0] < row["gain"] < row["gain_interval95"][
        1
    ]
    assert gain_row("raw", raw, raw).keys() == {"query_by", "mean", "interval95"}
