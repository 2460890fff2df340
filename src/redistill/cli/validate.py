"""`redistill validate RECIPE`: every mistake of a recipe at once."""

import argparse
import json
import sys

from redistill.cli.common import add_code, add_json, plain
from redistill.errors import OperatorError

TEXT = """\
List every mistake of a recipe at once, or say that it is fine; nothing is read through, fetched or written. Of a recipe that
is fine it is said what its sources leave out of a sample of the rows: columns, splits, rows with a reason.

Looked at: keys, types, plug-ins and their options, files, stages that name stages, what objectives and modifiers need, the
student's tokens and context. Exit code 2 where there is a mistake. What lies on the hub is left alone.

--schema prints the JSON schema of recipes, for editors. Those that ship begin with
  # yaml-language-server: $schema=../docs/recipe.schema.json

examples:
  redistill validate my.yaml
  redistill validate my.yaml --set train.redi.learning_rate=1e-6 --json
  redistill validate --schema > recipe.schema.json
"""


def add(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument(
        "recipe", metavar="RECIPE", nargs="?", help="a YAML file; or a recipe that ships, such as quickstart"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="a.b=value", help="change one setting (repeatable)"
    )
    add_code(parser)
    parser.add_argument("--schema", action="store_true", help="print the JSON schema of recipes and stop")
    add_json(parser, "the mistakes")


def do(options: argparse.Namespace) -> None:
    """Print what is wrong; OperatorError where anything is."""
    if options.schema:
        from redistill.tools.schema import recipe_schema

        print(json.dumps(recipe_schema(), indent=1))
        return
    if options.recipe is None:
        raise OperatorError("validate: name a RECIPE, or --schema.")
    from redistill.tools.validate import mistakes, notes

    found = mistakes(options.recipe, options.set)
    noted = [] if found else notes(options.recipe, options.set)
    if options.json:
        print(json.dumps({"recipe": options.recipe, "fine": not found, "mistakes": found, "notes": noted}, indent=2))
        sys.exit(2 if found else 0)
    if found:
        count = "one mistake" if len(found) == 1 else f"{len(found)} mistakes"
        raise OperatorError("\n  ".join([f"{options.recipe} has {count}:", *found]))
    for note in noted:
        print(plain(f"note: {note}"))
    print(plain(f"{options.recipe} is fine"))
