"""`collect`: many rows become one group a problem, and nothing is lost on the way."""

import functools
import gzip
import importlib
import importlib.util
import itertools
import json
import multiprocessing
import random
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import redistill.corpus.stage as corpus_stage
from redistill.corpus import SOURCES, collect, reading
from redistill.errors import OperatorError
from redistill.io.executors import LocalProcesses
from redistill.io.stage_folder import Shard, StageFolder
from redistill.records import Dropped, Group, Image, Outcome, Span, Trace, Verdict, make_problem, make_trace


def row(
    statement: str, *completions: Any, answer: str | None = None, row: str = "x:0", label: bool | None = None
) -> Group:
    problem = make_problem(statement, answer=answer, source="test", source_row=row)
    verdicts = {} if label is None else {"teacher_label": Verdict(Outcome.correct if label else Outcome.incorrect)}
    return Group(problem, tuple(make_trace(problem.id, c, author="a", verdicts=verdicts) for c in completions))


def gather(folder: Path, *items: Group | Dropped, **options: Any) -> tuple[StageFolder, dict[str, Any]]:
    stage_dir = StageFolder(folder / "corpus", "fingerprint")
    stage_dir.open()
    settings = {"seed": 0, "num_shards": 4, "max_problems": None, **options}
    return stage_dir, collect(stage_dir, [lambda: iter(items)], **settings)


def groups(stage_dir: StageFolder) -> dict[str, Group]:
    return {group.problem.statement: group for group in stage_dir.read("groups")}


def many(count: int) -> list[Group]:
    return [row(f"{n % 50}+1?", f"trace {n}", row=f"x:{n}") for n in range(count)]


def test_rows_of_one_problem_become_one_group_in_source_order(tmp_path: Path) -> None:
    stage_dir = StageFolder(tmp_path / "corpus", "fingerprint")
    stage_dir.open()
    first = [row("2+2?", "b", "a", answer="4", row="x:0"), row("3+3?", "z", row="x:1")]
    second = [row("2+2?", "c", answer=" 4", row="y:0"), row("2+2? ", "d", row="y:1")]
    sources = [lambda: iter(first), lambda: iter(second)]
    ledger = collect(stage_dir, sources, seed=0, num_shards=4, max_problems=None)
    found = groups(stage_dir)
    assert [t.completion for t in found["2+2?"].traces] == ["b", "a", "c", "d"]
    assert found["2+2?"].problem.source_row == "x:0"  # of the first row
    assert ledger["accounts"]["rows"] == {"unit": "row", "in": 4, "kept": 4, "dropped": {}}
    assert ledger["accounts"]["traces"] == {"unit": "trace", "in": 5, "kept": 5, "dropped": {}}
    assert ledger["tallies"]["traces_by_source"] == {"test": 5}
    assert not (stage_dir.folder / "shuffle").exists()


def test_every_loss_is_counted_and_written_down(tmp_path: Path) -> None:
    items = [
        row("2+2?", "four", "four", " ", answer="4", row="x:0"),  # one duplicate, one empty
        Dropped("x:1", "corpus", "bad_json"),
        row("2+2?", "five", "six", answer="5", row="x:2"),  # the later gold answer loses, with its traces
        row("3+3?", "", "\n", row="x:3"),  # nothing is left of this row
        row("4+4?", row="x:4"),  # a problem and no trace
        row("2+2?", "four", "2*2", row="x:5"),
    ]
    stage_dir, ledger = gather(tmp_path, *items)
    assert ledger["accounts"] == {
        "rows": {
            "unit": "row",
            "in": 6,
            "kept": 3,
            "dropped": {"no_generations": 1, "bad_json": 1, "conflicting_answer": 1},
        },
        "problems": {"unit": "problem", "in": 2, "kept": 2, "dropped": {}},
        "traces": {
            "unit": "trace",
            "in": 9,
            "kept": 2,
            "dropped": {"empty_completion": 3, "conflicting_answer": 2, "duplicate_trace": 2},
        },
    }
    written = list(stage_dir.read("dropped"))
    assert len(written) == 3 + 7
    assert {d.id for d in written if d.id.startswith("x:")} == {"x:1", "x:2", "x:3"}
    assert [t.completion for t in groups(stage_dir)["2+2?"].traces] == ["four", "2*2"]
    assert groups(stage_dir)["4+4?"].traces == ()


def test_a_missing_gold_answer_is_filled_by_a_later_row_and_contradicts_nothing(tmp_path: Path) -> None:
    stage_dir, ledger = gather(tmp_path, row("2+2?", "a"), row("2+2?", "b", answer="4"), row("2+2?", "c", answer="5"))
    assert groups(stage_dir)["2+2?"].problem.answer == "4"
    assert ledger["accounts"]["rows"]["dropped"] == {"conflicting_answer": 1}


def test_duplicate_traces_unite_their_labels_and_contradictions_are_no_verdict(tmp_path: Path) -> None:
    other = row("2+2?", "four", label=True)
    judged = make_trace(other.problem.id, "four", verdicts={"judge": Verdict(Outcome.incorrect)}, scores={"s": 0.5})
    stage_dir, _ = gather(
        tmp_path,
        row("2+2?", "four", label=True),
        Group(other.problem, (judged,)),
        row("3+3?", "five", label=False),
        row("3+3?", "five", label=True),
        row("3+3?", "five", label=True),
    )
    (united,) = groups(stage_dir)["2+2?"].traces
    assert {name: v.outcome for name, v in united.verdicts.items()} == {
        "teacher_label": Outcome.correct,
        "judge": Outcome.incorrect,
    }
    assert united.scores == {"s": 0.5}
    (contested,) = groups(stage_dir)["3+3?"].traces
    assert contested.verdicts["teacher_label"].outcome == Outcome.disagree


def test_the_order_of_problems_and_the_number_of_shards_do_not_matter(tmp_path: Path) -> None:
    items = many(50)
    shuffled = random.Random(1).sample(items, 50)
    stage_dir, ledger = gather(tmp_path / "a", *items)
    again, ledger_again = gather(tmp_path / "b", *shuffled)
    assert ledger["files"] == ledger_again["files"]  # names and checksums
    one, _ = gather(tmp_path / "c", *items, num_shards=1)
    assert list(one.read("groups")) == list(stage_dir.read("groups")) == list(again.read("groups"))
    ids = [group.problem.id for group in stage_dir.read("groups")]
    assert ids == sorted(ids)


def test_max_problems_is_a_function_of_the_problems_and_the_seed(tmp_path: Path) -> None:
    items = many(150)  # 50 problems, 3 rows each, 1 trace a row
    stage_dir, ledger = gather(tmp_path / "a", *items, max_problems=20)
    again, ledger_again = gather(tmp_path / "b", *reversed(items), max_problems=20)
    other, _ = gather(tmp_path / "c", *items, max_problems=20, seed=1)
    more, _ = gather(tmp_path / "d", *items, max_problems=30)
    assert len(groups(stage_dir)) == 20
    assert groups(stage_dir).keys() == groups(again).keys()
    assert groups(stage_dir).keys() != groups(other).keys()
    assert groups(stage_dir).keys() < groups(more).keys()
    for accounts in (ledger["accounts"], ledger_again["accounts"]):
        for unit in ("rows", "traces"):
            assert accounts[unit]["kept"] == 60
            assert accounts[unit]["dropped"] == {"beyond_max_problems": 90}
    assert len(list(stage_dir.read("dropped"))) == 180


def test_max_problems_counts_only_problems_that_have_a_trace(tmp_path: Path) -> None:
    empty = [row(f"{n}-1?", "", row=f"y:{n}") for n in range(200)]
    stage_dir, _ = gather(tmp_path, *empty, *many(50), max_problems=20)
    assert len(groups(stage_dir)) == 20


def test_an_empty_corpus_is_one_sentence_with_the_reasons(tmp_path: Path) -> None:
    items = [row("2+2?", " "), Dropped("x:1", "corpus", "bad_json"), Dropped("x:2", "corpus", "bad_json")]
    with pytest.raises(
        OperatorError, match=r"the corpus is empty: 3 rows read, all dropped: bad_json 2, no_generations 1 \(x:1\);"
    ):
        gather(tmp_path / "a", *items)
    with pytest.raises(OperatorError, match="the corpus is empty: 0 rows read;"):
        gather(tmp_path / "b")


class Killed(Exception):
    """Stands for a kill signal."""


class FragileRoom(StageFolder):
    """Dies before it finishes its third shard."""

    def finish_shard(self, index: int, shard: Shard) -> None:
        if index == 2:
            raise Killed
        StageFolder.finish_shard(self, index, shard)


def test_killed_while_merging_then_continued_equals_uninterrupted(tmp_path: Path) -> None:
    items = many(120)
    _, whole = gather(tmp_path / "whole", *items)
    fragile = FragileRoom(tmp_path / "corpus", "fingerprint")
    fragile.open()
    settings: dict[str, Any] = {"seed": 0, "num_shards": 4, "max_problems": None}
    with pytest.raises(Killed):
        collect(fragile, [lambda: iter(items)], **settings)
    stage_dir = StageFolder(tmp_path / "corpus", "fingerprint")
    stage_dir.open()
    first_marker = stage_dir.marker(0).stat().st_mtime_ns

    def read_again() -> Iterator[Group]:
        raise AssertionError("the rows were read in the first attempt")

    ledger = collect(stage_dir, [read_again], **settings)
    assert ledger == whole
    assert stage_dir.marker(0).stat().st_mtime_ns == first_marker  # finished shards are not made again


def test_killed_while_shuffling_then_continued_equals_uninterrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BUFFER_BYTES", 500)  # so that half a shuffle lies on the disk
    items = many(120)
    _, whole = gather(tmp_path / "whole", *items)

    def dies() -> Iterator[Group]:
        yield from items[:60]
        raise Killed

    stage_dir = StageFolder(tmp_path / "corpus", "fingerprint")
    stage_dir.open()
    with pytest.raises(Killed):
        collect(stage_dir, [dies], seed=0, num_shards=4, max_problems=None)
    assert list((stage_dir.folder / "shuffle").glob("*/*.zst"))
    assert gather(tmp_path, *items)[1] == whole


def test_shards_of_another_cut_are_not_mixed_in(tmp_path: Path) -> None:
    items = many(120)
    fragile = FragileRoom(tmp_path / "corpus", "fingerprint")
    fragile.open()
    with pytest.raises(Killed):
        collect(fragile, [lambda: iter(items)], seed=0, num_shards=8, max_problems=None)
    stage_dir, ledger = gather(tmp_path, *items, num_shards=2)
    assert len(groups(stage_dir)) == 50
    assert ledger["accounts"]["rows"]["kept"] == 120


class Bar:
    """A bar that remembers what it was told."""

    def __init__(self, unit: str, total: int | None = None, initial: int = 0) -> None:
        self.unit, self.total, self.seen = unit, total, initial

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, count: int) -> None:
        self.seen += count


def test_progress_sees_every_row_and_every_shard(tmp_path: Path) -> None:
    bars: list[Bar] = []

    def progress(**options: Any) -> Bar:
        bars.append(Bar(**options))
        return bars[-1]

    gather(tmp_path, *many(7), progress=progress)
    assert [(bar.unit, bar.total, bar.seen) for bar in bars] == [("row", None, 7), ("shard", 4, 4), ("shard", 4, 4)]


class Watched(LocalProcesses):
    """Spreads always, and dies or counts in the place of a process."""

    def __init__(self, dies_at: int | None = None) -> None:
        super().__init__(2)
        self.dies_at, self.done = dies_at, list[Any]()

    def spreads(self, tasks: int, size_bytes: int) -> bool:
        return tasks > 0

    def map(
        self, work: Any, tasks: Any, *, label: str, size_bytes: int, reads: Any = None
    ) -> Iterator[tuple[int, Any]]:
        for place, task in reversed(list(enumerate(tasks))):  # the last first: any order will do
            if len(self.done) == self.dies_at:
                raise Killed
            yield place, work(task)
            self.done.append(task)


def files(folder: Path, count: int) -> functools.partial[Any]:
    """A source of `count` files, with problems that several of them share and one text that is always the same."""
    folder.mkdir()
    for n in range(count):
        rows = [
            {"problem": f"{k}?", "generations": [{"text": "same"}, {"text": f"{n} {k}"}]} for k in range(n, 2 * n + 3)
        ]
        (folder / f"{n:03d}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return functools.partial(SOURCES["traces"], path=str(folder))


@pytest.mark.parametrize("max_problems", [None, 6])
def test_files_read_in_any_order_and_place_come_out_as_if_read_one_after_the_other(
    tmp_path: Path, max_problems: int | None
) -> None:
    source = files(tmp_path / "in", 9)
    options: dict[str, Any] = {"seed": 0, "num_shards": 3, "max_problems": max_problems}
    stage_dirs = [StageFolder(tmp_path / name, "fingerprint") for name in ("one", "many")]
    for stage_dir in stage_dirs:
        stage_dir.open()
    whole = lambda: SOURCES["traces"](path=str(tmp_path / "in"))  # noqa: E731 - no partial: read as one stream
    ledgers = [
        collect(stage_dirs[0], [whole], **options),
        collect(stage_dirs[1], [source], executor=Watched(), **options),
    ]
    (
        one,
        many,
    ) = (  # with their checksums; the stream does not say which file a row comes from, so origins differ in that
        {name: facts for name, facts in ledger["files"].items() if not name.startswith("origins/")}
        for ledger in ledgers
    )
    assert one == many
    rows = [[(o.trace_id, o.row, o.status) for o in stage_dir.read("origins")] for stage_dir in stage_dirs]
    assert rows[0] == rows[1] and len(rows[0]) == ledgers[0]["accounts"]["traces"]["in"]
    assert ledgers[0]["accounts"] == ledgers[1]["accounts"]
    assert ledgers[0]["accounts"]["traces"]["dropped"]["duplicate_trace"] > 0


def test_killed_between_two_files_the_files_read_are_not_read_again(tmp_path: Path) -> None:
    source = files(tmp_path / "in", 5)
    options: dict[str, Any] = {"seed": 0, "num_shards": 3, "max_problems": None}
    whole, stage_dir = (StageFolder(tmp_path / name / "corpus", "fingerprint") for name in ("whole", "cut"))
    whole.open()
    stage_dir.open()
    with pytest.raises(Killed):
        collect(stage_dir, [source], executor=Watched(dies_at=3), **options)
    again = Watched()
    assert collect(stage_dir, [source], executor=again, **options) == collect(whole, [source], **options)
    assert len(again.done) == 2 + 3 + 3  # the two files left, then the three shards: signed, then merged


def test_more_files_than_readings_are_read_together_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = files(tmp_path / "in", 9)
    one_each = reading.reading_tasks([source])
    monkeypatch.setattr(reading, "MAX_READINGS", 4)
    few = reading.reading_tasks([source])
    assert (len(one_each), len(few)) == (9, 4)
    flat = [[s.keywords["path"] for r in readings for s in r.sources] for readings in (one_each, few)]
    assert flat[0] == flat[1] == sorted(str(p) for p in (tmp_path / "in").iterdir())
    assert max(r.size_bytes for r in few) < sum(r.size_bytes for r in few) / 2


def _peak_bytes(folder: Path, rows: int) -> tuple[int, int]:
    """Peak of Python's memory while a file of `rows` rows of 4 kB is collected, and the number of shards."""
    corpus_stage.SHARD_BYTES, reading.BUFFER_BYTES = 2**20, 2**18
    folder.mkdir()
    with gzip.open(folder / "rows.jsonl.gz", "wt", compresslevel=1) as file:
        for n in range(rows):
            text = random.Random(n).randbytes(2000).hex()
            file.write(json.dumps({"problem": f"{n}?", "generations": [{"text": text}]}) + "\n")
    stage_dir = StageFolder(folder / "corpus", "fingerprint")
    stage_dir.open()
    source = functools.partial(SOURCES["traces"], path=str(folder / "rows.jsonl.gz"))
    if importlib.util.find_spec("pandas"):  # pyarrow imports it somewhere on its way: 25 MB that are not the input's
        importlib.import_module("pandas")
    tracemalloc.start()
    ledger = collect(stage_dir, [source], seed=0, num_shards=None, max_problems=None)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert ledger["accounts"]["rows"]["kept"] == rows
    return peak, ledger["num_shards"]


def test_memory_does_not_grow_with_the_input(tmp_path: Path) -> None:
    # In a fresh process: in a long-lived one Python's table of interned strings may double, by megabytes, just then. What
    # the first call imports takes megabytes, in which the whole input would fit unseen: that call does not count.
    with multiprocessing.get_context("spawn").Pool(1) as fresh:
        fresh.apply(_peak_bytes, (tmp_path / "first", 40))
        small, few_shards = fresh.apply(_peak_bytes, (tmp_path / "small", 200))  # .8 MB
        large, many_shards = fresh.apply(_peak_bytes, (tmp_path / "large", 2000))  # 8 MB
    assert many_shards > 5 * few_shards
    assert large < 1.5 * small + 2**20 < 8 * 2**20


def test_groups_keep_all_their_fields_through_the_shuffle(tmp_path: Path) -> None:
    images, metadata = (Image("a.png", "0" * 64),), {"tests": [1, {"a": None}]}
    problem = make_problem(
        "2+2?", answer="4", answer_type="number", source="s", source_row="x:0", images=images, metadata=metadata
    )
    verdict = Verdict(Outcome.correct, "4", "why", "me", "1.0", 0.1, 0.25)
    fields: dict[str, Any] = {"author": "a", "sampling": {"temperature": 0.6}, "finish_reason": "stop", "num_tokens": 3}
    fields |= {"spans": {"steps": (Span(0, 7, 1.0), Span(2, 3, -0.5))}, "notes": {"critic": "ü \u2028"}}
    trace: Trace = make_trace(problem.id, "vier ü \u2028", **fields, verdicts={"me": verdict}, scores={"s": 0.5})
    stage_dir, _ = gather(tmp_path, Group(problem, (trace,)))
    assert list(stage_dir.read("groups")) == [Group(problem, (trace,))]


def test_a_trace_read_twice_keeps_the_spans_and_notes_of_both_and_of_one_name_the_first(tmp_path: Path) -> None:
    problem = make_problem("2+2?")

    def told(spans: dict[str, Any], notes: dict[str, str], metadata: dict[str, Any]) -> Group:
        trace = make_trace(problem.id, "four", spans=spans, notes=notes)
        return Group(make_problem("2+2?", metadata=metadata), (trace,))

    one, two, three = (Span(0, 1, 1.0),), (Span(0, 2, 0.5),), (Span(1, 5, 0.0),)
    stage_dir, ledger = gather(
        tmp_path,
        told({"steps": one}, {"critic": "a"}, {"k": 1}),
        told({"steps": two, "weights": two}, {"critic": "b", "judge": "c"}, {"k": 2, "m": None}),
        told({"third": three}, {}, {"m": 3}),
    )
    (group,) = stage_dir.read("groups")
    (trace,) = group.traces
    assert list(trace.spans.items()) == [("steps", one), ("weights", two), ("third", three)]
    assert trace.notes == {"critic": "a", "judge": "c"} and group.problem.metadata == {"k": 1, "m": None}
    assert ledger["accounts"]["traces"]["dropped"] == {"duplicate_trace": 2}


def test_the_same_words_under_other_pictures_stay_other_problems(tmp_path: Path) -> None:
    def shown(words: str, digit: str, completion: str) -> Group:
        problem = make_problem(words, answer="4", images=(Image("a.png", digit * 64),), source_row=f"x:{completion}")
        return Group(problem, (make_trace(problem.id, completion),))

    items = [
        shown("What is shown here?", "1", "a"),
        shown("what is shown here", "1", "b"),
        shown("What is shown here?", "2", "c"),
    ]
    for near in ("off", "merge"):
        stage_dir, ledger = gather(tmp_path / near, *items, row("What is shown here?", "d", answer="4"), near=near)
        assert sorted(len(group.traces) for group in stage_dir.read("groups")) == [
            1,
            1,
            2,
        ]  # the second tells the first
        assert ledger["accounts"]["problems"]["dropped"] == {"same_problem": 1}


def test_problems_without_traces_are_kept_merged_and_counted(tmp_path: Path) -> None:
    stage_dir, ledger = gather(
        tmp_path / "mixed", row("2+2?", answer="4"), row("2+2?", "four"), row("3+3?"), row("3+3?")
    )
    assert {statement: len(group.traces) for statement, group in groups(stage_dir).items()} == {"2+2?": 1, "3+3?": 0}
    assert groups(stage_dir)["2+2?"].problem.answer == "4"
    assert ledger["accounts"]["rows"]["kept"] == 4 and ledger["accounts"]["traces"]["in"] == 1
    for order in itertools.permutations([row("2+2?"), row("3+3?"), row("4+4?")]):
        stage_dir, ledger = gather(tmp_path / "alone", *order, max_problems=2)
        for name in ("problem", "row"):
            expected = {"unit": name, "in": 3, "kept": 2, "dropped": {"beyond_max_problems": 1}}
            assert ledger["accounts"][f"{name}s"] == expected
        assert ledger["accounts"]["traces"] == {"unit": "trace", "in": 0, "kept": 0, "dropped": {}}
        stage_dir.clear()


def test_a_source_all_of_whose_rows_are_dropped_is_named_with_the_column_that_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = {"problem": "2+2?", "generations": [{"text": "4"}]}
    (tmp_path / "good.jsonl").write_text(json.dumps(good) + "\n" + json.dumps({"question": "1"}))
    (tmp_path / "bad.jsonl").write_text("\n".join(json.dumps({"question": f"{n}+1?", "out": "4"}) for n in range(3)))
    stage_dir = StageFolder(tmp_path / "corpus", "fingerprint")
    stage_dir.open()
    sources = [functools.partial(SOURCES["traces"], path=str(tmp_path / name)) for name in ("good.jsonl", "bad.jsonl")]
    collect(stage_dir, sources, seed=0, num_shards=4, max_problems=None)
    (said,) = [line for line in capsys.readouterr().err.splitlines() if "were dropped" in line]
    assert "all 3 rows of" in said and "bad.jsonl were dropped, most for missing_column" in said and "`problem`" in said


def test_columns_that_their_source_does_not_read_are_said_and_stand_in_the_ledger(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"problem": f"{n}+1?", "generations": [{"text": "4", "sp\x1ban": 1}], "level": n} for n in range(3)]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in [*rows, {**rows[0], "\ud800": 1}]))
    stage_dir = StageFolder(tmp_path / "corpus", "fingerprint")
    stage_dir.open()
    source = functools.partial(SOURCES["traces"], path=str(tmp_path / "rows.jsonl"))
    ledger = collect(stage_dir, [source], seed=0, num_shards=4, max_problems=None)
    expected = {"generations[].sp\x1ban": 4, "level": 4, "?": 1}
    assert ledger["unread_columns"] == stage_dir.ledger()["unread_columns"] == expected
    said = capsys.readouterr().err
    assert "columns not read by their source (rows with them): generations[].sp\\x1ban (4), level (4)" in said
    assert "unread_columns" not in gather(tmp_path / "none", row("2+2?", "4"))[1]


def test_longer_texts_than_a_recipe_allows_are_dropped_and_counted(tmp_path: Path) -> None:
    items = [
        row("2+2?", "a" * 20, "b" * 21, row="x:0"),
        row("3+3?", "c" * 21, row="x:1"),
        row("4" * 21, "d", row="x:2"),
    ]
    stage_dir, ledger = gather(tmp_path, *items, max_chars=20)
    accounts = ledger["accounts"]
    assert accounts["rows"]["dropped"] == {"no_generations": 1, "problem_too_long": 1}
    assert accounts["traces"] == {"unit": "trace", "in": 4, "kept": 1, "dropped": {"trace_too_long": 2, "problem_too_long": 1}}  # fmt: skip
    assert {d.detail for d in stage_dir.read("dropped") if d.reason == "trace_too_long"} == {"21 characters"}
    assert [t.completion for t in groups(stage_dir)["2+2?"].traces] == ["a" * 20]


def test_a_node_without_the_runs_files_is_given_a_sources_files_but_cannot_read_images_that_rows_name(
    tmp_path: Path,
) -> None:
    (tmp_path / "rows.jsonl").write_text("{}\n")
    source = functools.partial(SOURCES["traces"], path=str(tmp_path / "rows.jsonl"))
    (task,) = reading.reading_tasks([source])
    assert list(corpus_stage._source_files(False, task)) == [tmp_path / "rows.jsonl"]
    with pytest.raises(OperatorError, match=r"^corpus: rows of .*rows.jsonl may name images .* \(--until corpus --executor local\)\.$"):  # fmt: skip
        list(corpus_stage._source_files(True, task))
