"""A run that chooses among its samples: scores, CSV and printed lines agree, and another choice draws nothing again."""

import copy
import csv

import pytest

from redistill import api
from redistill.cli import main
from redistill.config.parsing import parse_recipe
from redistill.errors import OperatorError
from redistill.io.atomic import read_json
from redistill.io.parquet import read_records
from redistill.pipeline.run import run
from tiny_recipe import RECIPE


def recipe(*choices, **evaluate):
    tree = copy.deepcopy(RECIPE)
    few = {"models": ["redi"], "benchmarks": [{"name": "dev", "max_problems": 4}], "max_new_tokens": 6}
    tree["evaluate"] |= {**few, "n": 3, "temperature": 1.0, "choose": list(choices), **evaluate}
    tree["stages"] = [{"name": "score-csv", "after": "evaluate"}]
    return parse_recipe(tree, "here")


BY_SCORER = {"name": "best-of-n", "by": {"name": "perplexity", "into": "likely"}, "best": "lowest"}
LABEL = "best-of-n (by likely, best lowest)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return run(recipe("majority", "confidence", "shortest", BY_SCORER), runs_dir=tmp_path_factory.mktemp("runs"))


def answers(folder):
    (path,) = folder.glob("evaluate/*/dev/groups/part-00000.parquet")
    return path


def test_the_samples_carry_their_confidence_and_the_scores_each_choice(folder):
    traces = [trace for group in read_records(answers(folder)) for trace in group.traces]
    assert traces and all(trace.scores["mean_logprob"] < 0 for trace in traces)
    scores = read_json(answers(folder).parents[1] / "scores.json")
    assert list(scores["choose"]) == ["majority", "confidence", "shortest", LABEL]
    for found in scores["choose"].values():
        assert (
            list(found["curve"]) == ["1", "2", "3"]
            and found["against_pass_at_1"]["num_problems"] == scores["num_problems"]
        )
    # at k = 1 the choice that may take any sample is pass@1
    assert scores["choose"]["confidence"]["curve"]["1"]["value"] == pytest.approx(scores["pass_at_1"]["value"])


def test_a_scorer_that_a_choice_writes_out_has_scored_every_answer(folder):
    marks = [
        t
        for g in read_records(answers(folder).parents[1] / "scorers/likely/marks/part-00000.parquet")
        for t in g.traces
    ]
    known = {trace.id for group in read_records(answers(folder)) for trace in group.traces}
    assert {mark.id for mark in marks} == known and all(
        mark.scores.get("likely", 0) > 1 or mark.notes for mark in marks
    )
    curve = read_json(answers(folder).parents[1] / "scores.json")["choose"][LABEL]["curve"]
    assert list(curve) == ["1", "2", "3"]


def test_the_curves_are_a_csv_file_too(folder):
    rows = list(csv.DictReader((folder / "score-csv/choices.csv").open()))
    assert [(row["choice"], row["k"]) for row in rows[:4]] == [("majority", "1"), ("majority", "2"), ("majority", "3"), ("confidence", "1")]  # fmt: skip


def test_stored_samples_are_chosen_from_by_another_name_without_a_run(folder, capsys):
    before = answers(folder).stat().st_mtime_ns
    (scores,) = api.scores(folder, choose=["{name: best-of-n, by: mean_logprob, best: lowest}"])["scores"]
    label = "best-of-n (by mean_logprob, best lowest)"
    assert {"majority", label} <= scores["choose"].keys() and "per_problem_choose" not in scores
    main(["scores", str(folder), "--choose", "{name: best-of-n, by: nobody}"])
    said = capsys.readouterr().out
    assert "majority of 3" in said
    assert "best-of-n (by nobody): left out, for no sample has a score 'nobody'; there are likely, mean_logprob" in said
    assert answers(folder).stat().st_mtime_ns == before


def test_another_choice_scores_anew_and_draws_nothing(folder):
    before = answers(folder).stat().st_mtime_ns
    scored = answers(folder).parents[1] / "scorers/likely/marks/part-00000.parquet"
    marked = scored.stat().st_mtime_ns
    run(recipe("majority", "confidence", BY_SCORER), runs_dir=folder.parent)
    assert answers(folder).stat().st_mtime_ns == before and scored.stat().st_mtime_ns == marked
    run(recipe("majority", "confidence"), runs_dir=folder.parent)
    assert answers(folder).stat().st_mtime_ns == before
    assert list(read_json(answers(folder).parents[1] / "scores.json")["choose"]) == ["majority", "confidence"]


def test_a_finished_model_is_evaluated_with_a_scorer_too(folder, tmp_path):
    (tmp_path / "sums.jsonl").write_text('{"problem": "1+1=", "answer": "2"}\n{"problem": "1+2=", "answer": "3"}\n')
    student, choice = folder / "train/redi/model", "{name: best-of-n, by: {name: perplexity}, best: lowest}"
    asked = {"n": 2, "max_new_tokens": 4, "choose": [choice], "template": "bare", "chat": False}
    evaluated = api.evaluate(student, [f"file:{tmp_path / 'sums.jsonl'}"], **asked, runs_dir=tmp_path / "runs")
    (scores,) = api.scores(evaluated)["scores"]
    found = scores["choose"]["best-of-n (by perplexity, best lowest)"]
    assert list(found.get("curve", {})) == ["1", "2"] or "no sample has a score" in found["why"]
    assert list(evaluated.glob("evaluate/*/sums/scorers/perplexity/marks/part-00000.parquet"))


def test_a_choice_that_is_not_there_is_said_before_any_work(tmp_path):
    with pytest.raises(OperatorError, match=r"evaluate\.choose: there is no 'majorty'"):
        run(recipe("majorty"), runs_dir=tmp_path)
    assert not list(tmp_path.glob("*/corpus"))
