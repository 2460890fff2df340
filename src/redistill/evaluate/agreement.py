"""Two verifiers on the same answers: where do they agree, and what does each say where they do not?

table = Agreement("cascade", "exact")
table.add(problem, answer_judged_by_cascade, answer_judged_by_exact)
table.to_json()     {"a": "cascade", "b": "exact", "agree": 0.97, "table": {"correct": {"ungradable": 3, ...}}, ...}
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from redistill.records import Outcome, Problem, Trace, Verdict

MAX_EXAMPLES = 20  # disagreements kept with their answers; the first of each kind go first
MAX_CHARS = 200


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
