"""Operations, hours and money by hand."""

from dataclasses import replace

import pytest

from redistill.model.flops import GPUS, Work, hours, training_flops, visited_weights
from redistill.model.memory import shape_of

# D 8, I 16, 2 layers, Q 8, K 4, V 10, tied: a layer multiplies 2*8*8 + 2*8*4 + 3*8*16 = 576 weights
CONFIG = {
    "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
    "vocab_size": 10, "tie_word_embeddings": True,
}  # fmt: skip
SHAPE = shape_of(CONFIG)
TWO = Work(tokens=7, learned=5, squares=3 * 3 + 4 * 4)  # sequences of 3 and 4 tokens, a prompt of one token each


def test_a_step_by_hand():
    assert visited_weights(SHAPE) == 1152
    found = training_flops(SHAPE, TWO)
    assert found["body"] == 6 * 1152 * 7 and found["head"] == 6 * 8 * 10 * 5
    # scores and their use: 2 products of 2 * 8 operations for half of l^2 pairs of positions, 2 layers, and twice that back
    assert found["attention"] == 3 * 2 * (2 * 2 * 8 * 25 / 2)
    assert found["extra_forwards"] == found["made_again"] == 0
    assert found["total"] == found["body"] + found["head"] + found["attention"]


def test_what_is_done_twice_and_what_needs_no_gradient():
    whole = training_flops(SHAPE, TWO)
    more = training_flops(SHAPE, TWO, extra_forwards=1.0, made_again=0.5, reference=Work(14, 10, 50))
    assert more["extra_forwards"] == pytest.approx(
        whole["total"] / 3 * 3
    )  # once over the step, once over twice as much
    assert more["made_again"] == pytest.approx((whole["body"] + whole["attention"]) / 3 / 2)
    adapter = training_flops(replace(SHAPE, parameters=2000, trainable=100), TWO)
    assert adapter["body"] == 4 * 1152 * 7 and adapter["attention"] == whole["attention"]


def test_experts_that_are_not_visited_cost_nothing():
    shape = shape_of({**CONFIG, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16})
    assert shape.parameters > 2 * (192 + 4 * 384) and visited_weights(shape) == 2 * (192 + 2 * 384)


def test_hours_by_hand():
    # 989e12 * 0.35 * 3600 operations an hour on one H100 in bf16
    assert hours(989e12 * 0.35 * 7200, GPUS["H100"], mixed_precision="bf16", utilisation=0.35, gpus=1) == pytest.approx(
        2
    )
    assert hours(67e12 * 3600, GPUS["H100"], mixed_precision="no", utilisation=0.5, gpus=4) == pytest.approx(0.5)
    assert all(gpu.bf16_tflops > gpu.fp32_tflops > 0 < gpu.dollars_per_hour for gpu in GPUS.values())
