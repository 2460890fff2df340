"""Label noise: counts by hand, and the estimate against a truth that we made up ourselves."""

import random

import pytest

from redistill.records import FINAL
from redistill.verify.noise import Gradings

OUTCOMES = {"c": "correct", "i": "incorrect", "u": "ungradable"}


def count(gradings: Gradings, index: int, said: dict[str, str], final: str, author: str = "a") -> None:
    """One trace of a problem of its own."""
    gradings.add(f"p{index}", author, {name: OUTCOMES[letter] for name, letter in {**said, FINAL: final}.items()})


def test_the_matrix_counts_every_pair_of_verdicts() -> None:
    gradings = Gradings()
    for index, (x, y) in enumerate(["cc", "cc", "ci", "ii", "iu", "uc"]):
        count(gradings, index, {"x": x, "y": y}, x)
    found = gradings.summary(seed=0)
    assert (found["traces"], found["rejected"]) == (6, 2)
    (pair,) = found["matrix"]
    assert (pair["a"], pair["b"]) == ("x", "y")
    assert {k: n for k, n in pair["counts"].items() if n} == {
        "correct correct": 2, "correct incorrect": 1, "incorrect incorrect": 1, "incorrect undecided": 1, "undecided correct": 1,
    }  # fmt: skip
    assert pair["agreement_where_both_decide"] == pytest.approx(3 / 4)
    assert found["estimate"] is None and "two authors" in found["why_not"]


def simulated(
    chances: dict[str, tuple[float, float]], shares: dict[str, float], n: int, seed: int
) -> tuple[Gradings, float]:
    """Traces with a known truth; chances: (says incorrect of a right one, says correct of a wrong one). The policy rejects
    what the first grader calls incorrect. Returns the true share of right traces among those."""
    rng, gradings, right_rejected, rejected = random.Random(seed), Gradings(), 0, 0
    for index in range(n):
        author = rng.choice(list(shares))
        right = rng.random() < shares[author]
        said = {}
        for name, (miss, fooled) in chances.items():
            draw = rng.random()
            said[name] = ("i" if draw < miss else "c") if right else ("c" if draw < fooled else "i")
            if rng.random() < 0.05:
                said[name] = "u"
        final = next(iter(said.values()))
        rejected += final == "i"
        right_rejected += final == "i" and right
        count(gradings, index, said, final, author)
    return gradings, right_rejected / rejected


@pytest.mark.parametrize(
    ("chances", "shares"),
    [
        ({"x": (0.10, 0.02), "y": (0.05, 0.05), "z": (0.03, 0.10)}, {"only": 0.6}),
        ({"x": (0.08, 0.02), "y": (0.04, 0.06)}, {"strong": 0.9, "middle": 0.6, "weak": 0.2}),
    ],
    ids=["three graders, one author", "two graders, three authors"],
)
def test_a_made_up_truth_is_found_again(chances, shares) -> None:
    gradings, truth = simulated(chances, shares, 8_000, seed=1)
    estimate = gradings.summary(seed=0)["estimate"]
    share = estimate["right_among_rejected"]
    assert share["value"] == pytest.approx(truth, abs=0.015)
    assert share["interval95"][0] <= truth <= share["interval95"][1]
    assert share["interval95"][1] - share["interval95"][0] < 0.08
    for name, (miss, fooled) in chances.items():
        found = estimate["graders"][name]
        assert found["incorrect_of_right"] / (found["incorrect_of_right"] + found["correct_of_right"]) == pytest.approx(
            miss, abs=0.02
        )
        assert found["correct_of_wrong"] / (found["incorrect_of_wrong"] + found["correct_of_wrong"]) == pytest.approx(
            fooled, abs=0.025
        )
    for author, value in shares.items():
        assert estimate["shares_right"][author] == pytest.approx(value, abs=0.03)


def test_shared_mistakes_make_the_estimate_too_low_as_it_says() -> None:
    """y copies x's mistakes: the model believes two witnesses where there is one."""
    rng, gradings = random.Random(2), Gradings()
    right_rejected = rejected = 0
    for index in range(6_000):
        author = rng.choice(["strong", "weak"])
        right = rng.random() < {"strong": 0.9, "weak": 0.3}[author]
        says = "i" if (rng.random() < 0.1 if right else rng.random() > 0.02) else "c"
        count(gradings, index, {"x": says, "y": says}, says, author)
        rejected += says == "i"
        right_rejected += says == "i" and right
    found = gradings.summary(seed=0)
    assert found["estimate"]["right_among_rejected"]["value"] < 0.5 * right_rejected / rejected
    assert any("too low" in line for line in found["estimate"]["assumptions"])


def test_where_nothing_can_be_known_nothing_is_claimed() -> None:
    alone = Gradings()
    count(alone, 0, {"x": "i"}, "i")
    assert "one grader" in alone.summary(seed=0)["why_not"]
    alike, _ = simulated({"x": (0.1, 0.02), "y": (0.05, 0.05)}, {"a": 0.6, "b": 0.6}, 4_000, seed=3)
    found = alike.summary(seed=0)
    assert found["estimate"] is None and "equally often" in found["why_not"] and found["why_not"] in found["sentence"]
    assert (
        "no trace was rejected"
        in Gradings(alone.cells.__class__({(0, "a", False, (("x", 0), ("y", 0))): 5})).summary(seed=0)["why_not"]
    )


def test_the_same_gradings_give_the_same_numbers_in_any_order() -> None:
    chances, shares = {"x": (0.1, 0.02), "y": (0.05, 0.05), "z": (0.1, 0.1)}, {"a": 0.6, "b": 0.3}
    gradings, _ = simulated(chances, shares, 800, seed=4)
    backwards = Gradings(gradings.cells.__class__(dict(reversed(gradings.cells.items()))))
    one, other = gradings.summary(seed=0), backwards.summary(seed=0)
    assert one["matrix"] == other["matrix"]
    value, again = (f["estimate"]["right_among_rejected"]["value"] for f in (one, other))
    assert value == pytest.approx(again, abs=1e-5)


def test_where_no_right_trace_is_seen_among_the_rejected_the_interval_says_of_how_many() -> None:
    gradings = Gradings()
    for number in range(200):  # two graders that never differ, of two authors of different skill
        for author, wrong in (("strong", number % 10 == 0), ("weak", number % 2 == 0)):
            said = "incorrect" if wrong else "correct"
            gradings.add(f"p{number}", author, {"x": said, "y": said, "final": said})
    found = gradings.summary(seed=0)
    low, high = found["estimate"]["right_among_rejected"]["interval95"]
    # Wilson's limit for 0 of 120 rejected traces: 3.1%
    assert low == pytest.approx(0, abs=1e-3) and 0.03 < high < 0.035
    assert "(95% interval 0.00% to 3." in found["sentence"]
