"""Records <-> rows: the Arrow schema of every record, flat where TRL and `datasets` read the file.

to_row(trace)            ->  {"id": "t1f0...", "completion": "...", "verdicts": [...], ...}
from_row(Trace, row)     ->  the trace again

A file of an older version lacks the newer columns (`spans`, `notes`, `score`, `images`, `metadata`, an example's `weight`):
they read as the field's default. A span's third field is `value`; files of before call it `weight`, which is read too.
"""

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import pyarrow as pa

from redistill.records import (
    Candidate,
    Dropped,
    Example,
    Group,
    Image,
    Match,
    Origin,
    Outcome,
    Pair,
    Problem,
    Ranked,
    Sampled,
    Span,
    Trace,
    Verdict,
)
from redistill.text.utf8 import utf8

_SPANS = pa.list_(pa.struct([("start", pa.int64()), ("end", pa.int64()), ("value", pa.float64())]))


_VERDICT = pa.struct(
    [
        ("name", pa.string()),
        ("outcome", pa.string()),
        ("extracted", pa.string()),
        ("reason", pa.string()),
        ("verifier", pa.string()),
        ("verifier_version", pa.string()),
        ("seconds", pa.float64()),
        ("score", pa.float64()),
    ]
)


_TRACE = pa.struct(
    [
        ("id", pa.string()),
        ("completion", pa.string()),
        ("author", pa.string()),
        ("sampling", pa.string()),  # JSON: its keys differ from source to source
        ("finish_reason", pa.string()),
        ("num_tokens", pa.int64()),
        ("verdicts", pa.list_(_VERDICT)),
        ("scores", pa.list_(pa.struct([("name", pa.string()), ("value", pa.float64())]))),
        ("spans", pa.list_(pa.struct([("name", pa.string()), ("spans", _SPANS)]))),
        ("notes", pa.list_(pa.struct([("name", pa.string()), ("text", pa.string())]))),
    ]
)


_PROBLEM = [
    *((name, pa.string()) for name in ("id", "statement", "answer", "answer_type", "source", "source_row")),
    ("images", pa.list_(pa.struct([("path", pa.string()), ("sha256", pa.string())]))),
    ("metadata", pa.string()),  # JSON, keys sorted: they differ from source to source
]


_SCHEMAS: dict[type, pa.Schema] = {
    Group: pa.schema([("problem", pa.struct(_PROBLEM)), ("traces", pa.list_(_TRACE))]),
    Problem: pa.schema(_PROBLEM),
    Example: pa.schema(
        [(name, pa.string()) for name in ("problem_id", "trace_id", "prompt", "completion")]
        + [("weight", pa.float64()), ("spans", _SPANS)]
    ),
    Pair: pa.schema(
        [(name, pa.string()) for name in ("problem_id", "prompt", "chosen", "rejected", "chosen_id", "rejected_id")]
        + [("weight", pa.float64()), ("chosen_spans", _SPANS), ("rejected_spans", _SPANS)]
    ),
    Sampled: pa.schema(
        [
            ("problem_id", pa.string()),
            ("trace_id", pa.string()),
            ("sample_index", pa.int64()),
            ("prompt_ids", pa.list_(pa.int32())),
            ("token_ids", pa.list_(pa.int32())),
            ("logprobs", pa.list_(pa.float32())),
        ]
    ),
    Candidate: pa.schema(
        [(name, pa.string()) for name in ("id", "policy", "problem_id", "source", "chosen_id", "rejected_id")]
        + [(name, pa.string()) for name in ("chosen_author", "rejected_author")]
        + [(name, pa.int64()) for name in ("chosen_tokens", "rejected_tokens", "shared_tokens")]
        + [("reason", pa.string())]
    ),
    Ranked: pa.schema(
        [(name, pa.string()) for name in ("problem_id", "trace_id", "source", "value")] + [("score", pa.float64())]
    ),
    Dropped: pa.schema([(name, pa.string()) for name in ("id", "stage", "reason", "detail")]),
    Origin: pa.schema(
        [(n, pa.string()) for n in ("trace_id", "problem_id", "source_problem_id", "file", "row", "revision", "status")]
    ),
    Match: pa.schema(
        [(name, pa.string()) for name in ("problem_id", "matched", "action", "how")]
        + [("similarity", pa.float64())]
        + [(name, pa.string()) for name in ("statement", "matched_statement", "span")]
    ),
}


def to_row(record: Any) -> dict[str, Any]:
    """A record as a plain dict of JSON values, in the layout of its Parquet file."""
    if isinstance(record, Group):
        return {"problem": to_row(record.problem), "traces": [to_row(t) for t in record.traces]}
    if isinstance(record, Problem):
        images = [{"path": utf8(image.path), "sha256": utf8(image.sha256)} for image in record.images]
        return {**_fields(record), "images": images, "metadata": _json(record.metadata)}
    if isinstance(record, Trace):
        return {
            "id": record.id,
            "completion": utf8(record.completion),
            "author": utf8(record.author),
            "sampling": _json(record.sampling),
            "finish_reason": record.finish_reason,
            "num_tokens": record.num_tokens,
            **{field: named_rows(field, getattr(record, field)) for field in _NAMED},
        }
    if isinstance(record, Example | Pair):
        return {**_fields(record), **{name: _span_rows(getattr(record, name)) for name in _SPANNED[type(record)]}}
    return _fields(record)


_NAMED: dict[str, Callable[[Any], dict[str, Any]]] = {  # of a trace: what one value is stored as, beside its name
    "verdicts": lambda verdict: _fields(verdict),
    "scores": lambda value: {"value": float(value)},
    "spans": lambda spans: {"spans": _span_rows(spans)},
    "notes": lambda text: {"text": utf8(text)},
}


def named_rows(field: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A trace's `verdicts`, `scores`, `spans` or `notes` as they are stored: a list of items with a name."""
    row = _NAMED[field]
    return [{"name": utf8(name), **row(value)} for name, value in values.items()]


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(dict(values), sort_keys=True) if values else "{}"


_SPANNED = {Example: ("spans",), Pair: ("chosen_spans", "rejected_spans")}


def _span_rows(spans: Iterable[tuple[int, int, float]]) -> list[dict[str, Any]]:
    return [{"start": start, "end": end, "value": float(value)} for start, end, value in spans]


def _spans(rows: Iterable[Mapping[str, Any]] | None) -> tuple[Span, ...]:
    """The spans of stored rows, whose value is called `weight` in files of before."""
    return tuple(
        Span(row["start"], row["end"], row["value"] if "value" in row else row["weight"]) for row in rows or ()
    )


def _fields(record: Any) -> dict[str, Any]:
    """A flat record's fields, text made storable; `dataclasses.asdict` copies deeply and is ten times slower."""
    names, values = _GETTERS[type(record)]
    return {
        name: utf8(value) if isinstance(value, str) else value
        for name, value in zip(names, values(record), strict=True)
    }


def _getter(kind: type) -> tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]]:
    """The names of a record's fields, and what takes all of their values at once."""
    names = tuple(field.name for field in dataclasses.fields(kind))
    return names, attrgetter(*names)


_GETTERS = {kind: _getter(kind) for kind in (*_SCHEMAS, Verdict)}
_IN_COLUMNS = (Example, Pair, Candidate, Ranked, Dropped, Origin, Match)  # of text, numbers and spans alone


def to_table(kind: type, records: Sequence[Any], schema: pa.Schema) -> pa.Table:
    """The table of records of one kind, the same as of their rows; flat records go column by column, without a dict for each."""
    if kind not in _IN_COLUMNS:
        return pa.Table.from_pylist([to_row(record) for record in records], schema)
    columns = [_column([getattr(record, field.name) for record in records], field.type) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def _column(values: list[Any], kind: pa.DataType) -> pa.Array:
    if kind == _SPANS:
        values = [_span_rows(spans) if spans else [] for spans in values]
    try:
        return pa.array(values, kind)
    except UnicodeEncodeError:
        return pa.array([utf8(value) if isinstance(value, str) else value for value in values], kind)


def _of_json(text: str) -> Any:
    return {} if text == "{}" else json.loads(text)  # most are empty


_ORIGIN_OF_BEFORE = {"told_as": "source_problem_id", "fate": "status"}  # the columns' names in files of before


def from_row(kind: type, row: Mapping[str, Any]) -> Any:
    """The record of `kind` that `to_row` made this row from; a column that the row lacks is the field's default."""
    if kind is Group:
        return Group(from_row(Problem, row["problem"]), tuple(from_row(Trace, t) for t in row["traces"]))
    if kind is Problem:
        images = tuple(Image(**image) for image in row.get("images") or ())
        return Problem(**{**row, "images": images, "metadata": _of_json(row.get("metadata") or "{}")})
    if kind is Trace:
        values = {
            "sampling": _of_json(row["sampling"]),
            "verdicts": {v["name"]: from_row(Verdict, v) for v in row["verdicts"] or ()},
            "scores": {s["name"]: s["value"] for s in row["scores"] or ()},
            "spans": {s["name"]: _spans(s["spans"]) for s in row.get("spans") or ()},
            "notes": {n["name"]: n["text"] for n in row.get("notes") or ()},
        }
        return Trace(**{**row, **values})
    if kind is Verdict:
        fields = {k: v for k, v in row.items() if k != "name"}
        return Verdict(**{**fields, "outcome": Outcome(row["outcome"])})
    if kind is Dropped and "room" in row:  # the column's name in files of before
        return Dropped(row["id"], row["room"], row["reason"], row.get("detail") or "")
    if kind is Origin:
        return Origin(**{_ORIGIN_OF_BEFORE.get(name, name): value for name, value in row.items()})
    if kind in _SPANNED:
        return kind(**{**row, **{name: _spans(row.get(name)) for name in _SPANNED[kind]}})
    return kind(**row)
