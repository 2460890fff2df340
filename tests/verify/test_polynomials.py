"""Roots of the polynomials and quotients that an inequality is made of."""

from fractions import Fraction

import pytest

from redistill.verify.formula import read_formula
from redistill.verify.polynomials import real_roots, roots


def found(text: str) -> list[float] | None:
    formula = read_formula(text)
    assert formula is not None
    places = roots(formula)
    return None if places is None else sorted({round(float(place), 9) for place in places})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2x - 6", [3]),
        ("x^2 - 5x + 6", [2, 3]),
        ("x^2 + 1", []),  # no real root
        ("(x - 1)^2 (x + 2)", [-2, 1]),  # a double root is one place
        (r"\frac{x - 1}{x + 3}", [-3, 1]),  # zero at 1, undefined at -3
        (r"\frac{x - 1}{x + 3} - 2", [-7, -3]),  # (-x - 7) / (x + 3)
        ("(x - 1)^5 (x + 2)", [-2, 1]),  # a root of fifty digits five times over would drift into the complex plane
        ("|x - 3| - 2", [1, 3, 5]),  # zero at 1 and 5, the absolute value turns at 3
    ],
)
def test_places_where_the_sign_may_change(text, expected):
    assert found(text) == expected


@pytest.mark.parametrize("text", [r"\ln x", "x^{12} - 1", "2^x - 3", "x + y"])
def test_what_is_no_small_quotient_of_polynomials_in_one_letter_has_none(text):
    assert found(text) is None


def test_a_linear_root_is_exact_and_a_constant_has_none():
    assert real_roots([Fraction(-1), Fraction(3)]) == [Fraction(1, 3)]
    assert real_roots([Fraction(5)]) == [] and real_roots([Fraction(5), Fraction(0)]) == []
