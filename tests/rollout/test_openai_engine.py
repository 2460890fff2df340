"""The engine that asks a server: what it sends, what it keeps, and `transformers serve` against sampling in process."""

import functools
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from local_servers import scripted_server, transformers_server, words_of
from redistill.config.tables import StudentSettings
from redistill.errors import OperatorError
from redistill.io import client
from redistill.model import loading
from redistill.records import FINAL, Group, Outcome, Verdict, make_problem, make_trace
from redistill.rollout import ENGINES, Request, Sampling, Student, draw, requests_for, traces_of
from redistill.rollout.transformers_engine import transformers_engine
from redistill.verify.judge import llm, with_llm_verdicts

WARM = Sampling(n=2, temperature=0.6, top_p=0.95, max_new_tokens=12)
GREEDY = Sampling(n=1, temperature=0.0, top_p=1.0, max_new_tokens=12)
engine = ENGINES["openai"]


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(client, "FIRST_WAIT_SECONDS", 0.01)


def never():
    raise AssertionError("an engine that asks a server loads no student")


def requests(count=6):
    return [Request(f"p{i}", seed=(1 << 60) + i) for i in range(count)]


def test_the_prompt_goes_as_text_with_its_seed_and_the_sampling(tmp_path):
    problem = make_problem("1+2=", answer="3")
    sampling = Sampling(n=2, temperature=0.6, top_p=0.95, max_new_tokens=5, prefill="<think>")
    asked = requests_for(problem, "1+2=", sampling, seed=0)
    with scripted_server(tmp_path) as server:
        samples = engine(never, asked, sampling, base_url=server.base_url, model="m", extra={"top_k": -1})
        (first,) = [b for b in server.asked() if b["seed"] == asked[0].seed % 2**31]
    assert first == {
        "path": "/v1/completions", "model": "m", "prompt": "1+2=<think>", "max_tokens": 5, "temperature": 0.6,
        "top_p": 0.95, "seed": asked[0].seed % 2**31, "top_k": -1,
    }  # fmt: skip
    trace = traces_of(problem, samples, asked, sampling, author="redi")[1]
    said = words_of("1+2=<think>", asked[1].seed % 2**31)
    assert (trace.completion, trace.finish_reason, trace.num_tokens) == ("<think>" + said, "stop", 2)
    assert trace.sampling["seed_sent"] == asked[1].seed % 2**31 and trace.sampling["seed"] == asked[1].seed
    assert trace.sampling["model"] == "m"


@pytest.mark.parametrize("api", ["completions", "chat"])
def test_log_probabilities_and_token_ids_are_asked_for_and_read_only_where_they_are_wanted(tmp_path, api):
    with scripted_server(tmp_path) as server:
        url = {"base_url": server.base_url, "model": "m", "api": api}
        (said,) = engine(never, requests(1), replace(WARM, logprobs=True), **url)
        (plain,) = engine(never, requests(1), WARM, **url)
        asking, not_asking = server.asked()
    assert said.token_ids == (100, 101, 2) and said.logprobs == (0.0, -0.5, -1.0)  # two words and the end of turn
    assert (plain.token_ids, plain.logprobs, plain.text) == ((), (), said.text)
    assert asking == {**not_asking, "logprobs": 1 if api == "completions" else True, "return_token_ids": True}


def test_a_server_without_token_ids_or_log_probabilities_leaves_them_empty_and_torn_ones_are_no_answer():
    body = {"choices": [{"text": "a b", "finish_reason": "stop", "logprobs": None, "token_ids": None}]}
    assert client.read_reply(body) == client.Reply("a b", "stop", None, None)
    body["choices"][0] |= {"logprobs": {"token_logprobs": [-0.5, -1]}}
    assert client.read_reply(body).logprobs == (-0.5, -1.0)
    body["choices"][0] |= {"token_ids": [7, 8, 2]}
    with pytest.raises(ValueError, match="3 token ids and 2 log-probabilities"):
        client.read_reply(body)
    body["choices"][0] |= {"token_ids": [7, 8], "logprobs": {"token_logprobs": [-0.5, float("nan")]}}
    with pytest.raises(ValueError, match="a log-probability is not a number"):
        client.read_reply(body)


def test_the_ids_that_llama_cpp_writes_beside_log_probs_count_where_they_are_all_there():
    """It leaves out the tokens that spell a stop string or end inside a character; then what was sampled is not known."""
    content = [{"id": 7, "token": "a", "logprob": -0.5}, {"id": 2, "token": "", "logprob": -1}]
    body = {"choices": [{"text": "a", "finish_reason": "stop", "logprobs": {"content": content}}]}
    body["usage"] = {"prompt_tokens": 1, "completion_tokens": 2}
    reply = client.read_reply(body)
    assert (reply.token_ids, reply.logprobs) == ((7, 2), (-0.5, -1.0))
    body["usage"]["completion_tokens"] = 3
    reply = client.read_reply(body)
    assert (reply.token_ids, reply.logprobs, reply.text) == ((), (), "a")
    del content[0]["id"]  # another server's chat answer: log-probs without ids
    reply = client.read_reply(body)
    assert (reply.token_ids, reply.logprobs) == ((), (-0.5, -1.0))


def test_replies_in_a_file_keep_token_ids_and_have_no_fields_for_what_is_missing(tmp_path):
    whole, plain = client.Reply("a", "stop", 1, 2, (7, 2), (-0.1, -1e-9)), client.Reply("a", "stop", 1, 2)
    with client.Kept(tmp_path / "kept.jsonl") as kept:
        kept.put("whole", whole)
        kept.put("plain", plain)
    with client.Kept(tmp_path / "kept.jsonl") as kept:
        assert (kept.get("whole"), kept.get("plain")) == (whole, plain)
    last = json.loads((tmp_path / "kept.jsonl").read_text().splitlines()[-1])
    assert set(last["reply"]) == {"text", "finish_reason", "prompt_tokens", "completion_tokens"}


def test_chat_sends_a_user_message_and_refuses_a_prefill(tmp_path):
    with scripted_server(tmp_path) as server:
        (said,) = engine(never, requests(1), WARM, base_url=server.base_url, api="chat")
        assert said.text == words_of("p0", server.asked()[0]["seed"])
        assert server.asked()[0]["messages"] == [{"role": "user", "content": "p0"}]
        with pytest.raises(OperatorError, match=r"cannot start the answer with evaluate\.prefill"):
            engine(never, requests(1), Sampling(1, 0.6, 1.0, 5, "<think>"), base_url=server.base_url, api="chat")


def test_the_model_is_the_one_that_the_server_lists_or_is_asked_for(tmp_path):
    with scripted_server(tmp_path, models="only") as server:
        engine(never, requests(1), WARM, base_url=server.base_url)
        engine(Student(never, name="/runs/redi"), requests(1), WARM, base_url=server.base_url, model="{student}")
        assert [b["model"] for b in server.asked()] == ["only", "/runs/redi"]
        with pytest.raises(OperatorError, match="has neither; name the model"):
            engine(never, requests(1), WARM, base_url=server.base_url, model="{student}")
    with (
        scripted_server(tmp_path, models="a,b") as server,
        pytest.raises(OperatorError, match=r"lists 2 models \(a, b\); name the model to use"),
    ):
        engine(never, requests(1), WARM, base_url=server.base_url)


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [({"temperature": 1}, "temperature has its own setting"), ({"x": float("nan")}, "cannot be sent as JSON")],
)
def test_extra_fields_may_not_stand_in_for_settings(extra, sentence):
    with pytest.raises(OperatorError, match=sentence):
        engine(never, requests(1), WARM, base_url="http://127.0.0.1:9/v1", model="m", extra=extra)


@pytest.mark.parametrize(
    ("words", "too_long"),
    [
        ("request (9412 tokens) exceeds the available context size (8192 tokens), try increasing it", True),
        ("The input (36000 tokens) is longer than the model's context length (32768 tokens).", True),
        ("this model's maximum context length is 4096 tokens, but the prompt contains 4100 input tokens", True),
        # the prompt fits, the answer does not: lower max_new_tokens rather than score emptiness
        ("maximum context length is 4096 tokens. However, you requested 5000 tokens (1000 in the messages)", False),
        ("bad schema", False),
    ],
)
def test_only_a_prompt_that_fills_the_context_becomes_an_empty_sample(words, too_long):
    from redistill.rollout.openai_engine import _empty_where_too_long

    reply = _empty_where_too_long(client.Ask("completions", {}), words)
    assert (reply is not None and (reply.text, reply.finish_reason) == ("", "length")) is too_long


def test_a_prompt_beyond_the_servers_context_costs_itself_alone(tmp_path):
    with scripted_server(tmp_path, context=10) as server:
        long, short = engine(never, [Request("1" * 20, 1), Request("1", 2)], WARM, base_url=server.base_url)
    assert (long.text, long.finish_reason, long.num_tokens) == ("", "length", 0) and short.text


def test_one_voice_for_all_seeds_is_said(tmp_path, capsys):
    same = [Request(p, seed) for p in ("a", "b") for seed in (1, 2)]
    with scripted_server(tmp_path, answers=json.dumps({"a": "1", "b": "2"})) as server:
        engine(never, same, WARM, base_url=server.base_url)
        assert "returns the same answer for every seed" in capsys.readouterr().err
        engine(never, same, GREEDY, base_url=server.base_url)
    with scripted_server(tmp_path) as server:
        engine(never, same, WARM, base_url=server.base_url)
    assert capsys.readouterr().err == ""


def test_samples_are_journalled_as_they_come_and_only_the_missing_ones_are_asked_for(tmp_path):
    journal, url = tmp_path / "samples.jsonl", {"model": "m", "concurrency": 1, "retries": 0}
    with (
        scripted_server(tmp_path, die_after=3) as server,
        pytest.raises(OperatorError, match="run the same command again"),
    ):
        draw(functools.partial(engine, base_url=server.base_url, **url), never, requests(), WARM, journal=journal)
    stored = journal.read_text().count("\n")
    with scripted_server(tmp_path) as server:
        said = draw(
            functools.partial(engine, base_url=server.base_url, **url), never, requests(), WARM, journal=journal
        )
        assert stored in (2, 3) and len(server.asked()) == 6 - stored  # the last answer dies with its server, or not
    assert [s.text for s in said] == [words_of(f"p{i}", ((1 << 60) + i) % 2**31) for i in range(6)]
    assert {s.facts["seed_sent"] for s in said} == {((1 << 60) + i) % 2**31 for i in range(6)}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A tiny student in a folder, as a stage leaves it."""
    llama = {
        "model_type": "llama", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256,
    }  # fmt: skip
    settings = StudentSettings(from_config=llama, alphabet="0123456789+-*=;#")
    tokenizer = loading.load_tokenizer(settings)
    model = loading.load_model(settings, tokenizer, seed=1)
    with torch.no_grad():  # sharpened, so that rounding cannot change a greedy choice
        model.lm_head.weight.mul_(12.0)
    folder: Path = tmp_path_factory.mktemp("served") / "model"
    loading.save_model(model, tokenizer, folder, card="tiny")
    return folder


@pytest.fixture(scope="module")
def real_server(saved, tmp_path_factory):
    """`redistill serve --engine transformers`, once for this file: it takes ten seconds of CPU to start."""
    with transformers_server(saved, tmp_path_factory.mktemp("server")) as server:
        yield server


def test_a_real_server_says_at_temperature_zero_what_this_process_says(saved, real_server):
    asked = [Request("1+2=;3*4-5"[: 1 + i], seed=i) for i in range(6)]
    here = transformers_engine(lambda: loading.load_folder(saved), asked, GREEDY)
    # the server lists the hub's cache, not what it was started with: the model must be named
    student = Student(never, str(saved))
    there = engine(student, asked, GREEDY, base_url=real_server.base_url, model="{student}")
    plain = [(s.text, s.finish_reason, s.num_tokens) for s in here]
    assert [(s.text, s.finish_reason, s.num_tokens) for s in there] == plain
    assert len({s.text for s in here}) > 2
    with pytest.raises(OperatorError, match="Server is pinned to"):
        engine(never, asked, GREEDY, base_url=real_server.base_url, model="another")


def test_a_judge_that_cannot_judge_decides_nothing_and_is_asked_once(saved, real_server, tmp_path):
    problem = make_problem("How many?", answer="12")
    wrong = Verdict(Outcome.incorrect, "a dozen", "different_number")
    groups = [Group(problem, (make_trace(problem.id, "a dozen", verdicts={FINAL: wrong}),))]
    for base_url in (real_server.base_url, "http://127.0.0.1:9/v1"):  # the second time from the file
        judge = llm(base_url=base_url, model=str(saved), api="completions", max_tokens=8)
        with client.Kept(tmp_path / "judge.jsonl") as kept:
            verdicts = with_llm_verdicts(judge, groups, kept)[0].traces[0].verdicts
        assert (verdicts["judge"].outcome, verdicts[FINAL].outcome) == ("ungradable", "incorrect")
