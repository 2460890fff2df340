"""The gate: `incorrect` is made in one place, from two complete readings."""

import ast
from pathlib import Path

import pytest

import redistill.verify
from redistill.records import Outcome
from redistill.verify.judging import UNREAD, Reading, different

WHOLE = Reading("number", complete=True)


def test_two_complete_readings_that_differ_are_incorrect() -> None:
    assert different(WHOLE, WHOLE, "different_number") == (Outcome.incorrect, "different_number")


@pytest.mark.parametrize(("gold", "answer"), [(UNREAD, WHOLE), (WHOLE, UNREAD), (UNREAD, UNREAD)])
def test_a_side_that_was_not_read_to_its_end_leaves_the_verdict_open(gold: Reading, answer: Reading) -> None:
    assert different(gold, answer, "different_number") == (Outcome.disagree, "not_read_completely")


def test_no_rule_makes_incorrect_on_its_own() -> None:
    """Every `(Outcome.incorrect, reason)` of the comparing modules stands in `different`."""
    folder = Path(redistill.verify.__file__).parent
    makers = []
    for path in sorted(folder.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Tuple) and node.elts and ast.unparse(node.elts[0]) == "Outcome.incorrect":
                makers.append((path.name, node.lineno))
    assert [name for name, _ in makers] == ["judging.py"]
