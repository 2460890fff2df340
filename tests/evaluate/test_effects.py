"""Where two students differ, by hand; and that the same samples never both sort the problems and measure the effect."""

import numpy as np
import pytest

from redistill.errors import OperatorError
from redistill.evaluate.compare import Row, by_difficulty, by_length, flipped, in_common, read_table
from redistill.records import FINAL, Group, Outcome, Verdict, make_problem, make_trace


def table(**rows):
    """Problem -> its hits as text, "1101"; every answer is 10 tokens long."""
    return {id: Row(tuple(map(int, hits)), (10,) * len(hits)) for id, hits in rows.items()}


def test_difficulty_is_read_off_even_samples_and_the_effect_off_odd_ones():
    a = table(p1="0101", p2="1010", p3="1111")
    b = table(p1="0001", p2="0010", p3="1110")
    # even samples of both (0 and 2): p1 0 of 4, p2 3 of 4, p3 4 of 4; odd samples (1 and 3): p1 1 - 1/2, p2 0 - 0, p3 1 - 1/2
    hard, easy = by_difficulty(a, b)["bins"]
    assert (hard["label"][:4], hard["num_problems"], hard["a"], hard["b"], hard["difference"]) == (
        "hard",
        1,
        1,
        0.5,
        0.5,
    )
    assert (easy["label"][:4], easy["num_problems"], easy["difference"]) == ("easy", 2, 0.25)
    assert hard["interval95"] is None and easy["interval95"] is not None


def test_a_gain_on_hard_problems_is_found_there_and_nowhere_else():
    rng = np.random.default_rng(0)
    rates = np.array([0.1] * 300 + [0.9] * 300)
    draw = lambda p: {f"p{i}": Row(tuple((rng.random(8) < q).astype(int).tolist()), (1,) * 8) for i, q in enumerate(p)}  # noqa: E731
    better = draw(rates + np.array([0.1] * 300 + [0.0] * 300))
    bins = {row["label"].split()[0]: row for row in by_difficulty(better, draw(rates))["bins"]}
    # standard error on some 250 problems with four samples a side: sqrt(2 * .13 / 4 / 250) = .016, three of them .05
    assert bins["hard"]["difference"] == pytest.approx(0.1, abs=0.05)
    assert bins["easy"]["difference"] == pytest.approx(0.0, abs=0.05)


def test_one_sample_cannot_both_sort_and_measure():
    found = by_difficulty(table(p="1"), table(p="0"))
    assert found["bins"] == [] and "two samples" in found["note"]


def test_length_parts_the_problems_in_three():
    a = {f"p{i}": Row((1, int(i >= 4)), (10 * i, 10 * i)) for i in range(6)}
    b = {f"p{i}": Row((1, 0), (10 * i, 10 * i)) for i in range(6)}
    bins = by_length(a, b)["bins"]
    assert [row["label"] for row in bins] == [
        "short (0 to 10 tokens)", "middling (20 to 30 tokens)", "long (40 to 50 tokens)",
    ]  # fmt: skip
    assert [row["difference"] for row in bins] == [0, 0, 1]
    a["p0"] = Row((1, 0), (None, 3))
    assert by_length(a, b)["bins"] == []


def test_flips_are_problems_that_more_than_half_of_the_samples_of_one_side_solve():
    a, b = table(p1="11", p2="10", p3="00", p4="11"), table(p1="01", p2="11", p3="00", p4="11")
    assert flipped(a, b) == (["p1"], ["p2"])


def test_common_problems_or_a_sentence():
    assert in_common(table(p1="1", p2="1"), table(p2="1", p3="1"), ("a", "b")) == ["p2"]
    with pytest.raises(OperatorError, match="a and b share no problem"):
        in_common(table(p1="1"), table(p2="1"), ("a", "b"))


def test_a_table_keeps_the_order_of_the_samples_and_leaves_out_what_has_no_gold():
    def group(answer, *outcomes):
        problem = make_problem(f"q{answer}", answer=answer)
        samples = [
            make_trace(
                problem.id, f"{i}", sampling={"sample_index": i}, num_tokens=i, verdicts={FINAL: Verdict(Outcome(word))}
            )
            for i, word in enumerate(outcomes)
        ]
        return Group(problem, tuple(reversed(samples)))

    found = read_table([group("4", "correct", "timeout", "incorrect"), group(None, "ungradable")])
    assert list(found.values()) == [Row((1, 0, 0), (0, 1, 2))]
