"""Figures as they are printed: one unit, no impossible interval, no p of 0; and the smallest difference a dev set can show."""

import math
import re
from pathlib import Path

import numpy as np
import pytest

import redistill
from redistill.text.figures import NO_INTERVAL, between, p_value, percent, points, power_words, smallest_difference
from redistill.text.unread_answers import shares_words, what_to_change


def test_shares_are_percent_and_differences_points_with_a_sign():
    assert percent(0.8412) == "84.1" and percent(0.0235, 2) == "2.35" and percent(None) == percent(math.nan) == "-"
    assert points(-0.036) == "-3.6" and points(0.2) == "+20.0" and points(None) == "-"
    assert between([0.3, 0.43]) == "30.0 to 43.0" and between([-0.02, 0.05], signed=True) == "-2.0 to +5.0"


def test_what_is_not_known_is_said_and_never_nan():
    assert between(None) == between([math.nan, math.nan]) == NO_INTERVAL
    assert p_value(0.0) == p_value(4e-7) == "p < 0.001" and p_value(0.0341) == "p = 0.034"


def test_no_printed_figure_can_be_nan():
    """An interval that cannot be given is None and has words; a `float("nan")` put in its place is printed."""
    found = [
        f"{path.name}:{number}"
        for path in Path(redistill.__file__).parent.rglob("*.py")
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if re.search(r'or \(float\("nan"\)', line)
    ]
    assert found == []


def test_the_smallest_difference_by_hand_and_by_simulation():
    # (1.96 + .8416) x .4031 / sqrt(295): s^2 = .1 + .25 / 4
    assert smallest_difference(295, n=4) == pytest.approx(2.8016 * math.sqrt(0.1625) / math.sqrt(295), abs=1e-4)
    assert (
        smallest_difference(4, n=4) > 0.5 and smallest_difference(0, n=4) is None and smallest_difference(1, n=1) == 1
    )
    # a true difference of that size is found in 80% of sets (normal differences, 2,000 sets: standard error .9 points)
    rng, spread, problems = np.random.default_rng(0), 0.35, 120
    size = smallest_difference(problems, n=1, spread=spread)
    drawn = rng.normal(size, spread, (2000, problems))
    found = np.abs(drawn.mean(1)) > 1.96 * drawn.std(1, ddof=1) / math.sqrt(problems)
    assert found.mean() == pytest.approx(0.8, abs=0.03)
    assert power_words(4, n=4).startswith("4 problems with n = 4 can show a difference of 56 points or more")


def test_answers_that_nobody_could_read_are_named_with_what_to_change():
    scores = {
        "benchmark": "dev",
        "settings": {"max_new_tokens": 64, "template": "plain", "chat": False},
        "truncation_rate": 1.0,
        "no_answer_rate": 0.0,
    }
    assert shares_words(scores) == "cut at 64 tokens 100.0%, ended without an answer 0.0%, refused 0 problems"
    (cut,) = what_to_change(scores)
    assert "100.0% of the answers were cut at 64 tokens" in cut and "--max-new-tokens" in cut
    (silent,) = what_to_change({**scores, "truncation_rate": 0.0, "no_answer_rate": 0.4})
    assert "40.0%" in silent and "template plain, no chat" in silent and "--chat" in silent
    (refused,) = what_to_change({**scores, "truncation_rate": 0.0, "left_out": ["p1"]})
    assert "dev: 1 problem refused by the server" in refused
    assert what_to_change({**scores, "truncation_rate": 0.05}) == []


def test_advice_that_several_students_share_is_given_once_with_their_names():
    scores = {"benchmark": "dev", "settings": {"max_new_tokens": 64}, "truncation_rate": 1.0, "model": "base"}
    sft, redi = scores | {"model": "sft", "truncation_rate": 0.25}, scores | {"model": "redi", "truncation_rate": 0.0}
    longer = scores | {"benchmark": "aime24", "settings": {"max_new_tokens": 128}}
    first, second = what_to_change(scores, sft, redi, longer)
    assert first.startswith("dev: 100.0% (base), 25.0% (sft) of the answers were cut at 64 tokens")
    assert second.startswith("aime24: 100.0% (base) of the answers were cut at 128 tokens")
