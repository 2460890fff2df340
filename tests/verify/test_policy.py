"""Several verdicts, one verdict: the truth table, and what a judge's second opinion changes."""

import dataclasses
import itertools

import pytest

from redistill.errors import OperatorError
from redistill.records import DECIDED, FINAL, Group, Outcome, Verdict, make_problem, make_trace
from redistill.verify import check_policy, combine, verify_group
from redistill.verify.policy import MISSING, counted_labels, labels_of, second_opinion


def joined(policy: str, *outcomes: str) -> str:
    return combine({f"v{i}": Verdict(Outcome(o), "5", "why") for i, o in enumerate(outcomes)}, policy).outcome


@pytest.mark.parametrize(
    ("outcomes", "by_all", "by_any"),
    [
        (("correct", "correct"), "correct", "correct"),
        (("incorrect", "incorrect"), "incorrect", "incorrect"),
        (("correct", "incorrect"), "disagree", "correct"),
        (("correct", "timeout"), "disagree", "correct"),
        (("incorrect", "timeout"), "disagree", "disagree"),
        (("incorrect", "ungradable"), "disagree", "disagree"),
        (("no_answer", "no_answer"), "no_answer", "no_answer"),
        (("truncated", "truncated"), "truncated", "truncated"),
        (("timeout", "ungradable"), "disagree", "disagree"),
        (("correct",), "correct", "correct"),
        (("incorrect",), "incorrect", "incorrect"),
        ((), "ungradable", "ungradable"),
    ],
)
def test_the_truth_table(outcomes: tuple[str, ...], by_all: str, by_any: str) -> None:
    assert (joined("all", *outcomes), joined("any", *outcomes)) == (by_all, by_any)


@pytest.mark.parametrize(
    ("outcomes", "wanted"),
    [
        (("correct", "ungradable"), "correct"),
        (("ungradable", "incorrect"), "incorrect"),
        (("incorrect", "timeout"), "disagree"),
        (("incorrect", "no_answer"), "disagree"),
        (("correct", "incorrect", "ungradable"), "disagree"),
        (("ungradable", "ungradable"), "ungradable"),
        (("timeout", "ungradable"), "timeout"),
        ((), "ungradable"),
    ],
)
def test_of_verifiers_of_different_kinds_those_that_can_grade_the_problem_decide(outcomes, wanted) -> None:
    assert joined("decided", *outcomes) == wanted


def test_an_undecided_verdict_never_joins_into_incorrect() -> None:
    for policy, outcomes in itertools.product(("all", "any"), itertools.product(Outcome, repeat=3)):
        if set(outcomes) - DECIDED:
            assert joined(policy, *outcomes) != Outcome.incorrect


def test_the_order_of_the_verdicts_does_not_matter() -> None:
    verdicts = {"a": Verdict(Outcome.correct, "5"), "b": Verdict(Outcome.incorrect, "6"), "c": Verdict(Outcome.timeout)}
    for policy in ("all", "any", "b"):
        found = {combine({n: verdicts[n] for n in order}, policy).outcome for order in itertools.permutations(verdicts)}
        assert len(found) == 1


def test_a_named_verifier_speaks_for_itself_and_a_missing_one_is_ungradable() -> None:
    verdicts = {"exact": Verdict(Outcome.incorrect, "6", "different_number", "exact", "redistill-rules 1")}
    final = combine(verdicts, "exact")
    assert (final.outcome, final.extracted, final.reason) == (Outcome.incorrect, "6", "different_number")
    assert (final.verifier, final.verifier_version) == ("policy:exact", "redistill-rules 1")
    assert combine(verdicts, "judge").outcome == Outcome.ungradable


def test_a_disagreement_names_who_said_what() -> None:
    final = combine({"b": Verdict(Outcome.incorrect), "a": Verdict(Outcome.correct)}, "all")
    assert final.reason == "a:correct, b:incorrect"


def test_the_joined_verdict_tells_the_answer_of_one_who_agrees_with_it() -> None:
    said = {
        "exact": Verdict(Outcome.incorrect, "6", "different_number", "exact", "rules 3", 0.5),
        "cascade": Verdict(Outcome.correct, "12/2", "equal_value", "cascade", "rules 3, library 1", 1.25),
        "label": Verdict(Outcome.correct, "12"),
    }
    found = combine(said, "any")
    assert (found.outcome, found.extracted) == (Outcome.correct, "12/2")  # not the 6 of the one that is outvoted
    assert found.verifier_version == "rules 3, rules 3, library 1"  # a label of the data has none
    assert found.seconds == 1.8  # 0.5 + 1.25, to a tenth


@pytest.mark.parametrize(
    ("scored", "policy", "expected"),
    [
        ([("correct", 0.75)], "all", 0.75),
        ([("disagree", 0.5)], "all", 0.5),  # between right_at and wrong_at: undecided, and its score is known
        ([("correct", 0.75), ("correct", 0.25)], "all", 0.75),
        ([("incorrect", 0.0), ("correct", 0.75)], "all", None),
        ([("disagree", 0.5), ("correct", 0.75)], "all", None),
        ([("incorrect", 0.0), ("correct", 0.75)], "any", 0.75),
        ([("correct", None)], "all", None),
        ([("correct", 1.0), ("incorrect", 0.25)], "v1", 0.25),
    ],
)
def test_the_score_is_that_of_the_verdict_that_counts(scored, policy, expected) -> None:
    verdicts = {f"v{i}": Verdict(Outcome(outcome), score=score) for i, (outcome, score) in enumerate(scored)}
    assert combine(verdicts, policy).score == expected


def test_a_judge_that_changes_a_verdict_takes_its_score_away() -> None:
    first = Verdict(Outcome.incorrect, "5", "why", "policy:all", "1", 0.0, 0.25)
    assert second_opinion(first, Verdict(Outcome.correct), "rescue").score is None
    assert second_opinion(first, Verdict(Outcome.incorrect), "rescue").score == 0.25


def test_an_unknown_policy_is_refused_before_the_run() -> None:
    for policy in ("all", "any", "cascade"):
        check_policy(policy, ["cascade"])
    with pytest.raises(OperatorError, match="did you mean 'cascade'"):
        check_policy("casacde", ["cascade", "exact"])


def test_a_group_gains_verdicts_and_loses_nothing() -> None:
    problem = make_problem("2+2?", answer="4")
    traces = tuple(make_trace(problem.id, text).with_verdict("old", Verdict(Outcome.timeout)) for text in ("4", "5"))
    found = [{"exact": Verdict(Outcome.correct)}, {"exact": Verdict(Outcome.incorrect)}]
    group = verify_group(Group(problem, traces), found, "exact")
    assert [t.verdict.outcome for t in group.traces] == ["correct", "incorrect"]
    assert [set(t.verdicts) for t in group.traces] == [{"old", "exact", FINAL}] * 2
    assert [t.id for t in group.traces] == [t.id for t in traces]
    with pytest.raises(ValueError, match="shorter"):
        verify_group(Group(problem, traces), found[:1], "exact")


@pytest.mark.parametrize(
    ("label", "by_all"),
    [("correct", "correct"), ("incorrect", "disagree"), (None, "disagree")],
)
def test_a_label_of_the_data_is_heard_beside_the_verifiers_and_a_missing_one_is_never_wrong(label, by_all) -> None:
    problem = make_problem("1+1=", answer="2")
    trace = make_trace(problem.id, "\\boxed{2}")
    if label:
        trace = trace.with_verdict("teacher_label", Verdict(Outcome(label)))
    by_cascade = [{"cascade": Verdict(Outcome.correct)}]
    group = verify_group(Group(problem, (trace,)), by_cascade, "all", labels=["teacher_label"])
    assert group.traces[0].verdict.outcome == by_all
    unheard = verify_group(Group(problem, (trace,)), by_cascade, "all")
    assert unheard.traces[0].verdict.outcome == "correct"


def test_a_missing_label_and_a_wrong_trace_make_no_negative() -> None:
    problem = make_problem("1+1=", answer="2")
    trace = make_trace(problem.id, "\\boxed{3}")
    group = verify_group(
        Group(problem, (trace,)), [{"cascade": Verdict(Outcome.incorrect)}], "all", labels=["teacher_label"]
    )
    assert group.traces[0].verdict.outcome == "disagree"


# --- a judge's second opinion -----------------------------------------------------------------------------------

RULES = Verdict(Outcome.incorrect, "7", "different_number", "cascade", "rules 3", 0.5)
JUDGE = Verdict(Outcome.correct, "12", "the same value", "judge", "judge 1 of m", 9.0)


@pytest.mark.parametrize(
    ("first", "second", "rescue", "veto"),
    [
        ("incorrect", "correct", "correct", "disagree"),
        ("disagree", "correct", "correct", "disagree"),
        ("incorrect", "incorrect", "incorrect", "incorrect"),
        ("disagree", "incorrect", "disagree", "disagree"),  # a model alone makes no negative
        ("incorrect", "ungradable", "incorrect", "incorrect"),
        ("disagree", "ungradable", "disagree", "disagree"),
        ("incorrect", "timeout", "incorrect", "incorrect"),
        ("correct", "incorrect", "correct", "correct"),
        ("timeout", "correct", "correct", "timeout"),  # a veto takes back an "incorrect", nothing else
    ],
)
def test_what_each_policy_makes_of_two_verdicts(first: str, second: str, rescue: str, veto: str) -> None:
    one, two = Verdict(Outcome(first), "7", "why"), Verdict(Outcome(second))
    assert second_opinion(one, two, "rescue").outcome == rescue
    assert second_opinion(one, two, "veto").outcome == veto


@pytest.mark.parametrize(
    ("policy", "outcome", "reason"),
    [("rescue", "correct", "rescued: different_number"), ("veto", "disagree", "vetoed: different_number")],
)
def test_a_verdict_that_the_judge_overturns_keeps_the_answer_and_the_time_of_the_rules(
    policy: str, outcome: str, reason: str
) -> None:
    assert second_opinion(RULES, JUDGE, policy) == Verdict(
        Outcome(outcome), "7", reason, f"cascade, judge:{policy}", "rules 3, judge 1 of m", 0.5
    )
    of_no_version = dataclasses.replace(RULES, verifier_version="")
    assert second_opinion(of_no_version, JUDGE, policy).verifier_version == "judge 1 of m"


@pytest.mark.parametrize("policy", ["rescue", "veto"])
def test_a_verdict_that_the_judge_leaves_says_only_that_it_was_heard(policy: str) -> None:
    same = dataclasses.replace(RULES, verifier=f"cascade, judge:{policy}")
    assert second_opinion(RULES, dataclasses.replace(JUDGE, outcome=Outcome.incorrect), policy) == same


# --- agree --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcomes", "agreed"),
    [
        (("correct", "correct"), "correct"),
        (("incorrect", "incorrect"), "incorrect"),
        (("correct", "incorrect"), "disagree"),
        (("ungradable", "correct"), "ungradable"),  # a label alone makes nothing right
        (("correct", "no_answer"), "no_answer"),
        (("incorrect", "timeout"), "timeout"),
        (("correct", "incorrect", "timeout"), "disagree"),
    ],
)
def test_agree_takes_what_nobody_contradicts(outcomes: tuple[str, ...], agreed: str) -> None:
    assert joined("agree", *outcomes) == agreed


def test_a_label_that_a_row_lacks_is_silent_under_agree() -> None:
    for outcome in (Outcome.correct, Outcome.incorrect, Outcome.no_answer):
        assert combine({"cascade": Verdict(outcome), "teacher_label": MISSING}, "agree").outcome == outcome
    assert combine({"teacher_label": MISSING}, "agree").outcome == Outcome.ungradable


@pytest.mark.parametrize(
    ("written", "policy", "heard"),
    [
        (None, "agree", ["a", "b"]),
        (None, "cascade", []),
        (None, "all", []),
        ([], "agree", []),
        (["b"], "agree", ["b"]),
        (["b"], "all", ["b"]),
    ],
)
def test_which_labels_count(written, policy: str, heard: list[str]) -> None:
    assert counted_labels(written, policy, ["a", "b"]) == heard


def test_labels_are_told_from_verdicts() -> None:
    problem = make_problem("1+1=", answer="2")
    trace = make_trace(problem.id, "2").with_verdict(
        "teacher_label", Verdict(Outcome.incorrect, verifier="teacher_label")
    )
    trace = trace.with_verdict("cascade", Verdict(Outcome.correct, verifier="cascade", verifier_version="rules 3"))
    trace = trace.with_verdict(FINAL, Verdict(Outcome.correct, verifier="policy:agree"))
    assert labels_of(trace) == {"teacher_label": Outcome.incorrect}
