"""`redistill show PATH [N]`: one record, readably."""

import argparse
import json
from pathlib import Path

from redistill.cli.common import add_json, plain

TEXT = """\
Print record N (0 is the first) of any file the tool wrote, readably: a problem with its traces and their verdicts, a
pair with chosen and rejected, an example, a dropped record, a line of metrics.jsonl, a ledger, scores.

examples:
  redistill show runs/quickstart/verify/groups/part-00000.parquet
  redistill show runs/quickstart/select/pairs/part-00000.parquet 3
  redistill show runs/quickstart/train/redi/metrics.jsonl -1
  redistill show runs/quickstart/corpus/ledger.json
"""


def add(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument("path", metavar="PATH", type=Path, help="a .parquet, .jsonl or .json of a run")
    parser.add_argument(
        "number", metavar="N", nargs="?", type=int, default=0, help="which record, from 0; negative from the end"
    )
    add_json(parser, "the record")


def do(options: argparse.Namespace) -> None:
    """Print the record."""
    from redistill.tools.show import one_record, readable

    record = one_record(options.path, options.number)
    print(json.dumps(record, indent=2, ensure_ascii=True, default=str) if options.json else plain(readable(record)))
