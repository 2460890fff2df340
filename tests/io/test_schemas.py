"""Files of an older version read as they were meant, and what TRL reads loads with `datasets` and stays flat."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from redistill.io.parquet import read_records, write_records
from redistill.io.schemas import from_row, to_row
from redistill.records import (
    FINAL,
    Example,
    Group,
    Image,
    Origin,
    Outcome,
    Pair,
    Problem,
    Span,
    Trace,
    Verdict,
    make_problem,
    make_trace,
)

# The columns before spans, notes, images, metadata and graded verdicts, as they were.
TEXT = pa.string()
OLD_VERDICT = pa.struct([(n, TEXT) for n in ("name", "outcome", "extracted", "reason", "verifier", "verifier_version")] + [("seconds", pa.float64())])  # fmt: skip
OLD_TRACE = pa.struct(
    [("id", TEXT), ("completion", TEXT), ("author", TEXT), ("sampling", TEXT), ("finish_reason", TEXT), ("num_tokens", pa.int64()),
     ("verdicts", pa.list_(OLD_VERDICT)), ("scores", pa.list_(pa.struct([("name", TEXT), ("value", pa.float64())])))]
)  # fmt: skip
OLD_PROBLEM = [(name, TEXT) for name in ("id", "statement", "answer", "answer_type", "source", "source_row")]
OLD_SPANS = pa.list_(pa.struct([("start", pa.int64()), ("end", pa.int64()), ("weight", pa.float64())]))
OLD: dict[type, list[Any]] = {
    Group: [("problem", pa.struct(OLD_PROBLEM)), ("traces", pa.list_(OLD_TRACE))],
    Problem: OLD_PROBLEM,
    Example: [(name, TEXT) for name in ("problem_id", "trace_id", "prompt", "completion")],
    Pair: [(n, TEXT) for n in ("problem_id", "prompt", "chosen", "rejected", "chosen_id", "rejected_id")]
    + [("weight", pa.float64()), ("chosen_spans", OLD_SPANS), ("rejected_spans", OLD_SPANS)],
}
PROBLEM = {"id": "p1", "statement": "2+2?", "answer": "4", "answer_type": None, "source": "s", "source_row": "x:0"}
VERDICT = {"name": "exact", "outcome": "correct", "extracted": "4", "reason": "equal", "verifier": "exact", "verifier_version": "1", "seconds": 0.5}  # fmt: skip
TRACE = {"id": "t1", "completion": "4", "author": "a", "sampling": '{"seed": 3}', "finish_reason": "stop", "num_tokens": 2,
         "verdicts": [VERDICT], "scores": [{"name": "s", "value": 0.5}]}  # fmt: skip
OLD_ROWS: dict[type, dict[str, Any]] = {
    Group: {"problem": PROBLEM, "traces": [TRACE]},
    Problem: PROBLEM,
    Example: {"problem_id": "p1", "trace_id": "t1", "prompt": "2+2?", "completion": "4"},
    Pair: {"problem_id": "p1", "prompt": "2+2?", "chosen": "4", "rejected": "5", "chosen_id": "t1", "rejected_id": "t2", "weight": 2.0,
           "chosen_spans": [{"start": 0, "end": 1, "weight": 0.5}], "rejected_spans": []},
}  # fmt: skip
READ = {
    Group: Group(
        Problem("p1", "2+2?", "4", None, "s", "x:0"),
        (Trace("t1", "4", "a", {"seed": 3}, "stop", 2, {"exact": Verdict(Outcome.correct, "4", "equal", "exact", "1", 0.5)}, {"s": 0.5}),),
    ),
    Problem: Problem("p1", "2+2?", "4", None, "s", "x:0"),
    Example: Example("p1", "t1", "2+2?", "4"),
    Pair: Pair("p1", "2+2?", "4", "5", "t1", "t2", 2.0, (Span(0, 1, 0.5),), ()),
}  # fmt: skip


@pytest.mark.parametrize("kind", OLD, ids=lambda kind: kind.__name__)
def test_a_file_without_the_newer_columns_reads_as_their_defaults(kind: type, tmp_path: Path) -> None:
    schema = pa.schema(OLD[kind]).with_metadata({"redistill.record": kind.__name__})
    pq.write_table(pa.Table.from_pylist([OLD_ROWS[kind]], schema), tmp_path / "old.parquet")
    (record,) = read_records(tmp_path / "old.parquet")
    assert record == READ[kind]
    write_records(tmp_path / "new.parquet", kind, [record])  # a later stage writes it in the new layout
    assert list(read_records(tmp_path / "new.parquet")) == [record]


def test_the_origins_of_older_runs_have_other_names(tmp_path: Path) -> None:
    row = {
        "trace_id": "t1",
        "problem_id": "p2",
        "told_as": "p1",
        "file": "a",
        "row": "a:0",
        "revision": "",
        "fate": "kept",
    }
    table = pa.Table.from_pylist([row]).replace_schema_metadata({"redistill.record": "Origin"})
    pq.write_table(table, tmp_path / "origins.parquet")
    assert list(read_records(tmp_path / "origins.parquet")) == [Origin("t1", "p2", "p1", "a", "a:0", "", "kept")]


def test_defaults_are_what_a_missing_column_means() -> None:
    trace, problem = READ[Group].traces[0], READ[Group].problem
    assert (trace.spans, trace.notes, trace.verdicts["exact"].score) == ({}, {}, None)
    assert (problem.images, problem.metadata) == ((), {})
    assert (READ[Example].weight, READ[Example].spans) == (1.0, ())


def test_plain_tuples_do_as_spans_and_come_back_as_spans() -> None:
    pair = Pair("p", "q", "yes", "no", "t1", "t2", 1.0, ((0, 2, 0.25),), ((1, 3, 1),))
    again = from_row(Pair, to_row(pair))
    assert again == pair and all(isinstance(span, Span) for span in again.chosen_spans + again.rejected_spans)
    assert again.chosen_spans[0].value == 0.25


def test_lone_surrogates_of_names_notes_and_paths_are_cleaned_and_metadata_keeps_them(tmp_path: Path) -> None:
    problem = make_problem("q", images=(Image("\ud800.png", "0"),), metadata={"b": "\ud800", "a": 1})
    trace = make_trace(problem.id, "x", notes={"\ud800": "\udfff"}, spans={"\ud800": (Span(0, 1, 1.0),)})
    write_records(tmp_path / "g.parquet", Group, [Group(problem, (trace,))])
    (group,) = read_records(tmp_path / "g.parquet")
    assert group.problem.images == (Image("?.png", "0"),) and group.problem.metadata == {"a": 1, "b": "\ud800"}
    assert group.traces[0].notes == {"?": "?"} and group.traces[0].spans == {"?": (Span(0, 1, 1.0),)}
    (row,) = pq.read_table(tmp_path / "g.parquet").to_pylist()
    assert row["problem"]["metadata"] == '{"a": 1, "b": "\\ud800"}'  # keys sorted, so equal problems have equal bytes


def test_examples_and_pairs_load_with_datasets(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    example = Example("p", "t", "2+2?", "4", 0.5, (Span(0, 2, -1.0),))
    pair = Pair("p", "2+2?", "4", "5", "t1", "t2", 1.0, (Span(0, 1, 0.0),), ())
    for kind, record in ((Example, example), (Pair, pair)):
        path = tmp_path / f"{kind.__name__}.parquet"
        write_records(path, kind, [record, record])
        rows = datasets.Dataset.from_parquet(str(path), cache_dir=str(tmp_path / "cache"))
        assert len(rows) == 2 and from_row(kind, rows[1]) == record
        text = [name for name, feature in rows.features.items() if getattr(feature, "dtype", "") == "string"]
        assert {"prompt"} < set(text)  # flat columns as TRL names them
        assert rows.features["weight"].dtype == "float64"


def test_a_group_of_all_fields_comes_back(tmp_path: Path) -> None:
    problem = make_problem(
        "q",
        answer="4",
        images=(Image("a.png", "0" * 64), Image("b.png", "1" * 64)),
        metadata={"tests": [{"in": [1.5, None]}]},
    )
    verdicts = {"ndcg": Verdict(Outcome.disagree, score=0.375), FINAL: Verdict(Outcome.disagree, score=0.0)}
    trace = make_trace(
        problem.id,
        "one two",
        verdicts=verdicts,
        spans={"steps": (Span(0, 3, 1.0), Span(7, 8, -0.5)), "none": ()},
        notes={"critic": "ü"},
    )
    write_records(tmp_path / "g.parquet", Group, [Group(problem, (trace,)), Group(problem, ())])
    assert list(read_records(tmp_path / "g.parquet")) == [Group(problem, (trace,)), Group(problem, ())]
