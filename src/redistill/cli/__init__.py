"""The door: one command per thing a user wants, one file per command. The user's mistakes are one sentence and exit code 2.

redistill run quickstart --set seed=1
redistill show runs/quickstart/select/pairs/part-00000.parquet 3

A verb's file has TEXT (its help), add(parser) (its arguments) and do(options); heavy imports wait inside `do`, so that
--help answers at once.
"""

import argparse
import io
import os
import sys
import traceback
from collections.abc import Sequence
from types import ModuleType
from typing import Any, ClassVar, NoReturn

from redistill import __version__
from redistill.cli import (
    audit,
    compare,
    datafree,
    doctor,
    evaluate,
    export,
    init,
    lr_find,
    plan,
    recipes,
    regrade,
    report,
    rollout,
    run,
    score,
    scores,
    serve,
    show,
    sweep,
    validate,
    verify,
    why,
)
from redistill.cli.common import add_log_level
from redistill.cli.help_text import Formatter, first_sentence, slip
from redistill.errors import OnlyCounted, OperatorError
from redistill.io.atomic import sentence
from redistill.io.progress import set_level
from redistill.safety.terminal import guard, plain

ABOUT = """\
redistill: right and wrong teacher traces in, a better student and an honest report out.

A recipe (a YAML file) says where the traces are, who judges them, which become examples and pairs, how the student is
trained in stages, and what it is scored on. `redistill run` walks through the stages
corpus > verify > select > train > evaluate > report and leaves one folder with everything in it.
"""

VERBS: dict[str, ModuleType] = {
    "run": run,
    "evaluate": evaluate,
    "show": show,
    "why": why,
    "scores": scores,
    "compare": compare,
    "regrade": regrade,
    "plan": plan,
    "lr-find": lr_find,
    "sweep": sweep,
    "serve": serve,
    "doctor": doctor,
    "recipes": recipes,
    "validate": validate,
    "init": init,
    "audit": audit,
    "verify": verify,
    "score": score,
    "rollout": rollout,
    "datafree": datafree,
    "export": export,
    "report": report,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, do the verb, exit 0, or 2 with one sentence on stderr."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without é shows \xe9 instead of a traceback
    options = _parser().parse_args(arguments)
    guard()
    set_level(options.log_level)
    # a thread pool of the tokenizers' own does not survive a fork
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        if files := getattr(options, "code", None):
            from redistill.config.user_plugins import load_code

            for file in files:
                load_code(file)
        VERBS[options.verb].do(options)
    except OnlyCounted as counted:
        print(f"redistill: {plain(str(counted))}", file=sys.stderr)
    except OperatorError as error:
        if options.log_level == "debug":
            print(plain("".join(traceback.format_exception(error))), file=sys.stderr)
        print(f"redistill: {plain(str(error))}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # `| head` closed the pipe: no complaint at exit
    except OSError as error:
        said = sentence(error)
        if said is None:  # none of those that a user can mend
            raise
        print(f"redistill: {plain(said)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("\nredistill: stopped; run the same command again to go on from here.", file=sys.stderr)
        sys.exit(130)


class _Parser(argparse.ArgumentParser):
    """argparse, which says back what it does not know, shown as plain text."""

    verbs: ClassVar[dict[str, argparse.ArgumentParser]] = {}

    def _print_message(self, message: str, file: Any = None) -> None:
        super()._print_message(plain(message), file)

    def error(self, message: str) -> NoReturn:
        """One sentence, with the nearest word that is known, and exit code 2."""
        self.exit(2, f"redistill: {slip(message, self.verbs, sys.argv[1:])}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser("redistill", description=ABOUT, formatter_class=Formatter)
    parser.add_argument("--version", action="version", version=f"redistill {__version__}")
    verbs = parser.add_subparsers(metavar="VERB", dest="verb", required=True)
    for name, verb in VERBS.items():
        short = first_sentence(verb.TEXT).replace("%", "%%")
        _Parser.verbs[name] = verbs.add_parser(name, help=short, description=verb.TEXT, formatter_class=Formatter)
        verb.add(_Parser.verbs[name])
        add_log_level(_Parser.verbs[name])
    return parser
