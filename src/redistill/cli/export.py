"""`redistill export RUN --to ENGINE -o FOLDER`: train elsewhere on the same problems and rewards."""

import argparse
from pathlib import Path

from redistill.cli.common import add_code, add_run, plain

ENGINES = ("trl", "verl", "prime-rl", "tinker")
LAYOUTS = ("am",)

TEXT = """\
Export a run to a trainer that scales further: its prompts, its rewards and, where the trainer takes it, its objective.

The folder holds prompts.parquet, reward.py (the recipe's verifier and rewards), a ready configuration or script, loss.py (the
stage's objective) for verl, prime-rl and tinker, and README.md with the commands. TRL takes no loss of ours: the stage's
objective must be grpo or reinforce there.

--to am writes the examples that select kept in the layout of AM-DeepSeek-R1-Distilled: am.jsonl.zst, am.parquet, features.py and
manifest.json with checksums and what each stage dropped.

examples:
  redistill export runs/quickstart --to verl -o elsewhere --stage redi
  redistill export runs/grpo-quickstart --to trl -o trl-run
  redistill export runs/am-pipeline --to am -o am-kept
"""


def add(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    add_run(parser)
    parser.add_argument("--to", required=True, choices=(*ENGINES, *LAYOUTS), help="the trainer, or a layout of data")
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
