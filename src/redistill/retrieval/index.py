"""The index that stays as it is: a search whose files have checksums, so that a student learns from one retriever and no other.

    save_index(Path("runs/x/retrieval"), "nfcorpus/", "bm25")        runs/x/retrieval/4f1c.../: bm25s' files, ids.json, index.json
    searcher = open_searcher("nfcorpus/", "bm25", "runs/x/retrieval")
    searcher.ranked("statin breast cancer", 10, "query p4f...")      ["MED-10", ...]

index.json names every file with its SHA-256 and says what the documents were. A file that differs is refused by whoever opens it.
Without a folder the index is made in memory, from the documents as they are.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from redistill.errors import OperatorError
from redistill.io.atomic import read_json, sha256_file, write_json
from redistill.io.fingerprints import fingerprint
from redistill.retrieval import collection
from redistill.retrieval.ranking import without_repeats
from redistill.retrieval.retrievers import Search, bind_retriever, name_of

FACTS = "index.json"
Retriever = str | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Searcher:
    """A search that says what went wrong. known: the ids of all documents, None where only the retriever knows them."""

    name: str
    search: Search
    known: frozenset[str] | None

    def ranked(self, query: str, k: int, asker: str) -> list[str]:
        """At most k ids, each once. OperatorError, naming `asker`, where the retriever raises, or returns something other than
        ids of the documents: a score from a broken search would be learned from."""
        try:
            hits = self.search(query, k)
        except (MemoryError, RecursionError):
            raise
        except Exception as error:  # a search of a user's own may raise anything
            words = " ".join(str(error).split())[:300]
            kind = "" if isinstance(error, OperatorError) else f"{type(error).__name__}: "
            raise OperatorError(f"retriever {self.name} failed on {asker} ({query[:80]!r}): {kind}{words}") from error
        if not isinstance(hits, list | tuple) or not all(isinstance(id, str) for id in hits):
            raise OperatorError(
                f"retriever {self.name} returned {str(hits)[:80]} for {asker}; it must return a list of document ids (strings)."
            )
        if self.known is not None and (strange := [id for id in hits if id not in self.known]):
            raise OperatorError(
                f"retriever {self.name} returned the id {strange[0]!r} for {asker}, which no document has; index and "
                f"retriever were built from different documents."
            )
        return without_repeats(hits)[:k]


def index_folder(folder: Path, index: str | None, retriever: Retriever) -> Path:
    """Where the index of these documents and this retriever lies below a run's folder `retrieval`."""
    return folder / fingerprint(index, retriever)[:12]


def save_index(folder: Path, index: str, retriever: Retriever) -> dict[str, Any]:
    """Make and store the index, unless it is there already; returns its facts: files with SHA-256, documents, retriever."""
    place = index_folder(folder, index, retriever)
    if (place / FACTS).exists():
        check_index(place)
        return read_json(place / FACTS)
    bound = bind_retriever(retriever, "index")
    place.mkdir(parents=True, exist_ok=True)
    for half in place.iterdir():  # of a run that was killed
        half.unlink()
    bound(partial(collection.documents, index), place)
    files = {path.name: sha256_file(path) for path in sorted(place.iterdir())}
    description = {"index": index, "retriever": retriever, "documents": collection.identity(index), "files": files}
    write_json(place / FACTS, description)
    return description


def check_index(place: Path) -> None:
    """OperatorError where a file of the saved index is not what it was when it was made."""
    for name, digest in read_json(place / FACTS)["files"].items():
        if not (place / name).is_file() or sha256_file(place / name) != digest:
            raise OperatorError(
                f"{place / name} has changed since the index was built, but a retriever must not change during "
                f"training; restore the file, or start a new run."
            )


def open_searcher(
    index: str | None,
    retriever: Retriever,
    folder: str | None = None,
    own: Callable[[str, int], list[str]] | None = None,
) -> Searcher:
    """The search, opened once per process. folder: of saved indexes; own: a user's own search, found before by its name."""
    return _open(index, json.dumps(retriever, sort_keys=True), folder, own)


@lru_cache(maxsize=8)
def _open(
    index: str | None, retriever: str, folder: str | None, own: Callable[[str, int], list[str]] | None
) -> Searcher:
    wanted: Retriever = json.loads(retriever)
    name = name_of(wanted)
    documents = partial(collection.documents, index) if index is not None else partial(iter, ())
    place = index_folder(Path(folder), index, wanted) if folder is not None and index is not None else None
    if place is not None and (place / FACTS).exists():
        check_index(place)
    elif place is not None:
        place = None
    if own is not None:
        search: Search = own
    else:
        search = bind_retriever(wanted, "retriever")(documents, place)
    known = None
    if index is not None:
        known = frozenset(id for id, _ in documents())
    return Searcher(name, search, known)
