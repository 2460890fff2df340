"""What the system refuses is a sentence, what a file says is checked, and no half-written file is left."""

import errno
import hashlib
import os
import resource
from pathlib import Path

import pytest

from redistill.errors import OperatorError
from redistill.io.atomic import (
    mark,
    read_json,
    read_yaml,
    remove_partial_files,
    sentence,
    sums_of,
    sync_folder,
    trouble,
    unmarked,
    write_json,
    writing,
)


class Numbered(Exception):
    """Another library's number, which is none of the system's."""

    errno = errno.ENOSPC


def test_a_refusal_of_the_system_is_known_by_its_number_or_by_the_words_of_a_library(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room = "no space is left there"
    assert (trouble(OSError(errno.ENOSPC, "")) or "").startswith(room)
    assert (trouble(RuntimeError("SafetensorError: IoError (os error 28)")) or "").startswith(room)
    assert (trouble(OSError("800 requested and 0 written")) or "").startswith(room)
    assert trouble(OSError(errno.EINVAL, "odd")) is trouble(ValueError("odd")) is trouble(Numbered()) is None
    monkeypatch.setattr(resource, "getrlimit", lambda which: (7, 9))  # what holds now, and what it may be raised to
    assert "raise `ulimit -n` (now 7)" in (trouble(OSError(errno.EMFILE, "")) or "")


def test_a_refusal_names_the_file_that_the_system_names_else_the_one_that_was_written() -> None:
    words = "the disk fails to read or write; copy the run to another one"
    assert (sentence(OSError(errno.EIO, "", "/a/b"), "c") or "").startswith(f"/a/b: {words}")
    assert (sentence(OSError(errno.EIO, ""), "c") or "").startswith(f"c: {words}")
    assert (sentence(OSError(errno.EIO, "")) or "").startswith(f"T{words[1:]}")
    assert sentence(ValueError("odd"), "c") is None


def test_only_refusals_of_the_system_become_sentences_while_a_file_is_written() -> None:
    with pytest.raises(OperatorError, match=r"^cannot write /a/b: the disk fails"), writing(Path("/a/b")):
        raise OSError(errno.EIO, "")
    ours, odd = OperatorError("os error 28 in a sentence of ours"), ValueError("odd")
    for error in (ours, odd):
        with pytest.raises(type(error)) as caught, writing(Path("/a/b")):
            raise error
        assert caught.value is error


def test_half_written_files_are_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "deep" / "folder.part").mkdir(parents=True)
    for name in ("deep/x.parquet.1a2b3c4d.part", "deep/x.parquet", "part"):
        (tmp_path / name).write_text("")
    remove_partial_files(tmp_path)
    assert {p.name for p in tmp_path.rglob("*")} == {"deep", "folder.part", "x.parquet", "part"}


def test_files_of_others_are_on_the_disk_before_a_stamp_names_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(os.readlink(f"/proc/self/fd/{number}")))
    (tmp_path / "a").write_bytes(b"1")
    assert sums_of(tmp_path, [tmp_path / "a"]) == {"a": hashlib.sha256(b"1").hexdigest()}
    assert synced == [str(tmp_path / "a")]
    before = os.listdir("/proc/self/fd")
    sync_folder(tmp_path)
    assert os.listdir("/proc/self/fd") == before and synced[1:] == [str(tmp_path)]


def test_a_table_is_text_that_people_can_read_under_its_checksum(tmp_path: Path) -> None:
    body = '{\n  "name": "é"\n}\n'
    write_json(tmp_path / "a.json", {"name": "é"})
    total = hashlib.sha256(body.encode()).hexdigest()
    assert (tmp_path / "a.json").read_text("utf-8") == '{\n  "checksum": "' + total + '",\n' + body[2:]
    assert read_json(tmp_path / "a.json") == {"name": "é"}


def test_the_checksum_of_a_line_is_that_of_every_version() -> None:
    """16 hex digits over the keys in order: what an older version wrote is still whole."""
    total = hashlib.sha256(b'{"a": 1, "b": 2}').hexdigest()[:16]
    assert mark({"b": 2, "a": 1}) == {"b": 2, "a": 1, "checksum": total}
    assert unmarked('{"b": 2, "checksum": "' + total + '", "a": 1}') == {"a": 1, "b": 2}


@pytest.mark.parametrize("text", ["a: [", "just words", None])
def test_a_recipe_of_a_run_that_cannot_be_read_is_a_sentence(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "recipe.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(OperatorError, match=r"^cannot read .*recipe\.yaml: .*Run the recipe again to write it\.$"):
        read_yaml(path)
