"""`redistill why ID RUN`: what became of one record, and why."""

import argparse
import dataclasses
import json

from redistill.cli.common import add_json, add_run, plain

TEXT = """\
Print the way of one trace, pair or problem through every stage: kept or dropped, by whom, for which reason, under which setting.

ID is a trace (t...), a pair (q...), a problem (p...) or a row that the corpus refused (FILE:ROW), as `redistill show`, the
report and the `dropped` files print them; its beginning is enough where no other record's id begins so.

examples:
  redistill why t3fa91c runs/quickstart
  redistill why p77aa0 runs/quickstart --json
"""


def add(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument("id", metavar="ID", help="the id of a trace, a pair or a problem, or its beginning")
    add_run(parser)
    add_json(parser, "the steps")


def do(options: argparse.Namespace) -> None:
    """Print the steps."""
    from redistill.tools.lineage import as_text, way

    steps = way(options.run, options.id)
    print(json.dumps([dataclasses.asdict(step) for step in steps], indent=2) if options.json else plain(as_text(steps)))
