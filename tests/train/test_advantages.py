"""Advantages by hand, and what holds for every one of them."""

import functools
import itertools

import pytest
import torch

from redistill.train.advantages import ADVANTAGES, group, leave_one_out, mean, shaped, teacher

OF_ANSWERS = {name: f for name, f in ADVANTAGES.items() if name not in ("teacher", "actions")} | {
    "shaped, code": functools.partial(shaped, form="code")
}


def given(*rows):
    """(rewards, known) of rows in which None is not known."""
    rewards = torch.tensor([[0.0 if r is None else r for r in row] for row in rows], dtype=torch.float64)
    return rewards, torch.tensor([[r is not None for r in row] for row in rows])


def test_group_by_hand():
    # mean .25, sample variance (.5625 + 3 * .0625) / 3 = .25, std .5
    assert group(*given([1, 0, 0, 0]), eps=0.0).tolist() == [[1.5, -0.5, -0.5, -0.5]]
    # population variance .1875
    assert group(*given([1, 0, 0, 0]), eps=0.0, ddof=0)[0, 0].item() == pytest.approx(0.75 / 0.1875**0.5, abs=1e-12)
    assert group(*given([1, 0, 0, 0]), eps=0.5).tolist() == [[0.75, -0.25, -0.25, -0.25]]
    assert group(*given([1, 0, 0, 0]))[0, 0].item() == pytest.approx(0.75 / 0.5001, abs=1e-12)


def test_leave_one_out_and_mean_by_hand():
    assert leave_one_out(*given([1, 0, 0, 0]))[0].tolist() == pytest.approx([1, -1 / 3, -1 / 3, -1 / 3], abs=1e-12)
    assert mean(*given([3, 1, 2, 0])).tolist() == [[1.5, -0.5, 0.5, -1.5]]


def test_an_unknown_reward_is_out_of_the_mean_and_has_no_advantage():
    assert mean(*given([1, None, 0])).tolist() == [[0.5, 0.0, -0.5]]
    # were it a wrong answer, the mean would be 1/3
    assert leave_one_out(*given([1, None, 0])).tolist() == [[1.0, 0.0, -1.0]]
    assert group(*given([1, None, 0]), eps=0.0)[0].tolist() == pytest.approx([0.5**0.5, 0, -(0.5**0.5)], abs=1e-12)


# the mean of three or seven times .1 is not .1 but 2^-56 away
ROWS = [[0.1] * 7, [1, 1, 1], [0, 0], [None, None, None], [1, None, None], [0.1, None, 0.1, 0.1]]


@pytest.mark.parametrize("name", OF_ANSWERS)
@pytest.mark.parametrize("row", ROWS)
def test_where_nothing_can_be_compared_every_advantage_is_exactly_zero(name, row):
    found = OF_ANSWERS[name](*given(row))
    assert found.dtype == torch.float64 and found.tolist() == [[0.0] * len(row)]


@pytest.mark.parametrize("name", OF_ANSWERS)
def test_advantages_of_a_problem_know_no_other_problem_and_sum_to_zero_unless_right_answers_count_1(name):
    draw = torch.Generator().manual_seed(0)
    rewards, known = torch.randn(6, 5, generator=draw), torch.rand(6, 5, generator=draw) < 0.8
    found = OF_ANSWERS[name](rewards, known)
    assert name == "shaped" or found.sum(1).abs().max() < 1e-12
    for row in range(6):
        alone = OF_ANSWERS[name](rewards[row : row + 1], known[row : row + 1])
        assert torch.equal(alone[0], found[row])


def test_oreals_shaping_of_few_answers_by_hand():
    # a reward above 0 is right, however small; a third and a half of those that are known
    assert shaped(*given([0.5, 0, None, -1]))[0].tolist() == pytest.approx([1, -2 / 3, 0, -2 / 3], abs=1e-12)
    assert shaped(*given([0.5, 0, None]), form="code").tolist() == [[2.0, -2.0, 0.0]]


def test_oreal_at_16_answers_as_its_code_has_it():
    for right, plus, minus in ((4, 1.6, -8 / 15), (12, 8 / 15, -1.6)):
        found = shaped(*given([1] * right + [0] * (16 - right)), form="code")[0]
        assert found[0].item() == pytest.approx(plus, abs=1e-12)
        assert found[-1].item() == pytest.approx(minus, abs=1e-12)


def test_oreals_push_on_a_wrong_answer_falls_with_the_pass_rate_in_the_paper_and_rises_in_the_code():
    sizes = {form: [-shaped(*given([1] * c + [0] * (8 - c)), form=form)[0, -1].item() for c in range(1, 8)]
             for form in ("paper", "code")}  # fmt: skip
    assert sizes["paper"] == pytest.approx([1 - c / 8 for c in range(1, 8)], abs=1e-12)
    assert all(a < b for a, b in itertools.pairwise(sizes["code"]))


def test_a_teachers_advantage_is_zero_where_it_is_the_student():
    logps = torch.tensor([-0.1, -3.0])
    assert teacher(logps, logps).tolist() == [0.0, 0.0]
    assert teacher(torch.tensor([-1.0, -1.0]), torch.tensor([-2.0, -9.0]), clip=4.0).tolist() == [1.0, 4.0]
