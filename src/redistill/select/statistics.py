"""What the pairs of every pairing look like, and what the traces look like by source and teacher.

    compare(shards, own="certain")["policies"]["near-miss"]["net_prefix_weight"]["mean"]   ->   -0.021
    describe(groups).summary()["teacher"]["gpt-4o"]["tokens_right"]["p50"]                               ->   131

Both go through the select stage shard by shard and hold counts only: memory grows with the longest trace, the number of teachers
and that of sources, not with the number of problems. Quantiles are exact, over whole numbers of tokens. What traces look like is
counted where their shard is made, and the counts are added up in any order.
"""

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from redistill.records import Group, Outcome, Trace

# REDI's weight on the rejected side; on a token that both sides of a pair share, its net weight is 1/|chosen| minus this
# over |rejected|. Where that is negative, training pushes down what the right trace says too. Source: Xu et al. 2025.
PAPER_REJECTED_WEIGHT = 0.8


class Spread:
    """Whole numbers, counted: their mean and quantiles."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()

    def add(self, value: int) -> None:
        self.counts[value] += 1

    def add_all(self, values: np.ndarray) -> None:
        """Many at once."""
        distinct, counts = np.unique(values, return_counts=True)
        self.counts.update(dict(zip(distinct.tolist(), counts.tolist(), strict=True)))

    def summary(self) -> dict[str, float] | None:
        """mean, p10, p50, p90; a quantile is the smallest value that at least this share does not exceed. None of nothing."""
        total = self.counts.total()
        if not total:
            return None
        mean = sum(value * count for value, count in self.counts.items()) / total
        figures: dict[str, float] = {"mean": round(mean, 2)}
        ranks = {f"p{percent}": math.ceil(total * percent / 100) for percent in (10, 50, 90)}
        seen = 0
        for value, count in sorted(self.counts.items()):
            figures.update({name: value for name, rank in ranks.items() if seen < rank <= seen + count})
            seen += count
        return figures


# --- pairs --------------------------------------------------------------------------------------------------------


def compare(shards: Iterable[Mapping[str, Sequence[Any]]], *, own: str, policies: Iterable[str] = ()) -> dict[str, Any]:
    """Every policy's pairs on the same problems, under the same filters, and how many pairs two policies share.

    shards: the columns of Candidates, all of a problem in one shard. `own` is the recipe's policy; `policies` are those that were
    asked, so that one which finds no pair has a row too. shared_pairs[a][b] counts the pairs
    that both make; of policies[a]["pairs"] the others would change if b took a's place.
    """
    by_policy: defaultdict[str, _Policy] = defaultdict(_Policy, {name: _Policy() for name in policies})
    shared: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for shard in shards:
        columns: dict[str, np.ndarray] = {
            name: np.array(column, dtype=_kind_of(name)) for name, column in shard.items()
        }
        made: dict[str, set[str]] = {}
        for policy in dict.fromkeys(shard["policy"]):
            rows = columns["policy"] == policy
            by_policy[policy].add({name: column[rows] for name, column in columns.items()})
            if ids := set(columns["id"][rows & (columns["reason"] == "")].tolist()):
                made[policy] = ids
        for first, second in itertools.product(made, made):
            shared[first][second] += len(made[first] & made[second])
    names = sorted(by_policy, key=lambda name: (name != own, name))
    return {
        "own": own,
        "rejected_weight": PAPER_REJECTED_WEIGHT,
        "policies": {name: by_policy[name].summary() for name in names},
        "shared_pairs": {first: {second: shared[first][second] for second in names} for first in names},
    }


class _Policy:
    """The pairs of one policy, summed up."""

    def __init__(self) -> None:
        self.problems = self.same_teacher = self.known_teachers = self.rejected_longer = 0
        self.with_prefix = self.negative = 0
        self.chosen_weight = self.rejected_weight = self.shared_share = 0.0
        self.spreads: defaultdict[str, Spread] = defaultdict(Spread)
        self.tallies: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def add(self, columns: Mapping[str, np.ndarray]) -> None:
        """Candidates of this policy, by column."""
        dropped = columns["reason"] != ""
        self.tallies["dropped"].update(columns["reason"][dropped].tolist())
        kept = {name: column[~dropped] for name, column in columns.items()}
        self.problems += len(set(kept["problem_id"].tolist()))
        chosen, rejected, shared = (kept[f"{name}_tokens"] for name in ("chosen", "rejected", "shared"))
        for name, values in (
            ("chosen_tokens", chosen),
            ("rejected_tokens", rejected),
            ("length_gap", rejected - chosen),
            ("shared_tokens", shared),
        ):
            self.spreads[name].add_all(values)
        self.rejected_longer += int((rejected > chosen).sum())
        self.shared_share = _added(self.shared_share, shared / np.minimum(chosen, rejected))
        self.chosen_weight = _added(self.chosen_weight, shared / chosen)
        self.rejected_weight = _added(self.rejected_weight, shared / rejected)
        self.with_prefix += int((shared > 0).sum())
        self.negative += int(((shared > 0) & (rejected < PAPER_REJECTED_WEIGHT * chosen)).sum())
        self.tallies["source"].update(kept["source"].tolist())
        self.tallies["chosen_teacher"].update(kept["chosen_author"].tolist())
        self.tallies["rejected_teacher"].update(kept["rejected_author"].tolist())
        known = (kept["chosen_author"] != "") & (kept["rejected_author"] != "")
        self.known_teachers += int(known.sum())
        self.same_teacher += int((known & (kept["chosen_author"] == kept["rejected_author"])).sum())

    def summary(self) -> dict[str, Any]:
        pairs = self.tallies["source"].total()

        def mean(total: float, of: int = pairs) -> float | None:
            return round(total / of, 4) if of else None

        return {
            "problems": self.problems,
            "pairs": pairs,
            "dropped": _ranked(self.tallies["dropped"]),
            **{name: self.spreads[name].summary() for name in ("chosen_tokens", "rejected_tokens", "length_gap")},
            "rejected_longer": mean(self.rejected_longer),
            "shared_tokens": self.spreads["shared_tokens"].summary(),
            "shared_share": mean(self.shared_share),  # of the shorter side
            "net_prefix_weight": {
                "mean": mean(self.chosen_weight - PAPER_REJECTED_WEIGHT * self.rejected_weight),
                "chosen_part": mean(self.chosen_weight),  # with both parts the mean is known for any rejected_weight
                "rejected_part": mean(self.rejected_weight),
                "negative": mean(self.negative, self.with_prefix),  # of the pairs that share anything
            },
            "same_teacher": mean(self.same_teacher, self.known_teachers),
            "source": _ranked(self.tallies["source"]),
            "chosen_teacher": _ranked(self.tallies["chosen_teacher"]),
            "rejected_teacher": _ranked(self.tallies["rejected_teacher"]),
        }


def _kind_of(column: str) -> type:
    return np.int64 if column.endswith("_tokens") else object


def _added(total: float, values: np.ndarray) -> float:
    """The sum, one value after the other, so that it does not depend on where a shard ends."""
    return float(np.cumsum(np.concatenate([[total], values]))[-1])


def _ranked(tally: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(tally.items(), key=lambda item: (-item[1], item[0])))


# --- traces -------------------------------------------------------------------------------------------------------


class TraceTables:
    """What the traces of groups with columns look like by source and by teacher, held-out ones included; tables of shards add up."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, _Traces]] = {"source": {}, "teacher": {}}

    def add(self, group: Group) -> None:
        """Count a group in."""
        self._row("source", group.problem.source).add(group.traces, "pass_rate")
        for author in dict.fromkeys(t.author for t in group.traces):
            own = [t for t in group.traces if t.author == author]
            self._row("teacher", author).add(own, "teacher_pass_rate")

    def merge(self, other: "TraceTables") -> None:
        """Count in what another shard has counted."""
        for table, rows in other.rows.items():
            for name, row in rows.items():
                self._row(table, name).merge(row)

    def summary(self) -> dict[str, dict[str, Any]]:
        """{"source": {name: row}, "teacher": {name: row}}, rows by falling count.

        A row: traces, right and wrong ones, problems; tokens of right and of wrong traces; how many looked back at their own
        steps (reflections); the mean length rank of right and of wrong traces (0 the shortest of its group, 1 the longest);
        how many problems have which pass rate, in fifths ("0", "0-0.2", ..., "1").
        """
        return {
            name: {key: row.summary() for key, row in sorted(rows.items(), key=lambda r: (-r[1].traces, r[0]))}
            for name, rows in self.rows.items()
        }

    def _row(self, table: str, name: str) -> "_Traces":
        return self.rows[table].setdefault(name, _Traces())


def describe(groups: Iterable[Group]) -> TraceTables:
    """The tables of these groups."""
    tables = TraceTables()
    for group in groups:
        tables.add(group)
    return tables


_TONES = {Outcome.correct: "right", Outcome.incorrect: "wrong"}


class _Traces:
    """The traces of one source or one teacher, summed up."""

    def __init__(self) -> None:
        self.traces = self.problems = 0
        self.tones: Counter[str] = Counter()
        self.reflecting: Counter[str] = Counter()
        self.ranks: defaultdict[str, Counter[float]] = defaultdict(Counter)  # few values, and their sum has no order
        self.tokens: defaultdict[str, Spread] = defaultdict(Spread)
        self.difficulty: Counter[str] = Counter()

    def add(self, traces: Sequence[Trace], rate: str) -> None:
        self.problems += 1
        for trace in traces:
            self.traces += 1
            tone = _TONES.get(trace.verdict.outcome)
            if tone is None:
                continue
            self.tones[tone] += 1
            self.reflecting[tone] += trace.scores["reflections"] > 0
            self.ranks[tone][trace.scores["length_rank"]] += 1
            self.tokens[tone].add(trace.num_tokens or 0)
        rate_of_problem = traces[0].scores.get(rate) if traces else None
        self.difficulty["unknown" if rate_of_problem is None else _fifth(rate_of_problem)] += 1

    def merge(self, other: "_Traces") -> None:
        self.problems += other.problems
        self.traces += other.traces
        for mine, theirs in ((self.tones, other.tones), (self.reflecting, other.reflecting), (self.difficulty, other.difficulty)):  # fmt: skip
            mine.update(theirs)
        for tone, spread in other.tokens.items():
            self.tokens[tone].counts.update(spread.counts)
            self.ranks[tone].update(other.ranks[tone])

    def summary(self) -> dict[str, Any]:
        row: dict[str, Any] = {"problems": self.problems, "traces": self.traces}
        for tone in ("right", "wrong"):
            count = self.tones[tone]
            row[tone] = count
            row[f"tokens_{tone}"] = self.tokens[tone].summary()
            row[f"reflecting_{tone}"] = round(self.reflecting[tone] / count, 4) if count else None
            ranks = math.fsum(rank * times for rank, times in self.ranks[tone].items())
            row[f"length_rank_{tone}"] = round(ranks / count, 4) if count else None
        row["pass_rate"] = {name: self.difficulty[name] for name in _FIFTHS if self.difficulty[name]}
        return row


_FIFTHS = ("0", "0-0.2", "0.2-0.4", "0.4-0.6", "0.6-0.8", "0.8-1", "1", "unknown")


def _fifth(rate: float) -> str:
    """The bin of a pass rate; all wrong and all right are bins of their own, an edge belongs to the upper one."""
    return "1" if rate >= 1 else "0" if rate <= 0 else _FIFTHS[1 + int(rate * 5)]


# --- for people ---------------------------------------------------------------------------------------------------


def table_text(statistics: Mapping[str, Any]) -> str:
    """The policies as a table of fixed width: what `redistill run --until select` prints."""
    own, policies = statistics["own"], statistics["policies"]
    if not policies:
        return "no pairing finds a pair in this corpus"
    head = (
        "pairing",
        "problems",
        "pairs",
        "in common",
        "chosen",
        "rejected",
        "gap",
        "shared",
        "net prefix",
        "negative",
        "same teacher",
    )
    rows: list[tuple[str, ...]] = [head]
    for name, row in policies.items():
        common = statistics["shared_pairs"][own][name] if own in policies else 0
        net = row["net_prefix_weight"]
        middle = [
            _number(row[key] and row[key]["p50"], "{:,}") for key in ("chosen_tokens", "rejected_tokens", "length_gap")
        ]
        rows.append(
            (
                f"{name}{' *' if name == own else ''}",
                f"{row['problems']:,}",
                f"{row['pairs']:,}",
                f"{common:,}",
                *middle,
                _number(row["shared_share"], "{:.1%}"),
                _number(net["mean"], "{:+.4f}"),
                _number(net["negative"], "{:.1%}"),
                _number(row["same_teacher"], "{:.1%}"),
            )
        )
    widths = [max(len(row[place]) for row in rows) for place in range(len(head))]
    lines = [
        "  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths)))
        for row in rows
    ]
    note = (
        f"* this recipe's. in common: with it. chosen, rejected, gap (rejected - chosen): median tokens. shared: opening that\n"
        f"both sides share, of the shorter one. net prefix: mean over pairs of REDI's weight on that opening, the sum of\n"
        f"1/|chosen| - {statistics['rejected_weight']:g}/|rejected|; negative: pairs where it is, of those that share anything."
    )
    return "\n".join([*(line.rstrip() for line in lines), note])


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)
