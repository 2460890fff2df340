"""What `redistill scores`, `run` and `evaluate` print of scores."""

from collections.abc import Mapping, Sequence
from typing import Any

from redistill.cli.text_tables import aligned
from redistill.text.figures import between, percent, points
from redistill.text.unread_answers import shares_words, what_to_change


def scores_text(table: Mapping[str, Any], _: object = None) -> str:
    """One line per student and one sentence per comparison; of a run without benchmarks the sentence why not."""
    if "points" in table:
        return str(table["text"])
    if why := table.get("unscored"):
        return f"{why[0].upper()}{why[1:]}"
    head = ("student", "benchmark", "pass@1, %", "95% interval", "SEM columns", "SEM problems", "cut, %")
    lines = aligned(head, [_score_cells(row) for row in table["scores"]])
    for row in table["scores"]:
        lines.append(f"answers of {row['model']} on {row['benchmark']}: {shares_words(row)}")
    lines += [f"! {sentence}" for sentence in what_to_change(*table["scores"])]
    lines.append("SEM: standard error of the mean (ddof 1) in points, over the n sample columns and over the problems")
    lines += _choosing(table["scores"])
    lines += _steps(table["scores"])
    lines += [f"- {line['benchmark']}: {line['sentence']}" for line in table["comparisons"]]
    return "\n".join(lines)


def _score_cells(row: Mapping[str, Any]) -> list[str]:
    one = row["pass_at_1"]
    sems = [percent(one[name], 2) for name in ("sem_over_sample_columns", "sem_over_problems")]
    figures = percent(one["value"]), between(one["interval95"]), *sems, percent(row["truncation_rate"])
    return [row["model"], row["benchmark"], *figures]


def _steps(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line per critic on labelled steps; none where no steps are judged."""
    step_rows = [row for row in rows if "steps" in row]
    head = ("critic", "benchmark", "error acc, %", "correct acc, %", "F1, %", "95% interval", "coin F1, %", "unjudged")
    return aligned(head, [_steps_cells(row) for row in step_rows]) if step_rows else []


def _steps_cells(row: Mapping[str, Any]) -> list[str]:
    steps = row["steps"]
    values = [steps[name]["value"] for name in ("error_accuracy", "correct_accuracy", "f1")]
    error, correct, f1, coin = map(percent, (*values, steps["coin"]["f1"]))
    interval = between(steps["f1"]["interval95"])
    unjudged = f"{steps['unjudged']} of {steps['num_traces']}"
    return [row["model"], row["benchmark"], error, correct, f1, interval, coin, unjudged]


def _choosing(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line per student, benchmark and way to choose one of the n samples; none where nothing is chosen."""
    choices = [(row, label, chosen) for row in rows for label, chosen in row.get("choose", {}).items()]
    if not choices:
        return []
    cells = [_choice_cells(row, label, chosen) for row, label, chosen in choices if "why" not in chosen]
    head = (
        "student", "benchmark", "right, %", "95% interval", "undecided, %", "against pass@1", "95% interval, points", "chosen by",
    )  # fmt: skip
    left_out = [
        f"{row['model']} on {row['benchmark']}: {label}: left out, for {chosen['why']}"
        for row, label, chosen in choices
        if "why" in chosen
    ]
    table = aligned(head, cells) if cells else []
    return ["", "one answer chosen among the n samples", *table, *left_out, ""]


def _choice_cells(row: Mapping[str, Any], label: str, chosen: Mapping[str, Any]) -> list[str]:
    n = row["num_samples"]
    point, gain = chosen["curve"][str(n)], chosen["against_pass_at_1"]
    figures = percent(point["value"]), between(point["interval95"]), percent(point["undecided"])
    against = points(gain["difference"]), between(gain["interval95"], signed=True)
    return [row["model"], row["benchmark"], *figures, *against, f"{label} of {n}"]
