"""`redistill audit FILE...`: what files of traces hold, before anything is trained on them."""

import argparse
import json
from pathlib import Path

from redistill.cli.common import add_json, plain
from redistill.io.progress import say

TEXT = """\
Look at files of traces without training: verdicts against labels, gold answers, leaks, duplicates, lengths, pairs.

Any file that `redistill init` recognises is read. Written are a page (audit.html), a row per trace (verdicts.parquet) and the
counts (audit.json). The files themselves are only read. Of huge files the first rows are read and some problems are judged,
drawn by their hash; the page says so. Benchmarks are looked for where the hub's cache holds them; --benchmark all fetches
the known ones.

examples:
  redistill audit my_traces.jsonl
  redistill audit traces/*.parquet --benchmark all --out audits/traces
  redistill audit my_traces.jsonl --benchmark file:exam.jsonl --json
"""


def add(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument("files", metavar="FILE", nargs="+", help="a file, a folder of files or a glob")
    parser.add_argument(
        "--out", metavar="DIR", type=Path, help="where to write (default: the first file's name with -audit)"
    )
    parser.add_argument("--split", metavar="S", help="the split of a folder to read (default: train)")
    parser.add_argument(
        "--benchmark",
        action="append",
        default=[],
        metavar="NAME",
        help="look for its problems: a known name, file:PATH or all (repeatable; default: the known ones in the hub's cache)",
    )
    parser.add_argument("--traces", type=int, metavar="N", help="judge at most N traces (default: 20000; 0: all)")
    parser.add_argument("--rows", type=int, metavar="N", help="read at most N rows (default: 200000; 0: all)")
    parser.add_argument(
        "--characters", type=int, metavar="N", help="read at most N characters of text (default: 2^30; 0: all)"
    )
    parser.add_argument("--workers", type=int, help="worker processes (default: CPU cores); does not change results")
    add_json(parser, "the counts and the paths")


def do(options: argparse.Namespace) -> None:
    """Audit, then say the result and where the page is."""
    from redistill.tools.audit.audit import audit, limits_of

    found = audit(
        options.files,
        out=options.out,
        split=options.split,
        benchmarks=options.benchmark,
        limits=limits_of(options.traces, options.rows, options.characters, options.workers),
    )
    if options.json:
        print(json.dumps(found, indent=2))
        return
    print(plain(found["sentence"]))
    for note in found["notes"]:
        print(plain(f"- {note}"))
    say(f"written  {found['page']}, {found['verdicts_file']}")
