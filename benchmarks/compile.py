"""Does torch.compile pay for packed rows? Steps of one student, eager and compiled in two ways, in turn in one process.

    OMP_NUM_THREADS=1 python benchmarks/compile.py

Every micro-batch has other lengths, as in training, so the compiled parts must take any. Times are CPU seconds of the
process (one thread), so a busy machine changes them little; a ratio above 1 is faster than eager.
"""

import random
import statistics
import time

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from redistill.model.logps import PackedPolicy, make_pack, prepare_for_packing

SHAPE = {
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
}  # SmolLM2-135M
ROUNDS, WARM = 5, 3


def policy() -> PackedPolicy:
    """Two layers of SmolLM2-135M's shape with a small vocabulary, so that layers and not the head are timed."""
    torch.manual_seed(0)
    config = AutoConfig.for_model("llama", **SHAPE, num_hidden_layers=2, vocab_size=2000, max_position_embeddings=4096)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    assert prepare_for_packing(model)
    return PackedPolicy(model)


def packs(count: int):
    rng = random.Random(0)
    for _ in range(count):
        lengths, left = [], 512
        while left > 50:
            lengths.append(rng.randint(50, min(250, left)))
            left -= lengths[-1]
        rows = [([rng.randrange(2000) for _ in range(n)], 20) for n in lengths]
        yield make_pack(rows, range(len(rows)), [1.0 / n for n in lengths])


def main() -> None:
    torch.set_num_threads(1)
    ways = {
        "eager": policy(),
        "MLP compiled": policy(),
        "MLP and norms compiled": policy(),
    }
    for name, chosen in ways.items():
        for layer in chosen.model.model.layers:
            if name.startswith("MLP"):
                layer.mlp.compile(dynamic=True)
            if name == "MLP and norms compiled":
                layer.input_layernorm.compile(dynamic=True)
                layer.post_attention_layernorm.compile(dynamic=True)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    walls: dict[str, float] = dict.fromkeys(ways, 0.0)
    for number, pack in enumerate(packs(WARM + ROUNDS)):
        for name, chosen in ways.items():
            wall, start = time.perf_counter(), time.process_time()
            chosen(pack)[0].backward()
            if number < WARM:
                walls[name] += time.perf_counter() - wall
            else:
                seconds[name].append(time.process_time() - start)
            chosen.zero_grad()
    eager = seconds["eager"]
    print(
        "| way | CPU s a micro-batch (median) | ratio to eager, median (least, most) | first 3, wall s |\n|---|---|---|---|"
    )
    for name, found in seconds.items():
        ratios = [a / b for a, b in zip(eager, found, strict=True)]
        print(
            f"| {name} | {statistics.median(found):.2f} | {statistics.median(ratios):.2f} ({min(ratios):.2f}, {max(ratios):.2f}) "
            f"| {walls[name]:.0f} |"
        )


if __name__ == "__main__":
    main()
