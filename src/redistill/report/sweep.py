"""The page of a sweep: sweep.json in, report.html out, in the manner of a run's page.

write_sweep_page(Path("runs/weights"))  ->  runs/weights/report.html

A variant has one colour on every chart of the page; the seeds of a point are dots around its mean.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from redistill.config.differences import distinct
from redistill.io.atomic import read_json
from redistill.report import charts
from redistill.report.blocks import Block, Code, Details, Figure, Link, Sentences, Table, Tag, Text
from redistill.report.cross_run import line_figure
from redistill.report.pictures import heat_map
from redistill.report.render import write_page
from redistill.report.text import duration, interval, number, percent, plural, short
from redistill.safety.paths import FOLDER_NAME, shell_word
from redistill.text.figures import between, points

MAX_DRAWN = 24  # points in the picture of intervals
MAX_MAPS = 12
MAX_TEXT = 40_000  # characters of a file that is shown
Found = Mapping[str, Any]


def write_sweep_page(folder: Path) -> Path:
    """Write `<folder>/report.html` from `<folder>/sweep.json` and return its path."""
    record = read_json(folder / "sweep.json")
    benchmarks = list(dict.fromkeys(name for point in record["points"] for name in point["benchmarks"]))
    sections = [(f"Result on {name}", _result(record, name)) for name in benchmarks]
    sections += [("Over the steps", _curves(record, next(iter(benchmarks), "")))]
    sections += [
        ("Ended early", _ended(record)),
        ("Trials", _trials(record, folder)),
        ("Reproduce", _again(record, folder)),
    ]
    return write_page(folder / "report.html", record["name"], sections, kind="sweep")


def point_name(point: Found) -> str:
    """The variant and the values of its axes: redi, rejected_weight 0.8."""
    return ", ".join(filter(None, [point["variant"], settings_text(point["settings"])]))


def settings_text(settings: Mapping[str, Any]) -> str:
    """{"train.redi.learning_rate": 1e-4} -> "learning_rate 0.0001"."""
    values = {axis: f"{value:g}" if isinstance(value, float) else str(value) for axis, value in settings.items()}
    return ", ".join(f"{_word(axis)} {value}" for axis, value in values.items())


def _colours(record: Found) -> dict[str, int]:
    """Variant -> its colour number, the same on every chart."""
    return {name: i for i, name in enumerate(dict.fromkeys(p["variant"] for p in record["points"]))}


def _result(record: Found, benchmark: str) -> list[Block]:
    """The result in a sentence, the picture of all points, the table, and what each seed gives where it chooses by the others."""
    scored = [p for p in record["points"] if p["benchmarks"][benchmark]["seeds"]]
    if not scored:
        return [Text("No trial is scored yet.", "missing")]
    series = _colours(record)
    ranked = sorted(scored, key=lambda p: -p["benchmarks"][benchmark]["mean"])
    best = ranked[:MAX_DRAWN]
    columns = [p["benchmarks"][benchmark] for p in best]
    drawn = [
        (point_name(p), series[p["variant"]], c["mean"], c["interval95_over_seeds"])
        for p, c in zip(best, columns, strict=True)
    ]
    few = any(c["interval95_over_seeds"] is None for c in columns)
    caption = "Mean pass@1 over seeds, best first; hollow dots are the seeds, the line is the 95% t-interval over them"
    caption += ", which needs three seeds" if few else ""
    caption += f"; the {MAX_DRAWN} best of {len(scored)} points." if len(scored) > MAX_DRAWN else "."
    chart = charts.intervals(drawn, "pass@1, %", f"pass@1 on {benchmark}", each=[c["each"] for c in columns])
    blocks: list[Block] = [
        Text(_sentence(record, ranked, benchmark), "lead"),
        Figure([("", chart)], caption, single=True),
    ]
    blocks += heat(scored, benchmark, record["axes"])
    control = record["control"]
    about = (
        f"minus {control}: at the same values of the axes, seed by seed, in points"
        if control
        else "no control was named"
    )
    rows = [_row(point_name(p), series[p["variant"]], p["benchmarks"][benchmark], p["state"]) for p in scored]
    blocks.append(Table(f"Every point; {about}", _HEAD, rows))
    chosen = [row for row in record["chosen"] if row["benchmark"] == benchmark]
    if chosen:
        rows = [_row(point_name(row), series[row["variant"]], row, "done") for row in chosen]
        blocks.append(Table("Each seed at the values that were best on the mean of the other seeds", _HEAD, rows))
    blocks.append(
        Text(
            "The interval over seeds includes the variation of training. The one over problems does not: it shows how much other problems "
            "would change the difference between these trained students. With fewer than three seeds there is no interval over seeds, and "
            "the seeds stand there themselves. Best of many points is an optimistic number; the table of values chosen on the other "
            "seeds is not.",
            "quiet",
        )
    )
    return blocks


# --- heat maps --------------------------------------------------------------------------------------------------------


def heat(points: Sequence[Found], benchmark: str, axes: Mapping[str, Sequence[Any]]) -> list[Block]:
    """pass@1 over the two axes that vary most, a map for each variant and for each value of the other axes, all on one scale of colour. The
    number stands in every cell and the table stands below, so no colour has to be read. Nothing where no variant has two values of an axis."""
    maps: dict[str, list[Found]] = {}
    shown: dict[str, tuple[str, str | None]] = {}
    for variant in dict.fromkeys(point["variant"] for point in points):
        mine = [point for point in points if point["variant"] == variant]
        across, down = _two_axes(mine)
        if across is None:
            continue
        for point in mine:
            rest = [
                f"{_word(axis)} {short(number(v) or '–', 18)}"
                for axis, v in point["settings"].items()
                if axis not in (across, down)
            ]
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
    if not panels or (len(means) > 1 and min(means) == max(means)):  # one colour everywhere shows nothing
        return []
    caption = f"pass@1 on {benchmark} in percent, mean over seeds; the stronger the colour the higher, from {percent(min(means))} to {percent(max(means))} "
    caption += "on all maps alike. An empty cell has no finished trial."
    more = f" {MAX_MAPS} of {len(maps)} maps." if len(maps) > MAX_MAPS else ""
    return [Figure(panels, caption + more, single=len(panels) == 1)]


def _two_axes(points: Sequence[Found]) -> tuple[str | None, str | None]:
    """The axis with most values, across, and the one with most after it, down; None where an axis has one value only."""
    values: dict[str, dict[str, None]] = {}
    for point in points:
        for axis, value in point["settings"].items():
            values.setdefault(axis, {})[_key(value)] = None
    ranked = [axis for axis in sorted(values, key=lambda a: -len(values[a])) if len(values[axis]) > 1]
    return (ranked[0] if ranked else None, ranked[1] if len(ranked) > 1 else None)


def _values(points: Sequence[Found], axis: str, axes: Mapping[str, Sequence[Any]]) -> list[Any]:
    """The values of an axis that occur: numbers by size, others in the order of the sweep, else of the points."""
    by_key = {_key(p["settings"][axis]): p["settings"][axis] for p in points if axis in p["settings"]}
    if all(isinstance(v, int | float) for v in by_key.values()):
        return sorted(by_key.values())
    order = [_key(v) for v in axes.get(axis, [])]
    return [by_key[k] for k in sorted(by_key, key=lambda k: order.index(k) if k in order else len(order))]


def _at(point: Found, axis: str | None) -> str:
    return _key(point["settings"].get(axis)) if axis else ""


def _key(value: Any) -> str:
    return repr(value)


def _word(axis: str) -> str:
    return axis.split(".")[-1]


# --- the result in words ------------------------------------------------------------------------------------------------


def _sentence(record: Found, ranked: Sequence[Found], benchmark: str) -> str:
    """The best point, and whether it is above the control for sure."""
    best, column = ranked[0], ranked[0]["benchmarks"][benchmark]
    control = record["control"]
    seeds = plural(len(column["seeds"]), "seed")
    if len(ranked) > 1 and column["mean"] == ranked[-1]["benchmarks"][benchmark]["mean"]:
        return f"All {plural(len(ranked), 'point')} have the same pass@1 on {benchmark}, {percent(column['mean'])}% (mean of {seeds}): none is better."
    words = f"Best of {plural(len(ranked), 'point')} on {benchmark}: {point_name(best)}, {percent(column['mean'])}% pass@1 (mean of {seeds})"
    against = column["against_control"]
    if best["variant"] == control:
        return f"{words}. It is the control: nothing tried here is better."
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
        interval(column["interval95_over_seeds"]) or _each([percent(v) or "–" for v in column["each"]]),
        _signed(against["difference"]) if against else None,
        (interval(against["interval95_over_seeds"]) or _each([_signed(v) for v in against["each"]]))
        if against
        else None,
        interval(against["interval95_over_problems"]) if against else None,
    ]


def _each(values: Sequence[str]) -> str:
    """The seeds in place of an interval that cannot be given."""
    return f"seeds: {', '.join(values)}"


def _signed(share: float) -> str:
    return points(share).replace("-", "−")


def _curves(record: Found, benchmark: str) -> list[Block]:
    """Probe accuracy, chosen and rejected log-prob against the step: the best point of each variant, in the variant's colour, the
    mean of its seeds."""
    trials: dict[str, list[Found]] = {}
    for trial in record["trials"]:
        if trial["curve"] or trial["log_probs"]:
            trials.setdefault(point_name(trial), []).append(trial)
    chosen: dict[str, str] = {}  # variant -> the name of its best point
    means = {point_name(p): p["benchmarks"].get(benchmark, {}).get("mean") for p in record["points"]}
    for name in sorted(trials, key=lambda name: -1.0 if means.get(name) is None else means[name], reverse=True):
        chosen.setdefault(trials[name][0]["variant"], name)
    series = _colours(record)
    panels = []
    for title, values in (
        ("probe accuracy, %", lambda t: [[step, 100 * share] for step, share in t["curve"]]),
        ("log-prob of chosen, nats per token", lambda t: t["log_probs"].get("chosen", [])),
        ("log-prob of rejected, nats per token", lambda t: t["log_probs"].get("rejected", [])),
    ):
        drawn = [(v, *_mean_line([values(t) for t in trials[name]])) for v, name in chosen.items()]
        lines = [charts.Line(series.get(variant, 0), steps, line) for variant, steps, line in drawn if len(steps) > 2]
        panels.append((title, title, lines, False))
    legend = [Tag(name, series.get(variant, 0)) for variant, name in chosen.items()]
    words = "The best point of each variant; each line is the mean over the seeds of its point."
    return line_figure(panels, words, legend)


def _mean_line(curves: list[list[list[float]]]) -> tuple[list[int], list[float]]:
    """Steps that all seeds have, and the mean there."""
    tables = [{int(step): value for step, value in curve} for curve in curves if curve]
    if not tables:
        return [], []
    steps = sorted(set.intersection(*(set(table) for table in tables)))
    return steps, [sum(table[step] for table in tables) / len(tables) for step in steps]


def _ended(record: Found) -> list[Block]:
    ended = [t for t in record["trials"] if t["state"] not in ("done", "waiting")]
    if not ended:
        return []
    table = Table(
        "Unfinished trials",
        ("trial", "state", "why"),
        [(t["id"], t["state"], t["why"]) for t in ended],
        (1, 2),
    )
    return [Details(plural(len(ended), "trial"), [table])]


def _trials(record: Found, folder: Path) -> list[Block]:
    """Every trial with its state, scores, time, and a link to its folder."""
    if not record["trials"]:
        return []
    rows: list[Sequence[str | Tag | Link | None]] = []
    total = 0.0
    for trial in record["trials"]:
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


def _again(record: Found, folder: Path) -> list[Block]:
    lines = [f"{axis}: {', '.join(map(str, values))}" for axis, values in record["axes"].items()]
    lines.append(f"seeds: {', '.join(map(str, record['seeds']))}")
    here = folder.resolve().parent.name
    blocks: list[Block] = [
        Text(
            "In the folder where the sweep was started (the paths of its recipe are relative to it) this command resumes it; "
            "finished trials are not repeated."
        ),
        Code(
            "command", f"redistill sweep {shell_word(f'{here}/{folder.name}/sweep.yaml')} --runs-dir {shell_word(here)}"
        ),
        Sentences(lines),
    ]
    written = folder / "sweep.yaml"
    if written.exists():
        blocks.append(Details("sweep.yaml", [Code("sweep.yaml", written.read_text("utf-8", "replace")[:MAX_TEXT])]))
    id, recipe = _first_recipe(record, folder)
    if recipe:
        text = yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True)[:MAX_TEXT]
        blocks.append(Details(f"The resolved recipe of {id}", [Code(f"recipe of {id}", text)]))
    return blocks


def _first_recipe(record: Found, folder: Path) -> tuple[str, Any]:
    """(trial, recipe) of the first trial that has finished; ("", None) where none has."""
    for trial in record["trials"]:
        path = folder / "trials" / str(trial["id"]) / "run.json"
        if FOLDER_NAME.fullmatch(str(trial["id"])) and path.exists():
            return trial["id"], read_json(path).get("recipe")
    return "", None
