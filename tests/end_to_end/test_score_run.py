"""A run with the stage `score`: select reads what the scorers found, each scorer is cached by itself, and a killed one goes on."""

import json
import sys
from collections import defaultdict

import pytest

from redistill import api
from redistill.errors import OperatorError
from redistill.io.parquet import read_records
from redistill.records import Outcome
from redistill.report.blocks import Table
from redistill.report.files import RunFiles
from redistill.report.page import SECTIONS
from redistill.report.sections.trace_scores import trace_scores
from tiny_recipe import RECIPE

CODE = '''
"""Scorers of a user's own."""
from dataclasses import replace
from redistill.score import scored, unscored

CALLS = []


def digits(groups, *, least: int = 1, _into: str) -> list:
    """The number of digits in the completion, where there are enough of them."""
    CALLS.append(len(groups))
    count = lambda trace: sum(letter.isdigit() for letter in trace.completion)
    mark = lambda t: scored(t, scores={_into: float(count(t))}) if count(t) >= least else unscored(t, _into, "few_digits")
    return [replace(group, traces=tuple(mark(trace) for trace in group.traces)) for group in groups]
'''


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    file = tmp_path_factory.mktemp("code") / "my_scorer.py"
    file.write_text(CODE)
    tree = {
        **RECIPE,
        "corpus": {**RECIPE["corpus"], "shards": 2},
        "score": ["perplexity", {"name": "my_scorer:digits", "least": 12, "into": "digits"}],
        "select": {
            "keep": {"by": "perplexity", "top": 9, "best": "lowest"},
            "pairing": {"name": "best-against-worst", "by": "perplexity", "best": "lowest"},
        },
    }
    return tree, file


@pytest.fixture(scope="module")
def done(recipe, tmp_path_factory):
    tree, file = recipe
    return api.run(tree, runs_dir=tmp_path_factory.mktemp("runs"), until="select", code=[file])


def groups_of(folder, stage):
    return [group for path in sorted((folder / stage / "groups").glob("*.parquet")) for group in read_records(path)]


def test_select_keeps_the_best_traces_by_a_score_of_the_stage(done):
    held_out = {p.id for path in (done / "select" / "dev").glob("*.parquet") for p in read_records(path)}
    right = {
        trace.id: trace.scores["perplexity"]
        for group in groups_of(done, "score")
        for trace in group.traces
        if trace.verdict.outcome is Outcome.correct and group.problem.id not in held_out
    }
    best = sorted(right, key=right.__getitem__)[:9]
    examples = [row for path in (done / "select" / "examples").glob("*.parquet") for row in read_records(path)]
    assert len(right) > 20 and len(set(right.values())) > 20
    assert {example.trace_id for example in examples} == set(best)


def test_pairs_are_the_least_surprising_right_trace_against_a_wrong_one(done):
    traces = {trace.id: (group.problem.id, trace) for group in groups_of(done, "score") for trace in group.traces}
    wrong = defaultdict(list)
    for problem, trace in traces.values():
        if trace.verdict.outcome is Outcome.incorrect:
            wrong[problem].append(trace)
    pairs = [row for path in (done / "select" / "pairs").glob("*.parquet") for row in read_records(path)]
    assert pairs
    for pair in pairs:
        worst = max(wrong[pair.problem_id], key=lambda trace: trace.scores["perplexity"])
        assert pair.rejected_id == worst.id


def test_scored_and_not_scored_traces_are_counted_with_reasons(done):
    accounts = json.loads((done / "score" / "ledger.json").read_text())["accounts"]
    found = groups_of(done, "score")
    few = sum("digits_unscored" in trace.notes for group in found for trace in group.traces)
    total = sum(len(group.traces) for group in found)
    assert 0 < few < total
    assert accounts["scored:digits"] == {
        "unit": "trace",
        "in": total,
        "kept": total - few,
        "dropped": {"few_digits": few},
    }
    assert accounts["scored:perplexity"]["kept"] == accounts["traces"]["kept"] == total
    assert all("digits" not in t.scores for g in found for t in g.traces if "digits_unscored" in t.notes)


def test_only_the_scorer_whose_options_change_is_made_again_and_a_lost_shard_alone(recipe, tmp_path):
    tree, file = recipe
    tree = {**tree, "corpus": {**tree["corpus"], "sources": [{"name": "two-habits", "problems": 8}]}}
    folder = api.run(tree, runs_dir=tmp_path, until="score", code=[file])
    calls = sys.modules["my_scorer"].CALLS
    stamp = (folder / "scorers/perplexity/ledger.json").stat().st_mtime_ns
    calls.clear()
    changed = {**tree, "score": ["perplexity", {"name": "my_scorer:digits", "least": 13, "into": "digits"}]}
    api.run(changed, runs_dir=tmp_path, until="score", code=[file])
    assert len(calls) == 2  # both shards
    assert (folder / "scorers/perplexity/ledger.json").stat().st_mtime_ns == stamp
    before = [group.traces for group in groups_of(folder, "score")]
    calls.clear()
    (folder / "scorers/digits/part-00001.done").unlink()  # as a kill in the middle leaves it
    (folder / "scorers/digits/ledger.json").unlink()
    api.run(changed, runs_dir=tmp_path, until="score", code=[file])
    assert len(calls) == 1
    assert [group.traces for group in groups_of(folder, "score")] == before


@pytest.mark.parametrize(
    ("score", "sentence"),
    [
        (["perplexity", "perplexity"], "two scorers are called 'perplexity'"),
        (["perplexty"], "score.0: there is no 'perplexty'; did you mean 'perplexity'?"),
        ([{"name": "perplexity", "modle": "x"}], r"score.0 \(perplexity\): modle: unknown key; did you mean 'model'\?"),
        ([{"name": "perplexity", "into": "a/b"}], "score.0"),
    ],
)
def test_a_mistake_in_score_is_one_sentence(score, sentence):
    with pytest.raises(OperatorError, match=sentence):
        api.run({**RECIPE, "score": score}, until="score")


def test_a_stage_after_score_needs_a_scorer():
    after = [{"name": "limit-traces", "after": "score", "per_problem": 1}]
    with pytest.raises(OperatorError, match="a stage has `after: score`, but `score` lists no scorer"):
        api.run({**RECIPE, "stages": after}, until="score")


def test_why_says_scores_and_reasons_of_a_trace(done):
    traces = [trace for group in groups_of(done, "score") for trace in group.traces]
    few = next(trace for trace in traces if "digits_unscored" in trace.notes)
    (step,) = [step for step in api.why(few.id, done) if step.stage == "score"]
    assert step.what == f"perplexity {few.scores['perplexity']:.6g}"
    assert step.details == ["digits: not scored (few_digits)"]
    both = next(trace for trace in traces if "digits" in trace.scores)
    (step,) = [step for step in api.why(both.id, done) if step.stage == "score"]
    assert (
        step.what == f"perplexity {both.scores['perplexity']:.6g}, digits {both.scores['digits']:g}"
        and not step.details
    )


def test_the_report_counts_scored_traces_and_says_how_well_a_score_parts_right_from_wrong(done):
    blocks = trace_scores(RunFiles(done))
    traces = [trace for group in groups_of(done, "score") for trace in group.traces]
    few = sum("digits_unscored" in trace.notes for trace in traces)
    with_score, apart = (block for block in blocks if isinstance(block, Table))
    total = str(len(traces))
    assert [list(row) for row in with_score.rows] == [
        ["perplexity", total, total, "0", None],
        ["digits", total, str(len(traces) - few), str(few), f"{few} few_digits"],
    ]
    right, wrong = (
        [t.scores["digits"] for t in traces if "digits" in t.scores and t.verdict.outcome is outcome]
        for outcome in (Outcome.correct, Outcome.incorrect)
    )
    pairs = [(one > other) + (one == other) / 2 for one in right for other in wrong]
    assert apart.rows[1][0] == "digits" and apart.rows[1][-1] == f"{100 * sum(pairs) / len(pairs):.1f}"
    assert trace_scores.__name__ in {section.__name__ for section in SECTIONS.values()}
