"""Estimated against measured peak memory of a training step on the CPU, one subprocess a shape.

    python benchmarks/memory_estimate.py

Each child trains two steps of at least two micro-batches of a student of random weights and prints the peak of its
resident memory above what it held before the student was made. malloc gives freed memory back at once
(MALLOC_MMAP_THRESHOLD_, MALLOC_TRIM_THRESHOLD_), so the peak is that of live tensors.
"""

import gc
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

ALPHABET = "0123456789+-*=;#"
SHAPES = {
    "deep": {"hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 8, "num_attention_heads": 8,
             "num_key_value_heads": 4, "vocab_size": 4000, "tie_word_embeddings": True},
    "wide": {"hidden_size": 1024, "intermediate_size": 2816, "num_hidden_layers": 2, "num_attention_heads": 16,
             "num_key_value_heads": 4, "vocab_size": 4000, "tie_word_embeddings": False},
    "a large head": {"hidden_size": 384, "intermediate_size": 1024, "num_hidden_layers": 2, "num_attention_heads": 6,
                     "num_key_value_heads": 2, "vocab_size": 64000, "tie_word_embeddings": True},
}  # fmt: skip
CASES = [  # shape, tokens a micro-batch, other settings
    ("deep", 1536, {}),
    ("deep", 1536, {"gradient_checkpointing": 5}),
    ("deep", 1536, {"gradient_checkpointing": True}),
    ("deep", 1536, {"mixed_precision": "bf16"}),
    ("wide", 512, {}),
    ("wide", 512, {"optimizer": "adamw_8bit"}),
    ("a large head", 512, {}),
    ("a large head", 512, {"mixed_precision": "bf16"}),
]


def resident(word: str) -> int:
    """Bytes: VmRSS (now) or VmHWM (the most so far)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(word)).split()[1]) * 1024


def train(config: dict, tokens: int, changes: dict) -> dict:
    """Two steps of two micro-batches, each filled by four rows; the stage's ledger."""
    from redistill.config.tables import StageSettings, StudentSettings
    from redistill.model import loading
    from redistill.records import Pair
    from redistill.train import OBJECTIVES
    from redistill.train.stage import StageJob, train_stage

    config = {"model_type": "llama", "max_position_embeddings": 4096, **config}
    vocabulary = config.pop("vocab_size")
    student = StudentSettings(from_config=config, alphabet=ALPHABET)
    tokenizer = loading.load_tokenizer(student)
    tokenizer.add_tokens([f"<{i}>" for i in range(vocabulary - len(tokenizer))])
    rng = random.Random(0)
    text = ["".join(rng.choice(ALPHABET) for _ in range(tokens // 4 - 9)) for _ in range(8)]
    pairs = [Pair(f"p{i}", "1+2=", text[2 * i], text[2 * i + 1], f"c{i}", f"r{i}") for i in range(4)]
    settings = StageSettings(
        objective="redi", learning_rate=1e-4, batch_size=4, steps=2, tokens_per_micro_batch=tokens,
        **{"gradient_checkpointing": False, **changes},
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        job = StageJob(
            Path(folder) / "stage", "redi", settings, OBJECTIVES["redi"], fingerprint="f", seed=0, card="", trial=True
        )
        return train_stage(
            job, records=pairs, student=lambda: (loading.load_model(student, tokenizer, seed=0), tokenizer)
        )


def measure(shape: str, tokens: int, changes: dict) -> dict:
    """Bytes estimated and measured in this process, after a small stage has brought in all libraries."""
    import torch

    torch.set_num_threads(1)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    train({**small, "vocab_size": 40}, 64, changes)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew
    before = resident("VmRSS")
    ledger = train(SHAPES[shape], tokens, changes)
    return {"estimated": sum(ledger["memory"]["bytes"].values()), "measured": resident("VmHWM") - before}


def main() -> None:
    if len(sys.argv) > 1:
        print(json.dumps(measure(*json.loads(sys.argv[1]))))
        return
    environment = {
        **os.environ,
        "MALLOC_MMAP_THRESHOLD_": "65536",
        "MALLOC_TRIM_THRESHOLD_": "0",
        "MALLOC_ARENA_MAX": "1",
    }
    print(f"| {'student':<16} | tokens | settings | estimated MiB | measured MiB | ratio |\n|---|---|---|---|---|---|")
    for case in CASES:
        command = [sys.executable, __file__, json.dumps(case)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr[-2000:])
        found = json.loads(done.stdout.splitlines()[-1])
        estimated, measured = (found[key] / 2**20 for key in ("estimated", "measured"))
        words = ", ".join(f"{key}: {value}" for key, value in case[2].items()) or "-"
        print(
            f"| {case[0]} | {case[1]} | {words} | {estimated:.0f} | {measured:.0f} | {estimated / measured:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
