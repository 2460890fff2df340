"""A node that does not see the run's folder: what it fetches, what it is sent, and what comes back. A whole run on a cluster with such a
node is tests/pipeline/test_ray_stages.py."""

import pickle
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from object_store import Server, s3_server
from redistill.errors import OperatorError
from redistill.io import far_nodes, stores
from redistill.io.far_nodes import HeldRun, Lacking, Made, do_far
from redistill.io.remote_runs import RemoteRun, open_run_folder
from redistill.pipeline.lock import alone


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with s3_server() as one:
        one.bucket("far")
        yield one


class Node:
    """The far node: everything it does, it does with a cache of its own."""

    def __init__(self, cache: Path, patch: pytest.MonkeyPatch) -> None:
        self.cache, self.patch = cache, patch

    def do(self, run: HeldRun, work: Any, order: Any, sent: Any = {}) -> Any:  # noqa: B006
        pickled = run.pickled(work)
        with self.patch.context() as patch:
            patch.setenv(stores.CACHE, str(self.cache))
            return do_far(pickled, pickle.loads(pickle.dumps(order)), sent)

    def files(self) -> list[str]:
        """What the working folders hold."""
        work = (path for path in (self.cache / "nodes" / "work").rglob("*") if path.is_file())
        return sorted(path.name for path in work if path.name != far_nodes.LOCK)


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    far_nodes._own_folder.cache_clear()  # what a process of a node keeps as long as it lives
    far_nodes._work_of.cache_clear()
    far_nodes._LAID.clear()
    yield Node(tmp_path / "node", monkeypatch)
    far_nodes._own_folder.cache_clear()


@pytest.fixture
def remote(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RemoteRun]:
    monkeypatch.setenv(stores.CACHE, str(tmp_path / "cache"))
    with open_run_folder(f"s3://far/{tmp_path.name}/x", alone) as one:
        (one.folder / "corpus").mkdir()
        (one.folder / "corpus" / "a.txt").write_text("in the store")
        one.upload()
        (one.folder / "corpus" / "b.txt").write_text("here only")
        yield one


def reads_and_writes(folder: Path, names: list[str]) -> list[str]:
    """What lies in a folder that a run has, and a stage's shard beside it, its marker written first."""
    found = [(folder / name).read_text() for name in names]
    for path, text in (
        (folder.parent / "verify" / "part.done", "done"),
        (folder.parent / "verify" / "groups" / "part", "rows"),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return [*found, *sorted(path.name for path in folder.iterdir())]


def test_what_the_store_has_is_fetched_and_what_it_has_not_is_sent(
    server: Server, node: Node, remote: RemoteRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, folder = HeldRun(remote.folder, remote), remote.folder / "corpus"
    files = [folder / "a.txt", folder / "b.txt"]
    order, work = run.order(["a.txt", "b.txt"], files), partial(reads_and_writes, folder)
    server.asked.clear()
    lacking = node.do(run, work, order)
    assert isinstance(lacking, Lacking) and len(lacking.sums) == 1
    sent = run.sent(order, lacking, "verify", "n")
    assert list(sent.values()) == [b"here only"]
    made = node.do(run, work, order, sent)
    assert isinstance(made, Made) and made.answer == ["in the store", "here only", "a.txt", "b.txt"]
    assert sum("a.txt" in path and method == "GET" for method, path in server.asked) == 1
    written: list[str] = []
    plain = far_nodes.write_bytes
    monkeypatch.setattr(far_nodes, "write_bytes", lambda path, data: (written.append(path.name), plain(path, data)))
    assert run.take(made) == made.answer
    assert written == ["part", "part.done"]  # the marker only after what it vouches for
    assert (remote.folder / "verify" / "groups" / "part").read_text() == "rows"
    again = node.do(run, work, run.order(["a.txt"], files[:1]))  # nothing of another task is in the way of this one
    assert again.answer == ["in the store", "a.txt"] and node.files() == ["a.txt"]
    assert sum("a.txt" in path and method == "GET" for method, path in server.asked) == 1
    made_there = node.do(run, partial(reads_and_writes, remote.folder / "verify" / "groups"),
                         run.order(["part"], [remote.folder / "verify" / "groups" / "part"]))  # fmt: skip
    assert made_there.answer[0] == "rows"  # and what a node has made, it has


@pytest.mark.parametrize("harm", ["damaged", "gone"])
def test_what_a_store_has_lost_is_sent(server: Server, node: Node, remote: RemoteRun, harm: str) -> None:
    run, key = HeldRun(remote.folder, remote), f"{remote.at.partition('://')[2]}/corpus/a.txt"
    server.put(key, b"in the stare") if harm == "damaged" else server.remove(key)
    order = run.order(["a.txt"], [remote.folder / "corpus" / "a.txt"])
    work = partial(reads_and_writes, remote.folder / "corpus")
    lacking = node.do(run, work, order)
    assert isinstance(lacking, Lacking)
    made = node.do(run, work, order, run.sent(order, lacking, "verify", "n"))
    assert made.answer[0] == "in the store"


def words(path: str) -> tuple[str, str]:
    """A source's file, and where its rows are said to come from."""
    return Path(path).read_text(), stores.address_of(path)


def test_a_source_is_fetched_from_its_address_or_sent_and_named_as_on_the_runs_machine(
    server: Server, node: Node, remote: RemoteRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = HeldRun(remote.folder, remote)
    server.put("far/rows.jsonl", b"stored rows")
    fetched = stores.fetch_one("s3://far/rows.jsonl")
    made = node.do(run, words, run.order(str(fetched), [fetched]))
    assert made.answer == ("stored rows", "s3://far/rows.jsonl")
    own = tmp_path / "own.jsonl"
    own.write_text("own rows")
    order = run.order(str(own), [own])
    sent = run.sent(order, node.do(run, words, order), "corpus", "n")
    assert node.do(run, words, order, sent).answer == ("own rows", str(own))
    own.write_text("other rows")
    with pytest.raises(OperatorError, match=r"own.jsonl has changed while corpus was reading it"):
        run.sent(order, Lacking(frozenset(sent)), "corpus", "n")
    monkeypatch.setattr(far_nodes, "SENT_BYTES", 3)
    with pytest.raises(
        OperatorError, match=r"node n .* does not have .*own.jsonl \(8 bytes\).*put the file in object storage"
    ):
        run.sent(order, Lacking(frozenset(sent)), "corpus", "n")


def refuses(folder: Path, task: str) -> None:
    """A mistake that names a file of the run, after something was written."""
    (folder / "half").write_text("half")
    raise OperatorError(f"{folder / task} is wrong.")


def test_a_mistake_is_told_with_the_path_of_the_runs_machine_and_leaves_nothing(node: Node, remote: RemoteRun) -> None:
    run, folder = HeldRun(remote.folder, remote), remote.folder / "corpus"
    order = run.order("a.txt", [folder / "a.txt"])
    with pytest.raises(OperatorError) as told:
        node.do(run, partial(refuses, folder), order)
    assert str(told.value) == f"{folder / 'a.txt'} is wrong."
    assert node.do(run, partial(reads_and_writes, folder), run.order(["a.txt"], [folder / "a.txt"])).answer[1:] == [
        "a.txt"
    ]


def test_a_text_that_looks_like_a_path_stays_what_it_is(node: Node, remote: RemoteRun) -> None:
    run = HeldRun(remote.folder, remote)
    text = f"{remote.folder}/corpus/a.txt"
    assert node.do(run, str, run.order(text, [])).answer == text


def test_what_came_damaged_is_not_written(remote: RemoteRun) -> None:
    with pytest.raises(OperatorError, match="came damaged from a node"):
        HeldRun(remote.folder, remote).take(Made(1, {"verify/x": ("0" * 64, b"x")}))
    assert not (remote.folder / "verify").exists()


def test_folders_of_processes_that_are_gone_are_removed(node: Node, remote: RemoteRun) -> None:
    left = node.cache / "nodes" / "work" / "gone"
    left.mkdir(parents=True)
    (left / far_nodes.LOCK).touch()
    (left / "half").touch()
    node.do(HeldRun(remote.folder, remote), str, HeldRun(remote.folder, remote).order(1, []))
    first = [path.name for path in (node.cache / "nodes" / "work").iterdir() if path.is_dir()]
    assert "gone" not in first and len(first) == 1
    far_nodes._own_folder.cache_clear()  # another process of the node: the first, which lives, keeps its own
    node.do(HeldRun(remote.folder, remote), str, HeldRun(remote.folder, remote).order(1, []))
    assert len([path for path in (node.cache / "nodes" / "work").iterdir() if path.is_dir()]) == 2
