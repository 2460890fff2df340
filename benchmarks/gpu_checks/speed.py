"""Speed and memory of the Qwen2.5-1.5B shape with random weights: training at the paper's lengths, sampling, the longest pair.

Throughput does not depend on the weights, so a config of numbers is enough. Shares are of the rate of a bf16 matrix product
in the same call; the work of a step is counted by redistill.model.flops, nothing recomputed.
"""

import gc
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from gpu_checks.students import encoded, numbers, policy_of
from gpu_checks.table import Bench, Row, between, holds
from redistill.model import flops, loading, memory
from redistill.records import Example, Pair
from redistill.rollout import ENGINES, Request, Sampling
from redistill.train.objectives import OBJECTIVES, needs_reference
from redistill.train.step import Reference, backward_step

QWEN_1_5B = {
    "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28, "num_attention_heads": 12,
    "num_key_value_heads": 2, "vocab_size": 151_936, "max_position_embeddings": 1 << 20, "tie_word_embeddings": True,
}  # fmt: skip
TINY = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 512, "max_position_embeddings": 1 << 20, "tie_word_embeddings": True,
}  # fmt: skip
PROMPT = 150
# tokens of chosen and rejected: (mean, coefficient of variation); the paper's traces are about this long, 19,000 at most
LENGTHS = ((5_500, 0.65), (7_000, 0.5))
BUDGET = 32_768  # tokens_per_micro_batch of the recipe qwen2.5-math-1.5b-openr1
EPOCH_PAIRS = 53_175  # the paper's stage 2


class Student:
    """The model on the device, its optimizer and one step, as a stage under bf16 makes them."""

    def __init__(self, bench: Bench, *, checkpointed_layers: int) -> None:
        self.bench, self.checkpointed_layers = bench, checkpointed_layers
        config = AutoConfig.for_model("qwen2", **(TINY if bench.tiny else QWEN_1_5B))
        with torch.random.fork_rng(), torch.device(bench.device):
            torch.manual_seed(0)
            model: Any = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        model.train()
        if checkpointed_layers:
            name = "activation_checkpointing_enable"  # gradient_checkpointing_enable before transformers 5.23
            getattr(model, name, model.gradient_checkpointing_enable)({"use_reentrant": False})
            for layer in model.base_model.layers[checkpointed_layers:]:
                layer.gradient_checkpointing = False
        self.model, self.policy = model, policy_of(model, bf16=True)
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)
        count = sum(p.numel() for p in model.parameters())
        self.shape = memory.shape_of(config.to_dict(), parameters=count)

    def step(self, objective: str, rows: Any, *, budget: int) -> float:
        """Seconds of one optimizer step on all rows; gradients stay allocated, so the first micro-batch meets them too."""
        reference = None
        if needs_reference(OBJECTIVES[objective]):
            reference = Reference(np.full(int(rows.completion_starts()[-1]), -2.0, dtype=np.float32))
        self.bench.synchronise()
        began = time.perf_counter()
        backward_step(
            self.policy, OBJECTIVES[objective], rows, range(len(rows)), tokens_per_micro_batch=budget,
            reference=reference, device=self.bench.device,
        )  # fmt: skip
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=False)
        self.bench.synchronise()
        return time.perf_counter() - began

    def work(self, rows: Any) -> float:
        """Floating-point operations of a step on these rows, nothing recomputed."""
        sizes = np.diff(rows.starts).astype(float)
        learned = float(rows.completion_starts()[-1])
        work = flops.Work(tokens=float(sizes.sum()), learned=learned, squares=float((sizes**2).sum()))
        return float(flops.training_flops(self.shape, work)["total"])


def rows_of(bench: Bench, sizes: Any, name: str) -> Any:
    """Rows of random tokens: pairs for sizes (rows, 2), examples for (rows, 1); prompts of 150 tokens, or a quarter."""
    rng, vocabulary = random.Random(0), TINY["vocab_size"] if bench.tiny else QWEN_1_5B["vocab_size"]
    records: list[Pair | Example] = []
    for i, tokens in enumerate(sizes):
        prompt = min(PROMPT, int(min(tokens)) // 4)
        texts = [numbers(rng, int(n) - prompt - 1, vocabulary) for n in tokens]
        opening = numbers(rng, prompt, vocabulary)
        records.append(
            Pair(f"p{i}", opening, *texts, f"c{i}", f"r{i}")
            if len(texts) == 2
            else Example(f"p{i}", f"t{i}", opening, texts[0])
        )
    return encoded(records, bench.work / name)


def paper_lengths(bench: Bench, pairs: int) -> np.ndarray:
    """(pairs, 2) tokens of chosen and rejected, prompts included, drawn from gamma distributions."""
    draw = np.random.default_rng(0)
    sides = [draw.gamma(1 / cv**2, mean * cv**2, pairs).clip(200, 19_000) for mean, cv in LENGTHS]
    return (np.stack(sides, axis=1) * (0.01 if bench.tiny else 1.0)).astype(int).clip(16)


def timed(bench: Bench, function: Callable[[], Any], repeats: int) -> float:
    """The least seconds of several calls, after one that does not count."""
    function()
    seconds = []
    for _ in range(repeats):
        bench.synchronise()
        began = time.perf_counter()
        function()
        bench.synchronise()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def product_rates(bench: Bench) -> Iterator[Row]:
    """FLOP/s of square matrix products: bf16, fp32, and fp32 by TF32 where there is a GPU."""
    size = 256 if bench.tiny else 8_192
    for name, dtype, precision in (
        ("bf16", torch.bfloat16, "highest"), ("fp32", torch.float32, "highest"), ("TF32", torch.float32, "high"),
    ):  # fmt: skip
        if name == "TF32" and not bench.cuda:
            continue
        torch.set_float32_matmul_precision(precision)
        a, b = (torch.randn(size, size, device=bench.device).to(dtype) for _ in range(2))
        rate = 2 * size**3 / timed(bench, lambda a=a, b=b: a @ b, 5)  # type: ignore[misc]
        torch.set_float32_matmul_precision("highest")
        bench.kept[name] = rate
        yield Row(f"{name} product of {size:,}^3, TFLOP/s", round(rate / 1e12, 4))


def speed(bench: Bench) -> Iterator[Row]:
    """Tokens a second and the share of the matrix-product rate: SFT, REDI and DPO steps, then sampling."""
    yield from product_rates(bench)
    budget = 256 if bench.tiny else BUDGET
    student = Student(bench, checkpointed_layers=2 if bench.tiny else 28)
    sizes = paper_lengths(bench, 2 if bench.tiny else 8)
    pairs = rows_of(bench, sizes, "speed-pairs")
    examples = rows_of(bench, sizes[:, :1], "speed-examples")
    for objective, rows in (("redi", pairs), ("sft", examples), ("dpo", pairs)):
        if bench.left() < 0:
            yield Row(f"a step of {objective}", "not run: time", "", None)
            continue
        seconds = timed(bench, lambda o=objective, r=rows: student.step(o, r, budget=budget), 1 if bench.tiny else 2)  # type: ignore[misc]
        tokens, rate = int(rows.starts[-1]), student.work(rows) / seconds
        what = f"{objective}, {len(rows)} rows, {tokens:,} tokens, all layers made again"
        yield Row(f"{what}: tokens a second", round(tokens / seconds))
        yield Row(f"{what}: share of the bf16 product rate", round(rate / bench.kept["bf16"], 4))
        if objective == "redi":
            hours = seconds / len(rows) * EPOCH_PAIRS / 3600
            yield Row("hours of the paper's epoch of pairs at this rate", round(hours, 2))
    yield from _sampling_speed(bench, student)


def _sampling_speed(bench: Bench, student: Student) -> Iterator[Row]:
    """The engine `transformers` on this student, whose last norm is scaled so that its choices are about as sharp as a
    trained model's: a flat distribution would time the sorting of the vocabulary."""
    student.optimizer = None
    gc.collect()
    model = student.model.eval()
    model.zero_grad(set_to_none=True)
    for layer in model.base_model.layers:
        layer.gradient_checkpointing = False
    model.set_attn_implementation("sdpa")
    with torch.no_grad():
        model.base_model.norm.weight *= 8.0
    tokenizer = loading.character_tokenizer("0123456789+-*=;#")
    answers, tokens = (4, 8) if bench.tiny else (128, 256)
    asked = [Request(f"{n}+{n + 3}=", n) for n in range(answers)]
    for temperature in (0.0, 0.6):
        bench.synchronise()
        began = time.perf_counter()
        said = ENGINES["transformers"](
            lambda: (model, tokenizer), asked, Sampling(1, temperature, 0.95, tokens), batch_size=answers, dtype="auto"
        )
        bench.synchronise()
        drawn = sum(sample.num_tokens or 0 for sample in said)
        what = f"sampling at temperature {temperature:g}, {answers} answers side by side, {drawn:,} tokens"
        yield Row(f"{what}: tokens a second", round(drawn / (time.perf_counter() - began)))


# --- memory -----------------------------------------------------------------------------------------------------------


def peaks(bench: Bench) -> Iterator[Row]:
    """Peak memory of a step against the estimate that `redistill plan` and a stage's start use, then the longest pair."""
    layers = TINY["num_hidden_layers"] if bench.tiny else QWEN_1_5B["num_hidden_layers"]
    cases = [(64, 0), (128, layers)] if bench.tiny else [(8_192, 0), (16_384, layers // 2), (32_768, layers)]
    free = torch.cuda.mem_get_info()[0] if bench.cuda else 0
    for tokens, checkpointed in cases:
        if bench.left() < 5:
            yield Row(f"{tokens:,} tokens, {checkpointed} of {layers} layers made again", "not run: time", "", None)
            continue
        student = Student(bench, checkpointed_layers=checkpointed)
        rows = rows_of(bench, [[tokens // 4, tokens]], f"peak-{tokens}")
        student.step("redi", rows_of(bench, [[16, 16]], "peak-first"), budget=1)  # moments and gradients are there
        estimated = sum(memory.estimate(student.shape, _setup(bench, tokens, checkpointed)).values())
        what = f"{tokens:,} tokens, {checkpointed} of {layers} layers made again: estimate over measured peak"
        if bench.cuda:
            torch.cuda.reset_peak_memory_stats()
            student.step("redi", rows, budget=1)
            measured = torch.cuda.max_memory_allocated()
            yield Row(f"measured peak at {tokens:,} tokens, GiB", round(measured / 2**30, 2))
            yield between(what, estimated / measured, 0.8, 1.25)
        else:
            reset_resident_peak()
            student.step("redi", rows, budget=1)
            yield Row(what + " (of the whole process)", estimated / resident_peak())
        del student
        gc.collect()
        if bench.cuda:
            torch.cuda.empty_cache()
    yield from longest(bench, layers, free)


def _setup(bench: Bench, tokens: int, checkpointed: int) -> memory.Setup:
    return memory.Setup(
        tokens=tokens, mixed_precision="bf16", checkpointed_layers=checkpointed, device="cuda" if bench.cuda else "cpu"
    )


def reset_resident_peak() -> None:
    """Let the kernel's high-water mark of this process start again (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def resident_peak() -> int:
    """The high-water mark of resident memory in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024


def predicted_longest(bench: Bench, shape: memory.Shape, free: int, cap: int) -> int:
    """The longest sequence that the estimate says fits, all layers made again, as `redistill plan` finds it."""
    low, high = 0, cap
    while low < high:
        middle = (low + high + 1) // 2
        setup = _setup(bench, middle, shape.layers)
        fits = memory.choose(shape, setup, available=free, checkpointing=True, offload=False).fits
        low, high = (middle, high) if fits else (low, middle - 1)
    return low


def longest(bench: Bench, layers: int, free: int) -> Iterator[Row]:
    """The longest side of a pair of which a step fits, to an eighth, by steps that are really taken.

    A sequence is a micro-batch of its own and gradients are there already, so the other side may be short: the peak is the
    same and the time half. The search begins where the estimate says; a try that would outlast the section is not made.
    """
    student = Student(bench, checkpointed_layers=layers)
    cap = 512 if bench.tiny else 1 << 19
    expected = predicted_longest(bench, student.shape, free, cap) if bench.cuda else cap // 2
    student.step("redi", rows_of(bench, [[16, 64]], "longest"), budget=1)
    fits, fails, pace, tokens = 64, cap + 1, 0.0, expected
    while fits < fails - 1 and (fails - fits) * 8 > fits and bench.left() > pace * tokens**2:
        rows = rows_of(bench, [[16, tokens]], "longest")
        seconds = _fits(student, rows)
        if seconds is None:
            fails = tokens
        else:
            fits, pace = tokens, seconds / tokens**2
        tokens = min(cap, (fits + fails) // 2 if fails <= cap else fits * 5 // 4 + 1)
        if fits == cap:
            break
    found = f"{fits:,} fit" + (f", {fails:,} do not" if fails <= cap else ", no more were tried")
    if not bench.cuda:
        yield Row(f"longest side of a pair, tokens (to {cap:,})", found)
        return
    short = fails <= cap and fails < 0.8 * expected
    yield holds("longest side of a pair, tokens", not short, found, f"at least 0.8 of plan's {expected:,}")
    yield Row("where the estimate says it ends, over the longest that fitted", expected / fits)


def _fits(student: Student, rows: Any) -> float | None:
    """Seconds of a step on the rows; None where the GPU runs out of memory."""
    try:
        return student.step("redi", rows, budget=1)
    except torch.OutOfMemoryError:
        pass  # what the step held is let go below, once the error and its frames are gone
    student.optimizer.zero_grad(set_to_none=False)
    gc.collect()
    torch.cuda.empty_cache()
    return None
