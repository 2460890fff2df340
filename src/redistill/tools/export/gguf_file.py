"""A student as one GGUF file, which llama.cpp, ollama and transformers load.

    write_gguf(Path("runs/x/train/redi/model"), Path("redi.gguf"), name="redi")

Weights keep their precision (vectors are float32, as llama.cpp wants them), so transformers loads back the same logits. Llama
and Qwen2 are written, with a byte-level BPE tokenizer that llama.cpp knows; everything else is a sentence that names
llama.cpp's own converter. Names and metadata: the package `gguf`; the order of Llama's rotary halves: convert_hf_to_gguf.py
of llama.cpp (`permute`), undone by transformers when it loads the file.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import torch

from redistill.errors import OperatorError
from redistill.model import loading
from redistill.text.wordwise import LLAMA3, QWEN2

ARCHITECTURES = {"llama": gguf.MODEL_ARCH.LLAMA, "qwen2": gguf.MODEL_ARCH.QWEN2}
TYPES = {torch.float16: gguf.GGMLQuantizationType.F16, torch.bfloat16: gguf.GGMLQuantizationType.BF16}


def write_gguf(model: Path, out: Path, *, name: str) -> None:
    """Write the checkpoint of a folder as `out`. OperatorError for an architecture or a tokenizer that is not written here."""
    student, tokenizer = loading.load_folder(model)
    config = student.config
    arch = ARCHITECTURES.get(config.model_type)
    if arch is None:
        raise _not_here(model, f"the architecture {config.model_type}")
    rope = dict(getattr(config, "rope_parameters", None) or {})
    if rope.get("rope_type", "default") != "default":
        raise _not_here(model, f"rotary embeddings of the kind {rope['rope_type']}")
    if getattr(config, "attention_bias", False) or getattr(config, "mlp_bias", False):
        raise _not_here(model, "a Llama with biases")
    vocabulary = _vocabulary(json.loads(tokenizer.backend_tokenizer.to_str()), model)
    writer = gguf.GGUFWriter(str(out), gguf.MODEL_ARCH_NAMES[arch])
    writer.add_name(name)
    _write_config(writer, config, rope)
    _write_tokenizer(writer, tokenizer, vocabulary, config.vocab_size)
    _write_weights(writer, student, arch)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _not_here(model: Path, what: str) -> OperatorError:
    return OperatorError(
        f"export: {model} has {what}, which is not written as GGUF here; llama.cpp's own converter may know it: "
        f"python convert_hf_to_gguf.py {model}"
    )


def _write_config(writer: gguf.GGUFWriter, config: Any, rope: Mapping[str, Any]) -> None:
    heads = config.num_attention_heads
    head_size = getattr(config, "head_dim", None) or config.hidden_size // heads
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(float(rope.get("rope_theta", 10_000.0)))
    writer.add_rope_dimension_count(head_size)
    writer.add_key_length(head_size)
    writer.add_value_length(head_size)
    writer.add_vocab_size(config.vocab_size)


def _write_weights(writer: gguf.GGUFWriter, student: Any, arch: gguf.MODEL_ARCH) -> None:
    """Every weight under its name in GGUF; tied output weights are left out, which readers take for tied."""
    config = student.config
    names = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
    for name, weight in student.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        stem, _, kind = name.rpartition(".")
        target = names.get_name(stem)
        assert target is not None, f"{name} has no name in GGUF"
        if arch is gguf.MODEL_ARCH.LLAMA and stem.endswith(("q_proj", "k_proj")):
            weight = halves_beside(
                weight, config.num_attention_heads if "q_proj" in stem else config.num_key_value_heads
            )
        values = weight.detach().cpu().float().numpy()
        stored = TYPES.get(weight.dtype) if weight.dim() > 1 else None
        if stored is None:
            writer.add_tensor(f"{target}.{kind}", values)
        else:
            writer.add_tensor(f"{target}.{kind}", gguf.quantize(values, stored), raw_dtype=stored)


def halves_beside(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """A Llama's query or key weight `(heads * size, hidden)` with the two halves of each head's rotary pairs beside each other:
    row order 0, size/2, 1, size/2 + 1, ... within a head, as llama.cpp rotates."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, -1).transpose(1, 2).reshape(weight.shape)


# --- tokenizer ----------------------------------------------------------------------------------------------------------


def _vocabulary(tree: Mapping[str, Any], model: Path) -> dict[str, Any]:
    """{"tokens": {id: text}, "added": {id: is special}, "merges": [...], "pre": llama.cpp's name} of a byte-level BPE tokenizer."""
    kind, pre = tree["model"]["type"], _pre(tree.get("pre_tokenizer") or {})
    if kind != "BPE" or pre is None:
        raise _not_here(model, f"a tokenizer of the kind {kind}" if kind != "BPE" else "a BPE tokenizer that cuts text in its own way")  # fmt: skip
    if tree.get("normalizer") and tree["normalizer"].get("type") != "NFC":
        raise _not_here(model, "a tokenizer that changes the text first")
    added = {token["id"]: token for token in tree.get("added_tokens", ())}
    tokens = {place: text for text, place in tree["model"]["vocab"].items()}
    tokens |= {place: token["content"] for place, token in added.items()}
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in tree["model"]["merges"]]
    return {
        "tokens": tokens,
        "added": {id: bool(token["special"]) for id, token in added.items()},
        "merges": merges,
        "pre": pre,
    }


def _pre(tree: Mapping[str, Any]) -> str | None:
    """llama.cpp's name of how a tokenizer cuts text before BPE; None for one that is not known here."""
    steps = tree.get("pretokenizers", [tree])
    kinds = [step.get("type") for step in steps]
    if kinds == ["ByteLevel"] and steps[0].get("use_regex", True):
        return "gpt-2"
    if kinds == ["Digits", "ByteLevel"] and steps[0].get("individual_digits") and steps[1].get("use_regex", True):
        return "smollm"
    if kinds == ["Split", "ByteLevel"] and not steps[1].get("use_regex", True):
        return {QWEN2: "qwen2", LLAMA3: "llama-bpe"}.get(steps[0]["pattern"].get("Regex", ""))
    return None


def _write_tokenizer(writer: gguf.GGUFWriter, tokenizer: Any, vocabulary: Mapping[str, Any], size: int) -> None:
    tokens = [vocabulary["tokens"].get(id, f"[PAD{id}]") for id in range(size)]
    kinds = [_kind(id, vocabulary) for id in range(size)]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(vocabulary["pre"])
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(vocabulary["merges"])
    for token, add in (
        (tokenizer.bos_token_id, writer.add_bos_token_id),
        (tokenizer.eos_token_id, writer.add_eos_token_id),
        (tokenizer.pad_token_id, writer.add_pad_token_id),
        (tokenizer.unk_token_id, writer.add_unk_token_id),
    ):
        if token is not None:
            add(token)
    opened = tokenizer("x")["input_ids"][:1] == [tokenizer.bos_token_id] and tokenizer.bos_token_id is not None
    writer.add_add_bos_token(bool(opened))
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)


def _kind(id: int, vocabulary: Mapping[str, Any]) -> gguf.TokenType:
    if id not in vocabulary["tokens"]:
        return gguf.TokenType.UNUSED
    if id in vocabulary["added"]:
        return gguf.TokenType.CONTROL if vocabulary["added"][id] else gguf.TokenType.USER_DEFINED
    return gguf.TokenType.NORMAL
