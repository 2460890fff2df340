"""`redistill verify FILE`: verdicts on any file of gold answers and predictions."""

import argparse
import json
from pathlib import Path
from typing import Any

from redistill.cli.common import add_code, add_json, plain
from redistill.io.progress import say

TEXT = """\
Judge any file of gold answers and predictions, row by row: .jsonl, .jsonl.gz, .jsonl.zst or .parquet.

A prediction is a completion, in which an answer must be anchored (a box, "the answer is", ...); with --bare it is the answer
itself. Printed are the counts by outcome; --out writes the rows with four columns more for each verifier: NAME_outcome,
NAME_reason, NAME_extracted and NAME_version. Nothing a row holds can hang or kill the run.

examples:
  redistill verify answers.jsonl --gold answer --prediction response
  redistill verify answers.parquet --gold gold --prediction short --bare --verifier cascade --verifier exact --out judged.jsonl.gz
"""


def add(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument("file", metavar="FILE", type=Path, help="a file, a folder of files or a glob")
    parser.add_argument("--gold", required=True, metavar="COL", help="the column of the gold answer")
    parser.add_argument("--prediction", required=True, metavar="COL", help="the column of the completion")
    parser.add_argument("--bare", action="store_true", help="predictions are bare answers, not completions")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the rows with their verdicts here")
    parser.add_argument("--verifier", action="append", metavar="NAME", help="who judges (repeatable; default: cascade)")
    add_code(parser)
    parser.add_argument("--workers", type=int, help="worker processes (default: CPU cores); does not change results")
    parser.add_argument("--timeout-seconds", type=float, default=5.0, help="processor time for one answer (default: 5)")
    add_json(parser, "the counts")


def do(options: argparse.Namespace) -> None:
    """Judge, write, count."""
    from redistill.errors import OperatorError
    from redistill.tools.verify_file import verify_file

    if options.timeout_seconds <= 0 or (options.workers is not None and options.workers < 1):
        raise OperatorError("verify: --timeout-seconds must be above 0 and --workers at least 1.")
    found = verify_file(
        options.file,
        gold=options.gold,
        prediction=options.prediction,
        verifiers=list(dict.fromkeys(options.verifier or ["cascade"])),
        out=options.out,
        bare=options.bare,
        workers=options.workers,
        timeout_seconds=options.timeout_seconds,
    )
    print(json.dumps(found, indent=2) if options.json else plain(table(found)))
    if options.out:
        say(f"written  {options.out}")
    no_answer = max((counts.get("no_answer", 0) for counts in found["outcomes"].values()), default=0)
    if not options.bare and no_answer * 2 > found["rows"]:
        say(
            f"note     {no_answer} of {found['rows']} predictions hold no anchored answer; if they are bare answers, add --bare"
        )


def table(found: dict[str, Any]) -> str:
    """Outcomes as rows, verifiers as columns, with percent of the rows."""
    names = list(found["outcomes"])
    outcomes = list(dict.fromkeys(word for name in names for word in found["outcomes"][name]))
    lines = ["".join(["outcome".ljust(14), *(name.rjust(20) for name in names)])]
    for word in outcomes:
        counts = [found["outcomes"][name].get(word, 0) for name in names]
        cells = [f"{count:,} ({count / max(found['rows'], 1):.1%})".rjust(20) for count in counts]
        lines.append("".join([word.ljust(14), *cells]))
    lines.append("".join(["rows".ljust(14), *(f"{found['rows']:,}".rjust(20) for _ in names)]))
    lines += [f"unreadable rows, left out: {count:,} {reason}" for reason, count in found["unreadable"].items()]
    return "\n".join(lines)
