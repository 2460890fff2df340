"""A look at what the student says, in the middle of training, without leaving a trace on the training.

    sample_without_side_effects(model, tokenizer, probe, device=..., autocast=True)     {"probe_accuracy": 0.41, ...}

The probe itself (which problems, how answers are verified) comes from the caller, because it needs stages that this one does
not know. Here the model is switched from packed attention to ordinary attention and back, and every random state is put
back as it was, so that a run with a probe takes the very same steps as one without.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from redistill.model.logps import PACKED, attend_packed

T = TypeVar("T")
Probe = Callable[[PreTrainedModel, PreTrainedTokenizerFast], dict[str, float]]


def sample_without_side_effects(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    probe: Callable[[PreTrainedModel, PreTrainedTokenizerFast], T],
    *,
    device: torch.device,
    autocast: bool,
) -> T:
    """What `probe` finds on the student as it is now. `autocast` samples in bf16 from the fp32 weights.

    RuntimeError when the probe changed the type of a weight (a bug: it would train on at a lower precision).
    """
    types = {name: parameter.dtype for name, parameter in model.named_parameters()}
    with _kept_random_states(), _generating(model), torch.autocast(device.type, torch.bfloat16, enabled=autocast):
        result = probe(model, tokenizer)
    changed = [name for name, parameter in model.named_parameters() if parameter.dtype != types[name]]
    if changed:
        raise RuntimeError(f"the probe changed the type of {len(changed)} weights, first {changed[0]}")
    return result


@contextmanager
def _generating(model: Any) -> Iterator[None]:
    """Ordinary attention and evaluation mode inside; packed attention and each module's own mode after."""
    modes = {module: module.training for module in model.modules()}
    packs = model.config._attn_implementation == PACKED
    model.eval()
    if packs:
        model.set_attn_implementation("sdpa")
    try:
        yield
    finally:
        if packs:
            attend_packed(model)
        for module, training in modes.items():
            module.training = training


@contextmanager
def _kept_random_states() -> Iterator[None]:
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)
        if gpus:
            torch.cuda.set_rng_state_all(gpus)
