"""Seconds, peak memory and bytes on disk of the stages before training, at a million short traces or 100,000 long ones.

    taskset -c 0,1 python benchmarks/million.py --short 250000 500000 1000000 --long 25000 50000 100000 --folder /data

The traces are made, file by file with a seed each, so that memory does not grow with their number: eight to a problem, of four teachers,
half of them right, random words of a made vocabulary with numbers between them (500 characters, or 30,000), and a boxed answer. The student is a
folder with a byte-level BPE tokenizer of 8,192 tokens that is trained on such text. `redistill run` then makes one stage after the other,
each in a process of its own: verdicts by `cascade`, select with `certain` and all pairings compared, no scorer. Files and runs of a size are
removed as soon as it is measured. Each row is kept in FOLDER/rows.jsonl when its stage ends: the same command prints those again, and goes
on with the stage that it was killed in, which is made again from its start so that a row is always of a whole stage. What the tool says is in FOLDER/redistill.log.

Seconds are run.json's. Memory is the largest sum of RSS over the tool and all its processes (pages they share count more than once),
read five times a second, beside the largest single process below the top. Growth: each size's CPU seconds per trace against those of the smallest;
CPU seconds are of all processes, start and imports of the tool in them (8,000 traces show how much that is).
"""

import argparse
import json
import os
import random
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from corpus_scale import measure
from measure import machine

STAGES = ("corpus", "verify", "select")
PER_PROBLEM, PER_FILE_CHARS = 8, 64_000_000
CHARS = {"short": 500, "long": 30_000}

RECIPE = """\
name: million
student: {{model: {student}}}
corpus: {{sources: [{{name: traces, path: {files}}}]}}
verify: {{verifiers: [cascade]}}
train: {{redi: {{objective: redi, learning_rate: 1e-6}}}}
"""


@dataclass(frozen=True)
class Vocabulary:
    """Made words with Zipf's frequencies, and numbers between them."""

    words: np.ndarray
    cumulative: np.ndarray

    def text(self, rng: np.random.Generator, characters: int) -> str:
        """Random words of about so many characters."""
        places = np.searchsorted(self.cumulative, rng.random(characters // 5))
        return " ".join(self.words[places].tolist())[:characters]


def vocabulary() -> Vocabulary:
    """4,000 words of two to nine letters, and a number for every fifth of them."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(4000)]
    odds = np.array([1 / (rank + 1) for rank in range(4000)])
    numbers = [str(number) for number in range(1000)]
    shares = np.concatenate([0.8 * odds / odds.sum(), np.full(1000, 0.2 / 1000)])
    cumulative = np.cumsum(shares)
    cumulative[-1] = 1.0
    return Vocabulary(np.array([*words, *numbers], dtype=object), cumulative)


def rows(spoken: Vocabulary, first: int, count: int, characters: int) -> Iterator[str]:
    """Lines of the source `traces`: `count` problems from number `first` on, the same whatever the file they go to."""
    for number in range(first, first + count):
        rng = np.random.default_rng(number)
        a, b = (int(value) for value in rng.integers(10, 10**6, 2))
        texts = []
        for place in range(PER_PROBLEM):
            said = spoken.text(rng, characters - 80)
            text = f"We add {a} and {b}. {said}. So it is \\boxed{{{a + b + place % 2}}}"
            texts.append({"text": text, "teacher": f"teacher-{place // 2}"})
        statement = f"{spoken.text(rng, 150)}: what is {a} + {b}?"
        yield json.dumps({"problem": statement, "answer": str(a + b), "generations": texts}) + "\n"


def write_traces(folder: Path, spoken: Vocabulary, traces: int, characters: int) -> None:
    """Files of about PER_FILE_CHARS characters with so many traces in all."""
    folder.mkdir()
    problems = traces // PER_PROBLEM
    per_file = max(1, PER_FILE_CHARS // (characters * PER_PROBLEM))
    for first in range(0, problems, per_file):
        with (folder / f"{first // per_file:05d}.jsonl").open("w") as out:
            out.writelines(rows(spoken, first, min(per_file, problems - first), characters))


def write_student(folder: Path, spoken: Vocabulary) -> None:
    """A tiny student whose tokenizer is a byte-level BPE over made text, with room for 32,768 tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=8192, special_tokens=["<|end|>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator(rows(spoken, 0, 500, CHARS["short"]), trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|end|>")
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=len(fast), max_position_embeddings=32_768, num_key_value_heads=2, **sizes)
    LlamaForCausalLM(config).save_pretrained(folder)
    fast.save_pretrained(folder)


def size_of(folder: Path) -> int:
    """Bytes of all files below."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def stage_row(folder: Path, stage: str, more: list[str], log: Path) -> dict[str, Any]:
    """Make a stage from its start; its seconds, CPU seconds, peak of the tree, largest below, bytes of its folder, and what it kept."""
    run = folder / "runs" / "million"
    shutil.rmtree(run / stage, ignore_errors=True)
    command = [sys.executable, "-m", "redistill", "run", str(folder / "million.yaml"), *more]
    command += ["--runs-dir", str(folder / "runs"), "--until", stage]
    with log.open("a") as out:
        peak, _, below, _, cpu = measure(command, out)
    facts, ledger = (json.loads((run / name).read_text()) for name in ("run.json", f"{stage}/ledger.json"))
    accounts = {"corpus": ("problems", "traces"), "verify": ("traces",), "select": ("examples", "pairs")}[stage]
    kept = ", ".join(f"{ledger['accounts'][name]['kept']:,} {name}" for name in accounts)
    found = {"seconds": facts["seconds"][stage], "cpu": cpu, "peak": peak, "below": below}
    return {**found, "bytes": size_of(run / stage), "kept": kept}


def size_rows(
    kind: str, count: int, spoken: Vocabulary, options: argparse.Namespace, more: list[str]
) -> Iterator[dict[str, Any]]:
    """The rows of one size, those that an earlier call has kept first."""
    kept = options.folder / "rows.jsonl"
    wanted = {"kind": kind, "traces": count, "options": more}
    known = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    done = {row["stage"]: row for row in known if {name: row[name] for name in wanted} == wanted}
    folder = options.folder / f"{count}-{kind}"
    names = STAGES[: STAGES.index(options.until) + 1]
    for stage in names:
        if stage in done:
            yield done[stage]
            continue
        prepare(folder, spoken, count, CHARS[kind])
        row = {**wanted, "stage": stage, "input": size_of(folder / "in")}
        row |= stage_row(folder, stage, more, options.folder / "redistill.log")
        with kept.open("a") as out:
            out.write(json.dumps(row) + "\n")
        yield row
    shutil.rmtree(folder, ignore_errors=True)


def prepare(folder: Path, spoken: Vocabulary, traces: int, characters: int) -> None:
    """Student, traces and recipe of a size, unless they are there."""
    if (folder / "million.yaml").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_student(folder / "student", spoken)
    write_traces(folder / "in", spoken, traces, characters)
    (folder / "million.yaml").write_text(RECIPE.format(student=folder / "student", files=folder / "in"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", type=int, nargs="*", default=[], help="numbers of traces of 500 characters")
    parser.add_argument("--long", type=int, nargs="*", default=[], help="numbers of traces of 30,000 characters")
    parser.add_argument("--until", choices=STAGES, default="select")
    parser.add_argument("--folder", type=Path, required=True, help="where files and runs lie meanwhile, and the rows stay")  # fmt: skip
    options, more = parser.parse_known_args()  # what is left goes to `redistill run`, such as --workers 2
    options.folder.mkdir(parents=True, exist_ok=True)
    spoken = vocabulary()
    print(machine("pyarrow", "tokenizers", "transformers"))
    print("| traces | input | stage | CPU s | CPU ms a trace | of the smallest | wall s | peak memory, all processes | largest process below | on disk | kept |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|---|---|", flush=True)
    for kind, counts in (("short", options.short), ("long", options.long)):
        first: dict[str, float] = {}
        for count in counts:
            for row in size_rows(kind, count, spoken, options, more):
                each = row["cpu"] / count
                growth = each / first.setdefault(row["stage"], each)
                cells = [f"{count:,} {kind}", f"{row['input'] / 1e9:.2f} GB", row["stage"], f"{row['cpu']:.0f}", f"{each * 1000:.2f}", f"{growth:.2f}x"]  # fmt: skip
                cells += [f"{row['seconds']:.0f}", f"{row['peak'] / 2**20:,.0f} MiB", f"{row['below'] / 2**20:,.0f} MiB"]  # fmt: skip
                cells += [f"{row['bytes'] / 1e6:,.1f} MB", row["kept"]]
                print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
