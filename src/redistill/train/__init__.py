"""Examples and Pairs -> checkpoint: objectives, packing, the step, the loop."""

from redistill.train.loop import train_stage
from redistill.train.objectives import OBJECTIVES, needs_pairs

__all__ = ["OBJECTIVES", "needs_pairs", "train_stage"]
