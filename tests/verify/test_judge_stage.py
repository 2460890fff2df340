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
        with pytest.raises(OperatorError, match=r"(\d+) calls are needed; no call was made, because max_calls is 0"):
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
        asked = f"{len(doubtful)} calls (0 answered before), {facts['tokens_in']:,} tokens in"
        said = capsys.readouterr().err
        assert asked in said and f"it changed {len(doubtful):,} verdicts" in said and "incorrect -> correct" in said
        assert sum(facts["changed"].values()) == len(doubtful)
    # the server is gone: another policy hears the same opinions, for nothing
    folder = run(recipe("http://127.0.0.1:9/v1", "verify.judge.policy=veto"), runs_dir=tmp_path, until="verify")
    again = StageFolder(folder / "verify", "").ledger()["judge"]
    assert again["answered_before"] == len(doubtful)
    assert again["tokens_in"] == facts["tokens_in"] > 0  # paid once, and no less for being remembered
    outcomes = StageFolder(folder / "verify", "").ledger()["tallies"]["outcomes"]
    assert outcomes["disagree"] == len(doubtful) and "incorrect" not in outcomes


def test_what_the_judge_costs_and_where_it_is_judges_nothing_again():
    first = fresh_fingerprints(recipe("http://127.0.0.1:9/v1"))["verify"]
    assert fresh_fingerprints(recipe("http://127.0.0.1:8/v1", "verify.judge.price_in=3.0"))["verify"] == first
    assert fresh_fingerprints(recipe("http://127.0.0.1:9/v1", "verify.judge.policy=veto"))["verify"] != first


def judged_run(folder, url, **more):
    return run(
        recipe(url, "verify.judge.concurrency=4", "verify.judge.retries=0"), runs_dir=folder, until="verify", **more
    )


def test_the_bill_and_the_replies_are_those_of_a_run_that_was_never_stopped(tmp_path):
    """The server counts the tokens; what it has counted in all is what the ledger says, although it died on the way."""
    answers = {"answers": json.dumps({"": "Equal.\nVERDICT: same"}), "slow": 0.02}
    with scripted_server(tmp_path, **answers) as server:
        whole = judged_run(tmp_path / "whole", server.base_url)
    with scripted_server(tmp_path, **answers, die_after=5) as server, pytest.raises(OperatorError, match="are kept"):
        judged_run(tmp_path / "stopped", server.base_url)
    with scripted_server(tmp_path, **answers) as server:
        stopped = judged_run(tmp_path / "stopped", server.base_url)
        asked_again = len(server.asked())
    ledgers = [StageFolder(folder / "verify", "").ledger()["judge"] for folder in (whole, stopped)]
    assert ledgers[0] == ledgers[1] and 0 < asked_again < ledgers[0]["calls"]
    replies = [(folder / "judge.jsonl").read_bytes() for folder in (whole, stopped)]
    counted = [json.loads(line)["reply"] for line in replies[0].splitlines()]
    assert ledgers[1]["tokens_in"] == sum(reply["prompt_tokens"] for reply in counted)
    assert ledgers[1]["tokens_out"] == 3 * ledgers[1]["calls"]  # "Equal. VERDICT: same" by the server's count
    assert replies[0] == replies[1]  # four connections answer in any order


def test_a_reply_that_was_billed_and_refused_is_on_the_bill(tmp_path):
    """A content filter bills the tokens it threw away; one of the questions meets it."""
    with scripted_server(tmp_path, answers=json.dumps({"": "Equal.\nVERDICT: same"})) as server:
        judged_run(tmp_path / "first", server.base_url)
        wrong = server.asked()[3]["messages"][0]["content"]
    filtered = json.dumps({wrong: {"finish_reason": "content_filter"}})
    with scripted_server(tmp_path, answers=json.dumps({"": "Equal.\nVERDICT: same"}), choice=filtered) as server:
        folder = judged_run(tmp_path / "second", server.base_url)
    facts = StageFolder(folder / "verify", "").ledger()["judge"]
    assert facts["tokens_out"] == 3 * facts["calls"]
    kept = [json.loads(line)["reply"] for line in (folder / "judge.jsonl").read_text().splitlines()]
    assert [reply["refused"] for reply in kept if "refused" in reply] == ["content_filter"]
