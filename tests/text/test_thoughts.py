"""Figures of thoughts, worked by hand."""

from redistill.text.thoughts import Answer, chance_of_more, thoughts


def test_length_against_correctness_is_the_mann_whitney_share():
    assert chance_of_more([3, 1], [2]) == 0.5
    assert chance_of_more([5, 6], [1, 2, 3]) == 1.0
    assert chance_of_more([2, 2], [2]) == 0.5
    # 4 beats 1 and ties with 4: 1.5 of 2; 1 ties with 1: 0.5 of 2
    assert chance_of_more([4, 1], [1, 4]) == 0.5 and chance_of_more([4], [1, 4]) == 0.75
    assert chance_of_more([], [1]) is None


def test_the_figures_of_five_answers():
    answers = [
        Answer("p1", "<think>two and two. Wait, four</think>4", 10, True),
        Answer("p1", "<think>I look at it</think>5", 4, False),
        Answer("p2", "<think>I look  at it</think>7", 6, False),
        Answer("p3", "just 9", None, True),
        Answer("p4", "<think>Let me check it</think>?", 8, None),
    ]
    found = thoughts(answers)
    assert (found.answers, found.thinking, found.tokens_right, found.tokens_wrong, found.longer_right) == (
        5,
        0.8,
        10,
        5,
        1,
    )
    assert (found.reflecting, found.right_when_reflecting) == (0.4, 1.0)
    assert found.right_otherwise == 1 / 3
    assert found.trivial == 0.5  # two of the four thoughts are one, of two problems
    assert found.repeated == 0.0


def test_the_same_thought_twice_about_one_problem_is_not_trivial():
    twice = [Answer("p1", "<think>a b</think>1", 3, True)] * 2
    assert thoughts(twice).trivial == 0.0
    assert thoughts([]).thinking is None and thoughts([Answer("p", "4", 1, True)]).trivial is None
