"""Rewards: truth tables, what cannot be said, and sums."""

import functools

import pytest

from redistill.errors import OperatorError
from redistill.records import FINAL, REFUSED, Group, Outcome, Verdict, make_problem, make_trace
from redistill.verify.rewards import (
    REWARDS,
    accuracy,
    format_,
    graded,
    length,
    rec_r1,
    repetition,
    rewarded,
    score,
    total_reward,
)

PROBLEM = make_problem("What is 1+1?", answer="2")


def answered(outcome=Outcome.correct, text="2", grade=None, **more):
    return make_trace(PROBLEM.id, text, **more).with_verdict(FINAL, Verdict(outcome, score=grade))


@pytest.mark.parametrize(
    ("outcome", "by_default", "spared"),
    [
        (Outcome.correct, 1.0, 1.0),
        (Outcome.incorrect, 0.0, 0.0),
        (Outcome.no_answer, 0.0, None),
        (Outcome.truncated, 0.0, None),
        (Outcome.timeout, None, None),
        (Outcome.ungradable, None, None),
        (Outcome.disagree, None, None),
    ],
)
def test_accuracy_of_every_outcome(outcome, by_default, spared):
    assert accuracy(PROBLEM, answered(outcome)) == by_default
    assert accuracy(PROBLEM, answered(outcome), unanswered="undecided") == spared


def test_every_outcome_has_a_line_in_the_table_above():
    assert len(Outcome) == 7


@pytest.mark.parametrize(
    ("text", "think_answer", "think"),
    [
        ("<think>a</think><answer>2</answer>", 1.0, 1.0),
        ("  <think>\na\n</think>\n\n<answer>\n2\n</answer>\n", 1.0, 1.0),
        ("<think>a</think> so 2", 0.0, 1.0),
        ("<think>a</think>", 0.0, 0.0),
        ("<think>a</think>  \n", 0.0, 0.0),
        ("<think>a<answer>2</answer>", 0.0, 0.0),
        ("<think>a</think><answer>2", 0.0, 1.0),
        ("<think>a</think><answer>2</answer><answer>3</answer>", 0.0, 1.0),
        ("<think>a</think><answer>2</answer> done", 0.0, 1.0),
        ("hm <think>a</think><answer>2</answer>", 0.0, 0.0),
        ("<think>a<think>b</think><answer>2</answer>", 0.0, 0.0),
        ("<think>a</think>b</think><answer>2</answer>", 0.0, 0.0),
        ("<answer>2</answer><think>a</think>", 0.0, 0.0),
        ("2", 0.0, 0.0),
        ("", 0.0, 0.0),
    ],
)
def test_the_format_of_a_completion(text, think_answer, think):
    assert format_(PROBLEM, answered(text=text)) == think_answer
    assert format_(PROBLEM, answered(text=text), pattern="think") == think


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (r"so \boxed{2}.", 1.0),
        (r"\boxed {\frac{1}{2}}", 1.0),
        (r"\boxed{1} or \boxed{2}", 0.0),
        (r"\boxed{}", 0.0),
        ("2", 0.0),
    ],
)
def test_one_box(text, found):
    assert format_(PROBLEM, answered(text=text), pattern="boxed") == found


def test_length_counts_sampled_tokens_up_to_a_size():
    assert length(PROBLEM, answered(num_tokens=300)) == pytest.approx(-0.3)
    assert length(PROBLEM, answered(num_tokens=5000)) == -1.0
    assert length(PROBLEM, answered(num_tokens=300), each=0.01, most=2.0) == 2.0
    assert length(PROBLEM, answered(num_tokens=0)) == 0.0
    assert length(PROBLEM, answered()) is None


def test_repetition_is_the_share_of_words_said_before():
    assert repetition(PROBLEM, answered(text="a b c d a b c d"), ngram=4) == -0.5
    assert repetition(PROBLEM, answered(text="no word comes twice")) == 0.0


def test_a_grade_and_a_score_are_what_was_written():
    assert graded(PROBLEM, answered(grade=0.25)) == 0.25
    assert graded(PROBLEM, answered()) is None
    assert score(PROBLEM, answered(scores={"prm": 0.5}), by="prm") == 0.5
    assert score(PROBLEM, answered(), by="prm") is None


def test_the_sum_is_weighted_and_unknown_where_a_part_is():
    wrong = answered(Outcome.incorrect, "<think>a</think><answer>3</answer>")
    assert total_reward([(1.0, accuracy), (0.25, format_)], PROBLEM, wrong) == 0.25
    assert total_reward([(1.0, accuracy), (0.25, format_)], PROBLEM, answered(Outcome.timeout)) is None


def test_a_reward_of_weight_zero_changes_no_bit_and_is_not_even_asked():
    def raises(problem, trace):
        raise AssertionError

    third = functools.partial(accuracy, right=1 / 3)
    assert total_reward([(1.0, third), (0.0, raises)], PROBLEM, answered()) == 1 / 3


class Unspeakable:
    def __repr__(self):
        raise NotImplementedError


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), 10**400, 10**5000, True, "1", [0.5], {"a\n": 1}, Unspeakable()],
    ids=lambda value: type(value).__name__,
)
def test_a_reward_that_is_no_finite_number_is_one_sentence(value):
    with pytest.raises(
        OperatorError, match=rf"^reward mine returned .* for trace {answered().id} .*finite number"
    ) as said:
        total_reward([(1.0, make_named("mine", lambda: value))], PROBLEM, answered())
    assert "\n" not in str(said.value)


def test_rewards_that_add_up_to_no_number_are_one_sentence():
    huge = make_named("mine", lambda: 1e308)
    with pytest.raises(OperatorError, match=rf"^the rewards of trace {answered().id} .* add up to inf"):
        total_reward([(1.0, huge), (1.0, huge)], PROBLEM, answered())


def test_a_reward_that_raises_is_one_sentence_with_its_trace():
    def boom():
        raise ZeroDivisionError("division by zero")

    with pytest.raises(OperatorError, match=rf"^reward mine raised ZeroDivisionError on trace {answered().id}"):
        total_reward([(1.0, make_named("mine", boom))], PROBLEM, answered())


@pytest.mark.parametrize("undecided", ["drop", "zero"])
def test_what_a_server_refused_to_write_earns_nothing_not_even_the_reward_of_its_form(undecided):
    traces = (answered(text="2"), answered(Outcome.ungradable, "", sampling={REFUSED: "content filter"}))
    group = rewarded(Group(PROBLEM, traces), [(1.0, format_)], undecided)
    assert [trace.scores for trace in group.traces] == [{"reward": 0.0}, {}]


def make_named(name, give):
    def reward(problem, trace):
        return give()

    reward.__name__ = name
    return reward


def test_every_reward_can_be_called_on_any_trace():
    for name, reward in REWARDS.items():
        options = {"by": "x"} if name == "score" else {}
        assert reward(PROBLEM, answered(Outcome.disagree), **options) in (None, 0.0)


@pytest.mark.parametrize(
    ("outcome", "grade", "reward"),
    [
        (Outcome.no_answer, 0.0, -2.0),
        (Outcome.no_answer, None, -2.0),
        (Outcome.truncated, 0.0, -2.0),
        (Outcome.incorrect, 0.0, 0.0),  # well formed and useless: not .1
        (Outcome.incorrect, 0.05, 0.15),
        (Outcome.disagree, 0.3, 0.4),
        (Outcome.correct, 1.0, 1.1),
        (Outcome.timeout, None, None),  # nobody judged it, so it earns nothing, and is no bad format
        (Outcome.ungradable, None, None),
        (Outcome.disagree, None, None),
    ],
)
def test_rec_r1s_table(outcome, grade, reward):
    found = rec_r1(PROBLEM, answered(outcome, grade=grade))
    assert found == (reward if reward is None else pytest.approx(reward))


def test_rec_r1s_numbers_are_options():
    assert rec_r1(PROBLEM, answered(Outcome.no_answer), bad_format=-1.0) == -1.0
    assert rec_r1(PROBLEM, answered(Outcome.correct, grade=0.5), useful=0.0) == 0.5
    assert rec_r1(PROBLEM, answered(Outcome.incorrect, grade=0.0), useless=-0.5) == -0.5
