"""What init chooses: dev problems that can show something, pairs and epochs that make steps, rates for the size, the prompt of the traces."""

import pytest

import tiny_recipe
from redistill.config.parsing import parse_recipe
from redistill.pipeline.prospects import lines, steps_of, values_of_nothing
from redistill.text.prompts import ASKED_ANCHORS, TEMPLATES
from redistill.tools.init_choices import (
    RATES,
    STEPS_LEAST,
    Counts,
    StudentFacts,
    choose,
    dev_problems,
    rates,
    schedule,
    student_facts,
    template_for,
)
from redistill.train.packing import num_steps

STUDENT = StudentFacts(1.35e8, 2048)


def counts(
    problems: int = 180, right: float = 30.0, pairs: float = 10.0, longest: int = 900, usual: int = 400
) -> Counts:
    return Counts(problems, right, pairs, longest, usual, 200)


@pytest.mark.parametrize(
    ("problems", "held"), [(1, 0), (2, 1), (60, 12), (180, 36), (500, 100), (1000, 100), (4000, 200), (50_000, 300)]
)
def test_dev_problems_are_enough_to_show_something_and_leave_most_to_train_on(problems, held):
    assert dev_problems(problems) == held


def test_the_file_of_180_problems_and_43_traces_uses_its_traces():
    """One pair a problem made 5 steps; several make enough."""
    found = choose(counts(), STUDENT, has_dev=True)
    assert found.dev == 36 and found.max_pairs > 1 and found.pairs.steps >= STEPS_LEAST
    assert "36 problems with n = 4 can show a difference of 19 points" in found.power
    assert found.warnings and "36 dev problems are few" in found.warnings[0]


def test_no_more_pairs_than_a_problem_can_give_and_few_rows_get_small_batches_and_epochs():
    assert choose(counts(pairs=2.2), STUDENT, has_dev=True).max_pairs == 2
    small = choose(counts(problems=30, pairs=1.0), STUDENT, has_dev=True)
    assert small.pairs.batch_size == 8 and small.pairs.epochs == 3
    assert any("fewer than 20 steps" in text for text in small.warnings)
    many = choose(counts(problems=53_175, pairs=3.0), STUDENT, has_dev=True)
    assert (many.max_pairs, many.pairs.batch_size, many.pairs.epochs) == (1, 32, 1)  # the paper's


def test_a_schedule_reaches_a_hundred_steps_where_the_rows_allow_it():
    assert (
        schedule(3200, epochs=1, most_epochs=3).batch_size == 32
        and schedule(3200, epochs=1, most_epochs=3).steps == 100
    )
    assert schedule(900, epochs=1, most_epochs=3).batch_size == 8


def test_rates_are_the_measured_ones_at_their_sizes_and_fall_between_them():
    for size, sft, redi in RATES:
        assert rates(size)[:2] == pytest.approx((sft, redi))
    sizes = [3.5e5, 3.5e6, 3.6e7, 1.35e8, 5e8, 1.5e9, 7e9]
    for column in (0, 1):
        found = [rates(size)[column] for size in sizes]
        assert found == sorted(found, reverse=True)
    # 3.5 million: by hand exp((1-s) ln 1e-4 + s ln 5e-6), s = ln 10 / ln 385.7 = .387: 3.1e-5, inside the window of real-traces
    assert rates(3.5e6)[1] == pytest.approx(3e-5)
    assert rates(None)[:2] == (5e-5, 1e-6) and "not known" in rates(None)[2]


def test_a_size_in_the_name_is_read_where_the_model_is_not_here():
    assert student_facts("nobody/Qwen-1.5B-none").parameters == 1.5e9
    assert student_facts("nobody/SmolLM2-135M-none").parameters == 1.35e8
    assert student_facts("nobody/model-none").parameters is None


def test_answers_fit_the_context_and_longer_traces_are_left_out_by_a_setting():
    found = choose(counts(longest=40_000, usual=20_000), STUDENT, has_dev=True)
    assert found.max_new_tokens == 2048 - 200 - 128 == found.max_completion_tokens
    assert any("do not fit into the student's context of 2,048" in text for text in found.warnings)
    short = choose(counts(), STUDENT, has_dev=True)
    assert short.max_new_tokens == 512 and short.max_completion_tokens is None


@pytest.mark.parametrize(
    ("text", "template"),
    [
        ("<think>x</think><answer>\\boxed{4}</answer>", "answer-tag"),
        ("so \\boxed{4}", "plain"),
        ("2+2=4\n#### 4", "hashes"),
        ('{"reasoning": "r", "answer": "4"}', "json"),
        ("the answer is 4", "plain"),
    ],
)
def test_the_prompt_asks_for_the_form_in_which_the_traces_answer(text, template):
    assert template_for([text] * 3 + ["nothing"]) == template
    assert TEMPLATES[template].count("{problem}") == 1 and template in ASKED_ANCHORS


@pytest.mark.parametrize(
    "rows, batch_size, epochs, steps",
    [(53_175, 32, 1.0, None), (31, 32, 1.0, None), (100, 8, 2.5, None), (9, 4, 1.0, 7)],
)
def test_the_steps_that_are_said_are_those_that_are_taken(rows, batch_size, epochs, steps):
    stage = {"objective": "sft", "learning_rate": 1e-4, "batch_size": batch_size, "epochs": epochs, "steps": steps}
    tree = {"name": "x", "student": {"model": "m"}, "corpus": {"sources": ["two-habits"]}, "train": {"sft": stage}}
    assert steps_of(parse_recipe(tree, "x"), "sft", rows) == num_steps(
        num_rows=rows, batch_size=batch_size, epochs=epochs, steps=steps
    )


def test_what_a_run_can_show_is_said_with_its_rows():
    tree = {
        "name": "x",
        "student": {"model": "m"},
        "corpus": {"sources": ["two-habits"]},
        "train": {
            "sft": {"objective": "sft", "learning_rate": 1e-4, "batch_size": 8},
            "redi": {"objective": "redi", "learning_rate": 1e-6, "start": "sft"},
        },
    }
    recipe = parse_recipe(tree, "x")
    said = lines(recipe, dev=36, rows={"sft": 1000, "redi": 172}, has_dev=True)
    assert said[0].startswith("dev: 36 problems with n = 4 can show a difference of 19 points or more")
    assert said[1].startswith("warning: 36 dev problems are too few")
    assert said[2].startswith("warning: redi takes 5 steps on 172 rows") and len(said) == 3
    assert lines(recipe, dev=300, rows={"sft": 1000, "redi": 3200}, has_dev=True)[1:] == []
    assert lines(recipe, dev=0, rows={}, has_dev=False) == []


@pytest.mark.parametrize(
    ("rewards", "warned"),
    [
        ([{"name": "score", "by": "prm"}], True),
        ([{"name": "score", "by": "prm"}, {"name": "format"}], True),  # a form is no rule on what is right
        ([{"name": "accuracy", "weight": 0}, {"name": "score", "by": "prm"}], True),
        ([{"name": "accuracy", "weight": 0.25}, {"name": "score", "by": "prm", "weight": 0.75}], False),
        ([{"name": "score", "by": "prm"}, {"name": "mine:reward"}], False),
        ([{"name": "accuracy"}], False),
    ],
)
def test_a_stage_that_a_model_alone_rewards_is_warned_of(rewards, warned):
    rollouts = {"problems": 2, "score": [{"name": "process", "model": "prm", "into": "prm"}], "reward": rewards}
    stage = {"objective": "grpo", "learning_rate": 1e-3, "rollouts": rollouts}
    recipe = parse_recipe({**tiny_recipe.RECIPE, "train": {"alone": stage}}, "here")
    said = lines(recipe, dev=0, rows={}, has_dev=False)
    assert (
        said == []
        if not warned
        else len(said) == 1 and "alone is rewarded by a model's score and by no rule" in said[0]
    )


def test_values_that_a_sample_names_and_no_problem_has_are_said():
    tree = {
        "name": "r",
        "corpus": {"sources": ["two-habits"]},
        "student": {"model": "m"},
        "train": {"sft": {"objective": "sft", "learning_rate": 1e-4}},
    }
    tree["select"] = {"sample": {"by": "source", "keep": {"shapes": 0.5, "sums": 0.5}}}
    recipe = parse_recipe(tree, "here")
    assert values_of_nothing(recipe, {"sums": 3, "shapes-count": 2}) == [
        "select.sample names values of `source` that no problem has: shapes; values that are not named: shapes-count"
    ]
    assert values_of_nothing(recipe, {"sums": 3, "shapes": 2}) == []
