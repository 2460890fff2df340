"""`select.sample` and `select.keep`: which problems stay, and which of their right traces, by what earlier stages wrote on them.

    select:
      sample: {by: difficulty, keep: {very_easy: 0.3, easy: 0.5}}     # a share of the problems of these values
      keep: {by: process, top: 1000}                                  # then the 1,000 best right traces of the corpus

What is chosen depends on the seed and on ids, not on order or shards. A choice over the whole corpus is made in two passes: every
shard first writes down what there is to choose from (`Ranked`), `find_cuts` finds where to cut in memory that does not grow
with their number, and then the shards are selected with those cuts.
"""

import bisect
import math
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from redistill.config.tables import KeepSettings, SampleSettings, value_text
from redistill.records import Group, Outcome, Ranked, Trace, content_id

_BITS, _DIGIT = 128, 16  # of a key: 64 of the score, then 64 of a hash; and of a pass over the keys
MAX_OTHERS = 20  # values of a shard that a sample does not name and that are counted all the same, to be shown
UNSOLVED = "unsolved"  # the note of a trace, or the entry of a problem's metadata, that a search for difficulty leaves


@dataclass(frozen=True, slots=True)
class Choice:
    """What a recipe chooses by. Cuts are the largest key that stays: of keep by scope ("" or a source), of a balanced
    sample by value; what has no cut stays whole."""

    sample: SampleSettings | None
    keep: KeepSettings | None
    seed: int
    keep_cuts: Mapping[str, int] = field(default_factory=dict)
    sample_cuts: Mapping[str, int] = field(default_factory=dict)
    balance_pairs: str | None = None  # pairs are balanced by this value of their problem
    pair_cuts: Mapping[str, int] = field(default_factory=dict)

    @property
    def balances(self) -> bool:
        """Whether the sample depends on what all problems come to."""
        return self.sample is not None and self.sample.keep == "balanced"

    @property
    def ranks(self) -> bool:
        """Whether keep depends on what all traces come to."""
        return self.keep is not None and self.keep.least is None and self.keep.per != "problem"

    def value(self, group: Group) -> str | None:
        """A problem's value for the sample, as text: the name of its bin where there are bins."""
        if self.sample is None:
            return None
        value, names = value_of(group, self.sample.by), self.sample.bin_names
        if not names:
            return value
        number = _number(value)
        return None if number is None else names[bisect.bisect_right(self.sample.bins or [], number)]

    def problem_reason(self, group: Group) -> str | None:
        """Why the problem is not in the sample, None where it is."""
        if self.sample is None:
            return None
        settings, value = self.sample, self.value(group)
        if settings.unsolved == "drop" and is_unsolved(group):
            return "unsolved"
        if settings.least is not None or settings.most is not None:
            number = _number(value_of(group, settings.by))
            if number is None:
                return "no_score"
            if settings.least is not None and number < settings.least:
                return "below_least"
            if settings.most is not None and number > settings.most:
                return "above_most"
        if settings.keep is None:
            return None
        if value is None:
            return "no_score"
        key = _hash(self.seed, "sample", group.problem.id)
        if settings.keep == "balanced":
            return None if key <= self.sample_cuts.get(value, key) else "not_in_sample"
        return None if key < settings.keep.get(value, 1.0) * 2**64 else "not_in_sample"

    def tally(self, group: Group, counts: Counter[str]) -> None:
        """Count the problem by its value: those that the sample names, and MAX_OTHERS others."""
        value = self.value(group)
        if (
            self.sample is not None
            and value is not None
            and (value in self.sample.named_values or value in counts or len(counts) < MAX_OTHERS)
        ):
            counts[value] += 1

    def times(self, group: Group) -> int:
        """How often the problem's rows are written."""
        return 1 if self.sample is None else self.sample.repeat.get(self.value(group) or "", 1)

    def trace_reasons(self, group: Group, candidates: Sequence[Trace]) -> dict[str, str]:
        """Why right traces of a problem are not kept, by id; candidates: those that would be examples."""
        if self.keep is None:
            return {}
        keep, reasons = self.keep, dict[str, str]()
        keys = {t.id: key for t in group.traces if (key := self.trace_key(t)) is not None}
        cut = self.keep_cuts.get(self.scope(group.problem.source))
        if keep.per == "problem" and keep.least is None:
            ranked = sorted(keys[t.id] for t in candidates if t.id in keys)
            wanted = _wanted(keep, len(ranked))
            cut = ranked[wanted - 1] if wanted else -1
        for trace in group.traces:
            if trace.verdict.outcome is not Outcome.correct:
                continue
            if trace.id not in keys:
                reasons[trace.id] = "no_score"
            elif keep.least is not None and trace.scores[keep.by] < keep.least:
                reasons[trace.id] = "below_least"
            elif cut is not None and keys[trace.id] > cut:
                reasons[trace.id] = "not_in_top"
        return reasons

    def pair_reason(self, group: Group, pair_id: str) -> str | None:
        """Why a pair is not in the balance, None where it is."""
        if self.balance_pairs is None:
            return None
        value = value_of(group, self.balance_pairs)
        if value is None:
            return "no_score"
        key = _hash(self.seed, "pair", pair_id)
        return None if key <= self.pair_cuts.get(value, key) else "not_in_balance"

    def pair_row(self, group: Group, pair_id: str) -> Ranked:
        """What `balance` needs to know of one pair."""
        value = value_of(group, self.balance_pairs) if self.balance_pairs else None
        return Ranked(group.problem.id, pair_id, group.problem.source, value, None)

    def trace_key(self, trace: Trace) -> int | None:
        """Where a trace stands among all: the smaller the better. Equal scores go by a hash. None without the score."""
        assert self.keep is not None
        score = trace.scores.get(self.keep.by)
        return None if score is None or math.isnan(score) else self._key(score, trace.id)

    def _key(self, score: float, id: str) -> int:
        assert self.keep is not None
        rising = _ordered(score) if self.keep.best == "lowest" else 2**64 - 1 - _ordered(score)
        return rising << 64 | _hash(self.seed, "keep", id)

    def scope(self, source: str) -> str:
        """Within what a trace of this source is ranked."""
        return source if self.keep is not None and self.keep.per == "source" else ""

    def row(self, group: Group, trace: Trace) -> Ranked:
        """What `find_cuts` needs to know of one candidate."""
        score = None if self.keep is None else trace.scores.get(self.keep.by)
        return Ranked(group.problem.id, trace.id, group.problem.source, self.value(group), score)


def find_cuts(choice: Choice, rows: Callable[[], Iterable[Ranked]]) -> Choice:
    """The choice with the cuts that the whole corpus gives. rows: all candidates that no filter drops, a problem's together;
    read several times."""
    if choice.balances:
        counts = Counter(value for value, _ in _problem_keys(choice, rows()))
        fewest = min(counts.values(), default=0)
        cuts = cuts_of(lambda: _problem_keys(choice, rows()), lambda _: fewest, bits=64)
        choice = replace(choice, sample_cuts=cuts)
    if choice.ranks:
        keep = choice.keep
        assert keep is not None
        cuts = cuts_of(lambda: _trace_keys(choice, rows()), lambda count: _wanted(keep, count))
        choice = replace(choice, keep_cuts=cuts)
    return choice


def balance(choice: Choice, rows: Callable[[], Iterable[Ranked]]) -> Choice:
    """The choice with the cuts that leave as many pairs of each value as the rarest value has. rows: all pairs that no filter
    drops, as `Choice.pair_row` writes them."""
    keys = lambda: ((r.value, _hash(choice.seed, "pair", r.trace_id)) for r in rows() if r.value is not None)  # noqa: E731
    fewest = min(Counter(value for value, _ in keys()).values(), default=0)
    return replace(choice, pair_cuts=cuts_of(keys, lambda _: fewest, bits=64))


def cuts_of(
    keys: Callable[[], Iterable[tuple[str, int]]], wanted: Callable[[int], int], *, bits: int = _BITS
) -> dict[str, int]:
    """Per scope the largest of its `wanted(count)` smallest keys; no cut where all are wanted, -1 where none is.

    keys: (scope, key of `bits` bits), in any order, read anew for each digit until every cut is known. Memory: one counter
    per digit value that occurs and scope, whatever the number of keys.
    """
    counts = Counter(scope for scope, _ in keys())
    left = {scope: wanted(count) for scope, count in counts.items()}
    cuts = {scope: -1 for scope, rank in left.items() if rank == 0}
    prefixes = {scope: 0 for scope, rank in left.items() if 0 < rank < counts[scope]}
    for shift in range(bits - _DIGIT, -1, -_DIGIT):
        if not prefixes:
            break
        digits: dict[str, Counter[int]] = {scope: Counter() for scope in prefixes}
        for scope, key in keys():
            if scope in prefixes and key >> (shift + _DIGIT) == prefixes[scope]:
                digits[scope][key >> shift] += 1
        for scope, histogram in digits.items():
            for prefix in sorted(histogram):
                if histogram[prefix] >= left[scope]:
                    break
                left[scope] -= histogram[prefix]
            if histogram[prefix] == left[scope] or shift == 0:  # all that begin with it stay
                cuts[scope] = ((prefix + 1) << shift) - 1
                del prefixes[scope]
            else:
                prefixes[scope] = prefix
    return cuts


def _problem_keys(choice: Choice, rows: Iterable[Ranked]) -> Iterator[tuple[str, int]]:
    last = None
    for row in rows:
        if row.problem_id != last and row.value is not None:
            yield row.value, _hash(choice.seed, "sample", row.problem_id)
        last = row.problem_id


def _trace_keys(choice: Choice, rows: Iterable[Ranked]) -> Iterator[tuple[str, int]]:
    """Of the traces whose problem is in the sample."""
    for row in rows:
        if row.score is None or math.isnan(row.score):
            continue
        if choice.balances:
            if row.value is None:
                continue
            key = _hash(choice.seed, "sample", row.problem_id)
            if key > choice.sample_cuts.get(row.value, key):
                continue
        yield choice.scope(row.source), choice._key(row.score, row.trace_id)


def _wanted(keep: KeepSettings, count: int) -> int:
    """How many of so many stay; a share is rounded up, so that it never leaves none of some."""
    return min(count, keep.top) if keep.top is not None else math.ceil(count * (keep.share or 0.0) - 1e-9)


# --- what is known of a problem ---------------------------------------------------------------------------------------


def value_of(group: Group, by: str) -> str | None:
    """A problem's value under a name: the mean of its traces' scores, else their most frequent note, else the entry of its
    metadata, else its own answer, answer_type or source; as text, 6.0 as "6". None where it has none."""
    scores = [trace.scores[by] for trace in group.traces if by in trace.scores]
    if scores:
        return value_text(scores[0] if len(set(scores)) == 1 else math.fsum(scores) / len(scores))
    if notes := Counter(trace.notes[by] for trace in group.traces if by in trace.notes):
        return notes.most_common(1)[0][0]
    value = group.problem.metadata.get(by)
    if value is None and by in ("answer", "answer_type", "source"):
        value = getattr(group.problem, by)
    return None if value is None else value_text(value)


def is_unsolved(group: Group) -> bool:
    """Whether a search for the problem's difficulty ended without a right answer, as its traces' notes or its metadata say."""
    return bool(group.problem.metadata.get(UNSOLVED)) or any(UNSOLVED in trace.notes for trace in group.traces)


def _number(value: str | None) -> float | None:
    try:
        number = math.nan if value is None else float(value)
    except ValueError:
        return None
    return None if math.isnan(number) else number


# --- keys ---------------------------------------------------------------------------------------------------------------


def _hash(seed: int, what: str, id: str) -> int:
    """64 bits that only the seed and the id decide."""
    return int(content_id("", what, str(seed), id), 16)


def _ordered(value: float) -> int:
    """64 bits that rise with the value: those of an IEEE double, turned so that they compare as whole numbers."""
    (bits,) = struct.unpack(">Q", struct.pack(">d", value + 0.0))  # + 0.0: -0.0 is 0.0
    return bits ^ (2**64 - 1) if bits >> 63 else bits | 2**63
