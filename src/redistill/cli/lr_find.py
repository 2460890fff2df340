"""`redistill lr-find RECIPE`: how high may the learning rate be?"""

import argparse
import json

from redistill.cli.common import add_code_change, add_json, add_recipe, numbers, on_code_change, plain
from redistill.errors import OperatorError

TEXT = """\
Find how high a stage's learning rate may be: short trials over a grid, each ended at the guard's first alarm.

Every trial starts from the stage's start student on its own pairs (made first where they are missing), warms up as the
stage does, then holds its rate. A rate is good when the guard saw no warning in all of its steps; rates are tried from the
smallest, and larger ones than an alarmed one are not tried. What the states mean is in docs/guard.md.

examples:
  redistill lr-find quickstart --stage redi --weights 0.5,0.8,1.0 --rates 3e-5,1e-4,3e-4
  redistill lr-find my.yaml --stage dpo --rates 1e-7,3e-7,1e-6 --steps 200
"""


def add(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    add_recipe(parser)
    parser.add_argument("--stage", required=True, help="the stage of the recipe to try")
    parser.add_argument("--rates", required=True, type=numbers, metavar="R,R,..", help="learning rates to try")
    parser.add_argument(
        "--weights", default=(), type=numbers, metavar="W,W,..", help="values of the objective's rejected_weight"
    )
    parser.add_argument("--steps", default=100, type=int, metavar="N", help="optimizer steps of a trial (default: 100)")
    add_code_change(parser)
    add_json(parser, "the table")


def do(options: argparse.Namespace) -> None:
    """Run the trials and print their table."""
    from redistill.config.parsing import load_recipe
    from redistill.config.yaml_text import recipe_path

    recipe = load_recipe(options.recipe, options.set, options.name)
    if min(options.rates) <= 0 or options.steps < 1:
        raise OperatorError("lr-find: --rates must be above 0 and --steps at least 1.")
    from redistill.tools.lr_find import lr_find, table_text

    found = lr_find(
        recipe,
        runs_dir=options.runs_dir,
        stage=options.stage,
        weights=options.weights,
        rates=options.rates,
        steps=options.steps,
        recipe_file=str(recipe_path(options.recipe).resolve()),
        on_code_change=on_code_change(options),
    )
    print(json.dumps(found, indent=2) if options.json else plain(table_text(found)))
