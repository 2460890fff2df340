"""In which numbers a stage computes: `mixed_precision` of a recipe -> what this machine does.

precision_of("auto")  ->  "bf16" on a GPU that computes in it, else "no"
"""

from typing import Literal

import torch

Precision = Literal["no", "bf16"]


def precision_of(setting: str) -> Precision:
    """`no` and `bf16` as they are written; `auto`: bf16 where the device computes in it, else no. Weights stay fp32."""
    if setting == "auto":
        return "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False) else "no"
    return "bf16" if setting == "bf16" else "no"


def planned_precision(setting: str) -> Precision:
    """What a GPU of `redistill plan` does: all of its table have bf16."""
    return "no" if setting == "no" else "bf16"
