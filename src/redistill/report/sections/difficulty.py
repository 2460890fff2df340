"""The section about how hard problems are for the student: a histogram per scorer `difficulty`, and what a search cannot tell.

    problem.metadata["difficulty_tries"]     {"how": "mcts", "solved_at": 7, "tries": 7, "budget": 50, "children": 3, ...}

The first steps of a search are sampled once, so its unsolved problems have a floor: a problem none of whose `children` first steps is
any good, (1 - q)^children where one is good with probability q, whatever the budget. A first step whose first answer is right is good,
so q is pass@1 or more. The floor at that q stands beside what independent answers would leave.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from redistill.report import charts
from redistill.report.blocks import Block, Figure, Table
from redistill.report.files import RunFiles
from redistill.report.text import count, percent, plural, short

MAX_SHARDS, MAX_GROUPS = 8, 20_000
SUFFIX = "_tries"  # of the entry in a problem's metadata
_EDGES = (1, 2, 3, 4, 6, 11, 21, 31, 41, 51, 101, 201, 501, 1001)  # first try of each bin
_RATE_BINS = 10
Tries = Mapping[str, Any]  # an entry


def difficulty(run: RunFiles) -> list[Block]:
    """Nothing for a run whose scorers searched for no difficulty: the heading is left out with it."""
    if not run.setting("score") or run.ledger("score") is None:
        return []
    tries: dict[str, list[Tries]] = {}
    for group in run.sample("score/groups", max_shards=MAX_SHARDS, max_records=MAX_GROUPS):
        for key, entry in group.problem.metadata.items():
            if key.endswith(SUFFIX) and isinstance(entry, dict) and entry.get("how") in ("mcts", "pass-rate"):
                tries.setdefault(key.removesuffix(SUFFIX), []).append(entry)
    blocks: list[Block] = []
    for name, entries in sorted(tries.items()):
        searched = [entry for entry in entries if entry["how"] == "mcts"]
        rated = [entry for entry in entries if entry["how"] == "pass-rate" and entry["decided"]]
        blocks += _search(name, searched) if searched else []
        blocks += _rates(name, rated) if rated else []
        if ledger := run.ledger(f"scorers/{name}"):
            cost = ledger.tallies.get("cost", {})
            rows = [(short(what, 40), count(cost[what])) for what in sorted(cost)]
            blocks += [Table(f"What {short(name, 40)} drew", ("", "number"), rows)] if rows else []
    return blocks


def _search(name: str, entries: Sequence[Tries]) -> list[Block]:
    """Tries until the first right answer."""
    total, most = len(entries), max(entry["tries"] for entry in entries)
    children = max(entry["children"] for entry in entries)
    solved = Counter(entry["solved_at"] for entry in entries)
    never = solved.pop(None, 0)
    starts = [edge for edge in _EDGES if edge <= most]
    ends = [edge - 1 for edge in starts[1:]] + [most]
    counts = [sum(n for at, n in solved.items() if low <= at <= high) for low, high in zip(starts, ends, strict=True)]
    shares = {"other": [100 * n / total for n in (*counts, never)]}
    bins = [str(low) if low == high else f"{low}-{high}" for low, high in zip(starts, ends, strict=True)]
    chart = charts.histogram([*bins, "never"], shares, "first right try", f"tries until {name}", "% of problems")
    first, early = solved[1] / total, sum(n for at, n in solved.items() if at <= children) / total
    stopped = any(entry["tries"] < entry["budget"] for entry in entries if entry["solved_at"] is None)
    rows = [
        ("solved at the first try (pass@1)", percent(first)),
        (f"solved within {children} tries, which begin with different first steps (pass@{children})", percent(early)),
        (f"{'not solved' if stopped else 'unsolved'} after {most} tries", percent(never / total)),
        (
            f"floor (1 - q)^{children}, if a first step is good with probability q = pass@1",
            percent((1 - first) ** children),
        ),
        (
            f"(1 - q)^{most}, what the same number of independent answers would leave unsolved",
            percent((1 - first) ** most),
        ),
    ]
    caption = (
        f"Tries of the search until the first right answer, {plural(total, 'problem')}; the last bin is never. All tries of a problem begin with one of "
        f"{children} first steps, so some problems are unsolved only because first steps vary little."
    )
    head = ("", "% of problems")
    title = f"{short(name, 40)}: the result of the search, and the share that first steps alone would leave unsolved if all problems were equal"
    figure = (
        [Figure([(short(name, 60), chart)], caption, single=True)] if charts.is_worth_drawing([*counts, never]) else []
    )
    return [*figure, Table(title, head, rows)]


def _rates(name: str, entries: Sequence[Tries]) -> list[Block]:
    """Shares of wrong answers."""
    total = len(entries)
    wrong = [1 - entry["right"] / entry["decided"] for entry in entries]
    counts = Counter(min(_RATE_BINS - 1, int(share * _RATE_BINS + 1e-9)) for share in wrong)
    ticks = [f"{place / _RATE_BINS:.1f}" for place in range(_RATE_BINS)]
    shares = {"other": [100 * counts[place] / total for place in range(_RATE_BINS)]}
    chart = charts.histogram(ticks, shares, "share of answers that are wrong", f"pass rates {name}", "% of problems")
    rows = [
        ("always right", percent(sum(share == 0 for share in wrong) / total)),
        ("right and wrong answers", percent(sum(0 < share < 1 for share in wrong) / total)),
        ("never right", percent(sum(share == 1 for share in wrong) / total)),
    ]
    table = Table(f"{short(name, 40)}: problems by their answers", ("", "% of problems"), rows)
    if not charts.is_worth_drawing(list(counts.values())):
        return [table]
    return [
        Figure([(short(name, 60), chart)], f"Share of wrong answers, {plural(total, 'problem')}", single=True),
        table,
    ]
