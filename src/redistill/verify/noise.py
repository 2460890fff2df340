"""How noisy the verdicts are: who contradicts whom, and how many right traces may stand among the rejected ones.

    gradings = Gradings()
    gradings.add("p1", "teacher-7b", {"cascade": "incorrect", "teacher_label": "correct", "final": "disagree"})    ...
    gradings.summary(seed=0)     {"matrix": [...], "estimate": {"right_among_rejected": {"value": 0.013, ...}}, ...}

The estimate is the latent class model of Dawid and Skene (1979) with Hui and Walter's (1980) populations: each trace is
right or wrong, nobody sees which; each author's traces are right with a share of their own; each grader says correct,
incorrect or neither with chances that depend on the truth alone. Fitted by EM, it gives for every pattern of verdicts the
chance that the trace is right, hence the share of right traces among those that the policy calls incorrect. Three graders
identify it, or two and two authors of different skill.

Its weak point is said with it: graders that share a mistake (rules that both fail on the same notation) look like two
independent witnesses, and the estimate is then too low.
"""

import hashlib
import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from redistill.records import FINAL, Outcome

Floats = NDArray[np.float64]

CORRECT, INCORRECT, NEITHER, UNASKED = range(4)
_CODES = {"correct": CORRECT, "incorrect": INCORRECT}
WORDS = ("correct", "incorrect", "undecided")
BLOCKS = 256  # problems are gathered in blocks by their ids; the bootstrap draws blocks, so memory does not grow
MAX_AUTHORS = 24  # populations of their own; the others are one together
MIN_AUTHOR_TRACES = 30
RESAMPLES = 200
MIN_SPREAD = 0.05  # between the authors' shares of right traces, where two graders must do
ASSUMPTIONS = (
    "given whether a trace is right, graders err independently of one another; shared mistakes make the estimate too low",
    "a grader's chances of error are the same for all authors",
    "each grader is better than chance",
)


@dataclass(slots=True)
class Gradings:
    """Counts of (block of problems, author, whether rejected, verdict of each grader)."""

    cells: Counter[tuple[int, str, bool, tuple[tuple[str, int], ...]]] = field(default_factory=Counter)

    def add(self, problem_id: str, author: str, outcomes: Mapping[str, str]) -> None:
        """Count one trace: the outcomes of its verdicts by verifier, the joined one under FINAL."""
        block = int.from_bytes(hashlib.blake2b(problem_id.encode(), digest_size=2).digest(), "big") % BLOCKS
        said = tuple(sorted((name, _CODES.get(word, NEITHER)) for name, word in outcomes.items() if name != FINAL))
        self.cells[block, author, outcomes.get(FINAL) == Outcome.incorrect, said] += 1

    def summary(self, *, seed: int) -> dict[str, Any]:
        """Graders, the matrix of every two of them, and the estimate or the reason why there is none."""
        graders = sorted({name for _, _, _, said in self.cells for name, _ in said})
        figures: dict[str, Any] = {
            "graders": graders,
            "traces": sum(self.cells.values()),
            "rejected": sum(n for (_, _, rejected, _), n in self.cells.items() if rejected),
            "matrix": [self._pair(a, b) for a, b in itertools.combinations(graders, 2)],
            "estimate": None,
            "why_not": None,
        }
        figures["why_not"] = self._why_not(graders, figures["rejected"])
        if figures["why_not"] is None:
            figures["estimate"] = self._estimate(graders, seed)
            if figures["estimate"] is None:
                figures["why_not"] = (
                    "the two graders' authors are right equally often, so their errors cannot be distinguished"
                )
        figures["sentence"] = sentence(figures)
        return figures

    def _why_not(self, graders: Sequence[str], rejected: int) -> str | None:
        if len(graders) < 2:
            return "only one grader gave verdicts, so there is nothing to compare it with"
        if rejected == 0:
            return "no trace was rejected"
        if len(graders) == 2 and len(self._authors()) < 2:
            return "two graders need traces of at least two authors, and there is one"
        return None

    def _authors(self) -> dict[str, int]:
        """Author -> number of its population: the largest stand for themselves."""
        sizes: Counter[str] = Counter()
        for (_, author, _, _), n in self.cells.items():
            sizes[author] += n
        large = [author for author, n in sizes.most_common(MAX_AUTHORS) if n >= MIN_AUTHOR_TRACES]
        return {author: i for i, author in enumerate(large)} or {"": 0}

    def _pair(self, a: str, b: str) -> dict[str, Any]:
        counts: Counter[str] = Counter()
        both_decided = same = 0
        for (_, _, _, said), n in self.cells.items():
            verdicts = dict(said)
            if a in verdicts and b in verdicts:
                first, second = verdicts[a], verdicts[b]
                counts[f"{WORDS[first]} {WORDS[second]}"] += n
                if NEITHER not in (first, second):
                    both_decided += n
                    same += n * (first == second)
        return {
            "a": a,
            "b": b,
            "counts": {f"{x} {y}": counts[f"{x} {y}"] for x in WORDS for y in WORDS},
            "agreement_where_both_decide": same / both_decided if both_decided else None,
        }

    def _estimate(self, graders: Sequence[str], seed: int) -> dict[str, Any] | None:
        """The fit and its interval; None where two graders meet authors of one skill."""
        authors = self._authors()
        others = len(authors) if any(author not in authors for _, author, _, _ in self.cells) else -1
        keys: dict[tuple[int, tuple[int, ...], bool], int] = {}
        entries: list[tuple[int, int, int]] = []  # block, key, count
        for (block, author, rejected, said), n in self.cells.items():
            verdicts = dict(said)
            pattern = tuple(verdicts.get(name, UNASKED) for name in graders)
            key = keys.setdefault((authors.get(author, others), pattern, rejected), len(keys))
            entries.append((block, key, n))
        population = np.array([key[0] for key in keys])
        patterns = np.array([key[1] for key in keys])
        is_rejected = np.array([key[2] for key in keys])
        by_block = np.zeros((BLOCKS, len(keys)))
        for block, key, n in entries:
            by_block[block, key] += n
        by_block = by_block[by_block.sum(1) > 0]
        whole = fit(by_block.sum(0), patterns, population)
        if len(graders) == 2 and np.ptp(whole.shares) < MIN_SPREAD:
            return None
        generator = np.random.default_rng(seed)
        drawn = []
        for _ in range(RESAMPLES):
            weights = by_block[generator.integers(len(by_block), size=len(by_block))].sum(0)
            if (weights * is_rejected).sum() > 0:
                again = fit(weights, patterns, population, start=whole)
                drawn.append(again.share_right(weights * is_rejected))
        interval = [float(edge) for edge in np.quantile(drawn, [0.025, 0.975])] if len(by_block) > 1 else None
        value, of = whole.share_right(by_block.sum(0) * is_rejected), float((by_block.sum(0) * is_rejected).sum())
        if interval:  # draws that are all 0 know no more than that none of so many traces was seen
            low, high = _wilson(value, of)
            interval = [min(interval[0], low), max(interval[1], high)]
        names = [*authors, *(["(others)"] if others >= 0 else [])]
        chances = {
            name: {
                "correct_of_right": float(whole.chances[k, 1, CORRECT]),
                "incorrect_of_right": float(whole.chances[k, 1, INCORRECT]),
                "correct_of_wrong": float(whole.chances[k, 0, CORRECT]),
                "incorrect_of_wrong": float(whole.chances[k, 0, INCORRECT]),
            }
            for k, name in enumerate(graders)
        }
        return {
            "model": "latent class (Dawid and Skene 1979), authors as populations (Hui and Walter 1980), EM",
            "assumptions": list(ASSUMPTIONS),
            "interval": f"95%, bootstrap over {len(by_block)} blocks of problems, {RESAMPLES} resamples; at least as wide as Wilson's",
            "right_among_rejected": {
                "value": value,
                "interval95": interval,
            },
            "graders": chances,
            "shares_right": {name: float(whole.shares[i]) for i, name in enumerate(names)},
        }


def _wilson(share: float, of: float) -> tuple[float, float]:
    """Wilson's 95% limits of a share of `of` traces, as if each were known to be right or wrong."""
    z2 = 1.96**2 / of
    middle, half = share + z2 / 2, math.sqrt(z2 * (share * (1 - share) + z2 / 4))
    return max(0.0, (middle - half) / (1 + z2)), min(1.0, (middle + half) / (1 + z2))


@dataclass(frozen=True, slots=True)
class Fit:
    """shares: (populations,) of right traces; chances: (graders, truth 0 wrong or 1 right, verdict); right: (cells,) the
    chance that a trace with such verdicts is right."""

    shares: Floats
    chances: Floats
    right: Floats

    def share_right(self, weights: Floats) -> float:
        """The share of right traces among those with these weights (cells,)."""
        return float((weights * self.right).sum() / weights.sum())


def fit(weights: Floats, patterns: NDArray[np.int64], population: NDArray[np.int64], start: Fit | None = None) -> Fit:
    """EM for the latent class model. weights (cells,) counts; patterns (cells, graders) verdicts; population (cells,).

    Half a trace is added to every count, so that no chance becomes 0. Begins where most graders that decide are right.
    """
    graders, populations = patterns.shape[1], int(population.max()) + 1
    said = np.stack([patterns == verdict for verdict in range(3)], axis=-1).astype(float)  # (cells, graders, 3)
    here = np.eye(populations)[population]  # (cells, populations)
    if start is None:
        votes = (patterns == CORRECT).sum(1) - (patterns == INCORRECT).sum(1)
        right = np.where(votes > 0, 0.95, np.where(votes < 0, 0.05, 0.5))
    else:
        right = start.right
    shares, chances = np.zeros(populations), np.zeros((graders, 2, 3))
    for _ in range(1_000):
        by_truth = np.stack([weights * (1 - right), weights * right])  # (2, cells)
        counts = np.einsum("tc,cgv->gtv", by_truth, said) + 0.5
        chances = counts / counts.sum(-1, keepdims=True)
        shares = (here.T @ by_truth[1] + 0.5) / (here.T @ weights + 1.0)
        likelihood = np.einsum("cgv,gtv->ct", said, np.log(chances))  # a grader that was not asked adds nothing
        odds = likelihood[:, 1] - likelihood[:, 0] + here @ (np.log(shares) - np.log1p(-shares))
        updated = 1.0 / (1.0 + np.exp(-np.clip(odds, -50, 50)))
        moved = float(np.abs(updated - right).max())
        right = updated
        if moved < 1e-7:
            break
    return Fit(shares, chances, right)


def sentence(summary: Mapping[str, Any]) -> str:
    """What may be said, in words."""
    if summary["estimate"] is None:
        return f"No estimate of right traces among the rejected ones: {summary['why_not']}."
    share = summary["estimate"]["right_among_rejected"]
    interval = share["interval95"]
    between = f" (95% interval {interval[0]:.2%} to {interval[1]:.2%})" if interval else ""
    return (
        f"Of the {summary['rejected']:,} traces called incorrect an estimated {share['value']:.2%}{between} are right, by a model of "
        f"{len(summary['graders'])} graders that err independently; shared mistakes would make it more."
    )
