"""The score stage adds and never loses: what a scorer may do to a trace, what is counted, and what is joined."""

import math
from dataclasses import replace
from functools import partial

import pytest

from redistill.errors import OperatorError
from redistill.io.parquet import read_records, write_records
from redistill.io.shards import ShardInput
from redistill.io.stage_folder import StageFolder
from redistill.records import Group, Span, make_problem, make_trace
from redistill.score import BoundScorer, join_part, reason_of, score_part, scored, unscored
from redistill.score.stage import marks_of

PROBLEM = make_problem("2+2?", metadata={"level": 1})
GROUP = Group(PROBLEM, tuple(make_trace(PROBLEM.id, text) for text in ("four", "five", "six")))


def length(groups, *, _into):
    """Scores the length in characters; nothing of `six`; draws a trace of its own."""
    after = []
    for group in groups:
        traces = [
            unscored(t, _into, "even") if t.completion == "six" else scored(t, scores={_into: len(t.completion)}, spans={_into: [Span(0, 2, 0.5)]})
            for t in group.traces
        ]  # fmt: skip
        drawn = make_trace(group.problem.id, "seven", author="me")
        problem = replace(group.problem, metadata={**group.problem.metadata, "tried": 1})
        after.append(Group(problem, (*traces, drawn)))
    return after


def other(groups, *, _into):
    """A score for every trace."""
    return [replace(g, traces=tuple(scored(t, scores={_into: 2.0}) for t in g.traces)) for g in groups]


def folder_of(tmp_path, name, function, part):
    folder = StageFolder(tmp_path / "scorers" / name, "f")
    folder.open()
    assert score_part(folder, BoundScorer(name, partial(function, _into=name)), part) == 3
    return folder


def test_the_marks_of_two_scorers_are_joined_and_every_trace_is_accounted_for(tmp_path):
    write_records(tmp_path / "in.parquet", Group, [GROUP])
    part = ShardInput(0, tmp_path / "in.parquet")
    marks = {"length": folder_of(tmp_path, "length", length, part), "two": folder_of(tmp_path, "two", other, part)}
    stored = next(read_records(marks["length"].folder / "marks" / "part-00000.parquet"))
    assert [trace.completion for trace in stored.traces] == ["", "", "", "seven"]  # text is stored once
    folder = StageFolder(tmp_path / "score", "f")
    folder.open()
    join_part(folder, marks, part)
    ledger = folder.finish(1)
    (found,) = folder.read("groups")
    assert [(t.completion, dict(t.scores)) for t in found.traces] == [
        ("four", {"length": 4.0, "two": 2.0}), ("five", {"length": 4.0, "two": 2.0}), ("six", {"two": 2.0}), ("seven", {}),
    ]  # fmt: skip
    assert found.traces[0].spans == {"length": (Span(0, 2, 0.5),)}
    assert found.problem == replace(PROBLEM, metadata={"level": 1, "tried": 1})
    assert reason_of(found.traces[2], "length") == "even"
    assert ledger["accounts"]["scored:length"] == {"unit": "trace", "in": 3, "kept": 2, "dropped": {"even": 1}}
    assert ledger["accounts"]["scored:two"] == {"unit": "trace", "in": 3, "kept": 3, "dropped": {}}
    assert ledger["accounts"]["traces"] == {"unit": "trace", "in": 4, "kept": 4, "dropped": {}}
    assert ledger["tallies"]["drawn"] == {"length": 1}


def marked(change):
    """The marks of the first trace after a change of it."""
    after = replace(GROUP, traces=(change(GROUP.traces[0]), *GROUP.traces[1:]))
    return marks_of("s", [GROUP], [after])[0].traces[0]


def test_a_score_that_is_no_finite_number_is_none_at_all():
    for value in (math.nan, math.inf):
        found = marked(lambda trace, value=value: scored(trace, scores={"s": value}))
        assert (found.scores, reason_of(found, "s")) == ({}, "not_finite")
        found = marked(lambda trace, value=value: scored(trace, spans={"s": [Span(0, 1, value)]}))
        assert (found.spans, reason_of(found, "s")) == ({}, "not_finite")


def test_a_score_of_exactly_0_is_a_score():
    found = marked(lambda trace: scored(trace, scores={"s": 0.0}))
    assert (found.scores, reason_of(found, "s")) == ({"s": 0.0}, None)


def test_silence_about_a_trace_is_counted():
    assert reason_of(marked(lambda trace: trace), "s") == "no_score"


def test_a_scorer_can_neither_drop_nor_change_a_trace():
    with pytest.raises(OperatorError, match=r"score \(s\): trace t\w+ is missing; a scorer must not drop traces"):
        marks_of("s", [GROUP], [replace(GROUP, traces=GROUP.traces[1:])])
    with pytest.raises(OperatorError, match=r"score \(s\): trace t\w+ was changed"):
        marked(lambda trace: replace(trace, completion="four!"))
    with pytest.raises(OperatorError, match=r"score \(s\): a scorer must return the groups it was given"):
        marks_of("s", [GROUP], [])


def test_a_span_beyond_the_end_of_turn_is_refused():
    assert marked(lambda trace: scored(trace, spans={"s": [Span(4, 5, 1.0)]})).spans  # the end-of-turn token
    with pytest.raises(OperatorError, match=r"a span of s on trace t\w+ does not fit its text"):
        marked(lambda trace: scored(trace, spans={"s": [Span(4, 6, 1.0)]}))
