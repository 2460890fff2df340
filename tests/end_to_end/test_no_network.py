"""A run from traces to report, a benchmark and a report in a network namespace with loopback alone, telemetry on as far as the
environment goes: nothing is missed, and nothing is tried.

Where the kernel does not let this user make such a namespace, the process itself refuses every connection but to loopback; the
test's name says which it was."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mini import MINI, SOURCE

HERE = Path(__file__).parents[1] / "without_network.py"
NAMESPACE = ["unshare", "--map-root-user", "--net", sys.executable, str(HERE)]
# run in the process itself
GUARD = f"""
import runpy, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from loopback_only import watch
sys.path.pop(0)
watch(sys.argv[1])
sys.argv = ["redistill", *sys.argv[2:]]
runpy.run_module("redistill", run_name="__main__")
"""


def permitted() -> bool:
    try:
        return subprocess.run([*NAMESPACE, "true"], capture_output=True).returncode == 0
    except OSError:
        return False


WALL = "namespace" if permitted() else "guard"


def test_the_run_of_these_tests_asked_for_no_network(whole: Path) -> None:
    assert (whole / "runs" / "mini" / "report.html").exists()
    assert not (whole / "tried").exists(), (whole / "tried").read_text()


@pytest.mark.recipes  # a new process for all of it; that telemetry is off from the first import is safety/test_telemetry_off.py
@pytest.mark.parametrize("wall", [WALL])
def test_a_run_needs_no_network_and_asks_for_none(tmp_path: Path, wall: str) -> None:
    (tmp_path / "mini.yaml").write_text(MINI)
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "HF_")) and k not in ("DO_NOT_TRACK", "CI")
    }
    environment = {**kept, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1", "HF_HOME": str(tmp_path / "cache")}
    tried = tmp_path / "tried"
    prefix = NAMESPACE if wall == "namespace" else []
    small = [
        w
        for s in (
            "train.sft.steps=2",
            "train.control.steps=2",
            "train.redi.steps=2",
            "evaluate.models=[redi]",
            "diagnosis=null",
        )
        for w in ("--set", s)
    ]
    done = subprocess.run(
        [*prefix, sys.executable, "-c", GUARD, str(tried), "run", "mini.yaml", *small],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "mini" / "report.html").exists()
    assert not tried.exists(), [json.loads(line) for line in tried.read_text().splitlines()]


def test_the_walls_hold(tmp_path: Path) -> None:
    code = "import socket\ntry: socket.create_connection(('192.0.2.1', 80), 3)\nexcept OSError as error: print(error.errno)"
    if WALL == "namespace":
        done = subprocess.run([*NAMESPACE, sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout == "101\n", done.stdout + done.stderr
    guarded = GUARD.partition("sys.argv = ")[0] + code
    done = subprocess.run([sys.executable, "-c", guarded, str(tmp_path / "tried")], capture_output=True, text=True)
    assert done.stdout == "101\n" and "192.0.2.1" in (tmp_path / "tried").read_text()
