"""Congruences and families of whole multiples are classes."""

import pytest

from redistill.records import Outcome
from redistill.verify.congruences import compare_congruences, read_congruence


@pytest.mark.parametrize(
    ("gold", "answer", "outcome"),
    [
        (r"3 \pmod 7", r"10 \pmod 7", Outcome.correct),
        (r"3 \pmod 7", r"-4 \pmod{7}", Outcome.correct),
        (r"3 \pmod 7", r"4 \pmod 7", Outcome.incorrect),
        (r"3 \pmod 7", r"3 \pmod 5", Outcome.incorrect),
        (r"x \equiv 3 \pmod 7", "x = 7k + 3", Outcome.correct),
        (r"\frac{\pi}{4} + k\pi", r"\frac{5\pi}{4} + n\pi", Outcome.correct),
        (r"\frac{\pi}{4} + k\pi", r"\frac{\pi}{4} + 2k\pi", Outcome.incorrect),
        (r"3 \pmod 7", "3", Outcome.disagree),  # a class and a number
    ],
)
def test_two_classes_are_the_same_or_not(gold, answer, outcome):
    found = compare_congruences(gold, answer)
    assert found is not None and found[0] == outcome, found


def test_other_texts_are_no_classes():
    assert read_congruence("5") is None and read_congruence(r"3 \pmod 0") is None
    assert compare_congruences("3", "10") is None
