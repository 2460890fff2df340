"""Sizes of a model that no library refuses in words: layers that are none, widths below 0, more weights than the machine has memory for.

check_sizes({"hidden_size": 0}, "student.from_config")      OperatorError: student.from_config: hidden_size is 0; ...
check_room(config, "student.from_config")                   OperatorError where its fp32 weights are more than the memory
"""

import os
from collections.abc import Mapping
from typing import Any

import torch

from redistill.errors import OperatorError
from redistill.model import pictures

WIDTHS = (
    *("hidden_size", "intermediate_size", "vocab_size", "num_attention_heads", "num_key_value_heads", "head_dim"),
    *("n_embd", "n_head", "n_inner", "d_model", "d_ff", "d_kv", "num_heads", "ffn_dim", "embed_dim", "max_position_embeddings"),
    *("n_positions", "moe_intermediate_size", "patch_size", "image_size"),
)  # fmt: skip
LAYERS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers", "depth")
WIDEST, DEEPEST = (
    2**31,
    1000,
)  # the deepest language models have some 200 layers; each takes time even where it takes no memory


def check_sizes(options: Mapping[str, Any], where: str) -> None:
    """OperatorError for a size in a config, or in a config within it, that no model can have."""
    for key, value in options.items():
        if isinstance(value, Mapping):
            check_sizes(value, f"{where}.{key}")
        elif key in (*WIDTHS, *LAYERS) and isinstance(value, int | float | str):
            most = DEEPEST if key in LAYERS else WIDEST
            if isinstance(value, bool | str) or not 1 <= value <= most or value != int(value):
                raise OperatorError(f"{where}: {key} is {value!r}; write a whole number from 1 to {most:,}.")


def check_room(config: Any, where: str) -> None:
    """OperatorError where fp32 weights after this config are more than this machine's memory; takes none (torch's meta device)."""
    with torch.device("meta"):
        weights = sum(
            p.numel() for p in pictures.model_class(config).from_config(config, dtype=torch.float32).parameters()
        )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if 4 * weights > memory:
        raise OperatorError(
            f"{where} describes {weights:,} weights, {4 * weights / 2**30:,.0f} GiB in fp32, and this machine has {memory / 2**30:,.0f} GiB of "
            "memory; write smaller sizes."
        )
