"""The section about the run's own pairs, as pictures: by how much the sides differ in length, and how much of their opening
they share; then every pairing offline beside it.

The distributions are read from the first candidates of a few shards, the comparison from select/statistics.json.
"""

import itertools
import math
from collections.abc import Sequence

from redistill.records import Candidate
from redistill.report import charts
from redistill.report.blocks import Block, Figure, Text, not_run
from redistill.report.files import RunFiles
from redistill.report.shapes import SpreadShape
from redistill.report.text import percent, plural

MAX_CANDIDATES = 20_000
MAX_POLICIES = 14
_NUM_BINS = 24


def gaps(run: RunFiles) -> list[Block]:
    """Length gap and shared opening of the run's pairs; the same of every pairing, as ranges."""
    paper = run.statistics
    if paper is None:
        return not_run("select", "pair")
    read = run.sample("select/candidates", max_shards=4, max_records=MAX_CANDIDATES)
    own = [c for c in read if c.policy == paper.own and not c.reason]
    blocks: list[Block] = [_distributions(paper.own, own)] if own else []
    return blocks + _compared(run) or [Text("No pairing finds a pair in this corpus.", "missing")]


def _distributions(name: str, pairs: Sequence[Candidate]) -> Block:
    differences = [pair.rejected_tokens - pair.chosen_tokens for pair in pairs]
    shared = [_shared(pair) for pair in pairs]
    shorter = sum(d < 0 for d in differences)
    edges = _edges(differences)
    longer = [sum(low <= d < high for d in differences) for low, high in itertools.pairwise(edges)]
    ticks = [f"{edge:+,}".replace("-", "−") if edge else "0" for edge in edges[:-1]]
    tenths = [sum(min(int(10 * s), 9) == i for s in shared) for i in range(10)]
    panels = []
    if charts.is_worth_drawing(longer):
        picture = _histogram(ticks, longer, "tokens, each bin by its first value", "length gap of the pairs")
        panels.append(("rejected − chosen, tokens", picture))
    if charts.is_worth_drawing(tenths):
        picture = _histogram(
            [f"{10 * i}" for i in range(10)], tenths, "% of the shorter side", "shared opening of the pairs"
        )
        panels.append(("opening that both share", picture))
    caption = f"{plural(len(pairs), 'pair')} of {name}, read from the first candidates of a few shards. The rejected side is the "
    caption += f"shorter one in {percent(shorter / len(pairs))}% of them."
    if not panels:
        middle = sorted(differences)[len(differences) // 2]
        return Text(
            f"{caption} The median gap is {middle:+,} tokens, the mean shared opening {percent(sum(shared) / len(shared))}%."
        )
    return Figure(panels, f"{caption} The outermost bins include all values beyond them.")


def _shared(pair: Candidate) -> float:
    return pair.shared_tokens / max(1, min(pair.chosen_tokens, pair.rejected_tokens))


def _edges(values: Sequence[int]) -> list[int]:
    """Borders of about two dozen bins of a round width, 0 among them, between the 1st and the 99th hundredth of `values`;
    the first and the last border reach to the ends, so that nothing is lost."""
    ranked = sorted(values)
    low, high = ranked[len(ranked) // 100], ranked[-1 - len(ranked) // 100]
    rough = max(1, math.ceil((high - low + 1) / _NUM_BINS))
    power = 10 ** (len(str(rough)) - 1)
    width = next(power * step for step in (1, 2, 5, 10) if power * step >= rough)
    first, last = math.floor(low / width), math.floor(high / width) + 1
    edges = [width * i for i in range(first, last + 1)]
    return [min(edges[0], ranked[0]), *edges[1:-1], max(edges[-1], ranked[-1] + 1)]


def _histogram(ticks: Sequence[str], counts: Sequence[int], xlabel: str, label: str) -> charts.Markup:
    shares = [100 * n / sum(counts) for n in counts]
    return charts.histogram(ticks, {"kept": shares}, xlabel, label, ylabel="% of the pairs")


def _compared(run: RunFiles) -> list[Block]:
    """Median and the middle four fifths of each pairing's length gap, and its mean shared opening."""
    paper = run.statistics
    assert paper is not None
    rows = [(name, row) for name, row in list(paper.policies.items())[:MAX_POLICIES] if row.length_gap]
    if len(rows) < 2:
        return []
    named = [(name + (" (this run)" if name == paper.own else ""), row) for name, row in rows]
    lengths = [(name, 6, row.length_gap.p50, _ends(row.length_gap)) for name, row in named if row.length_gap]
    openings = [(name, 6, row.shared_share, None) for name, row in named if row.shared_share is not None]
    panels = [
        (
            "rejected − chosen, tokens",
            charts.intervals(lengths, "", "length gap of every pairing", zero_line=True, scale=1.0),
        )
    ]
    if openings:
        panels.append(("opening that both share, %", charts.intervals(openings, "", "shared opening of every pairing")))
    caption = "Pairings on the same problems. Gap: median, line from the 10th to the 90th percentile; left of 0 the rejected side is "
    caption += "shorter. Opening: mean share of the shorter side."
    return [Figure(panels, caption)]


def _ends(spread: SpreadShape) -> tuple[float, float]:
    return spread.p10, spread.p90
