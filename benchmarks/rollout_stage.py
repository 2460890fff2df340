"""A round of learning from own answers, sampling and step: ours against TRL's GRPOTrainer, on the same answers, side by side.

    OMP_NUM_THREADS=1 python benchmarks/rollout_stage.py [--rounds 4] [--repeats 3] [--dead 0.5] [--out FILE.jsonl]
    OMP_NUM_THREADS=1 python benchmarks/rollout_stage.py --model FOLDER --problems 4 --n 4 --longest 128      e.g. SmolLM2-135M
    OMP_NUM_THREADS=1 python benchmarks/rollout_stage.py --lengths FILE.jsonl.gz      answers as unlike in length as these traces

Both peers compute every logit and draw every token as they always do; then the draw is replaced by the next token of a given answer,
so both say the same 128 answers of the same lengths (those of `two-habits` traces, the toy's stored data, or of the traces of --lengths)
and earn the same rewards.
A reward costs nothing here. The student is the quickstart's shape with random weights, or --model; fp32, AdamW, one step a round.
TRL runs with each of a few settings, and the fastest counts; ours runs as a stage runs, with its files written. Every measurement
is a process of its own whose first round does not count; peers take turns. Seconds are CPU seconds of the process, memory is
the peak of its resident memory in the counted rounds.

`--part sampling` leaves the step out: the engine with slots against plain `generate` in batches.
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measure import machine, measured, peak_mib, ratio, reset_peak

PEERS = {
    "round": {
        "ours": "redistill, grpo",
        "trl_128": "TRL, one batch a round",
        "trl_32": "TRL, batches of a quarter",
        "trl_16": "TRL, batches of an eighth",
    },
    "sampling": {
        "ours": "engine with slots",
        "generate_128": "`generate`, one batch a round",
        "generate_32": "`generate`, batches of a quarter",
        "generate_16": "`generate`, batches of an eighth",
    },
}
PARTS_OF_ROUND = {"128": 1, "32": 4, "16": 8}
STUDENT = {
    "model_type": "llama", "hidden_size": 96, "intermediate_size": 256, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 4, "max_position_embeddings": 256, "tie_word_embeddings": True,
}  # fmt: skip


def load(case: dict[str, Any]) -> tuple[Any, Any]:
    """The student and its tokenizer."""
    from redistill.config.tables import StudentSettings
    from redistill.model import loading

    settings = StudentSettings(model=case["model"]) if case["model"] else StudentSettings(from_config=STUDENT, alphabet="0123456789+-*=;#")  # fmt: skip
    tokenizer = loading.load_tokenizer(settings)
    return loading.load_model(settings, tokenizer, seed=0), tokenizer


def script(case: dict[str, Any], tokenizer: Any) -> tuple[list[str], list[list[list[int]]]]:
    """(prompts of a round, its answers: for each prompt n lists of token ids, the end-of-turn token last)."""
    from redistill.corpus.sources import SOURCES
    from redistill.model import loading

    draw, groups = random.Random(0), []
    for group in SOURCES["two-habits"](problems=400, traces=4):
        groups.append(group)
    prompts = [group.problem.statement for group in groups][: case["problems"]]
    if case["lengths"]:  # in characters: the toy has no token for most of them
        read = SOURCES["traces"](path=case["lengths"])
        stored = sorted(len(trace.completion) for group in read for trace in group.traces)
    else:
        traces = [trace.completion for group in groups for trace in group.traces]
        stored = [len(ids) for ids in loading.encode_completions(tokenizer, traces)]
    lengths = [draw.choice(stored) for _ in range(len(prompts) * case["n"])]
    scale = case["longest"] / (max(lengths) if case["lengths"] else max(stored))
    sizes = [max(2, round(scale * length)) for length in lengths]
    rows = [[draw.randrange(4, 14) for _ in range(size - 1)] for size in sizes]
    ended = [[*row, int(tokenizer.eos_token_id)] for row in rows]
    return prompts, [ended[start : start + case["n"]] for start in range(0, len(ended), case["n"])]


def reward_of(problem: int, index: int, case: dict[str, Any]) -> float:
    """1 for every other answer; all alike for the share `dead` of the problems."""
    return 1.0 if problem < case["dead"] * case["problems"] else float(index % 2)


# --- ours ----------------------------------------------------------------------------------------------------------------


def scripted_draws(answers: list[list[int]]) -> None:
    """From here on the engine draws as always, and then says the next token of each answer."""
    import torch

    from redistill.rollout import local_sampling

    real = local_sampling._chooser

    def chooser(*arguments: Any) -> Any:
        choose = real(*arguments)

        def said(scores: Any, places: Any, steps: Any) -> Any:
            choose(scores, places, steps)
            return torch.tensor([answers[place][step] for place, step in zip(places, steps, strict=True)])

        return said

    local_sampling._chooser = chooser


def our_round(case: dict[str, Any]) -> dict[str, float]:
    """CPU seconds a round of a stage, and its peak memory."""
    from functools import partial

    from redistill.config.tables import LimitSettings, Plugin, RolloutSettings, StageSettings
    from redistill.records import Outcome, Verdict, make_problem
    from redistill.rollout.answer import EvalConfig
    from redistill.rollout.requests import Sampling
    from redistill.rollout.stage_engines import in_process
    from redistill.train.advantages import ADVANTAGES
    from redistill.train.objectives import OBJECTIVES
    from redistill.train.rollout_supply import Rollouts
    from redistill.train.rollouts import RolloutJob
    from redistill.train.stage import StageJob, train_stage
    from redistill.train.trainer import Trainer

    model, tokenizer = load(case)
    prompts, answers = script(case, tokenizer)
    scripted_draws([row for rows in answers for row in rows])
    rewards: dict[str, list[float]] = {}

    class Judged:
        names = ("exact",)

        def judge(self, items: Any, names: Any) -> Any:
            for _ in items:
                yield {"exact": Verdict(Outcome.correct)}

    def reward(problem: Any, trace: Any) -> float:
        index = trace.sampling["sample_index"]
        return reward_of(order.index(problem.id), index, case)

    problems = [make_problem(text, answer="1") for text in prompts]
    settings = RolloutSettings(problems=len(problems), n=case["n"], rounds=case["rounds"] + 1, updates=1)
    sampling = Sampling(case["n"], 1.0, 1.0, case["longest"] + 1, logprobs=True)
    engine = partial(in_process, batch_size=128)
    config = EvalConfig(engine, lambda p: p.statement, {}, "exact", sampling, 0, LimitSettings())
    job = RolloutJob(
        settings, config, problems, ((1.0, reward),), ADVANTAGES["group"], lambda group: "none", Judged(), "own", 0
    )
    order = [problem.id for problem in problems]
    del rewards
    stage = StageSettings(
        objective=Plugin(name="grpo"), learning_rate=1e-6, decay="constant", save_every=10_000, warmup=0.0,
        tokens_per_micro_batch=case["micro"], gradient_checkpointing=False,
    )  # fmt: skip
    marks: list[float] = []
    real = Trainer.step

    def timed(self: Any, rate: float) -> Any:
        if len(marks) == 1:
            reset_peak()
        found = real(self, rate)
        marks.append(time.process_time())
        return found

    Trainer.step = timed  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        job_of_stage = StageJob(Path(folder), "own", stage, OBJECTIVES["grpo"], "f", 0, "")
        train_stage(job_of_stage, records=(), student=lambda: (model, tokenizer), drawn=Rollouts(job))
    return {"seconds": (marks[-1] - marks[0]) / case["rounds"], "mib": peak_mib()}


def our_sampling(case: dict[str, Any]) -> dict[str, float]:
    """CPU seconds of a round's answers by the engine with slots."""
    from redistill.rollout import ENGINES, Request, Sampling

    model, tokenizer = load(case)
    prompts, answers = script(case, tokenizer)
    scripted_draws([row for rows in answers for row in rows])
    asked = [Request(text, seed) for text in prompts for seed in range(case["n"])]
    sampling = Sampling(1, 1.0, 1.0, case["longest"] + 1, logprobs=True)
    return timed_rounds(
        case, lambda: ENGINES["transformers"](lambda: (model, tokenizer), asked, sampling, batch_size=128)
    )


def timed_rounds(case: dict[str, Any], work: Any) -> dict[str, float]:
    """CPU seconds a call, the first one apart, and the peak memory of the others."""
    work()
    reset_peak()
    started = time.process_time()
    for _ in range(case["rounds"]):
        work()
    return {"seconds": (time.process_time() - started) / case["rounds"], "mib": peak_mib()}


# --- the others ------------------------------------------------------------------------------------------------------------


def scripted_processor(answers: list[list[int]]) -> Any:
    """A logits processor that leaves each row the next token of its answer alone; answers in the order of the rows."""
    import torch
    from transformers import LogitsProcessor

    class Script(LogitsProcessor):
        start = -1

        def __call__(self, input_ids: Any, scores: Any) -> Any:
            self.start = input_ids.shape[1] if self.start < 0 else self.start
            step = input_ids.shape[1] - self.start
            tokens = torch.tensor([row[min(step, len(row) - 1)] for row in answers])
            return torch.full_like(scores, -1e9).scatter_(-1, tokens[:, None], 0.0)

    return Script()


def generate_in_batches(case: dict[str, Any], parts: int) -> dict[str, float]:
    """CPU seconds of a round's answers by `generate`, sampling at temperature 1, in so many batches."""
    import torch
    from transformers import LogitsProcessorList

    from redistill.model import loading

    model, tokenizer = load(case)
    prompts, answers = script(case, tokenizer)
    rows = [row for rows in answers for row in rows]
    ids = [prompt for prompt in loading.encode_prompts(tokenizer, prompts) for _ in range(case["n"])]
    size, pad = len(rows) // parts, int(tokenizer.pad_token_id)
    model.eval()

    @torch.inference_mode()
    def work() -> None:
        for start in range(0, len(rows), size):
            batch = ids[start : start + size]
            width = max(map(len, batch))
            model.generate(
                input_ids=torch.tensor([[pad] * (width - len(p)) + p for p in batch]),
                attention_mask=torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in batch]),
                max_new_tokens=case["longest"] + 1, do_sample=True, temperature=1.0, top_k=0, top_p=1.0,
                eos_token_id=int(tokenizer.eos_token_id), pad_token_id=pad,
                logits_processor=LogitsProcessorList([scripted_processor(rows[start : start + size])]),
            )  # fmt: skip

    return timed_rounds(case, work)


def trl_round(case: dict[str, Any], parts: int) -> dict[str, float]:
    """CPU seconds a round of TRL's GRPOTrainer, and its peak memory."""
    from datasets import Dataset
    from transformers import LogitsProcessorList, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    model, tokenizer = load(case)
    prompts, answers = script(case, tokenizer)
    rows = [row for rows in answers for row in rows]
    real = model.generate

    def generate(*arguments: Any, **named: Any) -> Any:
        return real(*arguments, **named, logits_processor=LogitsProcessorList([scripted_processor(rows)]))

    model.generate = generate

    def reward(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
        return [reward_of(place // case["n"], place % case["n"], case) for place in range(len(completions))]

    marks: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *arguments: Any, **named: Any) -> None:
            marks.append(time.process_time())
            if len(marks) == 1:
                reset_peak()

    with tempfile.TemporaryDirectory() as folder:
        config = GRPOConfig(
            output_dir=folder, use_cpu=True, bf16=False, gradient_checkpointing=False, max_steps=case["rounds"] + 1,
            per_device_train_batch_size=len(rows) // parts, gradient_accumulation_steps=parts, num_generations=case["n"],
            max_completion_length=case["longest"] + 1, temperature=1.0, beta=0.0, loss_type="grpo", num_iterations=1,
            learning_rate=1e-6, lr_scheduler_type="constant", logging_strategy="no", save_strategy="no", report_to="none",
            shuffle_dataset=False, disable_dropout=True, dataloader_num_workers=0, dataloader_pin_memory=False,
        )  # fmt: skip
        data = Dataset.from_dict({"prompt": prompts * (case["rounds"] + 1)})
        trainer = GRPOTrainer(
            model=model, args=config, reward_funcs=reward, train_dataset=data, processing_class=tokenizer, callbacks=[Clock()]
        )  # fmt: skip
        trainer.train()
    return {"seconds": (marks[-1] - marks[0]) / case["rounds"], "mib": peak_mib()}


def worker(case: dict[str, Any]) -> dict[str, float]:
    """One measurement."""
    peer, _, parts = case["peer"].partition("_")
    if peer == "ours":
        return our_round(case) if case["part"] == "round" else our_sampling(case)
    return {"trl": trl_round, "generate": generate_in_batches}[peer](case, PARTS_OF_ROUND[parts])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--worker", type=json.loads)
    parser.add_argument("--part", choices=PEERS, default="round")
    parser.add_argument("--peers", help="default: all of the part")
    parser.add_argument("--model", help="a folder; default: the quickstart's toy with random weights")
    parser.add_argument(
        "--lengths", help="a file of traces: answers are as unlike in length as they are; default: two-habits"
    )
    parser.add_argument("--problems", type=int, default=16)
    parser.add_argument("--n", type=int, default=8)
    parser.add_argument("--longest", type=int, default=95)
    parser.add_argument("--micro", type=int, default=8192, help="our tokens_per_micro_batch")
    parser.add_argument("--dead", type=float, default=0.0, help="share of problems whose answers all earn the same")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(worker(options.worker)))
        return
    names = PEERS[options.part]
    peers = options.peers.split(",") if options.peers else list(names)
    shared = {
        key: getattr(options, key)
        for key in ("part", "model", "lengths", "problems", "n", "longest", "micro", "dead", "rounds")
    }
    print(machine("torch", "transformers", "accelerate", "trl"), file=sys.stderr)
    found: dict[str, list[dict[str, float]]] = {peer: [] for peer in peers}
    for repeat in range(options.repeats):
        for peer in peers:
            one = measured({"peer": peer, **shared})
            found[peer].append(one)
            print(f"{repeat} {peer}: {one}", file=sys.stderr, flush=True)
            if options.out:
                with options.out.open("a") as file:
                    file.write(json.dumps({"repeat": repeat, "peer": peer, **shared, **one}) + "\n")
    answers = options.problems * options.n
    print("| peer | CPU seconds a round | answers a CPU second | time against ours | peak MiB | memory against ours |")
    print("|---|---|---|---|---|---|")
    ours = found.get("ours", [])
    for peer in peers:
        seconds, memory = ([one[key] for one in found[peer]] for key in ("seconds", "mib"))
        against = ["", ""]
        if ours and peer != "ours":
            against = [ratio(seconds, [o["seconds"] for o in ours]), ratio(memory, [o["mib"] for o in ours])]
        print(
            f"| {names[peer]} | {statistics.median(seconds):.2f} | {answers / statistics.median(seconds):.1f} | {against[0]} | "
            f"{statistics.median(memory):,.0f} | {against[1]} |"
        )


if __name__ == "__main__":
    main()
