"""NDCG and recall against hand arithmetic and against trec_eval itself (pytrec_eval)."""

import math
import random

import pytest
import pytrec_eval

from redistill.retrieval.ranking import ndcg, recall

THIRD = 1 / math.log2(3)  # the discount of the second place


@pytest.mark.parametrize(
    ("ranked", "relevant", "value"),
    [
        (["a", "b", "c"], ["a", "b"], 1.0),
        (["b", "a", "c"], ["a", "b"], 1.0),  # binary gains: the order of the targets is free
        (["c", "a", "b"], ["a", "b"], (THIRD + 0.5) / (1 + THIRD)),
        (["c", "a"], ["a"], THIRD),
        (["a"], ["a", "b"], 1 / (1 + THIRD)),  # a missing document is in the ideal list
        (["c"], ["a"], 0.0),
        ([], ["a"], 0.0),
        (["a", "a", "a", "b"], ["a", "b"], 1.0),  # a document returned twice counts at its first place
        (["a", "b"], [], 0.0),
    ],
)
def test_ndcg_by_hand(ranked, relevant, value):
    assert ndcg(ranked, relevant, k=10) == pytest.approx(value, abs=1e-12)


def test_targets_that_come_twice_cap_the_score_only_where_they_are_counted_twice():
    targets = ["a", "a", "a", "b"]
    assert ndcg(["a", "b"], targets, k=10) == 1.0
    counted = ndcg(["a", "b"], targets, k=10, duplicates="count")
    assert counted == pytest.approx((1 + THIRD) / (1 + THIRD + 0.5 + 1 / math.log2(5))) and round(counted, 3) == 0.637


def test_the_score_is_1_exactly_where_all_targets_lead():
    for trial in range(200):
        rng = random.Random(trial)
        ranked = rng.sample("abcdefgh", 6)
        targets = rng.sample(ranked, rng.randint(1, 4))
        leads = set(ranked[: len(targets)]) == set(targets)
        assert (ndcg(ranked, targets, k=6) == pytest.approx(1.0)) == leads


def test_a_cut_off_cuts_the_ideal_list_too():
    assert ndcg(["a", "x"], ["a", "b", "c"], k=1) == 1.0
    assert recall(["a", "x"], ["a", "b", "c"], k=1) == pytest.approx(1 / 3)


@pytest.mark.parametrize("k", [1, 5, 20])
def test_as_trec_eval_counts_ties_missing_and_unjudged_documents(k):
    for trial in range(60):
        rng = random.Random(trial)
        documents = [f"d{n}" for n in range(30)]
        grades = {id: rng.choice([0, 1, 2, 3, -1]) for id in rng.sample(documents, 12)}
        if not any(grade > 0 for grade in grades.values()):
            continue
        grades["never-retrieved"] = 2
        run = {id: float(rng.choice([1, 2, 3, 4])) for id in rng.sample(documents, 20)}  # many ties
        names = {f"ndcg_cut.{k}", f"recall.{k}"}
        theirs = pytrec_eval.RelevanceEvaluator({"q": grades}, names).evaluate({"q": run})["q"]
        ranked = sorted(run, key=lambda id: (run[id], id), reverse=True)  # of equal scores the later id first
        assert ndcg(ranked, grades, k=k, gains="graded") == pytest.approx(theirs[f"ndcg_cut_{k}"], abs=1e-9)
        assert recall(ranked, grades, k=k) == pytest.approx(theirs[f"recall_{k}"], abs=1e-9)
        binary = {id: int(grade > 0) for id, grade in grades.items()}
        theirs = pytrec_eval.RelevanceEvaluator({"q": binary}, names).evaluate({"q": run})["q"]
        assert ndcg(ranked, grades, k=k) == pytest.approx(theirs[f"ndcg_cut_{k}"], abs=1e-9)
