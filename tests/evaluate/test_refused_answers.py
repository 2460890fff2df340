"""A request that a server refused is not a wrong answer: its problem is left out of the score, and the number is said."""

from functools import partial

import pytest

from local_servers import scripted_server
from redistill.errors import OperatorError
from redistill.evaluate.compare import paired_difference
from redistill.evaluate.scores import score
from redistill.io import client
from redistill.io.client import Reply
from redistill.records import FINAL, REFUSED, Group, Outcome, Verdict, make_problem, make_trace
from redistill.rollout.openai_engine import openai_engine
from redistill.rollout.requests import Sampling, requests_for, traces_of
from redistill.verify import VERIFIERS, VerifierPool
from redistill.verify.judge import llm, read_opinion
from redistill.verify.stage import judged

PROBLEMS = [make_problem(f"problem {n}?", answer=str(n)) for n in range(8)]


def answered(problem, outcomes):
    """Its samples; None is one that the server refused."""
    traces = []
    for index, outcome in enumerate(outcomes):
        facts = {"sample_index": index, **({} if outcome else {REFUSED: "content_filter"})}
        verdict = Verdict(outcome or Outcome.ungradable, None, "", "exact")
        traces.append(make_trace(problem.id, f"sample {index}", sampling=facts, verdicts={FINAL: verdict}))
    return Group(problem, tuple(traces))


def test_a_problem_with_a_refused_sample_is_left_out_and_counted():
    right, wrong = Outcome.correct, Outcome.incorrect
    groups = [
        answered(PROBLEMS[0], [right, right]),
        answered(PROBLEMS[1], [wrong, right]),
        answered(PROBLEMS[2], [right, None]),
    ]
    found = score(groups, n=2)
    assert (found["num_problems"], found["num_refused"], found["left_out"]) == (2, 1, [PROBLEMS[2].id])
    assert found["pass_at_1"]["value"] == 0.75 and found["rates"]["ungradable"] == 0.0
    assert "left_out" not in score(groups[:2], n=2)
    with pytest.raises(OperatorError, match="for each of the 1 problems the server refused a sample"):
        score(groups[2:], n=2)


def test_two_students_are_compared_on_what_both_were_scored_on():
    right, wrong = Outcome.correct, Outcome.incorrect
    a = score([answered(p, [right if n else None]) for n, p in enumerate(PROBLEMS)], n=1)
    b = score([answered(p, [wrong if n < 7 else None]) for n, p in enumerate(PROBLEMS)], n=1)
    found = paired_difference(a, b)
    assert (found["num_problems"], found["num_left_out"], found["difference"]) == (6, 2, 1.0)
    with pytest.raises(OperatorError, match="were not scored on the same problems"):
        paired_difference(a, score([answered(p, [wrong]) for p in PROBLEMS[:5]], n=1))


def test_a_refused_request_is_a_sample_that_nobody_can_judge(tmp_path, monkeypatch):
    monkeypatch.setattr(client, "FIRST_WAIT_SECONDS", 0.01)
    sampling = Sampling(n=2, temperature=1.0, top_p=1.0, max_new_tokens=8)
    asked = [(problem, requests_for(problem, problem.statement, sampling, seed=0)) for problem in PROBLEMS]
    answers = {f"problem {n}?": rf"\boxed{{{n}}}" for n in range(8)}
    with scripted_server(tmp_path, answers=answers, refuse={"problem 3": 400}) as server:
        flat = [request for _, requests in asked for request in requests]
        samples = openai_engine(lambda: None, flat, sampling, base_url=server.base_url, model="m", retries=1)
    groups = [
        Group(problem, traces_of(problem, samples[2 * n : 2 * n + 2], requests, sampling, author="m"))
        for n, (problem, requests) in enumerate(asked)
    ]
    verifiers = {"exact": partial(VERIFIERS["exact"])}
    with VerifierPool(verifiers, workers=1, timeout_seconds=5, memory_mb=2048) as pool:
        found = list(judged(pool, groups, "exact"))
    outcomes = [[(t.verdict.outcome, t.verdict.reason) for t in group.traces] for group in found]
    assert outcomes[3] == [(Outcome.ungradable, "refused_by_server")] * 2
    assert {outcome for n, rows in enumerate(outcomes) if n != 3 for outcome, _ in rows} == {Outcome.correct}
    assert score(found, n=2)["left_out"] == [PROBLEMS[3].id]


def test_a_judge_that_is_refused_decides_nothing():
    judge = llm(base_url="http://127.0.0.1:1/v1", model="m")
    found = read_opinion(Reply("VERDICT: same", "stop", None, None, refused="content_filter"), judge)
    assert (found.outcome, found.reason) == (Outcome.ungradable, "judge_refused: content_filter")
