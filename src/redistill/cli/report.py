"""`redistill report RUN`: the page, from files alone."""

import argparse
import json
from pathlib import Path

from redistill.cli.common import add_json, add_run, plain
from redistill.errors import OperatorError

TEXT = """\
Write report.html of a run again, from its files alone, and print where it is.

With --tokens both students of the last stage on pairs are loaded, and every token of the pairs shown is coloured by what
training did to it; `redistill run` does so by itself.

examples:
  redistill report runs/quickstart
  redistill report runs/quickstart --tokens
"""


def add(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    add_run(parser)
    parser.add_argument(
        "--tokens", action="store_true", help="measure what training did to each token (loads the models)"
    )
    add_json(parser, "the path")


def do(options: argparse.Namespace) -> None:
    """Write the page and print where it is."""
    from redistill.report import write_report

    if options.tokens:
        _measure(options.run)
    path = write_report(options.run).resolve()
    print(json.dumps({"report": str(path)}) if options.json else plain(str(path)))


def _measure(folder: Path) -> None:
    recipe = folder / "recipe.yaml"
    if not recipe.exists():
        raise OperatorError(
            f"--tokens: {recipe} is not there, so the students of this run are not known; leave it out."
        )
    from redistill.recipes.token_changes import write_token_changes
    from redistill.settings import load_recipe

    if write_token_changes(folder, load_recipe(recipe)) is None:
        raise OperatorError(
            f"--tokens: no stage of {folder} was trained on pairs, or its page shows none; leave it out."
        )
