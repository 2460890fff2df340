"""`redistill verify`: any file in, the same rows with verdicts out."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from redistill.cli import main
from redistill.errors import OperatorError
from redistill.tools.verify_file import text_of, verify_file

ROWS: list[dict[str, Any]] = [
    {"id": 1, "gold": "1/2", "text": r"It is \boxed{0.5}"},
    {"id": 2, "gold": 18, "text": r"\boxed{17}"},
    {"id": 3, "gold": "18", "text": "I give up"},
    {"id": 4, "gold": ["1", "2"], "text": r"\boxed{2, 1}"},
    {"id": 5, "gold": None, "text": r"\boxed{1}"},
    {"id": 6, "gold": "4", "text": None},
    {"id": 7, "gold": "4", "text": "\ud800 \\boxed{4}"},
]
OUTCOMES = ["correct", "incorrect", "no_answer", "correct", "ungradable", "no_answer", "correct"]


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text(lines(ROWS) + "[1, 2]\nnot json\n")
    return path


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet"])
def test_rows_come_out_in_order_with_their_verdicts_in_every_format(file: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"judged{suffix}"
    source = file
    if suffix == ".parquet":  # a column of Parquet has one type
        source = tmp_path / "typed.parquet"
        rows = [
            {**row, "gold": text_of(row["gold"]), "text": (row["text"] or "").replace("\ud800", "?")} for row in ROWS
        ]
        pq.write_table(pa.Table.from_pylist(rows), source)
    found = verify_file(source, gold="gold", prediction="text", verifiers=["cascade"], out=out, workers=1)
    assert found["rows"] == 7
    assert found["outcomes"]["cascade"] == {"correct": 3, "no_answer": 2, "incorrect": 1, "ungradable": 1}
    if suffix == ".parquet":
        judged = pq.read_table(out).to_pylist()
    elif suffix == ".jsonl.gz":
        judged = [json.loads(line) for line in gzip.decompress(out.read_bytes()).splitlines()]
    elif suffix == ".jsonl":
        judged = [json.loads(line) for line in out.read_text().splitlines()]
        assert [{k: row[k] for k in ("id", "gold", "text")} for row in judged] == ROWS
    else:
        judged = [json.loads(line) for line in pa.input_stream(str(out), compression="zstd").read().splitlines()]
    assert [row["cascade_outcome"] for row in judged] == OUTCOMES
    assert judged[0]["cascade_reason"] == "equal_number" and judged[0]["cascade_extracted"] == "0.5"
    assert "percent either" in judged[0]["cascade_version"]
    assert not list(tmp_path.glob("*.part"))


def test_the_verb_prints_counts_and_leaves_out_what_is_no_row(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(
        [
            "verify",
            str(file),
            "--gold",
            "gold",
            "--prediction",
            "text",
            "--verifier",
            "cascade",
            "--workers",
            "1",
            "--json",
        ]
    )
    found = json.loads(capsys.readouterr().out)
    assert found["outcomes"]["cascade"]["correct"] == 3
    assert found["unreadable"] == {"not_an_object": 1, "bad_json": 1}
    main(["verify", str(file), "--gold", "gold", "--prediction", "text", "--workers", "1"])
    text = capsys.readouterr().out
    assert "3 (42.9%)" in text and "bad_json" in text


def test_bare_answers_are_asked_for_and_a_hint_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bare.jsonl"
    path.write_text(lines([{"a": "1/2", "b": "0.5"}, {"a": "3", "b": "4"}]))
    arguments = ["verify", str(path), "--gold", "a", "--prediction", "b", "--verifier", "exact", "--workers", "1"]
    main(arguments)
    assert "--bare" in capsys.readouterr().err
    main([*arguments, "--bare", "--json"])
    assert json.loads(capsys.readouterr().out)["outcomes"]["exact"] == {"correct": 1, "incorrect": 1}


def test_mistakes_are_one_sentence_and_name_what_there_is(file: Path, tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"has no column 'answer'; its columns are id, gold, text"):
        verify_file(file, gold="answer", prediction="text")
    with pytest.raises(OperatorError, match="did you mean 'cascade'"):
        verify_file(file, gold="gold", prediction="text", verifiers=["casade"])
    with pytest.raises(OperatorError, match=r"must end in .jsonl"):
        verify_file(file, gold="gold", prediction="text", out=tmp_path / "x.csv")
    with pytest.raises(OperatorError, match="cannot write"):
        verify_file(file, gold="gold", prediction="text", out=file / "x.jsonl")  # a file is not a folder
    with pytest.raises(OperatorError, match="no file or folder"):
        verify_file(tmp_path / "gone.jsonl", gold="gold", prediction="text")
    with pytest.raises(OperatorError, match="Parquet cannot hold"):  # gold is text, then a number
        verify_file(file, gold="gold", prediction="text", verifiers=["exact"], out=tmp_path / "x.parquet", workers=1)
    assert not list(tmp_path.glob("*.part"))
