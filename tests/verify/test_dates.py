"""Dates are compared as dates, never as subtractions."""

import pytest

from redistill.verify import judge_answer
from redistill.verify.dates import Date, is_one_name, read_dates


@pytest.mark.parametrize(
    ("text", "dates"),
    [
        ("2024-01-05", {Date(2024, 1, 5)}),
        ("January 5, 2024", {Date(2024, 1, 5)}),
        ("5th of Jan 2024", {Date(2024, 1, 5)}),
        ("March 2021", {Date(2021, 3, 0)}),
        ("4 July", {Date(0, 7, 4)}),
        ("13/05/2021", {Date(2021, 5, 13)}),  # no month is the thirteenth
        ("06/05/2021", {Date(2021, 6, 5), Date(2021, 5, 6)}),
        ("05/05/2021", {Date(2021, 5, 5)}),
        ("2024-13-05", set()),
        ("May", set()),
        ("3/4", set()),
    ],
)
def test_a_text_is_read_as_the_dates_that_it_may_be(text, dates):
    assert set(read_dates(text)) == dates


@pytest.mark.parametrize(
    ("gold", "answer", "outcome"),
    [
        ("2024-01-05", "January 5, 2024", "correct"),
        ("2024-01-05", "5 Jan 2024", "correct"),
        ("2024-01-05", "2024-01-06", "incorrect"),
        ("June 5, 2021", "June 5", "disagree"),
        ("June 5", "June 6", "incorrect"),
        ("06/05/2021", "05/06/2021", "disagree"),
        ("06/05/2021", "07/05/2021", "incorrect"),
        ("2024-01-05", "2018", "disagree"),  # 2024 - 1 - 5
        ("May 2020", "June 2020", "incorrect"),
    ],
)
def test_two_dates(gold, answer, outcome):
    assert str(judge_answer(gold, answer).outcome) == outcome


def test_short_names_of_days_and_months():
    assert is_one_name("fri", "friday") and is_one_name("september", "sept") and not is_one_name("fri", "frisky")
    assert str(judge_answer("Friday", "Fri").outcome) not in ("incorrect", "correct")
