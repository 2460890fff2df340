"""A run with a judge: the bill before and after, the ledger, the cache that outlives a change of the recipe."""

import json

import pytest

from local_servers import scripted_server
from redistill.config.parsing import load_recipe
from redistill.errors import OnlyCounted, OperatorError
from redistill.io.stage_folder import StageFolder
from redistill.pipeline.run import run
from tiny_recipe import fresh_fingerprints

QUICKSTART = "quickstart"
SMALL = ["corpus.sources.0.problems=12", "corpus.shards=2", "verify.workers=1"]


def recipe(url, *more):
    judge = f"verify.judge={{name: llm, base_url: '{url}', model: m, price_in: 1.0, price_out: 1.0}}"
    return load_recipe(QUICKSTART, [*SMALL, judge, *more])


def test_a_judge_is_counted_then_heard_then_remembered(tmp_path, capsys):
    with scripted_server(tmp_path, answers=json.dumps({"": "Equal.\nVERDICT: same"})) as server:
        with pytest.raises(OperatorError, match=r"(\d+) calls are needed and max_calls is 0; nothing was asked"):
            run(recipe(server.base_url, "verify.judge.max_calls=0"), runs_dir=tmp_path, until="verify")
        with pytest.raises(OnlyCounted):  # counting is what was asked for: the command line ends with exit code 0
            run(recipe(server.base_url, "verify.judge.max_calls=0"), runs_dir=tmp_path, until="verify")
        assert server.asked() == [] and "calls to ask (0 answered before), about " in capsys.readouterr().err
        folder = run(recipe(server.base_url), runs_dir=tmp_path, until="verify")
        rules, stage_dir = StageFolder(folder / "verify" / "rules", ""), StageFolder(folder / "verify", "")
        doubtful = [t for g in rules.read("groups") for t in g.traces if t.verdict.outcome in ("incorrect", "disagree")]
        assert doubtful and len(server.asked()) == len(doubtful)  # the quickstart's wrong traces are all different
        assert {t.verdict.outcome for g in stage_dir.read("groups") for t in g.traces} == {"correct"}
        facts = stage_dir.ledger()["judge"]
        assert (facts["calls"], facts["answered_before"]) == (len(doubtful), 0)
        assert facts["dollars"] == pytest.approx((facts["tokens_in"] + facts["tokens_out"]) / 1e6)
        assert stage_dir.ledger()["tallies"]["outcomes:judge"] == {"correct": len(doubtful)}
        asked = f"{len(doubtful)} calls asked (0 answered before), {facts['tokens_in']:,} tokens in"
        said = capsys.readouterr().err
        assert asked in said and f"it changed {len(doubtful):,} verdicts" in said and "incorrect -> correct" in said
        assert sum(facts["changed"].values()) == len(doubtful)
    # the server is gone: another policy hears the same opinions, for nothing
    folder = run(recipe("http://127.0.0.1:9/v1", "verify.judge.policy=veto"), runs_dir=tmp_path, until="verify")
    assert StageFolder(folder / "verify", "").ledger()["judge"]["answered_before"] == len(doubtful)
    outcomes = StageFolder(folder / "verify", "").ledger()["tallies"]["outcomes"]
    assert outcomes["disagree"] == len(doubtful) and "incorrect" not in outcomes


def test_what_the_judge_costs_and_where_it_is_judges_nothing_again():
    first = fresh_fingerprints(recipe("http://127.0.0.1:9/v1"))["verify"]
    assert fresh_fingerprints(recipe("http://127.0.0.1:8/v1", "verify.judge.price_in=3.0"))["verify"] == first
    assert fresh_fingerprints(recipe("http://127.0.0.1:9/v1", "verify.judge.policy=veto"))["verify"] != first
