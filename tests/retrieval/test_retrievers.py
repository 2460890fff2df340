"""Search engines against hand arithmetic and brute force, and the index that stays as it is."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest

from redistill.config.user_plugins import load_code
from redistill.errors import OperatorError
from redistill.retrieval import index as indexes
from redistill.retrieval.index import Searcher, index_folder, open_searcher, save_index
from redistill.retrieval.retrievers import bind_retriever, bm25, dense, http, needs_documents

TEXTS = {
    "d1": "statins lower cholesterol",
    "d2": "bread and salt and bread",
    "d3": "salted bread",
    "d4": "nothing here",
}


def held():
    return iter(TEXTS.items())


def test_bm25_ranks_by_lucenes_formula():
    """Of one word the idf is the same for all documents, so they go by tf / (tf + k1 (1 - b + b length / mean length))."""
    texts = {"d1": "ab ab cd ef gh", "d2": "ab cd", "d3": "ab ab ab cd ef gh ij kl mn op", "d4": "cd"}
    mean = sum(len(text.split()) for text in texts.values()) / 4

    def weight(id, k1, b):
        words = texts[id].split()
        return words.count("ab") / (words.count("ab") + k1 * (1 - b + b * len(words) / mean))

    for k1, b in ((1.2, 0.75), (1.2, 0.0), (0.4, 1.0)):
        search = bm25(lambda: iter(texts.items()), None, k1=k1, b=b, stemmer=None)
        assert search("ab", 10) == sorted(("d1", "d2", "d3"), key=lambda id: -weight(id, k1, b))
    assert weight("d1", 1.2, 0.0) < weight("d3", 1.2, 0.0) and weight("d3", 0.4, 1.0) < weight("d2", 0.4, 1.0)


def test_a_query_without_a_known_word_finds_nothing():
    search = bm25(held, None)
    assert search("aspirin", 10) == search("and", 10) == search("", 10) == search("!", 10) == []
    assert search("bread AND cholesterol", 10)[0] == "d1"  # AND is a word like others: a bag of words


def test_equal_scores_go_by_falling_id_as_in_trec_eval():
    search = bm25(lambda: iter([(id, "same words") for id in ("b", "c", "a", "d")]), None)
    assert search("words", 10) == ["d", "c", "b", "a"] and search("words", 2) == ["d", "c"]


def test_stemming_and_stop_words_are_options():
    assert bm25(held, None, stemmer=None)("salt", 10) == ["d2"]
    assert bm25(held, None, stopwords="none")("and", 10) == ["d2"]


def test_dense_is_the_cosine_by_brute_force(tmp_path):
    model = static_model(tmp_path / "model")
    vectors = unit(np.stack([embedding(text) for text in TEXTS.values()]))
    for query in ("bread", "statins cholesterol", "salt here"):
        scores = vectors @ unit(embedding(query)[None])[0]
        wanted = [list(TEXTS)[place] for place in np.argsort(-scores, kind="stable")]
        assert dense(held, None, model=model)(query, 4) == wanted
        assert dense(held, None, model=model)(query, 2) == wanted[:2]
        assert dense(held, None, model=model, exact=False)(query, 4)[:1] == wanted[:1]


WORDS = sorted({word for text in TEXTS.values() for word in text.split()} | {"salt"})


def embedding(text):
    rows = np.random.default_rng(0).normal(size=(len(WORDS) + 1, 8)).astype(np.float32)
    return np.mean([rows[WORDS.index(word) + 1] for word in text.split()], axis=0)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def static_model(folder):
    """A tiny model2vec model: a vector per word, drawn with seed 0."""
    from model2vec import StaticModel
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, **{word: n + 1 for n, word in enumerate(WORDS)}}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    rows = np.random.default_rng(0).normal(size=(len(WORDS) + 1, 8)).astype(np.float32)
    StaticModel(rows, tokenizer, normalize=False).save_pretrained(str(folder))
    return str(folder)


# --- behind an address --------------------------------------------------------------------------------------------------


@pytest.fixture
def server():
    answers = [{"ids": ["d2", "d1"]}]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            body = json.dumps(answers[0]).encode()
            self.send_response(200 if answers[0] else 500)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    asked = []
    running = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}/search", asked, answers
    running.shutdown()
    running.server_close()


def test_a_search_behind_an_address(server):
    url, asked, answers = server
    search = http(lambda: iter(()), None, url=url, retries=1)
    assert search("bread", 1) == ["d2"] and asked == [{"query": "bread", "k": 1}]
    answers[0] = {"hits": []}
    with pytest.raises(OperatorError, match="gave no ranking"):
        search("bread", 1)
    answers[0] = None
    del asked[:]
    with pytest.raises(OperatorError, match=r"gave no ranking.*500"):
        search("bread", 1)
    assert len(asked) == 2  # tried again once


def test_a_server_that_is_gone_is_said_with_who_asked():
    search = http(lambda: iter(()), None, url="http://127.0.0.1:9/search", retries=0)
    with pytest.raises(OperatorError, match=r"retriever http failed on problem p7 \('bread'\): .*gave no ranking"):
        Searcher("http", search, None).ranked("bread", 3, "problem p7")


# --- what a retriever may do wrong --------------------------------------------------------------------------------------


def broken(query, k):
    return {"raises": lambda: {}["no such key"], "text": lambda: "d1", "numbers": lambda: [1, 2],
            "strange": lambda: ["d1", "d9"], "twice": lambda: ["d1", "d1", "d2"]}[query]()  # fmt: skip


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("raises", r"retriever mine failed on problem p7 \('raises'\): KeyError: 'no such key'"),
        ("text", "retriever mine returned d1 for problem p7; it must return a list of document ids"),
        ("numbers", r"retriever mine returned \[1, 2\] for problem p7"),
        ("strange", "retriever mine returned the id 'd9' for problem p7, which no document has"),
    ],
)
def test_a_broken_retriever_is_one_sentence_with_the_query(query, said):
    with pytest.raises(OperatorError, match=said):
        Searcher("mine", broken, frozenset({"d1", "d2"})).ranked(query, 10, "problem p7")


def test_an_id_that_is_returned_twice_counts_once():
    assert Searcher("mine", broken, None).ranked("twice", 10, "") == ["d1", "d2"]


@pytest.mark.parametrize(
    ("retriever", "said"),
    [
        ("bm26", "retriever: there is no 'bm26'; did you mean 'bm25'"),
        ({"name": "bm25", "k2": 1}, "k2: unknown key"),
        ({"name": "bm25", "stemmer": "klingon"}, "stemmer: there is no 'klingon'"),
        ({"k1": 1}, "write a name, or a table"),
        ("dense", "model"),
        ("my_search:search", r"pass its file: --code my_search\.py"),
        ({"name": "dense", "model": "m", "library": "sentence-transformers"}, "needs sentence_transformers"),
    ],
)
def test_a_retriever_that_cannot_be_is_refused_before_any_work(retriever, said):
    with pytest.raises(OperatorError, match=said):
        bind_retriever(retriever, "here")


def test_a_search_of_ones_own(tmp_path):
    (tmp_path / "own_search_of_a_test.py").write_text(
        "def search(query, k):\n    return ['d3']\n\ndef other(query):\n    return []\n"
    )
    load_code(tmp_path / "own_search_of_a_test.py")
    assert bind_retriever("own_search_of_a_test:search", "here")("x", 3) == ["d3"]
    with pytest.raises(OperatorError, match=r"takes \(query\); it should take \(query, k\)"):
        bind_retriever("own_search_of_a_test:other", "here")
    assert not needs_documents("own_search_of_a_test:search") and needs_documents({"name": "dense", "model": "m"})


# --- the saved index ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bm25", "dense"])
def test_a_saved_index_finds_the_same(tmp_path, name):
    retriever = {"name": name} | ({"model": static_model(tmp_path / "model")} if name == "dense" else {})
    (tmp_path / "corpus.jsonl").write_text("\n".join(json.dumps({"_id": i, "text": t}) for i, t in TEXTS.items()))
    facts = save_index(tmp_path / "saved", str(tmp_path), retriever)
    assert facts["files"] and facts == save_index(tmp_path / "saved", str(tmp_path), retriever)
    made, saved = (open_searcher(str(tmp_path), retriever, folder) for folder in (None, str(tmp_path / "saved")))
    for query in ("bread", "statins", "here salt"):
        assert made.ranked(query, 4, "") == saved.ranked(query, 4, "") != []


def test_an_index_that_has_changed_is_refused(tmp_path):
    save_index(tmp_path, "made:shop", "bm25")
    place = index_folder(tmp_path, "made:shop", "bm25")
    open_searcher("made:shop", "bm25", str(tmp_path))
    (place / "ids.json").write_text((place / "ids.json").read_text().replace("item-00", "item-99"))
    indexes._open.cache_clear()  # another process
    with pytest.raises(OperatorError, match=r"ids\.json has changed since the index was built"):
        open_searcher("made:shop", "bm25", str(tmp_path))
    with pytest.raises(OperatorError, match=r"ids\.json has changed"):
        save_index(tmp_path, "made:shop", "bm25")


def test_half_an_index_is_made_again(tmp_path):
    facts = save_index(tmp_path, "made:shop", "bm25")
    (index_folder(tmp_path, "made:shop", "bm25") / "index.json").unlink()
    assert save_index(tmp_path, "made:shop", "bm25")["files"] == facts["files"]
