"""A critic that learns beside the student: zero at first, a step ahead, in the same checkpoint, and never a silent failure."""

import dataclasses
import functools
import json
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from redistill.config.tables import JointCriticSettings, Plugin
from redistill.errors import OperatorError
from redistill.model import loading
from redistill.model.score_heads import PackedScores, load_critic
from redistill.model.token_credit import credit
from redistill.records import Outcome, Verdict
from redistill.train import joint_critic
from redistill.train.modifiers import kl, token_credit
from redistill.train.objectives.policy import grpo, oreal, reinforce
from redistill.train.rollouts import draw_round, rows_of_round
from redistill.train.step import Ranks, find_token_logps
from redistill.train.trainer import Trainer

from .conftest import TINY, interrupted, tiny_critic, tiny_student
from .rollout_cases import SETTINGS, job_of, stage
from .test_rollout_supply import metrics, stored, weights

CRITIC = JointCriticSettings(learning_rate=1e-2, warm_rounds=2)
MODIFIERS = [token_credit, functools.partial(kl, beta=0.01)]
STILL = SETTINGS.model_copy(update={"weight_decay": 0.0})
TESTS = Path(__file__).parents[1]


def job(critic=CRITIC, **more):
    return job_of(**{"advantage": "shaped", "rounds": 5, "updates": 2, "n": 8, "critic": critic, **more})


def settings(the_job, base=STILL):
    return base.model_copy(update={"rollouts": the_job.settings})


def train(folder, the_job=None, objective=oreal, modifiers=MODIFIERS, critic=tiny_critic, base=STILL, **more):
    the_job = the_job or job()
    return stage(
        folder, objective, the_job, settings=settings(the_job, base), modifiers=modifiers, critic=critic, **more
    )


def rows_with(the_job, max_tokens=64):
    """The rows of a round, with made-up critic scores."""
    model, tokenizer = tiny_student()
    the_job = dataclasses.replace(the_job, advantage=job().advantage)
    rows, _, _ = rows_of_round(the_job, oreal, draw_round(the_job, 0, model, tokenizer), max_tokens=max_tokens)
    draw = np.random.default_rng(0)
    scores = draw.normal(size=len(rows.values["advantage"]))
    return dataclasses.replace(rows, values={**rows.values, "critic_score": scores})


def state(folder):
    return loading.load_folder(folder)[0].state_dict()


def equal(state_a, state_b):
    return all(torch.equal(state_a[name], tensor) for name, tensor in state_b.items())


def critic_weights(folder):
    return (folder / "critic" / "model" / "model.safetensors").read_bytes()


def same_end(folder, other):
    assert weights(folder) == weights(other) and critic_weights(folder) == critic_weights(other)
    assert metrics(folder) == metrics(other) and stored(folder) == stored(other)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "own"
    train(folder)
    return folder


# --- what is learned, and when ------------------------------------------------------------------------------------------


def test_one_right_and_one_wrong_answer_of_a_problem_become_rows_and_the_others_are_counted():
    model, tokenizer = tiny_student()
    the_job = job()
    drawn = draw_round(the_job, 0, model, tokenizer)
    rows, account, dropped = rows_of_round(the_job, oreal, drawn, max_tokens=64)
    starts = rows.completion_starts()
    advantages, targets = rows.values["advantage"][starts[:-1]], rows.values["target"]
    for problem in set(rows.groups.tolist()):
        assert sorted(np.sign(advantages[rows.groups == problem])) == [-1, 1]
    assert np.isnan(np.delete(targets, starts[1:] - 1)).all()
    assert (targets[starts[1:] - 1] == (advantages > 0)).all()
    known = {"not_drawn", "all_right", "all_wrong", "undecided", "no_tokens"}
    assert account.came_in == 24 == account.kept + sum(account.dropped.values()) and set(account.dropped) <= known
    assert account.dropped["not_drawn"] > 0 and len(dropped) == 24 - len(rows)
    again, _, _ = rows_of_round(the_job, oreal, drawn, max_tokens=64)
    assert again.ids == rows.ids
    others = {tuple(rows_of_round(the_job, oreal, drawn, max_tokens=64, number=n)[0].ids) for n in range(8)}
    assert len(others) > 1  # drawn, not the first of each


def test_the_first_scores_are_0_and_the_students_first_step_comes_after_the_warm_rounds(whole):
    lines = metrics(whole)
    assert lines[0]["critic_loss"] == pytest.approx(0.6931471805599453, abs=1e-12)
    assert lines[0]["weight_right"] == lines[0]["weight_wrong"] == 0.0
    assert [line["loss"] is None for line in lines] == [True] * 4 + [False] * 6
    assert lines[4]["weight_wrong"] > 0 or lines[4]["weight_right"] > 0
    assert all(0 <= line["problems_kept"] <= 1 for line in lines if "round" in line)
    assert json.loads((whole / "ledger.json").read_text())["steps"] == 10


def test_in_the_warm_rounds_the_student_stays_and_the_critic_moves(tmp_path):
    train(tmp_path / "a", job(rounds=2))
    assert equal(state(tmp_path / "a" / "model"), tiny_student()[0].state_dict())
    critic, _ = load_critic(tmp_path / "a" / "critic" / "model")
    assert critic.score.weight.abs().max() > 0


def test_a_critic_that_learns_nothing_leaves_the_student_to_kl_alone(tmp_path):
    """Head of zeros, rate 0, no warm rounds: without KL not a bit moves; with KL to another model the student does."""
    frozen = JointCriticSettings(learning_rate=0.0, warm_rounds=0)
    train(tmp_path / "still", job(frozen, rounds=2), modifiers=[token_credit])
    assert equal(state(tmp_path / "still" / "model"), tiny_student()[0].state_dict())
    other = functools.partial(tiny_student, seed=5)
    train(tmp_path / "kl", job(frozen, rounds=2), reference=other)
    assert not equal(state(tmp_path / "kl" / "model"), tiny_student()[0].state_dict())


def test_scores_are_those_from_before_the_critics_step(tmp_path, monkeypatch):
    """The first step without warm rounds: the head is still 0, so whatever the critic learns there, the student has nothing."""
    eager = JointCriticSettings(learning_rate=1.0, warm_rounds=0)
    train(tmp_path / "a", job(eager, rounds=1, updates=1), modifiers=[token_credit])
    assert equal(state(tmp_path / "a" / "model"), tiny_student()[0].state_dict())
    assert load_critic(tmp_path / "a" / "critic" / "model")[0].score.weight.abs().max() > 0


def test_the_critic_has_an_optimizer_and_a_rate_of_its_own(whole):
    lines = metrics(whole)
    rates = [line["critic_learning_rate"] for line in lines]
    assert rates == pytest.approx([line["learning_rate"] for line in lines])  # both 1e-2, one schedule
    assert rates[0] > rates[-1] > 0


@pytest.mark.parametrize("objective", [grpo, reinforce])
def test_other_objectives_of_advantages_may_have_a_critic_too(tmp_path, objective):
    train(tmp_path / "a", job(rounds=3, advantage="group"), objective=objective)
    assert metrics(tmp_path / "a")[-1]["critic_loss"] > 0


def test_a_step_whose_answers_all_earned_the_same_teaches_the_critic_nothing_and_is_no_failure(tmp_path):
    the_job = job(
        JointCriticSettings(learning_rate=1e-2, warm_rounds=0),
        rounds=4,
        advantage="group",
        rewards=((1.0, lambda p, t: 0.7),),
    )
    train(tmp_path / "a", the_job, objective=grpo, modifiers=[token_credit])
    lines = metrics(tmp_path / "a")
    assert [line["critic_loss"] for line in lines] == [None] * 8 and not any(line["skipped"] for line in lines)
    assert not load_critic(tmp_path / "a" / "critic" / "model")[0].score.weight.any()


def test_an_implicit_critic_is_a_language_model_that_scores_by_log_ratios(tmp_path):
    its = JointCriticSettings(
        objective=Plugin(name="implicit", options={"beta": 1.0}), learning_rate=1e-2, warm_rounds=1
    )
    train(tmp_path / "a", job(its, rounds=3), critic=tiny_student)
    lines = metrics(tmp_path / "a")
    assert lines[0]["critic_loss"] == pytest.approx(0.6931471805599453, abs=1e-12) and lines[0]["weight_right"] == 0.0
    assert lines[2]["weight_right"] > 0 and lines[-1]["critic_accuracy"] is not None
    assert not equal(state(tmp_path / "a" / "critic" / "model"), tiny_student()[0].state_dict())


def test_a_start_that_has_learned_scores_from_the_first_step(tmp_path):
    train(tmp_path / "first")
    load = functools.partial(load_critic, tmp_path / "first" / "critic" / "model")
    train(tmp_path / "second", critic=load)
    assert metrics(tmp_path / "second")[0]["weight_wrong"] > 0


def test_the_report_gets_the_weight_of_every_token_of_the_last_answers(whole):
    """Signed by side, a span a token up to the end of the turn, and from the very weights that the loss has."""
    answers = json.loads((whole / "token_weights.json").read_text())["answers"]
    assert answers and len(answers) <= 12
    critic, tokenizer = load_critic(whole / "critic" / "model")
    policy = PackedScores(critic.eval(), packs=False)
    for answer in answers:
        text, values = answer["completion"], [value for _, _, value in answer["spans"]]
        assert [a for a, _, _ in answer["spans"]] == list(range(len(values))) and len(values) in (
            len(text),
            len(text) + 1,
        )
        ids = tokenizer(answer["statement"] + text)["input_ids"] + [tokenizer.eos_token_id]
        row = (ids[: len(answer["statement"]) + len(values)], len(answer["statement"]))
        scores = find_token_logps(policy, [row], tokens_per_micro_batch=1, device=torch.device("cpu"), ranks=Ranks())
        right, wrong = credit(scores)
        mine = right if answer["is_right"] else -wrong
        assert values == pytest.approx(mine.tolist(), abs=1e-3)
    assert {answer["is_right"] for answer in answers} == {True, False}
    assert any(value < 0 for answer in answers for _, _, value in answer["spans"])


# --- resume ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut_at", [1, 4, 5, 9])
def test_killed_in_any_step_student_and_critic_end_with_the_same_bytes(tmp_path, monkeypatch, whole, cut_at):
    real, seen = Trainer.step, []

    def cut(*arguments):
        seen.append(1)
        if len(seen) > cut_at:
            raise RuntimeError("power cut")
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", cut)
        with pytest.raises(RuntimeError, match="power cut"):
            train(tmp_path / "cut")
    train(tmp_path / "cut")
    same_end(tmp_path / "cut", whole)


KILLED = """
import os, signal
from redistill.train.joint_critic import JointCritic
from train.test_joint_critic import train

real, seen = JointCritic.step, []

def cut(*arguments):
    found = real(*arguments)
    seen.append(1)
    if len(seen) == 6:
        os.kill(os.getpid(), signal.SIGKILL)
    return found

JointCritic.step = cut
train({folder!r})
"""


def test_a_process_killed_between_the_critics_step_and_the_students_ends_with_the_same_bytes(tmp_path, whole, tool):
    """kill -9 when the critic has learned from the sixth step and the student has not."""
    folder = tmp_path / "cut"
    done = tool.code(tmp_path, KILLED.format(folder=str(folder)), [TESTS])
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    train(folder)
    same_end(folder, whole)


def test_a_checkpoint_holds_the_critic_and_its_moments(tmp_path):
    with interrupted(after=6):
        train(tmp_path / "a")
    (table,) = (tmp_path / "a" / "checkpoints").glob("step-000006/tensors.json")
    names = set(json.loads(table.read_text()))
    assert {"critic.weights.score.weight", "critic.optimizer.score.weight.exp_avg", "weights.lm_head.weight"} <= names


def test_a_damaged_critic_is_trained_again(tmp_path, whole):
    train(tmp_path / "a")
    path = tmp_path / "a" / "critic" / "model" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    from redistill.train.stage import is_finished

    assert is_finished(whole, "f") and not is_finished(tmp_path / "a", "f")


# --- input that is no good ------------------------------------------------------------------------------------------------


def test_a_critic_with_another_tokenizer_is_one_sentence(tmp_path):
    stranger = functools.partial(tiny_critic, TINY.model_copy(update={"alphabet": "#;=*-+9876543210"}))
    with pytest.raises(
        OperatorError, match=r"train\.own\.rollouts\.critic: .*another tokenizer than the student"
    ) as said:
        train(tmp_path / "a", critic=stranger)
    assert len(str(said.value).splitlines()) == 1


class Nobody:
    """A pool in whose eyes every answer is `outcome`."""

    names = ("cascade",)

    def __init__(self, outcome):
        self.outcome = outcome

    def judge(self, items, names):
        for _ in items:
            yield {"cascade": Verdict(self.outcome)}


@pytest.mark.parametrize(("outcome", "reason"), [(Outcome.incorrect, "all_wrong"), (Outcome.correct, "all_right")])
def test_rounds_that_are_all_right_or_all_wrong_are_counted_said_and_change_nothing(tmp_path, capsys, outcome, reason):
    the_job = dataclasses.replace(job(rounds=6, updates=1), pool=Nobody(outcome))
    ledger = train(tmp_path / "a", the_job)
    assert ledger["rows"]["dropped"][reason] == 6 * 24 - ledger["rows"]["dropped"].get("no_tokens", 0)
    assert equal(state(tmp_path / "a" / "model"), tiny_student()[0].state_dict())
    assert all(line["problems_kept"] == 0.0 for line in metrics(tmp_path / "a"))
    said = capsys.readouterr()
    assert "rounds 1 to 5 gave no row, so nothing was learned from them" in said.out + said.err


@pytest.mark.parametrize("what", ["scores", "loss"])
def test_a_critic_that_diverges_ends_the_stage_in_one_sentence_and_keeps_its_rounds(tmp_path, monkeypatch, what):
    """From its fifth step on nothing that it says is a number: three such steps and the stage ends; what was drawn stays."""
    seen = []
    if what == "scores":
        real = joint_critic.find_token_logps
        monkeypatch.setattr(
            joint_critic, "find_token_logps", lambda *a, **k: real(*a, **k) * (float("nan") if len(seen) >= 4 else 1.0)
        )
    real_step = joint_critic.backward_step

    def broken(*arguments, **options):
        seen.append(1)
        figures = real_step(*arguments, **options)
        return dataclasses.replace(figures, loss=float("nan")) if what == "loss" and len(seen) > 4 else figures

    monkeypatch.setattr(joint_critic, "backward_step", broken)
    with pytest.raises(
        OperatorError, match=r"train\.own\.rollouts\.critic: three steps in a row .*lower rollouts.critic.learning_rate"
    ) as said:
        train(tmp_path / "a", job(rounds=6))
    assert len(str(said.value).splitlines()) == 1
    lines = metrics(tmp_path / "a")
    assert [bool(line.get("critic_skipped")) for line in lines] == [False] * 4 + [True] * 2
    assert len(list((tmp_path / "a" / "rollouts").glob("part-*.done"))) == 4
