"""`redistill doctor MODEL`: is what the student is taught what you mean to teach it?"""

import argparse
import json
import os
import sys
from pathlib import Path

from redistill.cli.common import add_code, add_json, plain
from redistill.errors import OperatorError

TEXT = """\
Show the rows that training would see, what carries loss in colour, and look for the usual traps of tokens.

Checked: the chat template keeps the question, the thinking and the answer, and opens the assistant's turn; no space of the
tokenizer's own before a completion; one opening token; the end token is there, carries loss and is the template's own; the
prompt's tokens are a prefix of the whole; <think> is opened once; evaluation asks as training taught; the context is long
enough, or the edit that makes it so. What fails is one sentence each, and exit code 2. Notes are no failures: a system
message of the template's own, thinking that it deletes from past turns, white space that it trims.

With --recipe its prompts, lengths and first traces are looked at; MODEL then defaults to the recipe's student. In a pipe
[...] stands for the colour.

examples:
  redistill doctor Qwen/Qwen2.5-Math-1.5B --recipe qwen2.5-math-1.5b-openr1
  redistill doctor --recipe my.yaml --rows 5
  redistill doctor runs/quickstart/train/redi/model --json
"""


def add(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument("model", metavar="MODEL", nargs="?", help="a folder, hub id, .gguf file or package:NAME")
    parser.add_argument("--recipe", metavar="RECIPE", type=Path, help="whose prompts, lengths and data to look at")
    parser.add_argument(
        "--set", action="append", default=[], metavar="a.b=value", help="change one setting of the recipe (repeatable)"
    )
    add_code(parser)
    parser.add_argument("--rows", type=int, default=2, metavar="N", help="rows to show (default: 2)")
    add_json(parser, "the checks and rows")


def do(options: argparse.Namespace) -> None:
    """Show the rows; OperatorError with a sentence for each check that fails."""
    if options.model is None and options.recipe is None:
        raise OperatorError("doctor: name a MODEL, or a recipe with --recipe.")
    if options.set and options.recipe is None:
        raise OperatorError("doctor: --set changes a recipe; name one with --recipe.")
    from redistill.config.parsing import load_recipe
    from redistill.config.tables import StudentSettings

    recipe = load_recipe(options.recipe, options.set) if options.recipe else None
    student = recipe.student if recipe else StudentSettings(model=options.model)
    if recipe and options.model is not None:
        student = student.model_copy(update={"model": options.model, "from_config": None, "alphabet": None})
    from redistill.tools.doctor import as_json, examine, picture

    found = examine(student, recipe, num_rows=max(0, options.rows))
    if options.json:
        print(json.dumps(as_json(found), indent=2))
    else:
        colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        print(picture(found, colour=colour, clean=plain))
    sys.stdout.flush()  # the rows come before the sentences on stderr
    if found.sentences:
        raise OperatorError("\n  ".join(found.sentences))
