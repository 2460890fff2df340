"""Examples and Pairs -> checkpoint: objectives, packing, the step, the loop."""

from redistill.train.modifiers import MODIFIERS
from redistill.train.objectives import OBJECTIVES, needs_pairs, needs_reference, needs_scores, needs_teacher
from redistill.train.stage import StageJob, check_stage, train_stage

__all__ = [
    "MODIFIERS",
    "OBJECTIVES",
    "StageJob",
    "check_stage",
    "needs_pairs",
    "needs_reference",
    "needs_scores",
    "needs_teacher",
    "train_stage",
]
