"""Bytes, seconds and peak memory of the stages before training, on the quickstart's recipe and on made long traces.

    python benchmarks/stage_bytes.py --traces 0 1000 2000 --characters 30000

Traces are made: sentences of random words with numbers, eight to a problem, half of them right; a shard holds 250, whatever their
number, so that memory can be compared; 0 is the quickstart. Each stage is a `redistill run --until STAGE` in a process of its own; to measure
another version, run this file with PYTHONPATH=ITS/src. Memory as in corpus_scale.py: the largest sum of RSS over
the tool and its processes. Text bytes: of the completions in the input, before compression.
"""

import argparse
import json
import os
import random
import sys
import tempfile
from pathlib import Path

from corpus_scale import measure

RECIPE = """\
name: made
student:
  from_config: {model_type: llama, hidden_size: 16, intermediate_size: 32, num_hidden_layers: 1, num_attention_heads: 2,
                num_key_value_heads: 2, max_position_embeddings: 65536}
  alphabet: "0123456789abcdefghijklmnopqrstuvwxyz"
corpus: {sources: [{name: traces, path: PATH}], shards: SHARDS}
train: {redi: {objective: redi, learning_rate: 1e-6}}
"""
STAGES, PER_PROBLEM, PER_SHARD = ("corpus", "verify", "select"), 8, 250


def write_traces(path: Path, count: int, characters: int) -> int:
    """A file of the source `traces` with so many completions; returns the bytes of their text."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(4000)]
    odds = [1 / (rank + 1) for rank in range(len(words))]
    size = 0
    with path.open("w") as out:
        for problem in range(count // PER_PROBLEM):
            a, b = rng.randint(10, 10**6), rng.randint(10, 10**6)
            texts = []
            for place in range(PER_PROBLEM):
                said = [str(rng.randint(0, 999)) if rng.random() < 0.2 else word for word in rng.choices(words, odds, k=characters // 4)]  # fmt: skip
                answer = a + b + (place % 2)
                text = f"{' '.join(said)[: characters - 30]}. So it is \\boxed{{{answer}}}"
                size += len(text)
                texts.append({"text": text, "teacher": f"teacher-{place}"})
            row = {"problem": f"Problem {problem}: what is {a} + {b}?", "answer": str(a + b), "generations": texts}
            out.write(json.dumps(row) + "\n")
    return size


def of_folder(folder: Path) -> int:
    """Bytes of all files below."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=int, nargs="+", default=[0, 1000, 2000])
    parser.add_argument("--characters", type=int, default=30_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where the runs lie meanwhile")
    options = parser.parse_args()
    print(f"load average at the start: {os.getloadavg()[0]:.1f}")
    print(
        "| input | text | stage | groups/ | whole folder | wall s | CPU s | peak memory |\n|---|---|---|---|---|---|---|---|"
    )
    for count in options.traces:
        with tempfile.TemporaryDirectory(dir=options.folder) as name:
            folder, text, recipe, run = Path(name), 0, "quickstart", Path(name) / "quickstart"
            if count:
                text = write_traces(folder / "traces.jsonl", count, options.characters)
                shards = str(max(1, count // PER_SHARD))
                (folder / "made.yaml").write_text(
                    RECIPE.replace("PATH", str(folder / "traces.jsonl")).replace("SHARDS", shards)
                )
                recipe, run = str(folder / "made.yaml"), folder / "made"
            for stage in STAGES:
                command = [sys.executable, "-m", "redistill", "run", recipe, "--runs-dir", name, "--until", stage]
                peak, _, _, _, cpu = measure([*command, "--workers", "1"])
                seconds = json.loads((run / "run.json").read_text())["seconds"][stage]
                cells = [f"{count:,} traces" if count else recipe, f"{text / 1e6:.1f} MB" if count else "", stage]
                cells += [
                    f"{size / 1e3:,.0f} kB" for size in (of_folder(run / stage / "groups"), of_folder(run / stage))
                ]
                cells += [f"{seconds:.0f}", f"{cpu:.0f}", f"{peak / 2**20:,.0f} MB"]
                print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
