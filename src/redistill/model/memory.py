"""How many bytes a training step needs on one device, by component, and what to save where they are too many.

    shape = shape_of(json.load(open("config.json")))
    need = estimate(shape, Setup(tokens=8192, mixed_precision="bf16", layout="fsdp2", ranks=8))
    need["activations"], sum(need.values())
    choose(shape, Setup(tokens=8192), available=24 << 30)     Choice(checkpointed_layers=9, offload_optimizer=False, ...)

Pure arithmetic, standard library only. It counts a decoder of gated MLPs and grouped attention (Llama, Qwen, Mistral and
their kin) as this repository runs it: fp32 weights, packed rows, the head's kernel in chunks. The letters of the formulas:
T tokens of the longest micro-batch, D hidden size, I intermediate size, Q and K the widths of all query and all key heads,
L layers, V vocabulary, P parameters. How near it comes to what is measured: benchmarks/README.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

FP32, BF16 = 4, 2
CHUNK_BYTES = {"cpu": 64 << 20, "cuda": 1 << 30}  # as in model/logps.py: logits and probabilities alive at a time
RESERVE = 0.08  # of what is free, for the allocator's gaps and for what nobody counted


@dataclass(frozen=True, slots=True)
class Shape:
    """A model as memory sees it. `parameters` and `trainable` are counts."""

    layers: int
    hidden: int  # D
    intermediate: int  # I: of all experts that a token visits
    queries: int  # Q
    keys: int  # K
    vocabulary: int  # V
    tied: bool
    query_key_norm: bool
    parameters: int
    trainable: int


@dataclass(frozen=True, slots=True)
class Setup:
    """What of a stage's settings decides its memory. tokens: the packing budget or the longest row, whichever is more."""

    tokens: int
    mixed_precision: str = "no"
    checkpointed_layers: int = 0
    optimizer: str = "adamw"
    offload_optimizer: bool = False
    layout: str = "alone"  # alone, ddp, fsdp2
    ranks: int = 1
    device: str = "cpu"  # or cuda


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen for a device: the setup, what it needs by component, whether that fits, and a sentence."""

    setup: Setup
    need: dict[str, int]
    fits: bool
    sentence: str

    @property
    def total(self) -> int:
        """Bytes in all."""
        return sum(self.need.values())


def shape_of(config: Mapping[str, Any], *, parameters: int | None = None, trainable: int | None = None) -> Shape:
    """The shape in a config.json; `parameters` and `trainable` are counted from it where they are not given.

    KeyError where the config names no hidden size, layers or vocabulary.
    """
    if "hidden_size" not in config and "n_embd" not in config and isinstance(config.get("text_config"), Mapping):
        config = config["text_config"]

    def first(*names: str) -> int | None:
        return next((int(config[name]) for name in names if config.get(name) is not None), None)

    def known(*names: str) -> int:
        value = first(*names)
        if value is None:
            raise KeyError(names[0])
        return value

    hidden, layers = known("hidden_size", "n_embd", "d_model"), known("num_hidden_layers", "n_layer")
    heads = first("num_attention_heads", "n_head") or 1
    width = first("head_dim") or hidden // heads
    keys = (first("num_key_value_heads") or heads) * width
    inner = first("intermediate_size", "n_inner", "ffn_dim") or 4 * hidden
    if (experts := first("num_experts", "num_local_experts", "n_routed_experts")) is not None:
        one = first("moe_intermediate_size") or inner
        inner, stored = one * (first("num_experts_per_tok") or 1), one * experts
        inner += first("shared_expert_intermediate_size") or 0
    else:
        stored = inner
    shape = Shape(
        layers=layers,
        hidden=hidden,
        intermediate=inner,
        queries=heads * width,
        keys=keys,
        vocabulary=known("vocab_size"),
        tied=bool(config.get("tie_word_embeddings", True)),
        query_key_norm=str(config.get("model_type", "")).startswith(("qwen3", "olmo2", "gemma3")),
        parameters=0,
        trainable=0,
    )
    layer = 2 * hidden * shape.queries + 2 * hidden * keys + 3 * hidden * stored + 2 * hidden
    embeddings = shape.vocabulary * hidden * (1 if shape.tied else 2)
    counted = parameters if parameters is not None else layers * layer + embeddings + hidden
    return replace(shape, parameters=counted, trainable=counted if trainable is None else trainable)


def estimate(shape: Shape, setup: Setup) -> dict[str, int]:
    """Bytes by component at the peak of a step, on one device; micro-batches after the first, when gradients are there.

    weights: fp32. low_precision: bf16 copies that autocast keeps for the backward pass. gathered: whole layers under
    FSDP2. gradients: fp32, with DDP's buckets. optimizer: two moments. activations: what autograd keeps of the layers.
    head: embeddings' ends of the pass, and the kernel's gradient of the head. working: the larger of the kernel's chunk of
    logits and one layer's backward pass.
    """
    sharded = setup.layout == "fsdp2"
    split = setup.ranks if sharded else 1
    bf16 = setup.mixed_precision == "bf16"
    tokens, hidden = setup.tokens, shape.hidden
    tuned = shape.trainable == shape.parameters
    ends = shape.vocabulary * hidden * (1 if shape.tied else 2)
    layer = max(0, shape.parameters - ends) // shape.layers
    compute = BF16 if bf16 else FP32
    need = {"weights": FP32 * shape.parameters // split, "low_precision": 0, "gathered": 0}
    if sharded:  # the outermost group whole, the layer that runs and the one that is fetched
        need["gathered"] = compute * (ends + 2 * layer)
    elif bf16:
        need["low_precision"] = BF16 * layer * shape.layers
    need["gradients"] = FP32 * shape.trainable // split
    if setup.layout == "ddp":
        need["gradients"] *= 2
    if sharded:  # a layer's whole gradient, before it is summed and cut
        need["gathered"] += FP32 * layer
    moments = {"adamw": 8.0, "adamw_8bit": 2.0 + 8 / 256}[setup.optimizer]
    need["optimizer"] = 0 if setup.offload_optimizer else int(moments * shape.trainable) // split
    one_layer = activation_bytes(shape, bf16, sharded)
    kept = FP32 * hidden if not (bf16 and sharded) else BF16 * hidden  # a checkpointed layer keeps its input
    checkpointed = min(setup.checkpointed_layers, shape.layers)
    plain = shape.layers - checkpointed
    need["activations"] = tokens * (plain * one_layer + checkpointed * kept)
    # the last norm's input, its normalised input and output, and the targets' copy and gradient
    need["head"] = tokens * hidden * FP32 * 4 + (FP32 * shape.vocabulary * hidden if tuned else 0)
    logits = min(CHUNK_BYTES[setup.device], 2 * FP32 * tokens * shape.vocabulary)
    backward = tokens * (3 * compute * shape.intermediate + 2 * FP32 * hidden) + FP32 * hidden * shape.intermediate
    if plain == 0:
        backward += tokens * one_layer  # a layer's activations, made again
    need["working"] = max(logits, backward)
    return need


def activation_bytes(shape: Shape, bf16: bool, sharded: bool) -> int:
    """Bytes a token that autograd keeps of one layer.

    fp32: two norms keep input, normalised input and output (6 D); attention queries, keys, values, its result and that
    result again as packed (3 Q + 2 K); the MLP its two halves, the activated one and the product (4 I). Under autocast
    the stream and the norms stay fp32 (4 D), and every projection keeps its own bf16 copy of its input (5 D). Under
    FSDP2 with bf16 the stream is bf16.
    """
    inner = 3 * shape.queries + 2 * shape.keys + 4 * shape.intermediate
    normed = 2 * (shape.queries + shape.keys) if shape.query_key_norm else 0
    if not bf16:
        return FP32 * (6 * shape.hidden + inner + normed)
    stream = FP32 * 2 + BF16 * 4 if sharded else FP32 * 4 + BF16 * 5
    return stream * shape.hidden + BF16 * inner + 3 * normed


def choose(
    shape: Shape,
    setup: Setup,
    *,
    available: int,
    checkpointing: bool | int | str = "auto",
    offload: bool | str = "auto",
    may_offload: bool = False,
) -> Choice:
    """The setup that costs least time among those that fit into `available` bytes.

    checkpointing: True (all layers), False, a number of layers, or auto: the fewest that suffice. offload: whether the
    optimizer's moments live in the host's memory; auto only where checkpointing all layers is not enough and
    `may_offload` says that device and host differ. Neither changes a step by a bit. An explicit choice is kept, also where
    it does not fit; then `fits` is False and the sentence says what would.
    """
    budget = int(available * (1 - RESERVE))
    counts = range(shape.layers + 1) if checkpointing == "auto" else [_layers(shape, checkpointing)]
    offloads = [False, True] if offload == "auto" and may_offload else [offload is True]
    best = setup
    for offloaded in offloads:
        for count in counts:
            best = replace(setup, checkpointed_layers=count, offload_optimizer=offloaded)
            if sum(estimate(shape, best).values()) <= budget:
                return _choice(shape, best, available, True)
    return _choice(shape, best, available, False)


def _layers(shape: Shape, checkpointing: bool | int | str) -> int:
    return shape.layers * checkpointing if isinstance(checkpointing, bool) else min(int(checkpointing), shape.layers)


def _choice(shape: Shape, setup: Setup, available: int, fits: bool) -> Choice:
    need = estimate(shape, setup)
    said = f"about {_gib(sum(need.values()))} of memory needed, {_gib(available)} free"
    if setup.checkpointed_layers:
        said += f"; activations of {setup.checkpointed_layers} of {shape.layers} layers are recomputed"
    if setup.offload_optimizer:
        said += "; optimizer states live in the host's memory"
    if not fits:
        said += (
            f": it may run out. What would fit: {', '.join(_remedies(shape, setup, available)) or 'no single change'}"
        )
    return Choice(setup, need, fits, said)


def _remedies(shape: Shape, setup: Setup, available: int) -> list[str]:
    """Single changes that would make it fit, for the sentence."""
    every = replace(setup, checkpointed_layers=shape.layers)
    tried = {
        "gradient_checkpointing: true": every,
        "optimizer: adamw_8bit": replace(every, optimizer="adamw_8bit"),
        **{f"distributed: fsdp2 on {n} devices": replace(every, layout="fsdp2", ranks=n) for n in (2, 4, 8)},
        **{f"rows and tokens_per_micro_batch of {setup.tokens // n} tokens": replace(every, tokens=setup.tokens // n) for n in (2, 4)},
        "lora": every,
    }  # fmt: skip
    shapes = {"lora": replace(shape, trainable=shape.parameters // 100)}
    limit = available * (1 - RESERVE)
    return [word for word, other in tried.items() if sum(estimate(shapes.get(word, shape), other).values()) <= limit][
        :3
    ]


def _gib(count: int) -> str:
    return f"{count / 2**30:.2f} GiB"
