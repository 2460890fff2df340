"""Tiny students of random weights, rows of random tokens, and the truth about them: fp64 on the CPU, one unpadded row at a time.

rows = encoded(pairs(6, 40, vocabulary=300), folder)       Rows, as a stage reads them
truth = token_logps(tiny_model("qwen2").double(), ids, prompt)      (completion tokens,), with a graph
"""

import contextlib
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from redistill.model.logps import PackedPolicy, prepare_for_packing
from redistill.records import Example, Pair
from redistill.train.rows import Rows, read_rows, write_rows

VOCABULARY, END = 300, 2
SLIDING = 12  # the window of the students with sliding attention, shorter than their rows


def tiny_model(kind: str, *, seed: int = 0, width: int = 32, **more: Any) -> Any:
    """A causal language model of two layers with grouped attention, fp32, on the CPU.

    Its weights are drawn five times wider than usual: attention must matter, or a row that sees its neighbour would hardly
    change.
    """
    options = {
        "hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": width // 4, "vocab_size": VOCABULARY, "max_position_embeddings": 32_768,
        "initializer_range": 0.1, "tie_word_embeddings": kind == "qwen2", "bos_token_id": 1, "eos_token_id": END,
        "pad_token_id": 0,
    }  # fmt: skip
    if kind == "mistral":
        options["sliding_window"] = SLIDING
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = AutoConfig.for_model(kind, **{**options, **more})
        return AutoModelForCausalLM.from_config(config, dtype=torch.float32)


def policy_of(model: Any, *, bf16: bool) -> nn.Module:
    """The model as a stage runs it: packed attention and, for bf16, autocast over fp32 weights (accelerate does the same)."""
    if not prepare_for_packing(model):
        raise RuntimeError(f"{model.config.model_type} was not found fit for packing")
    policy = PackedPolicy(model)
    if bf16:
        device = next(model.parameters()).device.type
        policy.forward = torch.autocast(device, torch.bfloat16)(policy.forward)  # type: ignore[method-assign]
    return policy


def autocast(device: torch.device, bf16: bool) -> contextlib.AbstractContextManager[None]:
    """bf16 autocast, or nothing."""
    return torch.autocast(device.type, torch.bfloat16, enabled=bf16)


def numbers(rng: random.Random, count: int, vocabulary: int = VOCABULARY) -> str:
    """Token ids as text, which `encoded` reads back."""
    return " ".join(str(rng.randrange(5, vocabulary)) for _ in range(count))


def pairs(count: int, longest: int, seed: int = 0) -> list[Pair]:
    """Pairs of very different lengths whose sides share an opening; the first two have sides of one length. With weights
    and spans."""
    rng = random.Random(seed)
    made = []
    for i in range(count):
        opening = numbers(rng, 1 + i % 4)
        left, right = (longest // 2,) * 2 if i < 2 else (rng.randint(2, longest) for _ in range(2))
        texts = {"chosen": f"{opening} {numbers(rng, left)}", "rejected": f"{opening} {numbers(rng, right)}"}
        spans = {"chosen_spans": ((0, 3, 0.25),), "rejected_spans": ((1, 4, 3.0),)}
        ids = {"problem_id": f"p{i}", "chosen_id": f"c{i}", "rejected_id": f"r{i}"}
        prompt, weight = numbers(rng, rng.randint(1, 9)), (1.0, 0.5, 2.0)[i % 3]
        made.append(Pair(**ids, **texts, **spans, prompt=prompt, weight=weight))  # type: ignore[arg-type]
    return made


def examples(count: int, longest: int, seed: int = 0) -> list[Example]:
    """Examples of very different lengths."""
    rng = random.Random(seed)
    return [
        Example(f"p{i}", f"t{i}", numbers(rng, rng.randint(1, 9)), numbers(rng, rng.randint(2, longest)))
        for i in range(count)
    ]


def ids_of(text: str) -> list[int]:
    """The token ids that a text of numbers stands for."""
    return [int(word) for word in text.split()]


def offsets_of(text: str) -> list[tuple[int, int]]:
    """The characters of each number."""
    found, start = [], 0
    for word in text.split():
        found.append((start, start + len(word)))
        start += len(word) + 1
    return found


def encoded(records: Sequence[Pair | Example], folder: Path) -> Rows:
    """The records as rows, written and read as a stage does it."""
    spans = isinstance(records[0], Pair) and bool(records[0].chosen_spans)
    write_rows(
        folder,
        records,
        encode_prompts=lambda texts: [ids_of(text) for text in texts],
        encode_completions=lambda texts: [[*ids_of(text), END] for text in texts],
        max_tokens=1 << 30,
        completion_offsets=(lambda texts: [offsets_of(text) for text in texts]) if spans else None,
    )
    return read_rows(folder)[0]


def token_logps(model: Any, prompt: list[int], completion: list[int]) -> Tensor:
    """log p of each completion token, from the model's own logits on this one row: (T,), in the precision of the logits."""
    device = next(model.parameters()).device
    ids = torch.tensor([prompt + completion], device=device)
    logits = model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1]
    if logits.dtype == torch.bfloat16:
        logits = logits.float()
    return logits.log_softmax(-1).gather(-1, ids[0, len(prompt) :, None]).squeeze(-1)
