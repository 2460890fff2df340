"""Search engines: a query -> ids of documents, the best first. Each is opened once per process and never changes.

    search = open_retriever({"name": "bm25"}, "nfcorpus/", folder=None)
    search("statin breast cancer", 10)       ["MED-10", "MED-2427", ...]

A member of RETRIEVERS takes the documents and where their saved index lies (None: it is made and kept in memory) and returns the
search. A search of your own is a function (query, k) -> ids in a file named with `--code`: `my_search:search`.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationError

from redistill.config.binding import bind
from redistill.config.extras import check_installed
from redistill.config.tables import Plugin
from redistill.config.user_plugins import find_own, is_own
from redistill.errors import OperatorError
from redistill.model.hub import hub_options

if TYPE_CHECKING:  # a worker that compares sums needs no numpy
    import numpy as np

Search = Callable[[str, int], list[str]]
Documents = Callable[[], Iterator[tuple[str, str]]]

IDS = "ids.json"
_AT_ONCE = 256  # documents embedded together


def bm25(
    documents: Documents,
    folder: Path | None,
    *,
    k1: Annotated[float, Field(ge=0)] = 1.2,
    b: Annotated[float, Field(ge=0, le=1)] = 0.75,
    stemmer: str | None = "english",
    stopwords: Literal["en", "none"] = "en",
) -> Search:
    """Lucene's BM25 by bm25s: words of two letters or more, stemmed, without stop words. A document without any word of the query
    is not found. Boolean words (AND, OR) are words like others. stemmer: a language of Snowball, or null for none. Source:
    Robertson and Zaragoza 2009; k1 and b as in Rec-R1."""
    import bm25s
    import numpy as np

    stem = _stemmer(stemmer)
    words = partial(
        bm25s.tokenize, stemmer=stem, stopwords="en" if stopwords == "en" else [], return_ids=False, show_progress=False
    )
    if folder is not None and (folder / IDS).exists():
        index = bm25s.BM25.load(str(folder), mmap=True, show_progress=False)
        ids = json.loads((folder / IDS).read_text("utf-8"))
    else:
        held = list(documents())
        ids = [id for id, _ in held]
        index = bm25s.BM25(k1=k1, b=b, method="lucene")
        index.index(words([text for _, text in held]), show_progress=False)
        if folder is not None:
            index.save(str(folder), show_progress=False)
            _write_ids(folder, ids)
    order = _order_of_ties(ids)

    def search(query: str, k: int) -> list[str]:
        known = [word for word in words([query])[0] if word in index.vocab_dict]
        if not known:
            return []
        scores = np.asarray(index.get_scores(known))
        return [ids[place] for place in _best(scores, order, k) if scores[place] > 0]

    return search


def dense(
    documents: Documents,
    folder: Path | None,
    *,
    model: str,
    library: Literal["model2vec", "sentence-transformers"] = "model2vec",
    exact: bool = True,
) -> Search:
    """Cosine similarity of embeddings, in a faiss index. model: a folder or a name of the hub; exact false: HNSW with 32 links and
    efConstruction 200, as in Rec-R1, which finds nearly the same sooner. The verifier's workers load the model, so give
    verify.memory_mb room for it."""
    import faiss
    import numpy as np

    faiss.omp_set_num_threads(1)
    embed = _embedder(model, library)
    index: Any
    if folder is not None and (folder / IDS).exists():
        index = faiss.read_index(str(folder / "vectors.faiss"))
        ids = json.loads((folder / IDS).read_text("utf-8"))
    else:
        held = list(documents())
        ids = [id for id, _ in held]
        parts = [embed([text for _, text in held[at : at + _AT_ONCE]]) for at in range(0, len(held), _AT_ONCE)]
        vectors = np.concatenate(parts).astype(np.float32)
        faiss.normalize_L2(vectors)
        if exact:
            index = faiss.IndexFlatIP(vectors.shape[1])
        else:
            index = faiss.IndexHNSWFlat(vectors.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
            index.hnsw.efConstruction = 200
        index.add(vectors)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            faiss.write_index(index, str(folder / "vectors.faiss"))
            _write_ids(folder, ids)
    order = _order_of_ties(ids)

    def search(query: str, k: int) -> list[str]:
        vector = embed([query]).astype(np.float32)
        faiss.normalize_L2(vector)
        if not exact:
            index.hnsw.efSearch = max(64, k)
        scores, places = index.search(vector, min(len(ids), k + 1))
        hits = places[0] >= 0
        held = places[0][hits]
        return [ids[held[place]] for place in _best(scores[0][hits], order[held], k)]

    return search


def http(
    documents: Documents,
    folder: Path | None,
    *,
    url: str,
    timeout_seconds: Annotated[float, Field(gt=0)] = 10.0,
    retries: Annotated[int, Field(ge=0)] = 2,
) -> Search:
    """A search of your own behind an address: POST {"query": ..., "k": ...} is answered by {"ids": [...]}, the best first. What is
    behind it must not change while a student learns from it; nobody here can see whether it does."""
    import httpx2

    client = httpx2.Client(timeout=timeout_seconds)

    def search(query: str, k: int) -> list[str]:
        for left in reversed(range(retries + 1)):
            try:
                answer = client.post(url, json={"query": query, "k": k})
                answer.raise_for_status()
                return [str(id) for id in answer.json()["ids"]][:k]
            except (httpx2.HTTPError, ValueError, KeyError, TypeError) as error:
                if not left:
                    what = " ".join(str(error).split())[:200] or type(error).__name__
                    raise OperatorError(f"{url} gave no ranking ({what})") from error
        raise AssertionError("a try returns or raises")

    return search


def finds_nothing(query: str, k: int) -> list[str]:
    """A search without documents: it shows the arguments and the result that a user's own search must have."""
    return []


RETRIEVERS: dict[str, Callable[..., Search]] = {
    "bm25": bm25,
    "dense": dense,
    "http": http,
}


def bind_retriever(retriever: str | Mapping[str, Any], where: str) -> partial[Search]:
    """The retriever with its options checked; of a user's own, the search itself. OperatorError for an unknown one, for an option
    that it does not have, and where a library that it needs is not installed."""
    try:
        plugin = Plugin.model_validate(retriever)
    except ValidationError as error:
        raise OperatorError(f"{where}.retriever: write a name, or a table with `name` and its options.") from error
    if is_own(plugin.name):
        if plugin.options:
            raise OperatorError(f"{where}.retriever: {plugin.name} takes a query and k, but no options.")
        return partial(find_own(plugin.name, {"search": finds_nothing}, f"{where}.retriever"))
    bound = bind(RETRIEVERS, plugin, f"{where}.retriever")
    needed = {"bm25": ("bm25s", "Stemmer"), "dense": ("faiss", str(bound.keywords.get("library", "model2vec")).replace("-", "_"))}  # fmt: skip
    for package in needed.get(plugin.name, ()):
        check_installed(package, f"{where}: the retriever {plugin.name}")
    if plugin.name == "bm25":
        _stemmer(bound.keywords.get("stemmer", "english"), where)
    return bound


def name_of(retriever: str | Mapping[str, Any]) -> str:
    """The name in either way of writing it."""
    return retriever if isinstance(retriever, str) else str(retriever.get("name", ""))


def needs_documents(retriever: str | Mapping[str, Any]) -> bool:
    """True for a retriever that searches documents of ours."""
    return name_of(retriever) in ("bm25", "dense")


def _stemmer(language: str | None, where: str = "") -> Any:
    import Stemmer

    if language is None:
        return None
    if language not in Stemmer.algorithms():
        raise OperatorError(f"{where}.retriever (bm25): stemmer: there is no {language!r}; it is one of {', '.join(Stemmer.algorithms())}, or null.")  # fmt: skip
    return Stemmer.Stemmer(language)


def _embedder(model: str, library: str) -> Callable[[list[str]], "np.ndarray"]:
    hub_options(model, None, where="retriever (dense): model")
    if library == "model2vec":
        from model2vec import StaticModel

        return partial(StaticModel.from_pretrained(model, force_download=False).encode, use_multiprocessing=False)
    from sentence_transformers import SentenceTransformer

    return partial(SentenceTransformer(model, device="cpu").encode, convert_to_numpy=True, show_progress_bar=False)


def _write_ids(folder: Path, ids: list[str]) -> None:
    (folder / IDS).write_text(json.dumps(ids, ensure_ascii=False), "utf-8")  # last: an index without it is not whole


def _order_of_ties(ids: list[str]) -> "np.ndarray":
    """(documents,): the place of each id among all by falling id, which orders documents of equal score."""
    import numpy as np

    order = np.empty(len(ids), np.int64)
    order[sorted(range(len(ids)), key=lambda place: ids[place], reverse=True)] = np.arange(len(ids))
    return order


def _best(scores: "np.ndarray", order: "np.ndarray", k: int) -> "np.ndarray":
    """Places of the k highest scores, falling; of equal ones the smaller `order` first."""
    import numpy as np

    places = np.arange(len(scores))
    if len(scores) > k:  # those that tie with the last one stay, because their order decides
        places = np.flatnonzero(scores >= np.partition(scores, -k)[-k])
    return places[np.lexsort((order[places], -scores[places]))][:k]
