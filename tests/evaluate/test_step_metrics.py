"""First errors and the measures of ProcessBench and PRMBench, on cases made by hand."""

import math

import numpy as np
import pytest

from redistill.errors import OperatorError
from redistill.evaluate.steps import (
    coin_floor,
    f1_interval,
    first_error,
    prmbench_scores,
    process_scores,
    report_steps,
)


def test_the_first_step_below_the_threshold_is_the_first_error():
    assert first_error([0.9, 0.8, 0.2, 0.1]) == 2
    assert first_error([0.9, 0.5]) == -1  # one half passes
    assert first_error([]) == -1
    assert first_error([0.7, 0.6], threshold=0.65) == 1


def test_a_score_of_exactly_zero_is_a_score_and_shifts_no_later_one():
    assert first_error([0.9, 0.0, 0.9]) == 1
    assert first_error([0.9, 0.9, 0.0]) == 2


def test_a_step_without_a_score_is_a_sentence():
    with pytest.raises(OperatorError, match="step 1 has no score"):
        first_error([0.9, math.nan])


def test_processbench_by_hand():
    # with an error: 2 found, 0 placed wrongly, 3 missed (said -1); without: one right, one false alarm, one unjudged
    labels = [2, 0, 3, -1, -1, -1]
    found = process_scores(labels, [2, 1, -1, -1, 0, None])
    assert found["error_accuracy"] == pytest.approx(1 / 3) and found["correct_accuracy"] == pytest.approx(1 / 3)
    assert found["f1"] == pytest.approx(1 / 3)
    # 3/4 and 1/2: 2 * .375 / 1.25
    found = process_scores([0, 1, 2, 3, -1, -1], [0, 1, 2, 0, -1, 4])
    assert (found["error_accuracy"], found["correct_accuracy"], found["f1"]) == (0.75, 0.5, pytest.approx(0.6))


def test_claiming_nothing_or_everything_has_no_f1():
    assert process_scores([0, -1], [-1, -1]) == {"error_accuracy": 0.0, "correct_accuracy": 1.0, "f1": 0.0}
    assert process_scores([0, -1], [0, 0]) == {"error_accuracy": 1.0, "correct_accuracy": 0.0, "f1": 0.0}
    assert process_scores([1], [-1])["f1"] != process_scores([1], [-1])["f1"]  # NaN: no trace without an error
    assert process_scores([0, -1], [1, 3])["f1"] == 0.0
    with pytest.raises(OperatorError, match="2 labels and 1 predictions"):
        process_scores([0, 1], [0])


def test_an_unjudged_trace_is_never_a_right_prediction():
    assert process_scores([-1, 0], [None, None]) == {"error_accuracy": 0.0, "correct_accuracy": 0.0, "f1": 0.0}


def test_the_coins_floor_is_what_many_coins_come_to():
    labels, lengths = [0, 1, 3, -1, -1], [2, 4, 4, 3, 5]
    floor = coin_floor(labels, lengths)
    # (1/4 + 1/8 + 1/8) / 3 = 1/6; with 1/2: 2 * (1/12) / (2/3) = 1/4
    assert floor == {"error_accuracy": pytest.approx(1 / 6), "correct_accuracy": 0.5, "f1": pytest.approx(0.25)}
    rng = np.random.default_rng(0)
    drawn = [
        process_scores(labels, [int(rng.integers(n)) if rng.random() < 0.5 else -1 for n in lengths])
        for _ in range(20_000)
    ]
    for name in ("error_accuracy", "correct_accuracy"):
        assert np.mean([one[name] for one in drawn]) == pytest.approx(floor[name], abs=0.01)


def test_a_report_has_subsets_their_mean_and_the_floor():
    labels, predicted, lengths = [0, -1, 1, -1], [0, -1, 0, None], [2, 2, 4, 4]
    report = report_steps(labels, predicted, lengths, subsets=["gsm8k", "gsm8k", "math", "math"])
    assert (report["num_traces"], report["unjudged"], report["with_error"], report["without_error"]) == (4, 1, 2, 2)
    assert report["f1"]["value"] == 0.5 and report["subsets"]["gsm8k"]["f1"]["value"] == 1.0
    assert report["subsets"]["math"]["f1"]["value"] == 0.0 and report["mean_f1"] == 0.5
    assert report["subsets"]["gsm8k"]["coin"]["error_accuracy"] == 0.25
    low, high = report["f1"]["interval95"]
    assert 0 < low < 0.5 < high < 1


def test_the_interval_of_f1_holds_the_true_value_about_as_often_as_it_says():
    rng, held, rounds = np.random.default_rng(1), 0, 300
    truth = 2 * 0.6 * 0.8 / 1.4
    for _ in range(rounds):
        low, high = f1_interval(list(rng.random(60) < 0.6), list(rng.random(40) < 0.8))
        held += low <= truth <= high
    assert 0.90 <= held / rounds <= 0.99  # 95% +- 4 standard errors of .0126
    assert f1_interval([], [1.0]) is None
    assert f1_interval([0.0] * 50, [1.0] * 50)[1] > 0.01  # none found of 50 is not none of all


def test_prmbench_by_hand():
    # steps: right right wrong | wrong right; said: right wrong wrong | right right
    found = prmbench_scores([[2], [0]], [[0.9, 0.4, 0.1], [0.8, 0.5]])
    # right as the positive class: 2 hits, 1 missed, 1 false: 4/6; wrong: 1 hit, 1 missed, 1 false: 2/4
    assert found["f1"] == pytest.approx(2 / 3) and found["negative_f1"] == 0.5
    assert found["prm_score"] == pytest.approx(7 / 12) and found["accuracy"] == 0.6
    assert found["positive_accuracy"] == pytest.approx(2 / 3) and found["negative_accuracy"] == 0.5
    with pytest.raises(OperatorError, match="a wrong step 3 is outside a trace of 3 steps"):
        prmbench_scores([[3]], [[0.1, 0.1, 0.1]])  # a 1-based index that was taken for a 0-based one
