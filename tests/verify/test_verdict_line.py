"""A written judgement is right or wrong by its last line alone; what does not end in one is undecided, never wrong."""

import pytest

from redistill.records import DECIDED, Group, Outcome, make_problem, make_trace
from redistill.text.judgements import VERDICT_LINE
from redistill.verify import GOLD, VERIFIERS, VerifierPool, check_gold
from redistill.verify.stage import check_golds, judged

STEP = make_problem("Question:\n...", answer="No")


def verdict(text: str, *, gold: str | None = "No", finish: str | None = "stop", **options: str):
    problem = make_problem("Question:\n...", answer=gold)
    return VERIFIERS["verdict-line"](problem, make_trace(problem.id, text, finish_reason=finish), **options)


def test_right_where_it_says_what_the_label_says() -> None:
    found = verdict(f"6 is not 5.\n{VERDICT_LINE} No")
    assert (found.outcome, found.extracted, found.reason) == (Outcome.correct, "No", "equal_verdict")
    found = verdict(f"All fine.\n{VERDICT_LINE} Yes.")
    assert (found.outcome, found.extracted, found.reason) == (Outcome.incorrect, "Yes", "other_verdict")


@pytest.mark.parametrize(
    ("text", "finish", "outcome", "reason"),
    [
        ("6 is not 5. No", "stop", Outcome.no_answer, "no_verdict_line"),
        ("6 is not", "length", Outcome.truncated, "no_verdict_line"),
        (f"{VERDICT_LINE} No. Or is it?", "stop", Outcome.no_answer, "text_after_verdict"),
        (f"{VERDICT_LINE} Perhaps", "stop", Outcome.no_answer, "no_verdict_word"),
        (f"{VERDICT_LINE} No\n{VERDICT_LINE} No", "stop", Outcome.disagree, "several_verdict_lines"),
        (f"{VERDICT_LINE} Yes\n{VERDICT_LINE} No", "stop", Outcome.disagree, "both_verdicts"),
    ],
)
def test_everything_else_is_undecided(text: str, finish: str, outcome: Outcome, reason: str) -> None:
    found = verdict(text, finish=finish)
    assert (found.outcome, found.extracted, found.reason) == (outcome, None, reason)
    assert found.outcome not in DECIDED


def test_a_gold_answer_that_is_no_verdict_grades_nothing() -> None:
    assert verdict(f"{VERDICT_LINE} No", gold="42").reason == "gold_is_no_verdict"
    assert verdict(f"{VERDICT_LINE} No", gold=None).outcome is Outcome.ungradable


def test_a_critic_with_another_closing_line_is_judged_by_its_own() -> None:
    assert verdict("Right? No", line="Right?").outcome is Outcome.correct


def test_yes_and_no_pass_the_check_of_gold_answers() -> None:
    group = Group(STEP, (make_trace(STEP.id, f"{VERDICT_LINE} No"),))
    table = {"verdict-line": VERIFIERS["verdict-line"], GOLD: check_gold}
    with VerifierPool(table, workers=1, timeout_seconds=5, memory_mb=2048) as pool:
        golds = check_golds(pool, [group])
        (found,) = judged(pool, [group], "verdict-line", golds=golds)
    assert found.traces[0].verdict.outcome is Outcome.correct
