"""What one problem is worth, by hand."""

import itertools

import pytest

from redistill.errors import OperatorError
from redistill.evaluate.metrics import (
    METRICS,
    all_correct_at_n,
    majority_at_n,
    mean_score,
    pass_at_1,
    pass_at_k,
)
from redistill.records import FINAL, Outcome, Verdict, make_trace


def sample(outcome, extracted=None):
    return make_trace("p", f"{outcome} {extracted}", verdicts={FINAL: Verdict(Outcome(outcome), extracted)})


def samples(*specs):
    return [sample(*spec) if isinstance(spec, tuple) else sample(spec) for spec in specs]


def test_pass_at_k_by_hand():
    # n=4, c=1, k=2: of the 6 pairs of samples, the 3 that hold the correct one
    assert pass_at_k(4, 1, k=2) == 0.5
    # n=5, c=2, k=3: 1 - C(3,3)/C(5,3) = 1 - 1/10
    assert pass_at_k(5, 2, k=3) == 0.9


def test_pass_at_k_is_the_share_of_all_draws_of_k_that_hold_a_correct_sample():
    for n, c, k in itertools.product(range(1, 7), range(7), range(1, 7)):
        if c <= n and k <= n:
            draws = list(itertools.combinations([1] * c + [0] * (n - c), k))
            assert pass_at_k(n, c, k=k) == sum(map(any, draws)) / len(draws)


def test_pass_at_1_is_the_mean_and_k_equal_n_is_any_correct():
    for c in range(9):
        assert pass_at_k(8, c, k=1) == c / 8 == pass_at_1(samples(*["correct"] * c, *["incorrect"] * (8 - c)))
        assert pass_at_k(8, c, k=8) == float(c > 0)


def test_pass_at_k_stays_exact_where_floats_would_overflow():
    # C(3000, 1500) has 901 digits; one correct sample among 3000 is in half of all draws of 1500
    assert pass_at_k(3000, 1, k=1500) == 0.5


@pytest.mark.parametrize("k", [0, -1, 5])
def test_k_beyond_n_is_refused(k):
    with pytest.raises(OperatorError, match=f"pass@{k} cannot be estimated from 4 samples"):
        pass_at_k(4, 1, k=k)


@pytest.mark.parametrize("outcome", [o for o in Outcome if o != "correct"])
def test_only_a_certain_correct_scores(outcome):
    assert pass_at_1(samples("correct", outcome)) == 0.5
    assert all_correct_at_n(samples("correct", outcome)) == 0.0
    assert all_correct_at_n(samples("correct", "correct")) == 1.0


def test_the_most_frequent_answer_wins_and_the_first_seen_wins_a_tie():
    right, wrong, none = ("correct", "4"), ("incorrect", "5"), ("no_answer", None)
    assert majority_at_n(samples(wrong, right, right)) == 1.0
    assert majority_at_n(samples(right, wrong, wrong)) == 0.0
    assert majority_at_n(samples(right, wrong)) == 1.0
    assert majority_at_n(samples(wrong, right)) == 0.0
    assert majority_at_n(samples(none, none, right)) == 1.0  # without an answer one does not vote


def test_a_timeout_on_one_copy_of_the_winning_answer_does_not_lose_the_vote():
    assert majority_at_n(samples(("timeout", "4"), ("correct", "4"), ("incorrect", "5"))) == 1.0
    assert majority_at_n(samples(("timeout", "4"), ("timeout", "4"), ("correct", "5"))) == 0.0


def test_a_problem_on_which_nobody_answers_scores_0_but_a_verifier_that_hides_the_answer_scores_nothing():
    assert majority_at_n(samples("no_answer", "truncated")) == 0.0
    assert majority_at_n(samples("correct", ("incorrect", "5"))) is None


def test_the_same_answer_in_other_spacing_is_one_candidate():
    assert majority_at_n(samples(("incorrect", "5"), ("correct", "(1, 2)"), ("correct", "(1,  2) "))) == 1.0


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_0_for_all_wrong_1_for_all_right_and_within_between(name):
    right, wrong = (Verdict(Outcome.correct, "4", score=1.0), Verdict(Outcome.incorrect, "5", score=0.0))

    def value(*verdicts):
        return METRICS[name]([make_trace("p", str(n), verdicts={FINAL: v}) for n, v in enumerate(verdicts)])

    assert value(right, right, right) == 1.0
    assert value(wrong, wrong, wrong) == 0.0
    assert 0.0 <= value(wrong, right, wrong) <= 1.0


def graded(*pairs):
    return [make_trace("p", f"{n}", verdicts={FINAL: Verdict(Outcome(o), score=s)}) for n, (o, s) in enumerate(pairs)]


def test_the_mean_score_of_a_graded_verifier():
    assert mean_score(graded(("correct", 1.0), ("disagree", 0.25))) == 0.625
    assert mean_score(graded(("correct", 0.5), ("no_answer", None), ("timeout", None), ("incorrect", 0.1))) == pytest.approx(0.15)  # fmt: skip


def test_a_verifier_that_gives_no_score_has_no_mean_score():
    assert mean_score(graded(("correct", None), ("correct", 1.0))) is None
    assert mean_score(samples("incorrect", "timeout")) is None
