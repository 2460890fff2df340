"""`redistill datafree RECIPE`: a trained classifier is inverted into images, and a student learns from them."""

import argparse
import json

from redistill.cli.common import add_json, add_recipe, plain

TEXT = """\
Distil an image classifier without its data (contrastive model inversion, CMI).

A trained classifier is inverted into a transfer set: a generator makes images that it is sure of, whose batch statistics are
those it has stored, and that differ from each other. A student is distilled from them. A recipe has one or more arms, each a
transfer set and a student; real images are needed only to score students.

Stop it, kill it, run the same command again, and it goes on to the same result; finished arms are skipped.

examples:
  redistill datafree cmi-digits
  redistill datafree cmi-digits --set seed=1 --name seed1
  redistill datafree mine.yaml --code my_models.py      the teacher is a function of your own
"""


def add(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    add_recipe(parser)
    parser.add_argument("--overwrite", action="store_true", help="make again what other settings or code have made")
    add_json(parser, "the scores")


def do(options: argparse.Namespace) -> None:
    """Run the recipe, then print its arms and where its report is."""
    from redistill.datafree.settings import load
    from redistill.tools.datafree import run_datafree, summary

    recipe = load(options.recipe, options.set, options.name)
    folder = run_datafree(recipe, runs_dir=options.runs_dir, overwrite=options.overwrite)
    found = summary(folder)
    if options.json:
        print(json.dumps(found, indent=2))
        return
    if "accuracy" in found["teacher"]:
        teacher = found["teacher"]
        print(plain(f"teacher: {100 * teacher['accuracy']:.1f}% right of {teacher['n']:,} test images"))
    for name, arm in found["arms"].items():
        right = f"{100 * arm['accuracy']:.1f}% right, " if "accuracy" in arm else ""
        varied = f", diversity {arm['diversity']:.3f}" if arm["diversity"] is not None else ""
        print(plain(f"{name}: {right}{arm['images']:,} images{varied}"))
    print(plain(f"\nreport: {(folder / 'report.html').resolve()}"))
