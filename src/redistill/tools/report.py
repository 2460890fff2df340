"""The page of `redistill report`: of a run, of several runs side by side, of a sweep, of a data-free run.

report_page([Path("runs/a"), Path("runs/b")], out=None, tokens=False)   ->   runs/a--b.html
"""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from redistill.errors import OperatorError
from redistill.report import main_student, pairs_shown, stage_of_tokens, write_report, write_runs_page
from redistill.report.datafree import write_datafree_page
from redistill.report.sweep import write_sweep_page
from redistill.tools.cross_run import compare_runs
from redistill.tools.scores import runs_in

ALL_PAIRS = 4  # runs of which every two are compared; of more, each is compared with the first


# what a page can be made of; one of them is in every run's folder, however far the run came
OF_A_RUN = ("recipe.yaml", "run.json", "sweep.json", "datafree.json", "corpus", "verify", "select", "train", "evaluate")


def report_page(runs: Sequence[Path], *, out: Path | None, tokens: bool) -> Path:
    """Write the page and return its path. tokens: measure first what training did to each token of the pairs shown."""
    several = len(runs) > 1
    if out and not several:
        raise OperatorError("--out is for the page of several runs; the page of one run is in its folder.")
    for folder in runs:
        if inside := runs_in(folder):
            raise OperatorError(
                f"{folder} is a folder of runs and none itself; name one of them, or several for one page: {inside}."
            )
    if tokens and several:
        raise OperatorError("--tokens is for one run at a time; measure each of them first.")
    if several:
        return _side_by_side(runs, out)
    (run,) = runs
    if run.is_dir() and not any((run / name).exists() for name in OF_A_RUN):
        raise OperatorError(f"{run} is not a run's folder (it has no recipe.yaml); give one such as runs/quickstart.")
    if (run / "sweep.json").exists():
        return write_sweep_page(run)
    if (run / "datafree.json").exists():
        return write_datafree_page(run)
    if tokens:
        _measure(run)
    return write_report(run)


def _measure(folder: Path) -> None:
    recipe = folder / "recipe.yaml"
    if not recipe.exists():
        raise OperatorError(
            f"--tokens: {recipe} is not there, so the students of this run are not known; leave it out."
        )
    from redistill.config.parsing import load_recipe
    from redistill.train.token_changes import write_token_changes

    if write_token_changes(folder, load_recipe(recipe), stage_of_tokens(folder), pairs_shown(folder)) is None:
        raise OperatorError(
            f"--tokens: no stage of {folder} was trained on pairs, or its page shows none; leave it out."
        )


def _side_by_side(folders: Sequence[Path], out: Path | None) -> Path:
    """Every two runs compared by their main students where they share problems, and one page of all."""
    resolved = [folder.resolve() for folder in folders]
    if len(set(resolved)) < len(resolved):
        raise OperatorError("a run is given twice; give each run once.")
    students = {folder: main_student(folder) for folder in folders}
    pairs = (
        list(itertools.combinations(folders, 2))
        if len(folders) <= ALL_PAIRS
        else [(folders[0], f) for f in folders[1:]]
    )
    comparisons: list[dict[str, Any]] = []
    without: list[str] = []
    for earlier, later in pairs:  # later minus earlier: what is new against what was there
        try:
            comparisons += compare_runs(later, earlier, students=(students[later], students[earlier]), common=True)
        except OperatorError as error:
            without.append(f"{later.name} and {earlier.name} are not compared: {error}")
    name = "--".join(folder.resolve().name for folder in folders[:3]) + ("--and-more" if len(folders) > 3 else "")
    return write_runs_page(folders, comparisons, without, out or folders[0].resolve().parent / f"{name}.html")
