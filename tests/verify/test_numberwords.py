"""English number words."""

from fractions import Fraction

import pytest

from redistill.verify.numberwords import read_number_words


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("zero", 0), ("seven", 7), ("twenty-one", 21), ("forty five", 45), ("one hundred", 100), ("a hundred", 100), ("one hundred and five", 105),
        ("two thousand three hundred", 2300), ("two million three hundred thousand", 2_300_000), ("half", Fraction(1, 2)),
        ("two thirds", Fraction(2, 3)), ("three quarters", Fraction(3, 4)), ("one and a half", Fraction(3, 2)), ("minus five", -5),
    ],
)  # fmt: skip
def test_number_words_are_read(text: str, value: Fraction | int) -> None:
    assert read_number_words(text) == value


@pytest.mark.parametrize("text", ["a", "a few", "apples", "twenty twenty", "five hundred thousand apples", "hundred hundred", "and", "one third thirds", "twenty-one!"])  # fmt: skip
def test_other_words_are_not(text: str) -> None:
    assert read_number_words(text) is None
