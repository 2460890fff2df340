"""The section about training: what each stage did, and its curves, stages with the same start laid over one another.

How to read the curves is the paper's (Xu et al. 2025, arXiv 2505.24850, the section on stability): a chosen log-prob
that falls slowly is not an alarm; both falling fast while learning rate x gradient norm surges is a collapse. The guard's
states (docs/guard.md) are marked on every curve, and steps it went back behind are drawn pale.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from redistill.config.tables import GUARD_STATES
from redistill.report import charts
from redistill.report.blocks import Block, Figure, Sentences, Table, Tag, Text, not_run
from redistill.report.files import RunFiles
from redistill.report.shapes import AccountShape, StageLedger, Step
from redistill.report.text import count, duration, join, plural, short

MAX_POINTS = 400  # points of one drawn curve; longer ones are averaged over equal windows of steps
MAX_MARKS = 20  # of one curve
MIN_POINTS = 3  # of a curve: one or two steps are said in the table, a picture of them is empty


@dataclass(frozen=True, slots=True)
class Panel:
    """A small chart: which number of the metrics, and which measured now and then is dotted into it."""

    key: str
    title: str
    dots: str = ""
    log: bool = False


_PANELS = (
    Panel("loss", "loss", "held_out_loss"),
    Panel("accuracy", "critic: accuracy on completions, %", "held_out_accuracy"),
    Panel("step_accuracy", "critic: accuracy on steps, %", "held_out_step_accuracy"),
    Panel("right_score", "critic: mean score of right completions", "held_out_right_score"),
    Panel("wrong_score", "critic: mean score of wrong completions", "held_out_wrong_score"),
    Panel("chosen_logp", "log-prob of chosen, per token", "held_out_chosen_logp"),
    Panel("rejected_logp", "log-prob of rejected, per token", "held_out_rejected_logp"),
    Panel("margin", "margin (chosen − rejected)", "held_out_margin"),
    Panel("grad_norm", "gradient norm", log=True),
    Panel("lr_x_grad_norm", "learning rate × gradient norm", log=True),
    Panel("update_norm", "update norm (how far the weights moved)", log=True),
    Panel("top_token_prob", "top-token probability, rejected side, %"),
    Panel("negative_prefix_share", "pairs that lower their shared opening, %"),
)
SHARES = frozenset(
    (
        "accuracy",
        "step_accuracy",
        "held_out_accuracy",
        "held_out_step_accuracy",
        "probe_accuracy",
        "top_token_prob",
        "negative_prefix_share",
    )
)  # numbers between 0 and 1 that are shown in percent
_SAME_SCALE = ("chosen_logp", "rejected_logp")


def training(run: RunFiles) -> list[Block]:
    """A table of the stages, what the guards did, then small curves for every place a stage started from."""
    if not run.stages:
        return not_run("train", "stage")
    steps = {stage: run.steps(stage) for stage in run.stages}
    blocks: list[Block] = [_stages(run, steps)]
    guards = [f"{stage}: {ledger.guard.sentence}" for stage in run.stages
              if (ledger := run.stage_ledger(stage)) and ledger.guard.sentence and run.setting("train", stage, "guard")]  # fmt: skip
    if guards:
        blocks += [Text("What the guard detected and did:"), Sentences(guards)]
    for start, stages in by_start(run, [stage for stage in run.stages if steps[stage]]).items():
        figure = _curves(run, start, {stage: steps[stage] for stage in stages})
        few = f"{join(stages)} took fewer than {MIN_POINTS} steps, so there is no curve to draw."
        blocks.append(figure if figure.panels else Text(few, "quiet"))
    blocks.append(
        Text(
            "How to read the pairs' curves: both log-probs may drift down slowly while accuracy rises, also in the best "
            "runs. Both falling fast while learning rate × gradient norm surges is a collapse. Losses of different "
            "objectives have no common scale.",
            "quiet",
        )
    )
    return blocks


def stage_start(run: RunFiles, stage: str) -> str:
    """The student that a stage began with: `base`, or another stage."""
    ledger = run.stage_ledger(stage)
    return (ledger and ledger.start) or run.setting("train", stage, "start") or "base"


def by_start(run: RunFiles, stages: Sequence[str]) -> dict[str, list[str]]:
    """What stages started from -> those stages."""
    starts: dict[str, list[str]] = {}
    for stage in stages:
        starts.setdefault(stage_start(run, stage), []).append(stage)
    return starts


def trained_steps(rows: Sequence[Step]) -> list[Step]:
    """The steps that were taken: without the look before the first."""
    return [row for row in rows if row.step > 0]


def _stages(run: RunFiles, steps: dict[str, list[Step]]) -> Table:
    head = ("stage", "start", "objective", "rows", "dropped", "steps", "tokens", "time", "tokens/s")
    body = []
    for stage in run.stages:
        ledger, rows = run.stage_ledger(stage), trained_steps(steps[stage])
        account = ledger.rows if ledger else None
        tokens = (ledger and ledger.tokens) or sum(s.tokens or 0 for s in rows) or None
        seconds = (ledger and ledger.seconds) or sum(s.seconds or 0 for s in rows) or None
        body.append(
            (
                Tag(stage, run.series(stage)),
                stage_start(run, stage),
                _objective(run, stage),
                _rows(account) if account else None,
                _dropped(account.dropped) if account else None,
                _num_steps(ledger, rows),
                count(tokens),
                duration(seconds),
                count(tokens / seconds) if tokens and seconds else None,
            )
        )
    return Table("Stages of training", head, body, (1, 2, 4))


def _rows(account: AccountShape) -> str:
    """'3,920', and of a stage that draws its own rows what they were: '7,660 own answers', 'of 12 own problems'."""
    words = {"answer": " own answers", "problem": " own problems"}
    return f"{account.kept:,}{words.get(account.unit, '')}"


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


# --- curves -----------------------------------------------------------------------------------------------------


def _curves(run: RunFiles, start: str, stages: dict[str, list[Step]]) -> Figure:
    """Small multiples of the stages that began at `start`, the guard's state last."""
    drawn = {panel.key: list(_lines(run, panel, stages)) for panel in _PANELS}
    limits = _limits([v for key in _SAME_SCALE for line in drawn[key] for v in (*line.values, *line.dots.values())])
    panels: list[tuple[str, Markup]] = []
    for panel in _PANELS:
        if any(len(line.values) >= MIN_POINTS for line in drawn[panel.key]):
            same = limits if panel.key in _SAME_SCALE and drawn["rejected_logp"] else None
            label = f"{panel.title} over steps of {join(list(stages))}"
            panels.append((panel.title, charts.curves(drawn[panel.key], label, log=panel.log, limits=same)))
    states = [(run.series(stage), [(row.step, GUARD_STATES.index(row.guard)) for row in rows if row.guard in GUARD_STATES])
              for stage, rows in stages.items()]  # fmt: skip
    states = [(series, points) for series, points in states if points]
    if any(state for _, points in states for _, state in points):
        label = f"the guard's state over steps of {join(list(stages))}"
        panels.append(("the guard's state", charts.levels(states, GUARD_STATES, label)))
    return Figure(panels, _caption(start, stages, drawn), _legend(run, list(stages), drawn))


def _legend(run: RunFiles, stages: list[str], drawn: dict[str, list[charts.Line]]) -> list[Tag]:
    """The stages, then those marks that really occur."""
    lines = [line for found in drawn.values() for line in found]
    kinds = {kind for line in lines for _, _, kind in line.marks}
    words = {"warning": "▲ warning", "collapse": "✕ collapse", "back": "◄ rolled back from here"}
    marks = [Tag(text, "") for kind, text in words.items() if kind in kinds]
    dots = [Tag("● held-out rows", "")] if any(line.dots for line in lines) else []
    return [*(Tag(stage, run.series(stage)) for stage in stages), *dots, *marks]


def _caption(start: str, stages: dict[str, list[Step]], drawn: dict[str, list[charts.Line]]) -> str:
    longest = max(map(len, stages.values()))
    window = -(-longest // MAX_POINTS)
    words = [f"{join([short(s, 40) for s in stages])}, from {start}."]
    words += [f"Each point is a mean over {plural(window, 'step')}."] if window > 1 else []
    words += ["Bold: running mean; faint: every point."] if longest > 60 else []
    if any(line.pale for found in drawn.values() for line in found):
        words.append("Thin and dotted: steps that the guard rolled back.")
    return " ".join(words)


def _lines(run: RunFiles, panel: Panel, stages: dict[str, list[Step]]) -> Iterator[charts.Line]:
    """The line of each stage that has this number; steps without a finite one are left out."""
    for stage, rows in stages.items():
        points = _points(rows, panel.key)
        if not points:
            continue
        steps, values = _thinned(points)
        given_up = [_points(part, panel.key) for part in run.abandoned(stage)]
        marks: list[charts.Mark] = [(step, None, state) for step, state in _onsets(rows)]
        marks += [(*part[-1], "back") for part in given_up if part]
        pale = [_thinned(part) for part in given_up if part]
        dots = dict(_points(rows, panel.dots)) if panel.dots else {}
        yield charts.Line(run.series(stage), steps, values, dots, marks, pale)


def curve(rows: Sequence[Step], key: str) -> tuple[list[float], list[float]] | None:
    """(steps, values) of one number, thinned to be drawn; None where no step has it."""
    points = _points(rows, key)
    return _thinned(points) if points else None


def _points(rows: Sequence[Step], key: str) -> list[tuple[float, float]]:
    """The finite values by step; shares in percent, as everywhere on the page."""
    scale = 100.0 if key in SHARES else 1.0
    return [(row.step, scale * v) for row in rows if (v := getattr(row, key)) is not None and math.isfinite(v)]


def _onsets(rows: Sequence[Step]) -> list[tuple[float, str]]:
    """(step, state) where a warning or a collapse begins; the first MAX_MARKS, collapses before warnings."""
    before, onsets = "", list[tuple[float, str]]()
    for row in rows:
        state = row.guard or ""
        if state in ("warning", "collapse") and state != before:
            onsets.append((row.step, state))
        before = state
    return sorted(onsets, key=lambda one: one[1] != "collapse")[:MAX_MARKS]


def _thinned(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """At most MAX_POINTS points, each the mean of an equal window of neighbours."""
    window = -(-len(points) // MAX_POINTS)
    parts = [points[i : i + window] for i in range(0, len(points), window)]
    means = [(sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in parts]
    return [x for x, _ in means], [y for _, y in means]


def _limits(values: list[float]) -> tuple[float, float] | None:
    if not values or min(values) == max(values):
        return None
    margin = 0.05 * (max(values) - min(values))
    return min(values) - margin, max(values) + margin
