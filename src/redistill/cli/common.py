"""What several verbs share: arguments."""

import argparse
from pathlib import Path
from typing import Literal

from redistill.io.progress import LEVELS
from redistill.safety.terminal import plain as plain


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """The arguments that name a recipe and its run folder: RECIPE, --set, --name, --runs-dir."""
    parser.add_argument("recipe", metavar="RECIPE", help="a YAML file, or a recipe that ships, such as quickstart")
    parser.add_argument(
        "--set", action="append", default=[], metavar="a.b=value", help="change one setting (repeatable)"
    )
    add_code(parser)
    parser.add_argument("--name", help="name of the run's folder (default: the recipe's name)")
    parser.add_argument(
        "--runs-dir", default="runs", metavar="DIR", type=Path, help="where run folders are (default: runs)"
    )


def add_code(parser: argparse.ArgumentParser) -> None:
    """--code, which `main` hears before the verb begins: files of the person's own whose functions may be named."""
    parser.add_argument(
        "--code",
        action="append",
        default=[],
        metavar="FILE.py",
        help="import this file, so that FILE:FUNCTION names a plug-in of yours (repeatable)",
    )


def add_code_change(parser: argparse.ArgumentParser) -> None:
    """--keep and --remake: what becomes of costly results where only code has changed since."""
    changed = parser.add_mutually_exclusive_group()
    changed.add_argument(
        "--keep", action="store_true", help="use trained students and paid answers though code has changed since"
    )
    changed.add_argument("--remake", action="store_true", help="make them again where code has changed since")


def on_code_change(options: argparse.Namespace) -> Literal["ask", "keep", "remake"]:
    """What --keep and --remake say."""
    return "keep" if options.keep else "remake" if options.remake else "ask"


def add_run(parser: argparse.ArgumentParser) -> None:
    """The argument that names a finished run."""
    parser.add_argument("run", metavar="RUN", type=Path, help="a run's folder, such as runs/quickstart")


def add_json(parser: argparse.ArgumentParser, what: str) -> None:
    """--json, which prints `what` for programs."""
    parser.add_argument("--json", action="store_true", help=f"print {what} as JSON")


def add_log_level(parser: argparse.ArgumentParser) -> None:
    """--log-level, which `main` hears before the verb begins; every verb has it."""
    parser.add_argument(
        "--log-level",
        choices=LEVELS,
        help="what is said on stderr: error leaves out progress, info and debug add what the libraries log, debug also the "
        "traceback of a mistake",
    )


def numbers(text: str) -> list[float]:
    """Numbers parted by commas: "1e-4,3e-4" -> [0.0001, 0.0003]."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not numbers parted by commas, such as 1e-4,3e-4") from error
