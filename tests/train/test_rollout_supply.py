"""A stage on its own answers: one gradient with theory, killed anywhere and equal in the end, nothing of a round lost."""

import dataclasses
import functools
import json

import numpy as np
import pytest
import torch

from redistill.config.tables import GuardSettings
from redistill.errors import OperatorError
from redistill.io.parquet import read_records
from redistill.model import loading
from redistill.train import OBJECTIVES
from redistill.train import rollout_supply as supply_module
from redistill.train.modifiers import kl
from redistill.train.objectives import redi, sft
from redistill.train.objectives.policy import grpo, reinforce
from redistill.train.rollout_supply import RolloutSupply
from redistill.train.trainer import Trainer

from .conftest import interrupted, tiny_student
from .rollout_cases import SETTINGS, job_of, stage


def weights(folder):
    return (folder / "model" / "model.safetensors").read_bytes()


def metrics(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    times = ("seconds", "tokens_per_second", *supply_module.TIMES)
    return [{k: v for k, v in line.items() if k not in times} for line in lines]


def stored(folder):
    """Everything that a stage drew, as bytes; the round's own file holds seconds."""
    rounds = folder / "rollouts"
    files = {str(p.relative_to(rounds)): p.read_bytes() for p in sorted(rounds.rglob("*.parquet"))}
    facts = [json.loads(p.read_text()) for p in sorted(rounds.glob("round-*.json"))]
    return files, [{k: v for k, v in fact.items() if k not in ("seconds", "checksum")} for fact in facts]


def same_end(folder, other):
    assert weights(folder) == weights(other) and metrics(folder) == metrics(other) and stored(folder) == stored(other)


ONLINE = job_of(rounds=4, updates=2)


def test_a_stage_draws_stores_and_trains_on_round_after_round(tmp_path):
    ledger = stage(tmp_path / "a", grpo, ONLINE)
    assert ledger["steps"] == 8
    lines = metrics(tmp_path / "a")
    assert [line["round"] for line in lines if "round" in line] == [1, 2, 3, 4]
    assert all(line["reward"] is not None and 0 <= line["pass_rate"] <= 1 for line in lines if "round" in line)
    timed = [json.loads(line) for line in (tmp_path / "a" / "metrics.jsonl").read_text().splitlines()]
    for line in (line for line in timed if "round" in line):  # 12 answers a round
        assert line["samples_per_second"] == pytest.approx(12 / line["seconds_drawing"], rel=1e-3)
    folder = tmp_path / "a" / "rollouts"
    groups = list(read_records(folder / "groups" / "part-00002.parquet"))
    samples = list(read_records(folder / "samples" / "part-00002.parquet"))
    assert len(groups) == 3 and sum(len(g.traces) for g in groups) == 12 == len(samples)
    assert {t.author for g in groups for t in g.traces} == {"own"}
    rows = json.loads((folder / "ledger.json").read_text())["accounts"]["rows"]
    assert rows == ledger["rows"] and rows["in"] == 48 == rows["kept"] + sum(rows["dropped"].values())
    assert not list(folder.glob("behaviour-*"))  # only resuming needs them
    start = loading.load_folder(tmp_path / "a" / "model")[0].state_dict()
    assert any(not torch.equal(start[name], tensor) for name, tensor in tiny_student()[0].state_dict().items())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The stage that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole") / "own"
    stage(folder, grpo, ONLINE)
    return folder


@pytest.mark.parametrize("cut_at", [1, 2, 3, 5, 7])
def test_killed_in_any_step_it_ends_with_the_same_bytes(tmp_path, monkeypatch, whole, cut_at):
    real, seen = Trainer.step, []

    def cut(*arguments):
        seen.append(1)
        if len(seen) > cut_at:
            raise RuntimeError("power cut")
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", cut)
        with pytest.raises(RuntimeError, match="power cut"):
            stage(tmp_path / "cut", grpo, ONLINE)
    stage(tmp_path / "cut", grpo, ONLINE)
    same_end(tmp_path / "cut", whole)


@pytest.mark.parametrize("write", ["write_json", "round_figures", "Shard", "atomic_write", "Round"])
def test_killed_between_any_two_writes_of_a_round_it_ends_with_the_same_bytes(tmp_path, monkeypatch, whole, write):
    real, seen = getattr(supply_module, write), []

    def cut(*arguments, **options):
        seen.append(1)
        if len(seen) > 2:
            raise RuntimeError("power cut")
        return real(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(supply_module, write, cut)
        with pytest.raises(RuntimeError, match="power cut"):
            stage(tmp_path / "cut", grpo, ONLINE)
    stage(tmp_path / "cut", grpo, ONLINE)
    same_end(tmp_path / "cut", whole)


def test_a_finished_round_is_read_and_not_drawn_again(tmp_path, monkeypatch):
    with interrupted(after=5):
        stage(tmp_path / "a", grpo, ONLINE)
    drawn, real = [], supply_module.draw_round
    monkeypatch.setattr(
        supply_module, "draw_round", lambda job, n, *rest, **more: drawn.append(n) or real(job, n, *rest, **more)
    )
    stage(tmp_path / "a", grpo, ONLINE)
    assert drawn == [3]


def test_a_damaged_round_that_has_not_been_trained_on_is_drawn_again(tmp_path, whole):
    with interrupted(after=4):
        stage(tmp_path / "a", grpo, ONLINE)
    path = tmp_path / "a" / "rollouts" / "samples" / "part-00002.parquet"
    assert not path.exists()
    stage(tmp_path / "a", grpo, ONLINE)
    same_end(tmp_path / "a", whole)


# --- theory -------------------------------------------------------------------------------------------------------------


def one_step(folder, objective, job, **more):
    """The weights after one round of one step, as a dict."""
    stage(folder, objective, job, **more)
    return loading.load_folder(folder / "model")[0].state_dict()


def test_equal_rewards_move_nothing(tmp_path):
    job = job_of(rewards=((1.0, lambda problem, trace: 0.7),), rounds=1, updates=1)
    found = one_step(tmp_path / "a", grpo, job, settings=SETTINGS.model_copy(update={"weight_decay": 0.0}))
    assert all(torch.equal(found[name], tensor) for name, tensor in tiny_student()[0].state_dict().items())


def test_a_round_of_equal_rewards_runs_one_row_and_says_how_many_it_left_out(tmp_path):
    job = job_of(rewards=((1.0, lambda problem, trace: 0.7),), rounds=1, updates=1)
    stage(tmp_path / "a", grpo, job)
    (line,) = metrics(tmp_path / "a")
    assert line["num_rows"] == 12 and line["rows_without_signal"] == 11 and line["grad_norm"] == 0.0


def test_one_update_a_round_is_reinforce_and_the_long_way_round_agrees(tmp_path):
    """grpo with one update is reinforce to the byte; by the first pass that several updates need, up to rounding."""
    job = job_of(rounds=1, updates=1)
    short = one_step(tmp_path / "short", grpo, job)
    plain = one_step(tmp_path / "plain", reinforce, job)
    assert all(torch.equal(short[name], tensor) for name, tensor in plain.items())
    line = metrics(tmp_path / "short")[0]
    iterated = job_of(rounds=1, updates=None)
    settings = SETTINGS.model_copy(update={"batch_size": 64, "steps": 1})
    stage(tmp_path / "long", grpo, iterated, settings=settings)
    other = metrics(tmp_path / "long")[0]
    assert other["grad_norm"] == pytest.approx(line["grad_norm"], rel=1e-4)


def test_a_teacher_that_is_the_student_has_no_advantage_and_another_one_has(tmp_path):
    job = job_of(advantage="teacher", rounds=1, updates=1, teacher="base")
    settings = SETTINGS.model_copy(update={"weight_decay": 0.0})
    stage(tmp_path / "self", reinforce, job, settings=settings, teacher=tiny_student)
    other = functools.partial(tiny_student, seed=5)
    stage(tmp_path / "other", reinforce, job, settings=settings, teacher=other)
    assert metrics(tmp_path / "self")[0]["grad_norm"] < 1e-6 < metrics(tmp_path / "other")[0]["grad_norm"]


def test_the_student_comes_nearer_to_its_teacher(tmp_path):
    """On-policy distillation lowers the divergence of the student's own answers from the teacher."""
    job = job_of(advantage="teacher", rounds=15, updates=1, teacher="base", n=16)
    stage(tmp_path / "a", reinforce, job, teacher=functools.partial(tiny_student, seed=5), reference=functools.partial(tiny_student, seed=5), modifiers=[functools.partial(kl, beta=0.0)])  # fmt: skip
    apart = [line["reference_kl"] for line in metrics(tmp_path / "a")]
    assert np.mean(apart[-3:]) < 0.7 * np.mean(apart[:3])


def test_a_teacher_with_another_vocabulary_is_one_sentence(tmp_path):
    def stranger():
        from .conftest import TINY

        return tiny_student(TINY.model_copy(update={"alphabet": "0123456789+-*=;#ab"}))

    job = job_of(advantage="teacher", rounds=1, updates=1, teacher="base")
    with pytest.raises(OperatorError, match=r"train\.own: .*another vocabulary"):
        stage(tmp_path / "a", reinforce, job, teacher=stranger)


def test_the_divergence_is_measured_and_added_from_the_start_of_the_stage(tmp_path):
    job = job_of(rounds=3, updates=1)
    stage(tmp_path / "a", grpo, job, modifiers=[functools.partial(kl, beta=0.1)])
    apart = [line["reference_kl"] for line in metrics(tmp_path / "a")]
    assert abs(apart[0]) < 1e-6 and apart[2] != 0


# --- other objectives on own answers --------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", [sft, redi, OBJECTIVES["dpo"], OBJECTIVES["topr"]])
def test_rejection_sampling_and_own_pairs_in_iterations(tmp_path, objective):
    job = job_of(rounds=2, n=8)
    settings = SETTINGS.model_copy(update={"batch_size": 2, "epochs": 2.0})
    ledger = stage(tmp_path / "a", objective, job, settings=settings)
    lines = metrics(tmp_path / "a")
    firsts = [place for place, line in enumerate(lines) if "round" in line]
    assert len(firsts) == 2 and ledger["steps"] == len(lines) > 2
    rates = [line["learning_rate"] for line in lines]
    assert rates[firsts[1]] == rates[0] > rates[firsts[1] - 1]  # each round has its own schedule


def test_a_round_in_which_nobody_is_right_is_a_step_that_changes_nothing(tmp_path):
    job = job_of(rewards=((1.0, lambda problem, trace: None),), rounds=2, updates=1)
    ledger = stage(tmp_path / "a", grpo, job)
    assert [line["loss"] for line in metrics(tmp_path / "a")] == [None, None]
    assert all(line["num_rows"] == 0 and "rows" not in line for line in metrics(tmp_path / "a"))
    assert ledger["rows"]["kept"] == 0 and ledger["rows"]["dropped"] == {"undecided": 24}
    found = loading.load_folder(tmp_path / "a" / "model")[0].state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in tiny_student()[0].state_dict().items())


def test_a_reward_that_fails_ends_the_stage_in_one_sentence_and_keeps_the_rounds_before(tmp_path):
    seen = []

    def breaks(problem, trace):
        seen.append(trace)
        if len(seen) > 30:
            raise ValueError("no such key")
        return float(len(seen) % 2)

    job = job_of(rewards=((1.0, breaks),), rounds=4, updates=1)
    with pytest.raises(
        OperatorError, match=r"^reward breaks raised ValueError on trace t\w+ of problem p\w+: no such key"
    ):
        stage(tmp_path / "a", grpo, job)
    assert len(list((tmp_path / "a" / "rollouts").glob("part-*.done"))) == 2


# --- the guard goes back ----------------------------------------------------------------------------------------------


def test_after_a_rollback_later_rounds_are_drawn_anew(tmp_path, monkeypatch):
    looks = []

    def probe(model, tokenizer):
        looks.append(1)
        bad = len(looks) == 4
        return {"probe_problems": 8, "probe_accuracy": 0.0 if bad else 0.9, "probe_tokens": 500.0 if bad else 5.0,
                "probe_unfinished": 1.0 if bad else 0.0, "probe_repetition": 1.0 if bad else 0.0}  # fmt: skip

    guard = GuardSettings(action="rollback", act_on="warning", every=1, held_out_pairs=0, probe_every=1)
    settings = SETTINGS.model_copy(update={"guard": guard, "save_every": 1})
    drawn, real = [], supply_module.draw_round

    def watched(job, number, *rest, **more):
        drawn.append(number)
        return real(job, number, *rest, **more)

    monkeypatch.setattr(supply_module, "draw_round", watched)
    ledger = stage(tmp_path / "a", grpo, job_of(rounds=6, updates=1), settings=settings, probe=probe)
    (back,) = ledger["guard"]["rollbacks"]
    assert drawn == [
        *range(back["at"]),
        *range(back["to"] + 1, 6),
    ]  # the round at the target was drawn by that very student
    facts = [json.loads(p.read_text()) for p in sorted((tmp_path / "a" / "rollouts").glob("round-*.json"))]
    assert [fact["attempt"] for fact in facts] == [0] * (back["to"] + 1) + [1] * (5 - back["to"])


def test_rewinding_removes_only_what_another_student_drew(tmp_path):
    with interrupted(after=4):
        stage(tmp_path / "a", grpo, job_of(rounds=6, updates=1))
    from redistill.io.stage_folder import StageFolder

    store = StageFolder(tmp_path / "a" / "rollouts", "f")
    supply = RolloutSupply(job_of(rounds=6, updates=1), grpo, store, 200, 4, 1.0, None)
    supply.rewind(4, [])
    assert len(list(store.folder.glob("round-*.json"))) == 4
    supply.rewind(1, [1])  # rounds at steps 2 and 3 were drawn before a rollback to step 1
    assert [p.name for p in sorted(store.folder.glob("round-*.json"))] == ["round-00000.json", "round-00001.json"]
    assert not (store.folder / "groups" / "part-00002.parquet").exists() and supply.attempt == 1


def test_the_schedule_and_the_total_of_rounds(tmp_path):
    store = dataclasses.make_dataclass("Store", ["folder"])(tmp_path)
    online = RolloutSupply(job_of(rounds=5, updates=3), grpo, store, 200, 4, 1.0, None)
    assert online.total == 15
    iterated = RolloutSupply(job_of(rounds=2), sft, store, 200, 4, 1.0, None)
    assert iterated.total == 6  # 12 answers a round by 4
    assert RolloutSupply(job_of(rounds=3), sft, store, 200, 4, 1.0, 10).total == 12  # 10 steps over 3 rounds: 4 each
