"""Records <-> rows: the Arrow schema of every record, flat where TRL and `datasets` read the file.

to_row(trace)            ->  {"id": "t1f0...", "completion": "...", "verdicts": [...], ...}
from_row(Trace, row)     ->  the trace again
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from redistill.records import Candidate, Dropped, Example, Group, Match, Origin, Outcome, Pair, Problem, Trace, Verdict

_VERDICT = pa.struct(
    [
        ("name", pa.string()),
        ("outcome", pa.string()),
        ("extracted", pa.string()),
        ("reason", pa.string()),
        ("verifier", pa.string()),
        ("verifier_version", pa.string()),
        ("seconds", pa.float64()),
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
    ]
)


_SPANS = pa.list_(pa.struct([("start", pa.int64()), ("end", pa.int64()), ("weight", pa.float64())]))


_PROBLEM = [(name, pa.string()) for name in ("id", "statement", "answer", "answer_type", "source", "source_row")]


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
    Candidate: pa.schema(
        [(name, pa.string()) for name in ("id", "policy", "problem_id", "source", "chosen_id", "rejected_id")]
        + [(name, pa.string()) for name in ("chosen_author", "rejected_author")]
        + [(name, pa.int64()) for name in ("chosen_tokens", "rejected_tokens", "shared_tokens")]
        + [("reason", pa.string())]
    ),
    Dropped: pa.schema([(name, pa.string()) for name in ("id", "room", "reason", "detail")]),
    Origin: pa.schema(
        [(n, pa.string()) for n in ("trace_id", "problem_id", "told_as", "file", "row", "revision", "fate")]
    ),
    Match: pa.schema(
        [(name, pa.string()) for name in ("problem_id", "matched", "action", "how")]
        + [("similarity", pa.float64())]
        + [(name, pa.string()) for name in ("statement", "matched_statement", "span")]
    ),
}


def _clean(text: str) -> str:
    """Parquet text is UTF-8: lone surrogates from broken JSON become "?"."""
    return str(text) if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def to_row(record: Any) -> dict[str, Any]:
    """A record as a plain dict of JSON values, in the layout of its Parquet file."""
    if isinstance(record, Group):
        return {"problem": to_row(record.problem), "traces": [to_row(t) for t in record.traces]}
    if isinstance(record, Trace):
        verdicts = [{"name": _clean(name), **_fields(v)} for name, v in record.verdicts.items()]
        return {
            "id": record.id,
            "completion": _clean(record.completion),
            "author": _clean(record.author),
            "sampling": json.dumps(dict(record.sampling), sort_keys=True),
            "finish_reason": record.finish_reason,
            "num_tokens": record.num_tokens,
            "verdicts": verdicts,
            "scores": [{"name": _clean(name), "value": float(value)} for name, value in record.scores.items()],
        }
    spans = {
        name: [dict(zip(_SPAN, span)) for span in getattr(record, name)] for name in _SPANNED.get(type(record), ())
    }
    return {**_fields(record), **spans}


_SPANNED: dict[type, tuple[str, ...]] = {Example: ("spans",), Pair: ("chosen_spans", "rejected_spans")}
_SPAN = ("start", "end", "weight")


def _fields(record: Any) -> dict[str, Any]:
    """A flat record's fields, text made storable; `dataclasses.asdict` copies deeply and is ten times slower."""
    values = ((f.name, getattr(record, f.name)) for f in dataclasses.fields(record))
    return {name: _clean(value) if isinstance(value, str) else value for name, value in values}


def from_row(kind: type, row: Mapping[str, Any]) -> Any:
    """The record of `kind` that `to_row` made this row from."""
    if kind is Group:
        return Group(Problem(**row["problem"]), tuple(from_row(Trace, t) for t in row["traces"]))
    if kind is Trace:
        verdicts = {v["name"]: from_row(Verdict, v) for v in row["verdicts"] or ()}
        scores = {s["name"]: s["value"] for s in row["scores"] or ()}
        return Trace(**{**row, "sampling": json.loads(row["sampling"]), "verdicts": verdicts, "scores": scores})
    if kind is Verdict:
        fields = {k: v for k, v in row.items() if k != "name"}
        return Verdict(**{**fields, "outcome": Outcome(row["outcome"])})
    spans = {
        name: tuple(tuple(span[key] for key in _SPAN) for span in row.get(name) or ())
        for name in _SPANNED.get(kind, ())
    }
    return kind(**{**row, **spans})
