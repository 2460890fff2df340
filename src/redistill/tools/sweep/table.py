"""What a sweep found: its trials -> points over seeds, each with its intervals and its difference from the control.

    tabulate(sweep, trials, found, folder)["points"]
        ->  [{"variant": "redi", "settings": {...}, "seeds": [0, 1], "benchmarks": {"dev": {"mean": 0.85, ...}}}, ...]

A point is compared with the control's point that has the same value on every axis that both have.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from redistill.evaluate.intervals import t_interval
from redistill.evaluate.seeds import compare_over_seeds, smallest_step
from redistill.io.atomic import read_json
from redistill.report.sweep import settings_text
from redistill.text.figures import NO_INTERVAL, between, percent, points
from redistill.tools.sweep.grid import SweepSettings, Trial

Scores = dict[int, dict[str, Any]]  # seed -> what `score` made


def tabulate(
    sweep: SweepSettings, trials: Sequence[Trial], results: Mapping[str, Mapping[str, Any]], folder: Path
) -> dict[str, Any]:
    """The content of sweep.json. `found`: by trial id what is known of it; a trial without an entry is `waiting`."""
    benchmarks = list(dict.fromkeys(b.name for t in trials for b in t.recipe.evaluate.benchmarks))
    points: dict[str, list[Trial]] = {}
    for trial in trials:
        points.setdefault(trial.point, []).append(trial)
    scores = {
        (key, benchmark): _scores(folder, of_seed, results, benchmark)
        for key, of_seed in points.items()
        for benchmark in benchmarks
    }
    rows = []
    for key, of_seed in points.items():
        first = of_seed[0]
        control = _control_of(sweep, first, [t[0] for t in points.values()])
        columns = {
            benchmark: _column(scores[key, benchmark], scores.get((control or "", benchmark), {}))
            for benchmark in benchmarks
        }
        states = [results.get(t.id, {}).get("state", "waiting") for t in of_seed]
        rows.append(
            {
                "variant": first.variant,
                "settings": first.settings,
                "state": "done" if set(states) == {"done"} else ", ".join(f"{states.count(s)} {s}" for s in dict.fromkeys(states)),
                "is_control": first.variant == sweep.control,
                "benchmarks": columns,
            }
        )  # fmt: skip
    chosen = [row for benchmark in benchmarks for row in _chosen(sweep, points, scores, benchmark)]
    axes: dict[str, list[Any]] = {}
    for trial in trials:
        for axis, value in trial.settings.items():
            if value not in axes.setdefault(axis, []):
                axes[axis].append(value)
    return {
        "name": sweep.name,
        "control": sweep.control,
        "axes": axes,
        "seeds": sweep.seeds,
        "trials": [_entry(trial, results.get(trial.id, {})) for trial in trials],
        "points": rows,
        "chosen": chosen,
    }


def _entry(trial: Trial, known: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": trial.id,
        "variant": trial.variant,
        "settings": trial.settings,
        "seed": trial.seed,
        "state": known.get("state", "waiting"),
        "why": known.get("why", ""),
        "run": f"trials/{trial.id}",
        "scores": known.get("scores", {}),
        "curve": known.get("curve", []),
        "log_probs": known.get("log_probs", {}),
    }


def _scores(folder: Path, trials: Sequence[Trial], results: Mapping[str, Mapping[str, Any]], benchmark: str) -> Scores:
    return {
        trial.seed: read_json(folder / "trials" / trial.id / "evaluate" / trial.stage / benchmark / "scores.json")
        for trial in trials
        if benchmark in results.get(trial.id, {}).get("scores", {})
    }


def _control_of(sweep: SweepSettings, trial: Trial, firsts: Sequence[Trial]) -> str | None:
    """The point of the control that a point is compared with; None for the control itself, and where several would do."""
    if sweep.control is None or trial.variant == sweep.control:
        return None
    fits = [
        other.point
        for other in firsts
        if other.variant == sweep.control
        and all(trial.settings[axis] == value for axis, value in other.settings.items() if axis in trial.settings)
    ]
    return fits[0] if len(fits) == 1 else None


def _column(mine: Scores, control: Scores) -> dict[str, Any]:
    if not mine:
        return {"seeds": []}
    each = [mine[seed]["pass_at_1"]["value"] for seed in sorted(mine)]
    mean, interval = t_interval(each, step=smallest_step(list(mine.values())))
    problems = len({id for scores in mine.values() for id in scores["per_problem"]})
    first = next(iter(mine.values()))
    return {
        "seeds": sorted(mine),
        "each": each,
        "mean": mean,
        "interval95_over_seeds": interval,
        "num_problems": problems,
        "num_samples": first["num_samples"],
        "against_control": compare_over_seeds(mine, control),
    }


# --- an axis chosen on the other seeds -----------------------------------------------------------------------------


def _chosen(
    sweep: SweepSettings,
    points: Mapping[str, Sequence[Trial]],
    scores: Mapping[tuple[str, str], Scores],
    benchmark: str,
) -> list[dict[str, Any]]:
    """For each variant (and each value of its other axes): every seed scored at the values of the `choose` axes that were
    best on the mean of the *other* seeds, so that no seed's problems choose for that seed. Ties go to the first."""
    if not sweep.choose:
        return []
    families: dict[tuple[str, str], list[str]] = {}
    for key, trials in points.items():
        rest = {axis: value for axis, value in trials[0].settings.items() if axis not in sweep.choose}
        families.setdefault((trials[0].variant, repr(sorted(rest.items()))), []).append(key)
    picked: dict[tuple[str, str], Scores] = {}
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for family, keys in families.items():
        known = {key: scores[key, benchmark] for key in keys if len(scores[key, benchmark]) == len(sweep.seeds)}
        if not known:
            continue
        took: dict[int, str] = {}
        for seed in sweep.seeds:
            others = {key: _mean_without(known[key], seed) for key in known}
            took[seed] = max(others, key=lambda key: others[key])
        picked[family] = {seed: known[key][seed] for seed, key in took.items()}
        first = points[keys[0]][0]
        rows[family] = {
            "variant": first.variant,
            "settings": {axis: value for axis, value in first.settings.items() if axis not in sweep.choose},
            "benchmark": benchmark,
            "among": len(keys),
            "took": {
                str(seed): {a: v for a, v in points[key][0].settings.items() if a in sweep.choose}
                for seed, key in took.items()
            },
        }
    for family, row in rows.items():
        same = [f for f in rows if f[0] == sweep.control and _agree(rows[f]["settings"], row["settings"])]
        control = picked[same[0]] if len(same) == 1 and family[0] != sweep.control else {}
        row |= _column(picked[family], control)
    return list(rows.values())


def _mean_without(scores: Scores, seed: int) -> float:
    rest = [s["pass_at_1"]["value"] for other, s in scores.items() if other != seed]
    return sum(rest) / len(rest)


def _agree(control: Mapping[str, Any], mine: Mapping[str, Any]) -> bool:
    return all(mine[axis] == value for axis, value in control.items() if axis in mine)


# --- as text -------------------------------------------------------------------------------------------------------


def table_text(sweep: Mapping[str, Any]) -> str:
    """table.md: one Markdown table a benchmark, best first within a variant's order; then the chosen ones; then what failed."""
    lines = [f"# {sweep['name']}", ""]
    benchmarks = list(dict.fromkeys(name for row in sweep["points"] for name in row["benchmarks"]))
    head = "| variant | settings | seeds | problems | pass@1, % | 95% over seeds | minus control, points | 95% over seeds | 95% over problems |"
    for benchmark in benchmarks:
        lines += [f"## {benchmark}", "", head, "|---" * 9 + "|"]
        for row in sweep["points"]:
            lines.append(_line(row, row["benchmarks"][benchmark], row["state"]))
        chosen = [row for row in sweep["chosen"] if row["benchmark"] == benchmark]
        if chosen:
            lines += [
                "",
                "Each seed at the values that were best on the mean of the other seeds:",
                "",
                head,
                "|---" * 9 + "|",
            ]
            lines += [_line(row, row, "done", took=row["took"]) for row in chosen]
        lines.append("")
    ended = [t for t in sweep["trials"] if t["state"] == "failed"]
    if ended:
        lines += ["## Failed", "", *(f"- {t['id']}: {t['why']}" for t in ended), ""]
    return "\n".join(lines)


def _line(row: Mapping[str, Any], column: Mapping[str, Any], state: str, took: Mapping[str, Any] | None = None) -> str:
    settings = settings_text(row["settings"])
    if took:
        words = [settings_text(value) for value in took.values()]
        settings += ("; " if settings else "") + "; ".join(
            f"{w} ({words.count(w)} of {len(words)})" for w in dict.fromkeys(words)
        )
    if not column["seeds"]:
        return f"| {row['variant']} | {settings} | 0 ({state}) | | | | | | |"
    against = column["against_control"]
    cells = [
        row["variant"],
        settings,
        str(len(column["seeds"])) + ("" if state == "done" else f" ({state})"),
        f"{column['num_problems']} x {column['num_samples']}",
        percent(column["mean"]),
        over_seeds(column["interval95_over_seeds"], [percent(v) for v in column["each"]]),
        points(against["difference"]) if against else "",
        over_seeds(against["interval95_over_seeds"], [points(v) for v in against["each"]], signed=True)
        if against
        else "",
        between(against["interval95_over_problems"], signed=True) if against else "",
    ]
    return "| " + " | ".join(cells) + " |"


def over_seeds(interval: Sequence[float] | None, each: Sequence[str], *, signed: bool = False) -> str:
    """[0.1, 0.2] -> "10.0 to 20.0"; with fewer than three seeds, where there is no interval, what each of them gave."""
    if interval is not None:
        return between(interval, signed=signed)
    return f"{NO_INTERVAL}: {', '.join(each)}" if len(each) > 1 else f"{NO_INTERVAL}: one seed"
