"""Two ranks take the step that one takes: DDP and FSDP2, every kind of objective; checkpoints go on with another count."""

import math
import os
from pathlib import Path

import pytest
import torch

from redistill.errors import OperatorError
from redistill.model import loading
from redistill.model.score_heads import is_critic, load_critic
from redistill.train import checkpoints
from redistill.train.ranks import layout

from . import two_ranks
from .test_train_stage import metrics, weights
from .two_ranks import JOBS, LONG, OTHERS, SHORT, student, train, train_until

TESTS = Path(__file__).parents[1]


def launch(tool, folder, *jobs):
    done = tool.code(folder, f"from train import two_ranks; two_ranks.main({str(folder)!r}, *{jobs!r})", [TESTS])
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.fixture(scope="module")
def two(tmp_path_factory, tool):
    """The folder in which two ranks have done every job, in two launches, one of which was killed."""
    folder = tmp_path_factory.mktemp("two")
    train_until(folder / "cut-1-2", 5, LONG)
    launch(tool, folder)
    return folder


@pytest.fixture(scope="module")
def others(tmp_path_factory, tool):
    """The same for the jobs that `make test` leaves out."""
    folder = tmp_path_factory.mktemp("others")
    launch(tool, folder, *OTHERS)
    return folder


@pytest.fixture
def done(job, request):
    """The folder in which two ranks have done the job."""
    return request.getfixturevalue("two" if job in SHORT else "others")


def each(jobs):
    """A test's jobs, those that `make test` leaves out marked."""
    return [job if job in SHORT else pytest.param(job, marks=pytest.mark.recipes) for job in jobs]


def state(folder):
    load = load_critic if is_critic(folder / "model") else loading.load_folder
    return load(folder / "model")[0].state_dict()


def apart(one, other, start):
    """|| one - other || over || one - start ||: how far two students are apart, in units of how far they have moved."""
    moved = math.sqrt(sum(float((one[k] - start[k]).double().norm()) ** 2 for k in one))
    return math.sqrt(sum(float((one[k] - other[k]).double().norm()) ** 2 for k in one)) / moved


@pytest.mark.parametrize("job", each(name for name in JOBS if name != "fsdp2-bf16"))
def test_two_ranks_take_the_same_steps_as_one(done, tmp_path, job):
    """Loss, both log-probs, every gradient of the first step, gauges and the students, equal to fp32 rounding."""
    objective, changes, tied = JOBS[job]
    train(tmp_path / job, objective, changes, tied)
    for ours, theirs in zip(metrics(done / job), metrics(tmp_path / job), strict=True):
        assert ours.keys() == theirs.keys()
        for key, value in theirs.items():
            assert ours[key] == (pytest.approx(value, rel=2e-4, abs=1e-6) if isinstance(value, float) else value), key
    gradients = zip(torch.load(done / f"{job}.gradients"), torch.load(tmp_path / f"{job}.gradients"), strict=True)
    for ours, theirs in gradients:
        assert ours.shape == theirs.shape and float((ours - theirs).norm()) <= 1e-5 * float(theirs.norm()) + 1e-9
    start = student(tied, critic=is_critic(done / job / "model"))[0].state_dict()
    assert apart(state(tmp_path / job), state(done / job), start) < 1e-3


@pytest.mark.parametrize("job", each(["own-ddp", "own-fsdp2"]))
def test_two_ranks_draw_the_answers_of_one_and_take_the_same_steps_on_them(done, tmp_path, job):
    two_ranks.train_on_own_answers(tmp_path / "own", job.removeprefix("own-"))
    samples = Path("rollouts") / "samples" / "part-00000.parquet"
    assert (done / job / samples).read_bytes() == (tmp_path / "own" / samples).read_bytes()
    for ours, theirs in zip(metrics(done / job), metrics(tmp_path / "own"), strict=True):
        for key, value in theirs.items():
            assert ours[key] == (pytest.approx(value, rel=2e-4, abs=1e-6) if isinstance(value, float) else value), key
    assert apart(state(tmp_path / "own"), state(done / job), student(False)[0].state_dict()) < 1e-3


@pytest.mark.parametrize("job", each(JOBS))
def test_under_fsdp2_a_rank_holds_a_slice_of_every_gradient_and_under_ddp_the_whole(done, job):
    held, all_of_it = map(int, (done / f"{job}.slices").read_text().split())
    assert held == 0 if job.startswith("ddp") else 0.45 * all_of_it < held < 0.6 * all_of_it


def test_a_gradient_that_is_not_finite_on_one_rank_is_skipped_by_all(two, tmp_path):
    """Had rank 0 taken the step alone, it would end elsewhere than one process that skips it."""
    train(tmp_path / "spoilt", "redi", {"distributed": "ddp"}, False, spoilt=2)
    assert [line["skipped"] for line in metrics(two / "spoilt")] == [False, True, False]
    assert len(metrics(two / "spoilt")[1]["rows"]) == 4
    start = student(False)[0].state_dict()
    assert apart(state(tmp_path / "spoilt"), state(two / "spoilt"), start) < 1e-3
    train(tmp_path / "taken", "redi", {"distributed": "ddp"}, False)
    assert apart(state(tmp_path / "taken"), state(two / "spoilt"), start) > 1e-2


def test_sharded_ranks_that_compute_in_bf16_keep_fp32_weights_and_stay_near(two, tmp_path):
    objective, changes, tied = JOBS["fsdp2-bf16"]
    train(tmp_path / "one", objective, changes, tied)
    ours, theirs = torch.load(two / "fsdp2-bf16.gradients"), torch.load(tmp_path / "one.gradients")
    assert all(t.dtype == torch.float32 for t in [*ours, *state(two / "fsdp2-bf16").values()])
    gap = math.sqrt(sum(float((a - b).norm()) ** 2 for a, b in zip(ours, theirs, strict=True)))
    assert gap < 0.03 * math.sqrt(sum(float(b.norm()) ** 2 for b in theirs))  # 8 bits of mantissa: 0.4% a rounding


def test_the_same_ranks_go_on_to_the_same_bytes(two):
    assert weights(two / "cut-2-2") == weights(two / "whole")
    assert metrics(two / "cut-2-2") == metrics(two / "whole")


def test_two_ranks_of_which_one_is_killed_in_a_step_go_on_to_the_same_bytes(two):
    assert weights(two / "killed") == weights(two / "whole")
    assert metrics(two / "killed") == metrics(two / "whole")


def test_a_stage_saved_by_one_goes_on_with_two_and_the_reverse(two, tmp_path):
    """Weights and moments change hands; the first steps were taken by other ranks, so the students agree to rounding."""
    train(tmp_path / "whole", "redi", LONG, False)
    newest = checkpoints.newest(two / "cut-2-1" / "checkpoints")
    assert newest is not None and newest[1] == 4 and len(list(newest[0].glob("*.bin"))) == 2
    train(two / "cut-2-1", "redi", LONG, False)
    whole, start = state(tmp_path / "whole"), student(False)[0].state_dict()
    for folder in (two / "whole", two / "cut-2-1", two / "cut-1-2"):
        assert len(metrics(folder)) == 6
        assert apart(whole, state(folder), start) < 1e-3


def test_a_stage_goes_on_with_another_budget_of_tokens_to_the_same_student(tmp_path):
    train(tmp_path / "whole", "redi", LONG, False)
    train_until(tmp_path / "cut", 5, LONG)
    train(tmp_path / "cut", "redi", {**LONG, "tokens_per_micro_batch": 70}, False)
    assert apart(state(tmp_path / "whole"), state(tmp_path / "cut"), student(False)[0].state_dict()) < 1e-3


@pytest.mark.parametrize(
    ("wanted", "says", "expected"),
    [
        ("auto", {}, "alone"),
        ("fsdp2", {"WORLD_SIZE": "1"}, "alone"),
        ("auto", {"WORLD_SIZE": "2"}, "ddp"),
        ("fsdp2", {"WORLD_SIZE": "2"}, "fsdp2"),
        ("auto", {"WORLD_SIZE": "2", "ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}, "fsdp2"),
    ],
)
def test_the_layout_follows_the_recipe_and_the_launcher(wanted, says, expected):
    assert layout(wanted, says) == expected


@pytest.mark.parametrize(
    ("wanted", "says", "sentence"),
    [
        ("ddp", {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}, "distributed is ddp, but the launcher"),
        ("auto", {"ACCELERATE_USE_FSDP": "true"}, "add --fsdp_version 2"),
        ("auto", {"ACCELERATE_USE_DEEPSPEED": "true"}, "DeepSpeed is not supported"),
        (
            "auto",
            {"ACCELERATE_USE_PARALLELISM_CONFIG": "true", "PARALLELISM_CONFIG_CP_SIZE": "2"},
            "context parallelism, which packed rows do not support",
        ),
    ],
)
def test_what_recipe_and_launcher_cannot_have_together_is_one_sentence(wanted, says, sentence):
    with pytest.raises(OperatorError, match=sentence):
        layout(wanted, {"WORLD_SIZE": "2", **says})


def test_a_stage_alone_leaves_no_process_group(tmp_path):
    train(tmp_path / "a", "redi", {"distributed": "fsdp2", "steps": 1}, False)
    assert not torch.distributed.is_initialized() and "ACCELERATE_USE_FSDP" not in os.environ
    assert two_ranks.SETTINGS.distributed == "auto"
