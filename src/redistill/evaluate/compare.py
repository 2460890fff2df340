"""Two students on the same problems: is the difference more than chance?

    paired_difference(redi, control, names=("redi", "control"))["sentence"]
        ->  "redi is above control by 38.0 points (95% interval 33.0 to 43.0, 400 problems)."

Problems differ far more than students do, so the comparison is problem by problem: the interval of the difference is
much narrower than two intervals side by side suggest.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from redistill.errors import OperatorError
from redistill.evaluate.intervals import difference_interval
from redistill.evaluate.self_correction import PER_PROBLEM, difference_in_self_correction
from redistill.text.figures import between, percent, points, smallest_difference

# With fewer problems that differ, even a sign test where all point one way cannot reach 5%: 2 * 0.5**5 = 0.0625.
_MIN_DIFFERING = 6


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
    found = difference_of(dict(zip(ids, mean_a)), dict(zip(ids, mean_b)), names)
    solved_a, solved_b = mean_a > 0.5, mean_b > 0.5
    flips = {
        "both": int((solved_a & solved_b).sum()),
        "only_a": int((solved_a & ~solved_b).sum()),
        "only_b": int((~solved_a & solved_b).sum()),
        "neither": int((~solved_a & ~solved_b).sum()),
    }
    return {
        "names": list(names),
        **found,
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
    found = dict(scores)
    for name in ("per_problem", "per_problem_scores", PER_PROBLEM):
        if name in scores:
            found[name] = {id: row for id, row in scores[name].items() if id not in left_out}
    choices = scores.get("per_problem_choose", {})
    found["per_problem_choose"] = {
        label: {id: value for id, value in values.items() if id not in left_out} for label, values in choices.items()
    }
    return found


def _graded(scores_a: Mapping[str, Any], scores_b: Mapping[str, Any], names: tuple[str, str]) -> dict[str, Any]:
    """{"mean_score": the same of the scores of a graded verifier}; nothing where one of the two has none."""
    a, b = scores_a.get("per_problem_scores"), scores_b.get("per_problem_scores")
    if a is None or b is None:
        return {}
    found = difference_of({id: float(np.mean(a[id])) for id in a}, {id: float(np.mean(b[id])) for id in b}, names)
    return {"mean_score": {**found, "sentence": f"mean score: {found['sentence']}"}}


def _by_choice(scores_a: Mapping[str, Any], scores_b: Mapping[str, Any], names: tuple[str, str]) -> dict[str, Any]:
    """{"choose": {label: the same of the answer that a choice takes}} for choices that both have, among equally many samples."""
    a, b = scores_a.get("per_problem_choose", {}), scores_b.get("per_problem_choose", {})
    n = scores_a.get("num_samples")
    both = [label for label in a if label in b and n == scores_b.get("num_samples")]
    found = {label: difference_of(a[label], b[label], names) for label in both}
    return (
        {"choose": {label: {**one, "sentence": f"{label} of {n}: {one['sentence']}"} for label, one in found.items()}}
        if found
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
