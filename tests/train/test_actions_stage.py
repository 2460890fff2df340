"""A stage that learns from its own attempts and verifications: offline, online, resumed, and with nothing to learn from."""

import functools
import json
import random

import pytest

from redistill.io.parquet import read_records
from redistill.rollout.requests import Sample, tell_nobody
from redistill.text.segments import CUES, write
from redistill.train.action_advantages import actions as advantages
from redistill.train.objectives import OBJECTIVES
from redistill.train.trainer import Trainer

from .conftest import tiny_student
from .rollout_cases import SETTINGS, job_of, stage
from .test_rollout_supply import same_end
from .test_self_correction_rows import STUDENT

COMPACT = CUES["compact"]
student = functools.partial(tiny_student, STUDENT)


def scripted(model, requests, sampling, *, _finished=tell_nobody, all_right=None):
    """Answers of one to three attempts with verifications, drawn by the request's seed; right is what begins with an even digit."""
    tokenizer = model()[1]
    found = []
    for place, request in enumerate(requests):
        rng = random.Random(request.seed)
        wrong = 0 if all_right else rng.randrange(3)
        tries = [f"{rng.choice('13579')};" for _ in range(wrong)] + [
            f"{'24'[rng.randrange(2)] if all_right is not False else '5'};"
        ]
        if all_right is None and rng.random() < 0.3:
            tries[-1] = "7;"
        checks = [f"{rng.randrange(10)}{rng.choice('YN')}" for _ in tries]
        text = write(tries, checks, COMPACT) if all_right is not None or rng.random() < 0.9 else "3;"
        ids = (*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id)
        sample = Sample(text, len(ids), "stop", token_ids=ids, logprobs=(-1.0,) * len(ids))
        _finished(place, sample)
        found.append(sample)
    return found


def job(all_right=None, **options):
    of_advantage = {
        name: options.pop(name) for name in ("level", "baseline", "least", "after_right") if name in options
    }
    engine = functools.partial(scripted, all_right=all_right)
    advantage = functools.partial(advantages, cues="compact", after_right="keep", **of_advantage)
    return job_of(engine=engine, advantage=advantage, **{"rounds": 3, "updates": 1, "n": 6, **options})


def lines_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("level", ["process", "outcome"])
def test_a_stage_learns_from_actions_and_logs_the_five_metrics(tmp_path, level):
    objective = functools.partial(OBJECTIVES["actions"], kl=0.05)
    ledger = stage(tmp_path, objective, job(level=level), student=student, reference=student)
    rows = ledger["rows"]
    assert rows["in"] == 54 == rows["kept"] + sum(rows["dropped"].values()) and rows["kept"] > 40
    assert ("unparsed:no_verification" in rows["dropped"]) == (level == "process")
    for line in lines_of(tmp_path):
        assert 0 < line["verification_accuracy"] < 1 and line["attempts"] > 1 and line["grad_norm"] > 0
        assert {"error_recall", "correct_precision", "wrong_to_right", "right_to_wrong"} <= line.keys()
    groups = list(read_records(tmp_path / "rollouts" / "groups" / "part-00000.parquet"))
    spans = [trace.spans for group in groups for trace in group.traces if trace.spans]
    assert spans and all({"solve", "verification"} == one.keys() for one in spans)


def test_offline_with_several_epochs_on_one_round(tmp_path):
    objective = functools.partial(OBJECTIVES["actions"], kl=0.1, kl_of="mean")
    settings = SETTINGS.model_copy(update={"epochs": 2.0})
    offline = job(rounds=1, updates=None, baseline="accuracy-position", least=2, accuracy=(0.1, 0.9))
    ledger = stage(tmp_path, objective, offline, settings, student=student, reference=student)
    assert ledger["steps"] == -(-2 * ledger["rows"]["kept"] // 4)
    assert all(line["grad_norm"] >= 0 for line in lines_of(tmp_path))


@pytest.mark.parametrize("cut_at", [1, 3])
def test_a_running_baseline_is_the_same_after_a_kill(tmp_path, monkeypatch, cut_at):
    objective = functools.partial(OBJECTIVES["actions"], kl=0.05)
    running = job(baseline="running", updates=2)
    run = functools.partial(stage, objective=objective, job=running, student=student, reference=student)
    run(tmp_path / "whole")
    real, seen = Trainer.step, []

    def cut(*arguments):
        seen.append(1)
        if len(seen) > cut_at:
            raise RuntimeError("power cut")
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", cut)
        with pytest.raises(RuntimeError, match="power cut"):
            run(tmp_path / "cut")
    run(tmp_path / "cut")
    same_end(tmp_path / "cut", tmp_path / "whole")
    facts = [json.loads(p.read_text()) for p in sorted((tmp_path / "whole" / "rollouts").glob("round-*.json"))]
    counts = [fact["running"][""][1] for fact in facts]
    assert counts[0] < counts[1] < counts[2] <= 54  # first attempts of all rounds so far


@pytest.mark.parametrize("all_right", [True, False])
def test_groups_that_are_all_right_or_all_wrong_teach_outcomes_nothing_and_are_said(tmp_path, all_right):
    objective = functools.partial(OBJECTIVES["actions"], kl=0.0)
    stage(tmp_path / "a", objective, job(level="outcome", all_right=all_right, rounds=2), student=student)
    lines = lines_of(tmp_path / "a")
    assert all(line["no_variance"] == 1.0 and line["grad_norm"] == 0 for line in lines)
    assert all(line["rows_without_signal"] == line["num_rows"] - 1 for line in lines)


def test_an_accuracy_range_that_no_problem_is_in_is_a_step_that_changes_nothing(tmp_path):
    objective = functools.partial(OBJECTIVES["actions"], kl=0.0)
    ledger = stage(tmp_path, objective, job(all_right=True, accuracy=(0.1, 0.7), rounds=1), student=student)
    assert ledger["rows"]["kept"] == 0 and ledger["rows"]["dropped"] == {"accuracy_outside": 18}
