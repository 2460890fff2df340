"""Report: a run folder -> one self-contained HTML page. Reads files only, and never imports torch.

files.py reads and checks the folder; results.py, data.py, training.py, traces.py and facts.py make sections of plain
blocks (blocks.py); charts.py draws; page.py joins them and holds SECTIONS.
"""

from redistill.report.page import SECTIONS, write_report

__all__ = ["SECTIONS", "write_report"]
