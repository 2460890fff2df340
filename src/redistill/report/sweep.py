"""The page of a sweep: sweep.json in, report.html out, in the manner of a run's page.

write_sweep_page(Path("runs/weights"))  ->  runs/weights/report.html

A variant has one colour on every chart of the page; the seeds of a point are dots around its mean.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from redistill.io.atomic import read_json, write_bytes
from redistill.report import charts
from redistill.report.blocks import Block, Code, Details, Figure, Link, Sentences, Table, Tag, Text
from redistill.report.page import render_page
from redistill.report.sweep_heatmap import heat
from redistill.report.text import duration, interval, percent, plural
from redistill.safety.paths import FOLDER_NAME
from redistill.text.figures import between, points

MAX_DRAWN = 24  # points in the picture of intervals
MAX_TEXT = 40_000  # characters of a file that is shown
Found = Mapping[str, Any]


def write_sweep_page(folder: Path) -> Path:
    """Write `<folder>/report.html` from `<folder>/sweep.json` and return its path."""
    found = read_json(folder / "sweep.json")
    benchmarks = list(dict.fromkeys(name for point in found["points"] for name in point["benchmarks"]))
    sections = [(f"Result on {name}", _result(found, name)) for name in benchmarks]
    sections += [("Over the steps", _curves(found, next(iter(benchmarks), "")))]
    sections += [
        ("Ended early", _ended(found)),
        ("Trials", _trials(found, folder)),
        ("To do it again", _again(found, folder)),
    ]
    html = render_page(found["name"], [(title, blocks) for title, blocks in sections if blocks], kind="sweep")
    path = folder / "report.html"
    write_bytes(path, html.encode("utf-8"))
    return path


def point_name(point: Found) -> str:
    """The variant and the values of its axes: redi, rejected_weight 0.8."""
    words = [f"{axis.split('.')[-1]} {_value(value)}" for axis, value in point["settings"].items()]
    return ", ".join([point["variant"], *words])


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _colours(found: Found) -> dict[str, int]:
    """Variant -> its colour number, the same on every chart."""
    return {name: i for i, name in enumerate(dict.fromkeys(p["variant"] for p in found["points"]))}


def _result(found: Found, benchmark: str) -> list[Block]:
    """The result in a sentence, the picture of all points, the table, and what each seed gives where it chooses by the others."""
    scored = [p for p in found["points"] if p["benchmarks"][benchmark]["seeds"]]
    if not scored:
        return [Text("No trial is scored yet.", "missing")]
    series = _colours(found)
    ranked = sorted(scored, key=lambda p: -p["benchmarks"][benchmark]["mean"])
    best = ranked[:MAX_DRAWN]
    columns = [p["benchmarks"][benchmark] for p in best]
    drawn = [
        (point_name(p), series[p["variant"]], c["mean"], _pair(c["interval95_over_seeds"]))
        for p, c in zip(best, columns, strict=True)
    ]
    few = any(c["interval95_over_seeds"] is None for c in columns)
    caption = "Mean pass@1 over seeds, best first; hollow dots are the seeds, the line is the 95% t-interval over them"
    caption += ", which needs three seeds" if few else ""
    caption += f"; the {MAX_DRAWN} best of {len(scored)} points." if len(scored) > MAX_DRAWN else "."
    chart = charts.intervals(drawn, "pass@1, %", f"pass@1 on {benchmark}", each=[c["each"] for c in columns])
    blocks: list[Block] = [
        Text(_sentence(found, ranked, benchmark), "lead"),
        Figure([("", chart)], caption, single=True),
    ]
    blocks += heat(scored, benchmark, found["axes"])
    control = found["control"]
    about = (
        f"minus {control}: at the same values of the axes, seed by seed, in points"
        if control
        else "no control was named"
    )
    rows = [_row(point_name(p), series[p["variant"]], p["benchmarks"][benchmark], p["state"]) for p in scored]
    blocks.append(Table(f"Every point; {about}", _HEAD, rows))
    chosen = [row for row in found["chosen"] if row["benchmark"] == benchmark]
    if chosen:
        rows = [_row(point_name(row), series[row["variant"]], row, "done") for row in chosen]
        blocks.append(Table("Each seed at the values that were best on the mean of the other seeds", _HEAD, rows))
    blocks.append(
        Text(
            "The interval over seeds holds the luck of training, the one over problems does not: it says how far other problems "
            "would move the difference of these trained students. With fewer than three seeds there is no interval over seeds, and "
            "the seeds stand there themselves. Best of many points is an optimistic number; the table of values chosen on the other "
            "seeds is not.",
            "quiet",
        )
    )
    return blocks


def _sentence(found: Found, ranked: Sequence[Found], benchmark: str) -> str:
    """The best point, and whether it is above the control for sure."""
    best, column = ranked[0], ranked[0]["benchmarks"][benchmark]
    control = found["control"]
    seeds = plural(len(column["seeds"]), "seed")
    words = f"Best of {plural(len(ranked), 'point')} on {benchmark}: {point_name(best)}, {percent(column['mean'])}% pass@1 (mean of {seeds})"
    against = column["against_control"]
    if best["variant"] == control:
        return f"{words}. It is the control: nothing tried here is above it."
    if not against:
        return f"{words}. {'It was compared with no control.' if control else 'No control was named, so nothing is claimed.'}"
    over = against["interval95_over_seeds"]
    difference = f"{points(against['difference'])} points against {control}"
    if over is None:
        each = ", ".join(points(value) for value in against["each"])
        return f"{words}, {difference} ({each} by seed). Three seeds are needed for an interval over seeds, so nothing is claimed."
    claimed = "above the control for these seeds" if over[0] > 0 else "no difference can be claimed"
    return f"{words}, {difference} (95% over seeds {between(over, signed=True)}): {claimed}."


_HEAD = ("point", "seeds", "pass@1, %", "95% over seeds", "minus control", "95% over seeds", "95% over problems")


def _row(name: str, series: int, column: Found, state: str) -> list[str | Tag | Link | None]:
    against = column["against_control"]
    return [
        Tag(name, series),
        str(len(column["seeds"])) + ("" if state == "done" else f" ({state})"),
        percent(column["mean"]),
        interval(_pair(column["interval95_over_seeds"])) or _each([percent(v) or "–" for v in column["each"]]),
        _signed(against["difference"]) if against else None,
        (interval(_pair(against["interval95_over_seeds"])) or _each([_signed(v) for v in against["each"]]))
        if against
        else None,
        interval(_pair(against["interval95_over_problems"])) if against else None,
    ]


def _each(values: Sequence[str]) -> str:
    """The seeds in place of an interval that cannot be given."""
    return f"seeds: {', '.join(values)}"


def _signed(share: float) -> str:
    return points(share).replace("-", "−")


def _pair(value: Any) -> tuple[float, float] | None:
    return None if value is None else (value[0], value[1])


def _curves(found: Found, benchmark: str) -> list[Block]:
    """Probe accuracy, chosen and rejected log-prob against the step: the best point of each variant, in the variant's colour, the
    mean of its seeds."""
    trials: dict[str, list[Found]] = {}
    for trial in found["trials"]:
        if trial["curve"] or trial["log_probs"]:
            trials.setdefault(point_name(trial), []).append(trial)
    chosen: dict[str, str] = {}  # variant -> the name of its best point
    means = {point_name(p): p["benchmarks"].get(benchmark, {}).get("mean") for p in found["points"]}
    for name in sorted(trials, key=lambda name: -1.0 if means.get(name) is None else means[name], reverse=True):
        chosen.setdefault(trials[name][0]["variant"], name)
    series = _colours(found)
    panels = []
    for title, values in (
        ("probe accuracy, %", lambda t: [[step, 100 * share] for step, share in t["curve"]]),
        ("log-prob of chosen, nats per token", lambda t: t["log_probs"].get("chosen", [])),
        ("log-prob of rejected, nats per token", lambda t: t["log_probs"].get("rejected", [])),
    ):
        drawn = [(v, *_mean_line([values(t) for t in trials[name]])) for v, name in chosen.items()]
        lines = [
            charts.Line(series.get(variant, 0), steps, means_) for variant, steps, means_ in drawn if len(steps) > 2
        ]
        if lines:
            panels.append((title, charts.curves(lines, title)))
    if not panels:
        return []
    legend = [Tag(name, series.get(variant, 0)) for variant, name in chosen.items()]
    return [
        Figure(
            panels,
            "The best point of each variant; each line is the mean over the seeds of its point.",
            legend,
            single=len(panels) == 1,
        )
    ]


def _mean_line(curves: list[list[list[float]]]) -> tuple[list[int], list[float]]:
    """Steps that all seeds have, and the mean there."""
    tables = [{int(step): value for step, value in curve} for curve in curves if curve]
    if not tables:
        return [], []
    steps = sorted(set.intersection(*(set(table) for table in tables)))
    return steps, [sum(table[step] for table in tables) / len(tables) for step in steps]


def _ended(found: Found) -> list[Block]:
    ended = [t for t in found["trials"] if t["state"] not in ("done", "waiting")]
    if not ended:
        return []
    table = Table(
        "Trials that did not go to their end",
        ("trial", "state", "why"),
        [(t["id"], t["state"], t["why"]) for t in ended],
        (1, 2),
    )
    return [Details(plural(len(ended), "trial"), [table])]


def _trials(found: Found, folder: Path) -> list[Block]:
    """Every trial with its state, scores, time, and a link to its folder."""
    if not found["trials"]:
        return []
    rows: list[Sequence[str | Tag | Link | None]] = []
    total = 0.0
    for trial in found["trials"]:
        where = folder / "trials" / trial["id"]
        here = FOLDER_NAME.fullmatch(trial["id"]) is not None and where.is_dir()
        seconds = _seconds(where) if here else None
        total += seconds or 0.0
        shown = ", ".join(f"{name} {percent(one.get('mean'))}%" for name, one in trial.get("scores", {}).items())
        name = Link(trial["id"], f"trials/{trial['id']}/") if here else trial["id"]
        rows.append((name, trial["state"], shown or None, duration(seconds)))
    time = f", {duration(total)} together" if total else ""
    table = Table("Every trial; the name leads to its folder", ("trial", "state", "pass@1", "time"), rows, (1, 2))
    return [Details(f"{plural(len(rows), 'trial')}{time}", [table])]


def _seconds(trial: Path) -> float | None:
    """Wall time of a trial as its run.json says; None where it has not finished."""
    path = trial / "run.json"
    seconds = read_json(path).get("seconds") if path.exists() else None
    return float(sum(seconds.values())) if isinstance(seconds, dict) and seconds else None


def _again(found: Found, folder: Path) -> list[Block]:
    lines = [f"{axis}: {', '.join(map(str, values))}" for axis, values in found["axes"].items()]
    lines.append(f"seeds: {', '.join(map(str, found['seeds']))}")
    here = folder.resolve().parent.name
    blocks: list[Block] = [
        Text(
            "In the folder where the sweep was started (the paths of its recipe are relative to it) this command resumes it; "
            "finished trials are not repeated."
        ),
        Code("command", f"redistill sweep {here}/{folder.name}/sweep.yaml --runs-dir {here}"),
        Sentences(lines),
    ]
    written = folder / "sweep.yaml"
    if written.exists():
        blocks.append(Details("sweep.yaml", [Code("sweep.yaml", written.read_text("utf-8", "replace")[:MAX_TEXT])]))
    id, recipe = _first_recipe(found, folder)
    if recipe:
        text = yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True)[:MAX_TEXT]
        blocks.append(Details(f"The resolved recipe of {id}", [Code(f"recipe of {id}", text)]))
    return blocks


def _first_recipe(found: Found, folder: Path) -> tuple[str, Any]:
    """(trial, recipe) of the first trial that has finished; ("", None) where none has."""
    for trial in found["trials"]:
        path = folder / "trials" / str(trial["id"]) / "run.json"
        if FOLDER_NAME.fullmatch(str(trial["id"])) and path.exists():
            return trial["id"], read_json(path).get("recipe")
    return "", None
