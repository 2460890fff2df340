"""Grids of pictures are compared row by row."""

import pytest

from redistill.verify import judge_answer
from redistill.verify.gold import readable
from redistill.verify.number_rows import symbol_rows

GRID = "✅❌❌\n❌✅❌"


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (GRID, "correct"),
        ("✅ ❌ ❌\n❌ ✅ ❌\n", "correct"),
        ("✅️❌❌\n❌✅️❌", "correct"),  # with the mark that asks for colour
        ("✅❌❌\n❌❌✅", "incorrect"),
        ("✅❌❌\n❌✅❌\n❌❌❌", "incorrect"),
        ("✅❌❌\n❌✅", "incorrect"),  # a cell too few
        ("✅❌❌\n❌❔❌", "disagree"),  # a sign of its own
    ],
)
def test_two_grids(answer, outcome):
    assert str(judge_answer(GRID, answer).outcome) == outcome


def test_what_is_a_grid():
    assert symbol_rows(GRID) == ["✅❌❌", "❌✅❌"] and readable(GRID)
    assert symbol_rows("✅❌❌") is None and symbol_rows("甲乙\n乙甲") is None and symbol_rows("12\n21") is None
    assert symbol_rows("✅❌❌\n❌✅") is None and symbol_rows("✅❌❌\n❌✅", even=False)
