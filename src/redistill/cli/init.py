"""`redistill init`: a recipe for your own traces, after a look at them."""

import argparse
import json
import sys
from pathlib import Path

from redistill.cli.common import add_json, plain
from redistill.errors import OperatorError

TEXT = """\
Look at a file of traces and write a commented recipe that runs on it.

Four questions are asked (the file, the model, the name, where to write the recipe); an argument answers one beforehand.
The layout is recognised from the first rows: every source is tried, under its own column names and the usual others, and
what each of them made of the rows is shown. Of a folder with splits the split train is looked at, or the one that --split
names. No file is overwritten.

examples:
  redistill init
  redistill init --traces my_traces.jsonl --model HuggingFaceTB/SmolLM2-135M-Instruct --name mine --out mine.yaml
"""


def add(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument(
        "--traces", metavar="FILE", help="a .jsonl, .json, .csv, .parquet, .arrow, .tar or .zip, a folder or a glob"
    )
    parser.add_argument("--split", metavar="S", help="the split of a folder to read (default: train)")
    parser.add_argument("--model", metavar="M", help="a folder, hub id, .gguf file or package:NAME")
    parser.add_argument("--name", metavar="N", help="name of the recipe and of its run (default: the file's)")
    parser.add_argument("--out", metavar="FILE", type=Path, help="where to write it (default: NAME.yaml)")
    add_json(parser, "what was seen and where the recipe is")


def do(options: argparse.Namespace) -> None:
    """Ask, look, write, check what was written, and say what to do next."""
    traces = options.traces or _ask("Your traces (file, folder or glob)", None, "--traces FILE")
    from redistill.corpus import SOURCES
    from redistill.corpus.sources.layouts import survey

    found = survey(traces, SOURCES, options.split)
    model = options.model or _ask("The student (folder, hub id, .gguf or package:NAME)", None, "--model M")
    from redistill.tools.init import as_facts, check_usable, choices_for, judge, name_of, table, write_recipe

    asked = not (options.traces and options.model)
    name = options.name or (_ask("Name of the recipe", name_of(traces), "") if asked else name_of(traces))
    out = options.out or Path(_ask("Write it to", f"{name}.yaml", "") if asked else f"{name}.yaml")
    judged = judge(found.best)
    check_usable(found, traces)
    choices = choices_for(found, judged, traces, model)
    out = write_recipe(found, judged, traces, model, name, out, choices)
    if options.json:
        print(json.dumps({"recipe": str(out), **as_facts(found)}, indent=2))
        return
    for line in table(found, judged).splitlines():
        print(plain(line))
    layout = found.best
    for line in filter(None, (choices.power, *(f"warning: {one}" for one in choices.warnings))):
        print(plain(line))
    print(plain(f"{traces} reads as `{layout.source}`: {len(layout.traces)} traces of {layout.groups} problems seen"))
    print(plain(f"wrote {out}; next: redistill doctor --recipe {out}, then redistill run {out} --until select"))


def _ask(question: str, default: str | None, flag: str) -> str:
    """A person's answer. OperatorError where nobody is there to give one."""
    if not sys.stdin.isatty():
        if default is not None:
            return default
        raise OperatorError(f"init: nobody is at the keyboard to be asked; give {flag}.")
    while True:
        try:
            answer = input(plain(f"{question}{f' [{default}]' if default else ''}: ")).strip() or default
        except EOFError as error:
            raise OperatorError(f"init: no answer; give {flag or 'it as an argument'}.") from error
        if answer:
            return answer
