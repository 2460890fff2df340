"""The dev split: a pure function of seed and id."""

from redistill.records import make_problem
from redistill.select.split import is_dev

IDS = [make_problem(f"What is {i} + 1?").id for i in range(4000)]


def test_about_the_asked_share_is_held_out():
    held_out = sum(is_dev(i, seed=0, dev_fraction=0.1) for i in IDS)
    # binomial: mean 400, standard deviation sqrt(4000 * 0.1 * 0.9) = 19; four of these to either side
    assert 324 <= held_out <= 476


def test_a_problem_never_changes_sides_when_others_come_or_the_order_turns():
    few = {i for i in IDS[:100] if is_dev(i, seed=3, dev_fraction=0.2)}
    all_turned = {i for i in reversed(IDS) if is_dev(i, seed=3, dev_fraction=0.2)}
    assert few == all_turned & set(IDS[:100])


def test_a_larger_fraction_only_adds_problems():
    small = {i for i in IDS if is_dev(i, seed=0, dev_fraction=0.05)}
    assert small < {i for i in IDS if is_dev(i, seed=0, dev_fraction=0.1)}


def test_nothing_is_held_out_at_zero_and_another_seed_is_another_split():
    assert not any(is_dev(i, seed=0, dev_fraction=0.0) for i in IDS)
    assert {i for i in IDS if is_dev(i, seed=0, dev_fraction=0.1)} != {
        i for i in IDS if is_dev(i, seed=1, dev_fraction=0.1)
    }


def test_the_split_is_the_same_in_every_run():
    # found once and written down: a change here moves problems between training and dev in every user's runs
    assert [i for i in range(40) if is_dev(IDS[i], seed=0, dev_fraction=0.1)] == [9, 20, 23, 24, 28]
