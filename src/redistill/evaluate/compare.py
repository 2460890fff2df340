"""Two students on the same problems: is the difference more than chance?

    paired_difference(redi, control, names=("redi", "control"))["sentence"]
        ->  "redi is above control by 38.0 points (95% interval 33.0 to 43.0, 400 problems)."

Problems differ far more than students do, so the comparison is problem by problem: the interval of the difference is
much narrower than two intervals side by side suggest.

    a, b = read_table(groups_a), read_table(groups_b)         {problem id: Row(hits, tokens)}, light enough for any run
    by_difficulty(a, b)["bins"]     ->  [{"label": "hard (below a third solved)", "difference": 0.02, ...}, ...]
    flipped(a, b)                   ->  (["p1f0..."], ["p77a..."])       problems that only a, only b solves

A problem's difficulty and length are pooled over both students, so neither is favoured, and are read off the samples with
even numbers while the effect is measured on those with odd numbers: the same samples in both places would make the hard
problems show no effect by construction.

    table = Agreement("cascade", "exact")         two verifiers on the same answers
    table.add(problem, answer_judged_by_cascade, answer_judged_by_exact)
    table.to_json()     {"a": "cascade", "b": "exact", "agree": 0.97, "table": {"correct": {"ungradable": 3, ...}}, ...}
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from redistill.errors import OperatorError
from redistill.evaluate.intervals import difference_interval
from redistill.evaluate.metrics import is_correct
from redistill.evaluate.self_correction import PER_PROBLEM, difference_in_self_correction
from redistill.records import Group, Outcome, Problem, Trace, Verdict
from redistill.text.figures import between, percent, points, smallest_difference
from redistill.verify.relevance import has_gold

# With fewer problems that differ, even a sign test where all point one way cannot reach 5%: 2 * 0.5**5 = 0.0625.
_MIN_DIFFERING = 6
ENOUGH = 2  # samples a problem of each student, one half to sort the problems and one to measure
MAX_EXAMPLES = 20  # disagreements kept with their answers; the first of each kind go first
MAX_CHARS = 200


def paired_difference(
    scores_a: Mapping[str, Any],
    scores_b: Mapping[str, Any],
    *,
    names: tuple[str, str] = ("a", "b"),
) -> dict[str, Any]:
    """pass@1 of a minus pass@1 of b over the same problems, both as `score` made them; n may differ.

    `interval95`: over problems, by `difference_interval` (None for one problem). `flips` counts problems by whether each
    student solves them in more than half of its samples; `mcnemar_p` is the exact two-sided McNemar test on these.
    `num_above`, `num_below`, `num_equal` count problems by the sign of the difference; `smallest_difference` is what these problems can show
    (power .8, from their own spread). A difference is claimed when
    the interval leaves out 0 and at least six problems differ. `mean_score` compares the scores of a graded verifier in the same
    way, `choose` the answers that a choice takes (choose.py), `self_correction` the metrics of attempts and verifications, where both have them. `num_left_out`: problems that one of the two was
    not scored on because its server refused to answer; they are left out of both. Errors: OperatorError where the problems differ
    otherwise.
    """
    left_out = {*scores_a.get("left_out", ()), *scores_b.get("left_out", ())}
    scores_a, scores_b = _without(scores_a, left_out), _without(scores_b, left_out)
    a, b = scores_a["per_problem"], scores_b["per_problem"]
    if a.keys() != b.keys():
        raise OperatorError(_different_problems(a.keys() - b.keys(), b.keys() - a.keys(), names))
    ids = sorted(a)
    mean_a = np.array([sum(a[id]) / len(a[id]) for id in ids])
    mean_b = np.array([sum(b[id]) / len(b[id]) for id in ids])
    difference = difference_of(dict(zip(ids, mean_a)), dict(zip(ids, mean_b)), names)
    solved_a, solved_b = mean_a > 0.5, mean_b > 0.5
    flips = {
        "both": int((solved_a & solved_b).sum()),
        "only_a": int((solved_a & ~solved_b).sum()),
        "only_b": int((~solved_a & solved_b).sum()),
        "neither": int((~solved_a & ~solved_b).sum()),
    }
    return {
        "names": list(names),
        **difference,
        **({"num_left_out": len(left_out)} if left_out else {}),
        "flips": flips,
        "mcnemar_p": mcnemar_exact(flips["only_a"], flips["only_b"]),
        **_graded(scores_a, scores_b, names),
        **_by_choice(scores_a, scores_b, names),
        **difference_in_self_correction(scores_a, scores_b, names),
    }


def difference_of(a: Mapping[str, float], b: Mapping[str, float], names: tuple[str, str]) -> dict[str, Any]:
    """The mean of a minus the mean of b over the same problems, of any values between 0 and 1, with its interval and whether it may
    be claimed; see `paired_difference`."""
    differences = np.array([a[id] - b[id] for id in sorted(a)])
    interval, difference = difference_interval(differences), float(differences.mean())
    differing = int((differences != 0).sum())
    is_claimed = interval is not None and not interval[0] <= 0 <= interval[1] and differing >= _MIN_DIFFERING
    return {
        "difference": difference,
        "interval95": interval,
        "num_problems": len(a),
        "smallest_difference": _smallest(differences),
        "num_above": int((differences > 0).sum()),
        "num_below": int((differences < 0).sum()),
        "num_equal": len(a) - differing,
        "is_claimed": is_claimed,
        "sentence": _sentence(difference, interval, len(a), differing, names, is_claimed),
    }


def _smallest(differences: np.ndarray) -> float | None:
    """The smallest true difference that problems as different as these would show (power .8); None where they show no spread."""
    spread = float(differences.std(ddof=1)) if len(differences) > 1 else 0.0
    return smallest_difference(len(differences), n=1, spread=spread) if spread > 0 else None


def _without(scores: Mapping[str, Any], left_out: set[str]) -> Mapping[str, Any]:
    """The scores without these problems."""
    if not left_out:
        return scores
    kept = dict(scores)
    for name in ("per_problem", "per_problem_scores", PER_PROBLEM):
        if name in scores:
            kept[name] = {id: row for id, row in scores[name].items() if id not in left_out}
    choices = scores.get("per_problem_choose", {})
    kept["per_problem_choose"] = {
        label: {id: value for id, value in values.items() if id not in left_out} for label, values in choices.items()
    }
    return kept


def _graded(scores_a: Mapping[str, Any], scores_b: Mapping[str, Any], names: tuple[str, str]) -> dict[str, Any]:
    """{"mean_score": the same of the scores of a graded verifier}; nothing where one of the two has none."""
    a, b = scores_a.get("per_problem_scores"), scores_b.get("per_problem_scores")
    if a is None or b is None:
        return {}
    difference = difference_of({id: float(np.mean(a[id])) for id in a}, {id: float(np.mean(b[id])) for id in b}, names)
    return {"mean_score": {**difference, "sentence": f"mean score: {difference['sentence']}"}}


def _by_choice(scores_a: Mapping[str, Any], scores_b: Mapping[str, Any], names: tuple[str, str]) -> dict[str, Any]:
    """{"choose": {label: the same of the answer that a choice takes}} for choices that both have, among equally many samples."""
    a, b = scores_a.get("per_problem_choose", {}), scores_b.get("per_problem_choose", {})
    n = scores_a.get("num_samples")
    both = [label for label in a if label in b and n == scores_b.get("num_samples")]
    differences = {label: difference_of(a[label], b[label], names) for label in both}
    return (
        {
            "choose": {
                label: {**one, "sentence": f"{label} of {n}: {one['sentence']}"} for label, one in differences.items()
            }
        }
        if differences
        else {}
    )


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """Two-sided exact p-value that a flip goes either way with chance 1/2; 1.0 where nothing flips.

    only_a, only_b: problems that only one of the two solves. Source: McNemar 1947, as an exact binomial test.
    """
    flips, fewer = only_a + only_b, min(only_a, only_b)
    return min(1.0, 2 * sum(math.comb(flips, i) for i in range(fewer + 1)) / 2**flips)


def _sentence(
    difference: float,
    interval: list[float] | None,
    problems: int,
    differing: int,
    names: tuple[str, str],
    is_claimed: bool,
) -> str:
    if interval is None:
        return f"No difference between {names[0]} and {names[1]} can be claimed from {problems} problem."
    if not is_claimed:
        count = "none differs" if differing == 0 else f"only {differing} differ{'s' if differing == 1 else ''}"
        facts = f"(95% interval {between(interval, signed=True)}, {problems} problems)"
        few = f", for {count}" if differing < _MIN_DIFFERING else ""
        return (
            f"No difference between {names[0]} and {names[1]} can be claimed{few}: {points(difference)} points {facts}."
        )
    # the sentence speaks of the size: below 0 the interval is that of b minus a
    size = interval if difference > 0 else [-interval[1], -interval[0]]
    facts = f"(95% interval {between(size)}, {problems} problems)"
    side = "above" if difference > 0 else "below"
    return f"{names[0]} is {side} {names[1]} by {percent(abs(difference))} points {facts}."


def _different_problems(only_a: set[str], only_b: set[str], names: tuple[str, str]) -> str:
    parts = [
        f"{len(ids)} only in {name} ({', '.join(sorted(ids)[:3])}{' ...' if len(ids) > 3 else ''})"
        for name, ids in zip(names, (only_a, only_b))
        if ids
    ]
    return (
        f"{names[0]} and {names[1]} were not scored on the same problems: {'; '.join(parts)}. "
        "Score both on one benchmark with the same max_problems and seed."
    )


# --- where two students differ ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """One student's samples of one problem in the order of their numbers: 1 or 0 each, and their lengths in tokens."""

    hits: tuple[int, ...]
    tokens: tuple[int | None, ...]


def read_table(groups: Iterable[Group]) -> dict[str, Row]:
    """The rows of the problems that have a gold answer, by id; the texts are let go."""
    table = {}
    for group in groups:
        if has_gold(group.problem):
            traces = sorted(group.traces, key=lambda t: t.sampling["sample_index"])
            table[group.problem.id] = Row(tuple(map(is_correct, traces)), tuple(t.num_tokens for t in traces))
    return table


Tables = tuple[Mapping[str, Row], Mapping[str, Row]]


def by_difficulty(a: Mapping[str, Row], b: Mapping[str, Row]) -> dict[str, Any]:
    """The difference of pass@1, a minus b, on problems of which below a third, up to two thirds, and more of the even
    samples are right."""
    if not _enough((a, b)):
        return {
            "bins": [],
            "note": "needs two samples per problem from both: one half measures how hard the problem is.",
        }
    shares = {id: float(np.mean(a[id].hits[::2] + b[id].hits[::2])) for id in a}
    labels = ("hard (below a third solved)", "middling", "easy (above two thirds solved)")
    place = {id: 0 if share < 1 / 3 else 1 if share <= 2 / 3 else 2 for id, share in shares.items()}
    return {"bins": _bins((a, b), labels, place), "note": _SPLIT}


def by_length(a: Mapping[str, Row], b: Mapping[str, Row]) -> dict[str, Any]:
    """The same on three equal parts of the problems by the mean length of the even samples' answers, in tokens."""
    known = {id for id in a if None not in a[id].tokens and None not in b[id].tokens}
    if len(known) < len(a) or len(a) < 3:
        return {"bins": [], "note": "needs every answer's length in tokens, and at least three problems."}
    step = 2 if _enough((a, b)) else 1
    lengths = {id: float(np.mean([*a[id].tokens[::step], *b[id].tokens[::step]])) for id in a}
    ranked = sorted(lengths, key=lambda id: (lengths[id], id))
    place = {id: 3 * rank // len(ranked) for rank, id in enumerate(ranked)}
    parts = [[lengths[id] for id in ranked if place[id] == part] for part in range(3)]
    names = ("short", "middling", "long")
    labels = [f"{name} ({min(part):,.0f} to {max(part):,.0f} tokens)" for name, part in zip(names, parts)]
    note = _SPLIT if step == 2 else "With one sample per problem, length and effect are measured on the same answers."
    return {"bins": _bins((a, b), labels, place), "note": note}


def flipped(a: Mapping[str, Row], b: Mapping[str, Row]) -> tuple[list[str], list[str]]:
    """Ids of problems that only a, and that only b, solves in more than half of its samples."""
    solved = [{id for id, row in table.items() if 2 * sum(row.hits) > len(row.hits)} for table in (a, b)]
    return sorted(solved[0] - solved[1]), sorted(solved[1] - solved[0])


def in_common(a: Mapping[str, Any], b: Mapping[str, Any], names: tuple[str, str]) -> list[str]:
    """Ids of the problems that both have. OperatorError where there is none."""
    ids = sorted(a.keys() & b.keys())
    if not ids:
        raise OperatorError(f"{names[0]} and {names[1]} share no problem; compare them on the same benchmark.")
    return ids


_SPLIT = "Sorted by the even-numbered samples, measured on the odd-numbered ones."


def _enough(tables: Tables) -> bool:
    return all(len(row.hits) >= ENOUGH for table in tables for row in table.values())


def _bins(tables: Tables, labels: Sequence[str], place: Mapping[str, int]) -> list[dict[str, Any]]:
    """One line a bin; empty bins are left out. Measured on odd samples where there are enough, else on all."""
    a, b = tables
    odd = slice(1, None, 2) if _enough(tables) else slice(None)
    bins = []
    for bin, label in enumerate(labels):
        ids = sorted(id for id in a if place[id] == bin)
        if not ids:
            continue
        means = np.array([[np.mean(a[id].hits[odd]), np.mean(b[id].hits[odd])] for id in ids])
        differences = means[:, 0] - means[:, 1]
        interval = difference_interval(differences)
        line = {
            "label": label,
            "num_problems": len(ids),
            "a": float(means[:, 0].mean()),
            "b": float(means[:, 1].mean()),
        }
        bins.append({**line, "difference": float(differences.mean()), "interval95": interval})
    return bins


# --- two verifiers on the same answers ----------------------------------------------------------------------------------


@dataclass(slots=True)
class Agreement:
    """Counts of (outcome by a, outcome by b) over the answers added, and some disagreements with what was read and why."""

    a: str
    b: str
    counts: Counter[tuple[Outcome, Outcome]] = field(default_factory=Counter)
    examples: list[dict[str, Any]] = field(default_factory=list)

    def add(self, problem: Problem, one: Trace, other: Trace) -> None:
        """One answer with the joined verdict of either side."""
        pair = (one.verdict.outcome, other.verdict.outcome)
        self.counts[pair] += 1
        seen = sum(tuple(example["outcomes"]) == pair for example in self.examples)
        if pair[0] != pair[1] and seen < 3 and len(self.examples) < MAX_EXAMPLES:
            self.examples.append(
                {
                    "problem_id": problem.id,
                    "trace_id": one.id,
                    "statement": problem.statement[:MAX_CHARS],
                    "gold": problem.answer,
                    "outcomes": [str(outcome) for outcome in pair],
                    self.a: _said(one.verdict),
                    self.b: _said(other.verdict),
                }
            )

    def to_json(self) -> dict[str, Any]:
        """Shares of all answers; `only_a_correct` counts those that a alone calls correct."""
        total = sum(self.counts.values())
        same = sum(count for (one, other), count in self.counts.items() if one == other)
        right = [
            sum(n for pair, n in self.counts.items() if pair[side] is Outcome.correct is not pair[1 - side])
            for side in (0, 1)
        ]
        table: dict[str, dict[str, int]] = {}
        for one in Outcome:
            row = {str(other): self.counts[one, other] for other in Outcome if self.counts[one, other]}
            if row:
                table[str(one)] = row
        return {
            "a": self.a,
            "b": self.b,
            "num_samples": total,
            "agree": same / total if total else None,
            "only_a_correct": right[0],
            "only_b_correct": right[1],
            "table": table,
            "examples": self.examples,
        }


def _said(verdict: Verdict) -> dict[str, Any]:
    return {"outcome": str(verdict.outcome), "read": verdict.extracted, "reason": verdict.reason}
