"""Order and packing are pure functions; nothing is lost or taken twice."""

from hypothesis import given
from hypothesis import strategies as st

from redistill.train.packing import first_fit_decreasing, num_steps, rows_of_step


def test_first_fit_decreasing_by_hand():
    # 9 opens a bin of 12 (3 left), 8 another (4 left), 3 fits the first, 2 the second
    assert first_fit_decreasing([9, 3, 8, 2], 12) == [[0, 1], [2, 3]]


def test_a_row_over_the_budget_gets_a_bin_of_its_own():
    assert first_fit_decreasing([50, 3], 12) == [[0], [1]]


@given(st.lists(st.integers(1, 40), max_size=60), st.integers(1, 64))
def test_every_row_is_packed_once_and_no_bin_of_several_is_over_budget(lengths, budget):
    bins = first_fit_decreasing(lengths, budget)
    assert sorted(i for b in bins for i in b) == list(range(len(lengths)))
    assert all(sum(lengths[i] for i in b) <= budget for b in bins if len(b) > 1)


def test_an_epoch_takes_every_row_once_whatever_the_batch_size():
    for batch in (1, 3, 4):
        taken = [
            row for step in range(12 // batch) for row in rows_of_step(seed=3, step=step, batch_size=batch, num_rows=12)
        ]
        assert sorted(taken) == list(range(12))


def test_a_step_across_two_epochs_is_the_end_of_one_and_the_start_of_the_next():
    first = rows_of_step(seed=0, step=0, batch_size=10, num_rows=10)
    second = [rows_of_step(seed=0, step=s, batch_size=5, num_rows=10) for s in (2, 3)]
    across = rows_of_step(seed=0, step=1, batch_size=7, num_rows=10)
    assert across == first[7:] + (second[0] + second[1])[:4]


def test_epochs_differ_and_seeds_differ():
    orders = {tuple(rows_of_step(seed=s, step=e, batch_size=20, num_rows=20)) for s in (0, 1) for e in (0, 1)}
    assert len(orders) == 4


def test_the_papers_stage_two_has_1661_steps():
    assert num_steps(num_rows=53_175, batch_size=32, epochs=1, steps=None) == 1661
