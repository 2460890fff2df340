"""Rollouts by a server over real HTTP: it answers with the weights of the round, dies and comes back, and says too little."""

import functools
import json

import numpy as np
import pytest

from local_servers import scripted_server
from redistill.config.tables import StageSettings
from redistill.errors import OperatorError
from redistill.io import client
from redistill.io.parquet import read_records
from redistill.model import loading
from redistill.rollout import stage_engines
from redistill.rollout.stage_engines import check_engine, refreshed_server
from redistill.train.importance import importance
from redistill.train.objectives.policy import grpo, reinforce
from student_server import student_server

from .conftest import tiny_student
from .rollout_cases import SETTINGS, job_of, stage


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(client, "FIRST_WAIT_SECONDS", 0.01)


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """The folder of the student that the server is started with: another one than the stage's."""
    folder = tmp_path_factory.mktemp("start") / "model"
    model, tokenizer = tiny_student(seed=9)
    loading.save_model(model, tokenizer, folder, card="")
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory, start, tool):
    with student_server(tool, tmp_path_factory.mktemp("server"), start) as running:
        yield running


def served_job(server, refresh="reload-folder", *, engine_options=None, **settings):
    options = {"base_url": server.base_url, "retries": 1, "refresh": refresh, **(engine_options or {})}
    return job_of(**{"rounds": 2, "updates": 1, "engine": functools.partial(refreshed_server, **options), **settings})


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def answers(folder, number):
    return list(read_records(folder / "rollouts" / "samples" / f"part-{number:05d}.parquet"))


@pytest.mark.parametrize("refresh", ["reload-folder", "vllm-reload", "sglang-disk"])
def test_every_round_is_answered_with_the_weights_that_the_student_has_by_then(tmp_path, server, refresh):
    """The server's log-probs are those that the training kernel finds, so every importance weight is 1: it would not be
    with the weights that the server was started with, nor in the second round with those of the first."""
    stage(
        tmp_path / "a", grpo, served_job(server, refresh), settings=SETTINGS.model_copy(update={"learning_rate": 0.1})
    )
    lines = metrics(tmp_path / "a")
    assert [line["importance_mean"] for line in lines] == pytest.approx([1.0, 1.0], abs=1e-4)
    assert all(line["importance_truncated"] == 0.0 for line in lines)
    assert lines[0]["grad_norm"] > 0
    first, second = answers(tmp_path / "a", 0), answers(tmp_path / "a", 1)
    assert len(first) == len(second) == 12
    assert all(len(s.token_ids) == len(s.logprobs) and np.isfinite(s.logprobs).all() for s in first + second)
    rounds = tmp_path / "a" / "rollouts"
    assert not list(rounds.glob("weights-*")) and not list(rounds.glob("open-*"))


def test_a_server_that_keeps_its_own_weights_is_seen_in_the_importance_weights(tmp_path, server, start):
    job = served_job(server, "none", engine_options={"model": str(start)}, rounds=1)
    stage(tmp_path / "a", grpo, job)
    (line,) = metrics(tmp_path / "a")
    assert abs(line["importance_mean"] - 1.0) > 1e-3


def test_two_runs_by_one_server_are_equal_byte_by_byte(tmp_path, server):
    for name in ("a", "b"):
        stage(tmp_path / name, grpo, served_job(server, rounds=1))
    one, other = ((tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("a", "b"))
    assert one == other and answers(tmp_path / "a", 0) == answers(tmp_path / "b", 0)


# --- a server that dies ---------------------------------------------------------------------------------------------------


def test_a_server_killed_in_mid_round_costs_nothing_that_had_come_and_the_end_is_equal(tmp_path, start, server, tool):
    """17 answers are all of round 1 and five of round 2. Then it is gone; what comes back is asked for the other seven."""
    stage(tmp_path / "whole", grpo, served_job(server))
    one_by_one = {"concurrency": 1}
    gone = pytest.raises(OperatorError, match=r"no usable answer after 2 attempts|no server answers")
    with student_server(tool, tmp_path, start, die_after=17) as dying, gone as said:
        stage(tmp_path / "cut", grpo, served_job(dying, engine_options=one_by_one))
    assert len(str(said.value).splitlines()) == 1
    (journal,) = (tmp_path / "cut" / "rollouts").glob("open-00001.*")
    assert len(journal.read_text().splitlines()) == 5
    before = len(server.asked())
    stage(tmp_path / "cut", grpo, served_job(server, engine_options=one_by_one))
    assert len(server.asked()) - before == 7
    one, other = ((tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("whole", "cut"))
    assert one == other
    assert [answers(tmp_path / "whole", n) for n in (0, 1)] == [answers(tmp_path / "cut", n) for n in (0, 1)]


# --- what a server does not say -------------------------------------------------------------------------------------------


def test_a_server_without_token_ids_is_one_sentence_and_says_what_to_write(tmp_path, server):
    silent = {"extra": {"tells": []}}
    with pytest.raises(OperatorError, match=r"returns no token ids.*token_ids: encoded"):
        stage(tmp_path / "a", grpo, served_job(server, rounds=1, engine_options=silent))
    stage(tmp_path / "b", grpo, served_job(server, rounds=1, engine_options=silent | {"token_ids": "encoded"}))
    (line,) = metrics(tmp_path / "b")
    assert line["entropy"] is None and "importance_mean" not in line and line["grad_norm"] > 0
    tokenizer = tiny_student()[1]
    for sample in answers(tmp_path / "b", 0):
        assert np.isnan(sample.logprobs).all() and len(sample.logprobs) == len(sample.token_ids)
        assert tokenizer.eos_token_id not in sample.token_ids[:-1]


def test_a_server_without_log_probs_cannot_be_corrected_but_may_be_trusted(tmp_path, server):
    only_ids = {"rounds": 1, "engine_options": {"extra": {"tells": ["token_ids"]}}}
    with pytest.raises(OperatorError, match=r"train\.own\.rollouts\.importance_cap: .*`importance_cap: null`"):
        stage(tmp_path / "a", grpo, served_job(server, **only_ids))
    stage(tmp_path / "b", grpo, served_job(server, **only_ids, importance_cap=None))
    with pytest.raises(OperatorError, match=r"behaviour: the server did not return.*`behaviour: recomputed`"):
        stage(tmp_path / "c", grpo, served_job(server, **only_ids, behaviour="server"))
    assert metrics(tmp_path / "b")[0]["grad_norm"] > 0


def test_a_server_that_does_not_know_the_command_is_one_sentence_with_what_to_do(tmp_path):
    with scripted_server(tmp_path, fail="404") as server:
        for refresh, hint in (("vllm-reload", "VLLM_SERVER_DEV_MODE=1"), ("sglang-disk", "SGLang")):
            with pytest.raises(OperatorError, match=rf"does not support .*404.*{hint}"):
                stage(tmp_path / refresh, grpo, served_job(server, refresh))


def test_a_prompt_that_the_server_reads_as_other_tokens_is_one_sentence(tmp_path):
    """The scripted server counts words: 1 where the student's tokenizer, one token a character, counts four."""
    refused = pytest.raises(OperatorError, match="reads a prompt as 1 tokens, but the student as 4")
    with scripted_server(tmp_path) as server, refused:
        stage(tmp_path / "a", grpo, served_job(server, "none"))


def test_prompts_too_long_for_the_server_are_counted_answers_without_tokens(tmp_path):
    with scripted_server(tmp_path, context=3) as server:
        ledger = stage(tmp_path / "a", grpo, served_job(server, "none", rounds=1))
    assert ledger["rows"]["dropped"] == {"no_tokens": 12} and metrics(tmp_path / "a")[0]["loss"] is None


# --- other ways of a refresh ------------------------------------------------------------------------------------------------


def test_an_adapter_alone_is_handed_to_vllm_and_other_servers_get_all_merged(tmp_path, monkeypatch, server):
    posted = []

    def post(server, path, body, hint):
        names = sorted(p.name for p in stage_engines.Path(body.get("lora_path", tmp_path)).glob("*.safetensors"))
        posted.append((path, body["lora_name"], body["load_inplace"], names))
        return {}

    monkeypatch.setattr(stage_engines, "post", post)
    lora = StageSettings(**{**SETTINGS.model_dump(), "lora": {"r": 2, "target_modules": ["q_proj"]}})
    stage(tmp_path / "a", grpo, served_job(server, "vllm-lora", rounds=1, importance_cap=None), settings=lora)
    assert posted == [("load_lora_adapter", "redistill", True, ["adapter_model.safetensors"])]
    monkeypatch.undo()
    stage(tmp_path / "b", grpo, served_job(server, rounds=2), settings=lora)
    assert [line["importance_mean"] for line in metrics(tmp_path / "b")] == pytest.approx([1.0, 1.0], abs=1e-4)


def test_an_adapter_of_a_stage_that_has_none_is_one_sentence():
    with pytest.raises(OperatorError, match="set `lora`"):
        check_engine("openai", {"refresh": "vllm-lora"}, "train.own.rollouts.engine", lora=False)
    check_engine("openai", {"refresh": "vllm-lora"}, "w", lora=True)


# --- truncated importance sampling, by hand ---------------------------------------------------------------------------------


def test_a_token_counts_for_what_the_trained_policy_says_over_what_the_server_says_but_no_more_than_the_cap():
    """pi_train / pi_server is 1, e^-1, e^2 = 7.39 (cut to 2), and not known."""
    found = importance(np.array([-1.0, -3.0, -1.0, -2.0]), np.array([-1.0, -2.0, -3.0, np.nan]), cap=2.0)
    assert found.weights.tolist() == pytest.approx([1.0, np.exp(-1.0), 2.0, 1.0])
    assert found.mean == pytest.approx((1 + np.exp(-1.0) + 2) / 3) and found.truncated == pytest.approx(1 / 3)
    untold = importance(np.array([-1.0]), np.array([np.nan]), cap=2.0)
    assert untold.weights.tolist() == [1.0] and untold.mean is None and untold.truncated is None


def test_the_gradient_of_an_answer_is_weighed_token_by_token_and_a_row_keeps_its_weight(tmp_path, server):
    """A server that says every log-prob log 4 too low makes every ratio 4, cut to 1.5: the gradient is 1.5 times as long.
    Said log 4 too high every ratio is 1/4. A row weight would have stood in the divisor too, and changed nothing."""
    norms = {}
    settings = SETTINGS.model_copy(update={"max_grad_norm": 1e9})
    for nudge, cap in ((0.0, None), (-np.log(4), 1.5), (np.log(4), 1.5)):
        folder, options = tmp_path / f"{nudge:.1f}", {"extra": {"nudge": nudge}}
        job = served_job(server, rounds=1, importance_cap=cap, engine_options=options)
        stage(folder, reinforce, job, settings=settings)
        (line,) = metrics(folder)
        norms[round(nudge, 1)] = line["grad_norm"]
        if nudge:
            assert line["importance_mean"] == pytest.approx(1.5 if nudge < 0 else 0.25, rel=1e-4)
            assert line["importance_truncated"] == (1.0 if nudge < 0 else 0.0)
    assert norms[-1.4] == pytest.approx(1.5 * norms[0.0], rel=1e-4)
    assert norms[1.4] == pytest.approx(0.25 * norms[0.0], rel=1e-4)


def test_trusting_the_server_puts_its_log_probs_into_the_ratio_itself(tmp_path, server):
    """Log-probs said log 4 too high make every ratio 1/4; min(r A, clip(r) A) of a positive advantage is then r A: a quarter of
    the gradient that a ratio of 1 has."""
    settings = SETTINGS.model_copy(update={"max_grad_norm": 1e9})
    norms = []
    for behaviour, nudge in (("recomputed", 0.0), ("server", np.log(4))):
        options = {"extra": {"nudge": nudge}}
        job = served_job(server, rounds=1, behaviour=behaviour, advantage=only_gains, engine_options=options)
        stage(tmp_path / behaviour, grpo, job, settings=settings)
        (line,) = metrics(tmp_path / behaviour)
        norms.append(line["grad_norm"])
        assert ("importance_mean" in line) == (behaviour == "recomputed")
    assert norms[1] == pytest.approx(norms[0] / 4, rel=1e-4)


def only_gains(rewards, known):
    """Advantages that are never negative: the reward itself."""
    return rewards
