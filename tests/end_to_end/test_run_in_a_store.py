"""Runs whose folder lies in object storage, on a real S3 server: the bytes of a run on a disk, wherever it is gone on with."""

import contextlib
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mini import Tool
from s3fs import S3FileSystem

from faults.equal import final_files, unlike
from faults.tiny import write_tiny
from object_store import Server, s3_server
from redistill import api
from redistill.errors import OperatorError
from redistill.io import remote_runs, stores
from redistill.pipeline.lock import alone

LITTLE = {
    "overrides": [
        "train={sft: {objective: sft, batch_size: 4, steps: 1, learning_rate: 1e-2}}",
        "evaluate.models=[sft]",
    ]
}
OWN = (".store.json", "lock.json", "manifest.json")  # what only a run in a store has


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with s3_server() as one:
        yield one


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe and its rows."""
    folder = tmp_path_factory.mktemp("work")
    write_tiny(folder)
    return folder


@pytest.fixture(scope="module")
def work(rows: Path) -> Path:
    """The same, with a run on a disk."""
    with contextlib.chdir(rows):
        api.run("tiny.yaml", runs_dir="disk", **LITTLE)
    return rows


@pytest.fixture
def at(server: Server, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a new place for runs, an empty cache, no fault, quick signs of life."""
    monkeypatch.chdir(rows)
    monkeypatch.setenv(stores.CACHE, str(tmp_path / "cache"))
    monkeypatch.setattr(remote_runs, "BEAT", 0.2)
    yield f"s3://{server.bucket(f'b{time.monotonic_ns()}')}/runs"
    server.fault = lambda method, path: None


def another_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    monkeypatch.setenv(stores.CACHE, str(tmp_path / name))


def run(at: str, **more: object) -> Path:
    return api.run("tiny.yaml", runs_dir=at, **LITTLE, **more)


def objects(server: Server, at: str, into: Path) -> Path:
    """The run's objects as a folder."""
    bucket, _, below = f"{at}/tiny".partition("://")[2].partition("/")
    for key in server.keys(bucket, below):
        path = into / key.removeprefix(below + "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(server.get(f"{bucket}/{key}"))
    return into


def same_as_on_the_disk(work: Path, folder: Path) -> list[str]:
    made = {name: data for name, data in final_files(folder).items() if name not in OWN}
    return unlike(final_files(work / "disk" / "tiny"), made)


def test_a_run_has_the_bytes_of_one_on_a_disk_in_its_folder_and_in_the_store(
    server: Server, work: Path, at: str, tmp_path: Path
) -> None:
    folder = run(at)
    assert same_as_on_the_disk(work, folder) == []
    there = objects(server, at, tmp_path / "there")
    assert same_as_on_the_disk(work, there) == []
    named = json.loads((there / "manifest.json").read_text())["files"]
    held = {path.relative_to(there).as_posix() for path in there.rglob("*") if path.is_file()}
    assert held == {*named, "manifest.json"}  # and no lock is left
    server.asked.clear()
    run(at)  # nothing is left to do: of the stages nothing is sent again
    assert not [path for method, path in server.asked if method == "PUT" and ".parquet" in path]


def test_another_machine_goes_on_where_the_first_was_killed(
    server: Server, work: Path, at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(at, until="verify")
    another_machine(monkeypatch, tmp_path, "second")
    server.asked.clear()
    folder = run(at)
    assert same_as_on_the_disk(work, folder) == []
    again = [
        path for method, path in server.asked if method == "PUT" and ("/corpus/" in path or "/verify/groups" in path)
    ]
    assert again == []  # what was finished was taken
    another_machine(monkeypatch, tmp_path, "cache")  # and the first, which knows nothing of it
    assert same_as_on_the_disk(work, run(at)) == []
    assert same_as_on_the_disk(work, objects(server, at, tmp_path / "there")) == []


@pytest.mark.parametrize("until", [pytest.param(2, marks=pytest.mark.recipes), 9])
def test_kill_9_in_the_middle_of_an_upload(
    server: Server, work: Path, at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, until: int, tool: Tool
) -> None:
    sent: list[str] = []
    started: list[tuple[int, Path]] = []

    def kill(method: str, path: str) -> tuple[int, float] | None:
        if method == "PUT" and "lock" not in path:
            sent.append(path)
            if len(sent) == until:
                os.kill(started[0][0], signal.SIGKILL)
                return 503, 0.0  # this object never comes
        return None

    server.fault = kill
    settings = [word for setting in LITTLE["overrides"] for word in ("--set", setting)]
    env = {name: value for name, value in os.environ.items() if name.startswith(("AWS_", stores.CACHE))}
    started.append(tool.start(work, "run", "tiny.yaml", "--runs-dir", at, *settings, env=env))
    killed = tool.wait(started[0])
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    server.fault = lambda method, path: None
    cache = stores.cache_folder()
    another_machine(monkeypatch, tmp_path, "second")  # waits until the dead one counts as dead
    assert same_as_on_the_disk(work, run(at)) == []
    assert same_as_on_the_disk(work, objects(server, at, tmp_path / "there")) == []
    monkeypatch.setenv(stores.CACHE, str(cache))  # the killed one comes back, with a folder that the store has outgrown
    assert same_as_on_the_disk(work, run(at)) == []
    assert same_as_on_the_disk(work, objects(server, at, tmp_path / "after")) == []


def test_a_damaged_or_vanished_object_is_made_again_by_a_run_and_refused_by_a_reader(
    server: Server, work: Path, at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(at)
    place = f"{at}/tiny".partition("://")[2]
    damaged = f"{place}/select/examples/part-00000.parquet"
    whole = server.get(damaged)
    server.put(damaged, whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
    server.remove(f"{place}/corpus/ledger.json")
    another_machine(monkeypatch, tmp_path, "second")
    with pytest.raises(OperatorError, match=r"corpus/ledger.json is missing or not what was written"):
        api.scores(f"{at}/tiny")
    assert same_as_on_the_disk(work, run(at)) == []
    assert server.get(damaged) == whole
    assert same_as_on_the_disk(work, objects(server, at, tmp_path / "there")) == []


def test_readers_take_what_they_need_and_no_weights(
    server: Server, work: Path, at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(at)
    another_machine(monkeypatch, tmp_path, "reader")
    disk = work / "disk" / "tiny"
    server.asked.clear()
    assert {**api.scores(f"{at}/tiny"), "run": ""} == {**api.scores(disk), "run": ""}
    assert api.show(f"{at}/tiny/select/groups/part-00000.parquet") == api.show(
        disk / "select/groups/part-00000.parquet"
    )
    assert not [path for method, path in server.asked if "safetensors" in path]
    page = api.report(f"{at}/tiny")
    assert page.read_text().count("<section") == (disk / "report.html").read_text().count("<section")
    student = remote_runs.copy_of(f"{at}/tiny/train/sft/model")
    assert (student / "model.safetensors").read_bytes() == (disk / "train/sft/model/model.safetensors").read_bytes()
    with pytest.raises(OperatorError, match="lies in no run"):
        api.scores(f"{at}/other")


def test_a_second_writer_is_refused_while_the_first_lives(
    server: Server, at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with remote_runs.open_run_folder(f"{at}/tiny", alone) as first:
        with pytest.raises(OperatorError, match=r"is in use by process \d+"):  # of this machine, by the kernel's lock
            run(at)
        another_machine(monkeypatch, tmp_path, "second")
        with pytest.raises(OperatorError, match=r"is in use by process \d+ on .*; wait for it"):
            run(at)
        # one that was silent too long finds another in its place, and writes nothing over it
        server.put(
            f"{at}/tiny/lock.json".partition("://")[2], b'{"token": "other", "holder": "process 1 on elsewhere"}'
        )
        (first.folder / "new.txt").write_text("late")
        with pytest.raises(
            OperatorError, match="in use by process 1 on elsewhere, which took it while this one was silent"
        ):
            first.upload()
    bucket = at.partition("://")[2].partition("/")[0]
    assert [key for key in server.keys(bucket) if not key.endswith("lock.json")] == []
    assert json.loads(server.get(f"{at}/tiny/lock.json".partition("://")[2]))["token"] == "other"  # not ours to remove


def test_a_manifest_is_not_written_over_one_that_was_not_read(server: Server, at: str) -> None:
    with remote_runs.open_run_folder(f"{at}/tiny", alone) as remote:
        (remote.folder / "a.txt").write_text("a")
        remote.upload()
        server.put(f"{at}/tiny/manifest.json".partition("://")[2], b'{"written": "other", "files": {}, "leaving": []}')
        (remote.folder / "b.txt").write_text("b")
        with pytest.raises(OperatorError, match="was written by another process meanwhile"):
            remote.upload()


@pytest.mark.parametrize("place", ["files", "leaving"])
def test_a_manifest_that_leads_out_of_its_folder_costs_no_file_of_the_users(
    server: Server, at: str, tmp_path: Path, place: str
) -> None:
    """Named first, which is refused, and named no more after that: what a reader once noted as its own it would remove."""
    copy = stores.place_of_copy(f"{at}/tiny")
    copy.mkdir(parents=True)
    own = tmp_path / "own.txt"
    own.write_text("mine")
    name = f"{'../' * len(copy.relative_to(tmp_path).parts)}own.txt"
    honest: dict[str, object] = {"written": "x", "leaving": [], "files": {"a.txt": {"sha256": "0" * 64, "size": 1}}}
    for named in ({place: {name: {"sha256": "0" * 64, "size": 1}}} if place == "files" else {place: [name]}, {}):
        server.put(f"{at}/tiny/manifest.json".partition("://")[2], json.dumps(honest | named).encode())
        with pytest.raises(
            OperatorError, match="leads out of the run's folder" if named else "is missing or not what was written"
        ):
            remote_runs.copy_of(f"{at}/tiny")
        assert own.read_text() == "mine"


def test_a_store_that_does_not_know_conditional_writes_is_refused(
    server: Server, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = S3FileSystem._pipe_file

    async def heedless(self, path, data, mode="overwrite", **more):
        more.pop("IfMatch", None)
        return await plain(self, path, data, **more)

    with monkeypatch.context() as patch:
        patch.setattr(S3FileSystem, "_pipe_file", heedless)
        S3FileSystem.clear_instance_cache()  # an instance has bound it already
        with (
            pytest.raises(OperatorError, match="a second run with that name could not be detected"),
            remote_runs.open_run_folder(f"{at}/tiny", alone),
        ):
            pass
    S3FileSystem.clear_instance_cache()
    assert server.keys(at.partition("://")[2].partition("/")[0]) == []
    with pytest.raises(OperatorError, match=r"hf://datasets/a/runs/tiny: this store has no conditional writes"):
        run("hf://datasets/a/runs")


@pytest.mark.parametrize(("status", "said"), [(403, "access denied"), (500, "gives an unexpected response")])
def test_a_store_that_refuses_ends_the_run_in_a_sentence_and_loses_nothing(
    server: Server, work: Path, at: str, status: int, said: str
) -> None:
    server.fault = lambda method, path: (status, 0.0) if method == "PUT" and "/verify/" in path else None
    with pytest.raises(OperatorError, match=said):
        run(at)
    server.fault = lambda method, path: None
    assert same_as_on_the_disk(work, run(at)) == []


def test_a_slow_store_is_waited_for(server: Server, work: Path, at: str) -> None:
    slow = iter([1.5] * 3)
    server.fault = lambda method, path: (0, next(slow, 0.0)) if method == "PUT" and "parquet" in path else None
    assert same_as_on_the_disk(work, run(at)) == []


def test_the_working_folder_may_be_removed(server: Server, work: Path, at: str) -> None:
    folder = run(at, until="select")
    shutil.rmtree(folder)
    assert same_as_on_the_disk(work, run(at)) == []


def test_what_a_machine_had_is_kept_where_the_store_has_nothing_newer_and_put_beside_where_it_has(
    server: Server, at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with remote_runs.open_run_folder(f"{at}/tiny", alone) as remote:
        (remote.folder / "mine.txt").write_text("half a stage")  # and killed before anything was uploaded
    with remote_runs.open_run_folder(f"{at}/tiny", alone) as remote:
        assert (remote.folder / "mine.txt").read_text() == "half a stage"
    first = stores.cache_folder()
    another_machine(monkeypatch, tmp_path, "second")
    with remote_runs.open_run_folder(f"{at}/tiny", alone) as remote:
        (remote.folder / "theirs.txt").write_text("a stage")
        remote.upload()
    monkeypatch.setenv(stores.CACHE, str(first))
    with remote_runs.open_run_folder(f"{at}/tiny", alone) as remote:
        assert [path.name for path in remote.folder.glob("*.txt")] == ["theirs.txt"]
        (kept,) = remote.folder.parent.glob("tiny.kept-*")
        assert (kept / "mine.txt").read_text() == "half a stage"
        (remote.folder / "theirs.txt").unlink()
        remote.upload()
    assert [key for key in server.keys(at.partition("://")[2].partition("/")[0]) if key.endswith(".txt")] == []
