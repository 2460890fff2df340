"""Novelty is InfoNCE against the traces taken before, whatever the shards and the order; a copy is not new."""

import math

import numpy as np
import pytest

from redistill.records import FINAL, Group, Outcome, Verdict, make_problem, make_trace
from redistill.score import SCORERS, reasons_of
from redistill.score.encoders import open_encoder
from redistill.score.novelty import novelty

TEXTS = ["2+2=4, so 4", "the sum is four", "add two and two: 4", "counting up: 3, 4", "half of eight is 4"]


def group(statement, texts, outcome=Outcome.correct):
    problem = make_problem(statement)
    verdict = Verdict(outcome, "4", "exact", "exact", "1")
    traces = []
    for text in texts:
        trace = make_trace(problem.id, text)
        traces.append(type(trace)(**{**{f: getattr(trace, f) for f in trace.__slots__}, "verdicts": {FINAL: verdict}}))
    return Group(problem, tuple(traces))


def scores_of(shards, groups=None, **options):
    """Text -> novelty, shard by shard as in a run."""
    groups = [one for shard in shards for one in shard] if groups is None else groups
    needs = {
        "_into": "new",
        "_seed": 3,
        "_student": None,
        "_all_groups": lambda: groups,
        "_is_dev": lambda problem: problem.statement == "dev",
        "_held": {},
    }
    return {
        t.completion: t.scores.get("new")
        for shard in shards
        for g in novelty(shard, **options, **needs)
        for t in g.traces
    }


def test_the_first_trace_is_wholly_new_and_the_others_are_info_nce_against_those_before():
    whole = group("2+2?", TEXTS)
    found = scores_of([[whole]], tau=0.5)
    order = sorted(found, key=found.get, reverse=True)
    assert found[order[0]] == 0.0  # nothing was taken before it
    # in plain Python: vectors minus their mean, of length 1; each among itself and those before it in some order that fits
    vectors = open_encoder("hashing", model=None, student=None, where="here")(TEXTS).astype(float)
    centred = vectors - vectors.mean(axis=0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    from redistill.records import content_id

    by_hash = sorted(range(5), key=lambda n: int(content_id("", "novelty", "3", whole.traces[n].id), 16))
    for place, number in enumerate(by_hash):
        others = [math.exp(float(centred[number] @ centred[other]) / 0.5) for other in by_hash[:place]]
        itself = math.exp(1 / 0.5)
        assert found[TEXTS[number]] == pytest.approx(math.log(itself / (itself + sum(others))), abs=1e-6)


def test_of_two_equal_texts_one_is_new_and_one_is_not():
    copies = [group(f"problem {n}", ["the very same words in every trace"] * 1 + [TEXTS[n]]) for n in range(5)]
    needs = {
        "_into": "new",
        "_seed": 0,
        "_student": None,
        "_all_groups": lambda: copies,
        "_is_dev": lambda _: False,
        "_held": {},
    }
    found = [t.scores["new"] for g in novelty(copies, **needs) for t in g.traces if t.completion.startswith("the very")]
    expected = [-math.log(1 + k) for k in range(5)]  # k copies of it came before
    assert all(value <= bound + 1e-6 for value, bound in zip(sorted(found, reverse=True), expected))
    assert max(found) > -0.1 and sorted(found)[0] < -1.5


def test_shards_and_the_order_of_rows_change_nothing():
    groups = [group(f"problem {n}", [f"{text} {n}" for text in TEXTS]) for n in range(6)]
    whole = scores_of([groups])
    assert scores_of([groups[4:], groups[:2], groups[2:4]]) == whole
    assert scores_of([groups[::-1]], groups[::-1]) == pytest.approx(whole, abs=1e-9)
    assert len(set(whole.values())) > 20


def test_wrong_and_held_out_traces_are_scored_and_compared_with_nothing_of_their_own():
    right, wrong = group("a", TEXTS[:1]), group("b", TEXTS[:1] + TEXTS[3:4], Outcome.incorrect)
    dev = group("dev", TEXTS[:2])
    alone = scores_of([[right]])
    assert alone == {TEXTS[0]: 0.0}
    found = scores_of([[right, wrong, dev]])
    assert set(found) == {TEXTS[0], TEXTS[1], TEXTS[3]} and None not in found.values()
    assert scores_of([[wrong]]) == {TEXTS[0]: 0.0, TEXTS[3]: 0.0}  # the bank holds right ones only
    assert min(scores_of([[wrong]], among="all", tau=10.0).values()) < 0


def test_a_small_bank_holds_the_first_traces_by_their_hashes():
    groups = [group("a", TEXTS)]
    small, large = scores_of([groups], bank=1), scores_of([groups], bank=5)
    # one row is its own mean, so its vector is 0 and every cosine with it
    assert sorted(small.values()) == pytest.approx([-math.log1p(math.exp(-10))] * 4 + [0.0], abs=1e-12)
    assert sum(value == 0.0 for value in large.values()) == 1


def test_an_empty_trace_has_a_reason_and_no_score():
    one = group("a", ["  ", "text"])
    needs = {
        "_into": "new",
        "_seed": 0,
        "_student": None,
        "_all_groups": lambda: [one],
        "_is_dev": lambda _: False,
        "_held": {},
    }
    (after,) = novelty([one], **needs)
    assert [reasons_of(trace) for trace in after.traces] == [{"new": "empty"}, {}]
    assert SCORERS["novelty"] is novelty
