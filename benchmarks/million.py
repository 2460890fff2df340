"""Seconds, peak memory and bytes on disk of the stages before training, at a million short traces or 100,000 long ones.

    taskset -c 0,1 python benchmarks/million.py --short 250000 500000 1000000 --long 25000 50000 100000 --folder /data

The traces are made, file by file with a seed each, so that memory does not grow with their number: eight to a problem, of four teachers,
half of them right, random words of a made vocabulary with numbers between them (500 characters, or 30,000), and a boxed answer. The student is a
folder with a byte-level BPE tokenizer of 8,192 tokens that is trained on such text. `redistill run` then makes one stage after the other,
each in a process of its own: verdicts by `cascade`, select with `certain` and all pairings compared, no scorer. Files and runs are
removed as soon as they are measured.

Seconds are run.json's. Memory is the largest sum of RSS over the tool and all its processes (pages they share count more than once),
read five times a second, beside the largest single process below the top. Growth: each size's seconds per trace against those of the smallest.
"""

import argparse
import json
import os
import random
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

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


def write_traces(folder: Path, spoken: Vocabulary, traces: int, characters: int) -> int:
    """Files of about PER_FILE_CHARS characters with so many traces in all; returns their bytes."""
    folder.mkdir()
    problems = traces // PER_PROBLEM
    per_file = max(1, PER_FILE_CHARS // (characters * PER_PROBLEM))
    for first in range(0, problems, per_file):
        with (folder / f"{first // per_file:05d}.jsonl").open("w") as out:
            out.writelines(rows(spoken, first, min(per_file, problems - first), characters))
    return size_of(folder)


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


def stages(folder: Path, until: str, more: list[str]) -> Iterator[tuple[str, float, float, int, int, int, str]]:
    """(stage, seconds, CPU seconds, peak of the tree, largest below, bytes of the stage's folder, what it kept) one after the other."""
    run = folder / "runs" / "million"
    for stage in STAGES[: STAGES.index(until) + 1]:
        command = [sys.executable, "-m", "redistill", "run", str(folder / "million.yaml"), *more]
        command += ["--runs-dir", str(folder / "runs"), "--until", stage]
        peak, _, below, _, cpu = measure(command)
        facts, ledger = (json.loads((run / name).read_text()) for name in ("run.json", f"{stage}/ledger.json"))
        accounts = {"corpus": ("problems", "traces"), "verify": ("traces",), "select": ("examples", "pairs")}[stage]
        kept = ", ".join(f"{ledger['accounts'][name]['kept']:,} {name}" for name in accounts)
        yield stage, facts["seconds"][stage], cpu, peak, below, size_of(run / stage), kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", type=int, nargs="*", default=[], help="numbers of traces of 500 characters")
    parser.add_argument("--long", type=int, nargs="*", default=[], help="numbers of traces of 30,000 characters")
    parser.add_argument("--until", choices=STAGES, default="select")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where files and runs lie meanwhile")  # fmt: skip
    options, more = parser.parse_known_args()  # what is left goes to `redistill run`, such as --workers 2
    spoken = vocabulary()
    print(machine("pyarrow", "tokenizers", "transformers"))
    print("| traces | input | stage | seconds | seconds a trace, of the smallest | CPU s | peak memory, all processes | largest process below | bytes on disk | kept |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|---|")
    for kind, counts in (("short", options.short), ("long", options.long)):
        first: dict[str, float] = {}
        for count in counts:
            with tempfile.TemporaryDirectory(dir=options.folder) as name:
                folder = Path(name)
                write_student(folder / "student", spoken)
                size = write_traces(folder / "in", spoken, count, CHARS[kind])
                (folder / "million.yaml").write_text(RECIPE.format(student=folder / "student", files=folder / "in"))
                for stage, seconds, cpu, peak, below, bytes_, kept in stages(folder, options.until, more):
                    each = seconds / count
                    growth = each / first.setdefault(stage, each)
                    cells = [f"{count:,} {kind}", f"{size / 1e9:.2f} GB", stage, f"{seconds:.0f}", f"{growth:.2f}x", f"{cpu:.0f}"]  # fmt: skip
                    cells += [f"{peak / 2**20:,.0f} MiB", f"{below / 2**20:,.0f} MiB", f"{bytes_ / 1e9:.2f} GB", kept]
                    print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
