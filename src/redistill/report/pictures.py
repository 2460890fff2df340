"""Larger pictures as inline SVG, in the manner of charts.py: the flow of traces, maps of heat.

flow([Level("traces read", [Part("kept", "kept", 0, 15550)])], [], "funnel")  ->  Markup('<svg ...>')
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from redistill.report.charts import INK, PAPER, STYLE, plain_axes, svg, tone_color
from redistill.report.text import short, visible

_LEVEL, _BAR = 62, 15  # points between two levels, and height of a bar
_LETTER = 5.6  # points a letter of a label is wide, about


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a level's bar: its tone, name, and where it begins and how long it is, in things counted."""

    tone: str
    name: str
    start: float
    count: int

    @property
    def end(self) -> float:
        return self.start + self.count


@dataclass(frozen=True, slots=True)
class Level:
    """A bar of the flow, made of parts, with its title above."""

    title: str
    parts: Sequence[Part]


Ribbon = tuple[int, float, int, float, float, str]  # from level, at, to level, at, how wide, tone


def flow(levels: Sequence[Level], ribbons: Sequence[Ribbon], label: str) -> Markup:
    """Bars one below another on one scale, joined by ribbons: what goes on from a bar to a later one.

    A part's name is written on it where it fits, else beside it; the page lists all of them below the picture.
    """
    with matplotlib.rc_context(STYLE):
        figure, axes = plain_axes(_LEVEL * len(levels) - 12)
        widest = max([part.end for level in levels for part in level.parts] or [1])
        per_thing = 330 / widest
        for first, x, second, other_x, width, tone in ribbons:
            _ribbon(axes, (first, x), (second, other_x), width, tone)
        for number, level in enumerate(levels):
            top = number * _LEVEL
            total = sum(part.count for part in level.parts)
            title = short(str(visible(level.title)), 40)
            behind = {
                "facecolor": PAPER,
                "edgecolor": "none",
                "pad": 1.2,
                "alpha": 0.92,
            }  # the bands run under the title
            axes.text(
                0, top + 12, f"{title}  {total:,}", fontsize=9.5, fontweight="bold", va="bottom", bbox=behind, zorder=4
            )
            for place, part in enumerate(level.parts):
                axes.fill_between(
                    [part.start, part.end], top + 15, top + 15 + _BAR, color=tone_color(part.tone), linewidth=0
                )
                before = level.parts[place - 1].end if place else 0
                after = level.parts[place + 1].start if place + 1 < len(level.parts) else widest
                words = f"{part.name} {part.count:,}"
                wide = _LETTER * len(words) / per_thing
                middle: dict[str, Any] = {"va": "center_baseline", "fontsize": 8.5}
                y = top + 15 + _BAR / 2
                if part.count > wide:
                    ink = INK if part.tone == "dropped" else PAPER
                    axes.text((part.start + part.end) / 2, y, words, color=ink, ha="center", **middle)
                elif after - part.end > wide:
                    axes.text(part.end + 4 / per_thing, y, words, **middle)
                elif part.start - before > wide:
                    axes.text(part.start - 4 / per_thing, y, words, ha="right", **middle)
        axes.set_xlim(0, widest)
        axes.set_ylim(_LEVEL * (len(levels) - 1) + 15 + _BAR + 1, 0)
        axes.axis("off")
        return svg(figure, label)


def _ribbon(axes: Axes, above: tuple[int, float], below: tuple[int, float], width: float, tone: str) -> None:
    """A band between two bars that keeps its width and bends softly from one place to the other."""
    top, bottom = above[0] * _LEVEL + 15 + _BAR, below[0] * _LEVEL + 15
    y = np.linspace(0.0, 1.0, 24)
    bend = y * y * (3 - 2 * y)
    left = above[1] + (below[1] - above[1]) * bend
    axes.fill_betweenx(top + (bottom - top) * y, left, left + width, color=tone_color(tone), alpha=0.22, linewidth=0)


def heat_map(
    grid: Sequence[Sequence[float | None]],
    columns: Sequence[str],
    rows: Sequence[str],
    across: str,
    down: str,
    limits: tuple[float, float],
    label: str,
) -> Markup:
    """Shares in cells, each with its number in percent; colour grows from the first limit to the second. Rows from top to bottom;
    None leaves a cell empty. across, down: what the columns and the rows are."""
    low, high = limits
    with matplotlib.rc_context(STYLE):
        figure, axes = plain_axes(58 + 34 * len(rows))
        axes.grid(False)
        for y, row in enumerate(grid):
            for x, share in enumerate(row):
                if share is None:
                    continue
                strength = (share - low) / (high - low) if high > low else 1.0
                square = Rectangle((x - 0.47, y - 0.46), 0.94, 0.92, linewidth=0, facecolor=tone_color("right"))
                square.set_alpha(0.06 + 0.5 * strength)
                axes.add_patch(square)
                axes.text(x, y, f"{100 * share:.1f}", ha="center", va="center_baseline", fontsize=9)
        axes.set_xlim(-0.5, len(columns) - 0.5)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xticks(range(len(columns)), [str(visible(c)) for c in columns])
        axes.set_yticks(range(len(rows)), [str(visible(r)) for r in rows])
        axes.set_xlabel(short(str(visible(across)), 40))
        axes.set_ylabel(short(str(visible(down)), 30))
        for side in axes.spines.values():
            side.set_visible(False)
        return svg(figure, label)
