"""A stage on its own answers meets a kill, a full disk, missing files and input that is no good: one sentence or a counted outcome,
nothing lost, and the end is equal."""

import contextlib
import dataclasses
import json
import resource
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForTokenClassification, LlamaConfig

from redistill.errors import OperatorError
from redistill.model import loading
from redistill.records import Outcome, Verdict, make_problem
from redistill.train import OBJECTIVES
from redistill.train import rollout_supply as supply_module
from redistill.train.objectives import redi, sft
from redistill.train.objectives.policy import grpo
from redistill.train.rollouts import draw_round

from .conftest import interrupted, tiny_student
from .rollout_cases import PROBLEMS, SETTINGS, job_of, stage
from .test_rollout_supply import ONLINE, metrics, same_end

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The stage that nothing happened to: four rounds of two steps."""
    folder = tmp_path_factory.mktemp("whole") / "own"
    stage(folder, grpo, ONLINE)
    return folder


KILLED = """
import os, signal
from train.rollout_cases import stage
from train.test_rollout_supply import ONLINE
from redistill.train import rollout_supply
from redistill.train.objectives.policy import grpo
from redistill.train.rollouts import draw_round

real = rollout_supply.draw_round

def cut(job, number, *rest, tell, **more):
    come = []

    def told(sample):
        tell(sample)
        come.append(sample)
        if number == 2 and len(come) == 5:
            os.kill(os.getpid(), signal.SIGKILL)

    return real(job, number, *rest, tell=told, **more)

rollout_supply.draw_round = cut
stage({folder!r}, grpo, ONLINE)
"""


def test_a_process_killed_while_it_samples_a_round_ends_with_the_same_bytes(tmp_path, whole, tool):
    """kill -9 after the fifth answer of the third round."""
    folder = tmp_path / "cut"
    done = tool.code(tmp_path, KILLED.format(folder=str(folder)), [TESTS])
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    assert len(list((folder / "rollouts").glob("part-*.done"))) == 2
    stage(folder, grpo, ONLINE)
    same_end(folder, whole)


def test_ctrl_c_in_a_round_says_what_becomes_of_its_answers(tmp_path, whole, monkeypatch, capsys):
    """A round that this process samples is drawn again as a whole: it must not depend on where it was cut."""

    def cut(job, number, *rest, tell, **more):
        come = []

        def told(sample):
            tell(sample)
            come.append(sample)
            if number == 2 and len(come) == 5:
                raise KeyboardInterrupt

        return draw_round(job, number, *rest, tell=told, **more)

    folder = tmp_path / "own"
    with monkeypatch.context() as patch:
        patch.setattr(supply_module, "draw_round", cut)
        with pytest.raises(KeyboardInterrupt):
            stage(folder, grpo, ONLINE)
    said = "train    own: stopped in round 3 with 5 of 12 answers drawn; the whole round is sampled again"
    assert said in capsys.readouterr().err
    stage(folder, grpo, ONLINE)
    same_end(folder, whole)


@contextlib.contextmanager
def full_disk():
    """No file may grow: the refusal of a full disk, in the same calls."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("writer", ["write_json", "Shard", "atomic_write"])
def test_a_disk_that_is_full_when_a_round_is_written_is_one_sentence_and_the_end_is_equal(
    tmp_path, monkeypatch, whole, writer
):
    """At the third round's figures, its answers, or the log-probs of its rows."""
    real, seen = getattr(supply_module, writer), []

    def full(*arguments, **options):
        seen.append(1)
        if len(seen) == 3:
            limit.__enter__()
        return real(*arguments, **options)

    limit = full_disk()
    with monkeypatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setattr(supply_module, writer, full)
        stack.callback(lambda: len(seen) >= 3 and limit.__exit__(None, None, None))
        with pytest.raises(OperatorError, match=r"may not grow that large|no space is left") as said:
            stage(tmp_path / "cut", grpo, ONLINE)
    assert len(str(said.value).splitlines()) == 1
    stage(tmp_path / "cut", grpo, ONLINE)
    same_end(tmp_path / "cut", whole)


def test_rounds_that_are_written_twice_are_written_alike(tmp_path, whole):
    """Interrupted after its fourth step, the stage has drawn two rounds. A copy that has lost the third goes on and draws it; so does
    the copy of that copy, which is given the third round's files back and finds them done."""
    folder, again = tmp_path / "own", tmp_path / "again"
    with interrupted(after=4):
        stage(folder, grpo, ONLINE)
    shutil.copytree(folder, again)
    stage(folder, grpo, ONLINE)
    for path in (folder / "rollouts").glob("**/*00002.*"):
        place = again / path.relative_to(folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix != ".done":  # written, but a kill came before it was vouched for: it is written a second time
            shutil.copy2(path, place)
    stage(again, grpo, ONLINE)
    same_end(again, folder)
    same_end(folder, whole)


def test_a_round_that_is_lost_after_the_student_has_learned_from_it_is_not_drawn_by_another_student(tmp_path):
    folder = tmp_path / "own"
    with interrupted(after=5):
        stage(folder, grpo, ONLINE)
    (folder / "rollouts" / "part-00001.done").unlink()
    with pytest.raises(OperatorError, match=r"round 2 is missing or changed.*delete .*own to train"):
        stage(folder, grpo, ONLINE)


# --- rewards, problems and starts that are no good ----------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "1", np.ones(2), True])
def test_a_reward_of_another_kind_than_a_number_is_one_sentence_and_the_rounds_before_it_stay(tmp_path, value):
    seen = []

    def odd(problem, trace):
        seen.append(trace)
        return value if len(seen) == 15 else float(len(seen) % 2)

    with pytest.raises(
        OperatorError, match=r"^reward odd returned .* for trace t\w+ of problem p\w+; it must return a"
    ) as said:
        stage(tmp_path / "a", grpo, job_of(rewards=((1.0, odd),), rounds=3, updates=1))
    assert len(str(said.value).splitlines()) == 1
    assert len(list((tmp_path / "a" / "rollouts").glob("part-*.done"))) == 1


@pytest.mark.parametrize("objective", [sft, redi, OBJECTIVES["dpo"], grpo], ids=["sft", "redi", "dpo", "grpo"])
def test_a_round_in_which_nobody_is_right_teaches_nothing_and_is_counted(tmp_path, objective):
    class NobodyIsRight:
        names = ("cascade",)

        def judge(self, items, names):
            for _ in items:
                yield {"cascade": Verdict(Outcome.incorrect)}

    job = dataclasses.replace(job_of(rounds=1), pool=NobodyIsRight())
    settings = SETTINGS.model_copy(update={"weight_decay": 0.0})
    ledger = stage(tmp_path / "a", objective, job, settings=settings)
    found = loading.load_folder(tmp_path / "a" / "model")[0].state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in tiny_student()[0].state_dict().items())
    assert sum(ledger["rows"]["dropped"].values()) + ledger["rows"]["kept"] == ledger["rows"]["in"] > 0
    assert metrics(tmp_path / "a")[0]["pass_rate"] == 0.0


def test_a_prompt_that_fills_the_context_gets_answers_without_tokens_which_are_counted(tmp_path):
    model, _ = tiny_student()
    long = make_problem("1" * (loading.context_length(model) + 1), answer="1")
    ledger = stage(tmp_path / "a", grpo, job_of(problems=[long, *PROBLEMS[:2]], rounds=1, updates=1))
    assert ledger["rows"]["dropped"]["no_tokens"] == 4 and ledger["rows"]["kept"] > 0


def test_a_start_that_writes_no_text_is_one_sentence(tmp_path):
    """A critic scores tokens; it cannot answer."""
    _, tokenizer = tiny_student()
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, num_labels=1,
    )  # fmt: skip
    critic = AutoModelForTokenClassification.from_config(config)
    with pytest.raises(
        OperatorError, match=r"LlamaForTokenClassification, which writes no text.*from a language model"
    ):
        draw_round(job_of(), 0, critic, tokenizer)


def test_problems_fewer_than_a_round_asks_are_all_asked_and_the_steps_are_as_many(tmp_path):
    job = job_of(problems=PROBLEMS[:2], rounds=2, updates=1)
    assert stage(tmp_path / "a", grpo, job)["rows"]["in"] == 16
    facts = json.loads((tmp_path / "a" / "rollouts" / "round-00001.json").read_text())
    assert facts["figures"]["answers"] == 8
