"""`redistill recipes`: the recipes that ship, a line each."""

import argparse
import json
import textwrap

from redistill.cli.common import add_json, plain

TEXT = """\
List the recipes that ship with redistill, a line each; `redistill run NAME` runs one,
and `redistill datafree NAME` those of image classifiers (cmi-...).

examples:
  redistill recipes
  redistill recipes --json
"""
WIDTH = 120


def add(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    add_json(parser, "names and lines")


def do(options: argparse.Namespace) -> None:
    """Print them."""
    from redistill.tools.recipes import shipped

    found = shipped()
    if options.json:
        print(json.dumps(found, indent=2))
        return
    margin = max(map(len, found)) + 2
    for name, line in found.items():
        lines = textwrap.wrap(line, WIDTH - margin, break_on_hyphens=False)
        print(plain(f"{name.ljust(margin)}{f'{chr(10)}{chr(32) * margin}'.join(lines)}"))
