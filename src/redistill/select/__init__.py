"""Select: verified Groups -> Examples for SFT and Pairs for REDI and its kin; whatever is turned away leaves a reason.

split.py says which problems are held out, pairing.py which trace meets which, lengths.py what is too long for the
student; room.py joins them over one shard.
"""

from redistill.select.lengths import FILTERS
from redistill.select.pairing import PAIRINGS
from redistill.select.room import explain_empty, select_shard
from redistill.select.split import is_dev

__all__ = ["FILTERS", "PAIRINGS", "explain_empty", "is_dev", "select_shard"]
