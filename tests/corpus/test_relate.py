"""Which problems are one problem duplicated: golds that differ, golds that are missing, chains, and shards that stay apart."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from redistill.corpus import relate
from redistill.corpus.decontaminate import Benchmarks
from redistill.io.atomic import read_json
from redistill.records import make_problem
from redistill.text.statements import similarity

# Tellings of one problem: they differ in words without weight only.
TELLINGS = [
    "What is $7 \\cdot 6$?",
    "Find $7 \\cdot 6$.",
    "Compute the value of 7*6.",
    "Determine 7 * 6",
    "Evaluate 7*6.",
]


def by_id(statements: list[str]) -> list[str]:
    """Statements in the order of their ids: the first of several that are one leads."""
    return sorted(statements, key=id_of)


def id_of(statement: str) -> str:
    return make_problem(statement).id


def sign(shuffle: Path, rows: list[tuple[str, str | None]], num_shards: int = 1, **options: Any) -> None:
    """Rows (statement, gold answer) as the first pass leaves them, then signed. options: of `relate.sign`."""
    for index in range(num_shards):
        folder = shuffle / f"{index:05d}"
        folder.mkdir(parents=True)
        told = [
            relate.statement_line(make_problem(statement, answer=answer))
            for statement, answer in rows
            if int(id_of(statement)[1:], 16) * num_shards >> 64 == index
        ]
        (folder / "00000.statements").write_bytes(relate.frame(told))
        relate.sign(folder, **{"benchmarks": None, "admitted": lambda id: True, **options})


def merged(
    shuffle: Path,
    rows: list[tuple[str, str | None]],
    num_shards: int = 1,
    near: relate.Near = "off",
    threshold: float = 0.8,
) -> dict[str, str]:
    """{statement: its leader's statement} of all that go into another."""
    sign(shuffle, rows, num_shards)
    relate.relate(shuffle, num_shards, near=near, threshold=threshold)
    statement = {id_of(text): text for text, _ in rows}
    found = [read_json(shuffle / f"{index:05d}" / "relations.json") for index in range(num_shards)]
    return {statement[one]: statement[other] for into in found for one, other in into["into"].items()}


# --- the same but for words without weight ------------------------------------------------------------------------


def test_a_problem_without_gold_joins_neither_of_two_with_different_golds(tmp_path: Path) -> None:
    """42 says one source, 43 the other, the third says nothing: whose it is cannot be known, whatever the order of ids."""
    for without in range(3):
        golds = ["42", "43"]
        golds.insert(without, None)  # type: ignore[arg-type]
        rows = list(zip(by_id(TELLINGS[:3]), golds))
        assert merged(tmp_path / str(without), rows) == {}


def test_two_groups_of_different_golds_stay_two_and_the_one_without_gold_stays_alone(tmp_path: Path) -> None:
    a, b, c, d, e = by_id(TELLINGS)
    assert merged(tmp_path, [(a, None), (b, "42"), (c, "43"), (d, "42"), (e, "43")]) == {d: b, e: c}


def test_a_problem_without_gold_joins_the_only_gold_there_is(tmp_path: Path) -> None:
    a, b, c, d, _ = by_id(TELLINGS)
    # whoever has the gold leads, though a smaller id has none
    assert merged(tmp_path, [(a, None), (b, "42"), (c, None), (d, "42")]) == {a: b, c: b, d: b}


def test_of_problems_without_any_gold_the_smallest_id_leads(tmp_path: Path) -> None:
    a, b, c, _, _ = by_id(TELLINGS)
    assert merged(tmp_path, [(c, None), (a, None), (b, None)]) == {b: a, c: a}


def test_golds_are_compared_by_value(tmp_path: Path) -> None:
    a, b, c, _, _ = by_id(TELLINGS)
    assert merged(tmp_path, [(a, "1/2"), (b, "0.5"), (c, "\\dfrac12")]) == {b: a, c: a}


def test_a_problem_whose_own_rows_disagree_is_merged_with_none(tmp_path: Path) -> None:
    a, b, c, _, _ = by_id(TELLINGS)
    contested = [(a, "42"), (a, "43"), (a, "43"), (a, "42")]  # once contested, it stays so
    assert merged(tmp_path / "a", [*contested, (b, "42"), (c, "42")]) == {c: b}
    assert merged(tmp_path / "b", [*contested, (b, None)]) == {}
    # the first row knew no gold; the later two know different ones
    assert merged(tmp_path / "c", [(a, None), (a, "42"), (a, "43"), (b, "43")]) == {}


def test_rows_that_write_one_value_in_two_ways_do_not_disagree(tmp_path: Path) -> None:
    a, b, _, _, _ = by_id(TELLINGS)
    assert merged(tmp_path, [(a, "0.5"), (a, "1/2"), (b, "0.50")]) == {b: a}


def test_a_gold_that_only_a_later_row_knows_is_the_problems(tmp_path: Path) -> None:
    a, b, c, _, _ = by_id(TELLINGS)
    assert merged(tmp_path, [(a, None), (a, "42"), (b, "43"), (c, "42")]) == {c: a}


# --- alike -----------------------------------------------------------------------------------------------------------


def telling(*places: int, word: str = "golden", number: int = 17) -> str:
    """A statement of 19 tokens, so 18 pairs of neighbours, in which `word` stands at these of its ten free places."""
    free = ["red", "blue", "green", "black", "white", "small", "round", "heavy", "old", "new"]
    words = [word if place in places else other for place, other in enumerate(free)]
    return f"Ada packs {' '.join(words[:5])} marbles and {number} {' '.join(words[5:])} stones that Boris if"


def test_the_threshold_belongs_to_those_that_are_alike(tmp_path: Path) -> None:
    # one word of 19 differs: 16 of 18 pairs are shared, of 20 in all: 0.8
    rows = [(telling(), "5"), (telling(2), "5")]
    a, b = by_id([text for text, _ in rows])
    assert similarity(a, b) == 16 / 20
    assert merged(tmp_path / "at", rows, near="merge", threshold=0.8) == {b: a}
    assert merged(tmp_path / "above", rows, near="merge", threshold=0.81) == {}
    assert merged(tmp_path / "off", rows, near="off", threshold=0.8) == {}


@pytest.mark.parametrize(
    ("other", "golds"),
    [
        (telling(2, number=18), ("5", "5")),  # another number is another problem
        (telling(2), ("5", "6")),
        (telling(2), ("5", None)),  # statements that are only alike need golds that are known
        (telling(2), (None, None)),
    ],
)
def test_alike_but_of_other_numbers_or_golds_is_not_one_problem(tmp_path: Path, other: str, golds: Any) -> None:
    assert merged(tmp_path, list(zip([telling(), other], golds)), near="merge", threshold=0.5) == {}


def test_a_contested_problem_is_not_alike_to_any(tmp_path: Path) -> None:
    rows = [(text, gold) for text in (telling(), telling(2)) for gold in ("5", "6")]
    assert merged(tmp_path, rows, near="merge", threshold=0.5) == {}  # both are contested


def test_what_goes_into_a_problem_that_goes_into_another_goes_there_too(tmp_path: Path) -> None:
    """`late` is `middle` but for a word without weight, `middle` is alike `first`: both end in `first`."""
    first, middle = by_id([telling(), telling(2)])
    told_again = (f"{middle}{' then' * times}" for times in range(1, 99))
    late = next(text for text in told_again if id_of(text) > id_of(middle))
    assert merged(tmp_path, [(text, "5") for text in (late, middle, first)], near="merge") == {
        middle: first,
        late: first,
    }


def test_a_problem_that_leads_follows_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """b and c meet in the first band, a and b in the second: b leads c by then, and c is nothing like a."""
    a, b, c = by_id([telling(1), telling(1, 4), telling(1, 4, 8)])
    assert similarity(a, b) >= 0.8 and similarity(b, c) >= 0.8
    met = {a: [1, 7], b: [2, 7], c: [2, 9]}
    bands = iter(
        [met[text] + [100 * place + n for n in range(relate.BANDS - 2)] for place, text in enumerate([a, b, c])]
    )
    monkeypatch.setattr(relate, "_bands", lambda pieces: next(bands))
    assert merged(tmp_path / "b", [(text, "5") for text in (a, b, c)], near="merge") == {c: b}


def test_a_problem_that_follows_leads_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All meet in every band. b follows a; c is alike b, not a: it stays a problem of its own."""
    a, b, c = by_id([telling(), telling(2), telling(7)])
    monkeypatch.setattr(relate, "_bands", lambda pieces: [1] * relate.BANDS)
    alike = {(a, b): 0.9, (b, c): 0.9, (a, c): 0.1}
    monkeypatch.setattr(relate, "similarity", lambda one, other: alike[one, other])
    assert merged(tmp_path, [(text, "5") for text in (a, b, c)], near="merge") == {b: a}


def test_problems_that_are_only_listed_stay_two(tmp_path: Path) -> None:
    a, b = by_id([telling(), telling(2)])
    assert merged(tmp_path, [(a, "5"), (b, "5")], near="report") == {}
    assert read_json(tmp_path / "00000" / "relations.json")["alike"] == [[id_of(b), id_of(a), 0.8, b, a]]


# --- shards ----------------------------------------------------------------------------------------------------------


def shard_of(statement: str, num_shards: int) -> int:
    return int(id_of(statement)[1:], 16) * num_shards >> 64


def relations(shuffle: Path, num_shards: int) -> list[dict[str, Any]]:
    return [read_json(shuffle / f"{index:05d}" / "relations.json") for index in range(num_shards)]


def test_a_follower_is_sent_to_the_shard_of_its_leader_in_either_direction(tmp_path: Path) -> None:
    """16 shards: one telling each, others empty. The gold decides who leads, so some followers stand before it."""
    tellings = by_id(TELLINGS)
    places = [shard_of(text, 16) for text in tellings]
    assert len(set(places)) > 2
    lead = tellings[2]
    sign(tmp_path, [(text, "42" if text == lead else None) for text in tellings], 16)
    moves = relate.relate(tmp_path, 16, near="report", threshold=0.8)
    found = relations(tmp_path, 16)
    others = [text for text in tellings if text != lead]
    assert found[shard_of(lead, 16)]["into"] == {id_of(text): id_of(lead) for text in others}
    away = [text for text in others if shard_of(text, 16) != shard_of(lead, 16)]
    assert {
        min(shard_of(t, 16) for t in away) < shard_of(lead, 16),
        max(shard_of(t, 16) for t in away) > shard_of(lead, 16),
    } == {True}
    for index, facts in enumerate(found):
        mine = [text for text in away if shard_of(text, 16) == index]
        assert facts["away"] == {id_of(text): shard_of(lead, 16) for text in mine}
        assert moves.get(index, 0) == len(mine)


def test_alike_problems_of_two_shards_are_listed_with_the_leader(tmp_path: Path) -> None:
    first = telling()
    other = next(text for text in map(telling, range(10)) if shard_of(text, 16) != shard_of(first, 16))
    a, b = by_id([first, other])
    sign(tmp_path, [(a, "5"), (b, "5")], 16)  # fourteen shards are empty
    relate.relate(tmp_path, 16, near="report", threshold=0.75)
    listed = {index: facts["alike"] for index, facts in enumerate(relations(tmp_path, 16)) if facts["alike"]}
    assert listed == {shard_of(a, 16): [[id_of(b), id_of(a), similarity(a, b), b, a]]}


def test_rows_are_moved_to_the_shard_of_their_leader_in_their_order(tmp_path: Path) -> None:
    stays, goes = "p" + "1" * 16, "p" + "2" * 16
    rows = [json.dumps({"id": id, "row": f"x:{n}"}).encode() + b"\n" for n, id in enumerate([goes, stays, goes])]
    for index in range(2):
        (tmp_path / f"{index:05d}").mkdir()
    (tmp_path / "00001" / "00000.zst").write_bytes(relate.frame(rows))
    (tmp_path / "00001" / "relations.json").write_text(json.dumps({"into": {}, "away": {goes: 0}, "alike": []}))
    relate.move(tmp_path, 1)
    assert list(relate.lines(tmp_path / "00000" / "moved-00001.zst")) == [rows[0], rows[2]]
    assert list(relate.lines(tmp_path / "00001" / "00000.zst")) == rows  # they stay here too


# --- one shard's signs -------------------------------------------------------------------------------------------------


def signs(folder: Path) -> np.ndarray:
    return np.load(folder / "00000" / "signs.npz")["table"]


def test_one_statement_is_taken_of_rows_that_differ_in_white_space(tmp_path: Path) -> None:
    one, other = "Find  7*6", "Find 7*6"
    assert id_of(one) == id_of(other)
    for name, rows in (("a", [(one, None), (other, None)]), ("b", [(other, None), (one, None)])):
        sign(tmp_path / name, rows)
    found = [(tmp_path / name / "00000" / "statements.bin").read_text() for name in "ab"]
    assert found[0] == found[1] == min(one, other)


def test_problems_beyond_the_limit_are_not_signed(tmp_path: Path) -> None:
    a, b, _, _, _ = by_id(TELLINGS)
    sign(tmp_path, [(a, "42"), (b, "42")], admitted=lambda id: id == id_of(b))
    assert signs(tmp_path)[:, 0].tolist() == [int(id_of(b)[1:], 16)]


@pytest.mark.parametrize(("leaks", "action", "signed"), [("remove", "dropped", 1), ("report", "listed", 2)])
def test_a_problem_of_a_benchmark_is_written_down_and_signed_only_where_it_stays(
    tmp_path: Path, leaks: str, action: str, signed: int
) -> None:
    eval_config = make_problem(telling(), answer="5", source="exam", source_row="exam.jsonl:1")
    sign(tmp_path, [(telling(), "5"), (TELLINGS[0], "42")], benchmarks=Benchmarks([eval_config]), leaks=leaks)
    found = read_json(tmp_path / "00000" / "leaks.json")
    assert {id: leak["action"] for id, leak in found.items()} == {id_of(telling()): action}
    assert len(signs(tmp_path)) == signed
