"""Who may be chosen and who may be rejected."""

import pytest

from redistill.errors import OperatorError
from redistill.records import FINAL, Group, Outcome, Verdict, make_problem, make_trace
from redistill.select.pairing import PAIRINGS, certain, redi_paper
from redistill.settings import Plugin, bind

PROBLEM = make_problem("What is 2 + 2?", answer="4")


def trace(text, final, *, finish_reason="stop", **labels):
    """A trace with its joined verdict and, where given, the verdicts of named labels."""
    verdicts = {FINAL: Verdict(Outcome(final)), **{name: Verdict(Outcome(o)) for name, o in labels.items()}}
    return make_trace(PROBLEM.id, text, finish_reason=finish_reason, verdicts=verdicts)


def group(*traces):
    return Group(PROBLEM, traces)


def texts(pairs):
    return [(chosen.completion, rejected.completion) for chosen, rejected in pairs]


@pytest.mark.parametrize("outcome", [o for o in Outcome if o not in ("correct", "incorrect")])
def test_undecided_is_never_rejected(outcome):
    reason = certain(group(trace("right", "correct"), trace("who knows", outcome)))
    assert reason == ("only_truncated_wrong" if outcome == "truncated" else "only_undecided_wrong")
    assert texts(certain(group(trace("u", outcome), trace("r", "correct"), trace("w", "incorrect")))) == [("r", "w")]


def test_a_trace_cut_by_its_length_limit_is_never_rejected_even_when_judged_incorrect():
    cut = trace("so far 5", "incorrect", finish_reason="length")
    assert certain(group(trace("right", "correct"), cut)) == "only_truncated_wrong"
    assert texts(certain(group(trace("r", "correct"), cut, trace("w", "incorrect")))) == [("r", "w")]


def test_an_unknown_finish_reason_does_not_forbid_a_wrong_trace():
    # most public trace sets do not say how a trace ended
    found = certain(group(trace("r", "correct", finish_reason=None), trace("w", "incorrect", finish_reason=None)))
    assert texts(found) == [("r", "w")]


def test_each_way_of_having_no_pair_has_its_own_word():
    right, wrong = trace("r", "correct"), trace("w", "incorrect")
    assert certain(group()) == "no_correct_trace"
    assert certain(group(wrong)) == "no_correct_trace"
    assert certain(group(right)) == "no_incorrect_trace"
    assert certain(group(trace("a", "ungradable"), trace("b", "ungradable"))) == "ungradable"


def test_first_right_meets_first_wrong_in_the_order_of_the_source():
    g = group(trace("w1", "incorrect"), trace("r1", "correct"), trace("r2", "correct"), trace("w2", "incorrect"))
    assert texts(certain(g)) == [("r1", "w1")]
    assert texts(certain(g, max_pairs=5)) == [("r1", "w1"), ("r2", "w2")]


def test_the_shorter_side_is_cycled_and_no_pair_comes_twice():
    g = group(*(trace(f"r{i}", "correct") for i in range(2)), *(trace(f"w{i}", "incorrect") for i in range(3)))
    assert texts(certain(g, max_pairs=9)) == [("r0", "w0"), ("r1", "w1"), ("r0", "w2")]
    assert texts(certain(g, max_pairs=2)) == [("r0", "w0"), ("r1", "w1")]


def test_the_papers_rule_counts_a_missing_verdict_as_wrong_and_certain_does_not():
    # one label never saw the second trace, so the policy `all` could not join it: the paper pushes it down all the same
    doubly_right = trace("r", "correct", llama_verification="correct", math_verify="correct")
    half_judged = trace("also right", "disagree", math_verify="correct")
    assert texts(redi_paper(group(doubly_right, half_judged))) == [("r", "also right")]
    assert certain(group(doubly_right, half_judged)) == "only_undecided_wrong"


def test_the_papers_rule_takes_a_timeout_for_wrong_and_needs_every_label_for_right():
    slow = trace("slow", "timeout", llama_verification="correct", math_verify="timeout")
    right = trace("r", "correct", llama_verification="correct", math_verify="correct")
    assert texts(redi_paper(group(slow, right))) == [("r", "slow")]
    assert redi_paper(group(slow)) == "no_correct_trace"
    assert redi_paper(group(right)) == "no_incorrect_trace"
    assert texts(
        redi_paper(group(slow, trace("w", "incorrect", llama_verification="incorrect")), labels=("llama_verification",))
    ) == [("slow", "w")]


def test_options_are_bound_from_a_recipe_and_nonsense_is_refused():
    assert bind(PAIRINGS, Plugin(name="redi-paper", options={"labels": ["a", "b"]}), "select.pairing").keywords == {
        "labels": ("a", "b")
    }
    with pytest.raises(OperatorError, match="max_pair"):
        bind(PAIRINGS, Plugin(name="certain", options={"max_pair": 2}), "select.pairing")
    with pytest.raises(OperatorError, match="max_pairs must be 1 or more"):
        certain(group(), max_pairs=0)
    with pytest.raises(OperatorError, match="labels is empty"):
        redi_paper(group(), labels=())


@pytest.mark.parametrize("name", PAIRINGS)
def test_every_pairing_gives_pairs_of_the_group_or_a_reason(name):
    right = trace("r", "correct", llama_verification="correct", math_verify="correct")
    wrong = trace("w", "incorrect", llama_verification="incorrect", math_verify="incorrect")
    assert texts(PAIRINGS[name](group(right, wrong))) == [("r", "w")]
    assert isinstance(PAIRINGS[name](group()), str)
