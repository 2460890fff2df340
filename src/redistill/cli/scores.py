"""What `redistill scores`, `run` and `evaluate` print of scores."""

from collections.abc import Mapping, Sequence
from typing import Any

from redistill.text.figures import between, percent, points
from redistill.text.unread_answers import shares_words, what_to_change


def scores_text(table: Mapping[str, Any], _: object = None) -> str:
    """One line per student and one sentence per comparison; of a run without benchmarks the sentence why not."""
    if "points" in table:
        return str(table["text"])
    if why := table.get("unscored"):
        return f"{why[0].upper()}{why[1:]}"
    lines = [
        f"{'student':<14}{'benchmark':<14}{'pass@1, %':>10}  {'95% interval':<16}{'SEM columns':>12}{'SEM problems':>14}{'cut, %':>8}"
    ]
    for row in table["scores"]:
        one = row["pass_at_1"]
        columns, problems = percent(one["sem_over_sample_columns"], 2), percent(one["sem_over_problems"], 2)
        interval = between(one["interval95"])
        lines.append(
            f"{row['model']:<14}{row['benchmark']:<14}{percent(one['value']):>10}  {interval:<16}{columns:>12}{problems:>14}"
            f"{percent(row['truncation_rate']):>8}"
        )
    for row in table["scores"]:
        lines.append(f"answers of {row['model']} on {row['benchmark']}: {shares_words(row)}")
        lines += [f"! {sentence}" for sentence in what_to_change(row)]
    lines.append("SEM: standard error of the mean (ddof 1) in points, over the n sample columns and over the problems")
    lines += _choosing(table["scores"])
    lines += _steps(table["scores"])
    lines += [f"- {line['benchmark']}: {line['sentence']}" for line in table["comparisons"]]
    return "\n".join(lines)


def _steps(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line per critic on labelled steps; none where no steps are judged."""
    found = [row for row in rows if "steps" in row]
    if not found:
        return []
    head = f"{'critic':<14}{'benchmark':<14}{'error acc, %':>13}{'correct acc, %':>15}{'F1, %':>8}  {'95% interval':<16}{'coin F1, %':>11}{'unjudged':>10}"
    return [head, *(_steps_line(row) for row in found)]


def _steps_line(row: Mapping[str, Any]) -> str:
    steps = row["steps"]
    values = [steps[name]["value"] for name in ("error_accuracy", "correct_accuracy", "f1")]
    error, correct, f1, coin = map(percent, (*values, steps["coin"]["f1"]))
    interval = between(steps["f1"]["interval95"])
    unjudged = f"{steps['unjudged']} of {steps['num_traces']}"
    return f"{row['model']:<14}{row['benchmark']:<14}{error:>13}{correct:>15}{f1:>8}  {interval:<16}{coin:>11}{unjudged:>10}"


def _choosing(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line per student, benchmark and way to choose one of the n samples; none where nothing is chosen."""
    lines = []
    for row in rows:
        n = row["num_samples"]
        for label, found in row.get("choose", {}).items():
            head = f"{row['model']:<14}{row['benchmark']:<14}"
            if "why" in found:
                lines.append(f"{head}{label}: left out, for {found['why']}")
                continue
            point = found["curve"][str(n)]
            gain = found["against_pass_at_1"]
            against = between(gain["interval95"], signed=True)
            lines.append(
                f"{head}{percent(point['value']):>10}  {between(point['interval95']):<16}{percent(point['undecided']):>13}"
                f"{points(gain['difference']):>8} ({against})  {label} of {n}"
            )
    if not lines:
        return []
    title = f"{'student':<14}{'benchmark':<14}{'right, %':>10}  {'95% interval':<16}{'undecided, %':>13}  against pass@1, points (95% interval)"
    return ["", "one answer chosen among the n samples", title, *lines, ""]
