"""Gold answers that are one of several."""

import pytest

from redistill.records import Outcome, Verdict, make_problem, make_trace
from redistill.verify import cascade
from redistill.verify.several import is_one_of_several, named_task


@pytest.mark.parametrize(
    ("metadata", "task"),
    [
        ({"task": "jugs"}, "jugs"),
        ({"source_dataset": "sokoban", "task": "x"}, "sokoban"),
        ({"entry": {"metadata": {"source_dataset": "ab"}}}, "ab"),
        ({"metadata": {"source_dataset": "ab"}}, "ab"),
        ({"task": 3}, None),
        ({}, None),
    ],
)
def test_the_task_of_a_problem(metadata, task):
    assert named_task(metadata) == task


def test_a_problem_may_say_itself_that_it_has_several_answers():
    assert is_one_of_several(make_problem("Any even number?", metadata={"several_answers": True}))
    assert is_one_of_several(make_problem("A palindrome of aabb?", metadata={"task": "palindrome"}))
    assert not is_one_of_several(make_problem("1+1?", metadata={"task": "chain_sum"}))


@pytest.mark.parametrize(
    ("metadata", "label", "outcome"),
    [
        ({"several_answers": True}, None, "disagree"),
        ({"several_answers": True}, "incorrect", "incorrect"),  # its maker's scorer has spoken
        ({"several_answers": True}, "correct", "disagree"),
        ({}, None, "incorrect"),
    ],
)
def test_another_answer_is_not_wrong_by_being_another(metadata, label, outcome):
    problem = make_problem("Any even number?", answer="4", metadata=metadata)
    trace = make_trace(problem.id, "\\boxed{6}")
    if label:
        trace = trace.with_verdict("teacher_label", Verdict(Outcome(label), reason="correct", verifier="teacher_label"))
    assert cascade(problem, trace).outcome == Outcome(outcome)
    assert cascade(problem, make_trace(problem.id, "\\boxed{4}")).outcome == Outcome.correct
