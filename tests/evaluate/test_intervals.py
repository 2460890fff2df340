"""Intervals: published examples, independent computations, what they must never do, and how often they hold the true value."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redistill.errors import OperatorError
from redistill.evaluate.intervals import difference_interval, mean_interval, t_interval

Z = 1.959964
ROOT = Path(__file__).parents[2]


def wilson(mean, size):
    """Where (mean - m)^2 = z^2 m (1 - m) / size, by the roots of the quadratic: an independent computation."""
    return sorted(np.roots([1 + Z**2 / size, -(2 * mean + Z**2 / size), mean**2]))


def test_right_or_wrong_problems_get_wilsons_interval():
    # Newcombe 1998, Statistics in Medicine 17, table I, method 3: 81/263, 15/148, 0/20, 1/29
    for hits, problems, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611)):  # fmt: skip
        found = mean_interval([1.0] * hits + [0.0] * (problems - hits))
        assert found == pytest.approx([low, high], abs=6e-5)


def test_a_single_success_has_the_lower_limit_of_a_poisson_count():
    # the mean of which 5% of the counts are 1 or more: -ln .95 in 40 problems; the upper limit is Wilson's
    assert mean_interval([1.0] + [0.0] * 39) == pytest.approx([-math.log(0.95) / 40, wilson(1 / 40, 40)[1]], abs=1e-6)
    assert mean_interval([0.0] + [1.0] * 39)[1] == pytest.approx(1 + math.log(0.95) / 40)
    # two: Wilson's again
    assert mean_interval([1.0] * 2 + [0.0] * 38)[0] == pytest.approx(wilson(2 / 40, 40)[0], abs=1e-6)


def test_no_solved_problem_is_not_an_empty_interval():
    # all wrong: 0 to z^2 / (P + z^2)
    assert mean_interval([0.0] * 295) == pytest.approx([0, Z**2 / (295 + Z**2)])
    assert mean_interval([1.0] * 295) == pytest.approx([1 - Z**2 / (295 + Z**2), 1])
    assert mean_interval([0.0] * 295)[0] == 0 and mean_interval([1.0] * 295)[1] == 1


def test_shares_of_samples_are_worth_the_trials_that_their_spread_says():
    # 100 problems, half of them at 1/4, half at 3/4: variance 1/16 (ddof 1: times 100/99) where all or nothing would have 1/4,
    # so a problem is worth 3.96 trials. Unseen problems, 1.25 / 4 of them at either end against 25, pull that towards 1.
    worth = (25 * 3.96 + 1.25 / 4) / (25 + 1.25 / 4)
    assert mean_interval([0.25, 0.75] * 50) == pytest.approx(wilson(0.5, 100 * worth), abs=1e-6)


def test_a_limit_allows_for_unseen_problems_at_the_end_that_it_points_to():
    # 30 problems, three at 1/4: mean 1/40; spread 30/29 (3/16 - 30/1600), all or nothing 3/4 - 30/1600
    mean, most = 1 / 40, 3 / 4 - 30 / 1600
    inverse = most / (30 / 29 * (3 / 16 - 30 / 1600))
    sizes = [30 * (most * inverse + 1.25 * far**2) / (most + 1.25 * far**2) for far in (mean, 1 - mean)]
    found = mean_interval([0.25] * 3 + [0.0] * 27)
    assert found == pytest.approx([wilson(mean, sizes[0])[0], wilson(mean, sizes[1])[1]], abs=1e-6)


def test_equal_values_within_the_range_keep_some_width():
    low, high = mean_interval([0.5] * 30)
    assert 0.4 < low < 0.5 < high < 0.6
    low, high = difference_interval([0.1] * 200)
    assert 0 < low < 0.1 < high < 0.2


def test_the_paired_difference_of_right_or_wrong_problems_is_tangos():
    # Fagerland, Lydersen and Laake 2014, Statistics in Medicine 33: airway reactivity before and after transplantation, 21
    # children, 1 pair one way and 7 the other; Tango's asymptotic score interval
    assert difference_interval([1] + [-1] * 7 + [0] * 13) == pytest.approx([-0.517, -0.026], abs=5e-4)
    assert difference_interval([-1] + [1] * 7 + [0] * 13) == pytest.approx([0.026, 0.517], abs=5e-4)


def test_the_limits_of_a_difference_solve_the_score_equation():
    # independent of the root finder: the share of pairs that go the other way by maximum likelihood on a grid
    better, worse, pairs = 9, 4, 40
    for limit in difference_interval([1] * better + [-1] * worse + [0] * (pairs - better - worse)):
        share = np.linspace(1e-6, 1 - abs(limit) - 1e-6, 400_001)
        share = share[(share + limit > 0) & (2 * share + limit < 1)]
        likelihood = better * np.log(share + limit) + worse * np.log(share)
        likelihood += (pairs - better - worse) * np.log(1 - 2 * share - limit)
        at = share[np.argmax(likelihood)]
        statistic = (better - worse - pairs * limit) / math.sqrt(pairs * (2 * at + limit - limit**2))
        assert abs(statistic) == pytest.approx(Z, abs=1e-3)


def test_students_that_never_differ_and_students_that_always_differ():
    edge = Z**2 / (30 + Z**2)
    assert difference_interval([0.0] * 30) == pytest.approx([-edge, edge], abs=1e-6)
    assert difference_interval([1.0] * 30) == pytest.approx([1 - 2 * edge, 1], abs=1e-6)
    assert difference_interval([-1.0] * 30) == pytest.approx([-1, 2 * edge - 1], abs=1e-6)


def test_one_problem_shows_no_spread():
    assert mean_interval([1.0]) is None and difference_interval([0.5]) is None and mean_interval([]) is None


@pytest.mark.parametrize("values", [[0.5, 1.1], [-0.1, 0.2], [0.5, float("nan")]])
def test_values_outside_the_range_are_refused(values):
    with pytest.raises(OperatorError, match="between 0 and 1"):
        mean_interval(values)
    with pytest.raises(OperatorError, match="between -1 and 1"):
        difference_interval([0.5, -1.5])


shares = st.integers(1, 8).flatmap(lambda n: st.lists(st.integers(0, n).map(lambda c: c / n), min_size=2, max_size=60))


@settings(max_examples=200, deadline=None)
@given(shares, st.randoms())
def test_laws_of_a_mean(values, random):
    low, high = mean_interval(values)
    mean = sum(values) / len(values)
    assert 0 <= low <= mean + 1e-12 and mean - 1e-12 <= high <= 1 and high - low > 0
    assert mean_interval([1 - v for v in values]) == pytest.approx([1 - high, 1 - low], abs=1e-9)
    random.shuffle(values)
    assert mean_interval(values) == pytest.approx([low, high], abs=1e-9)
    again = mean_interval(values * 4)  # four times the problems: narrower
    assert again[1] - again[0] < high - low


@settings(max_examples=200, deadline=None)
@given(shares, shares)
def test_laws_of_a_difference(a, b):
    differences = [x - y for x, y in zip(a, b)]
    low, high = difference_interval(differences)
    mean = sum(differences) / len(differences)
    assert -1 <= low <= mean + 1e-9 and mean - 1e-9 <= high <= 1 and high - low > 0
    assert difference_interval([-d for d in differences]) == pytest.approx([-high, -low], abs=1e-9)


def test_the_t_interval_by_hand():
    # .80, .90, .85: mean .85, deviation .05, over sqrt(3) .028868; t of two degrees of freedom 4.30265
    mean, interval = t_interval([0.8, 0.9, 0.85], step=0.001, lowest=-1.0)
    assert mean == pytest.approx(0.85) and interval == pytest.approx([0.85 - 0.12421, 0.85 + 0.12421], abs=1e-5)
    # -.2, 0, .1: mean -.0333, deviation sqrt(.0233) = .15275, over sqrt(3) .08819; t of two 4.3027
    _, interval = t_interval([-0.2, 0, 0.1], step=0.001, lowest=-1.0)
    assert interval == pytest.approx([-0.41280, 0.34613], abs=1e-4)
    assert t_interval([0.3], step=0.01) == (0.3, None)


def test_two_seeds_have_no_interval_over_seeds():
    """Student's factor is 12.7 there: 48% and 67% would become -63% to 178%."""
    mean, interval = t_interval([0.48, 0.67], step=0.001)
    assert mean == pytest.approx(0.575) and interval is None


def test_equal_seeds_are_known_to_half_a_step_and_scores_stay_between_0_and_1():
    # three seeds without a hit on 300 problems: deviation 1/600, over sqrt(3), times 4.3027
    mean, interval = t_interval([0.0, 0.0, 0.0], step=1 / 300)
    assert mean == 0 and interval == pytest.approx([0, 4.30265 / 600 / math.sqrt(3)])
    # half a step of .01 over sqrt(3), times 4.30265
    equal = t_interval([0.1, 0.1, 0.1], step=0.01, lowest=-1.0)[1]
    assert equal == pytest.approx([0.1 - 0.012421, 0.1 + 0.012421], abs=1e-5)
    with pytest.raises(OperatorError, match="step"):
        t_interval([0.1, 0.2], step=0.0)


def test_the_coverage_benchmark_runs_and_small_cells_hold_their_word():
    # 200 sets a cell: the standard error at 95% is 1.5 points; four of these below 93.5
    script = [sys.executable, str(ROOT / "benchmarks" / "coverage.py"), "--quick"]
    done = subprocess.run(script, capture_output=True, text=True, check=True, timeout=300)
    lowest = {line.split(":")[0]: float(line.split("lowest ")[1].split("%")[0]) for line in done.stdout.splitlines() if "lowest" in line}  # fmt: skip
    assert set(lowest) == {
        "scores, effective-size Wilson",
        "grades, effective-size Wilson",
        "pass@k, effective-size Wilson",
        "differences, effective-size Tango",
        "seeds, t",
    }
    assert min(share for name, share in lowest.items() if name != "seeds, t") > 87.5


@pytest.mark.parametrize("problems, n, concentration", [(30, 4, 2.0), (30, 2, 0.5), (100, 4, 10.0)])
@pytest.mark.parametrize("mean", [0.03, 0.11, 0.5, 0.9])
def test_95_of_100_intervals_hold_the_true_mean(problems, n, concentration, mean):
    # 600 sets; standard error .9 points: 2.8 of these on either side of 93.5 to 96.5 (97.2 near an end, where the upper limit
    # cannot err), so that all twelve cells pass
    rng = np.random.default_rng(7)
    held = 0
    for _ in range(600):
        at = rng.uniform(0.5, 1.5) * min(mean, 1 - mean)
        at = at if mean <= 0.5 else 1 - at
        chance = rng.beta(at * concentration, (1 - at) * concentration, problems)
        low, high = mean_interval(rng.binomial(n, chance) / n)
        held += low <= at <= high
    assert 0.91 <= held / 600 <= 0.99
