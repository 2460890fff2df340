"""Stage `score-csv`: the scores of a run as a CSV file, a row per student and benchmark, for spreadsheets and pandas; where a recipe
chooses among samples (`evaluate.choose`), their curves in a second file, a row per student, benchmark, choice and k.

score_csv(Path("runs/x"), Path("runs/x/score-csv"))  ->  runs/x/score-csv/scores.csv, choices.csv
"""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from redistill.io.atomic import read_json, write_bytes

COLUMNS = ("student", "benchmark", "pass_at_1", "low95", "high95", "num_problems", "num_samples", "truncation_rate")

CHOICE_COLUMNS = ("student", "benchmark", "choice", "k", "right", "low95", "high95", "undecided")


def score_csv(run: Path, output: Path, *, digits: int = 6) -> None:
    """Write scores.csv, and choices.csv where there are any, from every scores.json below `run`/evaluate. digits: after the decimal point."""
    every = [read_json(path) for path in sorted(run.glob("evaluate/*/*/scores.json"))]
    rows: list[list[Any]] = []
    for scores in every:
        low, high = scores["pass_at_1"]["interval95"] or (None, None)
        numbers = [scores["pass_at_1"]["value"], low, high]
        rows.append(
            [
                scores["model"],
                scores["benchmark"],
                *(None if number is None else round(number, digits) for number in numbers),
                scores["num_problems"],
                scores["num_samples"],
                round(scores["truncation_rate"], digits),
            ]
        )
    _write(output / "scores.csv", COLUMNS, rows)
    chosen = [row for scores in every for row in _choices(scores, digits)]
    if chosen:
        _write(output / "choices.csv", CHOICE_COLUMNS, chosen)


def _choices(scores: Mapping[str, Any], digits: int) -> Iterator[list[Any]]:
    """A row per choice and k; none for a choice that could not be made."""
    for label, choice in scores.get("choose", {}).items():
        for k, point in choice.get("curve", {}).items():
            numbers = [point["value"], *(point["interval95"] or (None, None)), point["undecided"]]
            rounded = [None if number is None else round(number, digits) for number in numbers]
            yield [scores["model"], scores["benchmark"], label, int(k), *rounded]


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_bytes(path, text.getvalue().encode())
