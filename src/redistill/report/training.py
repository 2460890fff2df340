"""The section about training: what each stage did, and its curves, stages with the same start laid over one another.

How to read the curves is the paper's (Xu et al. 2025, arXiv 2505.24850, the section on stability): a chosen log-prob
that falls slowly is no alarm; both falling fast while learning rate x gradient norm surges is a collapse.
"""

import math
from collections.abc import Sequence

from markupsafe import Markup

from redistill.report import charts
from redistill.report.blocks import Block, Figure, Table, Tag, Text, not_run
from redistill.report.files import RunFiles, StageLedger, Step
from redistill.report.text import count, duration, join, plural, short

MAX_POINTS = 400  # points of one drawn curve; longer ones are averaged over equal windows of steps
_PANELS = (  # key of the metrics, title, logarithmic
    ("loss", "loss", False),
    ("chosen_logp", "log-prob of chosen, per token", False),
    ("rejected_logp", "log-prob of rejected, per token", False),
    ("margin", "margin (chosen − rejected)", False),
    ("grad_norm", "gradient norm", True),
    ("lr_x_grad_norm", "learning rate × gradient norm", True),
)
_SAME_SCALE = ("chosen_logp", "rejected_logp")


def training(run: RunFiles) -> list[Block]:
    """A table of the stages, then six small curves for every place a stage started from."""
    if not run.stages:
        return not_run("train", "stage")
    steps = {stage: run.steps(stage) for stage in run.stages}
    blocks: list[Block] = [_stages(run, steps)]
    starts: dict[str, list[str]] = {}
    for stage in run.stages:
        if steps[stage]:
            starts.setdefault(_start(run, stage), []).append(stage)
    for start, stages in starts.items():
        blocks.append(_curves(run, start, {stage: steps[stage] for stage in stages}))
    blocks.append(
        Text(
            "How to read the pairs' curves: both log-probs may drift down slowly while accuracy rises, also in the best "
            "runs. Both falling fast while learning rate × gradient norm surges is a collapse. Losses of different "
            "objectives have no common scale.",
            "quiet",
        )
    )
    return blocks


def _start(run: RunFiles, stage: str) -> str:
    ledger = run.stage_ledger(stage)
    return (ledger and ledger.start) or run.setting("train", stage, "start") or "base"


def _stages(run: RunFiles, steps: dict[str, list[Step]]) -> Table:
    head = ("stage", "start", "objective", "rows", "dropped", "steps", "tokens", "time", "tokens/s")
    body = []
    for stage in run.stages:
        ledger, rows = run.stage_ledger(stage), steps[stage]
        account = ledger.rows if ledger else None
        tokens = (ledger and ledger.tokens) or sum(s.tokens or 0 for s in rows) or None
        seconds = (ledger and ledger.seconds) or sum(s.seconds or 0 for s in rows) or None
        body.append(
            (
                Tag(stage, run.series(stage)),
                _start(run, stage),
                _objective(run, stage),
                count(account.kept) if account else None,
                _dropped(account.dropped) if account else None,
                _num_steps(ledger, rows),
                count(tokens),
                duration(seconds),
                count(tokens / seconds) if tokens and seconds else None,
            )
        )
    return Table("Stages of training", head, body, (1, 2))


def _num_steps(ledger: StageLedger | None, rows: list[Step]) -> str:
    """'120', with a word where steps were skipped (no finite gradient) or the stage has not ended."""
    skipped = sum(row.skipped for row in rows)
    words = [f"{ledger.steps or len(rows):,}" if ledger else f"{len(rows):,}, unfinished"]
    return ", ".join(words + ([f"{skipped:,} skipped"] if skipped else []))


def _objective(run: RunFiles, stage: str) -> str:
    name, options = run.objective(stage)
    shown = {k: v for k, v in options.items() if k not in ("name", "options")}
    return short(f"{name} {' '.join(f'{k}={v}' for k, v in shown.items())}".strip() or "–", 60)


def _dropped(reasons: dict[str, int]) -> str:
    return join([f"{n:,} {short(word, 30)}" for word, n in reasons.items() if n][:4]) if any(reasons.values()) else "0"


def _curves(run: RunFiles, start: str, stages: dict[str, list[Step]]) -> Figure:
    """Small multiples of the stages that began at `start`."""
    panels: list[tuple[str, Markup]] = []
    lines = {key: _lines(run, key, stages) for key, _, _ in _PANELS}
    limits = _limits([v for key in _SAME_SCALE for _, _, values in lines[key] for v in values])
    for key, title, log in _PANELS:
        if lines[key]:
            same = limits if key in _SAME_SCALE and lines["rejected_logp"] else None
            label = f"{title} over steps of {join(list(stages))}"
            panels.append((title, charts.curves(lines[key], label, log=log, limits=same)))
    longest = max(map(len, stages.values()))
    window = -(-longest // MAX_POINTS)
    caption = f"{join([short(s, 40) for s in stages])}, from {start}. "
    caption += f"Each point is a mean over {plural(window, 'step')}. " if window > 1 else ""
    caption += "Bold: running mean; faint: every point." if longest > 60 else ""
    legend = [Tag(stage, run.series(stage)) for stage in stages]
    return Figure(panels, caption.strip(), legend)


def _lines(run: RunFiles, key: str, stages: dict[str, list[Step]]) -> list[tuple[int, list[float], list[float]]]:
    """(series, steps, values) of each stage that has this number; steps without a finite one are left out."""
    lines = []
    for stage, rows in stages.items():
        points = [(s.step, v) for s in rows if (v := getattr(s, key)) is not None and math.isfinite(v)]
        if points:
            lines.append((run.series(stage), *_thinned(points)))
    return lines


def _thinned(points: Sequence[tuple[int, float]]) -> tuple[list[float], list[float]]:
    """At most MAX_POINTS points, each the mean of an equal window of neighbours."""
    window = -(-len(points) // MAX_POINTS)
    parts = [points[i : i + window] for i in range(0, len(points), window)]
    means = [(sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in parts]
    return [x for x, _ in means], [y for _, y in means]


def _limits(values: list[float]) -> tuple[float, float] | None:
    if not values or min(values) == max(values):
        return None
    room = 0.05 * (max(values) - min(values))
    return min(values) - room, max(values) + room
