"""The model that a stage trains: the one it starts from or, with `lora`, a small adapter on it; merged into the student that it leaves,
kept beside it on request.

    model = adapted_model(model, settings, seed=0)
    student = merged(trained, settings, folder)             the whole student; folder/adapter where the recipe keeps it
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from redistill.config.extras import missing
from redistill.config.tables import StageSettings
from redistill.config.validation_messages import did_you_mean
from redistill.errors import OperatorError
from redistill.model.pictures import freeze

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ADAPTER = "adapter"  # the folder beside `model`, as peft's save_pretrained writes it


def merged(trained: Any, settings: StageSettings, folder: Path) -> "PreTrainedModel":
    """The trained student with its adapter merged into the weights; what the adapter was lies in folder/adapter where
    `keep_adapter` asks for it."""
    if settings.keep_adapter:
        trained.save_pretrained(folder / ADAPTER)
    return cast("PreTrainedModel", trained.merge_and_unload())


def lora_config(options: Mapping[str, Any], where: str, *, critic: bool = False) -> Any:
    """peft's LoraConfig of a recipe's `lora`. OperatorError where peft is not installed, or for an option that it does not know;
    where: the table, in words."""
    try:
        from peft import LoraConfig
    except ImportError as error:
        raise OperatorError(missing("peft", f"{where.partition(':')[0]}: `lora`")) from error
    if quantized := [name for name in options if "4bit" in name or "8bit" in name or name.startswith("quant")]:
        raise OperatorError(
            f"{where}: {quantized[0]}: QLoRA is not offered, because an adapter trained on 4-bit weights and merged into others is not the "
            "student that was measured; train LoRA on the bf16 weights, and see docs/how-to/out-of-memory.md for what saves memory."
        )
    known = [field.name for field in dataclasses.fields(LoraConfig)]
    if unknown := [name for name in options if name not in known]:
        raise OperatorError(f"{where}: peft.LoraConfig has no option {unknown[0]!r}{did_you_mean(unknown[0], known)}")
    try:
        return LoraConfig(task_type="TOKEN_CLS" if critic else "CAUSAL_LM", **options)
    except (TypeError, ValueError) as error:
        raise OperatorError(f"{where}: {error}; its options are those of peft.LoraConfig.") from error


def adapted_model(
    model: "PreTrainedModel", settings: StageSettings, seed: int, *, critic: bool = False
) -> "PreTrainedModel":
    """The model with what the stage freezes frozen, and its LoRA adapter where it has one; a critic's head is trained whole.
    OperatorError for what peft does not know."""
    if settings.freeze and not critic:
        freeze(model, settings.freeze)
    if settings.lora is None:
        return model
    config = lora_config(settings.lora, "train: lora", critic=critic)
    from peft import get_peft_model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # the adapter begins with random numbers: the same in every run and on every rank
        try:
            return cast("PreTrainedModel", get_peft_model(model, config))
        except ValueError as error:  # no layer of the model is called so
            raise OperatorError(f"train: lora: {' '.join(str(error).split())[:300]}") from error
