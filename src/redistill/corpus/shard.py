"""One folder of the shuffle -> one shard: groups merged and deduplicated, what was dropped, and where every trace was read.

    merge_shard(shuffle / "00003", admitted)  ->  Shard(groups, origins, merges, leaks; accounts rows, problems, traces)

Rows come in the order of the sources; those of a problem that was worded differently come after those of its leader. A
row is dropped whole, with all its traces, or kept; a trace that comes twice is kept once, with the labels of both.
"""

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from redistill.corpus import relate
from redistill.corpus.sources.files import revision_of
from redistill.io.atomic import read_json
from redistill.io.schemas import from_row
from redistill.io.stage_folder import Account, Shard
from redistill.records import Dropped, Group, Match, Origin, Outcome, Problem, Trace, Verdict, content_id
from redistill.text.statements import answer_key, content, normal, similarity


def merge_shard(folder: Path, admitted: Callable[[str], bool]) -> Shard:
    """The shard of one folder of the shuffle, its groups sorted by problem id. admitted: which problems are kept at all."""
    related, leaks = read_json(folder / "relations.json"), read_json(folder / "leaks.json")
    ledger = _Ledger()
    merged: dict[str, tuple[Problem, dict[str, Trace]]] = {}
    joining: list[tuple[str, Group, dict[str, Any]]] = []
    ids: dict[str, str] = {}  # what became of each problem that these rows tell
    for line in _read(folder):
        here = not line.pop("moved")
        if line["id"] in related["away"] and here:
            ids[line["id"]] = "same_problem"
            continue
        for trace_id, reason, detail in line["dropped"]:
            ledger.drop_trace(trace_id, reason, line, detail)
        if line["reason"] == "beyond_max_problems":
            ids[line["id"]] = line["reason"]
        if line["group"] is None:
            ledger.drop_row(line, line["reason"], line["detail"])
            continue
        group: Group = from_row(Group, line["group"])
        if not admitted(line["id"]):
            ids[line["id"]] = "beyond_max_problems"
            ledger.drop_all(line, group, "beyond_max_problems")
        elif leaks.get(line["id"], {}).get("action") == "dropped":
            ids[line["id"]] = "in_benchmark"
            ledger.drop_all(line, group, "in_benchmark", _leak_detail(leaks[line["id"]]))
        elif line["id"] in related["into"]:
            if here:
                ids[line["id"]] = "same_problem"
            joining.append((line["id"], group, line))
        else:
            ids[line["id"]] = "kept"
            _join(merged, line["id"], group, line, ledger)
    statements: dict[str, str] = {}
    for problem_id, group, line in sorted(joining, key=lambda item: item[0]):  # after the rows of their leader
        statements.setdefault(problem_id, group.problem.statement)
        _join(merged, related["into"][problem_id], group, line, ledger)
    for status in ids.values():
        ledger.problems.keep() if status == "kept" else ledger.problems.drop(status)

    groups = [Group(problem, tuple(traces.values())) for _, (problem, traces) in sorted(merged.items())]
    matches = [
        _match(problem_id, related["into"][problem_id], statement, merged)
        for problem_id, statement in statements.items()
    ]
    matches += [Match(one, other, "listed", "alike", *rest) for one, other, *rest in related["alike"]]
    leak_matches = [_leak_match(problem_id, leak) for problem_id, leak in sorted(leaks.items())]
    tallies: dict[str, Counter[str]] = {name: Counter() for name in ("traces_by_author", "traces_by_source", "labels")}
    tallies["matches"] = Counter(f"{match.action}={match.how}" for match in matches)
    tallies["leaks"] = Counter(f"{match.matched.partition(' ')[0]}={match.how}" for match in leak_matches)
    for group in groups:
        tallies["traces_by_source"][group.problem.source] += len(group.traces)
        for trace in group.traces:
            tallies["traces_by_author"][trace.author] += 1
            tallies["labels"].update(f"{name}={verdict.outcome}" for name, verdict in trace.verdicts.items())
    streams: dict[str, tuple[type, Iterable[Any]]] = {
        "groups": (Group, groups),
        "origins": (Origin, sorted(ledger.origins, key=lambda o: (o.trace_id, o.file, o.row))),
    }
    if matches:
        streams["merges"] = (Match, sorted(matches, key=lambda match: (match.matched, match.problem_id)))
    if leak_matches:
        streams["leaks"] = (Match, leak_matches)
    accounts = {"rows": ledger.rows, "problems": ledger.problems, "traces": ledger.traces}
    return Shard(streams, accounts, sorted(ledger.dropped, key=lambda record: (record.id, record.reason)), tallies)


class _Ledger:
    """What became of every row, problem and trace of a shard, and where each trace was read."""

    def __init__(self) -> None:
        self.rows, self.problems, self.traces = Account("row"), Account("problem"), Account("trace")
        self.dropped: list[Dropped] = []
        self.origins: list[Origin] = []

    def drop_row(self, line: dict[str, Any], reason: str, detail: str = "") -> None:
        self.rows.drop(reason)
        self.dropped.append(Dropped(line["row"], "corpus", reason, detail))

    def drop_trace(self, id: str, reason: str, line: dict[str, Any], detail: str = "", problem_id: str = "") -> None:
        self.traces.drop(reason)
        self.dropped.append(Dropped(id, "corpus", reason, detail))
        self.note(id, problem_id or line["id"], line, reason)

    def drop_all(self, line: dict[str, Any], group: Group, reason: str, detail: str = "") -> None:
        self.drop_row(line, reason, detail)
        for trace in group.traces:
            self.drop_trace(trace.id, reason, line, detail)

    def keep_trace(self, id: str, problem_id: str, line: dict[str, Any]) -> None:
        self.traces.keep()
        self.note(id, problem_id, line, "kept")

    def note(self, trace_id: str, problem_id: str, line: dict[str, Any], status: str) -> None:
        path = line["file"]
        self.origins.append(Origin(trace_id, problem_id, line["id"], path, line["row"], revision_of(path), status))


def _join(
    merged: dict[str, tuple[Problem, dict[str, Trace]]],
    problem_id: str,
    group: Group,
    line: dict[str, Any],
    ledger: _Ledger,
) -> None:
    """Add a row's traces to the problem that it tells, or drop the row where its gold answer contradicts an earlier one."""
    problem, traces = merged.get(problem_id, (group.problem, {}))
    if _conflict(problem.answer, group.problem.answer):
        ledger.drop_all(line, group, "conflicting_answer")
        return
    ledger.rows.keep()
    for trace in group.traces:
        if problem_id != group.problem.id:  # an id is made of the problem's and the text
            trace = dataclasses.replace(trace, id=content_id("t", problem_id, trace.completion))
        if trace.id in traces:
            traces[trace.id] = _unite(traces[trace.id], trace)
            ledger.drop_trace(trace.id, "duplicate_trace", line, problem_id=problem_id)
        else:
            traces[trace.id] = trace
            ledger.keep_trace(trace.id, problem_id, line)
    merged[problem_id] = (_fill(problem, group.problem), traces)


def _match(problem_id: str, leader: str, statement: str, merged: dict[str, tuple[Problem, dict[str, Trace]]]) -> Match:
    other = merged[leader][0].statement
    same = normal(statement) == normal(other)
    how = "spelling" if same else "words" if content(normal(statement)) == content(normal(other)) else "alike"
    share = 1.0 if same else round(similarity(statement, other), 4)
    return Match(problem_id, leader, "merged", how, share, statement, other)


def _leak_match(problem_id: str, leak: dict[str, Any]) -> Match:
    return Match(
        problem_id,
        f"{leak['benchmark']} {leak['row']}",
        leak["action"],
        leak["how"],
        round(leak["share"], 4),
        leak["own_statement"],
        leak["statement"],
        leak["span"],
    )


def _leak_detail(leak: dict[str, Any]) -> str:
    return f"{leak['benchmark']} {leak['row']} {leak['how']} {leak['share']:.2f}"


def _read(folder: Path) -> Iterator[dict[str, Any]]:
    """The rows of one shard in the order of the sources, then those that were moved here; none where it has none."""
    for path in sorted(folder.glob("*.zst")):
        moved = path.name.startswith("moved")
        for line in relate.lines(path):
            yield {**json.loads(line), "moved": moved}


def _conflict(first: str | None, later: str | None) -> bool:
    """Two gold answers that differ; the same value in another plain notation does not, and no answer contradicts none."""
    return first is not None and later is not None and answer_key(first) != answer_key(later)


def _fill(problem: Problem, later: Problem) -> Problem:
    """The first row's problem, with what it did not know and a later row did; of metadata, name by name."""
    if problem.answer is not None and problem.answer_type is not None and not later.metadata:
        return problem
    return dataclasses.replace(
        problem,
        answer=problem.answer or later.answer,
        answer_type=problem.answer_type or later.answer_type,
        metadata=_first_of(problem.metadata, later.metadata),
    )


def _unite(first: Trace, again: Trace) -> Trace:
    """One trace of two with the same text: the labels of both, `disagree` where they contradict each other; the scores,
    spans and notes of both, of one name those of the first."""
    verdicts = dict(first.verdicts)
    for name, verdict in again.verdicts.items():
        if verdicts.setdefault(name, verdict).outcome != verdict.outcome:
            verdicts[name] = Verdict(Outcome.disagree, reason="labels_disagree", verifier=verdict.verifier)
    return dataclasses.replace(
        first,
        verdicts=verdicts,
        scores={**again.scores, **first.scores},
        spans=_first_of(first.spans, again.spans),
        notes=_first_of(first.notes, again.notes),
        finish_reason=first.finish_reason or again.finish_reason,
        num_tokens=first.num_tokens if first.num_tokens is not None else again.num_tokens,
    )


def _first_of(first: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """The values of both by name, in order; under one name the first."""
    return {**first, **{name: value for name, value in later.items() if name not in first}}
