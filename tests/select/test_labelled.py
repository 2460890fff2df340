"""Rows of critics: right and wrong traces with their labels, undecided ones left out and counted, books that balance."""

from functools import partial

import pytest

from redistill.config.tables import LabelledSettings, SampleSettings
from redistill.records import FINAL, Group, Outcome, Span, Verdict, make_problem, make_trace
from redistill.select import explain_empty
from redistill.select.keep import Choice
from redistill.select.pairing import certain
from redistill.select.stage import select_shard
from redistill.select.task import SelectTask

ALL = LabelledSettings()


def group(number, *outcomes, spans=()):
    problem = make_problem(f"Question {number}", answer="4", source=f"s{number}")
    traces = []
    for i, outcome in enumerate(outcomes):
        word, _, cut = outcome.partition(":")
        marked = {"truth": tuple(spans)} if spans and i == 0 else {}
        traces.append(
            make_trace(
                problem.id,
                f"t{i} said",
                author=f"a{i}",
                finish_reason="length" if cut else "stop",
                verdicts={FINAL: Verdict(Outcome(word))},
                spans=marked,
            )
        )
    return Group(problem, tuple(traces))


def select(groups, settings=ALL, dev=(), **more):
    return select_shard(
        groups,
        SelectTask(
            render=lambda problem: problem.statement,
            encode=lambda texts: [[1] * len(text.split()) for text in texts],
            is_dev=lambda problem: problem.id in dev,
            pairing=certain,
            labelled=settings,
            **more,
        ),
    )


def rows(shard):
    return [(row.completion, row.spans) for row in shard.records["labelled"][1]]


def account(shard):
    found = shard.accounts["labelled"]
    found.check("labelled")
    return found.kept, dict(found.dropped)


def test_right_and_wrong_traces_have_their_label_behind_their_text_and_the_undecided_are_counted():
    shard = select([group(1, "correct", "incorrect", "timeout", "no_answer", "correct:cut")])
    assert rows(shard) == [("t0 said", (Span(7, 8, 1.0),)), ("t1 said", (Span(7, 8, 0.0),))]
    assert account(shard) == (2, {"undecided:timeout": 1, "undecided:no_answer": 1, "truncated": 1})


def test_the_stream_is_written_only_for_a_critic_and_changes_no_other():
    groups = [group(1, "correct", "incorrect")]
    without, with_it = select(groups, None), select(groups)
    assert "labelled" not in without.records and "labelled" not in without.accounts
    assert {name: list(stream) for name, (_, stream) in without.records.items()} == {
        name: list(stream) for name, (_, stream) in with_it.records.items() if name != "labelled"
    }


def test_named_spans_are_the_targets_and_the_verdict_stands_behind_them():
    steps = (Span(0, 3, 1.0), Span(3, 7, 0.0))
    shard = select([group(1, "incorrect", "correct", spans=steps)], LabelledSettings(spans="truth"))
    assert rows(shard) == [("t0 said", (*steps, Span(7, 8, 0.0)))] and account(shard) == (1, {"no_spans": 1})


def test_spans_that_speak_of_the_end_themselves_or_of_an_undecided_trace_stand_alone():
    steps = (Span(0, 7, 0.5), Span(7, 8, 0.25))
    for outcome in ("correct", "timeout"):
        shard = select([group(1, outcome, spans=steps)], LabelledSettings(spans="truth"))
        assert rows(shard) == [("t0 said", steps)]
    (undecided,) = rows(select([group(1, "timeout", spans=steps[:1])], LabelledSettings(spans="truth")))
    assert undecided == ("t0 said", steps[:1])


def test_spans_of_several_names_stand_together_and_one_of_them_is_enough():
    one = group(1, "correct", "incorrect", spans=(Span(0, 7, 0.5),))
    settings = LabelledSettings(spans=["truth", "strategy"])
    assert rows(select([one], settings)) == [("t0 said", (Span(0, 7, 0.5), Span(7, 8, 1.0)))]


def test_one_each_draws_a_right_and_a_wrong_trace_and_leaves_out_problems_with_one_side():
    each = LabelledSettings(per_problem="one-each")
    groups = [group(1, *["correct"] * 3, *["incorrect"] * 3), group(2, "correct", "timeout"), group(3, "incorrect")]
    shard = select(groups, each)
    assert [spans[0].value for _, spans in rows(shard)] == [1.0, 0.0]
    assert account(shard) == (2, {"not_the_one_drawn": 4, "one_sided": 2, "undecided:timeout": 1})
    drawn = {tuple(text for text, _ in rows(select(groups[:1], each, seed=seed))) for seed in range(12)}
    assert len(drawn) > 3  # another seed, other traces


def test_held_out_problems_and_those_outside_the_sample_give_no_rows():
    groups = [group(n, "correct", "incorrect") for n in range(3)]
    choice = Choice(SampleSettings(by="source", keep={"s1": 0.0}), None, 0)
    shard = select(groups, dev={groups[0].problem.id}, choice=choice)
    assert account(shard) == (2, {"held_out_for_dev": 2, "not_in_sample": 2})


def test_no_labelled_row_is_explained():
    shard = select([group(1, "timeout")])
    ledger = {"accounts": {name: account.to_json() for name, account in shard.accounts.items()}}
    assert "no labelled row was made from 1 trace (1 undecided:timeout): raise verify.timeout_seconds" in explain_empty(
        ledger
    )


@pytest.mark.parametrize("most", [1])
def test_filters_look_at_labelled_rows_too(most):
    from redistill.config.tables import PARTS
    from redistill.select.filters import completion_length
    from redistill.select.task import BoundFilter

    shard = select(
        [group(1, "correct")], bound_filters=[BoundFilter(partial(completion_length, most=most), frozenset(PARTS))]
    )
    assert rows(shard) == [] and "completion_too_long" in account(shard)[1]
