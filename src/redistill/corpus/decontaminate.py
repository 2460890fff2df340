"""Which statements of the corpus are problems of a benchmark: by text, by containment, by rare runs of words.

    index = Benchmarks(problems)
    index.find("Question: Natalia sold clips to 48 of her friends ...")
      ->  Leak(benchmark="gsm8k", row="B.jsonl.gz:7", how="within", share=1.0, span="natalia sold clips to 48 ...", statement=...)

Everything is a function of the benchmarks and of the one statement, so what is removed from a corpus does not depend on
what else lies in it, and a second look at what was kept removes nothing.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from redistill.records import Problem
from redistill.text.statements import normal

MIN_TOKENS = 8  # a shorter problem ("compute sin 60 degrees") is only ever found as a whole statement
SHORT_TOKENS = 24  # a problem this short may stand in another one as a step of it: then no further number may be there
_ASIDE = re.compile(
    r"\[asy\](?:(?!\[asy\]).)*?\[/asy\]|https?://\S+", re.DOTALL
)  # drawings and links: many problems share theirs


@dataclass(frozen=True, slots=True)
class Leak:
    """The benchmark problem that a statement holds. how: `same` text, text `within` other text, or `overlap` of `share`
    of its runs of words by weight; span: the tokens of the statement from the first matched run to the last."""

    benchmark: str
    row: str
    how: str
    share: float
    span: str
    statement: str


class Benchmarks:
    """The problems of all benchmarks, indexed by their runs of `ngram` tokens; memory grows with the benchmarks only."""

    def __init__(self, problems: Iterable[Problem], *, ngram: int = 5, threshold: float = 0.6) -> None:
        self.ngram, self.threshold = ngram, threshold
        self.problems: list[Problem] = []
        self.texts: list[tuple[str, ...]] = []
        self.needed: list[Counter[str]] = []
        self.whole: dict[tuple[str, ...], int] = {}
        self.holders: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
        for problem in problems:
            tokens, needed = _read(problem.statement)
            if not tokens or tokens in self.whole:
                continue  # nothing to be found by, or the same problem in an earlier benchmark
            place = self.whole[tokens] = len(self.problems)
            self.problems.append(problem)
            self.texts.append(tokens)
            self.needed.append(needed)
            if len(tokens) >= MIN_TOKENS:
                for run in set(_runs(tokens, ngram)):
                    self.holders[run].append(place)
        self.weights = [
            sum(self._weight(run) for run in set(_runs(tokens, ngram))) if len(tokens) >= MIN_TOKENS else math.inf
            for tokens in self.texts
        ]

    def __reduce__(self) -> Any:
        """Travels to another process as its problems, and is indexed once there."""
        return _indexed, (tuple(self.problems), self.ngram, self.threshold)

    def find(self, statement: str) -> Leak | None:
        """The benchmark problem that this statement holds, the best where it holds several; None where it holds none.

        A run weighs log(1 + problems / problems that hold it): set phrases weigh little, what only one problem says weighs
        most. All numbers and labels (ABC) of the benchmark's problem must be there too, but for one number that became an
        unknown: with others it is another problem.
        """
        tokens, there = _read(statement)
        if tokens in self.whole:
            return self._leak(self.whole[tokens], "same", 1.0, tokens)
        runs = list(_runs(tokens, self.ngram))
        overlaps: defaultdict[int, float] = defaultdict(float)
        for run in set(runs):
            for place in self.holders.get(run, ()):
                overlaps[place] += self._weight(run)
        shares = sorted(
            (-round(weight / self.weights[place], 6), place)
            for place, weight in overlaps.items()
            if weight >= self.threshold * self.weights[place] and self._fits(place, tokens, there)
        )
        if not shares:
            return None
        share, place = -shares[0][0], shares[0][1]
        mine = set(_runs(self.texts[place], self.ngram))
        at = [start for start, run in enumerate(runs) if run in mine]
        span = tokens[at[0] : at[-1] + self.ngram]
        within = f" {' '.join(self.texts[place])} " in f" {' '.join(tokens)} "
        return self._leak(place, "within" if within else "overlap", share, self.texts[place] if within else span)

    def _fits(self, place: int, tokens: tuple[str, ...], there: Counter[str]) -> bool:
        needed = self.needed[place]
        if len(self.texts[place]) < SHORT_TOKENS:
            return needed == there
        missing = needed - there
        unknown = missing.total() == 1 and next(iter(missing))[0].isdigit() and self._hides(place, tokens)
        return not missing or unknown

    def _hides(self, place: int, tokens: tuple[str, ...]) -> bool:
        """Whether a letter stands in the statement that the benchmark's problem does not hold: a number made unknown."""
        new = set(tokens) - set(self.texts[place])
        return any(len(token) == 1 and token.isalpha() for token in new - {"a", "i", "s"})

    def _weight(self, run: tuple[str, ...]) -> float:
        return math.log1p(len(self.problems) / len(self.holders[run]))

    def _leak(self, place: int, how: str, share: float, span: tuple[str, ...]) -> Leak:
        problem = self.problems[place]
        return Leak(problem.source, problem.source_row, how, share, " ".join(span), problem.statement)


@lru_cache(1)
def _indexed(problems: tuple[Problem, ...], ngram: int, threshold: float) -> Benchmarks:
    return Benchmarks(problems, ngram=ngram, threshold=threshold)


def _read(statement: str) -> tuple[tuple[str, ...], Counter[str]]:
    """The tokens of a statement, all in lower case, and how often each of its numbers and labels comes."""
    tokens = normal(_ASIDE.sub(" ", statement)) or normal(statement)
    return tuple(token.lower() for token in tokens), Counter(filter(_is_anchor, tokens))


def _runs(tokens: tuple[str, ...], size: int) -> Iterable[tuple[str, ...]]:
    return (tokens[at : at + size] for at in range(len(tokens) - size + 1))


def _is_anchor(token: str) -> bool:
    return token[0].isdigit() or (len(token) > 1 and token.isupper())
