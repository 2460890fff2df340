"""The data and the untrained student of this experiment.

    pip install reasoning-gym==0.1.25
    python experiments/real-traces/make_data.py A_reasoning_gym_math.jsonl.gz runs/real-traces-data

Reads a sample of open-thought/reasoning-gym-eval (Apache-2.0; one problem a line with its generations) and writes

    real.jsonl      its problems of TASKS with all their traces, right and wrong, of 23 real teachers
    warmup.jsonl    new problems of the same tasks with right traces of a procedure that writes as those teachers do
    practice.jsonl  the same with smaller numbers; review.jsonl: a ninth of them, to be mixed with the real traces
    fresh.jsonl     new problems with smaller numbers, for the scores; harder.jsonl: new problems as in warmup.jsonl
    student/        a Llama made from nothing, with a BPE tokenizer trained on the right traces of the first two

No problem is in two of the files but practice and review.
"""

import gzip
import json
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import reasoning_gym
import torch
from reasoning_gym.arithmetic.leg_counting import ANIMALS
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

TASKS: dict[str, dict[str, Any]] = {
    "chain_sum": {"min_terms": 2, "max_terms": 4, "min_digits": 1, "max_digits": 3},
    "complex_arithmetic": {"operations": ("+", "-", "*"), "operations_weights": [0.4, 0.4, 0.2]},
    "leg_counting": {"min_animals": 2, "max_animals": 4},
}
SMALLER: dict[str, dict[str, Any]] = {
    "chain_sum": {"min_terms": 2, "max_terms": 3, "min_digits": 1, "max_digits": 2},
    "complex_arithmetic": {"operations": ("+", "-"), "operations_weights": [0.5, 0.5]},
    "leg_counting": {"min_animals": 2, "max_animals": 3},
}
WARMUP, PRACTICE, SCORED = 10_000, 9_000, 100  # problems a task
VOCABULARY = 1024
CONFIG = {"hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 4, "num_attention_heads": 4,
          "num_key_value_heads": 4, "max_position_embeddings": 512, "tie_word_embeddings": True}  # fmt: skip


def chain_sum(entry: dict, rng: random.Random) -> str:
    """A right trace: one operation a line, in the manner of four teachers."""
    words = entry["metadata"]["expression"].split()
    value, lines = int(words[0]), []
    for operator, number in zip(words[1::2], words[2::2]):
        after = value + int(number) if operator == "+" else value - int(number)
        lines.append((value, operator, number, f"{value} {operator} {number} = {after}"))
        value = after
    eval_settings_for = rng.randrange(4)
    if eval_settings_for == 0:
        steps = [f"{i}) {'First, l' if i == 1 else 'L'}et's {'add' if o == '+' else 'subtract'} {n}\n   {line}"
                 for i, (_, o, n, line) in enumerate(lines, 1)]  # fmt: skip
        return "Let me solve this step by step:\n\n" + "\n\n".join(steps) + f"\n\n<answer>{value}</answer>"
    if eval_settings_for == 1:
        steps = [f"{i}. {'Start with' if i == 1 else 'Then, add ' + n + ':' if o == '+' else 'Then, subtract ' + n + ':'} {line}"
                 for i, (_, o, n, line) in enumerate(lines, 1)]  # fmt: skip
        return (
            "To solve this problem, we go from left to right.\n\n" + "\n".join(steps) + f"\n\n<answer>{value}</answer>"
        )
    if eval_settings_for == 2:
        steps = [f"{i}. {line}" for i, (*_, line) in enumerate(lines, 1)]
        return "Let's break this down step by step:\n\n" + "\n".join(steps) + f"\n\n<answer>{value}</answer>"
    steps = [line for *_, line in lines]
    return "I'll solve this step by step.\n\n" + "\n".join(steps) + f"\n\n<answer>{value}</answer>"


def complex_arithmetic(entry: dict, rng: random.Random) -> str:
    """A right trace: real and imaginary parts one after the other, in the manner of three teachers."""
    (a, b), (c, d) = entry["metadata"]["num1"], entry["metadata"]["num2"]
    operation, answer = entry["metadata"]["operation"], entry["answer"]
    if operation == "*":
        first = f"({a}*{c} - {b}*{d}) + ({a}*{d} + {b}*{c})i"
        second = f"({a * c} - {b * d}) + ({a * d} + {b * c})i"
        opening = rng.choice(
            [
                "To multiply these complex numbers, we follow the rule: (a + bi) × (c + di) = (ac - bd) + (ad + bc)i.\n\n",
                "Let me solve this step by step:\n\n",
            ]
        )
        return f"{opening}{first}\n= {second}\n= {answer}\n\n<answer>{answer}</answer>"
    word = "add" if operation == "+" else "subtract"
    sign = 1 if operation == "+" else -1
    real, imaginary = a + sign * c, b + sign * d
    show = lambda x: f"({x})" if x < 0 else f"{x}"  # noqa: E731
    showi = lambda x: f"({x}i)" if x < 0 else f"{x}i"  # noqa: E731
    eval_settings_for = rng.randrange(3)
    if eval_settings_for == 0:
        return (f"Let me solve this step by step:\n\n1) To {word} complex numbers, {word} the real parts and imaginary parts separately\n\n"
                f"2) Real parts: {a} {operation} {show(c)} = {real}\n\n3) Imaginary parts: {b}i {operation} {showi(d)} = {imaginary}i\n\n"
                f"4) Combining real and imaginary parts: {answer}\n\n<answer>{answer}</answer>")  # fmt: skip
    if eval_settings_for == 1:
        return (f"To {word} complex numbers, {word} the real and imaginary parts separately:\n\n"
                f"Real part: {a} {operation} {show(c)} = {real}\nImaginary part: {b} {operation} {show(d)} = {imaginary}\n\n<answer>{answer}</answer>")  # fmt: skip
    return (f"I need to {word} the complex numbers.\n\nReal part: {a} {operation} {show(c)} = {real}\n"
            f"Imaginary part: {b}i {operation} {showi(d)} = {imaginary}i\n\nCombining these parts: {answer}\n\n<answer>{answer}</answer>")  # fmt: skip


def leg_counting(entry: dict, rng: random.Random) -> str:
    """A right trace: one animal a line, then the sum, at once or one by one, in the manner of two teachers."""
    counts, lines = [], []
    eval_settings_for, at_once = rng.randrange(2), rng.random() < 0.5
    for place, (animal, number) in enumerate(entry["metadata"]["animals"].items(), 1):
        legs = ANIMALS[animal]
        counts.append(number * legs)
        if eval_settings_for == 0:
            lines.append(f"{place}. {animal.capitalize()}s: {number} × {legs} legs = {number * legs} legs")
        else:
            lines.append(
                f"- {animal.capitalize()}s have {legs} legs each. {number} {animal}s have {number} * {legs} = {number * legs} legs."
            )
    value, sums = counts[0], []
    for count in counts[1:]:
        sums.append(f"{value} + {count} = {value + count}")
        value += count
    total = f"{' + '.join(map(str, counts))} = {value}" if at_once else "\n".join(sums)
    opening = (
        "Let me solve this step by step:"
        if eval_settings_for == 0
        else "To find the total number of legs, we count the legs of each animal:"
    )
    return opening + "\n\n" + "\n".join(lines) + f"\n\nTotal: {total}\n\n<answer>{value}</answer>"


TEACHERS: dict[str, Callable[[dict, random.Random], str]] = {
    "chain_sum": chain_sum,
    "complex_arithmetic": complex_arithmetic,
    "leg_counting": leg_counting,
}


def new_problems(kinds: dict[str, dict[str, Any]], size: int, seed: int, known: set[str]) -> Iterator[dict]:
    """`size` distinct problems of each kind that are not in `known`; adds them to it."""
    for task, options in kinds.items():
        made = 0
        for entry in reasoning_gym.create_dataset(task, size=10 * size, seed=seed, **options):
            if entry["question"] not in known and made < size:
                known.add(entry["question"])
                made += 1
                yield entry


def taught(entry: dict, place: int) -> dict[str, Any]:
    """A row of the layout `traces`: the problem with the procedure's right trace."""
    task = entry["metadata"]["source_dataset"]
    text = TEACHERS[task](entry, random.Random(f"{task}:{place}"))
    trace = {"text": text, "teacher": "procedure", "correct": True, "finish_reason": "stop"}
    return {"problem": entry["question"], "answer": entry["answer"], "source": task, "generations": [trace]}


def main(source: Path, out: Path) -> None:
    """Write everything under `out`."""
    out.mkdir(parents=True, exist_ok=True)
    with gzip.open(source, "rt", encoding="utf-8") as file:
        real = [row for row in map(json.loads, file) if row["task"] in TASKS]
    known = {row["problem"] for row in real}
    harder = list(new_problems(TASKS, SCORED, 1, known))
    warmup = [
        taught(entry, place % WARMUP) for place, entry in enumerate(new_problems(TASKS, WARMUP, 1_000_000, known))
    ]
    fresh = list(new_problems(SMALLER, SCORED, 2, known))
    practice = [taught(entry, place) for place, entry in enumerate(new_problems(SMALLER, PRACTICE, 2_000_000, known))]
    for name, rows in {"real": real, "warmup": warmup, "practice": practice, "review": practice[::9]}.items():
        _write(out / f"{name}.jsonl", rows)
    for name, entries in {"fresh": fresh, "harder": harder}.items():
        _write(out / f"{name}.jsonl", ({"problem": e["question"], "answer": e["answer"]} for e in entries))
        print(f"{out / name}.jsonl: {len(entries)} problems")
    right = [row["problem"] + "\n" + g["text"] for row in real for g in row["generations"] if g["correct"]]
    student(right + [row["problem"] + "\n" + row["generations"][0]["text"] for row in warmup[::8]], out / "student")
    print(f"{out}: {len(real)} real problems, {len(warmup)} and {len(practice)} of the procedure")


def student(texts: list[str], folder: Path) -> None:
    """A tokenizer trained on `texts`, every digit a token of its own, and a model with drawn weights."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY, special_tokens=["<pad>", "<eos>"], initial_alphabet=alphabet, show_progress=False
        ),
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="<eos>")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        **CONFIG,
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.save_pretrained(folder)
    print(f"{folder}: {model.num_parameters():,} parameters, {len(tokenizer):,} tokens")


def _write(path: Path, rows) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
