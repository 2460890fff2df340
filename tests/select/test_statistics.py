"""Pairs and traces without training, by hand."""

import pickle
import random
from dataclasses import fields

import pytest

from redistill.records import FINAL, Candidate, Group, Outcome, Verdict, make_problem, make_trace, pair_id
from redistill.select.statistics import Spread, TraceTables, compare, describe, table_text
from redistill.select.trace_features import with_columns


def pair(policy, problem, chosen, rejected, *, tokens=(10, 10), shared=0, reason="", teachers=("A", "B"), source="s"):
    ids = (f"{problem}{chosen}", f"{problem}{rejected}")
    return Candidate(pair_id(*ids), policy, problem, source, *ids, *teachers, *tokens, shared, reason)


def columns(*candidates):
    """One shard of candidates, as it is read."""
    return [{field.name: [getattr(c, field.name) for c in candidates] for field in fields(Candidate)}]


def test_quantiles_are_the_smallest_values_that_a_share_does_not_exceed():
    spread = Spread()
    for value in random.Random(0).sample(range(1, 101), 100):
        spread.add(value)
    assert spread.summary() == {"mean": 50.5, "p10": 10, "p50": 50, "p90": 90}
    one = Spread()
    one.add(-7)
    assert one.summary() == {"mean": -7.0, "p10": -7, "p50": -7, "p90": -7} and Spread().summary() is None


def test_a_policy_by_hand():
    found = compare(
        columns(
            pair("mine", "p1", "a", "x", tokens=(10, 20), shared=4),  # 4/10 - .8 * 4/20 = .24
            pair("mine", "p1", "b", "y", tokens=(20, 10), shared=2, teachers=("A", "A")),  # 2/20 - .8 * 2/10 = -.06
            pair("mine", "p2", "a", "x", tokens=(10, 10), shared=0, teachers=("A", ""), source="t"),
            pair("mine", "p2", "b", "x", tokens=(99, 99), reason="chosen_too_long"),
        ),
        own="mine",
    )["policies"]["mine"]
    assert (found["problems"], found["pairs"], found["dropped"]) == (2, 3, {"chosen_too_long": 1})
    assert found["length_gap"] == {"mean": 0.0, "p10": -10, "p50": 0, "p90": 10}
    assert found["rejected_longer"] == pytest.approx(1 / 3, abs=1e-4)
    assert found["shared_share"] == pytest.approx((0.4 + 0.2 + 0) / 3, abs=1e-4)
    net = found["net_prefix_weight"]
    assert net["mean"] == pytest.approx((0.24 - 0.06) / 3, abs=1e-4)
    assert net["chosen_part"] == pytest.approx(0.5 / 3, abs=1e-4)
    assert net["rejected_part"] == pytest.approx(0.4 / 3, abs=1e-4)
    assert net["negative"] == 0.5  # of the two that share anything
    assert found["same_teacher"] == 0.5  # of the two with known teachers
    assert found["source"] == {"s": 2, "t": 1} and found["chosen_teacher"] == {"A": 3}


def test_pairs_in_common_are_counted_by_problem_and_what_was_dropped_is_in_no_policy():
    made = [
        pair("a", "p1", "r", "w"),
        pair("a", "p1", "r", "v"),
        pair("b", "p1", "r", "w"),
        pair("b", "p1", "q", "v"),
        pair("a", "p2", "r", "w", reason="rejected_repetition"),
        pair("b", "p2", "r", "w", reason="rejected_repetition"),
        pair("b", "p3", "r", "w"),
    ]
    found = compare(columns(*made), own="b")
    assert found["shared_pairs"] == {"b": {"b": 3, "a": 1}, "a": {"b": 1, "a": 2}}
    assert list(found["policies"]) == ["b", "a"]  # the recipe's own comes first
    assert [found["policies"][name]["problems"] for name in "ab"] == [1, 2]


def group(*specs):
    """A group with columns, from (author, outcome, words, text) of each trace."""
    problem = make_problem(f"q{specs}", answer="4", source="s")
    traces = [
        make_trace(problem.id, f"{i} {text}", author=author, verdicts={FINAL: Verdict(Outcome(outcome))})
        for i, (author, outcome, _, text) in enumerate(specs)
    ]
    return with_columns(Group(problem, tuple(traces)), {t.id: spec[2] for t, spec in zip(traces, specs)})


def test_traces_by_source_and_teacher():
    groups = [
        group(("A", "correct", 10, "Wait, no."), ("A", "incorrect", 30, "so"), ("B", "correct", 20, "so")),
        group(("A", "correct", 14, "so"), ("B", "timeout", 99, "so")),
    ]
    found = describe(groups).summary()
    parts = TraceTables()
    for part in reversed(groups):  # a process a shard, in any order
        parts.merge(pickle.loads(pickle.dumps(describe([part]))))
    assert parts.summary() == found
    whole = found["source"]["s"]
    assert (whole["problems"], whole["traces"], whole["right"], whole["wrong"]) == (2, 5, 3, 1)
    assert whole["tokens_right"] == {"mean": 14.67, "p10": 10, "p50": 14, "p90": 20}
    assert whole["reflecting_right"] == pytest.approx(1 / 3, abs=1e-4) and whole["reflecting_wrong"] == 0
    # ranks: 0 and 0.5 in the first group, 0 in the second; the wrong one is the longest of its group
    assert whole["length_rank_right"] == pytest.approx(0.5 / 3, abs=1e-4) and whole["length_rank_wrong"] == 1
    assert whole["pass_rate"] == {"0.6-0.8": 1, "1": 1}  # 2 of 3; 1 of 1, the timeout says nothing
    assert list(found["teacher"]) == ["A", "B"]
    assert found["teacher"]["A"]["pass_rate"] == {"0.4-0.6": 1, "1": 1}
    assert found["teacher"]["B"]["pass_rate"] == {"1": 1, "unknown": 1}


def test_a_policy_that_finds_no_pair_has_a_row():
    found = compare(columns(pair("a", "p", "r", "w")), own="a", policies=["a", "same-teacher"])
    assert found["policies"]["same-teacher"]["pairs"] == found["shared_pairs"]["a"]["same-teacher"] == 0
    assert table_text(found).splitlines()[2].split() == ["same-teacher", "0", "0", "0", *["-"] * 7]


def test_the_table_has_a_line_a_policy_and_marks_the_recipes_own():
    text = table_text(compare(columns(pair("a", "p", "r", "w", shared=1), pair("b", "p", "r", "w")), own="b"))
    lines = text.splitlines()
    assert lines[1].split()[:5] == ["b", "*", "1", "1", "1"] and lines[2].split()[:4] == ["a", "1", "1", "1"]
    # 1/10 - .8/10 = .02
    assert "+0.0200" in lines[2] and "10.0%" in lines[2]
    assert table_text(compare([], own="a")) == "no pairing finds a pair in this corpus"
