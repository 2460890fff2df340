"""A made corpus with planted, labelled defects: what becomes of each, in any order, and of what was kept, read again."""

import dataclasses
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from redistill.corpus import collect
from redistill.corpus.decontaminate import Benchmarks
from redistill.io.stage_folder import StageFolder
from redistill.records import Group, make_problem, make_trace

THINGS = ["marbles", "stamps", "pears", "lanterns", "ribbons", "tickets", "candles", "kettles", "violins", "pebbles"]
PEOPLE = ["Ada", "Boris", "Chen", "Dara", "Edgar", "Farah", "Gunnar", "Hiroko", "Ines", "Jonas"]
PLACES = ["harbour", "library", "orchard", "station", "market", "museum", "bakery", "stadium", "chapel", "garage"]


def tell(
    i: int, *, number: int = 0, ask: str = "Find the number of", verb: str = "carries", parity: str = "even"
) -> str:
    """Problem i of the made corpus; the keywords plant a defect."""
    one, two = 13 + 7 * i + number, 5 + 3 * i
    who, thing, place = PEOPLE[i % 10], THINGS[(3 * i) % 10], PLACES[(7 * i + i // 10) % 10]
    return (
        f"{who} {verb} ${one}$ {thing} to the {place} and, on the way, {two} of them are lost. {ask} {thing} that "
        f"{who} has at the {place} if an {parity} number of them is sold there, at $\\frac{{1}}{{{i + 2}}}$ of a euro each."
    )


def other_spelling(text: str) -> str:
    """The same problem as another data set would store it."""
    text = text.replace("\\frac{1}", "\\dfrac 1 ").replace("$", "").replace(", on the way,", "\u00a0on the way ,")
    return f"Question: {text}  \n\nPlease reason step by step, and put your final answer within \\boxed{{}}."


# defect -> (number of problems, the rows that problem i of it brings: statement and gold answer)
PLANTED: dict[str, tuple[int, Any]] = {
    "clean": (30, lambda i: [(tell(i), str(i))]),
    "copy": (20, lambda i: [(tell(i), str(i)), (f" {tell(i)}\n", str(i))]),
    "other spelling": (20, lambda i: [(tell(i), str(i)), (other_spelling(tell(i)), f"\\frac{{{i}}}{{1}}")]),
    "weightless words": (20, lambda i: [(tell(i), str(i)), (tell(i, ask="Determine exactly how much the number of"), None)]),
    "paraphrase": (20, lambda i: [(tell(i), str(i)), (tell(i, verb="transports"), str(i))]),
    "number twin": (20, lambda i: [(tell(i), str(i)), (tell(i, number=1), str(i))]),
    "word twin": (20, lambda i: [(tell(i), str(i)), (tell(i, parity="odd"), str(i))]),
    "other answer": (20, lambda i: [(tell(i), str(i)), (other_spelling(tell(i)), str(i + 1))]),
    "wrong gold": (20, lambda i: [(tell(i), str(i)), (tell(i), str(i + 1))]),
    "leak": (20, lambda i: [(tell(i), str(i))]),
    "leak, other spelling": (20, lambda i: [(other_spelling(tell(i)), str(i))]),
    "leak, retold": (20, lambda i: [(tell(i, ask="Say how many there are of the"), str(i))]),
    "leak's number twin": (20, lambda i: [(tell(i, number=1), str(i))]),
}  # fmt: skip
# What is expected: fates of the second row of a problem, or of its only one. The first is always kept.
EXPECTED = {
    ("clean", "kept"): 30,
    ("copy", "one problem"): 20,
    ("other spelling", "merged by spelling"): 20,
    ("weightless words", "merged by words"): 20,
    ("paraphrase", "listed"): 20,
    ("number twin", "kept"): 20,
    ("word twin", "kept"): 20,
    ("other answer", "kept"): 20,
    ("wrong gold", "conflicting_answer"): 20,
    ("leak", "in_benchmark same"): 20,
    ("leak, other spelling", "in_benchmark same"): 20,
    ("leak, retold", "in_benchmark overlap"): 20,
    ("leak's number twin", "kept"): 20,
}


def made() -> tuple[list[tuple[str, Group]], list[Any]]:
    """(defect, row) of the whole corpus, and the benchmark whose problems leak."""
    rows, benchmark, at = [], [], 0
    for defect, (count, tellings) in PLANTED.items():
        for _ in range(count):
            at += 1
            if defect.startswith("leak"):
                problem = make_problem(tell(at), answer=str(at), source="exam", source_row=f"exam.jsonl:{at}")
                benchmark.append(problem)
            for place, (statement, answer) in enumerate(tellings(at)):
                problem = make_problem(statement, answer=answer, source="made", source_row=f"{defect}:{at}:{place}")
                # each telling brings a trace of its own and one that is the same in both
                texts = (f"trace {at} {place}", f"trace {at}")
                rows.append((defect, Group(problem, tuple(make_trace(problem.id, text) for text in texts))))
    return rows, benchmark


def gather(folder: Path, rows: list[Group], benchmark: list[Any], **options: Any) -> tuple[StageFolder, dict[str, Any]]:
    stage_dir = StageFolder(folder / "corpus", "fingerprint")
    stage_dir.open()
    settings = {"seed": 0, "num_shards": 5, "max_problems": None, "benchmarks": Benchmarks(benchmark), **options}
    return stage_dir, collect(stage_dir, [lambda: iter(rows)], **settings)


def confusion(stage_dir: StageFolder, rows: list[tuple[str, Group]]) -> Counter[tuple[str, str]]:
    """(defect, what became of it) counted over the last row of every planted problem."""
    dropped = {record.id: record for record in stage_dir.read("dropped")}
    matches = {match.problem_id: match for match in stage_dir.read("merges")}
    kept = {group.problem.id for group in stage_dir.read("groups")}
    last: dict[str, tuple[str, Group, bool]] = {}
    for defect, group in rows:
        name = group.problem.source_row.rpartition(":")[0]
        seen = name in last and last[name][1].problem.id == group.problem.id
        last[name] = (defect, group, seen)
    table: Counter[tuple[str, str]] = Counter()
    for defect, group, again in last.values():
        record, match = dropped.get(group.problem.source_row), matches.get(group.problem.id)
        if record:
            fate = " ".join([record.reason, *record.detail.split()[2:3]])
        elif match:
            fate = f"merged by {match.how}" if match.action == "merged" else match.action
        else:
            assert group.problem.id in kept
            fate = "one problem" if again else "kept"
        table[defect, fate] += 1
    return table


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[StageFolder, dict[str, Any]]:
    rows, benchmark = made()
    return gather(tmp_path_factory.mktemp("planted"), [group for _, group in rows], benchmark)


def test_each_defect_meets_its_fate_and_nothing_else_is_touched(planted: Any) -> None:
    rows, _ = made()
    leads = {"other spelling", "weightless words", "paraphrase"}  # of two tellings either may lead: the smaller id does
    table = confusion(planted[0], rows)
    for defect in leads:  # so half of the last rows are leaders: count the merges of the defect instead
        fates = {fate for (name, fate), _ in table.items() if name == defect} - {"kept"}
        assert len(fates) == 1
        table[defect, fates.pop()] += table.pop((defect, "kept"), 0)
    assert table == EXPECTED
    actions = Counter((match.action, match.how) for match in planted[0].read("merges"))
    assert actions == {("merged", "spelling"): 20, ("merged", "words"): 20, ("listed", "alike"): 20}
    assert planted[1]["tallies"]["matches"] == {"listed=alike": 20, "merged=spelling": 20, "merged=words": 20}


def test_everything_is_counted(planted: Any) -> None:
    rows, _ = made()
    accounts = planted[1]["accounts"]
    assert accounts["rows"] == {
        "unit": "row",
        "in": len(rows),
        "kept": len(rows) - 60 - 20,
        "dropped": {"in_benchmark": 60, "conflicting_answer": 20},
    }
    # 13 kinds, and one more problem for each twin, paraphrase and other answer that was not merged
    ids = {group.problem.id for _, group in rows}
    assert accounts["problems"] == {
        "unit": "problem",
        "in": len(ids),
        "kept": len(ids) - 60 - 40,
        "dropped": {"in_benchmark": 60, "same_problem": 40},
    }
    # 60 problems keep two rows (copy, other spelling, weightless words); of each, one trace of the four is there twice
    assert accounts["traces"]["dropped"] == {"in_benchmark": 120, "duplicate_trace": 60, "conflicting_answer": 40}


def test_every_trace_is_walked_back_to_each_of_its_rows(planted: Any) -> None:
    rows, _ = made()
    stage_dir = planted[0]
    origins = list(stage_dir.read("origins"))
    assert Counter(origin.row for origin in origins) == {g.problem.source_row: 2 for _, g in rows}
    assert {origin.source_problem_id for origin in origins if origin.row.startswith("copy:")} == {
        group.problem.id for defect, group in rows if defect == "copy"
    }
    by_trace: dict[str, list[Any]] = {}
    for origin in origins:
        by_trace.setdefault(origin.trace_id, []).append(origin)
    spelled = {group.problem.id: group.problem.source_row for defect, group in rows if defect == "other spelling"}
    merged = [group for group in stage_dir.read("groups") if group.problem.id in spelled]
    assert len(merged) == 20
    for group in merged:
        assert len(group.traces) == 3
        shared = next(t for t in group.traces if t.completion.count(" ") == 1)
        assert sorted(o.status for o in by_trace[shared.id]) == ["duplicate_trace", "kept"]
        assert {spelled[o.source_problem_id] for o in by_trace[shared.id]} == {o.row for o in by_trace[shared.id]}
        assert {o.problem_id for o in by_trace[shared.id]} == {group.problem.id}
        assert all(make_trace(group.problem.id, t.completion).id == t.id for t in group.traces)


def test_the_leaks_are_written_with_the_benchmarks_row_and_the_shared_text(planted: Any) -> None:
    found = list(planted[0].read("leaks"))
    assert len(found) == 60 and {leak.action for leak in found} == {"dropped"}
    for leak in found:
        at = leak.matched.removeprefix("exam exam.jsonl:")
        assert leak.matched_statement == tell(int(at))
        assert leak.span.startswith(PEOPLE[int(at) % 10].lower()) and leak.span in " ".join(leak.span.split())
        assert leak.similarity == 1.0 if leak.how == "same" else 0.6 <= leak.similarity < 1.0


def comparable(stage_dir: StageFolder) -> Any:
    """All that a corpus holds, but for what names rows and their order."""
    groups = [
        (dataclasses.replace(g.problem, source_row=""), {(t.id, t.completion) for t in g.traces})
        for g in stage_dir.read("groups")
    ]
    return groups, list(stage_dir.read("merges")), list(stage_dir.read("leaks"))


@pytest.mark.parametrize("near", ["merge", "report"])
def test_shuffled_input_gives_the_same_output(tmp_path: Path, near: str) -> None:
    rows, benchmark = made()
    # the rule for rows that contradict each other is the order of the input: those are left out here
    plain = [group for defect, group in rows if defect not in ("wrong gold", "copy")]
    stage_dir, ledger = gather(tmp_path / "a", plain, benchmark, near=near)
    shuffled = random.Random(2).sample(plain, len(plain))
    again, ledger_again = gather(tmp_path / "b", shuffled, benchmark, near=near, num_shards=1)
    for one, other in zip(comparable(stage_dir), comparable(again), strict=True):
        assert one == other
    assert ledger["accounts"] == ledger_again["accounts"] and ledger["tallies"] == ledger_again["tallies"]


@pytest.mark.parametrize("near", ["merge", "report"])
def test_a_second_run_over_what_was_kept_drops_and_merges_nothing(tmp_path: Path, near: str) -> None:
    rows, benchmark = made()
    stage_dir, _ = gather(tmp_path / "a", [group for _, group in rows], benchmark, near=near)
    kept = list(stage_dir.read("groups"))
    again, ledger = gather(tmp_path / "b", kept, benchmark, near=near)
    assert list(again.read("groups")) == kept
    assert all(not account["dropped"] for account in ledger["accounts"].values())
    assert {match.action for match in again.read("merges")} <= {"listed"}


def test_near_duplicates_are_merged_only_where_the_recipe_says_so(tmp_path: Path) -> None:
    rows, benchmark = made()
    pairs = [group for defect, group in rows if defect in ("paraphrase", "number twin", "word twin")]
    for near, listed, merged in (("merge", 0, 20), ("report", 20, 0), ("off", 0, 0)):
        stage_dir, _ = gather(tmp_path / near, pairs, benchmark, near=near)
        actions = Counter(match.action for match in stage_dir.read("merges"))
        assert (actions["listed"], actions["merged"]) == (listed, merged)
        assert len(list(stage_dir.read("groups"))) == 120 - merged
    stage_dir, _ = gather(tmp_path / "strict", pairs, benchmark, near="merge", near_threshold=0.99)
    assert not list(stage_dir.read("merges"))


def test_leaks_may_be_listed_only(tmp_path: Path) -> None:
    rows, benchmark = made()
    leaks = [group for defect, group in rows if defect.startswith("leak")]
    stage_dir, ledger = gather(tmp_path, leaks, benchmark, leaks="report")
    assert len(list(stage_dir.read("groups"))) == 80 and ledger["accounts"]["rows"]["dropped"] == {}
    assert {leak.action for leak in stage_dir.read("leaks")} == {"listed"} and len(list(stage_dir.read("leaks"))) == 60
