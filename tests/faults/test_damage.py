"""A bit that has turned, a file cut short: found by checksum when it is read, named, made again or refused, never used."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from redistill.config.tables import StageSettings
from redistill.corpus.stage import collect
from redistill.errors import OperatorError
from redistill.io.atomic import mark, read_json, sums_of, unmarked, write_json
from redistill.io.client import Kept, Reply
from redistill.io.parquet import read_columns, read_outcomes, read_records, read_table
from redistill.io.stage_folder import Account, Shard, StageFolder
from redistill.model import loading
from redistill.records import Dropped, Example, Group, Problem, Trace, make_problem, make_trace
from redistill.train import checkpoints
from redistill.train.guard_state import GuardState
from redistill.train.reference import _kept
from redistill.train.rows import corrupt_file, write_rows
from redistill.train.stage import _open


def harms(data: bytes, count: int = 40) -> Iterator[bytes]:
    """The file with one bit turned at places all over it, cut short at some, and empty."""
    draw = random.Random(5)
    for place in draw.sample(range(len(data)), min(count, len(data))):
        yield data[:place] + bytes([data[place] ^ (1 << draw.randrange(8))]) + data[place + 1 :]
    yield from (data[:size] for size in sorted({0, 1, len(data) // 2, len(data) - 1}))


# --- shards and ledgers ---------------------------------------------------------------------------------------------


def finished(folder: Path) -> StageFolder:
    stage_dir = StageFolder(folder / "stage", "print")
    stage_dir.open()
    for index in range(2):
        account = Account("row")
        account.keep()
        group = Group(Problem(f"p{index}", "1+1="), (Trace("t", "2", author="a"),))
        streams: dict[str, Any] = {"groups": (Group, [group]), "examples": (Example, [Example("p", "t", "q", "a")])}
        stage_dir.finish_shard(index, Shard(streams, {"rows": account}, [Dropped("x", "stage", "why")]))
    stage_dir.finish(2)
    return stage_dir


def test_no_reader_gives_a_record_of_a_harmed_shard(tmp_path: Path) -> None:
    """Parquet's own page checksums would let some of these through: in a page's header they cover nothing."""
    path = finished(tmp_path).folder / "groups" / "part-00001.parquet"
    whole = path.read_bytes()
    for corrupted in harms(whole, 200):
        path.write_bytes(corrupted)
        for reader in (read_records, read_outcomes, lambda p: read_columns(p, ["problem.id"])):
            with pytest.raises(OperatorError, match=r"part-00001\.parquet is corrupt \(checksum mismatch\)"):
                next(iter(reader(path)))
    path.write_bytes(whole)
    assert [group.problem.id for group in read_records(path)] == ["p1"]
    path = path.parents[1] / "examples" / path.name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(OperatorError, match=r"part-00001\.parquet is corrupt \(checksum mismatch\)"):
        read_table(path)


def test_a_harmed_shard_marker_or_ledger_is_named_and_made_again(tmp_path: Path, capsys: Any) -> None:
    for name in ("groups/part-00001.parquet", "dropped/part-00000.parquet", "part-00001.done", "ledger.json"):
        stage_dir = finished(tmp_path)
        path = stage_dir.folder / name
        for corrupted in harms(path.read_bytes(), 2):
            stage_dir = finished(tmp_path)
            if name == "ledger.json" and corrupted[:20] != path.read_bytes()[:20] and len(corrupted) > 100:
                continue  # the word `checksum` itself: what it covers is whole, and is read as it is
            path.write_bytes(corrupted)
            assert not stage_dir.is_finished()
            whole = [f"part-{index:05d}" not in name for index in range(2)]
            assert [stage_dir.is_done(0), stage_dir.is_done(1)] == whole
            assert f"corrupt  {path}: rebuilding it" in capsys.readouterr().err


def test_a_table_reads_as_it_was_written_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    value = {"steps": 1200, "loss": 0.25, "é": ["ü\u2028", None, True], "nested": {"a": {"b": []}}}
    write_json(path, value)
    data, refused = path.read_bytes(), 0
    assert read_json(path) == value
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ (1 << place % 8)]) + data[place + 1 :])
        try:
            found = read_json(path)
        except OperatorError:
            refused += 1
        else:  # the word `checksum` is no longer that word: all else is as it was
            assert {k: v for k, v in found.items() if k in value} == value
    assert refused > len(data) - 20
    for size in range(len(data)):
        path.write_bytes(data[:size])
        if data[:size].rstrip() != data.rstrip():
            with pytest.raises(OperatorError, match=r"cannot read .*ledger\.json"):
                read_json(path)


def test_a_line_reads_as_it_was_written_or_not_at_all() -> None:
    value = {"key": "s1", "text": "é \ud800 1+1", "num_tokens": 3}
    data = json.dumps(mark(value)).encode()
    assert unmarked(data) == value
    for place in range(len(data)):
        found = unmarked(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        assert found is None or {k: found[k] for k in value} == value
    assert all(unmarked(data[:size]) is None for size in range(len(data)))


def test_a_harmed_reply_of_a_paid_server_is_asked_again_alone(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "kept.jsonl"
    with Kept(path) as kept:
        for number in range(3):
            kept.put(f"k{number}", Reply(f"{number}", "stop", 1, 1))
    data = path.read_bytes()
    assert data.count(b'"text": "1"') == 1
    path.write_bytes(data.replace(b'"text": "1"', b'"text": "7"'))
    with Kept(path) as kept:
        assert [kept.get(f"k{number}") is not None for number in range(3)] == [True, False, True]
    assert "1 lines are truncated or have changed" in capsys.readouterr().err


# --- the corpus between its passes ------------------------------------------------------------------------------------


class Killed(Exception):
    pass


class Fragile(StageFolder):
    """Dies before its first shard: all is read and related, nothing merged."""

    def finish_shard(self, index: int, shard: Shard) -> None:
        raise Killed


@pytest.mark.parametrize("what", ["00001/00000.zst", "00000/relations.json", "00001/leaks.json", "reading-00000.json"])
def test_harmed_files_between_the_passes_of_the_corpus_are_made_again(tmp_path: Path, what: str, capsys: Any) -> None:
    def source() -> Iterator[Group]:
        for number in range(40):
            problem = make_problem(f"{number}+1=", answer=str(number + 1), source_row=f"r{number}")
            yield Group(problem, (make_trace(problem.id, str(number + 1), author="t"),))

    options: dict[str, Any] = {"seed": 0, "num_shards": 2, "max_problems": None}
    whole, cut = StageFolder(tmp_path / "whole" / "corpus", "f"), Fragile(tmp_path / "cut" / "corpus", "f")
    whole.open()
    expected = collect(whole, [source], **options)
    cut.open()
    with pytest.raises(Killed):
        collect(cut, [source], **options)
    path = cut.folder / "shuffle" / what
    data = path.read_bytes()
    path.write_bytes(data[:-2] + bytes([data[-2] ^ 1]) + data[-1:])
    capsys.readouterr()
    again = StageFolder(cut.folder, "f")
    again.open()
    assert collect(again, [source], **options) == expected
    assert f"corrupt  {path}: rebuilding it" in capsys.readouterr().err


# --- training -----------------------------------------------------------------------------------------------------------


def test_a_harmed_checkpoint_is_named_removed_and_the_one_before_taken(tmp_path: Path, capsys: Any) -> None:
    for name in ("weights.bin", "random-0.json", "done.json"):
        for number, turn in enumerate((0.1, 0.5, 0.9)):
            folder = tmp_path / f"{name}-{number}"
            for step in (1, 2):
                path = checkpoints.at(folder, step)
                path.mkdir(parents=True)
                (path / "weights.bin").write_bytes(bytes(range(200)))
                write_json(path / "random-0.json", {"python": [3, [1, 2], None]})
                write_json(path / "done.json", {"step": step, "files": sums_of(path, path.iterdir())})
            corrupted = checkpoints.at(folder, 2) / name
            data = corrupted.read_bytes()
            place = int(turn * len(data))
            corrupted.write_bytes(data[:place] + bytes([data[place] ^ 8]) + data[place + 1 :])
            assert [done["step"] for done in checkpoints.finished(folder, whole=True)] == [1]
            assert checkpoints.newest(folder) == (checkpoints.at(folder, 1), 1)
            assert f"corrupt  {corrupted}: this checkpoint is removed" in capsys.readouterr().err


def test_a_guard_goes_back_to_no_harmed_checkpoint(tmp_path: Path) -> None:
    settings = StageSettings(objective="redi", learning_rate=1e-3, guard={"action": "rollback"})
    held = GuardState(tmp_path, "redi", settings)
    saved = tmp_path / "checkpoints"
    for step in (0, 2, 4):
        path = checkpoints.at(saved, step)
        path.mkdir(parents=True)
        (path / "weights.bin").write_bytes(bytes([step] * 50))
        write_json(
            path / "done.json", {"step": step, "files": sums_of(path, path.iterdir()), "good": True, "attempt": 0}
        )
    held.history = [{"step": step, "guard": "steady"} for step in range(6)]
    held.history[-1] |= {"guard": "collapse", "guard_reasons": ["probe_down", "chosen_low"]}
    (checkpoints.at(saved, 4) / "weights.bin").write_bytes(bytes([5] * 50))
    assert held.roll_back(saved) == 2
    for step in (0, 2):
        (checkpoints.at(saved, step) / "weights.bin").write_bytes(b"")
    with pytest.raises(OperatorError, match=r"checkpoints: no checkpoint is whole; delete .* to train the stage again"):
        held.roll_back(saved)


def test_a_history_that_has_changed_is_refused_by_name(tmp_path: Path) -> None:
    """The guard judges by it, and nothing could make it again but the steps themselves."""
    settings = StageSettings(objective="redi", learning_rate=1e-3)
    held = GuardState(tmp_path, "redi", settings)
    for step in (1, 2, 3):
        held.judge({"step": step, "loss": 0.5, "chosen_logp": -1.25, "grad_norm": 1.0})
    path = checkpoints.at(tmp_path / "checkpoints", 3)
    path.mkdir(parents=True)
    write_json(path / "done.json", {"step": 3, "files": {}, **held.facts(3, 9)})
    whole = (tmp_path / "metrics.jsonl").read_bytes()
    GuardState(tmp_path, "redi", settings).open(3)
    assert (tmp_path / "metrics.jsonl").read_bytes() == whole
    changed = r"metrics\.jsonl has changed since step 3 was saved"
    for corrupted, said in (
        (whole.replace(b"-1.25", b"-1.75", 1), changed),
        (whole[: whole.rindex(b'{"step": 3')], changed),
        (whole.replace(b'{"step": 2', b'{"step": ,'), r"metrics\.jsonl: line 2 is corrupt"),
    ):
        (tmp_path / "metrics.jsonl").write_bytes(corrupted)
        with pytest.raises(OperatorError, match=said):
            GuardState(tmp_path, "redi", settings).open(3)


def test_a_stage_that_goes_on_never_writes_over_its_stamp(tmp_path: Path) -> None:
    """A kill in the middle of that, or a full disk, would leave an empty stamp, and the next run would begin from nothing."""
    _open(tmp_path / "redi", "print")
    stamp = tmp_path / "redi" / "fingerprint"
    (tmp_path / "redi" / "checkpoints").mkdir()
    before = stamp.stat()
    _open(tmp_path / "redi", "print")
    after = stamp.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert (tmp_path / "redi" / "checkpoints").exists()
    _open(tmp_path / "redi", "another")
    assert stamp.read_text() == "another" and not (tmp_path / "redi" / "checkpoints").exists()


def test_harmed_token_rows_are_found_and_named(tmp_path: Path) -> None:
    def encode(texts: Any) -> list[list[int]]:
        return [[ord(c) for c in text] for text in texts]

    records = [Example(f"p{n}", f"t{n}", "1+1=", "2" * (n + 1)) for n in range(5)]
    write_rows(tmp_path, records, encode_prompts=encode, encode_completions=encode, max_tokens=50)
    assert corrupt_file(tmp_path) is None
    for name in ("tokens.bin", "index.npz", "ids.txt", "account.json"):
        data = (tmp_path / name).read_bytes()
        for corrupted in harms(data[150:], 10):
            (tmp_path / name).write_bytes(data[:150] + corrupted if len(data) > 150 else corrupted)
            if (tmp_path / name).read_bytes() != data:
                assert corrupt_file(tmp_path) == name
        (tmp_path / name).write_bytes(data)
    assert corrupt_file(tmp_path) is None and corrupt_file(tmp_path / "nothing") == "account.json"


def test_harmed_reference_logps_are_computed_again(tmp_path: Path, capsys: Any) -> None:
    made: list[int] = []

    def make() -> Iterator[np.ndarray]:
        made.append(1)
        yield np.arange(6, dtype=np.float32)

    alone: Any = SimpleNamespace(num_processes=1, is_main_process=True, wait_for_everyone=lambda: None)
    path = tmp_path / "who.tokens.npy"
    stamp = tmp_path / "who.tokens.npy.json"
    for _ in range(2):
        assert _kept(alone, path, make).tolist() == [0, 1, 2, 3, 4, 5]
    assert len(made) == 1
    for corrupted in (path, stamp):
        for data in (corrupted.read_bytes()[:-3], corrupted.read_bytes()[:-1] + b"x"):
            made.clear()
            corrupted.write_bytes(data)
            assert _kept(alone, path, make).tolist() == [0, 1, 2, 3, 4, 5] and len(made) == 1
            assert f"corrupt  {path}: the reference's log-probs are computed again" in capsys.readouterr().err
    stamp.unlink()  # killed between the two
    made.clear()
    assert _kept(alone, path, make).tolist() == [0, 1, 2, 3, 4, 5] and len(made) == 1


def test_a_students_list_of_checksums_that_is_cut_short_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "checksums.json").write_text('{"config.json": "00')
    with pytest.raises(OperatorError, match=r"cannot read .*checksums\.json"):
        loading.check_folder(tmp_path)
