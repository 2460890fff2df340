"""The guard at work in the loop: it disturbs nothing, acts the same after a kill, and ends with a student worth having."""

import functools
import json
import math
import os
import random
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from redistill.config.tables import GuardSettings, StageSettings
from redistill.io.tracking import Place, TrackerLogger, figures_of
from redistill.model import loading
from redistill.train import checkpoints, guard_state
from redistill.train.guard_state import GuardState
from redistill.train.objectives import redi
from redistill.train.stage import StageJob, train_stage
from redistill.train.supply import FileSupply
from redistill.train.trainer import Trainer

from .conftest import some_pairs, tiny_student

GUARD = GuardSettings(every=2, probe_every=2, held_out_pairs=2, update_norm_every=2)
SETTINGS = StageSettings(
    objective="redi", learning_rate=1e-3, batch_size=4, steps=9, save_every=100, tokens_per_micro_batch=200
)
START = [p.detach().double() for p in tiny_student()[0].parameters()]


def distance(model):
    return math.sqrt(sum(float((p - s).detach().square().sum()) for p, s in zip(model.parameters(), START)))


def good_while_near(reach):
    """A probe of ten lines: it samples, disturbs every random state, and calls the student good while its weights are
    near their start, the better the farther it has come till then."""

    def probe(model, tokenizer):
        model.generate(torch.tensor([[5, 6]]), max_new_tokens=3, do_sample=True)
        random.random(), np.random.rand(), torch.rand(1)
        moved = distance(model)
        good = moved < reach
        return {
            "probe_problems": 64,
            "probe_accuracy": 0.5 + 1e-3 * moved if good else 0.0,
            "probe_unfinished": 0.0 if good else 1.0,
            "probe_repetition": 0.0,
        }

    return probe


def stage(folder, probe=None, guard=GUARD, records=None, mirror=None, trial=False, **settings):
    changed = SETTINGS.model_copy(update={"guard": guard, **settings})
    job = StageJob(Path(folder), "redi", changed, redi, "f", seed=0, card="a card", trial=trial)
    records = some_pairs(40) if records is None else records
    return train_stage(job, records=records, student=tiny_student, probe=probe, mirror=mirror)


def weights(folder):
    return (Path(folder) / "model" / "model.safetensors").read_bytes()


def lines(folder, name="metrics.jsonl"):
    found = [json.loads(line) for line in (Path(folder) / name).read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("seconds", "tokens_per_second")} for line in found]


def kept_by_part(folder):
    """A mirror whose tracker keeps each part in a file, notes which rank opened it and disturbs every random state;
    beside it one that fails at the second step."""

    class Kept:
        last_step = -1

        def __init__(self, place, config):
            self.path, self.fails = folder / f"{place.part}.jsonl", config["fails"]
            folder.mkdir(exist_ok=True)
            (folder / f"opened-by-rank-{os.environ.get('RANK', '0')}").touch()
            self.fails or self.path.write_text("")

        def send(self, figures, step):
            random.random(), np.random.rand(), torch.rand(1)
            assert not (self.fails and step == 2), "the server is gone"
            if not self.fails:
                with open(self.path, "a") as file:
                    file.write(json.dumps({"step": step, **figures}) + "\n")

        def close(self):
            pass

    trackers = {
        name: lambda place, config, name=name: Kept(place, {"fails": name == "bad"}) for name in ("bad", "good")
    }
    return TrackerLogger(Place(folder, "x", "redi", "f"), trackers, {})


def check_mirrored(folder, kept):
    """The tracker's last attempt is metrics.jsonl, each step once."""
    attempts = (
        len(json.loads((folder / "guard.json").read_text())["rollbacks"]) if (folder / "guard.json").exists() else 0
    )
    part = "redi" if attempts == 0 else f"redi-attempt-{attempts + 1}"
    expected = [{"step": line["step"], **figures_of(line)} for line in lines(folder)]
    assert lines(kept, f"{part}.jsonl") == expected


def acting(action, **more):
    return GUARD.model_copy(update={"action": action, **more})


def test_looking_and_probing_change_nothing(tmp_path):
    """The same rows, looked at and probed all the time or not at all: the same bytes."""
    quiet = GUARD.model_copy(update={"every": 1000, "probe_every": 0, "update_norm_every": 0})
    stage(tmp_path / "quiet", guard=quiet)
    stage(tmp_path / "watched", probe=good_while_near(1e9))
    assert weights(tmp_path / "watched") == weights(tmp_path / "quiet")
    looked = [line["step"] for line in lines(tmp_path / "watched") if "probe_accuracy" in line]
    assert looked == [0, 2, 4, 6, 8, 9]
    assert all("held_out_margin" in line for line in lines(tmp_path / "watched") if line["step"] in looked)


def test_held_out_pairs_are_counted_and_never_trained_on(tmp_path, monkeypatch):
    seen = set()
    real = FileSupply.at

    def spy(supply, step, trainer):
        taken = real(supply, step)
        seen.update(taken.ids)
        return taken

    monkeypatch.setattr(FileSupply, "at", spy)
    ledger = stage(tmp_path / "a", guard=GUARD.model_copy(update={"probe_every": 0}), steps=None, epochs=2)
    assert ledger["rows"] == {"unit": "row", "in": 40, "kept": 38, "dropped": {"held_out_for_guard": 2}}
    assert len(seen) == 38 and ledger["steps"] == 19  # two epochs of 38 rows by 4


def test_a_guard_that_logs_does_nothing_but_write_the_state(tmp_path):
    ledger = stage(tmp_path / "a", probe=good_while_near(0.0))
    states = [line["guard"] for line in lines(tmp_path / "a")]
    # at the start it is already far: nothing is worse than the start, so nothing is wrong
    assert len(states) == 10 and set(states) <= {"steady", "drift"}
    assert ledger["guard"]["rollbacks"] == [] and "did nothing" in ledger["guard"]["sentence"]


@pytest.fixture(scope="module")
def reach(tmp_path_factory):
    """A distance that the student passes between steps 4 and 6 at the full rate."""
    folder = tmp_path_factory.mktemp("measure")
    stage(folder / "a", probe=good_while_near(1e9))
    moved = {
        line["step"]: (line["probe_accuracy"] - 0.5) * 1e3 for line in lines(folder / "a") if line["step"] % 2 == 0
    }
    assert 0 < moved[4] < moved[6]
    return (moved[4] + moved[6]) / 2


def test_a_collapse_goes_back_to_the_last_good_checkpoint_at_half_the_rate(tmp_path, reach):
    ledger = stage(tmp_path / "a", probe=good_while_near(reach), guard=acting("rollback"))
    first = ledger["guard"]["rollbacks"][0]
    assert (first["at"], first["to"], first["reasons"]) == (6, 4, ["probe_down", "unfinished_up"])
    assert first["learning_rate"] == 5e-4
    abandoned = [line for line in lines(tmp_path / "a", "abandoned.jsonl") if line["attempt"] == 0]
    assert [line["step"] for line in abandoned] == [5, 6] and abandoned[-1]["guard"] == "collapse"
    assert [line["step"] for line in lines(tmp_path / "a")] == sorted({line["step"] for line in lines(tmp_path / "a")})
    assert "went back to step 4 and lowered the learning rate to 0.0005" in ledger["guard"]["sentence"]


def test_the_steps_after_a_rollback_take_the_same_rows_again(tmp_path, monkeypatch, reach):
    taken = []
    real = FileSupply.at

    def spy(supply, step, trainer):
        found = real(supply, step)
        taken.append((step, tuple(found.numbers)))
        return found

    monkeypatch.setattr(FileSupply, "at", spy)
    stage(tmp_path / "a", probe=good_while_near(reach), guard=acting("rollback"))
    rows = {}
    for step, numbers in taken:
        assert rows.setdefault(step, numbers) == numbers
    assert [step for step, _ in taken[:8]] == [0, 1, 2, 3, 4, 5, 4, 5]


def test_rollbacks_are_bounded_and_then_the_best_is_kept(tmp_path, reach):
    guard = acting("rollback", max_rollbacks=1, rollback_rate_factor=0.99)
    ledger = stage(tmp_path / "a", probe=good_while_near(reach), guard=guard)
    assert len(ledger["guard"]["rollbacks"]) == 1 and ledger["guard"]["stopped_at"] == 6
    assert ledger["guard"]["kept_step"] == 4 and ledger["steps"] == 6


def test_a_checkpoint_that_led_to_a_collapse_twice_is_not_trusted_again(tmp_path, reach):
    guard = acting("rollback", max_rollbacks=3, rollback_rate_factor=0.99)
    ledger = stage(tmp_path / "a", probe=good_while_near(reach), guard=guard)
    assert [back["to"] for back in ledger["guard"]["rollbacks"]][:2] == [4, 2]


def test_stop_keeps_the_student_of_the_best_look(tmp_path, reach):
    ledger = stage(tmp_path / "a", probe=good_while_near(reach), guard=acting("stop"))
    assert (ledger["guard"]["stopped_at"], ledger["guard"]["kept_step"]) == (6, 4)
    # the fake probe rises with the distance, so step 4 is the best: the same bytes as a run whose guard ends it there
    assert "stopped and kept the student of step 4" in ledger["guard"]["sentence"]
    kept = loading.load_folder(tmp_path / "a" / "model")[0]
    moved = distance(kept)
    at_four = next(line for line in lines(tmp_path / "a") if line["step"] == 4)
    assert 0.5 + 1e-3 * moved == pytest.approx(at_four["probe_accuracy"], abs=1e-9)


def test_a_guard_that_acts_does_not_end_on_an_alarming_student(tmp_path, reach):
    """A warning is not a reason to stop, but a stage whose last step is one ends with its best student."""

    def tired(model, tokenizer):
        return good_while_near(reach)(model, tokenizer) | {"probe_unfinished": 0.0}  # one sign: a warning

    ledger = stage(tmp_path / "a", probe=tired, guard=acting("rollback"))
    assert ledger["steps"] == 9 and ledger["guard"]["rollbacks"] == []
    assert ledger["guard"]["steps_by_state"]["warning"] >= 3 and ledger["guard"]["kept_step"] == 4


class PowerCut(Exception):
    pass


@pytest.fixture(scope="module")
def whole(tmp_path_factory, reach):
    """By what the guard does: the folder of a stage that nothing cut short."""

    @functools.cache
    def made(action):
        folder = tmp_path_factory.mktemp(action) / "whole"
        stage(folder, probe=good_while_near(reach), guard=acting(action))
        return folder

    return made


@pytest.mark.parametrize("action", ["rollback", "stop"])
@pytest.mark.parametrize("cut_at", [3, 6, 7])
def test_a_guarded_stage_cut_short_at_any_step_ends_with_the_same_bytes(
    tmp_path, monkeypatch, reach, whole, action, cut_at
):
    real, seen, mirror = Trainer.step, [], partial(kept_by_part, tmp_path / "kept")

    def cut(*arguments):
        seen.append(1)
        if len(seen) > cut_at:
            raise PowerCut
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", cut)
        if cut_at < 6 or action == "rollback":
            with pytest.raises(PowerCut):
                stage(tmp_path / "cut", probe=good_while_near(reach), guard=acting(action), mirror=mirror())
    stage(tmp_path / "cut", probe=good_while_near(reach), guard=acting(action), mirror=mirror())
    same_end(tmp_path / "cut", whole(action))  # and the whole one had no tracker: they change nothing
    check_mirrored(tmp_path / "cut", tmp_path / "kept")


def same_end(cut, whole):
    assert weights(cut) == weights(whole)
    assert lines(cut) == lines(whole)
    for name in ("abandoned.jsonl", "guard.json"):
        assert (cut / name).exists() == (whole / name).exists()
        if name == "guard.json" and (cut / name).exists():
            assert (cut / name).read_text() == (whole / name).read_text()
    if (whole / "abandoned.jsonl").exists():
        assert lines(cut, "abandoned.jsonl") == lines(whole, "abandoned.jsonl")


@pytest.mark.parametrize("moment", ["write_json", "delete_abandoned", "_write_history", "load_state"])
def test_a_rollback_cut_short_between_any_two_writes_ends_with_the_same_bytes(
    tmp_path, monkeypatch, reach, whole, moment
):

    def cut(*arguments, **more):
        raise PowerCut

    with monkeypatch.context() as patch:
        if moment == "write_json":  # the attempt is put away, guard.json is not written
            patch.setattr(guard_state, "write_json", cut)
        elif moment == "load_state":
            patch.setattr(checkpoints, "load", cut)
        else:
            armed = []
            real_put, real = GuardState._archive_abandoned, getattr(GuardState, moment)
            patch.setattr(GuardState, "_archive_abandoned", lambda self, to: (armed.append(1), real_put(self, to))[1])
            patch.setattr(GuardState, moment, lambda self, *a: cut() if armed else real(self, *a))
        with pytest.raises(PowerCut):
            stage(tmp_path / "cut", probe=good_while_near(reach), guard=acting("rollback"))
    stage(tmp_path / "cut", probe=good_while_near(reach), guard=acting("rollback"))
    same_end(tmp_path / "cut", whole("rollback"))


def test_pruning_leaves_the_start_the_last_good_ones_and_the_best(tmp_path):
    kept = GuardState(tmp_path, "redi", SETTINGS.model_copy(update={"guard": acting("stop")}))
    kept.history = [{"step": step, "probe_accuracy": a} for step, a in ((0, 0.1), (2, 0.9), (4, 0.2), (6, 0.3))]
    finished = [{"step": s, "good": s != 8, "attempt": 0} for s in (0, 2, 4, 6, 8)]
    assert kept.spared(finished) == {0, 2, 4, 6}


def test_a_stage_without_a_guard_keeps_two_checkpoints_as_before(tmp_path, monkeypatch):
    counts = []
    real = checkpoints.save

    def save(accelerator, policy, optimizer, folder, step, **more):
        real(accelerator, policy, optimizer, folder, step, **more)
        counts.append([done["step"] for done in checkpoints.finished(folder)])

    monkeypatch.setattr(checkpoints, "save", save)
    stage(tmp_path / "a", guard=None, save_every=2)
    assert counts == [[2], [2, 4], [4, 6], [6, 8]]


def test_a_trial_ends_at_the_first_alarm_and_leaves_no_student(tmp_path, reach):
    ledger = stage(tmp_path / "a", probe=good_while_near(reach), trial=True)
    assert ledger["steps"] == 6 and not (tmp_path / "a" / "model").exists()


def test_a_probe_that_changes_the_weights_type_is_a_bug_that_says_so(tmp_path):
    def careless(model, tokenizer):
        model.to(torch.bfloat16)
        return {}

    with pytest.raises(RuntimeError, match=r"the probe changed the type of \d+ weights"):
        stage(tmp_path / "a", probe=careless)


TWO_RANKS = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from train.test_guard_state import acting, good_while_near, kept_by_part, stage
mirror = kept_by_part(Path({folder!r} + "-kept"))
stage({folder!r}, probe=good_while_near({reach!r}), guard=acting("rollback"), mirror=mirror)
"""


@pytest.mark.recipes  # a launch of its own; guards of two ranks, without a rollback, are in test_ranks.py
def test_two_processes_roll_back_together(tmp_path, reach):
    stage(tmp_path / "one", probe=good_while_near(reach), guard=acting("rollback"))
    script = tmp_path / "two.py"
    tests = str(Path(__file__).parents[1])
    script.write_text(TWO_RANKS.format(tests=tests, folder=str(tmp_path / "two"), reach=reach))
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", str(script)]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=180
    )
    assert done.returncode == 0, done.stderr[-3000:]
    check_mirrored(tmp_path / "two", tmp_path / "two-kept")
    assert [path.name for path in (tmp_path / "two-kept").glob("opened*")] == ["opened-by-rank-0"]
    ledgers = [json.loads((tmp_path / name / "ledger.json").read_text()) for name in ("one", "two")]
    assert ledgers[1]["guard"] == ledgers[0]["guard"] and ledgers[0]["guard"]["rollbacks"]
    for ours, theirs in zip(lines(tmp_path / "two"), lines(tmp_path / "one"), strict=True):
        assert ours.get("held_out_margin", 0.0) == pytest.approx(theirs.get("held_out_margin", 0.0), rel=1e-5)
