"""Queries of a search engine with the documents that answer them: what a student learns to rewrite.

    folder nfcorpus/: corpus.jsonl, queries.jsonl, qrels/train.tsv      BEIR
    folder G_cranfield/: cran.all.1400.gz, cran.qry.gz, cranqrel.gz     SMART
    ->  Problem("Do cholesterol drugs cause breast cancer?", answer="MED-10 MED-2427", metadata={"relevant": {"MED-10": 2.0, ...}})

Each query becomes a Group with no trace. The verifier `retrieval` reads the relevant documents of the metadata; the answer names
them for people, and tells two rows apart that ask the same and want different documents.
"""

from collections.abc import Iterator

from redistill.records import Dropped, Group, Problem, make_problem
from redistill.retrieval import collection
from redistill.retrieval.collection import Query
from redistill.verify.relevance import RELEVANT


def queries(*, folder: str, split: str | None = None) -> Iterator[Group | Dropped]:
    """Groups without traces, one per query.

    folder: a collection (retrieval/collection.py), or made:catalogue. split: which judgements, by the name of their file below
    qrels/; default `train`. A query for which nobody judged a document relevant is dropped: `no_relevant`.
    """
    for query in collection.queries(folder, split):
        if any(grade > 0 for grade in query.relevant.values()):
            yield Group(problem_of(query, "queries"), ())
        else:
            yield Dropped(query.row, "corpus", "no_relevant", f"query {query.id} has no relevant document")


def problem_of(query: Query, source: str, **metadata: str) -> Problem:
    """The problem that a query is; its metadata holds the relevant documents with their grades."""
    relevant = {id: grade for id, grade in sorted(query.relevant.items()) if grade > 0}
    return make_problem(
        query.text,
        answer=" ".join(relevant),
        answer_type="documents",
        source=source,
        source_row=query.row,
        metadata={"query_id": query.id, RELEVANT: relevant, **metadata},
    )
