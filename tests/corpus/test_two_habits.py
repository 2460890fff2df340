"""The embedded teacher: its sums, its habits, its slips."""

import random
import re
from collections import Counter

import pytest

from redistill.corpus import SOURCES
from redistill.corpus.two_habits.teacher import make_sum, mean_slip, scatter, solve, truth_of, write
from redistill.errors import OperatorError
from redistill.records import Group, Span

EXAMPLE = (2, [("-", 9), ("*", 1), ("-", 4), ("+", 1), ("+", 7), ("-", 7)])  # 2-9*1-4+1+7-7=


def groups(**options: object) -> list[Group]:
    return list(SOURCES["two-habits"](**options))  # type: ignore[arg-type]


def is_right(group: Group, completion: str) -> bool:
    return completion.split("####")[1] == group.problem.answer


def test_the_example_by_hand() -> None:
    # 2-9 = -7 = 3 modulo 10; 3*1 = 3; 3-4 = 9; 9+1 = 0; 0+7 = 7; 7-7 = 0
    assert solve(*EXAMPLE) == 0
    careful = write(*EXAMPLE, random.Random(0), jump=0, jump_length=3, slip_step=0, slip_jump=0)
    assert careful == "2-9=3;3*1=3;3-4=9;9+1=0;0+7=7;7-7=0;####0"
    hasty = write(*EXAMPLE, random.Random(0), jump=1, jump_length=3, slip_step=0, slip_jump=0)
    assert hasty == "2-9*1-4=9;9+1+7-7=0;####0"


def test_answers_agree_with_python() -> None:
    for group in groups(problems=300, traces=1):
        digits, operators = re.findall(r"\d", group.problem.statement), re.findall(r"[-+*]", group.problem.statement)
        assert (len(digits), len(operators)) == (7, 6)
        assert group.problem.statement == "".join(a + b for a, b in zip(digits, [*operators, "="]))
        expression = "(" * 6 + digits[0] + "".join(f"{o}{d})" for o, d in zip(operators, digits[1:]))
        assert str(eval(expression) % 10) == group.problem.answer  # brackets make Python go left to right


def test_about_64_percent_are_right_and_haste_is_what_goes_wrong() -> None:
    rights, collector, lines = 0, Counter[int](), Counter[int]()
    made = groups(problems=2000)
    for group in made:
        for trace in group.traces:
            rights += is_right(group, trace.completion)
            for line in trace.completion.split(";")[:-1]:
                left, result = line.split("=")
                operators, digits = re.findall(r"[-+*]", left), [int(d) for d in re.findall(r"\d", left)]
                lines[len(operators)] += 1
                collector[len(operators)] += solve(digits[0], list(zip(operators, digits[1:]))) != int(result)
    # 8,000 traces: one standard error is 0.5%; an independent simulation of 40,000 gave 64.3%
    assert rights / 8000 == pytest.approx(0.643, abs=0.02)
    assert set(lines) == {1, 3}
    assert collector[1] / lines[1] == pytest.approx(0.02, abs=0.005)
    assert collector[3] / lines[3] == pytest.approx(0.35, abs=0.02)


def test_random_slips_are_as_many_but_blame_no_habit() -> None:
    # By hand, 1 operation left: one careful line. 3 left, jump .5: a jump, or a step and then 2 steps:
    # steps .5 * 3 = 1.5, jumps .5, so the mean of .1 and .5 is (1.5 * .1 + .5 * .5) / 2 = .2
    assert mean_slip(3, 0.5, 3, 0.1, 0.5) == pytest.approx(0.2)
    collector, lines = Counter[int](), Counter[int]()
    for group in groups(problems=2000, random_slips=True):
        for trace in group.traces:
            for line in trace.completion.split(";")[:-1]:
                left, result = line.split("=")
                operators, digits = re.findall(r"[-+*]", left), [int(d) for d in re.findall(r"\d", left)]
                lines[len(operators)] += 1
                collector[len(operators)] += solve(digits[0], list(zip(operators, digits[1:]))) != int(result)
    rate = mean_slip(6, 0.45, 3, 0.02, 0.35)
    assert collector[1] / lines[1] == pytest.approx(rate, abs=0.015)
    assert collector[3] / lines[3] == pytest.approx(rate, abs=0.015)


def test_a_seed_makes_the_same_bytes_and_order_does_not_matter() -> None:
    assert groups(problems=50) == groups(problems=50)
    assert groups(problems=50) == groups(problems=80)[:50]  # each problem is a function of its index alone
    assert [g.traces[:2] for g in groups(problems=5)] == [g.traces for g in groups(problems=5, traces=2)]
    assert {g.problem.id for g in groups(problems=50)}.isdisjoint(g.problem.id for g in groups(problems=50, seed=1))


def test_problems_are_distinct_even_when_all_are_asked_for() -> None:
    made = groups(problems=300, traces=1, digits=2, jump=0)  # 10 * 10 digits, 3 operators: all there are
    assert len({group.problem.statement for group in made}) == 300
    with pytest.raises(OperatorError, match="two-habits"):
        groups(problems=301, digits=2)
    assert sorted(scatter(i, 300, 7) for i in range(300)) == list(range(300))
    assert len({str(make_sum(n, 2)) for n in range(300)}) == 300


def test_only_the_students_characters_are_used() -> None:
    seen = {
        c
        for g in groups(problems=500)
        for text in (g.problem.statement, *(t.completion for t in g.traces))
        for c in text
    }
    assert seen == set("0123456789+-*=;#")


def test_traces_carry_no_label() -> None:
    (group,) = groups(problems=1)
    assert all(not t.verdicts and t.author and t.finish_reason == "stop" for t in group.traces)
    assert [t.sampling["sample_index"] for t in group.traces] == [0, 1, 2, 3]


def test_the_program_marks_each_line_as_right_or_slipped_by_hand() -> None:
    """2-9=3 (mod 10) right, 3*1=4 slips, 4-4+1+7=8 goes on rightly from it, 8-7=0 slips."""
    assert truth_of("2-9=3;3*1=4;4-4+1+7=8;8-7=0;####0") == (
        Span(0, 6, 1.0),
        Span(6, 12, 0.0),
        Span(12, 22, 1.0),
        Span(22, 28, 0.0),
    )


def test_step_truth_adds_spans_and_changes_no_trace() -> None:
    plain, marked = groups(problems=200), groups(problems=200, step_truth=True)
    assert [[t.id for t in g.traces] for g in plain] == [[t.id for t in g.traces] for g in marked]
    for group in marked:
        for trace in group.traces:
            slips = [span for span in trace.spans["truth"] if span.value == 0]
            # one slip never ends right by itself; two may cancel
            assert is_right(group, trace.completion) or slips
            lines = "".join(trace.completion[start:end] for start, end, _ in trace.spans["truth"])
            assert lines == trace.completion.partition("####")[0]
    assert all(not trace.spans for group in plain for trace in group.traces)
