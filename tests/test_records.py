"""Records: ids say what they are ids of, data is answered and never edited."""

import dataclasses

import pytest

from redistill.records import FINAL, Outcome, Verdict, content_id, make_problem, make_trace, pair_id


def test_the_same_question_has_one_id_however_it_is_spaced():
    assert make_problem("What  is\n2+2? ").id == make_problem("What is 2+2?").id != make_problem("What is 2+3?").id
    assert make_problem("x", answer="1").id == make_problem("x", answer="2").id  # the answer is not the question


def test_a_trace_has_the_id_of_its_problem_and_text_alone():
    one = make_trace("p1", "4", author="a")
    assert one.id == make_trace("p1", "4", author="b", num_tokens=3).id
    assert one.id != make_trace("p2", "4").id and one.id != make_trace("p1", "4 ").id


def test_parts_of_an_id_do_not_run_together():
    assert content_id("t", "ab", "c") != content_id("t", "a", "bc")


def test_an_id_can_be_made_of_lone_surrogates():
    assert content_id("t", "\ud800") != content_id("t", "?")


def test_a_verdict_is_added_and_nothing_is_changed():
    bare = make_trace("p", "4")
    judged = bare.with_verdict("exact", Verdict(Outcome.correct)).with_verdict(FINAL, Verdict(Outcome.incorrect))
    assert bare.verdicts == {} and set(judged.verdicts) == {"exact", FINAL}
    assert judged.verdict.outcome is Outcome.incorrect and judged.id == bare.id
    with pytest.raises(KeyError):
        _ = bare.verdict
    with pytest.raises(dataclasses.FrozenInstanceError):
        bare.completion = "5"


def test_a_pair_is_known_by_its_two_traces():
    assert pair_id("t1", "t2") == pair_id("t1", "t2") != pair_id("t2", "t1")
