"""Which of several answers to one problem are the same answer, without a gold answer: for votes.

    answer_groups(["1/2", "7", "0.5", "\\\\frac{1}{2}"])   ->  [0, 1, 0, 0]

Two answers are the same where the verifier `exact`, given one as the gold answer, calls the other correct: equal text, numbers,
units, clock times, words. Formulas in different forms (x(x+1) and x^2+x) count as two answers: telling them apart needs
computer algebra, which can hang.
"""

from collections.abc import Sequence
from functools import lru_cache

from redistill.records import Outcome
from redistill.verify.exact import compare_exact


def answer_groups(answers: Sequence[str]) -> list[int]:
    """The group of each answer, numbered by first appearance.

    Groups are the connected components of "the same": with 2.667, 8/3 and 2.6667 all three are one. Which answers share a
    group does not depend on their order.
    """
    texts = list(dict.fromkeys(" ".join(answer.split()) for answer in answers))
    leader = {text: text for text in texts}

    def top(text: str) -> str:
        while leader[text] != text:
            text = leader[text]
        return text

    for place, text in enumerate(texts):
        for other in texts[:place]:
            ours, theirs = top(text), top(other)
            if ours != theirs and _are_same(text, other):
                leader[ours] = theirs
    numbers: dict[str, int] = {}
    return [numbers.setdefault(top(" ".join(answer.split())), len(numbers)) for answer in answers]


@lru_cache(maxsize=65_536)  # each way to choose asks again
def _are_same(one: str, other: str) -> bool:
    """Either may be the gold answer: a rounded decimal equals an exact number only in one direction."""
    return any(
        compare_exact(gold, answer, relative_tolerance=0.0, percent="either", units=True)[0] is Outcome.correct
        for gold, answer in ((one, other), (other, one))
    )
