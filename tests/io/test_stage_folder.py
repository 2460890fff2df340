"""What a stage writes it reads back; what it has finished it does not do again; what is damaged it makes again."""

import dataclasses
import json
import os
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from redistill.errors import OperatorError
from redistill.io.atomic import atomic_write, read_json, write_bytes, write_json
from redistill.io.fingerprints import fingerprint
from redistill.io.joined import Base
from redistill.io.parquet import read_records, read_table, with_bases, write_records
from redistill.io.schemas import to_row
from redistill.io.stage_folder import LAYOUT_VERSION, Account, Shard, StageFolder, check_layout
from redistill.records import Dropped, Example, Group, Outcome, Pair, Problem, Trace, Verdict

# any text there is, with the marks that break files: NUL, lone surrogates, bidi marks, line ends that are not \n
TEXT = st.text(max_size=30) | st.text(
    st.sampled_from('\x00\ud800\udfff\u202e\u2066\u2028\x85\r\n\t\x1b"\\{}é🙂a'), max_size=30
)
ID = st.text("0123456789abcdeft", max_size=17)  # a hash, as make_trace makes it
NUMBER = st.floats(allow_nan=False)
VERDICT = st.builds(Verdict, st.sampled_from(Outcome), st.none() | TEXT, TEXT, TEXT, TEXT, NUMBER)
TRACE = st.builds(
    Trace, ID, TEXT, TEXT, st.dictionaries(ID, st.integers() | NUMBER | st.text() | st.none(), max_size=3),
    st.sampled_from(["stop", "length", None]), st.none() | st.integers(0, 2**40),
    st.dictionaries(TEXT, VERDICT, max_size=3), st.dictionaries(TEXT, NUMBER, max_size=3),
)  # fmt: skip
PROBLEM = st.builds(Problem, TEXT, TEXT, st.none() | TEXT, st.none() | TEXT, TEXT, TEXT)
SPANS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), NUMBER), max_size=2).map(tuple)
RECORDS = {
    Group: st.builds(Group, PROBLEM, st.lists(TRACE, max_size=3).map(tuple)),
    Problem: PROBLEM,
    Example: st.builds(Example, TEXT, TEXT, TEXT, TEXT, weight=NUMBER, spans=SPANS),
    Pair: st.builds(Pair, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT, NUMBER),
    Dropped: st.builds(Dropped, TEXT, TEXT, TEXT),
}


def storable(value):
    """The same record with "?" for every lone surrogate, which no UTF-8 file can hold."""
    if isinstance(value, Outcome) or (
        not isinstance(value, str | dict | tuple) and not dataclasses.is_dataclass(value)
    ):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {storable(k): storable(v) for k, v in value.items()}
    if isinstance(value, tuple):
        return tuple(map(storable, value))
    names = [f.name for f in dataclasses.fields(value)]
    return dataclasses.replace(value, **{name: storable(getattr(value, name)) for name in names})


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
def test_records_come_back_as_they_were(kind, tmp_path):
    path = tmp_path / "part-00000.parquet"

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
    @given(st.lists(RECORDS[kind], max_size=4))
    def story(records):
        assert write_records(path, kind, records) == len(records)
        assert list(read_records(path)) == [storable(r) for r in records]

    story()


def test_more_records_than_a_row_group_holds_come_back_in_order(tmp_path):
    records = [Dropped(str(i), "corpus", "bad_json") for i in range(2500)]
    write_records(tmp_path / "a.parquet", Dropped, iter(records))
    assert list(read_records(tmp_path / "a.parquet")) == records
    with pq.ParquetFile(tmp_path / "a.parquet") as file:
        assert [file.metadata.row_group(i).num_rows for i in range(3)] == [1000, 1000, 500]


def test_a_file_is_whole_or_the_old_one(tmp_path):
    path = tmp_path / "a.parquet"
    write_records(path, Dropped, [Dropped("a", "b", "c")])

    def broken():
        yield Dropped("x", "y", "z")
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        write_records(path, Dropped, broken())
    assert list(read_records(path)) == [Dropped("a", "b", "c")]
    with pytest.raises(RuntimeError), atomic_write(path):  # before there is anything to remove
        raise RuntimeError("power cut")
    assert [p.name for p in tmp_path.iterdir()] == ["a.parquet"]


def test_a_file_that_nothing_vouches_for_and_cannot_be_read_is_corrupt_in_a_sentence(tmp_path):
    pages, footer, word = (tmp_path / f"{name}.parquet" for name in ("pages", "footer", "word"))
    group = Group(Problem("p", "q"), (Trace("t", "x", verdicts={"a": Verdict(Outcome.correct)}),))
    write_records(pages, Group, [group])
    whole = pages.read_bytes()
    footer.write_bytes(b"PAR1 not really")
    pages.write_bytes(whole[:4] + bytes(60) + whole[64:])  # the footer is whole
    table = pa.Table.from_pylist([to_row(group)], pq.read_schema(pages))
    rows = table.to_pylist()
    rows[0]["traces"][0]["verdicts"][0]["outcome"] = "certainly"  # a word that no version has written
    pq.write_table(pa.Table.from_pylist(rows, table.schema), word)
    for path, readers in (
        (pages, (read_records, read_table)),
        (footer, (read_table, with_bases)),
        (word, (read_records,)),
    ):
        for reader in readers:
            with pytest.raises(OperatorError, match=rf"{path.name} is corrupt \(.*Run its recipe again"):
                list(reader(path))


def test_a_foreign_file_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 not really")
    pq.write_table(pa.table({"x": [1]}), tmp_path / "b.parquet")
    (tmp_path / "c.json").write_text("{")
    for name in ("a.parquet", "b.parquet", "none.parquet"):
        with pytest.raises(OperatorError, match=r"is not a record file of redistill"):
            list(read_records(tmp_path / name))
    with pytest.raises(OperatorError, match=r"cannot read .*c.json"):
        read_json(tmp_path / "c.json")


# --- accounts ---


def test_an_account_that_lost_a_record_is_our_bug():
    account = Account("trace")
    account.keep()
    account.drop("too_long")
    account.check("fine")
    account.came_in += 1
    with pytest.raises(AssertionError, match=r"account select/pairs: 3 in, 2 kept or dropped"):
        account.check("select/pairs")


def test_reasons_go_by_falling_count_then_name():
    dropped = Account("row", 5, 0, Counter(c=1, a=1, b=3)).to_json()["dropped"]
    assert list(dropped.items()) == [("b", 3), ("a", 1), ("c", 1)]


def test_a_stage_one_of_whose_markers_lost_a_record_is_never_finished(tmp_path):
    stage_dir = opened(tmp_path)
    stage_dir.finish_shard(0, shard(0))
    marker = read_json(stage_dir.marker(0))
    marker.pop("checksum", None)
    marker["accounts"]["rows"]["kept"] -= 1
    write_json(stage_dir.marker(0), marker)
    with pytest.raises(AssertionError, match="account stage/rows: 2 in, 1 kept or dropped"):
        stage_dir.finish(1)


def test_a_shard_whose_account_does_not_balance_is_never_marked_done(tmp_path):
    stage_dir = opened(tmp_path)
    with pytest.raises(AssertionError):
        stage_dir.finish_shard(0, Shard({}, {"rows": Account("row", came_in=2, kept=1)}))
    assert not stage_dir.is_done(0)


@settings(max_examples=50, derandomize=True, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.dictionaries(st.sampled_from("abc"), st.integers(1, 9)))))
def test_accounts_add_up_and_come_back_from_json(parts):
    total = Account("row")
    for kept, dropped in parts:
        total.add(Account("row", kept + sum(dropped.values()), kept, Counter(dropped)))
    total.check("sum")
    assert Account.from_json(json.loads(json.dumps(total.to_json()))) == total
    assert total.kept == sum(kept for kept, _ in parts)


# --- the stage ---


def shard(number):
    account = Account("row")
    account.keep()
    account.drop("too_long")
    record = Example(f"p{number}", "t", "q", "a")
    return Shard(
        {"examples": (Example, [record])},
        {"rows": account},
        [Dropped("x", "select", "too_long")],
        {"words": Counter(a=1)},
    )


def opened(folder, stage_fingerprint="one"):
    stage_dir = StageFolder(folder / "stage", stage_fingerprint)
    stage_dir.open()
    return stage_dir


def finished(folder):
    stage_dir = opened(folder)
    for number in range(3):
        stage_dir.finish_shard(number, shard(number))
    stage_dir.finish(3)
    return stage_dir


def test_the_ledger_sums_its_shards(tmp_path):
    stage_dir = finished(tmp_path)
    assert stage_dir.is_finished()
    ledger = stage_dir.ledger()
    assert ledger["accounts"]["rows"] == {"unit": "row", "in": 6, "kept": 3, "dropped": {"too_long": 3}}
    assert ledger["tallies"] == {"words": {"a": 3}} and ledger["num_shards"] == 3
    assert [e.problem_id for e in stage_dir.read("examples")] == ["p0", "p1", "p2"]


def test_a_stage_cut_short_keeps_its_finished_shards(tmp_path):
    stage_dir = opened(tmp_path)
    stage_dir.finish_shard(0, shard(0))
    again = opened(tmp_path)
    assert again.is_done(0) and not again.is_done(1) and not again.is_finished()


def test_a_shard_without_its_mark_is_not_done(tmp_path):
    stage_dir = opened(tmp_path)
    stage_dir.finish_shard(0, shard(0))
    stage_dir.marker(0).unlink()
    assert not stage_dir.is_done(0)


@pytest.mark.parametrize("harm", ["shorter", "changed", "gone"])
def test_a_damaged_shard_is_not_done_and_its_stage_not_finished(tmp_path, harm):
    stage_dir = finished(tmp_path)
    path = stage_dir.folder / "examples/part-00001.parquet"
    data = path.read_bytes()
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes(data[:-3] if harm == "shorter" else data[:40] + bytes([data[40] ^ 1]) + data[41:])
    assert not stage_dir.is_finished() and [stage_dir.is_done(n) for n in range(3)] == [True, False, True]


def test_another_fingerprint_empties_the_stage(tmp_path):
    finished(tmp_path)
    assert not StageFolder(tmp_path / "room", "two").is_finished()
    stage_dir = opened(tmp_path, "two")
    assert [p.name for p in stage_dir.folder.iterdir()] == ["fingerprint"]


@pytest.mark.parametrize("stamp", ["another", None])
def test_a_finished_stage_whose_stamp_is_damaged_has_its_own_again_and_a_whole_one_is_not_written_over(tmp_path, stamp):
    stage_dir = finished(tmp_path)
    path = stage_dir.folder / "fingerprint"
    before = path.stat().st_ino
    assert stage_dir.is_finished() and path.stat().st_ino == before
    if stamp is None:
        path.unlink()
    else:
        path.write_text(stamp)
    assert stage_dir.is_finished() and path.read_text() == "one"


def test_what_vouches_for_something_damaged_is_removed(tmp_path):
    stage_dir = finished(tmp_path)
    harmed = stage_dir.folder / "examples/part-00001.parquet"
    harmed.write_bytes(b"")
    stage_dir.marker(2).write_bytes(b"{")
    assert not stage_dir.is_done(1) and not stage_dir.is_done(2)
    assert [stage_dir.marker(n).exists() for n in range(3)] == [True, False, False]
    finished(tmp_path)
    stage_dir.marker(2).unlink()
    assert not stage_dir.is_finished() and not stage_dir.ledger_path.exists()


def test_a_stage_that_is_opened_again_has_no_ledger_and_one_that_is_cleared_only_its_key(tmp_path):
    stage_dir = finished(tmp_path)
    (stage_dir.folder / "key.json").write_text("{}")
    opened(tmp_path)
    assert not stage_dir.ledger_path.exists() and stage_dir.is_done(2)
    stage_dir.clear()
    assert {p.name for p in stage_dir.folder.iterdir()} == {"fingerprint", "key.json"}
    StageFolder(tmp_path / "nothing", "one").clear()


def test_only_the_groups_of_a_shard_add_to_those_of_a_base(tmp_path):
    corpus = tmp_path / "corpus/groups/part-00000.parquet"
    group = Group(Problem("p", "a statement"), (Trace("t", "a completion"),))
    write_records(corpus, Group, [group])
    stage_dir = opened(tmp_path)
    stage_dir.finish_shard(
        0, Shard({"groups": (Group, [group]), "examples": (Example, [Example("p", "t", "q", "a")])}), base=Base(corpus)
    )
    assert list(stage_dir.read("groups")) == [group] and list(stage_dir.read("examples")) == [
        Example("p", "t", "q", "a")
    ]
    found = {stream: list(with_bases(stage_dir.shard_files(stream)[0]))[1:] for stream in ("groups", "examples")}
    assert found == {"groups": [corpus], "examples": []}


def test_a_folder_without_a_stamp_is_emptied(tmp_path):
    stage_dir = finished(tmp_path)
    (stage_dir.folder / "fingerprint").unlink()
    assert not opened(tmp_path).is_done(0)


def test_a_fingerprint_is_of_content_and_not_of_order():
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1}) != fingerprint({"a": 1, "b": 3})
    assert fingerprint("a", "b") != fingerprint("ab") and fingerprint(1) != fingerprint("1")


def test_a_row_is_plain_json(tmp_path):
    group = Group(Problem("p", "q"), (Trace("t", "x", verdicts={"a": Verdict(Outcome.correct)}),))
    assert json.loads(json.dumps(to_row(group)))["traces"][0]["verdicts"][0]["outcome"] == "correct"
    write_bytes(tmp_path / "deep/er/file", b"x")
    assert (tmp_path / "deep/er/file").read_bytes() == b"x" and len(list((tmp_path / "deep/er").iterdir())) == 1


def test_a_files_bytes_are_on_the_disk_before_it_has_its_name_and_its_name_after(tmp_path, monkeypatch):
    """What a machine that loses power between any two of these leaves is the old file or the new one."""
    done = []
    replace = os.replace
    monkeypatch.setattr(
        os, "fsync", lambda number: done.append(("on the disk", os.readlink(f"/proc/self/fd/{number}")))
    )
    monkeypatch.setattr(os, "replace", lambda part, path: (done.append(("named", str(path))), replace(part, path)))
    write_bytes(tmp_path / "ledger.json", b"{}")
    (first, part), named, folder = done
    assert first == "on the disk" and part.startswith(f"{tmp_path}/ledger.json.") and part.endswith(".part")
    assert named == ("named", f"{tmp_path}/ledger.json") and folder == ("on the disk", str(tmp_path))


def test_two_that_write_one_file_at_once_have_files_of_their_own_until_one_is_whole(tmp_path):
    """Two `verify --out X` at once: the last to end has the name, with all of its bytes and none of the other's."""
    path = tmp_path / "judged.jsonl"
    with atomic_write(path) as slow:
        slow.write_text("slow " * 1000)
        with atomic_write(path) as quick:
            quick.write_text("quick")
        assert path.read_text() == "quick"
    assert path.read_text() == "slow " * 1000 and [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_run_of_another_layout_is_one_sentence(tmp_path):
    check_layout(tmp_path)
    (tmp_path / "recipe.yaml").write_text("name: x")
    with pytest.raises(OperatorError, match="made by an older version of redistill"):
        check_layout(tmp_path)
    for layout in (2, LAYOUT_VERSION):
        (tmp_path / "layout.json").write_text(json.dumps({"layout": layout}))
        check_layout(tmp_path)
    (tmp_path / "layout.json").write_text(json.dumps({"layout": LAYOUT_VERSION + 1}))
    with pytest.raises(OperatorError, match="made by a later version of redistill"):
        check_layout(tmp_path)
