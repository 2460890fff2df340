"""The dev split: a pure function of seed and id."""

from types import SimpleNamespace

import pytest

from redistill.config.tables import Recipe
from redistill.errors import OperatorError
from redistill.records import Group, Problem, make_problem
from redistill.select.split import check_split, held_out, is_dev, split_key, split_of

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


def steps_of(question: str, count: int) -> list[Problem]:
    of = {"question_id": make_problem(question).id}
    return [make_problem(f"{question} step {i}", answer="Yes", metadata=of) for i in range(count)]


def test_steps_of_a_question_never_lie_on_both_sides():
    sides: dict[str, set[bool]] = {}
    for number in range(500):
        question = f"What is {number} + 1?"
        for problem in steps_of(question, 6):
            side = held_out(problem, seed=0, dev_fraction=0.2, by="question")
            sides.setdefault(question, set()).add(side)
    assert all(len(found) == 1 for found in sides.values())  # 0 leaks
    assert 60 <= sum(found == {True} for found in sides.values()) <= 140  # 100 expected, standard deviation 9
    by_problem = [held_out(p, seed=0, dev_fraction=0.2) for n in range(50) for p in steps_of(f"{n}?", 6)]
    assert any(len(set(by_problem[at : at + 6])) == 2 for at in range(0, 300, 6))  # by problem there are leaks


def test_steps_lie_on_the_side_of_their_question():
    for number in range(50):
        question = f"What is {number} + 1?"
        alone = held_out(make_problem(question), seed=0, dev_fraction=0.3, by="question")
        assert {held_out(p, seed=0, dev_fraction=0.3, by="question") for p in steps_of(question, 3)} == {alone}


def test_a_split_by_question_without_questions_is_refused():
    recipe = SimpleNamespace(corpus=SimpleNamespace(split_by="question"))
    check_split(recipe, [Group(steps_of("q", 1)[0], ())])
    with pytest.raises(OperatorError, match=r"corpus\.split_by: no problem has `question_id`"):
        check_split(recipe, [Group(make_problem("q"), ())])


# --- as a recipe says -------------------------------------------------------------------------------------------------


def recipe(seed: int = 0, **corpus: object) -> Recipe:
    tree = {
        "name": "x",
        "seed": seed,
        "student": {"model": "m"},
        "corpus": {"sources": ["two-habits"], **corpus},
        "train": {"sft": {"objective": "sft", "learning_rate": 1e-3}},
    }
    return Recipe.model_validate(tree)


def problems(count: int, without_gold: int = 0) -> list[Problem]:
    with_gold = [make_problem(f"What is {i} + 1?", answer=str(i + 1)) for i in range(count)]
    return with_gold + [make_problem(f"Prove claim {i}.") for i in range(without_gold)]


def dev_of(found: Recipe, every: list[Problem]) -> set[str]:
    is_held = split_of(found, lambda: every)
    return {p.id for p in every if is_held(p)}


@pytest.mark.parametrize(
    "count, share, held", [(60, 0.05, 3), (180, 0.05, 9), (7, 0.05, 1), (100, 0.2, 20), (40, 0, 0)]
)
def test_the_share_is_exact_and_never_empty(count, share, held):
    assert len(dev_of(recipe(dev_fraction=share, split="exact"), problems(count))) == held
    assert len(dev_of(recipe(dev_fraction=share, split="exact"), problems(count, without_gold=30))) == held


def test_a_number_of_problems_is_that_number_and_leaves_some_to_train_on():
    assert len(dev_of(recipe(dev_problems=100), problems(180))) == 100
    with pytest.raises(OperatorError, match="60 of 60 problems with a gold answer would be held out"):
        dev_of(recipe(dev_problems=60), problems(60))
    with pytest.raises(ValueError, match="write one of dev_problems and dev_fraction"):
        recipe(dev_problems=60, dev_fraction=0.1)


def test_more_problems_move_few_from_one_side_to_the_other():
    few, many = problems(200), problems(220)
    before, after = dev_of(recipe(dev_problems=40), few), dev_of(recipe(dev_problems=40), many)
    known = {p.id for p in few}
    assert after & known < before  # none that was trained on is held out, and of those held out only the last give way
    assert len(before - after) <= 12


def test_seeds_of_training_share_their_dev_problems():
    every = problems(400)
    assert dev_of(recipe(seed=1), every) == dev_of(recipe(seed=2), every) and len(dev_of(recipe(seed=1), every)) == 20
    assert dev_of(recipe(seed=1, split_seed=1), every) != dev_of(recipe(seed=1), every)
    assert dev_of(recipe(seed=1, split_seed="seed"), every) == dev_of(recipe(seed=1, split_seed=1), every)


def test_what_a_recipe_writes_out_is_split_as_before_and_reads_back_the_same():
    """A written dev_fraction with seed 0 gives the problems that it always gave, and nothing is added to a key."""
    every = problems(4000)
    before = {p.id for p in every if is_dev(p.id, seed=0, dev_fraction=0.07)}
    written = recipe(dev_fraction=0.07)
    assert dev_of(written, every) == before and split_key(written) == {}
    assert split_key(recipe(seed=3, dev_fraction=0.07, split_seed=3)) == {}
    assert split_key(recipe(seed=3, dev_fraction=0.07)) == {"split": ["hash", 0, None]}
    for found in (written, recipe(), recipe(dev_problems=50)):
        again = Recipe.model_validate(found.model_dump(mode="json"))  # as recipe.yaml in the run's folder holds it
        assert again.corpus == found.corpus and dev_of(again, every) == dev_of(found, every)


def test_all_problems_of_a_question_are_held_out_together_and_questions_are_counted():
    every = [p for n in range(40) for p in steps_of(f"question {n}", 5)]
    held = dev_of(recipe(dev_fraction=0.1, split="exact", split_by="question"), every)
    assert len(held) == 4 * 5
