"""Maps over shards: each task is done, whatever dies, and the answers do not depend on where."""

import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest

import redistill
from redistill.config.tables import ExecutionSettings
from redistill.errors import OperatorError
from redistill.io import executors
from redistill.io.executors import MAX_DEATHS, SMALL_BYTES, LocalProcesses, RayCluster, _Actor, open_executor
from redistill.io.far_nodes import LOCK, HeldRun
from redistill.pipeline.lock import alone

SOURCE = Path(redistill.__file__).parents[1]
TESTS = Path(__file__).parent


def square(task: int) -> tuple[int, int]:
    """The answer, and the process that found it."""
    return task * task, os.getpid()


def dies_once(folder: Path, task: int) -> int:
    """Killed in the first process that takes task 2."""
    flag = folder / "died"
    if task == 2 and not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return task


def dies(task: int) -> int:
    """Killed whenever it is tried."""
    os.kill(os.getpid(), signal.SIGKILL)
    return task


def collector(task: int) -> int:
    """The user's mistake, found by a worker."""
    raise OperatorError(f"task {task} is wrong.")


def waits(folder: Path, task: int) -> None:
    """Says who it is and sleeps."""
    (folder / str(os.getpid())).touch()
    time.sleep(60)


def two(work: Any, tasks: list[int], size_bytes: int = SMALL_BYTES) -> list[tuple[int, Any]]:
    return sorted(LocalProcesses(2).map(work, tasks, label="verify", size_bytes=size_bytes))


def test_every_task_is_done_once_and_in_another_process() -> None:
    found = two(square, [3, 4, 5, 6])
    assert [(place, answer) for place, (answer, _) in found] == [(0, 9), (1, 16), (2, 25), (3, 36)]
    assert os.getpid() not in {pid for _, (_, pid) in found}


@pytest.mark.parametrize(
    ("processes", "tasks", "size"), [(2, [3, 4], 1), (1, [3, 4], SMALL_BYTES), (2, [3], SMALL_BYTES)]
)
def test_a_small_input_one_task_or_one_process_is_done_here(processes: int, tasks: list[int], size: int) -> None:
    executor = LocalProcesses(processes)
    assert not executor.spreads(len(tasks), size)
    found = list(executor.map(square, tasks, label="verify", size_bytes=size))
    assert found == [(place, (task * task, os.getpid())) for place, task in enumerate(tasks)]


def test_what_a_killed_process_had_in_hand_is_done_again(tmp_path: Path) -> None:
    assert two(functools.partial(dies_once, tmp_path), [0, 1, 2, 3]) == [(n, n) for n in range(4)]
    assert (tmp_path / "died").exists()


def test_processes_that_keep_dying_are_one_sentence() -> None:
    with pytest.raises(OperatorError, match=r"^verify: worker processes died 3 times with 2 shards left .* go on\.$"):
        two(dies, [0, 1])


def test_an_operators_slip_in_a_worker_is_the_same_slip_here() -> None:
    with pytest.raises(OperatorError, match=r"^task 7 is wrong\.$"):
        two(collector, [7, 7])


def test_when_the_caller_is_killed_its_processes_go_too(tmp_path: Path) -> None:
    code = (
        "import functools, pathlib, test_executors as t\n"
        f"if __name__ == '__main__': t.two(functools.partial(t.waits, pathlib.Path({str(tmp_path)!r})), [1, 2])"
    )
    path = os.pathsep.join((str(SOURCE), str(TESTS)))
    caller = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path})
    workers = wait_for(lambda: [int(p.name) for p in tmp_path.iterdir()], 2)
    caller.kill()
    caller.wait()
    wait_until_gone(workers)


def wait_until_gone(pids: Collection[int]) -> None:
    # Not at the top: a process of a cluster loads this file, and has a shorter path.
    from process_states import is_running

    wait_for(lambda: [pid for pid in pids if not is_running(pid)], len(pids))


def wait_for(what: Any, count: int) -> list[int]:
    """`what()` once it has `count` members; a busy machine starts processes slowly."""
    end = time.monotonic() + 240
    while len(found := what()) < count:
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def test_ray_that_is_not_installed_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors.importlib.util, "find_spec", lambda name: None)
    with (
        pytest.raises(OperatorError, match="ray is not installed; pip install"),
        open_executor(ExecutionSettings(executor="ray")),
    ):
        pass


def test_a_worker_with_other_code_is_refused() -> None:
    with pytest.raises(OperatorError, match=r"runs another version of redistill .* install the same one on every node"):
        executors.do("0" * 24, b"", 1)


@pytest.mark.parametrize(
    ("address", "said"), [("127.0.0.1:1", "no Ray cluster answers at 127"), ("ray://x:1", "write auto or")]
)
def test_an_address_where_no_cluster_is_is_one_sentence(address: str, said: str) -> None:
    with (
        pytest.raises(OperatorError, match=said),
        open_executor(ExecutionSettings(executor="ray", address=address)) as executor,
    ):
        list(executor.map(square, [1], label="verify", size_bytes=1))


def test_a_node_that_does_not_see_a_run_on_a_disk_is_one_sentence(tmp_path: Path) -> None:
    run = HeldRun(tmp_path / "runs" / "x", None)
    with pytest.raises(
        OperatorError,
        match=r"^verify: the node n2 of the Ray cluster does not see the run's folder .*runs/x; put it on a file system that every "
        r"node shares, or in object storage \(--runs-dir s3://BUCKET/runs\)\.$",
    ):
        RayCluster("auto", 2, run)._ready(_Actor(None), (False, "n2"), "verify")
    assert not RayCluster("auto", 2, run)._ready(_Actor(None), (True, "n1"), "verify").is_far


def test_a_node_sees_a_run_by_what_its_lock_holds_not_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, cache = executors._actor_class()([], os.getcwd()), {"REDISTILL_CACHE": str(tmp_path)}
    monkeypatch.setenv("REDISTILL_CACHE", "own")
    with alone(tmp_path):
        lock, first = str(tmp_path / LOCK), HeldRun(tmp_path, None).token()
        assert worker.ready(lock, b"", cache)[0] is False and os.environ["REDISTILL_CACHE"] == "own"
        assert worker.ready(lock, first, cache)[0] is True
        assert os.environ["REDISTILL_CACHE"] == str(tmp_path)  # addresses of fetched files are told from their paths
    with alone(tmp_path):  # a path that is equal, as another machine may have it
        assert worker.ready(lock, first, {})[0] is False
    assert worker.ready(str(tmp_path / "elsewhere" / LOCK), first, {})[0] is False
    assert worker.ready("", b"", {})[0] is True  # nobody asked


# --- a Ray cluster of two nodes, on loopback ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head of one CPU and a node of three, as two raylets on this machine."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["PYTHONPATH"] = os.pathsep.join((str(SOURCE), str(TESTS)))  # the workers must find these functions
    from ray.cluster_utils import Cluster

    node = {
        "num_cpus": 1,
        "node_ip_address": "127.0.0.1",
        "include_dashboard": False,
        "object_store_memory": 80 * 2**20,
    }
    cluster = Cluster(initialize_head=True, head_node_args=node)
    add_node(cluster)
    yield cluster
    cluster.shutdown()


def add_node(cluster: Any) -> Any:
    """With as many actors as a task may lose: they go all at once with their node."""
    return cluster.add_node(num_cpus=MAX_DEATHS, node_ip_address="127.0.0.1", object_store_memory=80 * 2**20)


def where(folder: Path, task: int) -> tuple[int, str]:
    """The task and the node it was done on; none is done before both nodes are at one."""
    import ray

    node = ray.get_runtime_context().get_node_id()
    (folder / node).touch()
    wait_for(lambda: list(folder.iterdir()), 2)
    return task, node


def waits_on_second(folder: Path, head: str, task: int) -> int:
    """Says that it has begun on the node that is not the head, where it would take ten minutes; the head waits until all have."""
    import ray

    if ray.get_runtime_context().get_node_id() != head:
        (folder / str(os.getpid())).touch()
        time.sleep(600)
    wait_for(lambda: list(folder.iterdir()), MAX_DEATHS)
    return task


def meets(folder: Path, task: int) -> int:
    """Done when all actors of both nodes are at a task."""
    (folder / str(os.getpid())).touch()
    wait_for(lambda: list(folder.iterdir()), MAX_DEATHS + 1)
    return task


def test_a_cluster_does_the_tasks_on_both_nodes_and_those_of_a_lost_node_again(cluster: Any, tmp_path: Path) -> None:
    import ray

    settings = ExecutionSettings(executor="ray", address=cluster.address)
    with open_executor(settings) as executor:
        both, begun = tmp_path / "both", tmp_path / "begun"
        both.mkdir()
        begun.mkdir()
        found = sorted(executor.map(functools.partial(where, both), [5, 6, 7, 8], label="verify", size_bytes=1))
        assert [(place, task) for place, (task, _) in found] == [(0, 5), (1, 6), (2, 7), (3, 8)]
        nodes = {node for _, (_, node) in found}
        assert len(nodes) == 2
        with pytest.raises(OperatorError, match=r"^task 7 is wrong\.$"):
            list(executor.map(collector, [7], label="verify", size_bytes=1))
        head = ray.get_runtime_context().get_node_id()
        assert head in nodes
        answers = executor.map(functools.partial(waits_on_second, begun, head), range(6), label="verify", size_bytes=1)
        first = next(answers)
        cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
        assert sorted([first, *answers]) == [(n, n) for n in range(6)]


def test_actors_that_are_kept_and_lost_between_two_maps_cost_nothing(cluster: Any, tmp_path: Path) -> None:
    node = add_node(cluster)
    with open_executor(ExecutionSettings(executor="ray", address=cluster.address)) as executor:
        executor.hold(True)
        tasks = range(MAX_DEATHS + 1)
        list(executor.map(functools.partial(meets, tmp_path), tasks, label="verify", size_bytes=1))
        cluster.remove_node(node, allow_graceful=False)
        found = sorted(executor.map(square, tasks, label="verify", size_bytes=1))
        assert [(place, answer) for place, (answer, _) in found] == [(n, n * n) for n in tasks]
        kept = {int(path.name) for path in tmp_path.iterdir()}
        assert kept & {pid for _, (_, pid) in found}, "the head's actor was kept from one map to the next"
        executor.hold(False)
        wait_until_gone(kept)


def test_a_cluster_leaves_sigterm_as_it_is(cluster: Any) -> None:
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        ours = signal.getsignal(signal.SIGTERM)
        with open_executor(ExecutionSettings(executor="ray", address=cluster.address)) as executor:
            list(executor.map(square, [1], label="verify", size_bytes=1))
            assert signal.getsignal(signal.SIGTERM) is ours
        assert signal.getsignal(signal.SIGTERM) is ours
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_task_that_ends_every_actor_is_one_sentence(cluster: Any) -> None:
    with (
        open_executor(ExecutionSettings(executor="ray", address=cluster.address)) as executor,
        pytest.raises(OperatorError, match=r"^verify: worker processes died 3 times with 2 shards left .* go on\.$"),
    ):
        list(executor.map(dies, [0, 1], label="verify", size_bytes=1))
