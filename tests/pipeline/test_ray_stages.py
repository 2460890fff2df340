"""Every data stage on a Ray cluster of two nodes, one of which is lost in the middle: the same bytes as in this process."""

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import redistill
from redistill import api
from redistill.config.tables import ExecutionSettings
from redistill.io import stores
from redistill.io.executors import LocalProcesses, RayCluster, no_files, open_executor
from redistill.io.shards import make_parts, parts_to_do
from redistill.io.stage_folder import Account, Shard, StageFolder
from redistill.pipeline.scoring import score_apart, threads
from redistill.records import Group, make_problem, make_trace
from redistill.score.stage import BoundScorer, join_part
from redistill.select.pairing import certain
from redistill.select.stage import select_part
from redistill.select.task import SelectTask
from redistill.verify import VERIFIERS
from redistill.verify.spread_pool import TASK_TRACES, SpreadPool
from redistill.verify.stage import VerifyTask, closing_pool, verify_part

pytestmark = pytest.mark.recipes  # a cluster takes half a minute; tasks on one are tests/io/test_executors.py

SHARDS, TESTS = 6, Path(__file__).parent
JUDGES = VerifyTask({"cascade": partial(VERIFIERS["cascade"])}, 1, 5.0, 2048, "cascade")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """The head, on loopback; a test adds the second node."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["PYTHONPATH"] = os.pathsep.join((str(Path(redistill.__file__).parents[1]), str(TESTS)))
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    yield cluster
    cluster.shutdown()


@pytest.fixture(scope="module")
def executor(cluster: Any) -> Iterator[RayCluster]:
    with open_executor(ExecutionSettings(executor="ray", address=cluster.address)) as opened:
        assert isinstance(opened, RayCluster)
        yield opened


def stuck_elsewhere(head: str, flag: Path, work: Callable[[Any], Any], task: Any) -> Any:
    """The work, but the first task of another node than the head is never done, and the head waits until there is one."""
    import ray

    if ray.get_runtime_context().get_node_id() != head:
        flag.touch()
        time.sleep(600)
    end = time.monotonic() + 300
    while not flag.exists():
        assert time.monotonic() < end, "the second node got no task"
        time.sleep(0.05)
    return work(task)


class LosesANode:
    """The cluster with a second node, which is killed as soon as it is at work."""

    def __init__(self, executor: RayCluster, cluster: Any, flag: Path) -> None:
        self.executor, self.cluster, self.flag = executor, cluster, flag
        self.processes, self.is_cluster = 2, executor.is_cluster
        self.node = cluster.add_node(num_cpus=1, node_ip_address="127.0.0.1", object_store_memory=80 * 2**20)

    def spreads(self, tasks: int, size_bytes: int) -> bool:
        return True

    def map(
        self, work: Any, tasks: Sequence[Any], *, label: str, size_bytes: int, reads: Any = no_files
    ) -> Iterator[tuple[int, Any]]:
        import ray

        self.executor._connect()
        head = ray.get_runtime_context().get_node_id()
        killer = threading.Thread(target=self._kill)
        killer.start()
        slow = partial(stuck_elsewhere, head, self.flag, work)
        yield from self.executor.map(slow, tasks, label=label, size_bytes=size_bytes, reads=reads)
        killer.join()
        assert self.flag.exists() and self.node not in self.cluster.worker_nodes
        end = time.monotonic() + 120  # the head believes it only after a few missed answers
        while sum(node["Alive"] for node in ray.nodes()) > 1:
            assert time.monotonic() < end
            time.sleep(0.1)

    def _kill(self) -> None:
        while not self.flag.exists():
            time.sleep(0.05)
        self.cluster.remove_node(self.node, allow_graceful=False)

    def hold(self, keep: bool) -> None:
        self.executor.hold(keep)

    def close(self) -> None:
        pass


@pytest.fixture
def loses_a_node(executor: RayCluster, cluster: Any, tmp_path: Path) -> LosesANode:
    return LosesANode(executor, cluster, tmp_path / "at_work")


def groups_of(number: int) -> list[Group]:
    """Four problems, two right and two wrong traces each."""
    made = []
    for place in range(4):
        problem = make_problem(f"{number} and {place}?", answer=str(number + place), source="s")
        texts = [f"Try {i}: \\boxed{{{number + place + i % 2}}}" for i in range(4)]
        made.append(Group(problem, tuple(make_trace(problem.id, text, author="t", finish_reason="stop") for text in texts)))  # fmt: skip
    return made


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> StageFolder:
    folder = StageFolder(tmp_path_factory.mktemp("ray") / "corpus", "x")
    folder.open()
    for index in range(SHARDS):
        folder.finish_shard(index, Shard({"groups": (Group, groups_of(index))}, {"traces": Account("trace", 16, 16)}))
    folder.finish(SHARDS)
    return folder


@pytest.fixture(scope="module")
def verified(corpus: StageFolder) -> StageFolder:
    folder = StageFolder(corpus.folder.parent / "verify", "x")
    with closing_pool():
        make(LocalProcesses(1), folder, corpus, partial(verify_part, folder, JUDGES))
    return folder


def make(executor: Any, folder: StageFolder, before: StageFolder, work: Callable[[Any], Any]) -> None:
    folder.open()
    make_parts(executor, folder, work, parts_to_do(before, folder))
    folder.finish(SHARDS)


def same(one: StageFolder, other: StageFolder) -> bool:
    """Whether two folders hold the same files, which lie as deep as each other."""
    files = [{str(p.relative_to(f.folder)): p.read_bytes() for p in f.folder.rglob("part-*")} for f in (one, other)]
    return files[0] == files[1] and len(files[0]) > SHARDS


def test_verify(corpus: StageFolder, verified: StageFolder, loses_a_node: LosesANode) -> None:
    folder = StageFolder(corpus.folder.parent / "verify-on-ray", "x")
    make(loses_a_node, folder, corpus, partial(verify_part, folder, JUDGES))
    assert same(folder, verified)


def letters(texts: list[str]) -> list[list[int]]:
    return [[ord(letter) for letter in text] for text in texts]


def statement(problem: Any) -> str:
    return problem.statement


def never(problem: Any) -> bool:
    return False


def test_select_with_its_filters_and_pairs(verified: StageFolder, loses_a_node: LosesANode) -> None:
    task = SelectTask(statement, letters, never, certain, policies={"certain": certain})
    here, there = (StageFolder(verified.folder.parent / name, "x") for name in ("select", "select-on-ray"))
    make(LocalProcesses(1), here, verified, partial(select_part, here, task))
    make(loses_a_node, there, verified, partial(select_part, there, task))
    assert same(here, there)


def lengths(groups: Sequence[Group], *, opened: Path, _held: dict[str, Any]) -> list[Group]:
    """A scorer that says when it loads its model."""
    if "model" not in _held:
        _held["model"] = len
        (opened / f"{os.getpid()}-{time.monotonic_ns()}").touch()
    scored = []
    for group in groups:
        traces = [replace(t, scores={**t.scores, "length": float(_held["model"](t.completion))}) for t in group.traces]
        scored.append(replace(group, traces=tuple(traces)))
    return scored


def test_a_scorer_whose_model_each_actor_loads_once(
    verified: StageFolder, loses_a_node: LosesANode, tmp_path: Path
) -> None:
    folders = []
    for executor in (LocalProcesses(1), loses_a_node):
        opened = tmp_path / type(executor).__name__
        opened.mkdir()
        scorer = BoundScorer("length", partial(lengths, opened=opened, _held={}))
        marks = StageFolder(verified.folder.parent / "scorers" / opened.name, "x")
        make(executor, marks, verified, partial(score_apart, marks, scorer, threads()))
        joined = StageFolder(verified.folder.parent / f"score-{opened.name}", "x")
        make(LocalProcesses(1), joined, verified, partial(join_part, joined, {"length": marks}))
        folders += [marks, joined]
        assert len(list(opened.iterdir())) == 1, "the head's actor made all shards but the one that was lost"
    assert same(folders[0], folders[2]) and same(folders[1], folders[3])


def test_rollouts_are_verified_by_pools_of_the_actors(loses_a_node: LosesANode) -> None:
    asked = [(group.problem, trace) for number in range(40) for group in groups_of(number) for trace in group.traces]
    assert len(asked) > 4 * TASK_TRACES
    with JUDGES.pool() as here:
        expected = list(here.judge(asked, ["cascade"]))
    with SpreadPool(loses_a_node, JUDGES) as there:
        found = list(there.judge(asked, ["cascade"]))
    drop_seconds = lambda rows: [{n: replace(v, seconds=0.0) for n, v in row.items()} for row in rows]  # noqa: E731
    assert drop_seconds(found) == drop_seconds(expected)
    assert there.names == ["cascade"]


# --- a node that sees neither the run's folder nor the cache of the run's machine ----------------------------------------

# Where this machine does not let a test mount, the node's interpreters refuse to open what lies in the folder. They load this as
# `sitecustomize`.
REFUSES = """
import os, sys
def hook(event, given):
    if event in ("open", "os.listdir", "os.scandir") and isinstance(given[0], (str, bytes)):
        if os.path.abspath(os.fsdecode(given[0])).startswith(os.environ["HIDDEN"] + os.sep):
            raise FileNotFoundError(2, "hidden from this node", os.fsdecode(given[0]))
sys.addaudithook(hook)
"""
SCORED = "stages: [{name: limit-traces, after: corpus, per_problem: 8}]\nscore: [{name: corpus-ngram, ngram: 1}]\n"


def add_far_node(cluster: Any, hidden: Path, beside: Path, patch: pytest.MonkeyPatch) -> Any:
    """A node on which nothing of the folder `hidden` can be seen, with a cache of its own in `beside`."""
    from ray._private import services

    env = {stores.CACHE: str(beside / "cache")}
    mount = 'mount -t tmpfs none "$0" && exec "$@"'
    if subprocess.run(["unshare", "--mount", "sh", "-c", mount, hidden, "true"], capture_output=True).returncode == 0:
        plain = services.start_ray_process

        def start(command: list[str], kind: str, *more: Any, **named: Any) -> Any:
            return plain(["unshare", "--mount", "sh", "-c", mount, str(hidden), *command], kind, *more, **named)

        patch.setattr(services, "start_ray_process", start)
    else:
        (beside / "refuses").mkdir()
        (beside / "refuses" / "sitecustomize.py").write_text(REFUSES)
        env |= {"HIDDEN": str(hidden), "PYTHONPATH": f"{beside / 'refuses'}{os.pathsep}{os.environ['PYTHONPATH']}"}
    return cluster.add_node(num_cpus=1, node_ip_address="127.0.0.1", object_store_memory=80 * 2**20, env_vars=env)


def meets(flags: Path, work: Callable[[Any], Any], task: Any) -> Any:
    """The work, once both nodes are at a task of this map."""
    import ray

    (flags / ray.get_runtime_context().get_node_id()).touch()
    end = time.monotonic() + 300
    while len(list(flags.iterdir())) < 2:
        assert time.monotonic() < end, "one of the nodes got no task"
        time.sleep(0.05)
    return work(task)


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    from object_store import s3_server  # here, for the nodes import this file too, and do not find that one

    with s3_server() as one:
        yield one


def test_a_node_that_sees_no_folder_of_the_run_works_on_it_through_the_store(
    cluster: Any, executor: RayCluster, server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from faults.equal import unlike
    from faults.tiny import RECIPE, write_tiny

    executor.close()  # the run connects to the cluster itself
    driver, far, flags = (tmp_path / name for name in ("driver", "far", "flags"))
    for folder in (driver, far, flags):
        folder.mkdir()
    write_tiny(driver)
    rows = (driver / "rows.jsonl").read_text().splitlines(keepends=True)
    server.put(f"{server.bucket('cluster')}/rows/rows.jsonl", "".join(rows[:20]).encode())
    (driver / "rows.jsonl").write_text("".join(rows[20:]))  # small, and only on the run's machine: it is sent
    sources = "{name: traces, path: 's3://cluster/rows'}, {name: traces, path: rows.jsonl}"
    recipe = RECIPE.replace("{name: traces, path: rows.jsonl}", sources).replace("shards: 2", "shards: 4")
    (driver / "tiny.yaml").write_text(recipe + SCORED)
    with monkeypatch.context() as patch:
        node = add_far_node(cluster, driver, far, patch)
    monkeypatch.chdir(driver)
    monkeypatch.setenv(stores.CACHE, str(driver / "cache"))
    rounds: list[str] = []
    plain = RayCluster.map

    def on_both(
        self: RayCluster, work: Any, tasks: Sequence[Any], *, label: str, **more: Any
    ) -> Iterator[tuple[int, Any]]:
        import ray

        self._keeps = True  # an actor starts in two seconds
        self._connect()
        if len(tasks) > 1 and label == "select":
            killer = LosesANode.__new__(LosesANode)
            killer.cluster, killer.flag, killer.node = cluster, tmp_path / "at_work", node
            threading.Thread(target=killer._kill).start()
            head = ray.get_runtime_context().get_node_id()
            work = partial(stuck_elsewhere, head, killer.flag, work)
        elif len(tasks) > 1:
            rounds.append(f"{len(rounds)}-{label}")
            (flags / rounds[-1]).mkdir()
            work = partial(meets, flags / rounds[-1], work)
        yield from plain(self, work, tasks, label=label, **more)

    monkeypatch.setattr(RayCluster, "map", on_both)
    server.asked.clear()
    on_ray = {"executor": "ray", "overrides": [f"execution.address={cluster.address}"]}
    folder = api.run("tiny.yaml", runs_dir="s3://cluster/runs", until="select", **on_ray)
    assert [name.partition("-")[2] for name in rounds] == ["corpus"] * 4 + [
        "limit-traces",
        "verify",
        "corpus-ngram",
        "score",
    ]
    assert all(len(list((flags / name).iterdir())) == 2 for name in rounds)
    assert (tmp_path / "at_work").exists() and node not in cluster.worker_nodes
    fetched = [path for method, path in server.asked if method == "GET" and "/runs/tiny/corpus/groups/" in path]
    assert fetched, "the far node read shards from the store"
    here = api.run("tiny.yaml", runs_dir="disk", until="select", executor="local")
    assert unlike(made_of(here), made_of(folder)) == []


def made_of(run: Path) -> dict[str, Any]:
    """The files of a run, but for what says where and how it was made."""
    from faults.equal import final_files

    return {
        name: data for name, data in final_files(run).items() if name not in (".store.json", "run.json", "recipe.yaml")
    }
