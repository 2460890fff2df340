"""British and American spellings of one word: undecided, never wrong; other words stay apart."""

import pytest

from redistill.records import Outcome
from redistill.verify import judge_answer

PAIRS = """centre center, theatre theater, fibre fiber, litres liters, organise organize, analysed analyzed, realisation realization, defence defense,
colour color, favourite favorite, mould mold, plough plow, catalogue catalog, programme program, manoeuvre maneuver, paediatric pediatric,
sulphur sulfur, sceptical skeptical, judgement judgment, aluminium aluminum, traveller traveler, cancelled canceled, enrol enroll,
jewellery jewelry, grey gray, tyre tire, storey story"""


@pytest.mark.parametrize("pair", [pair.strip() for pair in PAIRS.split(",")])
def test_two_spellings_of_one_word_are_undecided(pair: str) -> None:
    british, american = pair.split()
    for gold, answer in ((british, american), (american, british), (british.title(), american)):
        assert judge_answer(gold, answer).outcome not in (Outcome.incorrect, Outcome.correct)


@pytest.mark.parametrize(
    ("gold", "answer"),
    [("theatre", "thunder"), ("north", "south"), ("seller", "cellar"), ("rise", "size"), ("LRLRL", "LRLLRL"),
     ("NEESW", "NESW"), ("HTTH", "HTH"), ("acre", "care")],
)  # fmt: skip
def test_other_words_and_strings_of_letters_stay_apart(gold: str, answer: str) -> None:
    assert judge_answer(gold, answer).outcome == judge_answer(answer, gold).outcome == Outcome.incorrect
