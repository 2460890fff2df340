"""`redistill export RUN --to ENGINE -o FOLDER`: train elsewhere on the same problems and rewards."""

import argparse
from pathlib import Path

from redistill.cli.common import add_code, add_run, plain

ENGINES = ("trl", "verl", "prime-rl", "tinker")

TEXT = """\
Export a run to a trainer that scales further: its prompts, its rewards and, where the trainer takes it, its objective.

The folder holds prompts.parquet, reward.py (the recipe's verifier and rewards), a ready configuration or script, loss.py (the
stage's objective) for verl, prime-rl and tinker, and README.md with the commands. TRL takes no loss of ours: the stage's
objective must be grpo or reinforce there.

examples:
  redistill export runs/quickstart --to verl -o elsewhere --stage redi
  redistill export runs/grpo-quickstart --to trl -o trl-run
"""


def add(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    add_run(parser)
    parser.add_argument("--to", required=True, choices=ENGINES, help="the trainer")
    parser.add_argument(
        "-o", "--out", required=True, type=Path, metavar="FOLDER", help="where it is written; a new folder"
    )
    parser.add_argument(
        "--stage", metavar="NAME", help="the stage (default: the last one with rollouts, or the last one)"
    )
    parser.add_argument(
        "--loss",
        choices=("ours", "engine"),
        default="ours",
        help="the stage's objective, or the trainer's own loss (default: ours)",
    )
    add_code(parser)


def do(options: argparse.Namespace) -> None:
    """Write the folder and say where it is."""
    from redistill.tools.export import export

    folder = export(
        options.run, to=options.to, out=options.out, stage=options.stage, loss=options.loss,
        code=[Path(file) for file in options.code],
    )  # fmt: skip
    print(plain(f"exported: {folder.resolve()}"))
    print(plain(f"how to go on: {(folder / 'README.md').resolve()}"))
