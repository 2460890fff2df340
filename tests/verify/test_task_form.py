"""Equal in value, but not in the form that was asked for: undecided."""

import pytest

from redistill.records import Outcome, make_problem, make_trace
from redistill.verify import cascade
from redistill.verify.task_form import form_missed, rounded_as_asked


@pytest.mark.parametrize(
    ("statement", "gold", "answer", "missed"),
    [
        ("Simplify the fraction $10/14$.", "5/7", "10/14", "repeats_question"),
        ("Compute 3*(4+5).", "27", "3*(4+5)", "repeats_question"),
        ("Expand $(y-3)^2$.", "y^2-6y+9", "(y - 3)^2", "repeats_question"),
        ("Convert 30% to a decimal.", "0.3", "30%", "repeats_question"),
        ("Write 20/28 in lowest terms.", "5/7", "10/14", "not_reduced"),
        ("Simplify $\\sqrt{72}$.", "6\\sqrt{2}", "3\\sqrt{8}", "not_reduced"),
        ("Simplify the product of y-3 and y-3.", "y^2-6y+9", "(y-3)(y-3)", "not_simplified"),
        ("Expand the square.", "y^2-6y+9", "y(y-6)+9", "not_expanded"),
        ("Expand the square.", "y^2-6y+9", "y^2-3y-3y+9", "not_simplified"),
        ("Simplify 3*(4+5).", "27", "3*9", "not_evaluated"),
        ("Factor $y^2-9$.", "(y-3)(y+3)", "-9+y^2", "not_factored"),
        ("Factor completely.", "(y-3)(y+3)(y+1)", "(y^2-9)(y+1)", "not_factored"),
        ("Give the prime factorization of 60.", "2 × 2 × 3 × 5", "4 × 15", "not_factored"),
        ("Rationalize the denominator.", "\\frac{\\sqrt{3}}{3}", "\\frac{1}{\\sqrt{3}}", "not_rationalized"),
        ("Write it as a mixed number.", "3\\frac{1}{2}", "7/2", "not_mixed"),
        ("Express it as a common fraction.", "\\frac{2}{5}", "0.4", "not_a_fraction"),
        ("Express it as a decimal.", "0.4", "2/5", "not_decimal"),
        ("Express it as a percent.", "40\\%", "0.4", "not_percent"),
        ("Write it in scientific notation.", "4 \\times 10^5", "400000", "not_scientific"),
        ("Sort these words: pear, fig, apple", "apple, fig, pear", "fig, apple, pear", "other_order"),
    ],
)
def test_what_misses_the_form(statement, gold, answer, missed):
    assert form_missed(statement, gold, answer) == missed


@pytest.mark.parametrize(
    ("statement", "gold", "answer"),
    [
        ("What is 1/2 + 1/4?", "3/4", "6/8"),  # no form was asked for
        ("Simplify 10/14.", "5/7", "\\dfrac{5}{7}"),
        ("Expand $(y-3)^2$.", "y^2-6y+9", "9 - 6y + y^2"),
        ("Factor $y^2-9$.", "(y-3)(y+3)", "(y+3)(y-3)"),
        ("Factor $y^2-6y+9$.", "(y-3)^2", "(y-3)(y-3)"),
        ("Which is larger, 1/2 or 2/3?", "2/3", "\\frac{2}{3}"),
        ("Which is larger, 1/2 or 2/3?", "\\frac{2}{3}", "2/3"),
        ("Simplify the integral.", "cos(5*x + 3)**2 + C", "C + cos(3 + 5*x)**2"),
        ("Simplify.", "6/4", "6/4"),  # the gold answer does not keep the form either
        ("Find all roots.", "1, 2", "2, 1"),
        ("Which is largest: 3.9e+08, 1.5e+08?", "390000000", "3.9e+08"),  # chosen, not left unevaluated
        ("A 20 percent discount is given.", "20", "20%"),
        ("Express it as a common fraction.", "\\frac{2}{5}", "\\frac25"),
    ],
)
def test_what_keeps_it_or_was_asked_for_nothing(statement, gold, answer):
    assert form_missed(statement, gold, answer) is None


@pytest.mark.parametrize(
    ("answer", "outcome"), [("10/14", "disagree"), ("5/7", "correct"), ("15/21", "disagree"), ("5/8", "incorrect")]
)
def test_the_verdict_is_undecided_where_the_form_is_missed(answer, outcome):
    problem = make_problem("Simplify 10/14.", answer="5/7")
    assert cascade(problem, make_trace(problem.id, f"\\boxed{{{answer}}}")).outcome == Outcome(outcome)


@pytest.mark.parametrize(
    ("statement", "gold", "answer", "asked"),
    [
        ("Compute it, correct to 3 significant figures.", "6.768052e-06", "6.77e-6", True),
        ("Compute it, correct to 3 significant figures.", "6.768052e-06", "6.8e-6", False),  # two figures are shown
        ("Compute it, correct to 3 significant figures.", "6.768052e-06", "6.76e-6", False),  # rounds to 6.77
        ("Round to two decimal places.", "3.14159", "3.14", True),
        ("Round to two decimal places.", "3.14159", "3.1", False),
        ("Give it to the nearest tenth.", "2.71828", "2.7", True),
        ("Give it to the nearest tenth.", "2.71828", "2.72", False),
        ("What is pi?", "3.14159", "3.14", False),
    ],
)
def test_an_answer_rounded_as_the_statement_asks_is_right(statement, gold, answer, asked):
    assert rounded_as_asked(statement, gold, answer) == asked
    problem = make_problem(statement, answer=gold)
    verdict = cascade(problem, make_trace(problem.id, f"<answer>{answer}</answer>"))
    assert (verdict.outcome == Outcome.correct) == asked


def test_numbers_quoted_as_text_keep_their_figures():
    problem = make_problem("Remove all numbers above 30. Answer in the same format.", answer="['-20.00', '27.00']")
    told = {
        answer: cascade(problem, make_trace(problem.id, f"<answer>{answer}</answer>"))
        for answer in ("['-20.00', '27.00']", "[-20.00, 27.00]", "['-20.00', '27']", "['27.00', '-20.00']")
    }
    assert [str(verdict.outcome) for verdict in told.values()] == ["correct", "correct", "disagree", "incorrect"]
    assert told["['-20.00', '27']"].reason == "other_figures"
