"""Scorer `novelty`: how well a trace can be distinguished from those selected before it, after the contrastive term of CMI.

    score: [novelty]
    select: {keep: {by: novelty, share: 0.5}}          the half of the right traces that repeats the others least

CMI (arXiv 2105.08584) makes images that InfoNCE tells from all earlier ones. Here nothing is made: traces of a corpus are taken in
an order that their ids decide, and each is scored against those before it. Of two equal traces the second is the one not new.
"""

import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from redistill.records import FINAL, Group, Outcome, Problem, Trace, content_id
from redistill.rollout.requests import Student
from redistill.score.encoders import Encode, open_encoder
from redistill.score.marks import scored, unscored


def novelty(
    groups: Sequence[Group],
    *,
    encoder: Literal["hashing", "student", "model2vec"] = "hashing",
    encoder_model: str | None = None,
    among: Literal["right", "all"] = "right",
    bank: Annotated[int, Field(gt=0)] = 4096,
    tau: Annotated[float, Field(gt=0)] = 0.1,
    _into: str,
    _seed: int,
    _student: Student | None,
    _all_groups: Callable[[], Iterable[Group]],
    _is_dev: Callable[[Problem], bool],
    _held: dict[str, Any],
) -> list[Group]:
    """log p(a trace is itself) among itself and the traces before it, at most 0; the higher, the newer.

    The bank is the first `bank` traces of the corpus by a hash of seed and id: right ones of problems that are not held out, or
    `all` of them. A text's vector is the encoder's minus the bank's mean, of length 1. With the cosines c to those of the bank
    whose hash is smaller, novelty = -log(1 + sum exp((c - 1) / tau)). It depends neither on shards nor on the order of rows.
    Not scored: `empty`.
    """
    if "bank" not in _held:
        where = f"score ({_into})"
        encode = open_encoder(encoder, model=encoder_model, student=_student, where=where)
        _held["bank"] = Bank(encode, _taken(_all_groups(), among, _is_dev), bank, _seed)
    known: Bank = _held["bank"]
    texts = [trace for group in groups for trace in group.traces if trace.completion.strip()]
    values = {trace.id: value for trace, value in zip(texts, known.novelty_of(texts, tau))}

    def marked(trace: Trace) -> Trace:
        value = values.get(trace.id)
        return unscored(trace, _into, "empty") if value is None else scored(trace, scores={_into: value})

    return [replace(group, traces=tuple(map(marked, group.traces))) for group in groups]


def _taken(groups: Iterable[Group], among: str, is_dev: Callable[[Problem], bool]) -> Iterator[Trace]:
    """The traces that a bank may hold."""
    for group in groups:
        if not is_dev(group.problem):
            for trace in group.traces:
                right = FINAL in trace.verdicts and trace.verdict.outcome is Outcome.correct
                if trace.completion.strip() and (right or among == "all"):
                    yield trace


class Bank:
    """The first traces of a corpus by their hashes, as vectors; what is compared with them is centred on their mean.

    Memory: `size` texts and vectors, however large the corpus.
    """

    def __init__(self, encode: Encode, traces: Iterable[Trace], size: int, seed: int) -> None:
        self._encode, self._seed = encode, seed
        first = heapq.nsmallest(size, ((self._hash(trace), trace.id, trace.completion) for trace in traces))
        vectors = encode([text for _, _, text in first])
        self.mean = vectors.mean(axis=0) if first else np.zeros(1, dtype=np.float32)
        self.vectors = self._centred(vectors)
        self.hashes = np.array([place for place, _, _ in first], dtype=np.uint64)

    def _hash(self, trace: Trace) -> int:
        return int(content_id("", "novelty", str(self._seed), trace.id), 16)

    def _centred(self, vectors: np.ndarray) -> np.ndarray:
        """Vectors minus the bank's mean, of length 1; a vector that is the mean stays 0."""
        centred = vectors.astype(np.float64) - self.mean
        lengths = np.linalg.norm(centred, axis=1, keepdims=True)
        return centred / np.where(lengths > 1e-9, lengths, 1.0)

    def novelty_of(self, traces: Sequence[Trace], tau: float) -> list[float]:
        """Each trace against those of the bank that come before it."""
        if not traces or not len(self.hashes):
            return [0.0] * len(traces)
        vectors = self._centred(self._encode([trace.completion for trace in traces]))
        values = []
        for trace, cosines in zip(traces, vectors @ self.vectors.T, strict=True):
            before = cosines[: int(np.searchsorted(self.hashes, np.uint64(self._hash(trace))))]
            values.append(-math.log1p(float(np.exp((before - 1) / tau).sum())))
        return values
