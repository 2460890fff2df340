"""Files that unfold to a thousand times their size, and lines without end: memory stays bounded, and what is left out is a
counted reason or one sentence. Each is read by a process whose address space the kernel bounds."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from redistill.config.tables import BenchmarkSettings
from redistill.corpus import read_rows
from redistill.errors import OperatorError
from redistill.evaluate import load_benchmark

ROOM_MB = 96  # of address space that a reader may take beside what it has
LINE_MB = 2  # MAX_LINE_BYTES in these tests
LONG = 300 if not os.environ.get("REDISTILL_SOAK") else 10_000  # megabytes of the line without end
READ = """
import resource, sys
import redistill.corpus.sources.files as files
import redistill.corpus.sources.formats as formats
from redistill.errors import OperatorError
from pathlib import Path
list(files.read_rows(Path(sys.argv[1]).with_name("small" + "".join(Path(sys.argv[1]).suffixes))))  # what readers need at all
here = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
formats.MAX_LINE_BYTES = {line} << 20
formats.MAX_DECODED_BYTES = {room} << 20
resource.setrlimit(resource.RLIMIT_AS, (here + ({room} << 20),) * 2)
try:
    print([row if isinstance(row, str) else "row" for _, row in files.read_rows(Path(sys.argv[1]))])
except OperatorError as error:
    print(error)
"""


def read_bounded(path: Path) -> str:
    code = READ.format(line=LINE_MB, room=ROOM_MB)
    environment = {
        **os.environ,
        "ARROW_DEFAULT_MEMORY_POOL": "system",
    }  # the others take a gigabyte of addresses at once
    done = subprocess.run([sys.executable, "-c", code, str(path)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def zeros(open_file: object, megabytes: int) -> None:
    for _ in range(megabytes):
        open_file.write(b"0" * 2**20)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small files of every kind beside the bombs: a good row, a line of a gigabyte, a good row."""
    here = tmp_path_factory.mktemp("bombs")
    row = json.dumps({"a": 1}).encode() + b"\n"
    (here / "small.jsonl").write_bytes(row)
    (here / "small.jsonl.gz").write_bytes(gzip.compress(row))
    (here / "small.jsonl.zst").write_bytes(zstandard.compress(row))
    pq.write_table(pa.table({"a": ["x"]}), here / "small.parquet")
    with open(here / "bomb.jsonl", "wb") as file:  # a sparse file: it takes no room on the disk
        file.write(row)
        file.seek(LONG * 2**20, os.SEEK_CUR)
        file.write(b"\n" + row)
    with gzip.open(here / "bomb.jsonl.gz", "wb", compresslevel=1) as file:
        file.write(row)
        zeros(file, LONG)
        file.write(b"\n" + row)
    with zstandard.open(here / "bomb.jsonl.zst", "wb") as file:
        file.write(row)
        zeros(file, LONG)
        file.write(b"\n" + row)
    return here


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".jsonl.zst"])
def test_a_line_without_end_is_a_reason_and_its_neighbours_are_read(folder: Path, suffix: str) -> None:
    path = folder / f"bomb{suffix}"
    assert path.stat().st_blocks * 512 < LONG * 2**20 / 90  # it is a bomb
    assert read_bounded(path) == "['row', 'line_too_long', 'row']"


def test_a_frame_that_asks_for_a_window_of_two_gigabytes_is_a_sentence(folder: Path) -> None:
    path = folder / "window.jsonl.zst"
    path.write_bytes(bytes.fromhex("28b52ffd 00 a8 010000"))  # magic, descriptor, window 2^31, an empty last block
    (folder / "small.jsonl.zst").exists()
    assert "cannot be read to the end" in read_bounded(path)


def write_parquet(path: Path, values: pa.Array, **options: object) -> None:
    pq.write_table(pa.table({"a": values}), path, compression="zstd", **options)
    assert path.stat().st_size < 2**20


def test_a_parquet_value_a_thousand_times_its_bytes_is_a_sentence(folder: Path) -> None:
    write_parquet(folder / "value.parquet", pa.array(["0" * (ROOM_MB << 20)]), use_dictionary=False)
    assert "a decompression bomb" in read_bounded(folder / "value.parquet")


def test_a_parquet_dictionary_that_is_named_ten_thousand_times_is_a_sentence(folder: Path) -> None:
    text = "0" * (10 << 20)
    values = pa.DictionaryArray.from_arrays(pa.array([0] * 10_000, pa.int32()), pa.array([text]))
    write_parquet(folder / "named.parquet", values, dictionary_pagesize_limit=1 << 30, store_schema=False)
    assert "a decompression bomb" in read_bounded(folder / "named.parquet")


def test_a_parquet_row_over_the_bound_is_a_reason_and_its_neighbours_are_read(folder: Path) -> None:
    write_parquet(folder / "row.parquet", pa.array(["x", "0" * (3 * LINE_MB << 20), "y"]))
    assert read_bounded(folder / "row.parquet") == "['row', 'line_too_long', 'row']"


def test_an_ordinary_file_is_read_as_before(folder: Path) -> None:
    assert list(read_rows(folder / "small.parquet")) == [("small.parquet:0", {"a": "x"})]


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".parquet", ".csv"])
def test_a_benchmark_that_unfolds_without_end_is_a_sentence(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redistill.evaluate.benchmarks.MAX_FILE_BYTES", 1 << 20)
    path, row = tmp_path / f"b{suffix}", {"problem": "1+1", "answer": "2"}
    text = json.dumps(row) + "\n" + json.dumps({**row, "problem": "0" * (4 << 20)}) + "\n"
    if suffix == ".parquet":
        write_parquet(path, pa.array(["0" * (64 << 20)]))
    elif suffix == ".csv":
        path.write_text("problem,answer\n" + "1,2\n" * 300_000)
    else:
        path.write_bytes(gzip.compress(text.encode()) if suffix.endswith("gz") else text.encode())
    with pytest.raises(OperatorError, match="the limit for a benchmark"):
        load_benchmark(BenchmarkSettings(name="mine", file=str(path)))
