"""Paths, formats and damaged files: what `resolve` finds and `read_rows` gives."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

import redistill.corpus.sources.files as files
import redistill.corpus.sources.formats as formats
from redistill.corpus import SOURCES, read_rows, resolve
from redistill.errors import OperatorError

ROWS = [
    {"problem": f"{n}+{n}?", "answer": str(2 * n), "generations": [{"text": f"It is {2 * n}\nü", "correct": True}]}
    for n in range(200)
]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def _write_all(folder: Path) -> dict[str, Path]:
    made = {suffix: folder / f"rows{suffix}" for suffix in (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet")}
    made[".jsonl"].write_bytes(LINES)
    made[".jsonl.gz"].write_bytes(gzip.compress(LINES))
    made[".jsonl.zst"].write_bytes(zstandard.compress(LINES))
    pq.write_table(pa.Table.from_pylist(ROWS), made[".parquet"])
    return made


def test_every_format_gives_the_same_rows(tmp_path: Path) -> None:
    for path in _write_all(tmp_path).values():
        found = list(read_rows(path))
        assert [row for _, row in found] == ROWS
        assert found[123][0] == f"{path.name}:123"


def test_compressed_files_may_have_several_parts(tmp_path: Path) -> None:
    half = LINES.index(b"\n", len(LINES) // 2) + 1
    for suffix, compress in ((".gz", gzip.compress), (".zst", zstandard.compress)):
        path = tmp_path / f"rows.jsonl{suffix}"
        path.write_bytes(compress(LINES[:half]) + compress(LINES[half:]))
        assert [row for _, row in read_rows(path)] == ROWS


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".jsonl.zst", ".parquet"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.999])
def test_half_a_file_is_one_sentence_and_not_half_a_corpus(tmp_path: Path, suffix: str, share: float) -> None:
    path = _write_all(tmp_path)[suffix]
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(OperatorError, match=f"rows{suffix}.*download it again") as caught:
        list(SOURCES["traces"](path=str(path)))
    assert "\n" not in str(caught.value)


def test_bad_lines_are_reasons_and_the_rest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    deep = b"[" * 100_000
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\n\n{"a": \n\xff\xfe{}\n[1]\nnull\n"text"\n' + deep + b'\n{"a": 2}')
    assert list(read_rows(path)) == [
        ("rows.jsonl:0", {"a": 1}),  # a byte order mark is not a reason
        ("rows.jsonl:2", "bad_json"),  # line 1 is blank: counted, not given
        ("rows.jsonl:3", "not_utf8"),
        ("rows.jsonl:4", "not_an_object"),
        ("rows.jsonl:5", "not_an_object"),
        ("rows.jsonl:6", "not_an_object"),
        ("rows.jsonl:7", "bad_json"),
        ("rows.jsonl:8", {"a": 2}),
    ]


def test_a_line_over_the_bound_is_dropped_and_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "MAX_LINE_BYTES", 100)
    path = tmp_path / "rows.jsonl.gz"
    fits = b'{"a": "' + b"x" * 91 + b'"}\n'  # 100 bytes and the line's end
    assert len(fits) == 101
    path.write_bytes(gzip.compress(fits + b'{"a": "' + b"x" * 92 + b'"}\n{"a": 2}\n' + b"y" * 3_000_000))
    assert [row if isinstance(row, str) else len(row) for _, row in read_rows(path)] == [
        1,
        "line_too_long",
        1,
        "line_too_long",
    ]


def test_parquet_text_that_is_not_utf8_drops_its_row_only(tmp_path: Path) -> None:
    bad = pa.array([b"fine", b"\xff\xfe", b"also"], pa.binary()).cast(pa.string(), safe=False)
    pq.write_table(pa.table({"a": bad}), tmp_path / "rows.parquet")
    assert [row for _, row in read_rows(tmp_path / "rows.parquet")] == [{"a": "fine"}, "not_utf8", {"a": "also"}]


def test_a_path_may_be_a_file_a_folder_or_a_glob(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = _write_all(tmp_path)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "more.jsonl").write_bytes(LINES)
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "hidden.jsonl").write_bytes(LINES)
    (tmp_path / "README.md").write_text("no data")
    assert resolve(str(tmp_path)) == sorted([*made.values(), tmp_path / "b" / "more.jsonl"])
    assert resolve(str(made[".parquet"])) == [made[".parquet"]]
    assert resolve(str(tmp_path / "**" / "*.jsonl")) == [tmp_path / "b" / "more.jsonl", made[".jsonl"]]
    monkeypatch.chdir(tmp_path)
    assert resolve("b/*.jsonl") == [Path("b/more.jsonl")]  # looks like a dataset's name, but is no such thing
    assert resolve("b") == [Path("b/more.jsonl")]


@pytest.mark.parametrize("path", ["nowhere.jsonl", "data/nowhere.jsonl.gz", "/nowhere/at/all", "no*thing", "a b", ""])
def test_a_path_to_nothing_is_one_sentence(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OperatorError) as caught:
        resolve(path)
    assert "\n" not in str(caught.value)


def test_a_file_of_another_kind_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "rows.txt").write_text("a,b\n")
    with pytest.raises(OperatorError, match=r"rows\.txt is not a data file; the corpus reads \.jsonl, .*\.csv.*\.zip"):
        resolve(str(tmp_path / "rows.txt"))


def test_a_dataset_id_is_fetched_with_its_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str | None, list[str]]] = []

    def fake(repo: str, *, repo_type: str, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((repo, revision, allow_patterns))
        return str(tmp_path)

    (tmp_path / "data").mkdir()
    _write_all(tmp_path / "data")
    monkeypatch.setattr(files, "snapshot_download", fake)
    assert len(resolve("org/name", "abc123")) == 4
    assert resolve("org/name:data/rows.parq*") == [tmp_path / "data" / "rows.parquet"]
    assert asked == [
        ("org/name", "abc123", [f"*{suffix}" for suffix in formats.ROW_SUFFIXES]),
        ("org/name", None, ["data/rows.parq*"]),
    ]


def test_a_dataset_that_cannot_be_fetched_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> str:
        raise ConnectionError("no\nroute")

    monkeypatch.setattr(files, "snapshot_download", fails)
    with pytest.raises(OperatorError, match=r"org/name is neither a local path nor a dataset .*no route.*"):
        resolve("org/name")
