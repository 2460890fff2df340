"""The section on difficulty: its figures by hand, from entries as the scorer writes them."""

from types import SimpleNamespace

import pytest

from redistill.records import Group, make_problem
from redistill.report.blocks import Figure, Table
from redistill.report.sections.difficulty import difficulty


def run_of(entries, name="difficulty", cost=None, score=True):
    """What the section reads of a run folder."""
    groups = [
        Group(make_problem(str(i), metadata={f"{name}_tries": entry, "level_tries": 3}), ())
        for i, entry in enumerate(entries)
    ]
    return SimpleNamespace(
        setting=lambda key: [{"name": "difficulty"}] if score else [],
        ledger=lambda stage: SimpleNamespace(tallies={"cost": cost or {}}),
        sample=lambda stream, **limits: groups,
    )


def search(*solved_at, budget=50, tries=None):
    return [
        {"how": "mcts", "solved_at": at, "tries": at or tries or budget, "budget": budget, "children": 3, "first_steps": 3, "undecided": 0}
        for at in solved_at
    ]  # fmt: skip


def test_unsolved_problems_stand_beside_the_floor_of_three_first_steps_and_independent_answers():
    figure, table, cost = difficulty(run_of(search(1, 1, 3, 9, None), cost={"tokens": 1234, "samples": 56}))
    assert isinstance(figure, Figure) and "5 problems" in figure.caption
    assert [value for _, value in table.rows] == ["40.0", "60.0", "20.0", "21.6", "0.0"]  # 2/5, 3/5, 1/5, .6^3, .6^50
    assert "unsolved after 50 tries" in table.rows[2][0] and "pass@3" in table.rows[1][0]
    assert cost.rows == [("samples", "56"), ("tokens", "1,234")]


def test_a_search_that_was_stopped_calls_nothing_unsolved():
    *_, table = difficulty(run_of(search(1, None, tries=5)))  # two bins: not drawn
    assert table.rows[2] == ("not solved after 5 tries", "50.0")


def test_pass_rates_say_how_many_problems_have_something_to_compare():
    rates = [
        {"how": "pass-rate", "right": r, "decided": d, "undecided": 0}
        for r, d in [(8, 8), (4, 8), (0, 8), (1, 7), (0, 0)]
    ]
    _, table = difficulty(run_of(rates))
    assert isinstance(table, Table) and [value for _, value in table.rows] == ["25.0", "50.0", "25.0"]


@pytest.mark.parametrize("run", [run_of([], score=False), run_of([])])
def test_a_run_without_difficulty_has_no_section(run):
    assert difficulty(run) == []
