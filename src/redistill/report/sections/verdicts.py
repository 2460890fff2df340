"""The sections about verdicts, and about the lengths of right and wrong traces.

All counts come from the stages' ledgers, where in = kept + sum(dropped by reason).
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from redistill.report import charts
from redistill.report.blocks import Block, Details, Figure, Table, Tag, Text, not_run
from redistill.report.files import RunFiles
from redistill.report.sections.funnel import share
from redistill.report.sections.traces import tone_of
from redistill.report.shapes import Ledger
from redistill.report.text import count, percent, plural, short, top

# --- verdicts ---------------------------------------------------------------------------------------------------


def verdicts(run: RunFiles) -> list[Block]:
    """Outcomes of the joined verdict and of each verifier side by side, and each verifier's reasons."""
    ledger = run.ledger("verify")
    if ledger is None:
        return not_run("verify", "verdict")
    joined = ledger.tallies.get("outcomes", {})
    named = {k.partition(":")[2]: t for k, t in ledger.tallies.items() if k.startswith("outcomes:")}
    columns = {"joined": joined, **named}
    words = sorted({w for t in columns.values() for w in t}, key=lambda w: (-joined.get(w, 0), w))
    totals = {name: sum(tally.values()) for name, tally in columns.items()}
    rows = [
        [short(w, 60), *(_count_and_share(tally.get(w, 0), totals[name]) for name, tally in columns.items())]
        for w in words
    ]
    rows.append(["all", *(count(n) for n in totals.values())])
    blocks: list[Block] = [
        Text(
            "Only a trace that is certainly incorrect can become a rejected trace; an undecided trace is never stored as wrong."
        ),
        Table(
            "Traces by verdict: count and percent per verifier",
            ["outcome", *(short(name, 40) for name in columns)],
            rows,
        ),
    ]
    blocks += _golds(run, ledger)
    for name in named:
        reasons = ledger.tallies.get(f"reasons:{name}")
        if reasons:
            body = [(short(w, 80) or "(none given)", f"{n:,}") for w, n in top(reasons)]
            blocks.append(
                Details(
                    f"Reasons given by {short(name, 60)}",
                    [Table(f"Reasons given by {short(name, 60)}", ("reason", "traces"), body)],
                )
            )
    return blocks


def _golds(run: RunFiles, ledger: Ledger) -> list[Block]:
    """Types of the gold answers, and those that cannot be graded with some examples."""
    golds, types = ledger.accounts.get("golds"), ledger.tallies.get("answer_types", {})
    if golds is None:
        return []
    by_type = Table("Gold answers by type", ("type", "problems"), [(w, f"{n:,}") for w, n in top(types)])
    blocks: list[Block] = [Details("Types of the gold answers", [by_type])]
    if not golds.dropped:
        return [Text("Every gold answer can be graded."), *blocks]
    rows = [(short(w, 60), f"{n:,}", share(n, golds)) for w, n in top(golds.dropped)]
    some = [
        (p.source_row, short(p.answer or "(none)", 80))
        for p in run.sample("verify/ungradable", max_shards=4, max_records=12)
    ]
    return [
        Table("Problems whose gold answer cannot be graded, found before any trace was judged", ("reason", "problems", "%"), rows),
        Details("Some of them", [Table("From verify/ungradable", ("source row", "gold answer"), some, (1,))]),
        *blocks,
    ]  # fmt: skip


def _count_and_share(n: int, total: int) -> str | None:
    return f"{n:,}  ({percent(n / total)})" if n and total else None


# --- lengths ----------------------------------------------------------------------------------------------------

_KINDS = (("right", "correct"), ("wrong", "incorrect"))
_LEGEND = (Tag("right", "right"), Tag("wrong", "wrong"))
MAX_SHARDS, MAX_GROUPS = 4, 2000
_NUM_BINS = 28


def lengths(run: RunFiles) -> list[Block]:
    """How long right and wrong traces are: in tokens from select's tallies, else in characters from some groups."""
    ledger = run.ledger("select")
    tallies = {tone: ledger.tallies.get(f"tokens_{word}", {}) if ledger else {} for tone, word in _KINDS}
    if any(tallies.values()):
        labels = sorted({label for t in tallies.values() for label in t}, key=_bin_start)
        counts = {tone: [t.get(label, 0) for label in labels] for tone, t in tallies.items()}
        starts = [re.match(r"[\d.,]+", label) for label in labels]
        ticks = [start[0] if start else label for start, label in zip(starts, labels)]
        return _histogram(ticks, counts, "tokens of the student, each bin by its first value", _traces_counted(counts))
    if run.ledger("verify") is None:
        return not_run("verify", "length of right and wrong traces")
    return _lengths_in_characters(run)


def _bin_start(label: str) -> tuple[float, str]:
    """'256-511' -> 256: bins sort by where they begin; labels that are not a number come last, by name."""
    digits = re.match(r"\d+(\.\d+)?", label.replace(",", ""))
    return (float(digits[0]) if digits else float("inf"), label)


def _lengths_in_characters(run: RunFiles) -> list[Block]:
    lengths: dict[str, list[int]] = {"right": [], "wrong": []}
    groups = 0
    for group in run.sample("verify/groups", max_shards=MAX_SHARDS, max_records=MAX_GROUPS):
        groups += 1
        for trace in group.traces:
            lengths.get(tone_of(trace), []).append(len(trace.completion))
    every = sorted(lengths["right"] + lengths["wrong"])
    if not every:
        return [Text("No trace with a decided verdict was found.", "missing")]
    top = every[
        int(0.99 * (len(every) - 1))
    ]  # the longest hundredth joins the last bin: one runaway must not flatten all
    width = max(1, -(-top // _NUM_BINS))
    counts = {tone: _bin(values, width, top // width + 1) for tone, values in lengths.items()}
    ticks = [f"{i * width:,}" for i in range(top // width + 1)]
    medians = [f"{sorted(v)[len(v) // 2]:,} for {tone} ones" for tone, v in lengths.items() if v]
    shards = min(MAX_SHARDS, len(run.shards("verify/groups")))
    note = f"Read: {plural(groups, 'group')} from {plural(shards, 'shard')} of {len(run.shards('verify/groups'))}. "
    note += f"Median characters: {' and '.join(medians)}. The last bin includes all longer ones."
    return _histogram(ticks, counts, "characters", note)


def _bin(values: Sequence[int], width: int, num_bins: int) -> list[int]:
    counted = Counter(min(value // width, num_bins - 1) for value in values)
    return [counted[i] for i in range(num_bins)]


def _traces_counted(counts: Mapping[str, Sequence[int]]) -> str:
    return ", ".join(f"{sum(n):,} {tone} traces" for tone, n in counts.items()) + "."


def _histogram(ticks: Sequence[str], counts: Mapping[str, Sequence[int]], xlabel: str, note: str) -> list[Block]:
    if not charts.is_worth_drawing([sum(column) for column in zip(*counts.values())]):
        said = [f"{n:,} {tone} in the bin from {tick}" for tone, v in counts.items() for tick, n in zip(ticks, v) if n]
        return [Text(f"Lengths of right and wrong traces, {xlabel}: {', '.join(said) or 'none'}. {note}")]
    shares = {tone: [100 * n / sum(v) for n in v] for tone, v in counts.items() if sum(v)}
    chart = charts.histogram(ticks, shares, xlabel, f"lengths of right and wrong traces in {xlabel}")
    caption = f"Lengths of right and wrong traces, each kind sums to 100%. {note}"
    return [Figure([("", chart)], caption, _LEGEND, single=True)]
