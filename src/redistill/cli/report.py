"""`redistill report RUN`: the page, from files alone."""

import argparse
import json

from redistill.cli.common import add_json, add_run, plain

TEXT = """\
Write report.html of a run again, from its files alone, and print where it is.

example:
  redistill report runs/quickstart
"""


def add(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    add_run(parser)
    add_json(parser, "the path")


def do(options: argparse.Namespace) -> None:
    """Write the page and print where it is."""
    from redistill.report import write_report

    path = write_report(options.run).resolve()
    print(json.dumps({"report": str(path)}) if options.json else plain(str(path)))
