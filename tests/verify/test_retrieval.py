"""The verifier `retrieval`: the form of an answer, its score, and retrievers that fail."""

import functools
import json
import math

import pytest

from redistill.config.binding import bind
from redistill.config.tables import Plugin
from redistill.config.user_plugins import load_code
from redistill.errors import OperatorError
from redistill.records import Outcome, make_problem, make_trace
from redistill.verify import VERIFIERS, VerifierPool, check_bound
from redistill.verify.relevance import has_gold
from redistill.verify.retrieval import read_query, relevant_of, retrieval
from redistill.verify.stage import judged

THIRD = 1 / math.log2(3)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Four documents: soap finds a and b, b first for it is shorter."""
    folder = tmp_path_factory.mktemp("shop")
    rows = {"a": "soap with lavender", "b": "soap", "c": "towel", "d": "brush"}
    (folder / "corpus.jsonl").write_text("\n".join(json.dumps({"_id": i, "text": t}) for i, t in rows.items()))
    return str(folder)


def wanting(*ids, statement="something to wash with", **metadata):
    return make_problem(statement, metadata={"relevant": list(ids), **metadata})


def said(problem, query, thinking="<think>hm</think>"):
    return make_trace(problem.id, f'{thinking}<answer>{{"query": "{query}"}}</answer>', finish_reason="stop")


@pytest.mark.parametrize(
    ("text", "strict", "answer_alone"),
    [
        ('<think>a</think><answer>{"query": "x"}</answer>', "x", "x"),
        ('<think>a</think> so <answer>\n{"query": "x", "why": 1}\n</answer> done', "x", "x"),
        (
            'a</think><answer>{"query": "x"}</answer>',
            None,
            "x",
        ),  # the opening tag is the prompt's: give it as a prefill
        ('<answer>{"query": "x"}</answer>', None, "x"),
        ('<answer>{"query": "x"}</answer><think>a</think>', None, "x"),
        ('<think>a</think><think>b</think><answer>{"query": "x"}</answer>', None, "x"),
        ('<think>a</think><answer>{"query": "x"}</answer><answer>{"query": "y"}</answer>', None, None),
        ('<think>a</think><answer>{"query": "x"}', None, None),
        ('<think>a</think></answer>{"query": "x"}<answer>', None, None),
        ("<think>a</think><answer>x</answer>", None, None),
        ('<think>a</think><answer>{"q": "x"}</answer>', None, None),
        ('<think>a</think><answer>{"query": 3}</answer>', None, None),
        ('<think>a</think><answer>["query"]</answer>', None, None),
        ('<think>a</think><answer>{"query": ""}</answer>', "", ""),
        ("", None, None),
        ("<answer>" + "[" * 100_000 + "</answer>", None, None),
    ],
)
def test_the_form_of_an_answer(text, strict, answer_alone):
    assert read_query(text, "think-answer")[0] == strict
    assert read_query(text, "answer")[0] == answer_alone


def test_what_the_form_misses_is_the_reason(shop):
    problem = wanting("a")
    reasons = {
        '<answer>{"query": "soap"}</answer>': "no_think_tags",
        "soap": "no_answer_tags",
        "<think>a</think><answer>soap</answer>": "no_json",
        '<think>a</think><answer>{"q": "soap"}</answer>': "no_query",
    }
    for text, reason in reasons.items():
        verdict = retrieval(problem, make_trace(problem.id, text), index=shop)
        assert (verdict.outcome, verdict.reason, verdict.score) == (Outcome.no_answer, reason, 0.0)
    cut = make_trace(problem.id, "<think>so", finish_reason="length")
    assert retrieval(problem, cut, index=shop).outcome is Outcome.truncated


@pytest.mark.parametrize(
    ("wanted", "query", "score", "outcome"),
    [
        (["a", "b"], "soap", 1.0, Outcome.correct),
        (["b"], "soap", 1.0, Outcome.correct),
        (["a"], "soap", THIRD, Outcome.correct),  # .63 in the second place
        (["a", "c"], "soap", THIRD / (1 + THIRD), Outcome.disagree),  # .39: between the two thresholds
        (["c"], "soap", 0.0, Outcome.incorrect),
        (["c"], "nothing like it", 0.0, Outcome.incorrect),
        (["c"], "", 0.0, Outcome.incorrect),
        (["c", "c", "d"], "towel brush", 1.0, Outcome.correct),
    ],
)
def test_the_score_of_a_query(shop, wanted, query, score, outcome):
    problem = wanting(*wanted)
    verdict = retrieval(problem, said(problem, query), index=shop)
    assert verdict.score == pytest.approx(score) and verdict.outcome is outcome and verdict.extracted == query
    assert verdict.reason.endswith(": ndcg@1000") and "bm25, ndcg@1000" in verdict.verifier_version


def test_measures_and_thresholds_are_options(shop):
    problem = wanting("a", "c")
    trace = said(problem, "soap")
    assert retrieval(problem, trace, index=shop, metric="recall").score == 0.5
    assert retrieval(problem, trace, index=shop, metric="recall", k=1).score == 0.0
    assert retrieval(problem, trace, index=shop, right_at=0.3).outcome is Outcome.correct
    assert retrieval(problem, trace, index=shop, wrong_at=0.4).outcome is Outcome.incorrect
    graded = make_problem("x", metadata={"relevant": {"a": 3, "b": 1, "c": 0}})
    # b leads, so 1 + 3/log2(3) of the ideal 3 + 1/log2(3)
    assert retrieval(graded, said(graded, "soap"), index=shop, gains="graded").score == pytest.approx((1 + 3 * THIRD) / (3 + THIRD))  # fmt: skip
    twice = wanting("c", "c", "c", "d")
    counted = retrieval(twice, said(twice, "towel brush"), index=shop, duplicates="count")
    assert counted.score == pytest.approx(0.637, abs=5e-4)


def test_what_cannot_be_judged_is_undecided_and_has_no_score(shop):
    for problem, reason in ((make_problem("x"), "no_relevant"), (wanting("z"), "relevant_not_indexed"),
                            (make_problem("x", metadata={"relevant": {"a": 0}}), "no_relevant")):  # fmt: skip
        verdict = retrieval(problem, said(problem, "soap"), index=shop)
        assert (verdict.outcome, verdict.reason, verdict.score) == (Outcome.ungradable, reason, None)


def test_relevant_documents_of_the_metadata():
    assert relevant_of(wanting("a", "b")) == ["a", "b"]
    assert relevant_of(make_problem("x", metadata={"relevant": {"a": 2, "b": "much"}})) == {"a": 2.0}
    assert relevant_of(make_problem("x", metadata={"relevant": "a"})) == []
    assert has_gold(wanting("a")) and has_gold(make_problem("x", answer="1")) and not has_gold(wanting())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "retrieval needs `index`"),
        ({"index": "/no/such/folder"}, "index: there are no documents at /no/such/folder"),
        ({"index": "made:shop", "retriever": "bm26"}, "there is no 'bm26'"),
        ({"index": "made:shop", "right_at": 0.1, "wrong_at": 0.1}, "wrong_at must be below right_at"),
        ({"retriever": "dense"}, "model"),
    ],
)
def test_what_could_not_work_is_said_before_any_work(options, said):
    with pytest.raises(OperatorError, match=said):
        check_bound(bind(VERIFIERS, Plugin(name="retrieval", options=options), "here"), "here")


OWN = """\
import os, time

def search(query, k):
    if query == "raises":
        raise ValueError("the disk is gone")
    if query == "dies":
        os._exit(1)
    if query == "slow":
        while True:
            pass
    return ["a", "x"]
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "search_of_a_verifier_test.py"
    path.write_text(OWN)
    load_code(path)
    return functools.partial(retrieval, retriever="search_of_a_verifier_test:search", form="answer")


def pool_of(verifier):
    return VerifierPool({"retrieval": verifier}, workers=1, timeout_seconds=0.5, memory_mb=2048)


def test_a_search_of_ones_own_in_the_workers_and_one_that_dies_or_hangs(own):
    problem = wanting("a")
    with pool_of(own) as pool:
        found = [
            v["retrieval"] for v in pool.judge([(problem, said(problem, q, "")) for q in ("ok", "dies", "slow", "ok")])
        ]
    assert [v.outcome for v in found] == [Outcome.correct, Outcome.timeout, Outcome.timeout, Outcome.correct]
    assert [v.reason for v in found[1:3]] == ["memory_or_crash", "cpu_time"] and found[1].score is None


def test_a_retriever_that_raises_stops_with_the_querys_problem(own):
    problem = wanting("a")
    trace = said(problem, "raises", "")
    with pool_of(own) as pool, pytest.raises(OperatorError) as caught:
        list(pool.judge([(problem, trace)]))
    assert f"problem {problem.id}, trace {trace.id} ('raises'): ValueError: the disk is gone" in str(caught.value)


def test_an_index_that_is_gone_when_the_workers_start_is_a_sentence(tmp_path):
    problem = wanting("a")
    with (
        pool_of(functools.partial(retrieval, index=str(tmp_path))) as pool,
        pytest.raises(OperatorError, match=f"verify: {tmp_path} holds no collection"),
    ):
        list(pool.judge([(problem, said(problem, "x"))]))


def test_groups_without_a_gold_answer_are_judged(shop):
    from redistill.records import Group

    problem = wanting("b")
    verifier = functools.partial(retrieval, index=shop)
    with pool_of(verifier) as pool:
        (group,) = judged(pool, [Group(problem, (said(problem, "soap"),))], "retrieval")
    assert group.traces[0].verdict.outcome is Outcome.correct and group.traces[0].verdict.score == 1.0
