"""The five metrics by hand, their limits, and two students compared on them."""

import random
from collections import Counter

import numpy as np
import pytest

from redistill.evaluate.compare import paired_difference
from redistill.evaluate.scores import score
from redistill.evaluate.self_correction import PER_PROBLEM, self_correction_scores
from redistill.records import FINAL, Group, Outcome, Span, Verdict, make_problem, make_trace
from redistill.text.self_correction import MEANING, RATES, counts_of, rates

RIGHT, WRONG, SAYS, DENIES, UNSURE = 1.0, 0.0, 1.0, 0.0, 0.5


def spans(*parts):
    """(value of the attempt, value of its verification), one pair an attempt."""
    made = {"solve": [], "verification": []}
    for place, (solve, check) in enumerate(parts):
        made["solve"].append(Span(2 * place, 2 * place + 1, solve))
        made["verification"].append(Span(2 * place + 1, 2 * place + 2, check))
    return {name: tuple(found) for name, found in made.items()}


MENDED = spans((WRONG, DENIES), (RIGHT, SAYS))
FOOLED = spans((WRONG, SAYS))
LOST = spans((RIGHT, DENIES), (WRONG, DENIES))
PLAIN = spans((RIGHT, SAYS))


def test_the_counts_of_an_answer_by_hand():
    assert counts_of(MENDED) == Counter(
        answers=1, attempts=2, verified=2, true=2, wrong_verified=1, wrong_called_incorrect=1, called_correct=1,
        right_called_correct=1, wrong_first=1, wrong_first_right_last=1,
    )  # fmt: skip
    assert counts_of(LOST) == Counter(
        answers=1, attempts=2, verified=2, true=1, wrong_verified=1, wrong_called_incorrect=1, right_first=1, right_first_wrong_last=1
    )  # fmt: skip
    assert counts_of({}) is None


def test_the_five_metrics_by_hand():
    total = sum(map(counts_of, (MENDED, FOOLED, LOST, PLAIN)), Counter())
    # six verifications: of these true are both of MENDED, the second of LOST, that of PLAIN
    # wrong attempts: MENDED 1, FOOLED, LOST 2: two of three called incorrect
    # called correct: MENDED 2, FOOLED, PLAIN: two of three right
    # first wrong: MENDED, FOOLED, one mended; first right: LOST, PLAIN, one lost
    assert rates(total) == {
        "verification_accuracy": 4 / 6, "error_recall": 2 / 3, "correct_precision": 2 / 3, "wrong_to_right": 1 / 2, "right_to_wrong": 1 / 2,
    }  # fmt: skip
    assert RATES.keys() == MEANING.keys()


def test_a_verifier_that_always_says_correct_has_error_recall_0():
    rng = random.Random(0)
    always = [spans((float(rng.random() < 0.5), SAYS)) for _ in range(200)]
    total = sum(map(counts_of, always), Counter())
    found = rates(total)
    assert found["error_recall"] == 0.0
    assert found["verification_accuracy"] == found["correct_precision"] == total["right_first"] / 200
    assert found["wrong_to_right"] == found["right_to_wrong"] == 0.0


def test_what_nobody_can_say_is_in_no_metric():
    unknown = counts_of(spans((UNSURE, SAYS), (RIGHT, UNSURE)))
    assert unknown == Counter(answers=1, attempts=2, no_verdict=1)
    assert set(rates(unknown).values()) == {None}


# --- in scores.json ---------------------------------------------------------------------------------------------------


def group(number, *answers):
    problem = make_problem(f"Question {number}", answer="4")
    traces = []
    for index, of in enumerate(answers):
        notes = {"segments_unread": of} if isinstance(of, str) else {}
        trace = make_trace(
            problem.id, f"{index}", sampling={"sample_index": index}, spans={} if notes else of, notes=notes
        )
        right = not notes and of["solve"][-1].value == 1
        traces.append(trace.with_verdict(FINAL, Verdict(Outcome.correct if right else Outcome.incorrect, "4")))
    return Group(problem, tuple(traces))


def test_scores_hold_metrics_attempts_by_difficulty_and_what_could_not_be_cut():
    groups = [
        group(1, MENDED, FOOLED),
        group(2, LOST, PLAIN),
        group(3, PLAIN, MENDED),
        group(4, "no_verification", PLAIN),
    ]
    found = score(groups, n=2)
    metrics = found["self_correction"]
    assert metrics["error_recall"]["value"] == 3 / 4 and metrics["error_recall"]["of"] == 4
    assert metrics["wrong_to_right"]["value"] == 2 / 3 and metrics["right_to_wrong"]["value"] == 1 / 4
    low, high = metrics["verification_accuracy"]["interval95"]
    assert 0 <= low <= metrics["verification_accuracy"]["value"] <= high <= 1
    assert (
        metrics["attempts"] == 10 / 7 and metrics["segmented"] == 7 / 8 and metrics["unread"] == {"no_verification": 1}
    )
    assert metrics["no_verdict"] == 0.0
    assert metrics["by_first_attempts"] == [
        {"first_attempts": "none right", "num_problems": 1, "attempts": 1.5},
        {"first_attempts": "some right", "num_problems": 1, "attempts": 1.5},
        {"first_attempts": "all right", "num_problems": 2, "attempts": 4 / 3},
    ]
    assert sum(of.get("answers", 0) for of in found[PER_PROBLEM].values()) == 7
    assert score(groups[::-1], n=2) == found


def test_answers_that_nobody_cut_have_no_such_scores():
    problem = make_problem("?", answer="4")
    trace = make_trace(problem.id, "4", sampling={"sample_index": 0}).with_verdict(FINAL, Verdict(Outcome.correct, "4"))
    assert "self_correction" not in score([Group(problem, (trace,))], n=1)
    assert self_correction_scores({"p": [trace]}) == {}


def made_up(recall, seed, problems=300):
    """A student that finds its errors with this probability, four answers a problem."""
    rng = random.Random(seed)
    groups = []
    for number in range(problems):
        answers = []
        for _ in range(4):
            if rng.random() < 0.5:
                answers.append(PLAIN)
            elif rng.random() < recall:
                answers.append(spans((WRONG, DENIES), (float(rng.random() < 0.5), SAYS)))
            else:
                answers.append(FOOLED)
        groups.append(group(number, *answers))
    return score(groups, n=4)


def test_two_students_are_compared_on_the_same_problems():
    weak, strong, again = made_up(0.2, 0), made_up(0.6, 1), made_up(0.6, 2)
    found = paired_difference(strong, weak, names=("strong", "weak"))["self_correction"]
    gain = found["error_recall"]
    assert gain["is_claimed"] and gain["interval95"][0] < gain["difference"] < gain["interval95"][1]
    assert gain["sentence"].startswith("error recall: strong is above weak by 0.")
    mirrored = paired_difference(weak, strong, names=("weak", "strong"))["self_correction"]["error_recall"]
    assert mirrored["difference"] == -gain["difference"] and "weak is below strong" in mirrored["sentence"]
    same = paired_difference(strong, again, names=("a", "b"))["self_correction"]["error_recall"]
    assert not same["is_claimed"] and "no difference between a and b can be claimed" in same["sentence"]


@pytest.mark.parametrize("truth", [0.2, 0.6])
def test_the_interval_of_a_metric_holds_its_true_value_about_as_often_as_it_says(truth):
    """Error recall: second attempts are wrong half the time and always called correct, so its true value is known."""
    true_value = truth / (
        1 + truth / 2
    )  # called incorrect: truth; wrong attempts: 1 + truth/2, of each answer that begins wrong
    held = 0
    for seed in range(60):
        low, high = made_up(truth, seed, problems=40)["self_correction"]["error_recall"]["interval95"]
        held += low <= true_value <= high
    assert held >= 51  # 57 expected; fewer than 51 of 60 has a chance of .4% at 95%
    assert np.isfinite(true_value)
