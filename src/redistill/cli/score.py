"""`redistill score FILE --with SCORER --out FILE`: scores, spans and notes on any file of traces."""

import argparse
import json
from pathlib import Path

from redistill.cli.common import add_code, add_json, plain
from redistill.io.progress import say

TEXT = """\
Score the traces of a file: which are good, and where they go wrong.

FILE is a file that a source reads, by default `traces`: JSON lines with `problem` and `generations`. --with is an entry of a
recipe's `score`: a name, or a table with options. The file that comes back is one of traces with `scores`, `spans` and
`notes`, and a recipe reads it as it is. What a paid scorer costs is printed before its first call. Stop it, kill it, run the same
command again, and it goes on.

examples:
  redistill score traces.jsonl --with '{name: perplexity, model: HuggingFaceTB/SmolLM2-135M}' --out scored.jsonl
  redistill score traces.jsonl --with '{name: label, base_url: "http://127.0.0.1:8000/v1", model: qwen}' --out labelled.jsonl
"""


def add(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument("file", metavar="FILE", type=Path, help="a file of traces, a folder of files or a glob")
    parser.add_argument(
        "--with",
        dest="scorers",
        action="append",
        required=True,
        metavar="SCORER",
        help="who scores, as in a recipe's `score` (repeatable)",
    )
    parser.add_argument("-o", "--out", required=True, metavar="FILE", type=Path, help="where the scored traces go")
    parser.add_argument("--source", default="traces", metavar="NAME", help="reads the file (default: traces)")
    parser.add_argument("--student", metavar="MODEL", help="the student, for scorers that ask for one")
    parser.add_argument("--template", default="plain", metavar="NAME", help="how a problem is asked (default: plain)")
    parser.add_argument("--chat", action="store_true", help="in the chat template of the scoring model")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of scorers that draw (default: 0)")
    add_code(parser)
    add_json(parser, "the counts")


def do(options: argparse.Namespace) -> None:
    """Score, write, count."""
    from redistill.tools.score_file import score_file, summary, tell_replies

    counts = score_file(
        options.file,
        options.scorers,
        out=options.out,
        source=options.source,
        student=options.student,
        template=options.template,
        chat=options.chat,
        seed=options.seed,
    )
    print(json.dumps(counts, indent=2) if options.json else plain(summary(counts)))
    say(f"written  {options.out}")
    tell_replies(options.out)
