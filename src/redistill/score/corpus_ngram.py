"""Scorer `corpus-ngram`: how often the corpus says what a trace says most often, in runs of words.

    score: [{name: corpus-ngram, ngram: 20}]
    select: {filters: [{name: score, by: corpus-ngram, most: 20}]}

A run of 20 words that stands in a corpus more than 20 times is boilerplate or a loop, and its traces are dropped (the sibling reports of
AM-DeepSeek-R1-Distilled: arXiv:2504.17565). Words are split at white space and kept as written; in scripts without spaces (Chinese,
Japanese, Thai, Lao, Burmese, Khmer) every character counts as a word.
"""

import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from redistill.records import Group, Trace
from redistill.score.marks import scored

_BASE = 0x9E3779B97F4A7C15  # odd, so that its powers have inverses modulo 2**64
_INVERSE = pow(_BASE, -1, 2**64)
_SPACELESS = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_SPACELESS}]|[^\s{_SPACELESS}]+")
_BATCH = 4_000_000  # hashes that are sorted at a time


def corpus_ngram(
    groups: Sequence[Group],
    *,
    ngram: Annotated[int, Field(gt=0)] = 20,
    memory_mb: Annotated[int, Field(gt=0)] = 1024,
    _into: str,
    _all_groups: Callable[[], Iterable[Group]],
    _held: dict[str, Any],
) -> list[Group]:
    """The largest number of times that a run of `ngram` words of the trace stands in the whole corpus, itself counted; 0 for a trace of
    fewer words.

    memory_mb: of the counts; the corpus is read several times where they do not fit at once. Runs are identified by 64-bit hashes.
    """
    if "counts" not in _held:
        _held["counts"] = counted(_all_groups, ngram, memory_mb << 20)
    hashes, counts = _held["counts"]

    def marked(trace: Trace) -> Trace:
        return scored(trace, scores={_into: float(most_frequent(trace.completion, ngram, hashes, counts))})

    return [replace(group, traces=tuple(map(marked, group.traces))) for group in groups]


def most_frequent(text: str, ngram: int, hashes: np.ndarray, counts: np.ndarray) -> int:
    """How often the most frequent run of the text was counted; runs that are not among `hashes` stand once."""
    own = run_hashes(text, ngram)
    if not len(own) or not len(hashes):
        return min(1, len(own))
    places = np.minimum(np.searchsorted(hashes, own), len(hashes) - 1)
    return int(max(1, np.where(hashes[places] == own, counts[places], 1).max()))


def run_hashes(text: str, ngram: int) -> np.ndarray:
    """A 64-bit hash of each run of `ngram` words, in order, (words - ngram + 1,) uint64."""
    words = text.split() if text.isascii() else _WORD.findall(text)
    if len(words) < ngram:
        return np.zeros(0, dtype=np.uint64)
    codes = np.array([zlib.crc32(data) << 32 | zlib.adler32(data) for data in map(_bytes, words)], dtype=np.uint64)
    powers = np.cumprod(np.full(len(words), _BASE, dtype=np.uint64), dtype=np.uint64)
    with np.errstate(over="ignore"):
        sums = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(_mixed(codes) * powers, dtype=np.uint64)])
        runs = sums[ngram:] - sums[:-ngram]
        inverses = np.cumprod(np.full(len(runs), _INVERSE, dtype=np.uint64), dtype=np.uint64)
        return _mixed(runs * inverses)  # the same words have the same hash wherever they stand


def _bytes(word: str) -> bytes:
    return word.encode("utf-8", "surrogatepass")


def _mixed(values: np.ndarray) -> np.ndarray:
    """The finalizer of SplitMix64: every bit depends on every other."""
    with np.errstate(over="ignore"):
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return values ^ (values >> np.uint64(31))


def counted(groups: Callable[[], Iterable[Group]], ngram: int, memory: int) -> tuple[np.ndarray, np.ndarray]:
    """(hashes, rising; counts) of the runs that stand in the corpus twice or more. Each pass counts those of one range of hashes."""
    total = sum(len(trace.completion) for group in groups() for trace in group.traces)
    passes = max(
        1, -(-total // 5 * 32 // memory)
    )  # five characters a word, and thirty-two bytes of sorting and merging a run
    kept = [_counted_within(_hashes(groups(), ngram, part, passes)) for part in range(passes)]
    hashes, counts = (np.concatenate([one[place] for one in kept]) for place in (0, 1))
    order = np.argsort(hashes)
    return hashes[order], counts[order]


def _hashes(groups: Iterable[Group], ngram: int, part: int, passes: int) -> Iterator[np.ndarray]:
    for group in groups:
        for trace in group.traces:
            hashes = run_hashes(trace.completion, ngram)
            yield hashes if passes == 1 else hashes[hashes % np.uint64(passes) == part]


def _counted_within(pieces: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(hashes, counts) of those that come twice or more."""
    hashes, counts = np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int64)
    waiting: list[np.ndarray] = []
    size = 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= _BATCH:
            hashes, counts = _merged(hashes, counts, np.concatenate(waiting))
            waiting, size = [], 0
    if waiting:
        hashes, counts = _merged(hashes, counts, np.concatenate(waiting))
    often = counts > 1
    return hashes[often], counts[often]


def _merged(hashes: np.ndarray, counts: np.ndarray, more: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values, times = np.unique(more, return_counts=True)
    every, places = np.unique(np.concatenate([hashes, values]), return_inverse=True)
    total = np.zeros(len(every), dtype=np.int64)
    np.add.at(total, places, np.concatenate([counts, times]))
    return every, total
