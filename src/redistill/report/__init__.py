"""Report: a run folder -> one self-contained HTML page. Reads files only, and never imports torch.

files.py reads and checks the folder; the files named after sections (results.py, funnel.py, training.py, traces.py, ...)
make them of plain blocks (blocks.py); charts.py and pictures.py draw; page.py joins them and holds SECTIONS.
"""

from pathlib import Path

from redistill.records import Pair
from redistill.report.cross_run import write_runs_page
from redistill.report.files import RunFiles
from redistill.report.page import SECTIONS, write_report
from redistill.report.sections import traces
from redistill.report.sections.results import main_model

__all__ = ["SECTIONS", "main_student", "pairs_shown", "stage_of_tokens", "write_report", "write_runs_page"]


def pairs_shown(run_folder: Path) -> list[Pair]:
    """The pairs that the report of a run shows."""
    return traces.pairs_shown(RunFiles(run_folder))


def stage_of_tokens(run_folder: Path) -> str | None:
    """The stage whose effect on the tokens of those pairs the report shows; None where none learned from pairs."""
    return traces.stage_of_tokens(RunFiles(run_folder))


def main_student(run_folder: Path) -> str | None:
    """The student that a run's report is about; None where none is scored."""
    return main_model(RunFiles(run_folder))
