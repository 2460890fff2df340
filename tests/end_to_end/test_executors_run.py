"""A run has the same bytes wherever its stages are done: in this process, in several, on a Ray cluster, or cut in the middle."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from mini import MINI, SOURCE, Tool, environment

from process_states import is_running

STAGES = ("corpus", "verify", "select")
COMMAND = ("run", "mini.yaml", "--workers", "2")
SPREAD = {"setup": "spread:arm", "path": str(Path(__file__).parent)}  # no input is too small for processes of its own


def made(run: Path) -> dict[str, bytes]:
    """Every file of the stages before training."""
    files = (path for stage_dir in STAGES for path in (run / stage_dir).rglob("*") if path.is_file())
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


@pytest.mark.recipes  # half a minute: every map starts its processes
def test_in_processes_of_its_own_a_run_has_the_same_bytes(whole: Path, here: Path, tool: Tool) -> None:
    done = tool(here, *COMMAND, "--until", "select", cut=SPREAD)
    assert done.returncode == 0, done.stderr
    assert made(here / "runs" / "mini") == made(whole / "runs" / "mini")


@pytest.mark.recipes  # half a minute to start a cluster; tasks on one are tests/io/test_executors.py
def test_on_a_ray_cluster_of_its_own_a_run_has_the_same_bytes(whole: Path, here: Path) -> None:
    command = [sys.executable, "-m", "redistill", *COMMAND, "--until", "select", "--executor", "ray"]
    done = subprocess.run(command, cwd=here, env=environment(), stderr=subprocess.PIPE, timeout=180)
    assert done.returncode == 0, done.stderr
    assert made(here / "runs" / "mini") == made(whole / "runs" / "mini")


# parts of the user's own, which say whether a process of the cluster is at them
OWN = """
import os
from dataclasses import replace
from pathlib import Path

from redistill.verify.exact import exact


def mark(what):
    Path("marks").mkdir(exist_ok=True)
    Path("marks", f"{what}-{'there' if 'RAY_RAYLET_PID' in os.environ else 'here'}").touch()


def length(groups, *, _into):
    mark("length")
    scored = lambda trace: replace(trace, scores={**trace.scores, _into: float(len(trace.completion))})
    return [replace(group, traces=tuple(map(scored, group.traces))) for group in groups]


def judge(problem, trace):
    mark(f"judge-{trace.author}")
    return exact(problem, trace)
"""


@pytest.mark.recipes
def test_on_a_running_cluster_scorers_rollouts_and_evaluation_have_the_same_bytes_too(
    tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(SOURCE))  # of the actors
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    recipe = yaml.safe_load(MINI) | {
        "score": ["perplexity", "corpus-ngram", {"name": "own_parts:length", "into": "length"}]
    }
    recipe["evaluate"]["verifier"] = "own_parts:judge"
    rollouts = {"problems": 4, "n": 2, "rounds": 2, "updates": 1, "max_new_tokens": 12, "reward": ["accuracy"]}
    recipe["train"] = {
        "sft": recipe["train"]["sft"],
        "grpo": {"objective": "grpo", "start": "sft", "learning_rate": 1e-3, "rollouts": rollouts},
    }
    del recipe["diagnosis"]
    runs = []
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    try:
        cluster.add_node(**node)
        for place in ("here", "there"):
            (tmp_path / place).mkdir()
            (tmp_path / place / "own_parts.py").write_text(OWN)
            (tmp_path / place / "mini.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
            env, more = ({}, ()) if place == "here" else ({"RAY_ADDRESS": cluster.address}, ("--executor", "ray"))
            done = tool(tmp_path / place, "run", "mini.yaml", "--code", "own_parts.py", *more, env=env)
            assert done.returncode == 0, done.stderr
            run = tmp_path / place / "runs" / "mini"
            runs.append({str(p.relative_to(run)): p.read_bytes() for p in run.rglob("part-*")})
            marks = {path.name for path in (tmp_path / place / "marks").iterdir()}
            assert marks == {f"{what}-{place}" for what in ("length", "judge-base", "judge-sft", "judge-grpo")}
    finally:
        cluster.shutdown()
    assert runs[0] == runs[1]
    for stage in ("scorers/perplexity", "scorers/corpus-ngram", "train/grpo", "evaluate/grpo"):
        assert [path for path in runs[1] if path.startswith(stage)], f"{stage} left no shard"


def test_killed_while_processes_are_at_work_and_run_again_it_has_the_same_bytes(
    whole: Path, copy: Callable[..., Path], tool: Tool
) -> None:
    here = copy("corpus")
    run = here / "runs" / "mini"
    started = tool.start(here, *COMMAND, cut=SPREAD)
    end = time.monotonic() + 120
    while not list((run / "verify").glob("part-*.done")):
        assert is_running(started[0]) and time.monotonic() < end, Path(f"{started[1]}.stderr").read_text()
        time.sleep(0.005)
    os.kill(started[0], signal.SIGKILL)
    assert tool.wait(started).returncode == -signal.SIGKILL
    assert not (run / "select" / "ledger.json").exists()
    kept = {path: path.stat().st_mtime_ns for path in (run / "verify").glob("part-*.done")}
    again = tool(here, *COMMAND, "--until", "verify", cut=SPREAD)
    assert again.returncode == 0, again.stderr
    expected = {path: data for path, data in made(whole / "runs" / "mini").items() if not path.startswith("select/")}
    assert made(run) == expected
    assert all(path.stat().st_mtime_ns == then for path, then in kept.items()), "a finished shard was made again"
