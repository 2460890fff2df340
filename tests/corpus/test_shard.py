"""One folder of the shuffle becomes one shard: what becomes of every row, problem and trace, by hand."""

import json
from pathlib import Path
from typing import Any

from redistill.corpus import relate
from redistill.corpus.shard import merge_shard
from redistill.io.schemas import to_row
from redistill.io.stage_folder import Shard
from redistill.records import Group, Outcome, Trace, Verdict, content_id, make_problem, make_trace

LEAK = {
    "benchmark": "exam", "row": "exam.jsonl:1", "how": "same", "share": 1.0, "statement": "2+2?", "span": "2 + 2", "own_statement": "2+2?"
}  # fmt: skip


def group(statement: str, *traces: str | Trace, answer: str | None = None, kind: str | None = None) -> Group:
    problem = make_problem(statement, answer=answer, answer_type=kind, source="made")
    return Group(problem, tuple(make_trace(problem.id, t) if isinstance(t, str) else t for t in traces))


def id_of(statement: str) -> str:
    return make_problem(statement).id


def line(row: int, group: Group | None, id: str = "", reason: str | None = None, dropped: Any = ()) -> dict[str, Any]:
    """A row of the shuffle as the first pass writes it."""
    id = id or group.problem.id if group else id
    found = None if group is None else to_row(group)
    return {
        "id": id,
        "file": "",
        "row": f"x:{row}",
        "reason": reason,
        "detail": "",
        "dropped": list(dropped),
        "group": found,
    }


def merged(
    folder: Path,
    here: list[dict[str, Any]],
    moved: list[dict[str, Any]] = [],  # noqa: B006 - read only
    into: dict[str, str] | None = None,
    away: dict[str, int] | None = None,
    leaks: dict[str, Any] | None = None,
    admitted: Any = lambda id: True,
) -> Shard:
    """The shard of these rows; into, away: who goes into whom, as relate.py has found; by statements."""
    related = {
        "into": {id_of(one): id_of(other) for one, other in (into or {}).items()},
        "away": {id_of(one): shard for one, shard in (away or {}).items()},
        "alike": [],
    }
    (folder / "relations.json").write_text(json.dumps(related))
    (folder / "leaks.json").write_text(json.dumps({id_of(one): leak for one, leak in (leaks or {}).items()}))
    for name, rows in (("00000", here), ("moved-00007", moved)):
        (folder / f"{name}.zst").write_bytes(relate.frame(json.dumps(row).encode() + b"\n" for row in rows))
    return merge_shard(folder, admitted)


def records(shard: Shard, stream: str) -> list[Any]:
    return list(shard.records[stream][1])


def groups(shard: Shard) -> dict[str, Group]:
    return {g.problem.statement: g for g in records(shard, "groups")}


def account(shard: Shard, name: str) -> tuple[int, dict[str, int]]:
    """(kept, {reason: dropped})."""
    return shard.accounts[name].kept, dict(shard.accounts[name].dropped)


def texts(found: Group) -> list[str]:
    return [trace.completion for trace in found.traces]


# --- one problem duplicated -------------------------------------------------------------------------------------------


def test_a_follower_of_this_shard_brings_its_traces_after_those_of_its_leader(tmp_path: Path) -> None:
    rows = [line(0, group("Find 2+2", "b", "same")), line(1, group("2+2?", "a", "same", answer="4"))]
    shard = merged(tmp_path, rows, into={"Find 2+2": "2+2?"})
    (found,) = records(shard, "groups")
    assert (found.problem.statement, found.problem.answer) == ("2+2?", "4")
    assert texts(found) == ["a", "same", "b"]  # `same` is there once
    assert [t.id for t in found.traces] == [content_id("t", id_of("2+2?"), text) for text in texts(found)]
    assert account(shard, "problems") == (1, {"same_problem": 1})
    assert account(shard, "rows") == (2, {})
    assert account(shard, "traces") == (3, {"duplicate_trace": 1})
    fates = {(o.row, o.problem_id, o.source_problem_id, o.status) for o in records(shard, "origins") if o.row == "x:0"}
    assert fates == {("x:0", id_of("2+2?"), id_of("Find 2+2"), fate) for fate in ("kept", "duplicate_trace")}


def test_followers_come_in_the_order_of_their_ids_whatever_the_order_of_the_rows(tmp_path: Path) -> None:
    tellings = [f"Find 2+2{' now' * n}" for n in range(4)]
    into = dict.fromkeys(tellings, "2+2?")
    found = []
    for name, order in (("a", tellings), ("b", tellings[::-1])):
        (tmp_path / name).mkdir()
        rows = [*(line(n, group(text, text)) for n, text in enumerate(order)), line(9, group("2+2?", "first"))]
        found += [texts(g) for g in records(merged(tmp_path / name, rows, into=into), "groups")]
    assert found[0] == found[1] == ["first", *sorted(tellings, key=id_of)]


def test_a_problem_that_goes_to_another_shard_is_counted_here_and_its_rows_there(tmp_path: Path) -> None:
    for name in ("from", "to"):
        (tmp_path / name).mkdir()
    follower = line(0, group("Find 2+2", "b"), dropped=[("t1", "empty_completion", "")])
    left = merged(tmp_path / "from", [follower], away={"Find 2+2": 3})
    assert records(left, "groups") == [] and account(left, "problems") == (0, {"same_problem": 1})
    assert account(left, "rows") == account(left, "traces") == (0, {}) and records(left, "origins") == []
    # the same id is among the `into` of the leader's shard, which must not count the problem again
    met = merged(tmp_path / "to", [line(1, group("2+2?", "a"))], moved=[follower], into={"Find 2+2": "2+2?"})
    assert texts(groups(met)["2+2?"]) == ["a", "b"] and account(met, "problems") == (1, {})
    assert account(met, "rows") == (2, {}) and account(met, "traces") == (2, {"empty_completion": 1})


def test_a_merge_says_how_alike_the_two_are(tmp_path: Path) -> None:
    followers = {"$2+2$?": "spelling", "Find the value of 2+2?": "words", "Ada says 2+2?": "alike"}
    rows = [line(n, group(text, text)) for n, text in enumerate(["2+2?", *followers])]
    found = records(merged(tmp_path, rows, into=dict.fromkeys(followers, "2+2?")), "merges")
    assert {m.statement: m.how for m in found} == followers
    share = {m.statement: m.similarity for m in found}
    assert share["$2+2$?"] == 1.0
    # both hold `2 +` and `+ 2`; the other also `find the`, `the value`, `value of` and `of 2`: 2 of 6
    assert share["Find the value of 2+2?"] == 0.3333
    assert {m.action for m in found} == {"merged"} and {m.matched for m in found} == {id_of("2+2?")}


# --- gold answers -----------------------------------------------------------------------------------------------------


def test_the_first_gold_stays_and_rows_that_contradict_it_are_dropped_whole(tmp_path: Path) -> None:
    rows = [
        line(0, group("2+2?", "a")),
        line(1, group("2+2?", "b", answer="4")),
        line(2, group("2+2?", "c", "d", answer="5")),
        line(3, group("2+2?", "e", answer="4.0")),
        line(4, group("2+2?", "f")),
    ]
    shard = merged(tmp_path, rows)
    found = groups(shard)["2+2?"]
    assert (found.problem.answer, texts(found)) == ("4", ["a", "b", "e", "f"])
    assert account(shard, "rows") == (4, {"conflicting_answer": 1})
    assert account(shard, "traces") == (4, {"conflicting_answer": 2})


def test_a_follower_whose_gold_contradicts_its_leaders_is_dropped_too(tmp_path: Path) -> None:
    rows = [line(0, group("Find 2+2", "b", answer="5")), line(1, group("2+2?", "a", answer="4"))]
    shard = merged(tmp_path, rows, into={"Find 2+2": "2+2?"})
    assert texts(groups(shard)["2+2?"]) == ["a"] and account(shard, "rows") == (1, {"conflicting_answer": 1})


def test_what_the_first_row_does_not_know_a_later_one_fills_in(tmp_path: Path) -> None:
    rows = [line(0, group("2+2?", "a", answer="4")), line(1, group("2+2?", "b", answer="4.0", kind="number"))]
    problem = groups(merged(tmp_path, rows))["2+2?"].problem
    assert (problem.answer, problem.answer_type) == ("4", "number")


# --- traces that come twice -------------------------------------------------------------------------------------------


def test_a_trace_that_comes_twice_has_what_either_knew_and_the_first_decides(tmp_path: Path) -> None:
    id = id_of("2+2?")
    right, wrong, slow = Verdict(Outcome.correct), Verdict(Outcome.incorrect, verifier="v"), Verdict(Outcome.timeout)
    first = make_trace(id, "four", verdicts={"a": right, "b": right}, scores={"s": 0.5})
    again = make_trace(
        id, "four", verdicts={"a": right, "b": wrong, "c": slow}, scores={"s": 0.9, "z": 1.0},
        finish_reason="length", num_tokens=0,
    )  # fmt: skip
    third = make_trace(id, "four", finish_reason="stop", num_tokens=7)
    shard = merged(tmp_path, [line(n, group("2+2?", trace)) for n, trace in enumerate((first, again, third))])
    (united,) = groups(shard)["2+2?"].traces
    assert {name: v.outcome for name, v in united.verdicts.items()} == {"a": "correct", "b": "disagree", "c": "timeout"}
    assert (united.verdicts["b"].reason, united.verdicts["b"].verifier) == ("labels_disagree", "v")
    assert united.scores == {"s": 0.5, "z": 1.0}
    assert (united.finish_reason, united.num_tokens) == ("length", 0)  # no tokens is a count, and known
    assert account(shard, "traces") == (1, {"duplicate_trace": 2})


# --- what does not stay -----------------------------------------------------------------------------------------------


def test_beyond_the_limit_goes_the_problem_with_its_rows_and_traces(tmp_path: Path) -> None:
    late = id_of("5+5?")  # decided while reading: its text was not carried further
    rows = [
        line(0, group("2+2?", "a")),
        line(1, group("3+3?", "b", "c")),
        line(2, None, late, "beyond_max_problems", [("t1", "beyond_max_problems", "")]),
    ]
    shard = merged(tmp_path, rows, admitted=lambda id: id == id_of("2+2?"))
    assert list(groups(shard)) == ["2+2?"]
    assert account(shard, "problems") == (1, {"beyond_max_problems": 2})
    assert account(shard, "rows") == (1, {"beyond_max_problems": 2})
    assert account(shard, "traces") == (1, {"beyond_max_problems": 3})


def test_a_row_without_traces_is_no_problem(tmp_path: Path) -> None:
    rows = [
        line(0, None, id_of("3+3?"), "no_generations", [("t1", "empty_completion", "")]),
        line(1, group("2+2?", "a")),
    ]
    shard = merged(tmp_path, rows)
    assert account(shard, "problems") == (1, {})
    assert account(shard, "rows") == (1, {"no_generations": 1})
    assert account(shard, "traces") == (1, {"empty_completion": 1})


def test_a_leak_is_dropped_or_only_listed_as_its_action_says(tmp_path: Path) -> None:
    for action, kept in (("dropped", ["3+3?"]), ("listed", ["2+2?", "3+3?"])):
        (tmp_path / action).mkdir()
        rows = [line(0, group("2+2?", "a")), line(1, group("3+3?", "b"))]
        shard = merged(tmp_path / action, rows, leaks={"2+2?": {**LEAK, "action": action}})
        assert sorted(groups(shard)) == kept
        reasons = {"in_benchmark": 1} if action == "dropped" else {}
        assert all(account(shard, name) == (len(kept), reasons) for name in ("rows", "problems", "traces"))
        (leak,) = records(shard, "leaks")
        assert (leak.action, leak.matched, leak.problem_id) == (action, "exam exam.jsonl:1", id_of("2+2?"))
        said = {d.id: d.detail for d in shard.dropped}
        assert said.get("x:0") == ("exam exam.jsonl:1 same 1.00" if action == "dropped" else None)


def test_problems_come_in_the_order_of_their_ids(tmp_path: Path) -> None:
    rows = [line(n, group(f"{n}+1?", "a")) for n in range(9)]
    found = [g.problem.id for g in records(merged(tmp_path, rows), "groups")]
    assert found == sorted(found) and len(found) == 9


def test_what_was_moved_here_comes_after_the_rows_of_the_shard(tmp_path: Path) -> None:
    shard = merged(tmp_path, [line(0, group("2+2?", "z"))], moved=[line(1, group("2+2?", "a"))])
    assert texts(groups(shard)["2+2?"]) == ["z", "a"]
