"""Distillation in a recipe: what does not fit together is one sentence, and every stage of the how-to page could run."""

import copy
import dataclasses
import re
from pathlib import Path

import pytest
import yaml

from redistill.config.parsing import parse_recipe
from redistill.errors import OperatorError
from redistill.pipeline.plan import make_plan
from redistill.pipeline.teachers import Given, check_sources, first_right_traces, own_right_answer, spec_of
from redistill.records import FINAL, Group, Outcome, Verdict, make_problem, make_trace
from redistill.train.modifiers import full_kl
from redistill.train.rollouts import Round
from tiny_recipe import RECIPE, fresh_fingerprints

HOW_TO = Path(__file__).parents[2] / "docs/how-to/distillation.md"


def recipe(**stage):
    own = {"objective": "distill", "teacher": "sft", "start": "sft", "learning_rate": 1e-3, **stage}
    train = {"sft": RECIPE["train"]["sft"], "own": {key: value for key, value in own.items() if value is not None}}
    return parse_recipe({**copy.deepcopy(RECIPE), "train": train}, "here")


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"teacher": None}, r"train\.own: distill learns from a teacher; set `teacher`"),
        ({"objective": "sft"}, r"train\.own\.teacher: sft does not use a teacher"),
        ({"teacher": "sftt"}, r"train\.own\.teacher: no earlier stage is called 'sftt'; did you mean 'sft'"),
        ({"objective": {"name": "distill", "beta": 1.0}}, r"beta"),
        ({"objective": "redi", "teacher": None, "modifiers": ["entropy"]}, r"entropy works on examples"),
        ({"rollouts": {"problems": 2, "advantage": "teacher", "teacher": "sft"}}, r"distill does not use advantages"),
    ],
)
def test_what_does_not_fit_together_is_one_sentence(changes, sentence):
    with pytest.raises(OperatorError, match=sentence):
        make_plan(recipe(**changes))


def test_full_kl_takes_a_reference_and_an_estimate_of_it_does_too():
    for estimator in ("full", "k3"):
        read = recipe(
            objective="sft", teacher=None, reference="sft", modifiers=[{"name": "kl", "estimator": estimator}]
        )
        assert (make_plan(read).modifiers["own"][0].func is full_kl) is (estimator == "full")


def test_another_teacher_makes_another_student_and_nothing_else():
    one, other = fresh_fingerprints(recipe()), fresh_fingerprints(recipe(teacher="base"))
    assert {name for name in one if one[name] != other[name]} >= {"train/own"}
    assert one["train/sft"] == other["train/sft"] and one["select"] == other["select"]


def test_every_stage_on_the_how_to_page_is_one_that_could_run():
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", HOW_TO.read_text(), re.DOTALL)]
    assert len(blocks) >= 3
    for name, stage in ((name, stage) for block in blocks for name, stage in block.items()):
        tree = copy.deepcopy(RECIPE)
        plan = make_plan(parse_recipe({**tree, "train": {"sft": tree["train"]["sft"], name: stage}}, "page"))
        assert plan.recipe.train[name].learning_rate == 1e-5


# --- teachers of the advantage ------------------------------------------------------------------------------------


def with_teacher(teacher, **more):
    own = {"problems": 2, "n": 2, "rounds": 1, "updates": 1, "advantage": "teacher", "teacher": teacher}
    return recipe(objective="reinforce", teacher=None, rollouts=own, **more)


SERVER = {"base_url": "http://127.0.0.1:8000/v1", "model": "big"}
SELF = {"self": "now", "context": "right-trace", "template": "{context};{problem}"}


@pytest.mark.parametrize(
    "teacher",
    [
        "sft",
        {"from_config": RECIPE["student"]["from_config"], "alphabet": "0123"},
        SERVER,
        SELF,
        {"by_source": {"a": "sft", "b": SERVER}},
    ],
)
def test_a_teacher_written_out_whole_is_the_same_teacher(teacher):
    short = with_teacher(teacher)
    whole = parse_recipe(short.model_dump(mode="json"), "recipe.yaml")
    assert whole == short and whole.train["own"].rollouts.teacher == short.train["own"].rollouts.teacher


@pytest.mark.parametrize(
    "teacher, sentence",
    [
        (
            {**SERVER, "base_url": "http://me:secret@there/v1"},
            r"train\.own\.rollouts\.teacher: base_url: remove user, password",
        ),
        ({**SERVER, "modell": "x"}, r"teacher.*modell: unknown key"),
        ({**SELF, "template": "{problem}"}, r"write \{problem\} and \{context\} in the template"),
        (
            {"by_source": {"a": "sftt"}},
            r"train\.own\.rollouts\.teacher\.by_source\.a: no earlier stage is called 'sftt'",
        ),
        ({"by_source": {}}, r"by_source"),
        ({"self": "later", "context": "right-trace"}, r"teacher.*self"),
    ],
)
def test_a_teacher_that_cannot_be_is_one_sentence_and_a_password_is_not_said_back(teacher, sentence):
    with pytest.raises(OperatorError, match=sentence) as said:
        make_plan(with_teacher(teacher))
    assert "secret" not in str(said.value)


def test_a_server_at_another_address_is_the_same_teacher_and_another_model_is_another():
    one, moved, other = (
        fresh_fingerprints(with_teacher(teacher))["train/own"]
        for teacher in (
            SERVER,
            {**SERVER, "base_url": "http://10.0.0.1/v1", "retries": 1},
            {**SERVER, "model": "bigger"},
        )
    )
    assert one == moved != other


def test_a_source_without_a_teacher_is_one_sentence_that_names_it():
    problems = [make_problem("1+1=", answer="2", source=source) for source in ("gsm8k", "math", "math")]
    routed = with_teacher({"by_source": {"gsm8k": "sft"}}).train["own"].rollouts.teacher
    with pytest.raises(OperatorError, match=r"by_source: problems of 'math' have no teacher \(set for gsm8k\)"):
        check_sources(routed, problems, "train.own.rollouts")
    check_sources(routed, problems[:1], "train.own.rollouts")


def test_a_context_comes_before_or_after_the_statement_as_the_template_says():
    given = Given(None, None, None, lambda problem: f"<{problem.statement}>", {"p": "1+1=2"}, 100)
    spec = spec_of(with_teacher(SELF).train["own"].rollouts.teacher, given)
    problem = make_problem("{context} of {x}=", answer="2")
    assert spec.render(problem, "1{problem}") == "<1{problem};{context} of {x}=>"
    assert spec.contexts(dataclasses.replace(problem, id="p"), "t", None) == "1+1=2"
    assert spec.contexts(problem, "t", None) == "" and spec.load is None


def test_the_context_of_an_own_answer_is_another_right_answer_to_the_same_problem():
    problem = make_problem("1+1=", answer="2")
    traces = [
        make_trace(problem.id, text, author="own", verdicts={FINAL: Verdict(outcome)})
        for text, outcome in (("3", Outcome.incorrect), ("2", Outcome.correct), ("02", Outcome.correct))
    ]
    drawn = Round([Group(problem, tuple(traces))], [])
    assert [own_right_answer(problem, trace.id, drawn) for trace in traces] == ["2", "02", "2"]
    assert own_right_answer(problem, traces[1].id, Round([Group(problem, tuple(traces[:2]))], [])) == ""
    assert first_right_traces(drawn.groups, {problem.id}) == {problem.id: "2"} and not first_right_traces(
        drawn.groups, set()
    )
