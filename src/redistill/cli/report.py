"""`redistill report RUN [RUN ...]`: the page, from files alone."""

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

from redistill.cli.common import add_json, plain
from redistill.errors import OperatorError

TEXT = """\
Write report.html of a run again, from its files alone, and print where it is.

With several runs one page shows them side by side: scores, paired differences on the problems that both answered, what their
recipes do not share, curves and costs. The folder of a sweep gives the sweep's page, its heat maps and table.

With --tokens both students of the last stage on pairs are loaded, and every token of the pairs shown is coloured by what
training did to it; `redistill run` does so by itself.

examples:
  redistill report runs/quickstart
  redistill report runs/quickstart --tokens
  redistill report runs/weight-0.5 runs/weight-0.8 --out weights.html
"""
ALL_PAIRS = 4  # runs of which every two are compared; of more, each is compared with the first


def add(parser: argparse.ArgumentParser) -> None:
    """The verb's own arguments."""
    parser.add_argument("runs", metavar="RUN", type=Path, nargs="+", help="a run's folder, such as runs/quickstart")
    parser.add_argument(
        "--out", metavar="FILE", type=Path, help="where the page of several runs goes (default: beside the first)"
    )
    parser.add_argument(
        "--tokens", action="store_true", help="measure what training did to each token (loads the models)"
    )
    add_json(parser, "the path")


def do(options: argparse.Namespace) -> None:
    """Write the page and print where it is."""
    from redistill.report import write_report
    from redistill.report.datafree import write_datafree_page
    from redistill.report.sweep import write_sweep_page
    from redistill.tools.scores import runs_in

    first, several = options.runs[0], len(options.runs) > 1
    if options.out and not several:
        raise OperatorError("--out is for the page of several runs; the page of one run stands in its folder.")
    for folder in options.runs:
        if runs := runs_in(folder):
            raise OperatorError(
                f"{folder} is a folder of runs and none itself; name one of them, or several for one page: {runs}."
            )
    if options.tokens and several:
        raise OperatorError("--tokens is for one run at a time; measure each of them first.")
    if several:
        path = _side_by_side(options.runs, options.out)
    elif (first / "sweep.json").exists():
        path = write_sweep_page(first)
    elif (first / "datafree.json").exists():
        path = write_datafree_page(first)
    else:
        if options.tokens:
            _measure(first)
        path = write_report(first)
    path = path.resolve()
    print(json.dumps({"report": str(path)}) if options.json else plain(str(path)))


def _measure(folder: Path) -> None:
    recipe = folder / "recipe.yaml"
    if not recipe.exists():
        raise OperatorError(
            f"--tokens: {recipe} is not there, so the students of this run are not known; leave it out."
        )
    from redistill.config.parsing import load_recipe
    from redistill.report import pairs_shown, stage_of_tokens
    from redistill.train.token_changes import write_token_changes

    if write_token_changes(folder, load_recipe(recipe), stage_of_tokens(folder), pairs_shown(folder)) is None:
        raise OperatorError(
            f"--tokens: no stage of {folder} was trained on pairs, or its page shows none; leave it out."
        )


def _side_by_side(folders: list[Path], out: Path | None) -> Path:
    """Every two runs compared by their main students where they share problems, and one page of all."""
    from redistill.report import main_student, write_runs_page
    from redistill.tools.compare import compare_runs

    resolved = [folder.resolve() for folder in folders]
    if len(set(resolved)) < len(resolved):
        raise OperatorError("one run is named twice; name each run once.")
    students = {folder: main_student(folder) for folder in folders}
    pairs = (
        list(itertools.combinations(folders, 2))
        if len(folders) <= ALL_PAIRS
        else [(folders[0], f) for f in folders[1:]]
    )
    found: list[dict[str, Any]] = []
    without: list[str] = []
    for earlier, later in pairs:  # later minus earlier: what is new against what was there
        try:
            found += compare_runs(later, earlier, students=(students[later], students[earlier]), common=True)
        except OperatorError as error:
            without.append(f"{later.name} and {earlier.name} are not compared: {error}")
    name = "--".join(folder.resolve().name for folder in folders[:3]) + ("--and-more" if len(folders) > 3 else "")
    return write_runs_page(folders, found, without, out or folders[0].resolve().parent / f"{name}.html")
