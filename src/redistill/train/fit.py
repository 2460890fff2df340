"""What a stage does so that it fits on its device: the estimate of model/memory.py, asked of this model on this machine.

    fitted = fit(accelerator, model, settings, "redi", tokens=8192)
    fitted.setup.checkpointed_layers, fitted.setup.offload_optimizer

Where the memory suffices nothing is saved; else as many layers as it takes forget their activations and compute them
again, the first ones, so that the last are gone before the first are made again; then the optimizer's moments move to the
host. What was chosen is said and stands in the stage's ledger.
"""

import os
from pathlib import Path
from typing import Any

import psutil
import torch
from accelerate import Accelerator
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from redistill.config.tables import StageSettings
from redistill.errors import OperatorError
from redistill.io.progress import say
from redistill.model import memory
from redistill.train.ranks import agreed


def fit(
    accelerator: Accelerator,
    model: PreTrainedModel,
    settings: StageSettings,
    stage: str,
    *,
    tokens: int,
    reserved: int = 0,
) -> dict[str, Any]:
    """Choose and apply; `tokens` are those of the longest micro-batch, `reserved` bytes that a critic beside the student will
    take. Returns what the ledger says of it:
    checkpointed_layers, offload_optimizer, and of the estimate bytes, free_bytes and the sentence (None where the config
    names no sizes).

    OperatorError where moments in host memory are asked for under FSDP2, or with 8-bit moments.
    """
    layout = "fsdp2" if accelerator.is_fsdp2 else "ddp" if accelerator.num_processes > 1 else "alone"
    if settings.optimizer == "adamw_8bit" and layout == "fsdp2":
        raise OperatorError(
            f"train.{stage}.optimizer: adamw_8bit does not support sharded weights; under FSDP2 each device holds its share "
            "of adamw's states already."
        )
    if settings.offload_optimizer is True and (layout == "fsdp2" or settings.optimizer != "adamw"):
        raise OperatorError(
            f"train.{stage}.offload_optimizer: it works for adamw without FSDP2; under FSDP2 launch with --fsdp_offload_params true."
        )
    layers = _layers(model)
    wanted = settings.gradient_checkpointing
    may_offload = accelerator.device.type == "cuda" and layout != "fsdp2" and settings.optimizer == "adamw"
    every = sum(p.numel() for p in model.parameters())
    try:
        shape = memory.shape_of(
            model.config.to_dict(),
            parameters=every,
            trainable=sum(p.numel() for p in model.parameters() if p.requires_grad),
        )
    except KeyError:
        count = len(layers) if wanted is True else 0 if wanted in (False, "auto") else int(wanted)
        _checkpoint(model, layers, count)
        return {"checkpointed_layers": count, "offload_optimizer": settings.offload_optimizer is True, "bytes": None}
    setup = memory.Setup(
        tokens=tokens,
        mixed_precision=settings.mixed_precision,
        optimizer=settings.optimizer,
        layout=layout,
        ranks=accelerator.num_processes,
        device="cpu" if accelerator.device.type == "cpu" else "cuda",
    )
    free = available_bytes(accelerator.device) if settings.memory_gib is None else int(settings.memory_gib * 2**30)
    if settings.memory_gib is None and accelerator.device.type == "cpu":
        free += 4 * every  # the weights lie in it already
    chosen = memory.choose(
        shape,
        setup,
        available=agreed(accelerator, max(free - reserved, 0)),
        checkpointing=wanted if layers or wanted is True else False,
        offload=settings.offload_optimizer,
        may_offload=may_offload,
    )
    _checkpoint(model, layers, chosen.setup.checkpointed_layers)
    saves = (wanted == "auto" and chosen.setup.checkpointed_layers) or chosen.setup.offload_optimizer
    if accelerator.is_main_process and (saves or not chosen.fits):
        say(f"train    {stage}: {chosen.sentence}")
    return {
        "checkpointed_layers": chosen.setup.checkpointed_layers,
        "offload_optimizer": chosen.setup.offload_optimizer,
        "bytes": chosen.need,
        "free_bytes": free,
        "sentence": chosen.sentence,
    }


def available_bytes(device: torch.device) -> int:
    """What one process may still take on its device: of a CPU its share of the free memory of machine and container."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = int(psutil.virtual_memory().available)
    limit, used = (Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory.current"))
    if limit.exists() and limit.read_text().strip().isdigit():
        free = min(free, int(limit.read_text()) - int(used.read_text()))
    return free // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def peak_bytes(device: torch.device) -> int | None:
    """The most that tensors have taken on a CUDA device since the stage began; None elsewhere, where nobody counts it."""
    return int(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else None


def _layers(model: PreTrainedModel) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]


def _checkpoint(model: PreTrainedModel, layers: list[Any], count: int) -> None:
    """Have the first `count` layers compute their activations again."""
    if count == 0:
        return
    base: Any = model
    if hasattr(base, "get_base_model"):
        base = base.get_base_model()
    if hasattr(base, "activation_checkpointing_enable"):
        base.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    else:  # transformers before 5.23
        base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    for layer in layers[count:]:
        layer.gradient_checkpointing = False
