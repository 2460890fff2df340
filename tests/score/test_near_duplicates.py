"""Problems that say the same in other words are found where numbers and answers agree, whatever the order."""

import itertools

import numpy as np
import pytest

from redistill.records import Group, make_problem, make_trace
from redistill.score.encoders import open_encoder
from redistill.score.near_duplicates import find_repeats, near_duplicates

HASHING = open_encoder("hashing", model=None, student=None, where="test")
TOLD = "Tom has 3 apples and buys 4 more. How many apples has he now?"
RETOLD = "Tom owns 3 apples and buys 4 more apples. How many apples does he have now?"


def asked(statement, answer=None, source=""):
    return make_problem(statement, answer=answer, source=source)


def repeats(*problems, threshold=0.8, priority=(), numbers="any-order", encode=HASHING):
    return find_repeats(problems, encode, threshold=threshold, priority=priority, numbers=numbers)


def always_alike(texts):
    """An encoder for which everything is the same: what keeps two problems apart is then not the cosine."""
    return np.ones((len(texts), 1), dtype=np.float32)


def test_a_retold_problem_repeats_and_a_twin_with_another_number_does_not() -> None:
    told, retold, twin = asked(TOLD, "7"), asked(RETOLD, "7"), asked(TOLD.replace("4", "5"), "8")
    found = repeats(told, retold, twin)
    first, second = sorted((told, retold), key=lambda problem: problem.id)
    assert {id: repeat.leader for id, repeat in found.items()} == {second.id: first.id}
    cosine = float(np.dot(*HASHING([" ".join(text.lower().split()) for text in (TOLD, RETOLD)])))
    assert found[second.id].cosine == pytest.approx(cosine, abs=0.05) and found[second.id].cosine < 1


@pytest.mark.parametrize(
    "other",
    [
        asked(TOLD.replace("4", "5")),  # another number
        asked(TOLD.replace("buys 4 more", "gives 4 away, not more")),  # a word that turns the question
        asked(RETOLD, "8"),  # another gold answer
    ],
)
def test_no_cosine_merges_what_differs_in_numbers_turning_words_or_answers(other) -> None:
    assert repeats(asked(TOLD, "7"), other, encode=always_alike) == {}
    assert len(repeats(asked(TOLD, "7"), asked(RETOLD, "7.0"), encode=always_alike)) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("求函数f(x)=x^2-4x+7在区间[0,5]上的最大值。", "求函数f(x)=x^2-4x+7在区间[0,5]上的最小值。"),
        ("Найдите наибольшее значение x^2-4x+7 на отрезке от 0 до 5.", "Найдите наименьшее значение x^2-4x+7 на отрезке от 0 до 5."),
        ("Trouvez la plus grande valeur de x^2-4x+7 entre 0 et 5.", "Trouvez la plus petite valeur de x^2-4x+7 entre 0 et 5."),
        ("Un número es mayor que 7. Halla la suma de todos.", "Un número es menor que 7. Halla la suma de todos."),
        ("Ana da 7 manzanas a Luis. ¿Quién tiene más?", "Luis da 7 manzanas a Ana. ¿Quién tiene más?"),
        ("二十三加上五等于多少？", "二十三加上七等于多少？"),
    ],
)  # fmt: skip
def test_where_no_turning_words_are_known_every_word_may_turn_the_question(one, other) -> None:
    """No gold answers, and an encoder for which everything is the same; only another spelling of the signs is no other problem."""
    assert repeats(asked(one, None), asked(other, None), encode=always_alike) == {}
    respelled = one.replace("x^2", "$x^{2}$").replace("7", "$7$").replace("？", " ？ ").replace("，", " ， ")
    assert respelled != one and len(repeats(asked(one, None), asked(respelled, None), encode=always_alike)) == 1


def test_numbers_in_another_order_are_compared_or_not() -> None:
    one, other = (
        asked("With 3 cats and 4 dogs, how many pets?", "7"),
        asked("With 4 dogs and 3 cats, how many pets?", "7"),
    )
    assert len(repeats(one, other, threshold=0.5)) == 1
    assert repeats(one, other, threshold=0.5, numbers="ordered") == {}


def test_sources_lead_in_their_order_and_an_answer_before_none() -> None:
    rows = [asked(TOLD, None, "web"), asked(RETOLD, "7", "books")]
    for priority, leader in ((["web", "books"], rows[0]), (["books"], rows[1]), ([], rows[1])):
        (repeat,) = repeats(*rows, priority=priority, threshold=0.5).values()
        assert repeat.leader == leader.id


def test_any_order_finds_the_same_and_what_is_left_repeats_nothing() -> None:
    texts = [
        TOLD,
        RETOLD,
        TOLD.replace("apples", "pears"),
        RETOLD.replace("apples", "pears"),
        TOLD.replace("Tom", "Ann"),
        TOLD.replace("3", "9"),
    ]
    rows = [asked(text) for text in texts]
    first = repeats(*rows)
    assert first and all(repeats(*order) == first for order in itertools.permutations(rows))
    assert repeats(*[row for row in rows if row.id not in first]) == {}


def test_the_scorer_marks_every_trace_of_a_problem() -> None:
    groups = [Group(p, (make_trace(p.id, "4"), make_trace(p.id, "5"))) for p in (asked(TOLD, "7"), asked(RETOLD, "7"))]
    after = near_duplicates(groups, _into="again", _student=None, _all_groups=lambda: groups, _held={})
    leader, repeat = sorted(after, key=lambda group: group.problem.id)
    assert [dict(t.scores) for t in leader.traces] == [{"again": 0.0}] * 2 and not leader.traces[0].notes
    assert all(0.8 <= t.scores["again"] <= 1 and t.notes == {"again": leader.problem.id} for t in repeat.traces)
