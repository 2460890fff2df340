"""A run has the same bytes wherever its stages are done: in this process, in several, on a Ray cluster, or cut in the middle."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from mini import environment

STAGES = ("corpus", "verify", "select")
# the tool with no input too small for processes of its own
SPREAD = "import redistill.io.executors as e; e.SMALL_BYTES = 0; from redistill.cli import main; main()"


def made(run: Path) -> dict[str, bytes]:
    """Every file of the stages before training."""
    files = (path for stage_dir in STAGES for path in (run / stage_dir).rglob("*") if path.is_file())
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


def start(here: Path, *command: str) -> subprocess.Popen[Any]:
    arguments = ["run", "mini.yaml", "--until", "select", "--workers", "2"]
    return subprocess.Popen([sys.executable, *command, *arguments], cwd=here, env=environment(), stderr=subprocess.PIPE)


@pytest.mark.recipes  # half a minute to start a cluster; tasks on one are tests/io/test_executors.py
def test_on_a_ray_cluster_of_its_own_a_run_has_the_same_bytes(whole: Path, here: Path) -> None:
    process = start(here, "-c", f"import sys; sys.argv += ['--executor', 'ray']; {SPREAD}")
    _, said = process.communicate(timeout=180)
    assert process.returncode == 0, said
    assert made(here / "runs" / "mini") == made(whole / "runs" / "mini")


def test_killed_while_processes_are_at_work_and_run_again_it_has_the_same_bytes(whole: Path, here: Path) -> None:
    run = here / "runs" / "mini"
    process = start(here, "-c", SPREAD)
    end = time.monotonic() + 120
    while not list((run / "verify").glob("part-*.done")):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.005)
    process.kill()
    process.communicate()
    assert not (run / "select" / "ledger.json").exists()
    kept = {path: path.stat().st_mtime_ns for path in (run / "verify").glob("part-*.done")}
    again = start(here, "-c", SPREAD)
    _, said = again.communicate(timeout=180)
    assert again.returncode == 0, said
    assert made(run) == made(whole / "runs" / "mini")
    assert all(path.stat().st_mtime_ns == then for path, then in kept.items()), "a finished shard was made again"
