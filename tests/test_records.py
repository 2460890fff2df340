"""Records: ids say what they are ids of, data is answered and never edited."""

import dataclasses
import hashlib

import pytest

from redistill.records import (
    FINAL,
    Example,
    Image,
    Outcome,
    Pair,
    Problem,
    Span,
    Trace,
    Verdict,
    content_id,
    make_problem,
    make_trace,
    pair_id,
)


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


def test_ids_of_text_are_what_they_have_always_been():
    assert make_problem("What is 2+2?").id == "p" + sha16("What is 2+2?")
    assert make_trace("p1", "4", spans={"s": (Span(0, 1, 1.0),)}, notes={"n": "x"}).id == "t" + sha16("p1\0" + "4")


def test_the_same_words_under_another_picture_are_another_problem():
    one, other = Image("a.png", "1" * 64), Image("b.png", "2" * 64)
    ids = [
        make_problem("What is shown?", images=images).id
        for images in ((), (one,), (other,), (one, other), (other, one))
    ]
    assert len(set(ids)) == 5
    assert make_problem("What  is shown?", images=(Image("elsewhere.png", "1" * 64),), metadata={"k": 1}).id == ids[1]
    assert ids[1] == "p" + sha16("What is shown?\0" + "1" * 64)


def sha16(text):
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def test_new_fields_come_last_and_have_defaults():
    assert Verdict(Outcome.correct, "4", "why", "me", "1", 0.5).score is None
    assert Problem("p", "q", "4", "number", "s", "x:0") == Problem("p", "q", "4", "number", "s", "x:0", (), {})
    bare = Trace("t", "4", "a", {}, "stop", 3, {}, {})
    assert (bare.spans, bare.notes) == ({}, {})
    assert Example("p", "t", "q", "a") == Example("p", "t", "q", "a", 1.0, ())
    assert Pair("p", "q", "a", "b", "t", "u", 1.0, ((0, 1, 0.5),)) == Pair(
        "p", "q", "a", "b", "t", "u", 1.0, (Span(0, 1, 0.5),)
    )
