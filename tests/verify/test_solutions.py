"""Inequalities, equations and sets, compared as the sets of numbers that they are."""

import pytest

from redistill.records import Outcome
from redistill.verify.solutions import compare_relations, compare_solutions, read_solutions


@pytest.mark.parametrize(
    ("gold", "answer", "outcome"),
    [
        ("x < 3", "2x < 6", Outcome.correct),
        ("x < 3", r"x \le 3", Outcome.incorrect),  # 3 is in one of them
        ("|x-3| < 2", "(1, 5)", Outcome.correct),
        ("|x-3| < 2", "[1, 5)", Outcome.incorrect),
        (r"x < 1 \text{ or } x > 2", r"(-\infty, 1) \cup (2, \infty)", Outcome.correct),
        (r"x < 1 \text{ or } x > 2", r"1 < x < 2", Outcome.incorrect),
        ("x^2 > 4", r"(-\infty, -2) \cup (2, \infty)", Outcome.correct),
        (r"\frac{1}{x} > 0", "x > 0", Outcome.correct),
        (r"\mathbb{R} \setminus \{0\}", r"(-\infty, 0) \cup (0, \infty)", Outcome.correct),
        (r"\{x \mid x > 2\}", r"(2, \infty)", Outcome.correct),
        ("x^2 - 5x + 6 = 0", "2, 3", Outcome.disagree),  # the question repeated
        ("n > 3", r"n \ge 4", Outcome.disagree),  # one set of whole numbers
        (r"\emptyset", "x > 2", Outcome.incorrect),
    ],
)
def test_two_sets_are_compared_at_their_edges_and_between_them(gold, answer, outcome):
    found = compare_solutions(gold, answer, ignore_case=True)
    assert found is not None and found[0] == outcome, found


def test_what_is_no_set_is_left_to_others():
    assert read_solutions("5") is None and read_solutions("x < \\foo") is None
    assert compare_solutions("(1, 2)", "(1, 3)", ignore_case=True) is None  # pairs are compared part by part


@pytest.mark.parametrize(
    ("gold", "answer", "outcome"),
    [
        ("2x + 5y = 9", "4x + 10y = 18", Outcome.correct),
        ("2x + 5y < 9", "-2x - 5y > -9", Outcome.correct),
        ("2x + 5y < 9", "-2x - 5y < -9", Outcome.incorrect),
        ("x^2 + y^2 = 25", "x^2 + y^2 = 36", Outcome.incorrect),
        ("2x + 5y = 9", "2x + 5z = 9", Outcome.disagree),
        ("8 = 0", "7 = 0", Outcome.disagree),
    ],
)
def test_relations_in_several_letters_are_equal_up_to_a_factor(gold, answer, outcome):
    found = compare_relations(gold, answer, ignore_case=True)
    assert found is not None and found[0] == outcome, found
