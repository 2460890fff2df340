"""What guided searches cost, from the facts that each answer keeps of its own (rollout/guided.py).

ledger.json    tallies: {"cost": {"drawn_tokens": 81204, "critic_calls": 2310, ...}}     sums over all answers
scores.json    search: {"answers": 512, "drawn_tokens": 158.6, "critic_calls": 4.5, ...}   means an answer
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from redistill.records import Group, Trace
from redistill.rollout.guided import COSTS, DRAWN


def cost_of(groups: Iterable[Group]) -> Counter[str]:
    """The sums over the answers that were searched for; empty where none was."""
    counts = Counter[str]()
    for trace in (trace for group in groups for trace in group.traces):
        counts.update({name: trace.sampling[name] for name in COSTS if name in trace.sampling})
    return counts


def search_costs(traces: Sequence[Trace]) -> dict[str, Any]:
    """{"search": means an answer} of the answers that were searched for; {} where none was."""
    searched = [trace.sampling for trace in traces if DRAWN in trace.sampling]
    if not searched:
        return {}
    means = {name: sum(sampling.get(name, 0) for sampling in searched) / len(searched) for name in COSTS}
    return {"search": {"answers": len(searched), **means}}
