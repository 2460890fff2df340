"""Examples and Pairs -> checkpoint: objectives, packing, the step, the loop."""

from redistill.train.loop import check_stage, train_stage
from redistill.train.modifiers import MODIFIERS
from redistill.train.objectives import OBJECTIVES, needs_pairs, needs_reference

__all__ = ["MODIFIERS", "OBJECTIVES", "check_stage", "needs_pairs", "needs_reference", "train_stage"]
