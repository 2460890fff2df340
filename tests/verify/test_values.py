"""The value of a formula: exact where every step is, fifty digits elsewhere, none where there is no number."""

from fractions import Fraction

import pytest

from redistill.verify.evaluation import constant_ratio, value_of
from redistill.verify.formula import read_formula
from redistill.verify.values import CONTEXT, Undefined, evaluate


def value(text: str, **letters: int):
    formula = read_formula(text)
    assert formula is not None, text
    return evaluate(formula.node, {k: Fraction(v) for k, v in letters.items()}, [v for v, _ in formula.decimals])


@pytest.mark.parametrize(
    ("text", "letters", "expected"),
    [
        (r"\frac{x^2}{3}", {"x": 2}, Fraction(4, 3)),
        (r"2^{-3}", {}, Fraction(1, 8)),
        (r"7!!", {}, Fraction(105)),  # 7 * 5 * 3
        (r"\binom{6}{2}", {}, Fraction(15)),
        (r"\lfloor -3.5 \rfloor", {}, Fraction(-4)),
        (r"|x - 3|", {"x": 1}, Fraction(2)),
        (r"\sqrt{49}", {}, 7),
        (r"\log_2 8", {}, 3),
    ],
)
def test_a_value_is_found_by_hand_and_by_evaluation(text, letters, expected):
    assert abs(value(text, **letters) - expected) < 1e-30


def test_what_is_not_exact_has_fifty_digits():
    root = value(r"\sqrt{2}")
    assert not isinstance(root, Fraction) and abs(root * root - 2) < CONTEXT.mpf(10) ** -45


@pytest.mark.parametrize("text", [r"\frac{1}{x}", r"\ln x"])
def test_there_is_no_number_at_zero(text):
    with pytest.raises(Undefined):
        value(text, x=0)


def test_a_formula_with_letters_has_no_value_and_a_ratio_is_one_number_or_none():
    x, double, square = (read_formula(text) for text in ("x + 1", "2x + 2", "x^2"))
    assert value_of(x) is None and value_of(read_formula("2 + 3")) == 5
    assert constant_ratio(double, x) == 2 and constant_ratio(square, x) is None


def test_a_ratio_needs_three_points_at_which_both_formulas_have_a_value():
    """Poles at four of the six points that are tried leave two, at which other formulas may agree by chance."""
    three = "(3x-7)(7x+13)(11x-29)"
    for poles, expected in ((three, 2), (f"{three}(17x-3)", None)):
        twice, once = (read_formula(rf"\frac{{{above}}}{{{poles}}}") for above in (2, 1))
        assert constant_ratio(twice, once) == expected
