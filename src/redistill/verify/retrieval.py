"""`retrieval`: an answer is a search query, and as good as the list that a retriever returns for it.

    completion  <think>They mean statins.</think><answer>{"query": "statin breast cancer"}</answer>
    metadata    {"relevant": {"MED-2427": 2, "MED-10": 2}}
    verdict     correct, score 0.81 (the NDCG of the first k documents), extracted "statin breast cancer"

The problem's relevant documents are in its metadata, so it needs no gold answer. A completion in another form than the asked
one is `no_answer` (`truncated` where it was cut) with score 0. A score of right_at or more is `correct`, one of wrong_at or less
`incorrect`, and between them it is undecided; rewards and `mean_score` read the score itself. Source: Rec-R1, arXiv 2503.24289.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from redistill.config.user_plugins import is_own
from redistill.errors import OperatorError
from redistill.records import Outcome, Problem, Trace, Verdict
from redistill.retrieval import collection
from redistill.retrieval.index import open_searcher
from redistill.retrieval.ranking import Duplicates, Gains, Relevant, grades_of, ndcg, recall
from redistill.retrieval.retrievers import bind_retriever, name_of, needs_documents
from redistill.verify.judging import MAX_EXTRACTED, Reading, different
from redistill.verify.relevance import RELEVANT

Form = Literal["think-answer", "answer"]
VERSION = "retrieval 1"  # raise the number when what is counted changes
_TAGS: dict[str, tuple[str, ...]] = {
    "think-answer": ("<think>", "</think>", "<answer>", "</answer>"),
    "answer": ("<answer>", "</answer>"),
}
_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_SCORED = Reading("scored", complete=True)  # by a fixed retriever against fixed judgements: nothing is left unread


def retrieval(
    problem: Problem,
    trace: Trace,
    *,
    index: str | None = None,
    retriever: str | dict[str, Any] = "bm25",
    metric: Literal["ndcg", "recall"] = "ndcg",
    k: Annotated[int, Field(gt=0)] = 1000,
    right_at: Annotated[float, Field(ge=0, le=1)] = 0.5,
    wrong_at: Annotated[float, Field(ge=0, le=1)] = 0.1,
    form: Form = "think-answer",
    gains: Gains = "binary",
    duplicates: Duplicates = "drop",
    _folder: str | None = None,
    _own: Callable[[str, int], list[str]] | None = None,
) -> Verdict:
    """The score of what the answer's query retrieves.

    index: the folder of the collection whose documents are searched. retriever: bm25, dense, http, each also with its options
    ({name: bm25, k1: 0.9}), or a search of your own. k: places that count; Rec-R1 trains with 1000 and more, so that a target far
    down the list is worth something, and tests with 100. form: whether thinking in its tags must come before the answer. gains,
    duplicates: as in retrieval/ranking.py. Reasons: `high_score`, `partial_score` and `low_score` with the measure
    (`low_score: ndcg@1000`), what the form misses (`no_think_tags`, `no_answer_tags`, `no_json`, `no_query`), `no_relevant` (no
    document was judged relevant), `relevant_not_indexed` (none of the relevant documents is in the index).
    """
    searched = f"{name_of(retriever)}, {metric}@{k}, gains {gains}"
    verdict = partial(Verdict, verifier="retrieval", verifier_version=f"{VERSION}, {searched}")
    query, missed = read_query(trace.completion, form)
    if query is None:
        cut = trace.finish_reason == "length"
        return verdict(Outcome.truncated if cut else Outcome.no_answer, None, missed, score=0.0)
    kept = query[:MAX_EXTRACTED]
    relevant = relevant_of(problem)
    if not grades_of(relevant):
        return verdict(Outcome.ungradable, kept, "no_relevant")
    searcher = open_searcher(index, retriever, _folder, _own)
    if searcher.known is not None and not searcher.known & grades_of(relevant).keys():
        return verdict(Outcome.ungradable, kept, "relevant_not_indexed")
    ranked = searcher.ranked(query, k, f"problem {problem.id}, trace {trace.id}") if query.strip() else []
    score = measured(relevant, ranked, metric=metric, k=k, gains=gains, duplicates=duplicates)
    outcome, reason = _outcome(score, right_at, wrong_at)
    return verdict(outcome, kept, f"{reason}: {metric}@{k}", score=min(1.0, score))


def read_query(completion: str, form: Form) -> tuple[str | None, str]:
    """(the query, "") of a completion in the asked form, else (None, what it misses). Each tag stands there once and in order,
    and the answer is JSON with a text `query`; a tag that the prompt opened (`prefill`) is part of the completion."""
    tags = _TAGS[form]
    places = [completion.find(tag) for tag in tags]
    if min(places) < 0 or any(completion.count(tag) != 1 for tag in tags) or places != sorted(places):
        answered = completion.count("<answer>") == completion.count("</answer>") == 1
        return None, "no_think_tags" if answered else "no_answer_tags"
    match = _ANSWER.search(completion)
    assert match is not None
    try:
        table = json.loads(match[1])
    except (ValueError, RecursionError):
        return None, "no_json"
    query = table.get("query") if isinstance(table, dict) else None
    return (query, "") if isinstance(query, str) else (None, "no_query")


def measured(
    relevant: Relevant,
    ranked: Sequence[str],
    *,
    metric: Literal["ndcg", "recall"] = "ndcg",
    k: int = 1000,
    gains: Gains = "binary",
    duplicates: Duplicates = "drop",
) -> float:
    """The score of a ranked list by one of the measures."""
    if metric == "ndcg":
        return ndcg(ranked, relevant, k=k, gains=gains, duplicates=duplicates)
    return recall(ranked, relevant, k=k)


def measure_of(options: Mapping[str, Any]) -> Callable[[Relevant, Sequence[str]], float]:
    """The measure that a verifier's options ask for."""
    return partial(measured, **{key: options[key] for key in ("metric", "k", "gains", "duplicates") if key in options})


def search_of(options: Mapping[str, Any]) -> tuple[str | None, str | dict[str, Any]]:
    """(index, retriever) of a verifier's options."""
    return options.get("index"), options.get("retriever", "bm25")


def relevant_of(problem: Problem) -> Relevant:
    """The problem's relevant documents: a table of grades, or a list of ids; empty where its metadata has none of either."""
    relevant = problem.metadata.get(RELEVANT)
    if isinstance(relevant, Mapping):
        return {str(id): float(grade) for id, grade in relevant.items() if isinstance(grade, int | float)}
    return [str(id) for id in relevant] if isinstance(relevant, list | tuple) else []


def _outcome(score: float, right_at: float, wrong_at: float) -> tuple[Outcome, str]:
    if score >= right_at - 1e-9:
        return Outcome.correct, "high_score"
    if score > wrong_at:
        return Outcome.disagree, "partial_score"
    return different(_SCORED, _SCORED, "low_score")


def ready(verifier: Any) -> Any:
    """The verifier as worker processes are given it: with the user's own search, which a recipe can only name."""
    if not isinstance(verifier, partial) or verifier.func is not retrieval:
        return verifier
    retriever = verifier.keywords.get("retriever", "bm25")
    if "_own" in verifier.keywords or not is_own(name_of(retriever)):
        return verifier
    return partial(verifier, _own=bind_retriever(retriever, "retrieval").func)


def frozen(verifiers: Mapping[str, partial[Verdict]], folder: Path) -> dict[str, partial[Verdict]]:
    """The verifiers, `retrieval` with the indexes that are saved below this folder of a run."""
    return {
        name: partial(verifier, _folder=str(folder)) if verifier.func is retrieval else verifier
        for name, verifier in verifiers.items()
    }


def warm_up(verifiers: Iterable[Callable[..., Verdict]]) -> None:
    """Open the indexes of those that search, off the clock of the first answer. OperatorError where one cannot be opened."""
    for verifier in verifiers:
        if isinstance(verifier, partial) and verifier.func is retrieval:
            options = verifier.keywords
            try:
                open_searcher(*search_of(options), options.get("_folder"), options.get("_own"))
            except MemoryError as error:
                raise OperatorError(
                    f"the index of {options.get('index')} does not fit into verify.memory_mb, which limits address "
                    f"space and counts the whole index on disk; raise it."
                ) from error


def check_retrieval(options: Mapping[str, Any], where: str) -> None:
    """OperatorError where the verifier could not work: an index that is not there, a retriever that is not known, thresholds that
    cross. Asked before any work begins."""
    index, retriever = search_of(options)
    bind_retriever(retriever, where)
    if index is None and needs_documents(retriever):
        raise OperatorError(
            f"{where}: retrieval needs `index`, the folder of documents that {name_of(retriever)} searches."
        )
    if options.get("wrong_at", 0.1) >= options.get("right_at", 0.5):
        raise OperatorError(f"{where}: wrong_at must be below right_at.")
    if index is not None:
        try:
            next(collection.documents(index))
        except OperatorError as error:
            raise OperatorError(f"{where}: index: {error}") from error
