"""Answers that the text supposes, takes back or makes under a condition; made from templates, every combination of them."""

import pytest

from redistill.records import Outcome, make_problem, make_trace
from redistill.verify.answers import extract, find_answer
from redistill.verify.cascade import cascade
from redistill.verify.retraction import (
    conclusions,
    goes_on,
    is_conditional,
    is_hypothetical,
    is_supposed,
    is_taken_back,
)

VALUES = [("42", "17"), (r"\frac{3}{4}", r"\frac{1}{4}"), ("(1, 2)", "(2, 1)"), ("B", "C"), ("12 cm", "15 cm")]
FIRST = [  # @ is the value that does not count, % below the one that does
    "First I got \\boxed{@}. Wait, that is wrong. ",
    "So \\boxed{@}.\n\nHmm, that doesn't seem right. Let me recompute.\n\n",
    "One may think the answer is @, but no. ",
    "It is tempting to answer \\boxed{@}, which ignores the second case. ",
    "Answer: @ (first guess, wrong)\n\n",
    "**Draft answer:** @\n\n",
    "The answer to part (a) is @. For part (b) we go on. ",
    "~~The answer is @.~~ ",
    "The answer is @. Oops, I made an arithmetic error. ",
    "My friend claims that the answer is @. ",
    "If it were \\boxed{@}, the sum would be odd. ",
]
LAST = ["\\boxed{%}", "The answer is %.", "\n**Answer:** %", "\n## Answer\n\n%", "\n<answer>%</answer>", "\n#### %"]
UNREAD = ["It comes to % in the end.", "Everything shows %."]
AFTER = [
    " For n = 3, the answer is @.",
    " If instead we count order, the answer is @.",
    " Without the restriction, the answer is @.",
    "\n\nPart (b): the answer is @.",
    " (With the other reading of the question, \\boxed{@}.)",
    " If order mattered, it would be \\boxed{@}.",
    " One might think the answer is @, which ignores the order.",
    "\n\nPractice: try it with 7.\nAnswer: @",
]


def outcome(gold: str, completion: str) -> Outcome:
    problem = make_problem("Find it.", answer=gold)
    return cascade(problem, make_trace(problem.id, completion)).outcome


@pytest.mark.parametrize("first", FIRST)
def test_an_answer_that_is_taken_back_or_supposed_never_counts(first):
    for right, wrong in VALUES:
        for last in LAST:
            text = (first + last).replace("@", wrong).replace("%", right)
            assert outcome(right, text) is Outcome.correct, text
            assert outcome(wrong, text) in (Outcome.incorrect, Outcome.disagree), text
        for last in UNREAD:  # nothing readable is left: nobody can tell
            text = (first + last).replace("@", wrong).replace("%", right)
            assert outcome(right, text) not in (Outcome.correct, Outcome.incorrect), text
            assert outcome(wrong, text) is not Outcome.correct, text


@pytest.mark.parametrize("after", AFTER)
def test_an_answer_under_a_condition_never_wins_over_one_without(after):
    for right, wrong in VALUES:
        for last in LAST[:4]:
            text = (last + after).replace("@", wrong).replace("%", right)
            assert outcome(right, text) is not Outcome.incorrect, text
            assert outcome(wrong, text) is not Outcome.correct, text


@pytest.mark.parametrize(
    "last", ["Hence % is our final answer.", "The result is %.", "=> %", "% is the answer.", "Answer - %"]
)
def test_a_conclusion_in_other_words_makes_an_earlier_answer_undecided(last):
    for right, wrong in VALUES[:3]:
        text = ("For n = 3 the answer is @. For n = 4 we repeat this.\n" + last).replace("@", wrong).replace("%", right)
        assert outcome(right, text) is Outcome.disagree, text
        assert outcome(wrong, text) is Outcome.disagree, text


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("If we add them, we get \\boxed{5}.", "5"),
        ("Adding them up, the answer is 5.", "5"),
        ("Since 3 < 5, the answer is 5.", "5"),
        ("\\boxed{5}. Wait, let me check: 2 + 3 = 5. Yes.", "5"),
        ("The answer is 5, which is not even.", "5"),
        ("The answer is No. No other case is left.", "No"),
        ("For x = 2 the answer is 5.", "5"),
        ("The answer to question 3 is 5.", "5"),
        ("The answer is 5 (not 6).", "5 (not 6)"),
        ("About ~~ 3 or so ~~ \\boxed{5}", "5"),
        ("The answer is ... 5", "5"),
        ("Let me restate.\n\nQuestion: what is 2+3?\n\nAnswer: 5", "5"),
        ("The answer turns out to be 5.", "5"),
        ("#### 5\n\n#####", "5"),
        ("(The answer is 5 cm.)", "5 cm"),
        ("2 * 13 = <<2*13=26>>26\nA: 26", "26"),
    ],
)
def test_what_only_looks_like_a_retraction_still_counts(text, answer):
    assert extract(text) == answer


def test_what_is_taken_back_and_not_said_again_has_a_reason():
    found = find_answer("So the answer is 5. Wait, that is wrong. I give up")
    assert (found.answer, found.reason) == (None, "retracted_answer")


def test_a_supposition_before_an_answer_that_is_taken_back_does_not_count_either():
    text = "If order mattered, it would be \\boxed{17}. The answer is 42. Wait, that is wrong."
    assert find_answer(text).reason == "retracted_answer"


def test_the_answer_must_be_is_right_or_undecided():
    assert outcome("42", "The answer must be 42.") is Outcome.correct
    assert outcome("421", "The answer must be 3 digits.") is Outcome.ungradable


def test_a_question_behind_a_conclusion_in_other_words_is_another_one():
    assert extract("The solution is 42.\n\nQuestion: What is 2+2?\nAnswer: 4") is None


def test_an_option_is_no_last_line():
    assert extract("The options are\nB: 25\nA: 26") is None and extract("A: 26\nWe go on") is None


def test_the_parts():
    assert is_supposed("One may think the answer is", 27) and not is_supposed("We may see: the answer is", 25)
    assert is_taken_back("7. Wait, that is wrong.", 1) and not is_taken_back("7. Wait, is it? Yes.", 1)
    assert is_conditional("For n = 3, the answer is 17.", 11) and not is_conditional(
        "So, in total, the answer is 17.", 14
    )
    assert is_hypothetical("If order mattered, it would be ", 31) and not is_hypothetical("Adding, we get ", 15)
    assert goes_on(" However, this counts twice", 0) and not goes_on(" That is all", 0)
    assert conclusions("The result is 42. So 41 is not the answer, and 42 is the answer.") == [
        ("42", False),
        ("42", True),
    ]
