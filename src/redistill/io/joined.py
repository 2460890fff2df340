"""Groups whose texts stand in another file: what a stage adds to them is written, and joined with the rest as it is read.

    added(before, after)    ->  the row without what stands before: ids, and the verdicts, scores, spans and notes that are new
    joined(before, own)     ->  the row `after` again
    join_rows(...)          ->  the rows of a file of additions, joined with those of its base in one pass over both

corpus writes texts; verify, score and select write groups that add to the file of the stage before (its `base`, named in the
Parquet file's own metadata, relative to it). A problem without a `source` and a trace without an `author` add to the base's of
the same id; those with one are whole, such as a trace that a scorer drew. Rows are dicts as `to_row` makes them; columns that
were not read are missing from both sides.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from redistill.errors import OperatorError
from redistill.io.schemas import named_rows, to_row
from redistill.records import Group, Problem, Trace

Row = dict[str, Any]

BASE, LEAVES_OUT = b"redistill.adds_to", b"redistill.leaves_out"  # in a file's metadata
TEXTS = ("problem.statement", "traces.list.element.completion")
_TRACE = "traces.list.element."
_KEYS = ("problem.id", "problem.source", f"{_TRACE}id", f"{_TRACE}author")  # who is who, and who is whole
_NAMED = ("verdicts", "scores", "spans", "notes")  # of a trace: lists of items with a name
_OF_TRACE = ("author", "sampling", "finish_reason")  # never changed by an addition; nor is the completion
_OF_PROBLEM = ("answer", "source", "source_row", "images")  # nor the statement


@dataclass(frozen=True, slots=True)
class Base:
    """The file that groups add to. leaves_out: a stage of the recipe's own may drop traces and problems of it; elsewhere each of
    its traces must be there."""

    path: Path
    leaves_out: bool = False

    def metadata(self, of: Path) -> dict[bytes, bytes]:
        """What the file `of` says of its base."""
        relative = os.path.relpath(self.path.resolve(), of.parent.resolve())
        return {BASE: relative.encode(), **({LEAVES_OUT: b"yes"} if self.leaves_out else {})}


def base_of(path: Path, metadata: Mapping[bytes, bytes] | None) -> Base | None:
    """The base that a file's metadata names; None for a file that stands by itself. OperatorError where it is gone."""
    if metadata is None or BASE not in metadata:
        return None
    base = Base(Path(os.path.normpath(path.parent.resolve() / metadata[BASE].decode())), LEAVES_OUT in metadata)
    if not base.path.is_file():
        raise OperatorError(
            f"{path} holds only what its stage added to {base.path}, which is missing; restore that file, or run the recipe again to rebuild it."
        )
    return base


def with_keys(columns: Sequence[str]) -> list[str]:
    """The columns that have to be read so that these can be joined."""
    names = [f"{_TRACE}{field}.list.element.name" for field in _NAMED if any(c.startswith(f"{_TRACE}{field}.") for c in columns)]  # fmt: skip
    return list(dict.fromkeys([*columns, *_KEYS, *names]))


# --- writing --------------------------------------------------------------------------------------------------------


def can_add(before: Sequence[Group], after: Sequence[Group]) -> bool:
    """Whether `after` can be written as an addition: its problems stand in the same order, and no trace comes twice."""
    order = iter(group.problem.id for group in before)
    return all(group.problem.id in order for group in after) and all(
        len({trace.id for trace in group.traces}) == len(group.traces) for group in after
    )


def added_rows(before: Iterable[Row], after: Iterable[Row]) -> Iterator[Row]:
    """What each row of `after` adds to the row of the same problem in `before`; both in one order."""
    rows = iter(before)
    for own in after:
        id = own["problem"]["id"]
        yield added(next(row for row in rows if row["problem"]["id"] == id), own)


def added(before: Row, after: Row) -> Row:
    """Only what `after` has beyond `before`; a problem or trace that no addition can make of it stays whole. A text is compared
    where `before` has it, else the id answers for it."""
    known = {trace["id"]: trace for trace in before["traces"]}
    traces = [_added_trace(known[t["id"]], t) if t["id"] in known else t for t in after["traces"]]
    return {"problem": _added_problem(before["problem"], after["problem"]), "traces": traces}


def _added_problem(before: Row, after: Row) -> Row:
    old, new = (json.loads(row.get("metadata") or "{}") for row in (before, after))
    typed = after["answer_type"] is not None or before.get("answer_type") is None
    if not (_same(before, after, ("statement", *_OF_PROBLEM)) and typed and old.keys() <= new.keys()):
        return after
    fresh = {name: value for name, value in new.items() if name not in old or old[name] != value}
    return {
        **dict.fromkeys(after),
        "id": after["id"],
        "answer_type": _if_new(before, after, "answer_type"),
        "metadata": json.dumps(fresh, sort_keys=True) if fresh else None,
    }


def _added_trace(before: Row, after: Row) -> Row:
    held = {field: _by_name(before.get(field)) for field in _NAMED}
    lost = any(held[field].keys() - _by_name(after[field]).keys() for field in _NAMED)
    counted = after["num_tokens"] is not None or before.get("num_tokens") is None
    if lost or not counted or not _same(before, after, ("completion", *_OF_TRACE)):
        return after
    fresh = {field: [item for item in after[field] if held[field].get(item["name"]) != item] for field in _NAMED}
    return {
        **dict.fromkeys(after),
        "id": after["id"],
        "num_tokens": _if_new(before, after, "num_tokens"),
        **{field: items or None for field, items in fresh.items()},
    }


def added_groups(before: Iterable[Group], after: Iterable[Group]) -> Iterator[Row]:
    """added_rows for groups in memory: what a stage has left as it was is the same object, and is not turned into a row."""
    groups = iter(before)
    for own in after:
        id = own.problem.id
        yield _added_group(next(group for group in groups if group.problem.id == id), own)


def _added_group(before: Group, after: Group) -> Row:
    known = {trace.id: trace for trace in before.traces}
    problem = (
        {**_NOTHING[Problem], "id": after.problem.id}
        if after.problem is before.problem
        else _added_problem(to_row(before.problem), to_row(after.problem))
    )
    traces = [_new_of_trace(known[trace.id], trace) if trace.id in known else to_row(trace) for trace in after.traces]
    return {"problem": problem, "traces": traces}


def _new_of_trace(before: Trace, after: Trace) -> Row:
    """_added_trace of their rows."""
    row = {**_NOTHING[Trace], "id": after.id}
    if after is before:
        return row
    counted = after.num_tokens is not None or before.num_tokens is None
    if not (counted and after.sampling is before.sampling and _same_text(before, after)):
        return _added_trace(to_row(before), to_row(after))
    for field in _NAMED:
        old, new = getattr(before, field), getattr(after, field)
        if new is old:
            continue
        if old.keys() - new.keys():
            return _added_trace(to_row(before), to_row(after))
        fresh = {name: v for name, v in new.items() if name not in old or not (v is old[name] or v == old[name])}
        row[field] = named_rows(field, fresh) or None
    row["num_tokens"] = None if after.num_tokens == before.num_tokens else after.num_tokens
    return row


def _same_text(before: Trace, after: Trace) -> bool:
    texts = (before.completion, before.author, before.finish_reason)
    return texts == (after.completion, after.author, after.finish_reason)


_NOTHING: dict[type, Row] = {kind: dict.fromkeys(field.name for field in fields(kind)) for kind in (Problem, Trace)}


def _same(before: Row, after: Row, fields: Iterable[str]) -> bool:
    return all(before[field] == after[field] for field in fields if field in before)


def _if_new(before: Row, after: Row, field: str) -> Any:
    return None if before.get(field) == after[field] else after[field]


def _by_name(items: Iterable[Row] | None) -> dict[str, Row]:
    return {item["name"]: item for item in items or ()}


# --- reading --------------------------------------------------------------------------------------------------------


def join_rows(path: Path, base: Base, own: Iterable[Row], before: Iterable[Row]) -> Iterator[Row]:
    """The rows of the file at `path`, joined with its base's. OperatorError where the two do not fit: a problem or trace that
    the base does not have, that is missing, or that comes twice."""
    rows = iter(before)
    for row in own:
        id = row["problem"]["id"]
        for old in rows:
            if old["problem"]["id"] == id:
                break
            if not base.leaves_out:
                raise _misfit(path, base, f"problem {old['problem']['id']} is missing or out of order")
        else:
            raise _misfit(path, base, f"problem {id} is not in the other file, or occurs twice")
        if wrong := _wrong_traces(old, row, base.leaves_out):
            raise _misfit(path, base, f"{wrong} (problem {id})")
        yield joined(old, row)
    if not base.leaves_out and (left := next(rows, None)) is not None:
        raise _misfit(path, base, f"problem {left['problem']['id']} is missing")


def _wrong_traces(before: Row, own: Row, leaves_out: bool) -> str | None:
    """What is wrong with the trace ids of a row, None where they fit."""
    known = {trace["id"] for trace in before["traces"]}
    seen = set[str]()
    for trace in own["traces"]:
        if trace["id"] in seen:
            return f"trace {trace['id']} occurs twice"
        if trace["author"] is None and trace["id"] not in known:
            return f"trace {trace['id']} is not in the other file"
        seen.add(trace["id"])
    missing = [trace["id"] for trace in before["traces"] if trace["id"] not in seen]
    return f"trace {missing[0]} is missing" if missing and not leaves_out else None


def _misfit(path: Path, base: Base, what: str) -> OperatorError:
    return OperatorError(
        f"{path} does not match {base.path}, to which it adds: {what}. Run the recipe again with --from {path.parents[1].name} to rebuild that stage."
    )


def joined(before: Row, own: Row) -> Row:
    """The whole row of what was added to `before`."""
    known = {trace["id"]: trace for trace in before["traces"]}
    traces = [t if t["author"] is not None else _joined_trace(known[t["id"]], t) for t in own["traces"]]
    problem = own["problem"]
    if problem["source"] is None:
        problem = _joined_problem(before["problem"], problem)
    return {"problem": problem, "traces": traces}


def _joined_problem(before: Row, own: Row) -> Row:
    problem = dict(before)
    if own.get("answer_type") is not None:
        problem["answer_type"] = own["answer_type"]
    if own.get("metadata") is not None:
        metadata = {**json.loads(before.get("metadata") or "{}"), **json.loads(own["metadata"])}
        problem["metadata"] = json.dumps(metadata, sort_keys=True)
    return problem


def _joined_trace(before: Row, own: Row) -> Row:
    trace = dict(before)
    if own.get("num_tokens") is not None:
        trace["num_tokens"] = own["num_tokens"]
    for field in _NAMED:
        if news := own.get(field):
            held = before.get(field)
            trace[field] = list({**_by_name(held), **_by_name(news)}.values()) if held else news
    return trace
