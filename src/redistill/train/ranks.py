"""One process or many: which layout a stage has, and what the ranks do together.

    accelerator = make_accelerator(settings)             alone, DDP, or FSDP2 where it is asked for
    policy, optimizer = prepare(accelerator, policy, model, optimizer)
    whole = whole_student(accelerator, policy, skeleton)  the full weights, on the main process only

DDP keeps all weights on every rank. FSDP2 gives each rank a slice of every weight, gradient and optimizer state and
gathers one layer at a time; embeddings and head belong to the outermost group, which is whole while the policy runs, so
the head's kernel (model/logps.py) reads an ordinary tensor and its gradient is summed like any other.
"""

import os
from collections.abc import Mapping
from typing import Any, Literal

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import (
    DistributedType,
    FullyShardedDataParallelPlugin,
    broadcast_object_list,
    fsdp2_prepare_model,
)
from torch import nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from redistill.config.tables import StageSettings
from redistill.errors import OperatorError
from redistill.train.step import Ranks

Layout = Literal["alone", "ddp", "fsdp2"]


def layout(wanted: str, environment: Mapping[str, str]) -> Layout:
    """How the ranks share the student: `wanted` is a stage's `distributed`, `environment` what the launcher has set.

    `auto` follows the launcher: FSDP2 where its config says so, else DDP. OperatorError where recipe and launcher say
    different things, and for what the launcher may ask and this loop does not do: FSDP1, DeepSpeed, tensor and sequence
    parallelism (a pack is rows laid end to end, and its attention wants each row whole on one device).
    """
    if int(environment.get("WORLD_SIZE", "1")) == 1:
        return "alone"

    def says(name: str) -> bool:
        return environment.get(name, "false").lower() in ("true", "1", "yes")

    if says("ACCELERATE_USE_DEEPSPEED"):
        raise OperatorError("train: DeepSpeed is not supported; launch with --use_fsdp --fsdp_version 2 instead.")
    if says("ACCELERATE_USE_PARALLELISM_CONFIG"):
        for kind, words in (("CP", "context"), ("SP", "sequence"), ("TP", "tensor")):
            if int(environment.get(f"PARALLELISM_CONFIG_{kind}_SIZE", "1")) > 1:
                raise OperatorError(
                    f"train: the launcher asks for {words} parallelism, which packed rows do not support: a row must "
                    f"fit on one device. Launch with FSDP2 only; shorten rows with max_tokens or save memory with memory."
                )
    sharded = says("ACCELERATE_USE_FSDP")
    if sharded and wanted == "ddp":
        raise OperatorError("train: distributed is ddp, but the launcher uses FSDP; remove one of the two.")
    if sharded and wanted == "auto" and environment.get("FSDP_VERSION", "1") != "2":
        raise OperatorError("train: the launcher asks for FSDP version 1; add --fsdp_version 2.")
    return "fsdp2" if sharded or wanted == "fsdp2" else "ddp"


def make_accelerator(settings: StageSettings) -> Accelerator:
    """A fresh Accelerator: stages of one run may differ in precision, and accelerate keeps the first one's otherwise."""
    AcceleratorState._reset_state(reset_partial_state=True)  # else a stage after one under FSDP2 inherits that
    plugin = None
    if layout(settings.distributed, os.environ) == "fsdp2":
        # bf16 copies of fp32 slices are gathered and used; gradients are summed over ranks in fp32, never in bf16
        bf16 = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
        plugin = FullyShardedDataParallelPlugin(
            fsdp_version=2,
            auto_wrap_policy="transformer_based_wrap",
            mixed_precision_policy=bf16 if settings.mixed_precision == "bf16" else MixedPrecisionPolicy(),
            state_dict_type="SHARDED_STATE_DICT",
        )
    # without an accelerator say so: else accelerate under a launcher takes every CPU process for the main one
    cpu = not torch.accelerator.is_available()
    if plugin is not None and cpu:
        # torch shards CPU processes too, but accelerate takes a plugin for processes on accelerators only, and would run
        # these as DDP without a word
        PartialState(cpu=True)
        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
    before = os.environ.get("ACCELERATE_USE_FSDP")
    try:
        return Accelerator(mixed_precision=settings.mixed_precision, cpu=cpu, fsdp_plugin=plugin)
    finally:  # accelerate writes the plugin into the environment, where the next stage would take it for the launcher's
        if before is None:
            os.environ.pop("ACCELERATE_USE_FSDP", None)
        else:
            os.environ["ACCELERATE_USE_FSDP"] = before


def prepare(
    accelerator: Accelerator, policy: nn.Module, model: PreTrainedModel, optimizer: torch.optim.Optimizer
) -> tuple[nn.Module, Any]:
    """Policy and optimizer on their device, wrapped or sharded. `model` is the one inside the policy."""
    _name_layers(accelerator, model)
    return accelerator.prepare(policy, optimizer)


def prepare_reference(accelerator: Accelerator, policy: nn.Module, model: PreTrainedModel) -> nn.Module:
    """The same for a policy that is never trained and has no optimizer."""
    if not accelerator.is_fsdp2:
        return policy.to(accelerator.device)
    _name_layers(accelerator, model)
    return fsdp2_prepare_model(accelerator, policy)


def _name_layers(accelerator: Accelerator, model: PreTrainedModel) -> None:
    """Tell accelerate which modules are layers, each a group that is gathered alone; transformers lists them by name."""
    if accelerator.is_fsdp2:
        plugin: Any = accelerator.state.fsdp_plugin
        present = {type(module).__name__ for module in model.modules()}
        plugin.transformer_cls_names_to_wrap = sorted(set(model._no_split_modules or ()) & present)


def ranks_of(accelerator: Accelerator, policy: nn.Module) -> Ranks:
    """This process among the others, for a step."""
    return Ranks(
        accelerator.process_index,
        accelerator.num_processes,
        sum=lambda tensor: accelerator.reduce(tensor, "sum"),
        no_sync=lambda: accelerator.no_sync(policy),
        backward=accelerator.backward,
    )


def agreed(accelerator: Accelerator, value: Any) -> Any:
    """The main process's value, on every rank."""
    return value if accelerator.num_processes == 1 else broadcast_object_list([value])[0]


def reshard(policy: nn.Module) -> None:
    """Give up what is gathered. After a pass without gradients FSDP2 leaves its outermost group whole, and its
    parameters are then others than those the optimizer knows: to be called before anything looks at them by name."""
    for module in policy.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def whole_student(
    accelerator: Accelerator, policy: nn.Module, skeleton: PreTrainedModel | None
) -> PreTrainedModel | None:
    """The student with all its weights, on the main process; None on the others. Every rank must call it.

    Where nothing is sharded that is the trained model itself. Else the weights are gathered one by one into `skeleton`,
    a copy of the model in the main process's memory (None on the other ranks).
    """
    model = accelerator.unwrap_model(policy).model
    if not accelerator.is_fsdp2:
        return model if accelerator.is_main_process else None
    reshard(policy)
    targets = dict(skeleton.named_parameters()) if skeleton is not None else {}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            full = parameter.full_tensor() if isinstance(parameter, DTensor) else parameter
            if skeleton is not None:
                targets[name].copy_(full)
        if skeleton is not None:
            buffers = dict(model.named_buffers())
            for name, buffer in skeleton.named_buffers():
                buffer.copy_(buffers[name])
    return skeleton
