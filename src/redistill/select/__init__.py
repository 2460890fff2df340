"""Select: verified Groups -> Examples for SFT and Pairs for REDI and other objectives; whatever is dropped leaves a reason.

split.py says which problems are held out, trace_features.py what is known of each trace, pairing.py which trace meets which,
filters.py what may not stay, eligible.py what that leaves, ranking.py the passes before a choice over all shards;
stage.py makes the rows of one shard from a task (task.py); statistics.py compares the pairings.
"""

from redistill.select.empty import explain_empty
from redistill.select.filters import FILTERS
from redistill.select.pairing import PAIRINGS
from redistill.select.split import check_split, held_out, is_dev, split_key, split_of
from redistill.select.stage import select_shard
from redistill.select.statistics import compare, describe, table_text
from redistill.select.task import BoundFilter, SelectTask

__all__ = [
    "FILTERS",
    "PAIRINGS",
    "BoundFilter",
    "SelectTask",
    "check_split",
    "compare",
    "describe",
    "explain_empty",
    "held_out",
    "is_dev",
    "select_shard",
    "split_key",
    "split_of",
    "table_text",
]
