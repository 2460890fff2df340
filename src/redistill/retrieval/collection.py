"""A collection: documents to find, queries, and which documents are relevant to which query.

    documents("nfcorpus/")          ("MED-10", "Statin use and breast cancer survival ..."), ...
    queries("nfcorpus/", "test")    Query("PLAIN-2", "Do cholesterol drugs cause breast cancer?", {"MED-2427": 2.0, ...}), ...

Three kinds, recognized by the files in the folder (each file also as .gz):

    BEIR    corpus.jsonl {"_id", "title", "text"}, queries.jsonl {"_id", "text"}, qrels/SPLIT.tsv (query-id, corpus-id, score)
    SMART   cran.all.1400, cran.qry, cranqrel: records of .I, .T, .W ...; the judgements are lines `query document code`
    made:catalogue, made:shop    made on the spot (retrieval/toy.py), with a seed as in made:catalogue:3

Documents may also be one .jsonl file in BEIR's layout. An index must be whole, so a document that cannot be read is the user's
to mend; a query without a judgement is counted by whoever reads it.
"""

import csv
import gzip
import re
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from redistill.errors import OperatorError
from redistill.io.atomic import sha256_file
from redistill.io.fingerprints import fingerprint
from redistill.retrieval import toy
from redistill.safety.paths import home_path
from redistill.text.nesting import parsed
from redistill.text.utf8 import utf8_values

MADE = "made:"
MAX_LINE = 2**26  # characters of a document; a book has a tenth of it
_NOT_RELEVANT = 5  # of Cranfield's codes 1 (a complete answer) to 5 (of no interest); a gain is 5 - code


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked, and the grades of the documents that answer it; `row` says where it was read."""

    id: str
    text: str
    relevant: dict[str, float] = field(default_factory=dict)
    row: str = ""


def documents(address: str) -> Iterator[tuple[str, str]]:
    """(id, text) of every document, the title before the text. OperatorError for one that cannot be read or comes twice."""
    if address.startswith(MADE):
        yield from toy.documents(address)
        return
    seen: set[str] = set()
    for id, text, row in _documents(home_path(address)):
        if id in seen:
            raise OperatorError(f"{row}: duplicate document id {id!r}; ids must be unique.")
        seen.add(id)
        yield id, text
    if not seen:
        raise OperatorError(f"{address} holds no documents.")


def queries(address: str, split: str | None = None, *, count: int = 1_200, shuffled: bool = False) -> Iterator[Query]:
    """Every query of a split with its judgements, none where nobody judged it. BEIR: the queries of the split's judgements, and
    without a split those of `train`, or of the only one there is. count, shuffled: of a made catalogue (toy.queries)."""
    if address.startswith(MADE):
        yield from (Query(*made) for made in toy.queries(address, count, shuffled=shuffled))
        return
    folder = home_path(address)
    if kind_of(folder) == "beir":
        yield from _beir_queries(folder, split)
    else:
        if split is not None:
            raise OperatorError(f"{address} is in the SMART layout, which has no splits; leave `split` out.")
        yield from _smart_queries(folder)


def splits_of(address: str) -> list[str]:
    """The splits that a collection's judgements name; none of a collection without splits."""
    folder = home_path(address)
    return sorted({path.name.partition(".")[0] for path in folder.glob("qrels/*.tsv*")})


def files_of(address: str) -> list[Path]:
    """The files that are read, in a fixed order: what checksums are made of. None of a made collection."""
    if address.startswith(MADE):
        toy.parse(address)
        return []
    path = home_path(address)
    if path.is_file():
        return [path]
    if kind_of(path) == "beir":
        names = ("corpus.jsonl", "queries.jsonl")
        files = [file for name in names if (file := _file(path, name))]
        return [*files, *sorted(path.glob("qrels/*.tsv")), *sorted(path.glob("qrels/*.tsv.gz"))]
    return [file for pattern in _SMART.values() if (file := _one(path, pattern))]


def document_files(address: str) -> list[Path]:
    """Of these, those that hold documents: what an index is made from."""
    if address.startswith(MADE) or home_path(address).is_file():
        return files_of(address)
    path = home_path(address)
    file = _file(path, "corpus.jsonl") if kind_of(path) == "beir" else _one(path, _SMART["documents"])
    return [file] if file else []


def identity(address: str) -> str:
    """A hash of all documents' files; of a made collection, of its documents themselves."""
    if address.startswith(MADE):
        return fingerprint(list(toy.documents(address)))
    return fingerprint([sha256_file(file) for file in document_files(address)])


def kind_of(folder: Path) -> str:
    """`beir` or `smart`. OperatorError for a folder that is neither, or that is not there."""
    if not folder.is_dir():
        raise OperatorError(f"there is no folder at {folder}; give one that holds documents and queries.")
    if _file(folder, "corpus.jsonl"):
        return "beir"
    if _one(folder, _SMART["documents"]):
        return "smart"
    raise OperatorError(
        f"{folder} holds no collection: neither corpus.jsonl (BEIR) nor a *.all* file of .I records (SMART)."
    )


# --- BEIR ---------------------------------------------------------------------------------------------------------------


def _beir_queries(folder: Path, split: str | None) -> Iterator[Query]:
    path = _file(folder, "queries.jsonl")
    if path is None:
        raise OperatorError(f"{folder} holds no queries.jsonl.")
    judged = _qrels(_split_file(folder, split))
    for row, table in jsonl(path):
        id, text = _text_of(table, "_id", row), _text_of(table, "text", row)
        if id in judged:
            yield Query(id, text, judged.pop(id), row)
        elif len(splits_of(str(folder))) == 1:  # where splits are several, it belongs to another
            yield Query(id, text, {}, row)
    for id in judged:
        raise OperatorError(f"{folder}: the judgements refer to a query {id!r} that is not in queries.jsonl.")


def _split_file(folder: Path, split: str | None) -> Path:
    present = splits_of(str(folder))
    wanted = split or ("train" if "train" in present or len(present) != 1 else present[0])
    file = next((f for suffix in ("tsv", "tsv.gz") if (f := folder / "qrels" / f"{wanted}.{suffix}").is_file()), None)
    if file is None:
        there = f"it has {', '.join(present)}" if present else "its folder qrels is empty"
        raise OperatorError(f"{folder} has no judgements qrels/{wanted}.tsv; {there}; write split: and one of them.")
    return file


def _qrels(path: Path) -> dict[str, dict[str, float]]:
    judged: dict[str, dict[str, float]] = defaultdict(dict)
    with opened(path) as file:
        for number, row in enumerate(csv.reader(file, delimiter="\t"), 1):
            if (number == 1 and row[:2] == ["query-id", "corpus-id"]) or not row:
                continue
            try:
                query, document, grade = (row[0], row[2], row[3]) if len(row) == 4 else row  # four: TREC's own layout
                judged[query][document] = float(grade)
            except ValueError as error:
                raise OperatorError(
                    f"{path.name} line {number}: expected query-id, corpus-id and score, separated by tabs (got {row!r})."
                ) from error
    return judged


def jsonl(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """("file:line", table) of every line, counted from 1."""
    with opened(path) as file:
        number = 0
        while line := file.readline(MAX_LINE + 1):
            number += 1
            row = f"{path.name}:{number}"
            if not line.strip():
                continue
            try:
                if len(line) > MAX_LINE:
                    raise ValueError("the line is too long")
                table = utf8_values(parsed(line))
            except ValueError as error:
                raise OperatorError(f"{row} is not JSON: {error}.") from error
            if not isinstance(table, dict):
                raise OperatorError(f"{row} is not a JSON object.")
            yield row, table


def _text_of(table: dict[str, Any], name: str, row: str) -> str:
    value = table.get(name)
    value = str(value) if name == "_id" and isinstance(value, int) else value
    if not isinstance(value, str) or not value.strip():
        raise OperatorError(f"{row}: {name!r} must be text (got {value!r}).")
    return value


# --- SMART --------------------------------------------------------------------------------------------------------------

_SMART = {"documents": "*.all*", "queries": "*.qry*", "judgements": "*qrel*"}
_FIELD = re.compile(r"\.([A-Z])(?:\s+(\S+))?\s*")


def _smart_queries(folder: Path) -> Iterator[Query]:
    files = {name: _one(folder, pattern) for name, pattern in _SMART.items()}
    for name in ("queries", "judgements"):
        if files[name] is None:
            raise OperatorError(f"{folder} holds no file {_SMART[name]} with the {name}.")
    asked = list(_records(files["queries"]))  # type: ignore[arg-type]
    judged: dict[str, dict[str, float]] = defaultdict(dict)
    with opened(files["judgements"]) as file:  # type: ignore[arg-type]
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                query, document, code = line.split()[:3]
                judged[str(int(query))][str(int(document))] = float(_NOT_RELEVANT - int(code)) if int(code) > 0 else 0.0
            except ValueError as error:
                raise OperatorError(f"{files['judgements']} line {number}: expected `query document code`.") from error
    # Cranfield's judgements count the queries 1 to 225, while their .I numbers run to 365
    by_place = not judged.keys() <= {id for id, _, _ in asked}
    for place, (id, text, row) in enumerate(asked, 1):
        yield Query(id, text["W"], dict(judged.get(str(place) if by_place else id, {})), row)


def _records(path: Path) -> Iterator[tuple[str, dict[str, str], str]]:
    """(id, fields by letter with white space collapsed, "file:line") of every .I record."""
    id, row, letter = "", "", ""
    fields: dict[str, list[str]] = {}

    def made() -> tuple[str, dict[str, str], str]:
        return id, defaultdict(str, {name: " ".join(" ".join(lines).split()) for name, lines in fields.items()}), row

    with opened(path) as file:
        for number, line in enumerate(file, 1):
            mark = _FIELD.fullmatch(line)
            if mark and mark[1] == "I":
                if id:
                    yield made()
                if not (mark[2] or "").isdigit():
                    raise OperatorError(f"{path.name} line {number}: .I must be followed by a number.")
                id, row, fields, letter = str(int(mark[2])), f"{path.name}:{number}", {}, ""
            elif mark:
                letter = mark[1]
            elif letter:
                fields.setdefault(letter, []).append(line)
    if id:
        yield made()


# --- files --------------------------------------------------------------------------------------------------------------


def _documents(path: Path) -> Iterator[tuple[str, str, str]]:
    """(id, text, where it was read)."""
    if path.is_dir() and kind_of(path) == "smart":
        for id, fields, row in _records(_one(path, _SMART["documents"])):  # type: ignore[arg-type]
            title, text = fields["T"], fields["W"]
            yield (
                id,
                text if text.startswith(title) else f"{title} {text}".strip(),
                row,
            )  # Cranfield's texts begin with it
        return
    file = _file(path, "corpus.jsonl") if path.is_dir() else path
    if file is None or not file.is_file():
        raise OperatorError(f"there are no documents at {path}; give a folder or a .jsonl file of them.")
    for row, table in jsonl(file):
        parts = [table.get("title"), table.get("text")]
        text = " ".join(part.strip() for part in parts if isinstance(part, str) and part.strip())
        if not {"title", "text"} & table.keys():
            raise OperatorError(f"{row}: a document needs `text`, or `title`.")
        yield _text_of(table, "_id", row), text, row


@contextmanager
def opened(path: Path) -> Iterator[TextIO]:
    """A text file, unpacked where its name ends in .gz. OperatorError where it cannot be read to its end."""
    opener: Callable[..., Any] = gzip.open if path.name.endswith(".gz") else open
    try:
        with opener(path, "rt", encoding="utf-8", errors="replace", newline="") as file:
            yield file
    except (OSError, EOFError, zlib.error) as error:
        raise OperatorError(f"cannot read {path}: {error}.") from error


def _file(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def _one(folder: Path, pattern: str) -> Path | None:
    files = sorted(path for path in folder.glob(pattern) if path.is_file() and "readme" not in path.name)
    return files[0] if files else None
