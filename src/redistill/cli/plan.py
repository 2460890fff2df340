"""`redistill plan RECIPE`: what a run will come to, before any GPU hour."""

import argparse
import json

from redistill.cli.common import add_json, add_recipe

TEXT = """\
Say what a run will come to before it costs anything: rows, tokens, steps, memory, operations, hours, money, disk.

From the data and the student's config alone, on a CPU; no weight is loaded and nothing is written. Where the run has its
pairs already (`redistill run RECIPE --until select`) rows and steps are counted; else they are estimated from a sample of
problems that walks through the run's own stages, with 95% intervals over problems. Hours and money rest on a utilisation and on
prices that are assumptions; both can be given.

examples:
  redistill plan quickstart
  redistill plan my.yaml --gpu A100-80 --price 1.29 --utilisation 0.4
  redistill plan my.yaml --set train.redi.tokens_per_micro_batch=32768 --json
"""


def add(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    from redistill.model.flops import GPUS

    add_recipe(parser)
    parser.add_argument(
        "--gpu", action="append", metavar="NAME", help=f"one of {', '.join(GPUS)} (repeatable; default: all)"
    )
    parser.add_argument("--price", type=float, metavar="X", help="dollars an hour of one GPU (default: an assumption)")
    parser.add_argument(
        "--utilisation",
        type=float,
        default=0.35,
        metavar="X",
        help="share of the GPU's peak that is reached (default: 0.35)",
    )
    add_json(parser, "everything")


def do(options: argparse.Namespace) -> None:
    """Print the forecast."""
    from redistill.config.parsing import load_recipe
    from redistill.model.flops import GPUS
    from redistill.safety.terminal import plain
    from redistill.tools.estimate.estimate import forecast
    from redistill.tools.estimate.render import text

    found = forecast(
        load_recipe(options.recipe, options.set, options.name),
        runs_dir=options.runs_dir,
        gpus=options.gpu or list(GPUS),
        price=options.price,
        utilisation=options.utilisation,
    )
    print(json.dumps(found, indent=2) if options.json else plain(text(found)))
