"""Sentences: one thing said is read, several things and denials are not."""

import pytest

from redistill.records import Outcome
from redistill.verify import judge_answer
from redistill.verify.prose import choice_in_prose, maths_in_prose


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Thus $x > 5$ is the solution", "x > 5"),
        ("The number of ways is 1,024.", "1,024"),
        ("It grows by 100%.", "100%"),
        ("The price is 2,74 euros", "2,74"),
        ("We tried 1, 2 and 3. Therefore, there are 12 of them. I hope it is correct.", "12"),
        ("Both 3 and 4 work. So the sum is \\(7\\).", "7"),
        ("Hence the answer is 2/3. <|im_start|>user 4", "2/3"),
        ("The roots are 3 and 4", None),
        ("It is not 10", None),
        ("There are at least 10 ways", None),
        ("Therefore it is 12. But the question asks for the double, 24", None),
        ("It cannot be 5", None),
        ("12", None),  # no sentence
    ],
)
def test_one_piece_of_maths_is_read_out_of_a_sentence(text: str, found: str | None) -> None:
    assert maths_in_prose(text) == found


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("D, it must be the last one", "D"),
        ("for sure D, it can't be A or B", "D"),
        ("Definitely D, since A is false", "D"),
        ("obviously C or D", None),
        ("for sure not D, it is A", None),
        ("It is A that looks right, therefore I think it is B", "B"),
        ("Thus A triangle fits, and C is the answer", "C"),
        ("A, or maybe B", None),
        ("Therefore it is not B", None),
        ("Therefore B or C", None),
        ("I think that B is right", None),  # no conclusion marked
    ],
)
def test_the_one_letter_of_a_conclusion_is_read(text: str, letter: str | None) -> None:
    assert choice_in_prose(text) == letter


@pytest.mark.parametrize(("gold", "answer"), [("12", "Therefore it is 13"), ("B", "Thus it is C"), ("12", "I say 13")])
def test_a_sentence_is_never_called_wrong(gold: str, answer: str) -> None:
    assert judge_answer(gold, answer).outcome not in (Outcome.correct, Outcome.incorrect)
