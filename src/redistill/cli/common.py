"""What several verbs share: arguments, and text that cannot drive a terminal."""

import argparse
from pathlib import Path


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """The arguments that name a recipe and its run folder: RECIPE, --set, --name, --runs-dir."""
    parser.add_argument("recipe", metavar="RECIPE", help="a YAML file; those that ship are in recipes/")
    parser.add_argument(
        "--set", action="append", default=[], metavar="a.b=value", help="change one setting (repeatable)"
    )
    parser.add_argument("--name", help="name of the run's folder (default: the recipe's name)")
    parser.add_argument(
        "--runs-dir", default="runs", metavar="DIR", type=Path, help="where run folders are (default: runs)"
    )


def add_run(parser: argparse.ArgumentParser) -> None:
    """The argument that names a finished run."""
    parser.add_argument("run", metavar="RUN", type=Path, help="a run's folder, such as runs/quickstart")


def add_json(parser: argparse.ArgumentParser, what: str) -> None:
    """--json, which prints `what` for programs."""
    parser.add_argument("--json", action="store_true", help=f"print {what} as JSON")


def numbers(text: str) -> list[float]:
    """Numbers parted by commas: "1e-4,3e-4" -> [0.0001, 0.0003]."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not numbers parted by commas, such as 1e-4,3e-4") from error


def plain(text: str) -> str:
    """Text that cannot drive the terminal: control and bidirectional characters are shown as \\x1b, \\u202e."""
    return "".join(c if c in "\n\t" or c.isprintable() else c.encode("unicode_escape").decode() for c in text)
