"""Small charts as inline SVG that follow the page: its font, its ink, its colours in light and in dark.

    intervals([("redi", 3, 0.84, (0.80, 0.88))], "pass@1, %", "pass@1 on dev")  ->  Markup('<svg ...>')

matplotlib draws with sentinel colours, which become `currentColor` and the page's CSS variables. The same values give
the same bytes: no dates, ids from a fixed salt. Widths are in CSS pixels; a panel is drawn at 340, about the width
it has on a phone and in a column of two, so its text is never scaled far.
"""

import html
import io
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from redistill.config.differences import distinct
from redistill.report.text import short, visible

WIDTH = 340  # CSS pixels of one panel
_TOP = 104.0  # percent: where an axis of shares ends at most, with room for a mark at 100
NUM_SERIES = 8  # colours --s0 .. --s7 of style.css; more models repeat them with other dashes

INK, _RULE, PAPER = "#010203", "#010204", "#010205"
_DASHES: tuple[Any, ...] = (
    "-",
    (0, (4, 1.6)),
    (0, (2, 1.2)),
    "-",
    (0, (6, 1.5, 1.2, 1.5)),
    "-",
    "-",
    (0, (1, 2)),
)
_MARKS = "os^DvPXh"
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: it follows the page's font and can be searched
    "svg.hashsalt": "redistill",
    "text.parse_math": False,  # a `$` in a label is a dollar sign
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same measures on every machine
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": _RULE,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "axes.formatter.useoffset": False,
    "axes.formatter.limits": (-3, 5),
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "grid.color": _RULE,
    "grid.linewidth": 0.6,
    "path.simplify": True,
}


def series_color(index: int) -> str:
    """The sentinel of a series' colour."""
    return f"#0102{0x10 + index % NUM_SERIES:02x}"


_TONES = {"right": "#010220", "wrong": "#010221", "other": "#010222", "kept": "#010223", "dropped": "#010224"}


def tone_color(tone: str) -> str:
    """The sentinel of a tone's colour; that of the text for any other word."""
    return _TONES.get(tone, INK)


_COLORS = {
    INK: "currentColor",
    _RULE: "var(--rule)",
    PAPER: "var(--paper)",
    **{series_color(i): f"var(--s{i})" for i in range(NUM_SERIES)},
    **{color: f"var(--{tone})" for tone, color in _TONES.items()},
}


def plain_axes(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH / 72, height / 72), layout="constrained")
    figure.patch.set_visible(False)
    axes = figure.add_subplot()
    axes.patch.set_visible(False)
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    return figure, axes


def svg(figure: Figure, label: str) -> Markup:
    """The figure as SVG that belongs to the page: theme colours, no scripts, styles, metadata, fixed size or addresses."""
    buffer = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a glyph our measuring font lacks; the page's font will have it
        FigureCanvasSVG(figure).print_svg(buffer, metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", text, flags=re.S)
    box = re.search(r'viewBox="([^"]+)"', text)
    assert box, "matplotlib wrote an SVG without a viewBox"
    name = html.escape(str(visible(label)), quote=True)
    text = re.sub(r"<svg[^>]*>", f'<svg viewBox="{box[1]}" role="img" aria-label="{name}">', text, count=1, flags=re.S)
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
    text = re.sub(r' id="([^"]+)"', lambda match: match[0] if match[1] in used else "", text)
    text = text.replace("xlink:href", "href")
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", text)  # the family is the page's
    for sentinel, color in _COLORS.items():
        text = text.replace(sentinel, color)
    return Markup(re.sub(r"\s*\n\s*", "\n", text).strip())


def intervals(
    rows: Sequence[tuple[str, int, float, Sequence[float] | None]],
    xlabel: str,
    label: str,
    *,
    zero_line: bool = False,
    scale: float = 100.0,
    each: Sequence[Sequence[float]] = (),
) -> Markup:
    """Dot and interval, one row each: (name, series, value, interval or None), shares shown in percent.

    zero_line draws the line of no difference and signs the numbers. scale: 1 for values that are not shares. each: of every row the
    values that it is the mean of (seeds), drawn as small hollow dots. Long names stand above their rows, where a column would eat
    the picture; names that differ never look the same.
    """
    names = distinct([str(visible(name)) for name, *_ in rows], 58)
    above = max(map(len, names), default=0) > 18
    with matplotlib.rc_context(STYLE):
        figure, axes = plain_axes(44 + (46 if above else 30) * len(rows))
        for y, values in enumerate(each):
            hollow: dict[str, Any] = {"markerfacecolor": "none", "markersize": 4.5, "markeredgewidth": 0.9}
            color = series_color(rows[y][1])
            axes.plot([scale * v for v in values], [y] * len(values), "o", color=color, **hollow)
        for y, (_, series, value, between) in enumerate(rows):
            color = series_color(series)
            if between:
                axes.plot(
                    [scale * between[0], scale * between[1]], [y, y], color=color, linewidth=2.4, solid_capstyle="round"
                )
            axes.plot([scale * value], [y], _MARKS[series % len(_MARKS)], color=color, markersize=7)
            digits = 1 if scale == 100.0 else 0
            shown = f"{scale * value:+,.{digits}f}" if zero_line else f"{scale * value:,.{digits}f}"
            axes.annotate(
                shown.replace("-", "−"),
                (scale * value, y),
                xytext=(0, 7),
                textcoords="offset points",
                ha="center",
                fontsize=9.5,
            )
        if zero_line:
            axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_yticks(range(len(rows)), [""] * len(rows) if above else names)
        axes.set_ylim(len(rows) - 0.5, -1.0 if above else -0.75)
        for y, name in enumerate(names if above else ()):
            axes.text(0, y - 0.62, name, transform=axes.get_yaxis_transform(), fontsize=9.5, va="center")
        ends = [scale * x for _, _, value, between in rows for x in (value, *(between or ()))] or [0]
        ends += [scale * value for values in each for value in values]
        low, high = (min(0, *ends), max(0, *ends)) if zero_line else (min(ends), max(ends))
        margin = max(4.0, 0.12 * (high - low))
        left, right = low - margin if zero_line else max(0 - 0.5, low - margin), high + margin
        if scale == 100.0:  # a share is nowhere above 100%, nor is a difference of two
            left, right = max(left, -_TOP), min(right, _TOP)
        axes.set_xlim(left, right)
        axes.grid(False, axis="y")
        axes.grid(True, axis="x")
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel(xlabel)
        return svg(figure, label)


def pass_at_k(
    curves: Mapping[str, Sequence[tuple[int, float]]], series: Mapping[str, int], label: str, *, from_zero: bool = True
) -> Markup:
    """pass@k in percent over k, on a doubling axis; curves: name -> (k, share) by rising k. from_zero: the axis begins at 0%."""
    with matplotlib.rc_context(STYLE):
        figure, axes = plain_axes(190)
        ks = sorted({k for points in curves.values() for k, _ in points})
        for name, points in curves.items():
            index = series[name]
            axes.plot(
                [k for k, _ in points],
                [100 * share for _, share in points],
                linestyle=_DASHES[index % len(_DASHES)],
                marker=_MARKS[index % len(_MARKS)],
                color=series_color(index),
                linewidth=1.7,
                markersize=4.5,
            )
        axes.set_xscale("log", base=2)
        named = [k for k in ks if k <= 4 or k.bit_count() == 1]  # 1, 2, 3, 4, 8, 16, ...
        axes.set_xticks(named, [str(k) for k in named])
        axes.xaxis.set_minor_locator(NullLocator())
        if from_zero:
            axes.set_ylim(bottom=0)
        axes.set_xlabel("k")
        axes.yaxis.set_major_locator(MaxNLocator(5))
        return svg(figure, label)


Mark = tuple[float, float | None, str]  # step, value (None: on the bold line), which of _MARK_SHAPES
_MARK_SHAPES = {"warning": ("^", 6.0), "collapse": ("X", 7.0), "back": ("<", 6.0)}


@dataclass(frozen=True, slots=True)
class Line:
    """One series of `curves`: values over steps, dots measured now and then, marks of what happened, and pale lines of
    steps that do not count any more."""

    series: int
    steps: Sequence[float]
    values: Sequence[float]
    dots: Mapping[float, float] = field(default_factory=dict)
    marks: Sequence[Mark] = ()
    pale: Sequence[tuple[Sequence[float], Sequence[float]]] = ()


def curves(
    lines: Sequence[Line],
    label: str,
    *,
    log: bool = False,
    limits: tuple[float, float] | None = None,
    xlabel: str = "step",
) -> Markup:
    """Values over steps, one line per series. Above 60 points a line is a running mean over a 25th of its length, with the
    raw values faint behind it. log: a logarithmic axis where all values are positive and span more than a factor of 20."""
    with matplotlib.rc_context(STYLE):
        figure, axes = plain_axes(170)
        for line in lines:
            _draw(axes, line)
        every = [v for line in lines for v in line.values]
        if log and min(every) > 0 and max(every) > 20 * min(every):
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(numticks=5))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
            axes.yaxis.set_minor_locator(NullLocator())
        else:
            axes.yaxis.set_major_locator(MaxNLocator(4))
        if limits:
            axes.set_ylim(*limits)
        _over_steps(axes, xlabel)
        return svg(figure, label)


def _draw(axes: Axes, line: Line) -> None:
    color, dashes = series_color(line.series), _DASHES[line.series % len(_DASHES)]
    values = line.values
    smooth = _running_mean(values, max(1, len(values) // 25)) if len(values) > 60 else values
    for steps, pale in line.pale:
        axes.plot(steps, pale, color=color, linewidth=0.9, linestyle=(0, (1, 1.6)), alpha=0.7)
    if smooth is not values:
        axes.plot(line.steps, values, color=color, linewidth=0.7, alpha=0.3)
    axes.plot(line.steps, smooth, color=color, linewidth=1.7, linestyle=dashes)
    if len(values) == 1:
        axes.plot(line.steps, values, _MARKS[line.series % len(_MARKS)], color=color)
    if line.dots:
        axes.plot(list(line.dots), list(line.dots.values()), "o", color=color, markersize=3.2)
    for step, value, kind in line.marks:
        shape, size = _MARK_SHAPES[kind]
        y = float(np.interp(step, line.steps, smooth)) if value is None else value
        axes.plot([step], [y], shape, color=color, markersize=size, markeredgecolor=INK, markeredgewidth=0.6, zorder=3)


def _over_steps(axes: Axes, xlabel: str = "step") -> None:
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    axes.set_xlabel(xlabel)


def levels(rows: Sequence[tuple[int, Sequence[tuple[float, int]]]], names: Sequence[str], label: str) -> Markup:
    """Which of a few named levels each series was in over steps: (series, [(step, level), ...]). Series that share a level
    run side by side, a hair apart. A step between two equal ones is left out: it changes nothing in the picture."""
    with matplotlib.rc_context(STYLE):
        figure, axes = plain_axes(170)
        for place, (series, points) in enumerate(rows):
            kept = [
                p
                for i, p in enumerate(points)
                if i in (0, len(points) - 1) or len({q[1] for q in points[i - 1 : i + 2]}) > 1
            ]
            shift = 0.09 * (place - (len(rows) - 1) / 2)
            xs, ys = [x for x, _ in kept], [y + shift for _, y in kept]
            dashes = _DASHES[series % len(_DASHES)]
            axes.plot(xs, ys, color=series_color(series), linewidth=1.7, linestyle=dashes, drawstyle="steps-post")
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(-0.4, len(names) - 0.6)
        _over_steps(axes)
        return svg(figure, label)


def accuracy(
    lines: Sequence[tuple[int, Sequence[tuple[float, float, float]]]],
    scores: Sequence[tuple[int, float, float, tuple[float, float] | None]],
    label: str,
    xlabel: str = "step",
) -> Markup:
    """Accuracy in percent over steps, or over what `xlabel` says. lines: (series, [(step, share, standard error)]), a probe each; scores: (series, step,
    share, interval), whole students."""
    with matplotlib.rc_context(STYLE):
        figure, axes = plain_axes(210)
        for series, points in lines:
            xs, ys = [x for x, _, _ in points], [100 * y for _, y, _ in points]
            color = series_color(series)
            low, high = ([min(100.0, max(0.0, 100 * (y + sign * e))) for _, y, e in points] for sign in (-1, 1))
            axes.fill_between(xs, low, high, color=color, alpha=0.12, linewidth=0)
            axes.plot(xs, ys, color=color, linewidth=1.7, linestyle=_DASHES[series % len(_DASHES)])
        for series, step, share, between in scores:
            color = series_color(series)
            if between:
                axes.plot([step, step], [100 * b for b in between], color=color, linewidth=2.4, solid_capstyle="round")
            axes.plot([step], [100 * share], _MARKS[series % len(_MARKS)], color=color, markersize=7)
        axes.set_ylim(0, min(axes.get_ylim()[1], _TOP))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.margins(x=0.06)
        _over_steps(axes, xlabel)
        return svg(figure, label)


def _running_mean(values: Sequence[float], half: int) -> list[float]:
    """Mean over up to 2 half + 1 values around each place."""
    windows = (values[max(0, i - half) : i + half + 1] for i in range(len(values)))
    return [sum(window) / len(window) for window in windows]


def is_worth_drawing(counts: Sequence[float]) -> bool:
    """True for a distribution over three bins or more; one or two are said better in a sentence."""
    return sum(n > 0 for n in counts) > 2


def histogram(
    bins: Sequence[str], shares: Mapping[str, Sequence[float]], xlabel: str, label: str, ylabel: str = "% of its kind"
) -> Markup:
    """Outlines of distributions over the same bins; bins: the label of each bin's start; shares: tone -> percent a bin."""
    with matplotlib.rc_context(STYLE):
        figure, axes = plain_axes(190)
        edges = list(range(len(bins) + 1))
        for tone, values in shares.items():
            dashes = (0, (4, 1.6)) if tone == "wrong" else "-"
            axes.stairs(values, edges, color=tone_color(tone), fill=True, alpha=0.1)
            axes.stairs(values, edges, color=tone_color(tone), linewidth=1.7, linestyle=dashes)
        every = max(1, -(-len(bins) // 7))
        axes.set_xticks(edges[:-1:every], [short(str(visible(b)), 12) for b in bins[::every]])
        axes.set_xlim(-0.2, len(bins) + 0.2)
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        return svg(figure, label)
