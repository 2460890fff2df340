"""`redistill sweep SWEEP.yaml`: a grid of trials over one recipe, with seeds and a control."""

import argparse
import json
from pathlib import Path

from redistill.cli.common import add_code_change, add_json, on_code_change, plain
from redistill.errors import OperatorError

TEXT = """\
Run a grid of trials over one recipe: named variants, axes (dotted settings) and seeds, several at a time.

What trials have in common (corpus, verdicts, pairs, an SFT student, a reference's log-probs) is made once. Killed in any way,
the same command goes on and repeats nothing that is finished. It leaves sweep.json, table.md and report.html: for every point
n, seeds, the mean with a t-interval over seeds, and the difference from the named control, paired by problem. With `halving` in
the file the worse points end early, by the guard's probe on dev problems. The file's settings: docs/sweep.md.

examples:
  redistill sweep experiments/quickstart-kit/weights.yaml --workers 2
  redistill sweep my-sweep.yaml --set 'seeds=[0, 1]' --name try --dry-run
"""


def add(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument("sweep", metavar="SWEEP", help="a YAML file that names a recipe and what varies")
    parser.add_argument(
        "--set", action="append", default=[], metavar="a.b=value", help="change one setting of the sweep (repeatable)"
    )
    parser.add_argument("--name", help="name of the sweep's folder (default: the sweep's name)")
    parser.add_argument(
        "--runs-dir", default="runs", metavar="DIR", type=Path, help="where run folders are (default: runs)"
    )
    parser.add_argument("--workers", type=int, metavar="N", help="trials at a time (default: the cores at hand)")
    add_code_change(parser)
    parser.add_argument("--dry-run", action="store_true", help="list the trials and stop")
    add_json(parser, "the content of sweep.json")


def do(options: argparse.Namespace) -> None:
    """Run the trials and print their table."""
    if options.workers is not None and options.workers < 1:
        raise OperatorError("sweep: --workers must be 1 or more.")
    from redistill.io.executors import cores
    from redistill.tools.sweep.grid import make_trials, read_sweep

    sweep = read_sweep(options.sweep, options.set, options.name)
    if options.dry_run:
        print(plain("\n".join(trial.id for trial in make_trials(sweep))))
        return
    from redistill.tools.sweep.sweep import run_sweep
    from redistill.tools.sweep.table import table_text

    found = run_sweep(
        sweep, runs_dir=options.runs_dir, workers=options.workers or cores(), on_code_change=on_code_change(options)
    )
    print(json.dumps(found, indent=2) if options.json else plain(table_text(found)))
    if not options.json:
        print(plain(f"{options.runs_dir / sweep.name}/report.html"))
