"""`redistill export RUN --to ENGINE -o FOLDER`: train elsewhere, or take the student elsewhere."""

import argparse
from pathlib import Path

from redistill.cli.common import add_code, add_run, plain

ENGINES = ("trl", "verl", "prime-rl", "tinker")
LAYOUTS = ("am",)
PROGRAMS = ("hub", "gguf", "lm-eval", "lighteval", "vllm")  # take the student

TEXT = """\
Export a run to a trainer that scales further, or its student to the hub, llama.cpp, vLLM or another harness.

A trainer gets the run's prompts, its rewards and, where the trainer takes it, its objective.

The folder holds prompts.parquet, reward.py (the recipe's verifier and rewards), a ready configuration or script, loss.py (the
stage's objective) for verl, prime-rl and tinker, and README.md with the commands. TRL takes no loss of ours: the stage's
objective must be grpo or reinforce there.

--to am writes the examples that select kept in the layout of AM-DeepSeek-R1-Distilled: am.jsonl.zst, am.parquet, features.py and
manifest.json with checksums and what each stage dropped.

hub, gguf, lm-eval, lighteval and vllm take a stage's student instead: the folder holds it as the program wants it (a model card and
files, one .gguf, a task with the held-out problems) and README.md with the exact commands. Nothing is uploaded or started.

examples:
  redistill export runs/quickstart --to verl -o elsewhere --stage redi
  redistill export runs/grpo-quickstart --to trl -o trl-run
  redistill export runs/am-pipeline --to am -o am-kept
  redistill export runs/mine --to gguf -o mine-gguf
"""


def add(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    add_run(parser)
    parser.add_argument(
        "--to",
        required=True,
        metavar="WHERE",
        choices=(*ENGINES, *LAYOUTS, *PROGRAMS),
        help=f"the trainer ({', '.join(ENGINES)}), a layout of data ({', '.join(LAYOUTS)}), or the program that takes the student "
        f"({', '.join(PROGRAMS)})",
    )
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
