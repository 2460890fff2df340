"""The model that a stage trains: the one it starts from or, with `lora`, a small adapter on it; merged into the student that it leaves,
kept beside it on request.

    model = adapted_model(model, settings, seed=0)
    student = merged(trained, settings, folder)             the whole student; folder/adapter where the recipe keeps it
"""

from pathlib import Path
from typing import Any, cast

import torch
from transformers import PreTrainedModel

from redistill.config.extras import missing
from redistill.config.tables import StageSettings
from redistill.errors import OperatorError
from redistill.model.pictures import freeze

ADAPTER = "adapter"  # the folder beside `model`, as peft's save_pretrained writes it


def merged(trained: Any, settings: StageSettings, folder: Path) -> PreTrainedModel:
    """The trained student with its adapter merged into the weights; what the adapter was lies in folder/adapter where
    `keep_adapter` asks for it."""
    if settings.keep_adapter:
        trained.save_pretrained(folder / ADAPTER)
    return cast(PreTrainedModel, trained.merge_and_unload())


def adapted_model(
    model: PreTrainedModel, settings: StageSettings, seed: int, *, critic: bool = False
) -> PreTrainedModel:
    """The model with what the stage freezes frozen, and its LoRA adapter where it has one; a critic's head is trained whole.
    OperatorError for what peft does not know."""
    if settings.freeze and not critic:
        freeze(model, settings.freeze)
    if settings.lora is None:
        return model
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise OperatorError(missing("peft", "train: `lora`")) from error
    try:
        config = LoraConfig(task_type="TOKEN_CLS" if critic else "CAUSAL_LM", **settings.lora)
    except TypeError as error:
        raise OperatorError(f"train: lora: {error}; its options are those of peft.LoraConfig.") from error
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # the adapter begins with random numbers: the same in every run and on every rank
        return cast(PreTrainedModel, get_peft_model(model, config))
