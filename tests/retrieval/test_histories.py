"""What customers bought, and which of it is asked in which split."""

import re

import pytest

from redistill.errors import OperatorError
from redistill.retrieval.collection import Query
from redistill.retrieval.histories import Cut, History, histories, history_files, is_held_out, next_purchase

TITLES = {"a": "soap", "b": "towel", "c": "brush"}
BOUGHT = History("u", ("a", "b", "a", "c"), "x:1")


def test_the_last_purchase_is_asked_of_the_ones_before_it():
    assert next_purchase(BOUGHT, TITLES, Cut(test_users=0.0)) == Query("u", "soap\ntowel\nsoap", {"c": 1.0}, "x:1")
    told = next_purchase(BOUGHT, TITLES, Cut(test_users=0.0, last=2, separator=", "))
    assert told == Query("u", "towel, soap", {"c": 1.0}, "x:1")


def test_transductive_trains_on_the_purchase_before_the_one_that_is_tested():
    train, test = (next_purchase(BOUGHT, TITLES, Cut(split, "transductive")) for split in ("train", "test"))
    assert (train.text, train.relevant) == ("soap\ntowel", {"a": 1.0})
    assert (test.text, test.relevant) == ("soap\ntowel\nsoap", {"c": 1.0})


def test_inductive_holds_whole_customers_out():
    users = [f"user {n}" for n in range(2_000)]
    cut = Cut(test_users=0.2)
    held = {user for user in users if is_held_out(user, cut)}
    assert 320 < len(held) < 480  # 400 +- 18 (binomial), over four of them
    assert held != {user for user in users if is_held_out(user, Cut(test_users=0.2, seed=1))}
    assert held > {user for user in users if is_held_out(user, Cut(test_users=0.1))}
    for user in users[:50]:
        found = {
            s: next_purchase(History(user, ("a", "b"), ""), TITLES, Cut(s, test_users=0.2)) for s in ("train", "test")
        }
        assert {s for s, query in found.items() if isinstance(query, Query)} == {"test" if user in held else "train"}


@pytest.mark.parametrize(
    ("items", "cut", "reason"),
    [
        (("a",), Cut(test_users=0.0), "short_history"),
        (("a", "b"), Cut("train", "transductive"), "short_history"),
        (("a", "z"), Cut(test_users=0.0), "unknown_item"),
        (("a", "b"), Cut("test", test_users=0.0), "not_held_out"),
        (("a", "b"), Cut("train", test_users=1.0), "held_out"),
    ],
)
def test_why_a_customer_is_not_asked(items, cut, reason):
    assert next_purchase(History("u", items, ""), TITLES, cut) == reason


def test_an_item_without_a_title_is_told_by_its_id():
    assert next_purchase(History("u", ("z", "b"), ""), TITLES, Cut(test_users=0.0)).text == "z"


def test_rows_become_histories_by_time(tmp_path):
    (tmp_path / "corpus.jsonl").write_text('{"_id": "a", "text": "soap"}')
    (tmp_path / "interactions.csv").write_text("who,parent_asin,timestamp\nu,b,20\nv,a,5\nu,a,10\nu,c,20\n")
    found = list(histories(str(tmp_path), user_column="who", item_column="parent_asin"))
    assert [(h.user, h.items, h.row) for h in found] == [
        ("u", ("a", "b", "c"), "interactions.csv:2"),  # equal times in the order of the file
        ("v", ("a",), "interactions.csv:3"),
    ]
    assert [path.name for path in history_files(str(tmp_path))] == ["interactions.csv", "corpus.jsonl"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("user_id,item_id\nu,b\n", "interactions.csv:2: no 'timestamp'"),
        ("user_id,item_id,timestamp\nu,b,soon\n", "interactions.csv:2: 'timestamp' must be a number (got 'soon')"),
    ],
)
def test_broken_purchases_are_one_sentence(tmp_path, text, said):
    (tmp_path / "interactions.csv").write_text(text)
    with pytest.raises(OperatorError, match=re.escape(said)):
        list(histories(str(tmp_path)))


def test_a_folder_without_purchases(tmp_path):
    with pytest.raises(OperatorError, match="holds no file interactions"):
        list(histories(str(tmp_path)))
