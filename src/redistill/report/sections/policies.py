"""The sections that compare pairings, sources and teachers: what every pairing would give, and what each source and teacher brings.

All figures are those of select/statistics.json; nothing is counted here.
"""

from collections.abc import Mapping

from redistill.report.blocks import Bar, Bars, Block, Details, Table, Tag, Text, not_run
from redistill.report.files import RunFiles
from redistill.report.shapes import PolicyShape, SpreadShape, TracesShape
from redistill.report.text import count, percent, short

MAX_ROWS = 40  # teachers or sources of a table, the largest first
MAX_TEACHERS = 8  # of a pairing's mix
MAX_BARS = 24


def policies(run: RunFiles) -> list[Block]:
    """One row a pairing on the same problems and under the same filters; then what they share, and their mixes."""
    statistics = run.statistics
    if statistics is None:
        return not_run("select", "comparison of pairings")
    if not statistics.policies:
        return [Text("No pairing finds a pair in this corpus.", "missing")]
    own, weight = statistics.own, f"{statistics.rejected_weight:g}"
    head = (
        "pairing",
        "problems",
        "pairs",
        "chosen",
        "rejected",
        "gap",
        "shared",
        "net prefix weight",
        "negative",
        "same teacher",
    )
    rows = [_policy(name + (" (this run)" if name == own else ""), row) for name, row in statistics.policies.items()]
    names = list(statistics.policies)
    overlap = [[name, *(count(statistics.shared_pairs.get(name, {}).get(other)) for other in names)] for name in names]
    mixes = [
        (name, side, ", ".join(f"{short(who, 40) or 'unknown'} {n:,}" for who, n in list(mix.items())[:MAX_TEACHERS]))
        for name, row in statistics.policies.items()
        if row.pairs
        for side, mix in (("source", row.source), ("chosen", row.chosen_teacher), ("rejected", row.rejected_teacher))
    ]
    return [
        Text(
            f"Every pairing on the same problems and under the same filters, before any training. On the opening that both sides of a "
            f"pair share, REDI's weights add up to shared × (1/|chosen| − {weight}/|rejected|): where that is negative, training also lowers "
            "the opening of the right trace."
        ),
        Table(
            "Pairings compared: median tokens of each side, shared opening as a share of the shorter side, and its net weight",
            head,
            rows,
        ),
        Details(
            "How many pairs two pairings have in common",
            [Table("Pairs made by both; on the diagonal, all pairs of a pairing", ("pairing", *names), overlap)],
        ),
        Details(
            "Where the pairs come from",
            [Table("Pairs by source and by teacher of each side", ("pairing", "", "pairs"), mixes, (1, 2))],
        ),
    ]


def _policy(name: str, row: PolicyShape) -> tuple[str | None, ...]:
    net = row.net_prefix_weight
    return (
        name,
        count(row.problems),
        count(row.pairs),
        _median(row.chosen_tokens),
        _median(row.rejected_tokens),
        _median(row.length_gap),
        _percent(row.shared_share),
        None if net.mean is None else f"{net.mean:+.4f}",
        _percent(net.negative),
        _percent(row.same_teacher),
    )


def teachers(run: RunFiles) -> list[Block]:
    """Traces by source and by teacher: how many are right, how long they are, how often they look back."""
    statistics = run.statistics
    if statistics is None:
        return not_run("select", "table of traces by source and teacher")
    blocks: list[Block] = [
        Text(
            "Held-out problems included. Tokens are the student's: median and 90th percentile. Look back: the share of right and of "
            "wrong traces with “wait”, “let me check” and the like. Rank of wrong: the mean position of a wrong trace among its "
            "problem's traces by length, from 0 (shortest) to 1 (longest).",
            "quiet",
        )
    ]
    for kind in ("source", "teacher"):
        rows = statistics.traces.get(kind, {})
        blocks += _verdicts(kind, rows)
        some = list(rows.items())[:MAX_ROWS]
        more = f": the {MAX_ROWS} largest of {len(rows):,}" if len(rows) > MAX_ROWS else ""
        head = (kind, "traces", "right", "wrong", "tokens right", "tokens wrong", "look back", "rank of wrong")
        blocks.append(Table(f"Traces by {kind}{more}", head, [_traces(name, row) for name, row in some]))
        spread = [
            (short(name, 60) or "unknown", *(count(row.pass_rate.get(bin)) for bin in _BINS)) for name, row in some
        ]
        blocks.append(
            Details(
                f"Difficulty by {kind}",
                [Table("Problems by the share of right traces", (kind, *_BINS), spread)],
            )
        )
    return blocks


def _verdicts(kind: str, rows: Mapping[str, TracesShape]) -> list[Block]:
    """Right, wrong and undecided as parts of one bar each, the best first; all bars are equally long, for shares are to be
    compared."""
    largest = sorted(list(rows.items())[:MAX_BARS], key=lambda item: -item[1].right / max(1, item[1].traces))
    bars = []
    for name, row in largest:
        undecided = row.traces - row.right - row.wrong
        parts = (("right", "right", row.right), ("wrong", "wrong", row.wrong), ("other", "undecided", undecided))
        segments = [part for part in parts if part[2] > 0]
        words = f"{percent(row.right / max(1, row.traces))}% right of {row.traces:,}"
        bars.append(Bar(short(name, 40) or "unknown", "trace", row.traces, 100.0, segments, words))
    more = f" The {MAX_BARS} largest of {len(rows):,}." if len(rows) > MAX_BARS else ""
    caption = f"Verdicts on the traces of each {kind}, the best first; every bar is 100%.{more}"
    return [Bars(bars, caption, _LEGEND)] if bars else []


_LEGEND = (Tag("right", "right"), Tag("wrong", "wrong"), Tag("undecided", "other"))
_BINS = ("0", "0-0.2", "0.2-0.4", "0.4-0.6", "0.6-0.8", "0.8-1", "1", "unknown")


def _traces(name: str, row: TracesShape) -> tuple[str | None, ...]:
    # of all traces, undecided ones too, as in the bars above: one file has one share of right traces
    right = f"{row.right:,}  ({percent(row.right / row.traces)}%)" if row.traces else None
    back = [_percent(share) or "–" for share in (row.reflecting_right, row.reflecting_wrong)]
    rank = row.length_rank_wrong
    return (
        short(name, 60) or "unknown",
        count(row.traces),
        right,
        count(row.wrong),
        _median(row.tokens_right, tail=True),
        _median(row.tokens_wrong, tail=True),
        " / ".join(back),
        None if rank is None else f"{rank:.2f}",
    )


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{percent(share)}%"


def _median(spread: SpreadShape | None, tail: bool = False) -> str | None:
    if spread is None:
        return None
    return f"{spread.p50:,.0f} / {spread.p90:,.0f}" if tail else f"{spread.p50:,.0f}"
