"""Collections in their layouts, made ones, and what is said of broken ones."""

import gzip
import json
import re

import pytest

from redistill.errors import OperatorError
from redistill.retrieval import toy
from redistill.retrieval.collection import Query, documents, files_of, identity, queries


@pytest.fixture
def beir(tmp_path):
    rows = [{"_id": "d1", "title": "Statins", "text": "lower cholesterol"}, {"_id": "d2", "text": "bread and salt"}]
    (tmp_path / "corpus.jsonl").write_text("\n".join(map(json.dumps, rows)))
    asked = [{"_id": "q1", "text": "cholesterol drugs"}, {"_id": "q2", "text": "salt"}, {"_id": 3, "text": "bread"}]
    (tmp_path / "queries.jsonl").write_text("\n".join(map(json.dumps, asked)))
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels/train.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\n")
    (tmp_path / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\nq2\td2\t1\n3\td2\t1\n")
    return tmp_path


def test_beir_folder(beir):
    assert list(documents(str(beir))) == [("d1", "Statins lower cholesterol"), ("d2", "bread and salt")]
    assert list(queries(str(beir))) == [Query("q1", "cholesterol drugs", {"d1": 2.0, "d2": 0.0}, "queries.jsonl:1")]
    assert [(q.id, q.relevant) for q in queries(str(beir), "test")] == [("q2", {"d2": 1.0}), ("3", {"d2": 1.0})]
    assert [path.name for path in files_of(str(beir))] == ["corpus.jsonl", "queries.jsonl", "test.tsv", "train.tsv"]


def test_packed_files_are_read_alike(beir):
    before = list(documents(str(beir)))
    (beir / "corpus.jsonl.gz").write_bytes(gzip.compress((beir / "corpus.jsonl").read_bytes()))
    (beir / "corpus.jsonl").unlink()
    assert list(documents(str(beir))) == before


SMART = """\
.I 7
.T
wing in a
slipstream .
.W
wing in a slipstream .
  an experimental study
.I 012
.T
empty
.W
"""


@pytest.fixture
def smart(tmp_path):
    (tmp_path / "cran.all.1400").write_text(SMART)
    (tmp_path / "cran.qry").write_text(".I 001\n.W\nwhat of\nwings .\n.I 004\n.W\nheat .\n")
    (tmp_path / "cranqrel").write_text("1 7 1 \n1 12 4 \n2 12 -1\n")
    return tmp_path


def test_smart_folder_whose_judgements_count_the_queries(smart):
    """Cranfield's trap: the judgements' second query is .I 004. Codes 1 to 4 are gains 4 to 1, and -1 is none."""
    assert list(documents(str(smart))) == [("7", "wing in a slipstream . an experimental study"), ("12", "empty")]
    assert list(queries(str(smart))) == [
        Query("1", "what of wings .", {"7": 4.0, "12": 1.0}, "cran.qry:1"),
        Query("4", "heat .", {"12": 0.0}, "cran.qry:5"),
    ]


def test_smart_folder_whose_judgements_name_the_queries(smart):
    (smart / "cranqrel").write_text("1 7 1\n4 12 2\n")
    assert [q.relevant for q in queries(str(smart))] == [{"7": 4.0}, {"12": 3.0}]


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("corpus.jsonl", '{"_id": "d1", "text": "a"}\n{"_id": "d1", "text": "b"}', "corpus.jsonl:2: duplicate document id"),
        ("corpus.jsonl", '{"_id": "d1"}', "corpus.jsonl:1: a document needs `text`"),
        ("corpus.jsonl", '{"text": "a"}', "corpus.jsonl:1: '_id' must be text"),
        ("corpus.jsonl", "[1]", "corpus.jsonl:1 is not a JSON object"),
        ("corpus.jsonl", "{", "corpus.jsonl:1 is not JSON"),
        ("corpus.jsonl", "", "holds no document"),
        ("queries.jsonl", '{"_id": "q9", "text": "a"}', "the judgements refer to a query 'q1' that is not in queries.jsonl"),
        ("qrels/train.tsv", "q1 d1 2", "train.tsv line 1: expected query-id, corpus-id and score"),
        ("qrels/train.tsv", "q1\td1\tmuch", "train.tsv line 1: expected query-id, corpus-id and score"),
    ],
)  # fmt: skip
def test_a_broken_file_is_one_sentence(beir, file, text, said):
    (beir / file).write_text(text)
    with pytest.raises(OperatorError, match=re.escape(said)):
        list(documents(str(beir)))
        list(queries(str(beir)))


def test_what_is_not_there(beir, smart, tmp_path):
    with pytest.raises(OperatorError, match=r"no judgements qrels/dev\.tsv; it has test, train"):
        list(queries(str(beir), "dev"))
    (beir / "corpus.jsonl").unlink()
    with pytest.raises(OperatorError, match="SMART layout, which has no splits"):
        list(queries(str(smart), "test"))
    with pytest.raises(OperatorError, match="there is no folder at"):
        list(queries(str(tmp_path / "nowhere")))
    with pytest.raises(OperatorError, match="no synthetic collection 'made:library'"):
        list(documents("made:library"))
    rows = "".join(json.dumps({"_id": str(n), "text": "b"}) + "\n" for n in range(999))
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(rows.encode())[:-9])
    with pytest.raises(OperatorError, match="cannot read"):
        list(documents(str(tmp_path / "cut.jsonl.gz")))


def test_the_identity_is_that_of_the_documents(beir):
    before = identity(str(beir))
    (beir / "qrels/test.tsv").write_text("")
    assert identity(str(beir)) == before
    (beir / "corpus.jsonl").write_text('{"_id": "d1", "text": "other"}')
    assert identity(str(beir)) != before
    assert identity("made:catalogue") != identity("made:catalogue:1") != identity("made:shop")


# --- the made ones ------------------------------------------------------------------------------------------------------


def test_no_word_of_a_customer_is_in_the_catalogue():
    sold = {word for _, text in documents("made:catalogue") for word in text.split()}
    asked = list(queries("made:catalogue", count=300))
    assert not sold & {word for query in asked for word in query.text.split()}
    assert len({query.text for query in asked}) == 300 and len(list(documents("made:catalogue"))) == 360
    assert set(toy.sellers_words("made:catalogue")) < sold


def test_a_catalogue_query_wants_the_twelve_documents_of_its_kind():
    texts = dict(documents("made:catalogue"))
    for query in queries("made:catalogue", count=50):
        (kind,) = {texts[id].split()[0] for id in query.relevant}
        assert len(query.relevant) == 12 and sum(text.split()[0] == kind for text in texts.values()) == 12


def test_shuffled_targets_say_no_more_than_the_shelf():
    """Of one sign the targets of all queries are one kind, and with shuffled targets the five of its shelf."""

    def kinds(shuffled):
        found = {}
        for query in queries("made:catalogue", count=1_200, shuffled=shuffled):
            found.setdefault(query.text.split()[-1], set()).add(int(min(query.relevant).split("-")[1]))
        return found

    plain, mixed = kinds(False), kinds(True)
    assert len(plain) == 30 and all(len(of) == 1 for of in plain.values())
    for sign, of in mixed.items():
        (kind,) = plain[sign]
        assert of == set(range(kind // 5 * 5, kind // 5 * 5 + 5))
    texts = [[q.text for q in queries("made:catalogue", count=50, shuffled=s)] for s in (False, True)]
    assert texts[0] == texts[1]


def test_the_last_two_purchases_of_a_shop_are_companions_and_new():
    for user, items in toy.histories("made:shop", 300):
        numbers = [int(item.removeprefix("item-")) for item in items]
        for place in (4, 5):
            assert numbers[place] == toy.companion(numbers[place - 1]) and numbers[place] not in numbers[:place], user
    followed = [
        int(i[-1][-2:]) == toy.companion(int(i[-2][-2:])) for _, i in toy.histories("made:shop", 600, shuffled=True)
    ]
    assert sum(followed) / 600 < 0.26  # 1 in 5 by chance, and less where a shelf ends
