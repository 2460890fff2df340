"""Examples and Pairs -> checkpoint: objectives, packing, the step, the loop (train/stage.py, which loads much more than this does)."""

from redistill.train.modifiers import MODIFIERS
from redistill.train.objectives import OBJECTIVES, needs_pairs, needs_reference, needs_scores, needs_teacher
from redistill.train.stage_check import check_stage

__all__ = [
    "MODIFIERS",
    "OBJECTIVES",
    "check_stage",
    "needs_pairs",
    "needs_reference",
    "needs_scores",
    "needs_teacher",
]
