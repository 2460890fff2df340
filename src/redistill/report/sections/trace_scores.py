"""The section about the stage `score`: per scorer how many traces have a score and why the others have none, per score how it
is spread over right and wrong traces.

    runs/x/score/ledger.json     {"accounts": {"scored:perplexity": {"in": 600, "kept": 598, "dropped": {"too_long": 2}}}}

How well a score parts right from wrong is the share of (right, wrong) pairs in which the right trace has the higher score, ties
counted half: the area under the ROC curve, .5 for a score that says nothing (Hanley and McNeil 1982).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from statistics import median

from markupsafe import Markup

from redistill.report import charts
from redistill.report.blocks import Block, Figure, Table, Tag, not_run
from redistill.report.files import RunFiles
from redistill.report.sections.scored_steps import scored_steps
from redistill.report.sections.traces import tone_of
from redistill.report.text import count, percent, plural, short, top

MAX_SHARDS, MAX_GROUPS = 4, 2000
_NUM_BINS = 24
_LEGEND = (Tag("right", "right"), Tag("wrong", "wrong"))
_PREFIX = "scored:"
Values = dict[str, list[float]]  # by tone: right, wrong, other


def trace_scores(run: RunFiles) -> list[Block]:
    """Nothing for a run without scorers: the heading is left out with it."""
    if not run.setting("score"):
        return []
    ledger = run.ledger("score")
    if ledger is None:
        return not_run("score", "score")
    accounts = {key.removeprefix(_PREFIX): a for key, a in ledger.accounts.items() if key.startswith(_PREFIX)}
    rows = []
    for name, account in accounts.items():
        reasons = ", ".join(f"{n:,} {short(word, 40)}" for word, n in top(account.dropped, 4))
        without = sum(account.dropped.values())
        rows.append((short(name, 60), count(account.came_in), count(account.kept), count(without), reasons or None))
    blocks: list[Block] = [
        Table("Traces with and without a score", ("scorer", "traces", "scored", "not scored", "because"), rows, (4,))
    ]
    by_scorer, groups = _sampled(run, list(accounts))
    if not by_scorer:
        return blocks
    blocks.append(_apart(by_scorer, groups, len(run.shards("score/groups"))))
    panels = [(short(name, 60), chart) for name, values in by_scorer.items() if (chart := _histogram(name, values))]
    if panels:
        caption = "Scores of right and wrong traces, each kind sums to 100%; the top and bottom 1% are added to the outermost bins."
        blocks.append(Figure(panels, caption, _LEGEND, single=len(panels) == 1))
    return [*blocks, *scored_steps(run, list(accounts))]


def _sampled(run: RunFiles, scorers: Sequence[str]) -> tuple[dict[str, Values], int]:
    """(score -> tone -> values, groups read) of the scores that the scorers wrote: NAME, and those that begin with NAME_."""
    values: dict[str, Values] = {}
    groups = 0
    for group in run.sample("score/groups", max_shards=MAX_SHARDS, max_records=MAX_GROUPS):
        groups += 1
        for trace in group.traces:
            for name, value in trace.scores.items():
                if any(name == scorer or name.startswith(f"{scorer}_") for scorer in scorers):
                    values.setdefault(name, {}).setdefault(tone_of(trace), []).append(value)
    return values, groups


def _apart(by_scorer: dict[str, Values], groups: int, shards: int) -> Table:
    rows = []
    for name, values in by_scorer.items():
        right, wrong = (sorted(values.get(tone, [])) for tone in ("right", "wrong"))
        area = area_under_curve(right, wrong)
        number = sum(len(of) for of in values.values())
        medians = [f"{median(of):.4g}" if of else None for of in (right, wrong)]
        rows.append((short(name, 60), f"{number:,}", *medians, None if area is None else percent(area)))
    head = ("score", "traces", "median of right ones", "median of wrong ones", "right above wrong, %")
    read = f"{plural(groups, 'problem')} from {plural(min(MAX_SHARDS, shards), 'shard')} of {shards}"
    return Table(f"How well scores separate right from wrong traces ({read}); 50% is chance", head, rows)


def area_under_curve(right: Sequence[float], wrong: Sequence[float]) -> float | None:
    """The share of pairs of a right and a wrong trace in which the right one scores higher, ties counted half; None without
    both. wrong: rising."""
    if not right or not wrong:
        return None
    below = sum(bisect_left(wrong, value) + bisect_right(wrong, value) for value in right)
    return below / (2 * len(right) * len(wrong))


def _histogram(name: str, values: Values) -> Markup | None:
    every = sorted(value for tone in ("right", "wrong") for value in values.get(tone, []))
    if not every:
        return None
    low, high = every[int(0.01 * (len(every) - 1))], every[int(0.99 * (len(every) - 1))]
    width = (high - low) / _NUM_BINS or 1.0
    shares, whole = {}, [0] * _NUM_BINS
    for tone in ("right", "wrong"):
        counts = [0] * _NUM_BINS
        for value in values.get(tone, []):
            counts[max(0, min(_NUM_BINS - 1, int((value - low) / width)))] += 1
        whole = [a + b for a, b in zip(whole, counts)]
        if total := sum(counts):
            shares[tone] = [100 * n / total for n in counts]
    if not charts.is_worth_drawing(whole):
        return None
    ticks = [f"{low + place * width:.3g}" for place in range(_NUM_BINS)]
    return charts.histogram(ticks, shares, "score", f"scores {name} of right and wrong traces")
