"""Tiny students with a byte-level BPE tokenizer, as llama.cpp knows them: what a GGUF is written of.

folder = saved(tmp_path / "model", bpe(cut_of("smollm")), kind="llama")
"""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from redistill.model import loading
from redistill.text.wordwise import LLAMA3, QWEN2

TEXT = "Add 12 and 30: it's 42, isn't it?  Yes.\n\nSo 2+2 = 4 <|end|>"


def bpe(cut, decoder=None) -> PreTrainedTokenizerFast:
    """A small byte-level BPE tokenizer with an end of turn."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = cut
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=["<|end|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator([TEXT, "what is 3 times 14? it is 42 ", "Yes. So, add 12 and 30"] * 20, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|end|>")


CUTS = {
    "gpt-2": pre_tokenizers.ByteLevel(add_prefix_space=False),
    "smollm": pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    ),
    "qwen2": None,
    "llama-bpe": None,
}


def cut_of(name):
    from tokenizers import Regex

    if CUTS[name] is not None:
        return CUTS[name]
    pattern = Regex(QWEN2 if name == "qwen2" else LLAMA3)
    return pre_tokenizers.Sequence(
        [pre_tokenizers.Split(pattern, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )


def saved(folder: Path, tokenizer, kind="llama", dtype=torch.float32, **more) -> Path:
    config = AutoConfig.for_model(
        kind, vocab_size=len(tokenizer) + 3, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=128, eos_token_id=tokenizer.eos_token_id, bos_token_id=None, **more,
    )  # fmt: skip
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).to(dtype)
    with torch.no_grad():
        for weight in model.parameters():  # norms and biases that are not 1 and 0
            weight.add_(0.1 * torch.randn_like(weight))
    loading.save_model(model, tokenizer, folder, card="a card")
    return folder
