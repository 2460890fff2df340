"""Stretches of time with days, judged by hand."""

import pytest

from redistill.records import Outcome
from redistill.verify.cascade import judge_answer
from redistill.verify.durations import compare_durations, read_duration


@pytest.mark.parametrize(
    ("text", "seconds", "step"),
    [
        ("15 days, 16:28:31", 15 * 86_400 + 16 * 3_600 + 28 * 60 + 31, 1),
        ("1 day 2:05", 93_900, 60),
        ("2 days", 172_800, 86_400),
        ("48:00:00", 172_800, 1),
    ],
)
def test_a_duration_is_read_in_seconds(text, seconds, step):
    assert read_duration(text)[:2] == (seconds, step)


@pytest.mark.parametrize(
    ("gold", "answer", "outcome"),
    [
        ("17 days, 03:43", "17 days 3:43", "correct"),
        ("2 days", "48:00:00", "correct"),
        ("0 days, 09:48:00", "09:48:00", "correct"),
        ("1 day, 0:00:00.250", "1 day, 0:00:00.25", "correct"),
        ("17 days, 03:43", "31 days, 03:43", "incorrect"),
        ("15 days, 16:28:31", "15 days, 16:28:32", "incorrect"),
        ("15 days, 16:28:31", "16:28:31", "incorrect"),
        ("17 days, 03:43", "03:43", "incorrect"),
        ("17 days, 03:43", "17 days, 03:43:55", "disagree"),  # the first may be cut to the minute
        ("1 day, 0:00:00.250", "1 day, 0:00:00.251", "disagree"),
        ("0 days, 03:43", "03:44", "disagree"),  # minutes and seconds, perhaps
    ],
)
def test_durations_are_equal_where_their_seconds_are(gold, answer, outcome):
    assert judge_answer(gold, answer).outcome == outcome


@pytest.mark.parametrize(
    ("gold", "answer"), [("03:43", "04:43"), ("3 days", "4 days"), ("Monday, 3:00", "Monday, 4:00")]
)
def test_what_is_no_duration_is_left_to_others(gold, answer):
    assert compare_durations(gold, answer) is None
    assert judge_answer(gold, gold).outcome is Outcome.correct
