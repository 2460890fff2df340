"""Quotients with remainders, and letters of options against small letters and against `or`."""

import pytest

from redistill.verify.cascade import judge_answer


@pytest.mark.parametrize(
    ("gold", "answer", "outcome"),
    [
        ("3 R 2", "3 remainder 2", "correct"),
        (r"3\text{ R }2", "3 r 2", "correct"),
        ("5 remainder 2", "$5$ R $2$", "correct"),
        ("quotient 3, remainder 2", "3 R2", "correct"),
        ("3 R 2", "3 with a remainder of 2", "correct"),
        ("3 R 2", "2 R 3", "incorrect"),  # a library multiplies 3, R and 2
        ("3 R 2", "3 R 1", "incorrect"),
        ("3 R 2", "3", "disagree"),
        ("3.4", "3 R 2", "disagree"),
        ("4r2", "8r", "correct"),  # a product of symbols
        ("A and B", "A or B", "disagree"),
        ("A, B", "A and B", "correct"),
        ("a", "(A) 5", "disagree"),  # the option, or a symbol
        ("b", "B. 6", "disagree"),
        ("5", "(A) 5", "correct"),
    ],
)
def test_pairs(gold, answer, outcome):
    assert judge_answer(gold, answer).outcome == outcome
