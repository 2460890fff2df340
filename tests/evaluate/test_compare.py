"""Two students on the same problems."""

import numpy as np
import pytest

from redistill.errors import OperatorError
from redistill.evaluate.compare import mcnemar_exact, paired_difference


def scores(rows):
    """Scores as paired_difference reads them, from rows of 0/1 samples."""
    return {"per_problem": {f"p{i}": list(row) for i, row in enumerate(rows)}}


def test_the_exact_mcnemar_test_by_hand():
    assert mcnemar_exact(0, 0) == 1.0
    assert mcnemar_exact(5, 0) == 2 / 32  # all five flips one way: 2 * (1/2)**5
    assert mcnemar_exact(1, 5) == 2 * (1 + 6) / 64  # 0 or 1 of six: (C(6,0) + C(6,1)) / 2**6, both sides
    assert mcnemar_exact(3, 3) == 1.0  # 2 * (1 + 6 + 15 + 20) / 64 is above 1
    assert mcnemar_exact(3000, 3000) == 1.0  # no overflow


def test_difference_flips_and_signs_by_hand():
    a = scores([[1, 1], [1, 1], [1, 0], [0, 0]])
    b = scores([[1, 1], [0, 1], [0, 0], [1, 1]])
    found = paired_difference(a, b)
    assert found["difference"] == pytest.approx((0 + 0.5 + 0.5 - 1) / 4)
    assert (found["num_above"], found["num_below"], found["num_equal"]) == (2, 1, 1)
    # solved means more than half of the samples: a solves 0, 1; b solves 0, 3
    assert found["flips"] == {"both": 1, "only_a": 1, "only_b": 1, "neither": 1}
    assert found["mcnemar_p"] == 1.0 and not found["is_claimed"]


def test_a_clear_difference_is_said_plainly_from_either_side():
    a, b = scores([[1]] * 30 + [[0]] * 10), scores([[0]] * 40)
    up, down = (
        paired_difference(x, y, names=names)
        for x, y, names in ((a, b, ("redi", "control")), (b, a, ("control", "redi")))
    )
    low, high = up["interval95"]
    assert up["sentence"] == (
        f"redi is above control by 75.0 points (95% interval {100 * low:.1f} to {100 * high:.1f}, 40 problems)."
    )
    assert down["sentence"].startswith("control is below redi by 75.0 points (95% interval ")
    assert up["is_claimed"] and down["difference"] == -0.75


def test_the_same_student_twice_claims_nothing():
    a = scores([[1, 0], [0, 0], [1, 1]] * 20)
    found = paired_difference(a, a, names=("redi", "control"))
    # 60 problems of which none differs: 0 plus or minus z^2 / (60 + z^2) = 3.8415 / 63.8415
    assert found["interval95"] == pytest.approx([-0.0602, 0.0602], abs=1e-4) and not found["is_claimed"]
    assert found["sentence"].startswith(
        "No difference between redi and control can be claimed, for none differs: +0.0 points"
    )


def test_five_problems_claim_nothing_however_they_fall():
    # even if all five point one way a sign test gives 2 * (1/2)**5 = 0.0625
    found = paired_difference(scores([[1]] * 5), scores([[0]] * 5))
    # 1 - 2 z^2 / (5 + z^2) = 1 - 7.6829 / 8.8415
    assert found["interval95"] == pytest.approx([0.1310, 1], abs=1e-4) and not found["is_claimed"]
    assert "only 5 differ" in found["sentence"]
    assert paired_difference(scores([[1]] * 6), scores([[0]] * 6))["is_claimed"]


def test_one_problem_has_no_interval_and_claims_nothing():
    found = paired_difference(scores([[1, 1]]), scores([[0, 0]]))
    assert found["interval95"] is None and "can be claimed from 1 problem" in found["sentence"]


def test_pairing_sees_what_two_intervals_hide():
    # problems differ widely (0 or 1), and a solves one sample in ten more on each that is not already solved
    rng = np.random.default_rng(0)
    base = [[int(hard)] * 9 + [0] for hard in rng.random(200) < 0.5]
    better = [[*row[:9], 1] for row in base]
    found = paired_difference(scores(better), scores(base))
    low, high = found["interval95"]
    assert found["difference"] == pytest.approx(0.1) and high - low < 0.01  # the bootstrap had no width here
    assert found["is_claimed"]


def test_chance_alone_is_rarely_claimed():
    # two equal students, 100 experiments of 50 problems: a 95% interval errs about 5 times (sd 2.2); 12 is +3 sd
    rng = np.random.default_rng(1)
    claims = 0
    for _ in range(100):
        a, b = (scores((rng.random((50, 2)) < 0.4).astype(int).tolist()) for _ in range(2))
        claims += paired_difference(a, b)["is_claimed"]
    assert claims <= 12


def test_other_problems_are_refused_by_name():
    a, b = scores([[1], [1]]), {"per_problem": {"p0": [1], "p9": [0]}}
    with pytest.raises(OperatorError, match=r"1 only in redi \(p1\); 1 only in base \(p9\)"):
        paired_difference(a, b, names=("redi", "base"))


def graded(rows):
    """Scores of a graded verifier, whose samples are right from .5 on."""
    hits = scores([[int(value >= 0.5) for value in row] for row in rows])
    return {**hits, "per_problem_scores": {f"p{i}": list(row) for i, row in enumerate(rows)}}


def test_scores_of_a_graded_verifier_are_compared_beside_what_is_right():
    a, b = graded([[0.4], [0.3], [0.2]] * 20), graded([[0.1], [0.1], [0.2]] * 20)
    found = paired_difference(a, b, names=("grpo", "sft"))
    assert found["difference"] == 0.0 and not found["is_claimed"]  # none is right
    assert found["mean_score"]["difference"] == pytest.approx((0.3 + 0.2 + 0) / 3) and found["mean_score"]["is_claimed"]
    assert found["mean_score"]["sentence"].startswith("mean score: grpo is above sft by 16.7 points (95% interval ")
    assert "mean_score" not in paired_difference(a, scores([[1]] * 60))
