"""Scores of students that check and correct themselves: S2R's five metrics, and how many attempts they take by difficulty.

    self_correction_scores(samples)    ->  {"self_correction": {"error_recall": {"value": .8, "interval95": [.7, .9], "of": 120}, ...}}
    difference_in_self_correction(a, b, ("prl", "sft"))      paired over the same problems

Answers carry the spans `solve` and `verification` (verify/segments.py). A metric is a share of verifications or answers, so it is
a ratio of two sums over problems; its interval is found by drawing problems again (bootstrap), whose answers stay together.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from redistill.evaluate.intervals import mean_interval
from redistill.evaluate.metrics import Samples
from redistill.records import Trace
from redistill.text.segments import SOLVES
from redistill.text.self_correction import RATES, counts_of, rates
from redistill.verify.segments import UNREAD

DRAWS = 2000  # of the bootstrap: its quantiles at 2.5% rest on 50 draws each
LEAST = 6  # problems that a difference is claimed from, as elsewhere (compare.py)
PER_PROBLEM = "per_problem_self_correction"


def self_correction_scores(graded: Mapping[str, Samples]) -> dict[str, Any]:
    """{} for answers that nobody cut into attempts and verifications, else two entries for scores.json.

    self_correction: each metric with `value` (None where there is nothing to share out), `interval95` over problems and `of`, how
    many it is a share of; `attempts`, their mean number; `by_first_attempts`, the same for problems none, some and all of
    whose samples begin with a right attempt; `segmented`, the share of answers that could be split into segments, `unread`, why the others could not;
    `no_verdict`, the share of verifications without one, which are in no metric. per_problem_self_correction: what was counted.
    """
    traces = [trace for samples in graded.values() for trace in samples]
    if not any(SOLVES in trace.spans or UNREAD in trace.notes for trace in traces):
        return {}
    counts = {id: _counts(samples) for id, samples in graded.items()}
    total = sum(counts.values(), Counter[str]())
    scores: dict[str, Any] = {}
    for name, value in rates(total).items():
        part, whole = (np.array([c[key] for c in counts.values()], dtype=float) for key in RATES[name])
        scores[name] = {"value": value, "interval95": _ratio_interval(part, whole), "of": int(whole.sum())}
    unread = Counter(trace.notes[UNREAD] for trace in traces if UNREAD in trace.notes)
    verifications = total["verified"] + total["no_verdict"]
    scores |= {
        "attempts": _attempts(counts.values()),
        "by_first_attempts": _by_first_attempts(graded, counts),
        "segmented": total["answers"] / len(traces),
        "unread": dict(sorted(unread.items())),
        "no_verdict": total["no_verdict"] / verifications if verifications else None,
    }
    return {"self_correction": scores, PER_PROBLEM: {id: dict(sorted(c.items())) for id, c in counts.items()}}


def _counts(samples: Sequence[Trace]) -> Counter[str]:
    return sum((counts_of(trace.spans) or Counter[str]() for trace in samples), Counter[str]())


def _attempts(counts: Any) -> float | None:
    total = sum(counts, Counter[str]())
    return total["attempts"] / total["answers"] if total["answers"] else None


def _by_first_attempts(graded: Mapping[str, Samples], counts: Mapping[str, Counter[str]]) -> list[dict[str, Any]]:
    """Attempts by how hard a problem is for the student: how many of its first attempts are right."""
    kinds: dict[str, list[Counter[str]]] = {"none right": [], "some right": [], "all right": []}
    for id in graded:
        right, wrong = counts[id]["right_first"], counts[id]["wrong_first"]
        if right or wrong:
            kinds["some right" if right and wrong else "all right" if right else "none right"].append(counts[id])
    return [
        {"first_attempts": name, "num_problems": len(here), "attempts": _attempts(here)} for name, here in kinds.items()
    ]


def _ratio_interval(part: np.ndarray, whole: np.ndarray) -> list[float] | None:
    """95% interval of sum(part) / sum(whole) over problems; None where fewer than two have anything to share out. Where every
    problem has the same share, drawing problems again says nothing, and the interval is that of a mean."""
    here = whole > 0
    if here.sum() < 2:
        return None
    shares = part[here] / whole[here]
    if np.all(shares == shares[0]):
        return mean_interval(shares.tolist())
    drawn = _drawn(part, whole)
    return [float(limit) for limit in np.quantile(drawn, (0.025, 0.975))]


def _drawn(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """The ratio in DRAWS sets of as many problems, drawn with replacement; equal sizes give equal sets."""
    rng, size = np.random.default_rng(0), len(part)
    drawn = []
    for _ in range(0, DRAWS, 100):
        times = rng.multinomial(size, np.full(size, 1 / size), size=100)
        below = times @ whole
        drawn.append(np.divide(times @ part, below, out=np.full(100, np.nan), where=below > 0))
    ratios = np.concatenate(drawn)
    return ratios[np.isfinite(ratios)]


def difference_in_self_correction(a: Mapping[str, Any], b: Mapping[str, Any], names: tuple[str, str]) -> dict[str, Any]:
    """{"self_correction": {metric: difference, interval, whether it may be claimed, a sentence}} over the same problems, paired;
    {} where one of the two has none."""
    if PER_PROBLEM not in a or PER_PROBLEM not in b:
        return {}
    ids = sorted(a[PER_PROBLEM].keys() & b[PER_PROBLEM].keys())
    differences = {}
    for metric, keys in RATES.items():
        sides = [[np.array([s[PER_PROBLEM][id].get(k, 0) for id in ids], dtype=float) for k in keys] for s in (a, b)]
        if any((whole > 0).sum() < LEAST for _, whole in sides):
            continue
        difference = float(sides[0][0].sum() / sides[0][1].sum() - sides[1][0].sum() / sides[1][1].sum())
        draws = [_drawn(*side) for side in sides]
        whole = min(map(len, draws))
        low, high = (float(x) for x in np.quantile(draws[0][:whole] - draws[1][:whole], (0.025, 0.975)))
        is_claimed = not low <= 0 <= high
        differences[metric] = {
            "difference": difference,
            "interval95": [low, high],
            "is_claimed": is_claimed,
            "sentence": _sentence(metric, difference, low, high, names, len(ids), is_claimed),
        }
    return {"self_correction": differences} if differences else {}


def _sentence(
    metric: str, difference: float, low: float, high: float, names: tuple[str, str], problems: int, is_claimed: bool
) -> str:
    word = metric.replace("_", " ")
    if not is_claimed:
        return f"{word}: no difference between {names[0]} and {names[1]} can be claimed: {difference:+.3f} (95% interval {low:.3f} to {high:.3f}, {problems} problems)."
    if difference < 0:
        low, high = -high, -low
    side = "above" if difference > 0 else "below"
    return f"{word}: {names[0]} is {side} {names[1]} by {abs(difference):.3f} (95% interval {low:.3f} to {high:.3f}, {problems} problems)."
