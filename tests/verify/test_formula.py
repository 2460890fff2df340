"""The grammar of formulas: all of a text or nothing, and exact values."""

import contextlib
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redistill.verify.formula import read_formula
from redistill.verify.values import CONTEXT, Undefined, evaluate


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2+3*4", 14), ("-2^2", -4), (r"\frac12", Fraction(1, 2)), (r"2\frac{1}{2}", Fraction(5, 2)), ("7!!", 105), ("(3!)!", 720), ("!4", 9),
        (r"\binom{10}{3}", 120), ("C_6^2", 15), ("A_6^2", 30), ("{}_6P_2", 30), (r"\sqrt{16}", 4), (r"\sqrt[3]{-27}", -3), (r"|3-5|", 2),
        (r"\lfloor 3.7 \rfloor", 3), (r"\lceil 3.2 \rceil", 4), (r"\gcd(12, 18)", 6), ("3.2e-4", Fraction(1, 3125)), ("2^6 3^2", 576), ("0^0", 1),
    ],
)  # fmt: skip
def test_closed_formulas_have_exact_values(text: str, value: Fraction | int) -> None:
    formula = read_formula(text)
    assert formula is not None and evaluate(formula.node, {}, [v for v, _ in formula.decimals]) == value


@pytest.mark.parametrize("text", ["3 4", "x2", r"2x + \int f", "hello", "f(x)", "2+", "(2", "5_3", r"\frac{1}{", "1,2", r"2\frac{3}{2}", "", "5!!!", "x^2 = 4", r"\undefined{x}"])  # fmt: skip
def test_what_is_not_read_to_its_end_is_not_read(text: str) -> None:
    assert read_formula(text) is None


@pytest.mark.parametrize("text", ["1/2x", r"\log 5", r"\sin x(x+1)"])
def test_a_notation_with_two_readings_is_not_complete(text: str) -> None:
    formula = read_formula(text)
    assert formula is not None and not formula.complete


@pytest.mark.parametrize("text", ["1/0", r"\ln 0", "9^{9^{9^9}}", "10^{10^{20}}"])
def test_what_has_no_value_is_undefined(text: str) -> None:
    formula = read_formula(text)
    assert formula is not None
    with pytest.raises(Undefined):
        evaluate(formula.node, {}, [])


def test_functions_take_their_arguments_as_readers_do() -> None:
    point = {"x": Fraction(1, 3)}
    for text, expected in ((r"\sin 2x", CONTEXT.sin(CONTEXT.mpf(2) / 3)), (r"\sin^2 x", CONTEXT.sin(CONTEXT.mpf(1) / 3) ** 2),
                           (r"\sin^{-1} x", CONTEXT.asin(CONTEXT.mpf(1) / 3)), (r"\sin 30^\circ", None)):  # fmt: skip
        formula = read_formula(text.replace(r"^\circ", r"\degree"))
        assert formula is not None
        wanted = CONTEXT.mpf("0.5") if expected is None else expected
        assert abs(evaluate(formula.node, point, []) - wanted) < 1e-40


@settings(max_examples=200, deadline=None)
@given(st.integers(-50, 50), st.integers(-50, 50), st.integers(1, 50))
def test_arithmetic_is_pythons(a: int, b: int, c: int) -> None:
    formula = read_formula(f"({a}) \\cdot ({b}) - \\frac{{{a}}}{{{c}}} + ({b})^2")
    assert formula is not None
    assert evaluate(formula.node, {}, []) == a * b - Fraction(a, c) + b**2


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="0123456789.+-*/^_!(){}[]|xyie\\ sincoqrtfa,=", max_size=30))
def test_any_text_is_read_or_not_and_nothing_breaks(text: str) -> None:
    formula = read_formula(text)
    if formula and not formula.symbols and len(text) < 12:
        with contextlib.suppress(Undefined):
            evaluate(formula.node, {}, [v for v, _ in formula.decimals])
