"""`redistill scores RUN`: the table of a run's scores."""

import argparse
import json
from pathlib import Path

from redistill.cli.common import add_json, add_run, plain
from redistill.tools.scores import score_table

TEXT = """\
Print the scores of a run: pass@1 of every student with both standard errors, and what may be claimed of each pair.

"columns" is the spread over sample columns (std of the n whole-benchmark scores / sqrt(n), as in the REDI paper): how far
other samples on these problems would move the score. "problems" is the spread over problems (as in lighteval): how far
other problems would. They answer different questions and can differ several-fold.

examples:
  redistill scores runs/quickstart
  redistill scores runs/quickstart --json
"""


def add(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    add_run(parser)
    add_json(parser, "the scores")


def do(options: argparse.Namespace) -> None:
    """Print the table."""
    if options.json:
        print(json.dumps(score_table(options.run), indent=2))
    else:
        print_scores(options.run)


def print_scores(folder: Path) -> None:
    """The table on stdout, a line a student and a sentence a comparison; in a run without benchmarks the sentence why not."""
    table = score_table(folder)
    if why := table.get("unscored"):
        print(plain(f"{why[0].upper()}{why[1:]}"))
        return
    lines = [
        f"{'student':<14}{'benchmark':<14}{'pass@1':>8}  {'95% interval':<16}{'SEM columns':>12}{'SEM problems':>14}{'truncated':>11}"
    ]
    for row in table["scores"]:
        one = row["pass_at_1"]
        low, high = one["interval95"] or (float("nan"), float("nan"))
        columns = "-" if one["sem_over_sample_columns"] is None else f"{one['sem_over_sample_columns']:.3f}"
        problems = "-" if one["sem_over_problems"] is None else f"{one['sem_over_problems']:.3f}"
        interval = f"{low:.3f} to {high:.3f}"
        lines.append(
            f"{row['model']:<14}{row['benchmark']:<14}{one['value']:>8.3f}  {interval:<16}{columns:>12}{problems:>14}"
            f"{row['truncation_rate']:>10.1%}"
        )
    lines.append("SEM: standard error of the mean (ddof 1), over the n sample columns and over the problems")
    lines += [f"- {line['benchmark']}: {line['sentence']}" for line in table["comparisons"]]
    print(plain("\n".join(lines)))
