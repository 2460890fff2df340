"""Which answers count as one in a vote."""

import itertools

from redistill.verify.equal_answers import answer_groups


def test_numbers_are_one_answer_however_they_are_written():
    assert answer_groups(["1/2", "7", "0.5", "\\frac{1}{2}"]) == [0, 1, 0, 0]
    assert answer_groups(["1,000", "1000", "10^3", "100"]) == [0, 0, 0, 1]


def test_a_unit_may_be_left_out_and_may_be_converted():
    assert answer_groups(["18", "18 dollars", "$18", "81"]) == [0, 0, 0, 1]
    assert answer_groups(["5 km", "5000 meters", "5 meters"]) == [0, 0, 1]


def test_white_space_makes_no_other_answer():
    assert answer_groups(["(1, 2)", "(1,2)", "(2, 1)"]) == [0, 0, 1]


def test_a_formula_in_another_form_is_another_answer():
    assert answer_groups(["x(x+1)", "x^2+x"]) == [0, 1]


def test_the_order_of_the_answers_changes_no_group():
    answers = ["8/3", "2.6667", "2.667", "3", "three", "2"]
    groups = {frozenset(a for a, g in zip(answers, answer_groups(answers)) if g == number) for number in range(3)}
    assert groups == {frozenset(["8/3", "2.6667", "2.667"]), frozenset(["3", "three"]), frozenset(["2"])}
    for mixed in itertools.permutations(answers):
        numbers = answer_groups(mixed)
        assert {frozenset(a for a, g in zip(mixed, numbers) if g == n) for n in set(numbers)} == groups


def test_no_answer_is_no_group():
    assert answer_groups([]) == []
