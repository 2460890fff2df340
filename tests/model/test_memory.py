"""The estimate of a step's memory, by hand on a small shape, and what is chosen where it does not fit."""

import pytest

from redistill.model.memory import Setup, activation_bytes, choose, estimate, shape_of

# D 8, I 16, 2 layers, 2 heads of 4, 1 key head, V 10, tied: a layer has 2*8*8 + 2*8*4 + 3*8*16 + 2*8 = 592 parameters,
# all together 2 * 592 + 10 * 8 + 8 = 1,272
CONFIG = {
    "model_type": "llama", "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "vocab_size": 10, "tie_word_embeddings": True,
}  # fmt: skip
SHAPE = shape_of(CONFIG)


def test_parameters_and_what_a_token_leaves_in_a_layer_by_hand():
    assert SHAPE.parameters == SHAPE.trainable == 1272
    # fp32: 4 bytes of 6*8 (norms) + 3*8 + 2*4 (attention) + 4*16 (MLP) = 144 numbers
    assert activation_bytes(SHAPE, bf16=False, sharded=False) == 4 * 144
    # autocast: 4*8 fp32 and 5*8 bf16 about the norms, 3*8 + 2*4 + 4*16 = 96 bf16
    assert activation_bytes(SHAPE, bf16=True, sharded=False) == 4 * 32 + 2 * 40 + 2 * 96


def test_the_components_of_a_step_by_hand():
    need = estimate(SHAPE, Setup(tokens=100))
    assert need["weights"] == need["gradients"] == 4 * 1272 and need["optimizer"] == 8 * 1272
    assert need["activations"] == 100 * 2 * 4 * 144
    assert estimate(SHAPE, Setup(tokens=100, checkpointed_layers=1))["activations"] == 100 * (4 * 144 + 4 * 8)
    # the first layers are recomputed when the last are gone: only without any of those is there one layer more
    plain, every = (estimate(SHAPE, Setup(tokens=100, checkpointed_layers=k))["working"] for k in (1, 2))
    assert every - plain == 100 * 4 * 144


def test_sharding_divides_what_is_kept_and_gathers_what_runs():
    alone, four = (estimate(SHAPE, Setup(tokens=10, layout=x, ranks=n)) for x, n in (("alone", 1), ("fsdp2", 4)))
    for name in ("weights", "gradients", "optimizer"):
        assert four[name] == alone[name] // 4
    # embeddings (10 * 8) and two layers (596 each, the last norm shared out) in fp32, and one layer's gradient
    assert four["gathered"] == 4 * (80 + 2 * 596) + 4 * 596
    assert estimate(SHAPE, Setup(tokens=10, layout="ddp", ranks=4))["gradients"] == 2 * alone["gradients"]


def test_other_names_of_the_same_sizes_and_none_at_all():
    other = {"n_embd": 8, "n_layer": 2, "n_head": 2, "vocab_size": 10}
    assert (shape_of(other).hidden, shape_of(other).intermediate, shape_of(other).keys) == (8, 32, 8)
    assert shape_of({"text_config": CONFIG}) == SHAPE
    experts = {**CONFIG, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 6}
    assert shape_of(experts).intermediate == 12  # what a token visits; 24 are stored
    with pytest.raises(KeyError):
        shape_of({"model_type": "unknown"})


BIG = shape_of({**CONFIG, "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 20, "vocab_size": 32000})


def total(**changes):
    return sum(estimate(BIG, Setup(tokens=8192, **changes)).values())


def test_the_fewest_layers_that_suffice_are_checkpointed():
    assert choose(BIG, Setup(tokens=8192), available=1 << 50).setup.checkpointed_layers == 0
    for free in (total(checkpointed_layers=1), total(checkpointed_layers=7) + 5):
        found = choose(BIG, Setup(tokens=8192), available=int(free / 0.92) + 1)
        count = found.setup.checkpointed_layers
        assert found.fits and 0 < count < 20 and found.total <= free < total(checkpointed_layers=count - 1)
        assert f"activations of {count} of 20 layers are recomputed" in found.sentence


def test_moments_move_to_the_host_only_where_checkpointing_is_not_enough_and_there_is_one():
    free = int(min(total(checkpointed_layers=k) for k in (19, 20)) / 0.92) - 1000
    moved = choose(BIG, Setup(tokens=8192), available=free, may_offload=True)
    assert moved.fits and moved.setup.offload_optimizer and moved.need["optimizer"] == 0
    assert "optimizer states live in the host's memory" in moved.sentence
    stuck = choose(BIG, Setup(tokens=8192), available=free)
    assert not stuck.fits and not stuck.setup.offload_optimizer and stuck.setup.checkpointed_layers == 20
    assert "optimizer: adamw_8bit, distributed: fsdp2 on 2 devices" in stuck.sentence


def test_an_explicit_choice_is_kept():
    assert choose(BIG, Setup(tokens=8192), available=1, checkpointing=False).setup.checkpointed_layers == 0
    assert (
        choose(BIG, Setup(tokens=8192), available=1, checkpointing=5, may_offload=True).setup.checkpointed_layers == 5
    )
    assert choose(BIG, Setup(tokens=8192), available=1 << 50, checkpointing=True).setup.checkpointed_layers == 20
    assert choose(BIG, Setup(tokens=8192), available=1 << 50, offload=True).setup.offload_optimizer
    assert not choose(BIG, Setup(tokens=8192), available=1, offload=False, may_offload=True).setup.offload_optimizer


def test_the_chunk_of_logits_is_the_kernels():
    from redistill.model import logps, memory

    assert memory.CHUNK_BYTES == logps.CHUNK_BYTES
