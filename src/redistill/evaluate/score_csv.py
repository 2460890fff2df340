"""Stage `score-csv`: the scores of a run as a CSV file, a row per student and benchmark, for spreadsheets and pandas.

score_csv(Path("runs/x"), Path("runs/x/score-csv"))  ->  runs/x/score-csv/scores.csv
"""

import csv
import io
from pathlib import Path

from redistill.io.atomic import read_json, write_bytes

COLUMNS = ("student", "benchmark", "pass_at_1", "low95", "high95", "num_problems", "num_samples", "truncation_rate")


def score_csv(run: Path, output: Path, *, digits: int = 6) -> None:
    """Write scores.csv from every scores.json below `run`/evaluate. digits: after the decimal point."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for path in sorted(run.glob("evaluate/*/*/scores.json")):
        scores = read_json(path)
        low, high = scores["pass_at_1"]["interval95"] or (None, None)
        numbers = [scores["pass_at_1"]["value"], low, high]
        writer.writerow(
            [
                scores["model"],
                scores["benchmark"],
                *(None if number is None else round(number, digits) for number in numbers),
                scores["num_problems"],
                scores["num_samples"],
                round(scores["truncation_rate"], digits),
            ]
        )
    write_bytes(output / "scores.csv", text.getvalue().encode())
