"""Training throughput on one GPU against the rate of its matrix products, the longest pair that fits, and TRL beside it.

    python benchmarks/training_cuda.py                         Qwen2.5-1.5B's shape, random weights, 32 pairs a step
    python benchmarks/training_cuda.py --shape tiny --device cpu --pairs 4 --scale 0.01      the script itself, tried anywhere

Throughput does not depend on weights, so a config is enough. Lengths of chosen and rejected are drawn from gamma
distributions with means 5,500 and 7,000 tokens and coefficients of variation .65 and .5, capped at 19,000 (the paper's
pairs). A token costs 6 x parameters FLOP in the matrices of body and head, forward and backward, and attention
6 x layers x hidden x L more at sequence length L on average over a causal row: 9.26 GFLOP + 258,048 x L for this shape.
No recomputation is counted. The share is this rate over that of a bf16 product of 8,192 x 8,192 x 8,192 in the same call.
"""

import argparse
import json
import statistics
import sys
import time
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from transformers import AutoConfig, AutoModelForCausalLM

from redistill.model.logps import PackedPolicy, prepare_for_packing
from redistill.train.objectives import OBJECTIVES
from redistill.train.rows import Rows
from redistill.train.step import Ranks, Reference, backward_step

SHAPES: dict[str, dict[str, Any]] = {
    "qwen2.5-1.5b": {
        "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28, "num_attention_heads": 12,
        "num_key_value_heads": 2, "vocab_size": 151_936, "max_position_embeddings": 32_768, "tie_word_embeddings": True,
    },
    "tiny": {
        "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": 1024, "max_position_embeddings": 32_768, "tie_word_embeddings": True,
    },
}  # fmt: skip
PROMPT = 150
EPOCH_PAIRS = 53_175  # the paper's stage 2


def lengths(pairs: int, scale: float, seed: int = 0) -> np.ndarray:
    """(pairs, 2) tokens of chosen and rejected, prompts included."""
    draw = np.random.default_rng(seed)
    sides = [
        draw.gamma(1 / cv**2, mean * cv**2, pairs).clip(200, 19_000)
        for mean, cv in ((5500, 0.65), (7000, 0.5))
    ]  # fmt: skip
    return (np.stack(sides, axis=1) * scale).astype(int).clip(16)


def rows_of(sizes: np.ndarray, vocabulary: int) -> Rows:
    """Pairs of random tokens with these lengths."""
    flat = sizes.reshape(-1)
    tokens = np.random.default_rng(1).integers(5, vocabulary, flat.sum(), dtype=np.int32)
    prompts = np.minimum(PROMPT, flat // 4)
    return Rows(
        tokens, np.concatenate([[0], flat.cumsum()]), prompts, np.ones(len(sizes)), [str(i) for i in range(len(sizes))]
    )


class Student:
    """The model, its optimizer and one step, as the training room makes them."""

    def __init__(self, shape: str, device: str, checkpointing: bool) -> None:
        torch.manual_seed(0)
        config = AutoConfig.for_model("qwen2", **SHAPES[shape])
        self.accelerator = Accelerator(mixed_precision="bf16", cpu=device == "cpu")
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).to(self.accelerator.device)
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        model.train()
        if not prepare_for_packing(model):
            raise SystemExit("this shape does not pack")
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)
        self.policy, self.optimizer = self.accelerator.prepare(PackedPolicy(model), optimizer)
        self.config = config
        self.matrix_parameters = sum(p.numel() for p in model.parameters() if p.ndim == 2)

    def step(self, objective: str, rows: Rows, numbers: list[int], budget: int) -> float:
        """Seconds of one optimizer step."""
        reference = None
        if objective == "dpo":
            reference = Reference(np.full(int(rows.completion_starts()[-1]), -2.0, dtype=np.float32))
        synchronise(self.accelerator.device)
        started = time.perf_counter()
        backward_step(
            self.policy, OBJECTIVES[objective], rows, numbers, tokens_per_micro_batch=budget, reference=reference,
            device=self.accelerator.device, ranks=Ranks(backward=self.accelerator.backward),
        )  # fmt: skip
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        synchronise(self.accelerator.device)
        return time.perf_counter() - started

    def flops(self, flat: np.ndarray) -> float:
        """Of one step on sequences of these lengths, forward and backward, nothing recomputed."""
        layers, width = self.config.num_hidden_layers, self.config.hidden_size
        return float(6 * self.matrix_parameters * flat.sum() + 6 * layers * width * (flat.astype(float) ** 2).sum())


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def product_rate(device: torch.device, size: int) -> float:
    """FLOP/s of a bf16 matrix product, the best of five."""
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    times = []
    for _ in range(6):
        synchronise(device)
        started = time.perf_counter()
        a @ b
        synchronise(device)
        times.append(time.perf_counter() - started)
    return 2 * size**3 / min(times[1:])


def peak_gib(device: torch.device) -> float:
    return torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else float("nan")


def longest_pair(student: Student, cap: int) -> int:
    """The most tokens of each side of a pair whose step fits, to 5%; both sides equally long, a sequence a micro-batch."""
    low, high = 0, cap
    while high - low > max(64, low * 0.05):
        middle = (low + high + 1) // 2
        try:
            rows = rows_of(np.array([[middle, middle]]), student.config.vocab_size)
            student.step("redi", rows, [0], budget=1)
            low = middle
        except torch.cuda.OutOfMemoryError:
            student.optimizer.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()
            high = middle - 1
    return low


def trl_seconds(shape: str, device: str, sizes: np.ndarray, rows: Rows, checkpointing: bool) -> float | None:
    """TRL's DPOTrainer on the same pairs, one a micro-batch, reference log-probs stored; None where it runs out of memory."""
    import tempfile

    from datasets import Dataset
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast
    from trl import DPOConfig, DPOTrainer

    torch.manual_seed(0)
    config = AutoConfig.for_model("qwen2", **SHAPES[shape])
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    words = Dataset.from_dict({"prompt": ["a"] * 2, "chosen": ["b"] * 2, "rejected": ["c"] * 2})
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"a": 0, "b": 1, "c": 2, "e": 3}, unk_token="a")),
        eos_token="e",
        pad_token="e",
    )
    options = DPOConfig(
        output_dir=tempfile.mkdtemp(), per_device_train_batch_size=1, bf16=True, report_to=[], max_steps=2, max_length=None,
        gradient_checkpointing=checkpointing, precompute_ref_log_probs=True, learning_rate=1e-6, disable_tqdm=True,
        gradient_accumulation_steps=len(sizes), use_cpu=device == "cpu",
    )  # fmt: skip
    trainer: Any = DPOTrainer(model, args=options, train_dataset=words, processing_class=tokenizer)
    trainer.create_optimizer()
    trainer.model_wrapped = trainer.accelerator.prepare(trainer.model)
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = len(sizes)

    def run(pairs: int) -> float:
        synchronise(trainer.accelerator.device)
        started = time.perf_counter()
        for pair in range(pairs):
            (chosen, prompt), (rejected, _) = rows.sequence(2 * pair), rows.sequence(2 * pair + 1)
            row = {"prompt_ids": chosen[:prompt], "chosen_ids": chosen[prompt:], "rejected_ids": rejected[prompt:],
                   "ref_chosen_logps": -1.0, "ref_rejected_logps": -1.0}  # fmt: skip
            trainer.training_step(trainer.model_wrapped, trainer.data_collator([row]))
        trainer.optimizer.step()
        trainer.optimizer.zero_grad(set_to_none=True)
        synchronise(trainer.accelerator.device)
        return time.perf_counter() - started

    try:
        run(1)
        return run(len(sizes))
    except torch.cuda.OutOfMemoryError:
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="qwen2.5-1.5b")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--pairs", type=int, default=32)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies every length")
    parser.add_argument("--budgets", default="20000,40000", help="tokens_per_micro_batch to try")
    parser.add_argument("--objectives", default="redi,dpo")
    parser.add_argument("--profile", action="store_true", help="print the costliest operators of a step")
    parser.add_argument(
        "--longest", type=int, default=0, help="look for the longest pair that fits, up to this many tokens"
    )
    parser.add_argument("--trl", type=int, default=0, help="run TRL on the first so many pairs")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("no GPU here; try the script itself with --shape tiny --device cpu --pairs 4 --scale 0.01")
    device = torch.device(options.device)
    rate = product_rate(device, 8192 if options.device == "cuda" else 512)
    name = torch.cuda.get_device_name() if options.device == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}, bf16 product {rate / 1e12:.2f} TFLOP/s", file=sys.stderr)
    sizes = lengths(options.pairs, options.scale)
    numbers = list(range(options.pairs))
    for checkpointing in (False, True):
        for budget in [int(int(b) * options.scale) for b in options.budgets.split(",")]:
            student = Student(options.shape, options.device, checkpointing)
            rows = rows_of(sizes, student.config.vocab_size)
            for objective in options.objectives.split(","):
                line = {"objective": objective, "checkpointing": checkpointing, "budget": budget}
                if device.type == "cuda":
                    torch.cuda.reset_peak_memory_stats()
                try:
                    student.step(objective, rows, numbers[:1], budget)
                    seconds = statistics.median(
                        student.step(objective, rows, numbers, budget) for _ in range(options.steps)
                    )
                except torch.cuda.OutOfMemoryError:
                    print(json.dumps(line | {"result": "out of memory"}), flush=True)
                    student.optimizer.zero_grad(set_to_none=True)
                    torch.cuda.empty_cache()
                    continue
                achieved = student.flops(sizes.reshape(-1)) / seconds
                line |= {"seconds": round(seconds, 3), "tokens_per_second": round(float(sizes.sum()) / seconds),
                         "tflops": round(achieved / 1e12, 3), "share_of_product_rate": round(achieved / rate, 3),
                         "peak_gib": round(peak_gib(device), 1),
                         "hours_of_the_papers_epoch": round(seconds * EPOCH_PAIRS / options.pairs / 3600, 2)}  # fmt: skip
                print(json.dumps(line), flush=True)
            if options.profile:
                with torch.profiler.profile() as profile:
                    student.step("redi", rows, numbers[:4], budget)
                key = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
                print(
                    profile.key_averages().table(sort_by=key, row_limit=15, max_name_column_width=50), file=sys.stderr
                )
            if options.longest:
                print(
                    json.dumps({"checkpointing": checkpointing, "longest_pair": longest_pair(student, options.longest)})
                )
            del student
            if device.type == "cuda":
                torch.cuda.empty_cache()
        if options.trl:
            few = sizes[: options.trl]
            rows = rows_of(few, SHAPES[options.shape]["vocab_size"])
            seconds_trl = trl_seconds(options.shape, options.device, few, rows, checkpointing)
            print(json.dumps({"peer": "TRL DPOTrainer", "checkpointing": checkpointing, "pairs": options.trl,
                              "tokens_per_second": None if seconds_trl is None else round(float(few.sum()) / seconds_trl)}))  # fmt: skip


if __name__ == "__main__":
    main()
