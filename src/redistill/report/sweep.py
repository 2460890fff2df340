"""The page of a sweep: sweep.json in, report.html out, in the manner of a run's page.

write_sweep_page(Path("runs/weights"))  ->  runs/weights/report.html
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from redistill.io.atomic import read_json, write_bytes
from redistill.report import charts
from redistill.report.blocks import Block, Details, Figure, Sentences, Table, Tag, Text
from redistill.report.page import render_page
from redistill.report.sweep_heatmap import heat
from redistill.report.text import interval, percent, plural

MAX_DRAWN = 24  # points in the picture of intervals
Found = Mapping[str, Any]


def write_sweep_page(folder: Path) -> Path:
    """Write `<folder>/report.html` from `<folder>/sweep.json` and return its path."""
    found = read_json(folder / "sweep.json")
    benchmarks = list(dict.fromkeys(name for point in found["points"] for name in point["benchmarks"]))
    sections = [(f"Result on {name}", _result(found, name)) for name in benchmarks]
    sections += [("Over the steps", _curves(found)), ("Ended early", _ended(found)), ("To do it again", _again(found))]
    html = render_page(found["name"], [(title, blocks) for title, blocks in sections if blocks], kind="sweep")
    path = folder / "report.html"
    write_bytes(path, html.encode("utf-8"))
    return path


def point_name(point: Found) -> str:
    """The variant and the values of its axes: redi, rejected_weight 0.8."""
    words = [f"{axis.split('.')[-1]} {_value(value)}" for axis, value in point["settings"].items()]
    return ", ".join([point["variant"], *words])


def _short_name(point: Found) -> str:
    """The same for a picture's narrow margin, axes by their initials: redi rw 0.8."""
    words = [f"{_initials(axis)} {_value(value)}" for axis, value in point["settings"].items()]
    return " ".join([point["variant"], *words])


def _initials(axis: str) -> str:
    last = axis.split(".")[-1]
    return "".join(word[0] for word in last.split("_") if word) if "_" in last else last


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _result(found: Found, benchmark: str) -> list[Block]:
    """The picture of all points, the table, and what each seed gives where it chooses by the others."""
    scored = [p for p in found["points"] if p["benchmarks"][benchmark]["seeds"]]
    if not scored:
        return [Text("No trial is scored yet.", "missing")]
    series = {name: i for i, name in enumerate(dict.fromkeys(p["variant"] for p in found["points"]))}
    blocks: list[Block] = []
    best = sorted(scored, key=lambda p: -p["benchmarks"][benchmark]["mean"])[:MAX_DRAWN]
    drawn = [
        (_short_name(p), series[p["variant"]], p["benchmarks"][benchmark]["mean"], _pair(p["benchmarks"][benchmark]["interval95_over_seeds"]))
        for p in best
    ]  # fmt: skip
    caption = "Mean pass@1 over seeds with its 95% t-interval, best first" + (
        f"; the {MAX_DRAWN} best of {len(scored)} points" if len(scored) > MAX_DRAWN else ""
    )
    meanings = [f"{_initials(axis)} is {axis}" for axis in found["axes"] if "_" in axis.split(".")[-1]]
    caption += "".join(f"; {meaning}" for meaning in meanings) + "."
    blocks.append(Figure([("", charts.intervals(drawn, "pass@1, %", f"pass@1 on {benchmark}"))], caption, single=True))
    blocks += heat(scored, benchmark, found["axes"])
    control = found["control"]
    about = f"minus {control}: at the same values of the axes, seed by seed" if control else "no control was named"
    rows = [_row(point_name(p), series[p["variant"]], p["benchmarks"][benchmark], p["state"]) for p in scored]
    blocks.append(Table(f"Every point; {about}", _HEAD, rows))
    chosen = [row for row in found["chosen"] if row["benchmark"] == benchmark]
    if chosen:
        rows = [_row(point_name(row), series[row["variant"]], row, "done") for row in chosen]
        blocks.append(Table("Each seed at the values that were best on the mean of the other seeds", _HEAD, rows))
    blocks.append(
        Text(
            "The interval over seeds holds the luck of training, the one over problems does not: it says how far other problems "
            "would move the difference of these trained students. Best of many points is an optimistic number; the table of "
            "values chosen on the other seeds is not.",
            "quiet",
        )
    )
    return blocks


_HEAD = ("point", "seeds", "pass@1, %", "95% over seeds", "minus control", "95% over seeds", "95% over problems")


def _row(name: str, series: int, column: Found, state: str) -> list[str | Tag | None]:
    against = column["against_control"]
    return [
        Tag(name, series),
        str(len(column["seeds"])) + ("" if state == "done" else f" ({state})"),
        percent(column["mean"]),
        interval(_pair(column["interval95_over_seeds"])),
        _signed(against["difference"]) if against else None,
        interval(_pair(against["interval95_over_seeds"])) if against else None,
        interval(_pair(against["interval95_over_problems"])) if against else None,
    ]


def _signed(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-", "−")


def _pair(value: Any) -> tuple[float, float] | None:
    return None if value is None else (value[0], value[1])


def _curves(found: Found) -> list[Block]:
    """Probe accuracy, chosen and rejected log-prob against the step; one line a point, the mean of its seeds."""
    points: dict[str, tuple[str, list[Found]]] = {}
    for trial in found["trials"]:
        if trial["curve"] or trial["log_probs"]:
            points.setdefault(point_name(trial), (trial["variant"], []))[1].append(trial)
    blocks: list[Block] = []
    for variant in dict.fromkeys(variant for variant, _ in points.values()):
        mine = {name: trials for name, (of, trials) in points.items() if of == variant}
        panels = []
        for title, values in (
            ("probe accuracy", lambda t: t["curve"]),
            ("log-prob of chosen, per token", lambda t: t["log_probs"].get("chosen", [])),
            ("log-prob of rejected, per token", lambda t: t["log_probs"].get("rejected", [])),
        ):
            drawn = [(i, *_mean_line([values(t) for t in trials])) for i, trials in enumerate(mine.values())]
            lines = [charts.Line(series, steps, means) for series, steps, means in drawn if steps]
            if lines:
                panels.append((title, charts.curves(lines, f"{variant}: {title}")))
        legend = [Tag(name, i) for i, name in enumerate(mine)]
        if panels:
            blocks.append(Figure(panels, f"{variant}: means over the seeds of each point.", legend))
    return blocks


def _mean_line(curves: list[list[list[float]]]) -> tuple[list[int], list[float]]:
    """Steps that all seeds have, and the mean there."""
    tables = [{int(step): value for step, value in curve} for curve in curves if curve]
    if not tables:
        return [], []
    steps = sorted(set.intersection(*(set(table) for table in tables)))
    return steps, [sum(table[step] for table in tables) / len(tables) for step in steps]


def _ended(found: Found) -> list[Block]:
    ended = [t for t in found["trials"] if t["state"] in ("stopped", "failed")]
    if not ended:
        return []
    rungs = [
        f"At step {rung['rung']} {len(rung['kept'])} of {len(rung['kept']) + len(rung['stopped'])} points went on, by the mean of "
        "their seeds' probes on dev problems."
        for rung in found.get("halving", [])
    ]
    table = Table(
        "Trials that did not go to their end",
        ("trial", "state", "why"),
        [(t["id"], t["state"], t["why"]) for t in ended],
        (1, 2),
    )
    return [*([Sentences(rungs)] if rungs else []), Details(plural(len(ended), "trial"), [table])]


def _again(found: Found) -> list[Block]:
    lines = [f"{axis}: {', '.join(map(str, values))}" for axis, values in found["axes"].items()]
    lines.append(f"seeds: {', '.join(map(str, found['seeds']))}")
    text = "The same command goes on where it stopped and repeats nothing that is finished: redistill sweep sweep.yaml, with the file of this name in this folder."
    return [Text(text), Sentences(lines)]
