"""Sources of search tasks: queries, purchase histories, and the made ones with a teacher who knows only the form."""

import json
import re

import pytest

from redistill.corpus import FOLDERS, SOURCES
from redistill.errors import OperatorError
from redistill.records import Dropped, Group, Outcome
from redistill.retrieval import toy
from redistill.verify.retrieval import read_query


@pytest.fixture
def collection(tmp_path):
    (tmp_path / "corpus.jsonl").write_text('{"_id": "d1", "text": "soap"}\n{"_id": "d2", "text": "towel"}')
    asked = [{"_id": "q1", "text": "to wash"}, {"_id": "q2", "text": "to dry"}]
    (tmp_path / "queries.jsonl").write_text("\n".join(map(json.dumps, asked)))
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels/train.tsv").write_text("q1\td2\t0\nq1\td1\t2\nq2\td1\t0\n")
    return tmp_path


def test_queries_become_problems_without_traces(collection):
    first, second = SOURCES["queries"](folder=str(collection))
    assert (first.problem.statement, first.traces) == ("to wash", ())
    assert first.problem.metadata == {"query_id": "q1", "relevant": {"d1": 2.0}} and first.problem.answer == "d1"
    assert second == Dropped("queries.jsonl:2", "corpus", "no_relevant", "query q2 has no relevant document")


def test_histories_become_problems_and_held_out_customers_are_counted(tmp_path, collection):
    rows = [f"u{n},d{1 + n % 2},1\nu{n},d{2 - n % 2},2" for n in range(40)]
    (collection / "interactions.csv").write_text("user_id,item_id,timestamp\n" + "\n".join(rows))
    found = {
        s: list(SOURCES["purchase-history"](folder=str(collection), split=s, test_users=0.3)) for s in ("train", "test")
    }
    asked = {s: [g.problem.metadata["user"] for g in groups if isinstance(g, Group)] for s, groups in found.items()}
    assert not set(asked["train"]) & set(asked["test"]) and len(asked["train"]) + len(asked["test"]) == 40
    assert {d.reason for d in found["train"] if isinstance(d, Dropped)} == {"held_out"}
    assert [len(groups) for groups in found.values()] == [40, 40]  # none is lost without a word
    problem = next(
        g.problem for g in found["train"] if isinstance(g, Group) and g.problem.metadata["user"] == asked["train"][0]
    )
    number = int(asked["train"][0][1:])
    assert problem.statement == ("soap", "towel")[number % 2] and problem.answer == f"d{2 - number % 2}"


def test_the_teacher_of_the_toy_writes_any_word_of_the_right_shelf_in_the_right_form():
    words = toy.sellers_words("made:catalogue")
    groups = list(SOURCES["toy-catalogue"](problems=300, traces=3))
    said = [read_query(trace.completion, "answer")[0] for group in groups for trace in group.traces]
    assert set(said) == set(words) and max(said.count(word) for word in words) < 60  # 30 +- 5 each
    texts = dict(toy.documents("made:catalogue"))
    right = sum(
        texts[next(iter(group.problem.metadata["relevant"]))].split()[0] == read_query(trace.completion, "answer")[0]
        for group in groups
        for trace in group.traces
    )
    assert 0.14 < right / len(said) < 0.26  # 1 in 5 by chance, +- .015
    assert all(t.verdicts["form"].outcome is Outcome.correct for g in groups for t in g.traces)


def test_the_shop_is_told_in_one_line():
    group = next(iter(SOURCES["toy-catalogue"](folder="made:shop", problems=5)))
    assert re.fullmatch(r"[A-Z1-4](, [A-Z1-4]){4}", group.problem.statement) and len(group.problem.answer) == 7


def test_which_files_are_read_is_known_before_any_work(collection):
    assert [p.name for p in FOLDERS[SOURCES["queries"]](str(collection))] == [
        "corpus.jsonl",
        "queries.jsonl",
        "train.tsv",
    ]
    with pytest.raises(OperatorError, match="holds no file interactions"):
        FOLDERS[SOURCES["purchase-history"]](str(collection))
