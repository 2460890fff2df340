"""Groups that add to those of the stage before: written without the texts, read whole, refused where the two files do not fit."""

import dataclasses
import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redistill.errors import OperatorError
from redistill.io.joined import Base, can_add
from redistill.io.parquet import read_columns, read_outcomes, read_records, read_without_text, with_bases, write_records
from redistill.io.stage_folder import Account, Shard, StageFolder
from redistill.records import Group, Outcome, Problem, Span, Trace, Verdict

RIGHT, WRONG = Verdict(Outcome.correct, "4", verifier="exact"), Verdict(Outcome.incorrect, "5", "differs", "exact")
CORPUS = [
    Group(
        Problem("p1", "What is 2+2?", "4", None, "mine", "mine.jsonl:0", metadata={"kind": "sum"}),
        (
            Trace("t1", "four: \\boxed{4} é", "a", {"temperature": 1.0}, "stop", 7, {"label": RIGHT}, {"given": 0.5}),
            Trace("t2", "five: \\boxed{5}", "b", spans={"steps": (Span(0, 4, 1.0),)}, notes={"critique": "no"}),
        ),
    ),
    Group(Problem("p2", "What is 3+3?", "6", "number", "mine", "mine.jsonl:1"), (Trace("t3", "6", "a"),)),
    Group(Problem("p3", "Prove it.", None), ()),
]


def by_hand() -> list[Group]:
    """The corpus with a type, verdicts, scores, a span, a note, a token count, metadata and a trace that was drawn."""
    one, two, three = CORPUS
    first, second = one.traces
    first = dataclasses.replace(first, verdicts={"label": RIGHT, "final": RIGHT}, scores={"given": 0.5, "rank": 0.0})
    second = dataclasses.replace(
        second, num_tokens=9, verdicts={"final": WRONG}, scores={"rank": 1.0},
        spans={"steps": (Span(0, 4, 1.0),), "reward": (Span(4, 6, -1.0),)}, notes={"critique": "yes", "more": "text"},
    )  # fmt: skip
    drawn = Trace("t9", "a drawn answer", "student", {"sample_index": 0}, "length", 4)
    metadata = {"kind": "sum", "cost": {"tokens": 4}}
    problem = dataclasses.replace(one.problem, answer_type="number", metadata=metadata)
    return [Group(problem, (first, second, drawn)), two, three]


@pytest.fixture
def places(tmp_path):
    """A run's corpus and the place of its verify."""
    corpus, verify = (tmp_path / f"{stage}/groups/part-00000.parquet" for stage in ("corpus", "verify"))
    write_records(corpus, Group, CORPUS)
    return corpus, verify


def test_groups_are_read_whole_and_no_text_is_written_twice(places):
    corpus, verify = places
    assert write_records(verify, Group, by_hand(), base=Base(corpus)) == 3
    assert list(read_records(verify)) == list(read_records(str(verify))) == by_hand()  # a path, or its text
    rows = pq.read_table(verify).to_pylist()
    texts = [trace["completion"] for row in rows for trace in row["traces"]]
    assert texts == [None, None, "a drawn answer", None]  # only that of the trace that nobody has written before
    assert [row["problem"]["statement"] for row in rows] == [None, None, None]
    assert [row["problem"]["id"] for row in rows] == ["p1", "p2", "p3"]
    first = rows[0]["traces"][0]
    assert [v["name"] for v in first["verdicts"]] == ["final"] and first["scores"] == [{"name": "rank", "value": 0.0}]
    assert json.loads(rows[0]["problem"]["metadata"]) == {"cost": {"tokens": 4}}
    assert first["num_tokens"] is None and first["sampling"] is None


def test_a_stage_adds_to_a_stage_that_adds_to_the_corpus(places, tmp_path):
    corpus, verify = places
    write_records(verify, Group, by_hand(), base=Base(corpus))
    select = tmp_path / "select/groups/part-00000.parquet"
    counted = [
        dataclasses.replace(g, traces=tuple(dataclasses.replace(t, num_tokens=len(t.completion)) for t in g.traces))
        for g in by_hand()
    ]
    write_records(select, Group, counted, base=Base(verify))
    assert list(read_records(select)) == counted
    assert list(with_bases(select)) == [select, verify, corpus]
    assert b"answer" not in pq.read_table(select).column("traces").to_string().encode()  # the drawn trace is in verify
    light = [
        Group(dataclasses.replace(g.problem, statement=""), tuple(dataclasses.replace(t, completion="") for t in g.traces))
        for g in counted
    ]  # fmt: skip
    assert list(read_without_text(select)) == light


def test_columns_are_those_of_the_whole(places):
    corpus, verify = places
    write_records(verify, Group, by_hand(), base=Base(corpus))
    assert list(read_outcomes(verify)) == [
        ("p1", "a", {"label": "correct", "final": "correct"}),
        ("p1", "b", {"final": "incorrect"}),
        ("p1", "student", {}),
        ("p2", "a", {}),
    ]
    found = list(read_columns(verify, ["problem.source_row", "traces.list.element.scores.list.element.value"]))
    assert found[0]["problem"]["source_row"] == "mine.jsonl:0" and found[1]["problem"]["source_row"] == "mine.jsonl:1"
    assert [score["value"] for score in found[0]["traces"][0]["scores"]] == [0.5, 0.0]


def test_a_run_may_be_moved(places, tmp_path):
    corpus, verify = places
    write_records(verify, Group, by_hand(), base=Base(corpus))
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("corpus", "verify"):
        shutil.move(tmp_path / name, moved / name)
    assert list(read_records(moved / "verify/groups/part-00000.parquet")) == by_hand()


def test_the_bytes_do_not_depend_on_the_place(tmp_path, monkeypatch):
    found = []
    for name in ("one", "a/deeper/place"):
        (tmp_path / name).mkdir(parents=True)
        monkeypatch.chdir(tmp_path / name)
        corpus, verify = (Path(f"{stage}/groups/part-00000.parquet") for stage in ("corpus", "verify"))
        write_records(corpus, Group, CORPUS)
        write_records(verify, Group, by_hand(), base=Base(corpus if name == "one" else corpus.absolute()))
        found.append(verify.read_bytes())
    assert found[0] == found[1]


def rewrite(path, change) -> None:
    """The rows of a file changed by hand, its metadata kept."""
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, table.schema), path)


MISFITS = {
    "a trace is missing": (lambda rows: rows[0]["traces"].pop(0), r"trace t1 is missing \(problem p1\)"),
    "a trace occurs twice": (lambda rows: rows[0]["traces"].append(rows[0]["traces"][0]), "trace t1 occurs twice"),
    "a foreign trace": (lambda rows: rows[1]["traces"][0].update(id="tx"), "trace tx is not in the other file"),
    "a problem is missing": (lambda rows: rows.pop(1), "problem p2 is missing or out of order"),
    "the last problem is missing": (lambda rows: rows.pop(), "problem p3 is missing"),
    "a problem occurs twice": (lambda rows: rows.append(rows[2]), "problem p3 is not in the other file, or occurs twice"),
    "a foreign problem": (lambda rows: rows.append({**rows[2], "problem": {**rows[2]["problem"], "id": "px"}}), "problem px is not"),
    "another order": (lambda rows: rows.reverse(), "problem p1 is missing or out of order"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISFITS)
def test_files_that_do_not_fit_are_one_sentence(places, name):
    corpus, verify = places
    write_records(verify, Group, by_hand(), base=Base(corpus))
    change, sentence = MISFITS[name]
    rewrite(verify, change)
    for read in (read_records, read_without_text, read_outcomes):
        with pytest.raises(OperatorError, match=sentence) as caught:
            list(read(verify))
        assert str(verify) in str(caught.value) and "--from verify" in str(caught.value)


def test_a_base_that_is_gone_or_damaged_is_one_sentence(places, tmp_path):
    corpus, verify = places
    folder = StageFolder(tmp_path / "corpus", "x")
    folder.finish_shard(0, Shard({"groups": (Group, CORPUS)}, {"traces": Account("trace", 3, 3)}))
    write_records(verify, Group, by_hand(), base=Base(corpus))
    whole = corpus.read_bytes()
    corpus.write_bytes(whole[:200] + bytes([whole[200] ^ 1]) + whole[201:])
    with pytest.raises(OperatorError, match=r"corpus/groups/part-00000.parquet is corrupt \(checksum mismatch\)"):
        list(read_records(verify))
    corpus.unlink()
    with pytest.raises(
        OperatorError, match=r"holds only what its stage added to .*corpus/groups/part-00000\.parquet, which is missing"
    ):
        list(read_records(verify))  # fmt: skip


def test_only_a_stage_that_may_leaves_traces_out(places):
    corpus, verify = places
    one = CORPUS[0]
    fewer = [Group(one.problem, one.traces[1:]), CORPUS[2]]  # without t1, and without p2
    write_records(verify, Group, fewer, base=Base(corpus, leaves_out=True))
    assert list(read_records(verify)) == fewer
    assert [trace["completion"] for row in pq.read_table(verify).to_pylist() for trace in row["traces"]] == [None]


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_whatever_a_stage_makes_of_groups_is_read_as_it_was(data, tmp_path_factory):
    """A stage of the recipe's own may change what it likes; a changed text is stored, an unchanged one is not."""
    folder = tmp_path_factory.mktemp("made")
    after = []
    for group in CORPUS:
        traces = []
        for trace in group.traces:
            if data.draw(st.booleans()):
                traces.append(
                    dataclasses.replace(
                        trace,
                        completion=data.draw(st.sampled_from([trace.completion, "another text"])),
                        finish_reason=data.draw(st.sampled_from([trace.finish_reason, "length"])),
                        num_tokens=data.draw(st.sampled_from([trace.num_tokens, None, 3])),
                        verdicts=data.draw(st.sampled_from([trace.verdicts, {}, {"label": WRONG}, {"new": RIGHT}])),
                        scores=data.draw(st.sampled_from([trace.scores, {}, {"given": 1.0}, {"x": 2.0}])),
                        notes=data.draw(st.sampled_from([trace.notes, {}, {"critique": "other"}])),
                    )
                )
        problem = dataclasses.replace(
            group.problem,
            statement=data.draw(st.sampled_from([group.problem.statement, "Another?"])),
            answer_type=data.draw(st.sampled_from([group.problem.answer_type, None, "text"])),
            metadata=data.draw(st.sampled_from([group.problem.metadata, {}, {"kind": "x"}, {"new": [1]}])),
        )
        if data.draw(st.booleans()):
            after.append(Group(problem, tuple(traces)))
    corpus, own = folder / "corpus/groups/part-00000.parquet", folder / "own/groups/part-00000.parquet"
    write_records(corpus, Group, CORPUS)
    assert can_add(CORPUS, after)
    write_records(own, Group, after, base=Base(corpus, leaves_out=True))
    assert list(read_records(own)) == after
    whole = own.read_bytes()
    write_records(own, Group, after, base=Base(corpus, leaves_out=True), before=CORPUS)
    assert own.read_bytes() == whole, "groups at hand and groups read again add the same"


def test_another_order_and_a_doubled_trace_are_no_addition():
    one, two, three = CORPUS
    assert can_add(CORPUS, [one, three]) and not can_add(CORPUS, [three, one]) and not can_add(CORPUS, [one, one])
    assert not can_add(CORPUS, [Group(one.problem, (one.traces[0], one.traces[0])), two])
    assert not can_add(CORPUS, [Group(dataclasses.replace(one.problem, id="px"), ())])


def test_additions_stay_on_the_disk_beyond_a_batch(tmp_path):
    """More rows than are read or written at once."""
    corpus, verify = (tmp_path / f"{stage}/groups/part-00000.parquet" for stage in ("corpus", "verify"))
    groups = [Group(Problem(f"p{i}", f"{i}?"), (Trace(f"t{i}", f"it is {i}", "a"),)) for i in range(2300)]
    judged = [Group(g.problem, tuple(t.with_verdict("final", RIGHT) for t in g.traces)) for g in groups]
    write_records(corpus, Group, groups)
    assert write_records(verify, Group, judged, base=Base(corpus)) == 2300
    assert list(read_records(verify)) == judged


def test_a_run_of_before_whose_stages_wrote_every_text_is_read(places):
    _, verify = places
    write_records(verify, Group, by_hand())
    assert list(read_records(verify)) == by_hand() and len(list(read_outcomes(verify))) == 4
