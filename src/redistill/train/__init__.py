"""Examples and Pairs -> checkpoint: objectives, packing, the step, the loop."""

from redistill.train.modifiers import MODIFIERS
from redistill.train.objectives import OBJECTIVES, needs_pairs, needs_reference
from redistill.train.stage import check_stage, train_stage

__all__ = ["MODIFIERS", "OBJECTIVES", "check_stage", "needs_pairs", "needs_reference", "train_stage"]
