"""Options of LoRA: a slip is said before anything is made, with what was meant."""

import pytest

from redistill.config.parsing import parse_recipe
from redistill.errors import OperatorError
from redistill.pipeline.plan import make_plan
from redistill.train.adapters import adapted_model, lora_config
from tiny_recipe import RECIPE


def plan_with(lora):
    train = {**RECIPE["train"], "redi": {**RECIPE["train"]["redi"], "lora": lora}}
    return make_plan(parse_recipe({**RECIPE, "train": train}, "here"))


@pytest.mark.parametrize(
    ("lora", "words"),
    [
        ({"rank": 4}, r"train.redi.lora: peft.LoraConfig has no option 'rank'"),
        ({"r": 4, "lora_alfa": 8}, r"has no option 'lora_alfa'; did you mean 'lora_alpha'"),
        (
            {"r": 4, "load_in_4bit": True},
            r"train.redi.lora: load_in_4bit: QLoRA is not offered, because .*out-of-memory",
        ),
    ],
)
def test_an_option_that_peft_does_not_know_is_said_before_any_stage(lora, words):
    with pytest.raises(OperatorError, match=words):
        plan_with(lora)


def test_options_that_it_knows_pass():
    plan_with({"r": 2, "target_modules": "all-linear"})
    assert lora_config({"r": 3, "lora_alpha": 5}, "train.redi.lora").r == 3


def test_layers_that_the_model_does_not_have_are_one_sentence():
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from redistill.config.tables import StageSettings

    config = AutoConfig.for_model(
        "llama", vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2
    )
    torch.manual_seed(0)
    settings = StageSettings.model_validate({"objective": "sft", "steps": 1, "batch_size": 1, "learning_rate": 1e-3,
                                             "lora": {"r": 2, "target_modules": ["nowhere"]}})  # fmt: skip
    with pytest.raises(OperatorError, match=r"train: lora: Target modules .* not found"):
        adapted_model(AutoModelForCausalLM.from_config(config), settings, seed=0)
