"""`redistill run RECIPE`: from traces to report."""

import argparse
import json
import os
from pathlib import Path

from redistill.cli.common import add_code_change, add_json, add_recipe, on_code_change, plain
from redistill.cli.scores import print_scores
from redistill.tools.scores import score_table

TEXT = """\
Run a recipe from traces to report.

The stages, in order: corpus (read and merge the traces), verify (judge every answer), select (examples and pairs),
train (every student of the recipe), evaluate (score every student on problems it never saw), report (one HTML page).

Run it again and finished stages are skipped; change a setting and only what depends on it is made again; kill it
anywhere and it goes on from its last finished shard or checkpoint, to the same result. What a changed setting replaces
waits in the run's trash folder until the new result is whole. Where only the code has changed since a student was
trained or an answer was paid for, you decide: --keep or --remake.

examples:
  redistill run quickstart
  redistill run quickstart --name seed1 --set seed=1
  redistill run my.yaml --until select            look at the pairs before training; every pairing compared offline
  redistill run my.yaml --from train              train again on the same pairs
  redistill run my.yaml --name b --set train.redi.learning_rate=1e-6 --from-run runs/a    corpus, verdicts, pairs from a
  redistill run my.yaml --executor ray            the stages before training on a Ray cluster (RAY_ADDRESS, or one made here)
  accelerate launch -m redistill run my.yaml      the same on several GPUs
"""


def add(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    add_recipe(parser)
    parser.add_argument("--from", dest="start", metavar="STAGE", help="make this stage and those after it again")
    parser.add_argument("--until", metavar="STAGE", help="stop after this stage")
    add_code_change(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace another recipe's finished run of that name")
    parser.add_argument(
        "--from-run", metavar="DIR", type=Path, help="take the finished stages of another run where they fit"
    )
    parser.add_argument(
        "--executor", choices=("local", "ray"), help="where corpus, verify and select are done (execution.executor)"
    )
    parser.add_argument("--workers", type=int, metavar="N", help="processes of these stages (execution.workers)")
    add_json(parser, "the scores")


def do(options: argparse.Namespace) -> None:
    """Run the recipe, then print its scores and where its report is."""
    from redistill.config.parsing import load_recipe
    from redistill.config.yaml_text import recipe_path

    chosen = {"executor": options.executor, "workers": options.workers}
    short = [f"execution.{key}={value}" for key, value in chosen.items() if value is not None]
    recipe = load_recipe(options.recipe, [*options.set, *short], options.name)
    from redistill.pipeline.run import run

    folder = run(
        recipe, runs_dir=options.runs_dir, start=options.start, until=options.until,
        on_code_change=on_code_change(options), overwrite=options.overwrite,
        from_run=options.from_run, recipe_file=recipe_path(options.recipe),
    )  # fmt: skip
    if int(os.environ.get("RANK", "0")) > 0:
        return
    scored = options.until in (None, "evaluate", "report")
    if options.json:
        table = score_table(folder) if scored else {"run": str(folder), "scores": [], "comparisons": []}
        print(json.dumps(table, indent=2))
    elif (folder / "report.html").exists() and options.until in (None, "report"):
        print_scores(folder)
        print(plain(f"\nreport: {(folder / 'report.html').resolve()}"))
    else:
        if options.until == "select":
            from redistill.io.atomic import read_json
            from redistill.select import table_text

            print(plain(table_text(read_json(folder / "select" / "statistics.json")) + "\n"))
        print(plain(f"stopped after {options.until}: {folder.resolve()}"))
