"""`redistill run RECIPE`: from traces to report."""

import argparse
import json
import os

from redistill.cli.common import add_json, add_recipe, plain
from redistill.cli.scores import print_scores
from redistill.errors import OperatorError
from redistill.tools.scores import score_table

STAGES = ("corpus", "verify", "select", "train", "evaluate", "report")

TEXT = """\
Run a recipe from traces to report.

The rooms, in order: corpus (read and merge the traces), verify (judge every answer), select (examples and pairs),
train (every stage of the recipe), evaluate (score every student on problems it never saw), report (one HTML page).

Run it again and finished rooms are passed by; change a setting and only what depends on it is made again; kill it
anywhere and it goes on from its last finished shard or checkpoint, to the same result.

examples:
  redistill run quickstart
  redistill run quickstart --name seed1 --set seed=1
  redistill run my.yaml --until select            look at the pairs before training; every pairing compared on paper
  redistill run my.yaml --from train              train again on the same pairs
  redistill run my.yaml --executor ray            the rooms before training on a Ray cluster (RAY_ADDRESS, or one made here)
  accelerate launch -m redistill run my.yaml      the same on several GPUs
"""


def add(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    add_recipe(parser)
    parser.add_argument(
        "--from", dest="start", choices=STAGES, metavar="ROOM", help="make this room and those after it again"
    )
    parser.add_argument("--until", choices=STAGES, metavar="ROOM", help="stop after this room")
    parser.add_argument(
        "--executor", choices=("local", "ray"), help="where corpus, verify and select are done (execution.executor)"
    )
    parser.add_argument("--workers", type=int, metavar="N", help="processes of these rooms (execution.workers)")
    add_json(parser, "the scores")


def do(options: argparse.Namespace) -> None:
    """Run the recipe, then print its scores and where its report is."""
    from redistill.config.parsing import load_recipe

    chosen = {"executor": options.executor, "workers": options.workers}
    short = [f"execution.{key}={value}" for key, value in chosen.items() if value is not None]
    recipe = load_recipe(options.recipe, [*options.set, *short], options.name)
    if options.start and options.until and STAGES.index(options.start) > STAGES.index(options.until):
        raise OperatorError(f"--from {options.start} comes after --until {options.until}; nothing would be run.")
    from redistill.pipeline.run import run

    folder = run(recipe, runs_dir=options.runs_dir, start=options.start, until=options.until)
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
