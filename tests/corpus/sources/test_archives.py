"""Archives are read without unpacking: nothing is written where they say, splits count inside, damage is a sentence."""

import gzip
import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from redistill.corpus.sources.archives import note_of
from redistill.corpus.sources.files import read_rows
from redistill.errors import OperatorError

ROWS = [{"a": n} for n in range(5)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def parquet() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), buffer)
    return buffer.getvalue()


def pack(path: Path, members: dict[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, content in members.items():
                packed.writestr(name, content)
        return path
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    compress: Any = {".gz": gzip.compress, ".tgz": gzip.compress, ".zst": zstandard.compress}.get(path.suffix, bytes)
    path.write_bytes(compress(buffer.getvalue()))
    return path


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tgz", "a.tar.zst", "a.zip"])
def test_every_kind_of_file_inside_every_kind_of_archive_is_read(tmp_path: Path, name: str) -> None:
    members = {
        "x/rows.jsonl": LINES,
        "x/array.json": json.dumps(ROWS).encode(),
        "x/rows.jsonl.gz": gzip.compress(LINES),
        "x/rows.jsonl.zst": zstandard.compress(LINES),
        "x/rows.parquet": parquet(),
        "x/README.md": b"no data",
        "x/.hidden.jsonl": LINES,
        "__MACOSX/x/rows.jsonl": LINES,
        "x/dataset_info.json": b"{}",
    }
    found = list(read_rows(pack(tmp_path / name, members)))
    assert [row for _, row in found] == ROWS * 5
    assert [row_id for row_id, _ in found][:6] == [
        *(f"{name}/x/rows.jsonl:{n}" for n in range(5)),
        f"{name}/x/array.json:0",
    ]


@pytest.mark.parametrize("name", ["a.tar.gz", "a.zip"])
def test_a_name_that_leads_out_is_a_name_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    path = pack(inner / name, {"../evil.jsonl": LINES, "/tmp/evil-redistill.jsonl": LINES})
    list(read_rows(path))
    assert sorted(p.name for p in tmp_path.rglob("*")) == sorted(["inner", name])
    assert not Path("/tmp/evil-redistill.jsonl").exists()


def test_links_are_passed_over(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        link = tarfile.TarInfo("passwd.jsonl")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        entry = tarfile.TarInfo("rows.jsonl")
        entry.size = len(LINES)
        tar.addfile(entry, io.BytesIO(LINES))
    assert [row for _, row in read_rows(tmp_path / "a.tar")] == ROWS


def test_the_training_split_inside_is_read_and_the_others_are_named(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.tar.gz", {"train.jsonl": LINES, "test.jsonl": b'{"b": 1}\n'})
    assert [row for _, row in read_rows(path)] == ROWS
    assert [row for _, row in read_rows(path, "test")] == [{"b": 1}]
    assert note_of(path, None).endswith(
        "a.tar.gz: the split train is read, not the split test; write split: NAME for another."
    )


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tar.zst", "a.zip"])
def test_half_an_archive_is_a_sentence_and_so_is_one_without_data(tmp_path: Path, name: str) -> None:
    big = {"rows.jsonl": LINES * 5_000}
    path = pack(tmp_path / name, big)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(OperatorError, match="download it again"):
        list(read_rows(path))
    with pytest.raises(OperatorError, match="contains no data file"):
        list(read_rows(pack(tmp_path / name, {"README.md": b"x"})))
