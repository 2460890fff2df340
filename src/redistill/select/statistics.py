"""What the pairs of every pairing look like, and what the traces look like by source and teacher.

    compare(candidates, own="certain")["policies"]["near-miss"]["net_prefix_weight"]["mean"]   ->   -0.021
    describe(groups)["teacher"]["gpt-4o"]["tokens_right"]["p50"]                               ->   131

Both read streams of the select stage once and hold counts only: memory grows with the longest trace, the number of teachers
and that of sources, not with the number of problems. Quantiles are exact, over whole numbers of tokens.
"""

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from redistill.records import Candidate, Group, Outcome

# REDI's weight on the rejected side; on a token that both sides of a pair share, its net weight is 1/|chosen| minus this
# over |rejected|. Where that is negative, training pushes down what the right trace says too. Source: Xu et al. 2025.
PAPER_REJECTED_WEIGHT = 0.8


class Spread:
    """Whole numbers, counted: their mean and quantiles."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()

    def add(self, value: int) -> None:
        self.counts[value] += 1

    def summary(self) -> dict[str, float] | None:
        """mean, p10, p50, p90; a quantile is the smallest value that at least this share does not exceed. None of nothing."""
        total = self.counts.total()
        if not total:
            return None
        mean = sum(value * count for value, count in self.counts.items()) / total
        found: dict[str, float] = {"mean": round(mean, 2)}
        ranks = {f"p{percent}": math.ceil(total * percent / 100) for percent in (10, 50, 90)}
        seen = 0
        for value, count in sorted(self.counts.items()):
            found.update({name: value for name, rank in ranks.items() if seen < rank <= seen + count})
            seen += count
        return found


# --- pairs --------------------------------------------------------------------------------------------------------


def compare(candidates: Iterable[Candidate], *, own: str, policies: Iterable[str] = ()) -> dict[str, Any]:
    """Every policy's pairs on the same problems, under the same filters, and how many pairs two policies share.

    candidates: those of one problem stand together. `own` is the recipe's policy; `policies` are those that were asked, so
    that one which finds no pair has a row too. shared_pairs[a][b] counts the pairs
    that both make; of policies[a]["pairs"] the others would change if b took a's place.
    """
    found: defaultdict[str, _Policy] = defaultdict(_Policy, {name: _Policy() for name in policies})
    shared: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for _, of_problem in itertools.groupby(candidates, key=lambda c: c.problem_id):
        made: defaultdict[str, set[str]] = defaultdict(set)
        for candidate in of_problem:
            found[candidate.policy].add(candidate)
            if not candidate.reason:
                made[candidate.policy].add(candidate.id)
        for first, second in itertools.product(made, made):
            shared[first][second] += len(made[first] & made[second])
        for policy in made:
            found[policy].problems += 1
    names = sorted(found, key=lambda name: (name != own, name))
    return {
        "own": own,
        "rejected_weight": PAPER_REJECTED_WEIGHT,
        "policies": {name: found[name].summary() for name in names},
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

    def add(self, pair: Candidate) -> None:
        if pair.reason:
            self.tallies["dropped"][pair.reason] += 1
            return
        chosen, rejected, shared = pair.chosen_tokens, pair.rejected_tokens, pair.shared_tokens
        for name, value in (
            ("chosen_tokens", chosen),
            ("rejected_tokens", rejected),
            ("length_gap", rejected - chosen),
            ("shared_tokens", shared),
        ):
            self.spreads[name].add(value)
        self.rejected_longer += rejected > chosen
        self.shared_share += shared / min(chosen, rejected)
        self.chosen_weight += shared / chosen
        self.rejected_weight += shared / rejected
        self.with_prefix += shared > 0
        self.negative += shared > 0 and rejected < PAPER_REJECTED_WEIGHT * chosen
        self.tallies["source"][pair.source] += 1
        self.tallies["chosen_teacher"][pair.chosen_author] += 1
        self.tallies["rejected_teacher"][pair.rejected_author] += 1
        known = bool(pair.chosen_author and pair.rejected_author)
        self.known_teachers += known
        self.same_teacher += known and pair.chosen_author == pair.rejected_author

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


def _ranked(tally: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(tally.items(), key=lambda item: (-item[1], item[0])))


# --- traces -------------------------------------------------------------------------------------------------------


def describe(groups: Iterable[Group]) -> dict[str, dict[str, Any]]:
    """{"source": {name: row}, "teacher": {name: row}} over groups with columns, held-out ones included; rows by falling count.

    A row: traces, right and wrong ones, problems; tokens of right and of wrong traces; how many looked back at their own
    steps (reflections); the mean length rank of right and of wrong traces (0 the shortest of its group, 1 the longest);
    how many problems have which pass rate, in fifths ("0", "0-0.2", ..., "1").
    """
    tables: dict[str, defaultdict[str, _Traces]] = {"source": defaultdict(_Traces), "teacher": defaultdict(_Traces)}
    for group in groups:
        held = [(tables["source"][group.problem.source], group.traces)]
        for author in dict.fromkeys(t.author for t in group.traces):
            held.append((tables["teacher"][author], tuple(t for t in group.traces if t.author == author)))
        for table, traces in held:
            table.add(Group(group.problem, traces), "pass_rate" if traces is group.traces else "teacher_pass_rate")
    return {
        name: {key: row.summary() for key, row in sorted(rows.items(), key=lambda r: (-r[1].traces, r[0]))}
        for name, rows in tables.items()
    }


_TONES = {Outcome.correct: "right", Outcome.incorrect: "wrong"}


class _Traces:
    """The traces of one source or one teacher, summed up."""

    def __init__(self) -> None:
        self.traces = self.problems = 0
        self.tones: Counter[str] = Counter()
        self.reflecting: Counter[str] = Counter()
        self.ranks: defaultdict[str, float] = defaultdict(float)
        self.tokens: defaultdict[str, Spread] = defaultdict(Spread)
        self.difficulty: Counter[str] = Counter()

    def add(self, group: Group, rate: str) -> None:
        self.problems += 1
        for trace in group.traces:
            self.traces += 1
            tone = _TONES.get(trace.verdict.outcome)
            if tone is None:
                continue
            self.tones[tone] += 1
            self.reflecting[tone] += trace.scores["reflections"] > 0
            self.ranks[tone] += trace.scores["length_rank"]
            self.tokens[tone].add(trace.num_tokens or 0)
        found = group.traces[0].scores.get(rate) if group.traces else None
        self.difficulty["unknown" if found is None else _fifth(found)] += 1

    def summary(self) -> dict[str, Any]:
        row: dict[str, Any] = {"problems": self.problems, "traces": self.traces}
        for tone in ("right", "wrong"):
            count = self.tones[tone]
            row[tone] = count
            row[f"tokens_{tone}"] = self.tokens[tone].summary()
            row[f"reflecting_{tone}"] = round(self.reflecting[tone] / count, 4) if count else None
            row[f"length_rank_{tone}"] = round(self.ranks[tone] / count, 4) if count else None
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
