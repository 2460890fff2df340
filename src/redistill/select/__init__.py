"""Select: verified Groups -> Examples for SFT and Pairs for REDI and its kin; whatever is turned away leaves a reason.

split.py says which problems are held out, columns.py what is known of each trace, pairing.py which trace meets which,
filters.py what may not stay; room.py joins them over one shard; statistics.py compares the pairings on paper.
"""

from redistill.select.empty import explain_empty
from redistill.select.filters import FILTERS
from redistill.select.pairing import PAIRINGS
from redistill.select.split import is_dev
from redistill.select.stage import BoundFilter, select_shard
from redistill.select.statistics import compare, describe, table_text

__all__ = [
    "FILTERS",
    "PAIRINGS",
    "BoundFilter",
    "compare",
    "describe",
    "explain_empty",
    "is_dev",
    "select_shard",
    "table_text",
]
