"""The score stage: one shard of verified Groups through one scorer, and the shards of all scorers joined.

    score_part(folder, scorer, part)          scorers/perplexity/marks/part-00000.parquet     what this scorer added
    join_part(folder, [marks, ...], part)     score/groups/part-00000.parquet                 the groups with all of it

Each scorer has a folder of its own, so one that is added, or whose options change, leaves the results of the others as they
are. All read the groups of verify, none reads another's scores. Marks are Groups of which only what is new is stored: a
trace that was there before has an empty completion and only its new scores, spans and notes; one that the scorer drew itself is whole.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from redistill.errors import OperatorError
from redistill.io.atomic import read_json
from redistill.io.joined import Base
from redistill.io.parquet import read_records
from redistill.io.shards import ShardInput
from redistill.io.stage_folder import Account, Shard, StageFolder
from redistill.records import Dropped, Group, Span, Trace
from redistill.score.marks import COST, reason_of, unscored


@dataclass(frozen=True, slots=True)
class BoundScorer:
    """A scorer with its options bound, and the name of what it writes (`into` of a recipe)."""

    name: str
    function: partial[Any]


def score_part(folder: StageFolder, scorer: BoundScorer, part: ShardInput) -> int:
    """One shard through a scorer, into its folder; returns its number of traces."""
    before: list[Group] = list(read_records(part.path))
    marks = marks_of(scorer.name, before, scorer.function(before))
    folder.finish_shard(part.index, marks_shard(scorer.name, before, marks))
    return sum(len(group.traces) for group in before)


def with_scores_of(scorer: BoundScorer, groups: Sequence[Group]) -> list[Group]:
    """Sampled answers with what a scorer finds of them; the same text may have been sampled twice. A score that is not finite is
    left out. OperatorError for a scorer that loses or changes what it was given, or adds traces."""
    results = scorer.function(groups)
    ids = [[(group.problem.id, trace.id) for trace in group.traces] for group in groups]
    if [[(group.problem.id, trace.id) for trace in group.traces] for group in results] != ids:
        raise OperatorError(
            f"score ({scorer.name}): a scorer of answers must return the groups and traces it was given."
        )
    scored = []
    for before, after in zip(groups, results, strict=True):
        traces = []
        for old, new in zip(before.traces, after.traces, strict=True):
            fresh = {name: value for name, value in new.scores.items() if math.isfinite(value)}
            traces.append(replace(old, scores={**old.scores, **fresh}, spans=new.spans, notes=new.notes))
        scored.append(replace(before, traces=tuple(traces)))
    return scored


def marks_of(name: str, before: Sequence[Group], after: Sequence[Group]) -> list[Group]:
    """What the scorer added to each group. OperatorError for one that loses or changes what it was given.

    A score or span value that is not finite counts as not scored (`not_finite`); so does a trace of which a scorer says nothing
    at all (`no_score`).
    """
    if [group.problem.id for group in after] != [group.problem.id for group in before]:
        raise OperatorError(f"score ({name}): a scorer must return the groups it was given, in the same order.")
    return [_marks(name, one, other) for one, other in zip(before, after, strict=True)]


def _marks(name: str, before: Group, after: Group) -> Group:
    known = {trace.id: trace for trace in before.traces}
    by_id = {trace.id: trace for trace in after.traces}
    lost = [id for id in known if id not in by_id]
    if lost:
        raise OperatorError(
            f"score ({name}): trace {lost[0]} is missing; a scorer must not drop traces (`select` does)."
        )
    old = [_new_of(name, trace, by_id[id]) for id, trace in known.items()]
    drawn = [trace for id, trace in by_id.items() if id not in known]
    metadata = {k: v for k, v in after.problem.metadata.items() if before.problem.metadata.get(k) != v}
    return Group(replace(before.problem, statement="", metadata=metadata), (*old, *drawn))


def _new_of(name: str, before: Trace, after: Trace) -> Trace:
    """Only what is new on a trace, under its id."""
    if replace(after, scores=before.scores, spans=before.spans, notes=before.notes) != before:
        raise OperatorError(
            f"score ({name}): trace {before.id} was changed; a scorer may only add scores, spans and notes."
        )
    scores, spans, notes = (_news(getattr(before, k), getattr(after, k)) for k in ("scores", "spans", "notes"))
    end = len(before.completion) + 1  # the end-of-turn token is the last character
    for label, parts in spans.items():
        for span in parts:
            if not 0 <= span.start < span.end <= end:
                raise OperatorError(
                    f"score ({name}): a span of {label} on trace {before.id} does not fit its text: {span}."
                )
    infinite = {key for key, value in scores.items() if not math.isfinite(value)}
    infinite |= {key for key, parts in spans.items() if not all(math.isfinite(span.value) for span in parts)}
    scores = {key: value for key, value in scores.items() if key not in infinite}
    spans = {key: parts for key, parts in spans.items() if key not in infinite}
    new = Trace(before.id, "", scores=scores, spans=spans, notes=notes)
    if not (scores or spans or notes):
        return unscored(new, name, "not_finite" if infinite else "no_score")
    return new


def _news(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in after.items() if key not in before or before[key] != value}


def marks_shard(name: str, before: Sequence[Group], marks: Sequence[Group]) -> Shard:
    """The shard of a scorer's marks: kept are the traces that have a score, dropped by reason those that have none. Tallies: `drawn`
    traces, and the `cost` that the scorer left on problems."""
    account, reasons = Account("trace"), list[Dropped]()
    drawn, cost = 0, Counter[str]()
    for old, new in zip(before, marks, strict=True):
        known = {trace.id for trace in old.traces}
        cost.update(new.problem.metadata.get(f"{name}{COST}", {}))
        for trace in new.traces:
            if trace.id not in known:
                drawn += 1
            elif reason := reason_of(trace, name):
                account.drop(reason)
                reasons.append(Dropped(trace.id, f"score/{name}", reason))
            else:
                account.keep()
    tallies = {"drawn": Counter({name: drawn} if drawn else {}), "cost": cost}
    return Shard({"marks": (Group, marks)}, {f"scored:{name}": account}, reasons, tallies)


def join_part(folder: StageFolder, scorers: Mapping[str, StageFolder], part: ShardInput) -> int:
    """One shard of the groups with what every scorer added to it; returns its number of traces."""
    before: list[Group] = list(read_records(part.path))
    groups = before
    accounts, tallies = {"traces": Account("trace")}, {"drawn": Counter[str]()}
    for marks in scorers.values():
        path = marks.folder / "marks" / f"part-{part.index:05d}.parquet"
        groups = [joined(group, new) for group, new in zip(groups, read_records(path), strict=True)]
        marker = read_json(marks.marker(part.index))
        accounts |= {name: Account.from_json(account) for name, account in marker["accounts"].items()}
        tallies["drawn"].update(marker["tallies"].get("drawn", {}))
    for _trace in (trace for group in groups for trace in group.traces):
        accounts["traces"].keep()
    shard = Shard({"groups": (Group, groups)}, accounts, (), tallies)
    folder.finish_shard(part.index, shard, base=Base(part.path), before=before)
    return sum(len(group.traces) for group in groups)


def marks_files(scorers: Iterable[StageFolder], part: ShardInput) -> Iterator[Path]:
    """What join_part reads beside the groups: the marks of this shard, and their done-markers."""
    for marks in scorers:
        yield from (marks.folder / "marks" / f"part-{part.index:05d}.parquet", marks.marker(part.index))


def joined(group: Group, marks: Group) -> Group:
    """A group with a scorer's marks: new scores, spans and notes on its traces, and behind them the traces that it drew."""
    assert group.problem.id == marks.problem.id, f"marks of {marks.problem.id} on {group.problem.id}"
    new = {trace.id: trace for trace in marks.traces}
    known = {trace.id for trace in group.traces}
    traces = [_with_marks(trace, new[trace.id]) if trace.id in new else trace for trace in group.traces]
    drawn = [trace for trace in marks.traces if trace.id not in known]
    metadata = {**group.problem.metadata, **marks.problem.metadata}
    return Group(replace(group.problem, metadata=metadata), (*traces, *drawn))


def _with_marks(trace: Trace, new: Trace) -> Trace:
    spans: dict[str, tuple[Span, ...]] = {**trace.spans, **new.spans}
    return replace(trace, scores={**trace.scores, **new.scores}, spans=spans, notes={**trace.notes, **new.notes})


def marks_folder(run: Path, name: str) -> Path:
    """Where the marks of a scorer lie."""
    return run / "scorers" / name
