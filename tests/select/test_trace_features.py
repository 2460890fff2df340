"""What is written beside a trace, by hand."""

from redistill.records import FINAL, Group, Outcome, Verdict, make_problem, make_trace
from redistill.select.trace_features import pass_rate, with_columns

PROBLEM = make_problem("What is 2 + 2?", answer="4")


def trace(text, outcome, author="a", **fields):
    return make_trace(PROBLEM.id, text, author=author, verdicts={FINAL: Verdict(Outcome(outcome))}, **fields)


def columns(*traces, tokens=None):
    lengths = {t.id: len(t.completion.split()) for t in traces} if tokens is None else tokens
    return with_columns(Group(PROBLEM, traces), lengths).traces


def test_a_pass_rate_is_over_what_could_be_judged():
    outcomes = ["correct", "incorrect", "no_answer", "truncated", "timeout", "disagree", "ungradable"]
    assert pass_rate([trace(o, o) for o in outcomes]) == (0.25, 4)  # the last three say nothing about the teacher
    assert pass_rate([trace("t", "timeout")]) == (None, 0)


def test_difficulty_is_of_the_group_and_of_each_teacher():
    found = columns(trace("1", "correct", "x"), trace("2", "incorrect", "x"), trace("3", "correct", "y"))
    assert [t.scores["pass_rate"] for t in found] == [2 / 3] * 3
    assert [t.scores["teacher_pass_rate"] for t in found] == [0.5, 0.5, 1.0]
    (alone,) = columns(trace("1", "ungradable"))
    assert not {"pass_rate", "teacher_pass_rate"} & set(alone.scores)


def test_the_rank_of_a_length_goes_from_0_to_1_and_equals_share_their_places():
    found = columns(*(trace("w " * n + str(i), "correct") for i, n in enumerate([9, 1, 3, 3, 5])))
    # sorted 1 3 3 5 9: places 0, 1.5, 1.5, 3, 4 of 4
    assert [t.scores["length_rank"] for t in found] == [1.0, 0.0, 0.375, 0.375, 0.75]
    assert columns(trace("alone", "correct"))[0].scores["length_rank"] == 0.5


def test_the_students_count_stands_in_num_tokens_and_scores_of_the_source_stay():
    first = trace("Wait, let me check.", "correct", num_tokens=99, scores={"score": 0.5})
    (found,) = columns(first, tokens={first.id: 7})
    assert found.num_tokens == 7 and found.scores["score"] == 0.5 and found.scores["reflections"] == 2
    assert (found.id, found.completion, found.verdicts) == (first.id, first.completion, first.verdicts)
