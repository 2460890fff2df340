"""One file in every format and encoding gives the same rows; damage is a sentence, and memory does not grow with the file."""

import csv
import gzip
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import zstandard

import redistill
from redistill.corpus.sources.files import read_rows
from redistill.errors import OperatorError

ROWS = [{"problem": f"{n}+{n}?\u2028é", "answer": str(2 * n), "n": "x\ny"} for n in range(150)]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)


def rows_of(path: Path, split: str | None = None) -> list[Any]:
    return [row for _, row in read_rows(path, split)]


def table(delimiter: str) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, ROWS[0], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(ROWS)
    return text.getvalue()


@pytest.mark.parametrize(
    "pack", [("", bytes), (".gz", gzip.compress), (".zst", zstandard.compress)], ids=lambda p: p[0]
)
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.ndjson", LINES),
        ("a.json", LINES),  # lines, whatever the suffix says
        ("a.json", json.dumps(ROWS)),
        ("a.json", json.dumps(ROWS, indent=2)),
        ("a.jsonl", json.dumps(ROWS)),  # an array, whatever the suffix says
        ("a.jsonl", json.dumps(ROWS[:70]) + "\n" + json.dumps(ROWS[70:]) + "\n"),
        ("a.json", "\n".join(json.dumps(row, indent=1) for row in ROWS)),
        ("a.json", json.dumps({"version": 1, "data": ROWS}) + "\n"),
        ("a.json", json.dumps({"train": ROWS, "test": ROWS[:3]})),
        ("a.csv", table(",")),
        ("a.csv", table(";")),
        ("a.tsv", table("\t")),
    ],
)
def test_text_of_every_kind_packed_or_not_gives_the_same_rows(tmp_path: Path, name: str, text: str, pack: Any) -> None:
    suffix, compress = pack
    path = tmp_path / f"{name}{suffix}"
    path.write_bytes(compress(text.encode()))
    assert rows_of(path) == ROWS
    assert next(read_rows(path))[0] == f"{path.name}:0"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize(
    ("name", "text"), [("a.jsonl", LINES), ("a.json", json.dumps(ROWS, ensure_ascii=False)), ("a.csv", table(","))]
)
def test_every_unicode_encoding_is_read_with_and_without_its_mark(
    tmp_path: Path, encoding: str, name: str, text: str
) -> None:
    (tmp_path / name).write_bytes(text.encode(encoding))
    assert rows_of(tmp_path / name) == ROWS


@pytest.mark.parametrize("end", ["\r", "\r\n"])
def test_line_ends_of_other_systems_are_line_ends(tmp_path: Path, end: str) -> None:
    (tmp_path / "a.jsonl").write_bytes(LINES.replace("\n", end).encode())
    assert rows_of(tmp_path / "a.jsonl") == ROWS


def test_one_object_that_is_a_row_is_no_wrapper_of_its_own_generations(tmp_path: Path) -> None:
    row = {"problem": "2+2?", "samples": [{"text": "4"}, {"text": "5"}]}
    (tmp_path / "a.json").write_text(json.dumps(row, indent=1))
    assert rows_of(tmp_path / "a.json") == [row]


def test_splits_inside_a_json_object_are_chosen_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"train": ROWS[:2], "test": ROWS[2:5]}))
    assert (rows_of(path), rows_of(path, "test"), rows_of(path, "all")) == (ROWS[:2], ROWS[2:5], ROWS[:5])
    with pytest.raises(OperatorError, match=r"has no split 'dev'; it holds test, train"):
        rows_of(path, "dev")


def test_items_of_an_array_that_are_no_objects_are_reasons(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"a": 1}, 7, [2], null, {"a": 2}]')
    assert rows_of(tmp_path / "a.json") == [{"a": 1}, "not_an_object", "not_an_object", "not_an_object", {"a": 2}]


def test_a_csv_row_of_another_width_is_a_reason_and_empty_cells_are_null(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('a,b\n1,\n"2,5","x ""y"""\n1,2,3\n\n4,5\n')
    assert rows_of(tmp_path / "a.csv") == [
        {"a": "1", "b": None},
        {"a": "2,5", "b": 'x "y"'},
        "bad_csv",
        {"a": "4", "b": "5"},
    ]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.json", json.dumps(ROWS)[:-1], "a JSON array without its `]`"),
        ("a.json", json.dumps(ROWS)[:-40], "is not JSON after character"),
        ("a.json", json.dumps(ROWS) + "x", "begins as a JSON array but does not continue as one"),
        ("a.json", '[{"a": 1} {', "is not JSON"),
        ("a.json", json.dumps({"a": {"0": 1, "1": 2}}), r"holds columns instead of rows; .*orient='records'"),
        ("a.csv", 'a,b\n1,"2\n', "is not CSV after row 0"),
        ("a.csv", "a,a\n1,2\n", "must name the columns, each once"),
    ],
)
def test_damage_is_one_sentence(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(OperatorError, match=words) as caught:
        rows_of(tmp_path / name)
    assert "\n" not in str(caught.value)


def arrow(path: Path, *, file: bool = False) -> None:
    made = pa.Table.from_pylist(ROWS)
    with (pa.ipc.new_file if file else pa.ipc.new_stream)(str(path), made.schema) as writer:
        writer.write_table(made, max_chunksize=40)


@pytest.mark.parametrize("file", [False, True], ids=["stream", "file"])
def test_both_formats_of_arrow_are_read_and_a_cut_one_is_a_sentence(tmp_path: Path, file: bool) -> None:
    path = tmp_path / "data.arrow"
    arrow(path, file=file)
    assert rows_of(path) == ROWS
    whole = path.read_bytes()
    for share in (0, len(whole) // 2, len(whole) - 8):  # the last leaves out the end mark alone
        path.write_bytes(whole[:share])
        with pytest.raises(OperatorError, match="download it again"):
            rows_of(path)


READ = """
import sys
from pathlib import Path
from redistill.corpus.sources.files import read_rows
count = sum(1 for _ in read_rows(Path(sys.argv[1])))
high = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))  # of this program alone
print(count, int(high.split()[1]) // 1024)
"""


def peak_mb(path: Path) -> tuple[int, int]:
    environment = {
        "PYTHONPATH": str(Path(redistill.__file__).parents[1]),
        "PATH": "",
        "ARROW_DEFAULT_MEMORY_POOL": "system",
    }
    done = subprocess.run([sys.executable, "-c", READ, str(path)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1000:]
    count, peak = map(int, done.stdout.split())
    return count, peak


@pytest.mark.parametrize("kind", ["json", "csv", "utf-16", "arrow"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, kind: str) -> None:
    def write(path: Path, count: int) -> None:
        row = {"problem": "x" * 4_000, "answer": "4"}
        if kind == "arrow":
            with pa.ipc.new_stream(str(path), pa.schema({"problem": pa.string(), "answer": pa.string()})) as writer:
                for _ in range(count // 100):
                    writer.write_batch(pa.RecordBatch.from_pylist([row] * 100))
        elif kind == "csv":
            path.write_text("problem,answer\n" + f"{row['problem']},4\n" * count)
        elif kind == "json":
            path.write_text("[" + ",".join([json.dumps(row)] * count) + "]")
        else:
            path.write_bytes((json.dumps(row) + "\n").encode("utf-16-le") * count)

    suffix = {"json": ".json", "csv": ".csv", "utf-16": ".jsonl", "arrow": ".arrow"}[kind]
    peaks = []
    for count in (500, 20_000):  # 2 and 80 MB of text
        write(tmp_path / f"{count}{suffix}", count)
        found, peak = peak_mb(tmp_path / f"{count}{suffix}")
        assert found == count
        peaks.append(peak)
    # a mapped file's pages count as resident while they are clean; the system takes them back when it wants them
    assert peaks[1] - peaks[0] < (100 if kind == "arrow" else 25), peaks
