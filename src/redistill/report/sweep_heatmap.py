"""The heat maps of a sweep: pass@1 over the two axes that vary most, a map for each variant and for each value of the others.

    heat([{"variant": "redi", "settings": {"lr": 1e-4, "weight": 0.8}, "benchmarks": {"dev": {"mean": 0.83, ...}}}], "dev", axes)

The number stands in every cell and the table stands below, so no colour has to be read.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from redistill.config.differences import distinct
from redistill.report.blocks import Block, Figure
from redistill.report.pictures import heat_map
from redistill.report.text import number, percent, short

MAX_MAPS = 12
Point = Mapping[str, Any]


def heat(points: Sequence[Point], benchmark: str, axes: Mapping[str, Sequence[Any]]) -> list[Block]:
    """One figure on one scale of colour; nothing where no variant has two values of an axis."""
    maps: dict[str, list[Point]] = {}
    shown: dict[str, tuple[str, str | None]] = {}
    for variant in dict.fromkeys(point["variant"] for point in points):
        mine = [point for point in points if point["variant"] == variant]
        across, down = _two_axes(mine)
        if across is None:
            continue
        for point in mine:
            rest = [f"{_word(axis)} {_value(v)}" for axis, v in point["settings"].items() if axis not in (across, down)]
            title = ", ".join([variant, *rest])
            maps.setdefault(title, []).append(point)
            shown[title] = (across, down)
    means = [point["benchmarks"][benchmark]["mean"] for some in maps.values() for point in some]
    panels = []
    for title, some in list(maps.items())[:MAX_MAPS]:
        across, down = shown[title]
        columns, rows = _values(some, across, axes), _values(some, down, axes) if down else [""]
        cells = {(_at(p, down), _at(p, across)): p["benchmarks"][benchmark]["mean"] for p in some}
        grid = [[cells.get((_key(row) if down else "", _key(column))) for column in columns] for row in rows]
        words = (
            distinct([number(c) or "–" for c in columns], 18),
            distinct([number(r) or "–" for r in rows], 18) if down else [""],
            _word(across),
            _word(down) if down else "",
        )
        panels.append((title, heat_map(grid, *words, (min(means), max(means)), f"pass@1 on {benchmark}: {title}")))
    if not panels:
        return []
    caption = f"pass@1 on {benchmark} in percent, mean over seeds; the stronger the colour the higher, from {percent(min(means))} to {percent(max(means))} "
    caption += "on all maps alike. An empty cell has no finished trial."
    more = f" {MAX_MAPS} of {len(maps)} maps." if len(maps) > MAX_MAPS else ""
    return [Figure(panels, caption + more, single=len(panels) == 1)]


def _two_axes(points: Sequence[Point]) -> tuple[str | None, str | None]:
    """The axis with most values, across, and the one with most after it, down; None where an axis has one value only."""
    values: dict[str, dict[str, None]] = {}
    for point in points:
        for axis, value in point["settings"].items():
            values.setdefault(axis, {})[_key(value)] = None
    ranked = [axis for axis in sorted(values, key=lambda a: -len(values[a])) if len(values[axis]) > 1]
    return (ranked[0] if ranked else None, ranked[1] if len(ranked) > 1 else None)


def _values(points: Sequence[Point], axis: str, axes: Mapping[str, Sequence[Any]]) -> list[Any]:
    """The values of an axis that occur: numbers by size, others in the order of the sweep, else of the points."""
    found = {_key(p["settings"][axis]): p["settings"][axis] for p in points if axis in p["settings"]}
    if all(isinstance(v, int | float) for v in found.values()):
        return sorted(found.values())
    order = [_key(v) for v in axes.get(axis, [])]
    return [found[k] for k in sorted(found, key=lambda k: order.index(k) if k in order else len(order))]


def _at(point: Point, axis: str | None) -> str:
    return _key(point["settings"].get(axis)) if axis else ""


def _key(value: Any) -> str:
    return repr(value)


def _value(value: Any) -> str:
    return short(number(value) or "–", 18)


def _word(axis: str) -> str:
    return axis.split(".")[-1]
