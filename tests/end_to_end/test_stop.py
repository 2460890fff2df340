"""Ctrl-C: a run stops at a safe point, says how to go on, exits with 130, and goes on to the same result."""

import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest
from mini import cut_at, environment
from test_kill import SHARD, STAGES, result

from redistill.train.stopping import at_the_next_step

STOPS = {  # where Ctrl-C comes, what must be there then
    "in the verify stage": (
        "verify",
        cut_at(SHARD, "/verify", when="after", signal=signal.SIGINT),
        "verify/part-00000.done",
    ),
    "in a training step": (  # checkpoints are due after steps 2 and 4; the third is saved because of Ctrl-C
        "train",
        cut_at("redistill.train.guard_state:GuardState.judge", "train/redi", call=3, signal=signal.SIGINT),
        "train/redi/checkpoints/step-000003/done.json",
    ),
    "in the last training step": (
        "train",
        cut_at("redistill.train.guard_state:GuardState.judge", "train/redi", call=4, signal=signal.SIGINT),
        "train/redi/checkpoints/step-000004/done.json",
    ),
    "between the samples of an evaluation": (
        "evaluate",
        cut_at("redistill.rollout.local_sampling:_sample", "", call=2, when="after", signal=signal.SIGINT),
        "evaluate/sft/dev",  # the diagnosis before the next stage asks first
    ),
}


LATER = "in the last training step"  # one of the two in training is in `make test`


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.recipes if name == LATER else ()) for name in STOPS]
)
def test_ctrl_c_stops_at_a_safe_point_and_the_run_goes_on_to_the_same_bytes(name, whole, copy, tool):
    stage_dir, cut, there = STOPS[name]
    folder = copy(*STAGES[: STAGES.index(stage_dir)])
    stopped = tool(folder, "run", "mini.yaml", cut=cut)
    assert stopped.returncode == 130, stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert stopped.stderr.splitlines()[-1] == "redistill: stopped; run the same command again to go on from here."
    assert ("stopping after this step; Ctrl-C again stops at once" in stopped.stderr) == (stage_dir == "train")
    if "samples" in name:  # the second answer is drawn and not stored yet
        assert re.search(r"stopped with 1 of \d+ answers stored; the same command samples the rest", stopped.stderr)
    run = folder / "runs" / "mini"
    assert (run / there).exists() and not (run / "report.html").exists()
    again = tool(folder, "run", "mini.yaml", "--until", stage_dir)
    assert again.returncode == 0, again.stderr
    expected, found = result(whole / "runs" / "mini"), result(run)
    made = STAGES[: STAGES.index(stage_dir) + 1]
    expected = {k: v for k, v in expected.items() if k.strip("/").split("/")[0] in made or k in found}
    assert found == expected and any(k.startswith(f"{stage_dir}/") for k in found)


@pytest.mark.recipes  # a new process for all of it; the others are forks of one
def test_ctrl_c_at_a_terminal_reaches_every_process_and_none_complains(copy):
    """The whole group gets the signal, the verifiers' processes too."""
    folder = copy("corpus", "verify", "select", "train")
    process = subprocess.Popen(
        [sys.executable, "-m", "redistill", "run", "mini.yaml"], cwd=folder, env=environment(), start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # not ignored, as in the background
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    started = time.monotonic()
    while not (folder / "runs/mini/evaluate/sft/dev").exists() and time.monotonic() - started < 120:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.endswith("\nredistill: stopped; run the same command again to go on from here.\n") and out == ""
    assert "Traceback" not in err and "KeyboardInterrupt" not in err


def test_the_second_ctrl_c_stops_at_once_and_the_old_handler_comes_back(capsys):
    before = signal.getsignal(signal.SIGINT)
    with at_the_next_step() as asked:
        assert not asked()
        os.kill(os.getpid(), signal.SIGINT)
        assert asked()  # and this line was reached
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_outside_the_main_thread_nobody_can_ask():
    found = []

    def work():
        with at_the_next_step() as asked:
            found.append(asked())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]
