"""What attempts and verifications come to: counts of one answer, and the rates of many (S2R's five metrics).

    counts_of({"solve": (right, ...), "verification": (...)})      Counter(verified=2, true=1, wrong_verified=1, ...)
    rates(counts)["error_recall"]                                  wrong attempts that their verification calls incorrect, a share

Spans `solve` and `verification` are those of text/segments.py. What nobody can say (a value of .5) is in no share. Source: S2R,
arXiv 2502.12853, appendix E.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from redistill.records import Span
from redistill.text.segments import SOLVES, UNKNOWN, VERIFICATIONS

# metric -> (what is counted, of what): names in the counts of an answer
RATES: dict[str, tuple[str, str]] = {
    "verification_accuracy": ("true", "verified"),
    "error_recall": ("wrong_called_incorrect", "wrong_verified"),
    "correct_precision": ("right_called_correct", "called_correct"),
    "wrong_to_right": ("wrong_first_right_last", "wrong_first"),
    "right_to_wrong": ("right_first_wrong_last", "right_first"),
}
MEANING: dict[str, str] = {
    "verification_accuracy": "verifications that say what is true",
    "error_recall": "wrong attempts that are called incorrect",
    "correct_precision": "attempts called correct that are right",
    "wrong_to_right": "answers whose first attempt is wrong and whose last is right, of those whose first is wrong",
    "right_to_wrong": "answers whose first attempt is right and whose last is wrong, of those whose first is right",
}


def counts_of(spans: Mapping[str, Sequence[Span]]) -> Counter[str] | None:
    """What one answer adds to the metrics; None for an answer that is not a row of attempts and verifications."""
    solves, checks = spans.get(SOLVES, ()), spans.get(VERIFICATIONS, ())
    if not solves:
        return None
    counts = Counter({"answers": 1, "attempts": len(solves)})
    for solve, check in zip(solves, checks, strict=False):
        if check.value == UNKNOWN:
            counts["no_verdict"] += 1
        elif solve.value != UNKNOWN:
            right, says = solve.value == 1, check.value == 1
            counts["verified"] += 1
            counts["true"] += right == says
            counts["wrong_verified"] += not right
            counts["wrong_called_incorrect"] += not right and not says
            counts["called_correct"] += says
            counts["right_called_correct"] += right and says
    first, last = solves[0].value, solves[-1].value
    if UNKNOWN not in (first, last):
        counts["wrong_first" if first == 0 else "right_first"] += 1
        counts["wrong_first_right_last"] += first == 0 and last == 1
        counts["right_first_wrong_last"] += first == 1 and last == 0
    return +counts


def rates(counts: Mapping[str, int]) -> dict[str, float | None]:
    """The five metrics; None where there is nothing to share out."""
    return {name: counts.get(a, 0) / counts[b] if counts.get(b) else None for name, (a, b) in RATES.items()}
