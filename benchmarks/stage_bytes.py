"""Bytes, CPU seconds and peak memory of the stages before training on made long traces, and bytes of the quickstart.

    python benchmarks/stage_bytes.py --traces 1000 2000 --characters 30000

Traces are made: random words with numbers, eight to a problem, half of them right; a shard holds 250, whatever their number, so that
memory can be compared. Each stage's own work on its shards runs in a fresh process, one shard after the other: corpus, verify
with `cascade` and one worker (not counted), select with words for tokens. Peak: VmHWM. To measure another version, run this
file with PYTHONPATH=ITS/src:benchmarks.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from measure import machine, measured, peak_mib

STAGES, PER_PROBLEM, PER_SHARD = ("corpus", "verify", "select"), 8, 250


def write_traces(path: Path, count: int, characters: int) -> None:
    """A file of the source `traces` with so many completions."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(4000)]
    odds = [1 / (rank + 1) for rank in range(len(words))]
    with path.open("w") as out:
        for problem in range(count // PER_PROBLEM):
            a, b = rng.randint(10, 10**6), rng.randint(10, 10**6)
            texts = []
            for place in range(PER_PROBLEM):
                said = [str(rng.randint(0, 999)) if rng.random() < 0.2 else word for word in rng.choices(words, odds, k=characters // 4)]  # fmt: skip
                answer = a + b + (place % 2)
                text = f"{' '.join(said)[: characters - 30]}. So it is \\boxed{{{answer}}}"
                texts.append({"text": text, "teacher": f"teacher-{place}"})
            row = {"problem": f"Problem {problem}: what is {a} + {b}?", "answer": str(a + b), "generations": texts}
            out.write(json.dumps(row) + "\n")


def work(case: dict[str, Any]) -> dict[str, Any]:
    """One stage of the run in `folder`, all its shards; what it cost this process."""
    from redistill.corpus import collect
    from redistill.corpus.sources.traces import traces
    from redistill.io.shards import parts_to_do
    from redistill.io.stage_folder import StageFolder
    from redistill.select import SelectTask
    from redistill.select.pairing import certain
    from redistill.select.stage import select_part
    from redistill.verify import VERIFIERS
    from redistill.verify.stage import VerifyTask, closing_pool, verify_part

    run, stage = Path(case["folder"]), case["stage"]
    folder = StageFolder(run / stage, "made")
    folder.open()
    began = time.process_time()
    if stage == "corpus":
        collect(folder, [partial(traces, path=case["input"])], seed=0, num_shards=case["shards"], max_problems=None)
    else:
        before = StageFolder(run / STAGES[STAGES.index(stage) - 1], "made")
        if stage == "verify":
            task = VerifyTask({"cascade": partial(VERIFIERS["cascade"])}, 1, 5.0, 2048, "cascade")
            do = partial(verify_part, folder, task)
        else:
            chooses = SelectTask(lambda problem: problem.statement, words, lambda problem: False, certain)
            do = partial(select_part, folder, chooses)
        with closing_pool():
            for part in parts_to_do(before, folder):
                do(part)
        folder.finish(case["shards"])
    return {"seconds": time.process_time() - began, "peak": peak_mib()}


def words(texts: list[str]) -> list[list[int]]:
    """Numbers for the words of each text."""
    return [[hash(word) % 32_000 for word in text.split()] for text in texts]


def of_folder(folder: Path) -> int:
    """Bytes of all files below."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def row(name: str, text: str, run: Path, stage: str, *cells: str) -> None:
    """Print what a stage left."""
    sizes = [f"{size / 1e3:,.0f} kB" for size in (of_folder(run / stage / "groups"), of_folder(run / stage))]
    print("| " + " | ".join([name, text, stage, *sizes, *cells]) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=int, nargs="*", default=[1000, 2000])
    parser.add_argument("--characters", type=int, default=30_000)
    parser.add_argument("--quickstart", action="store_true", help="also run the quickstart's stages, for their bytes")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where the runs lie meanwhile")
    parser.add_argument("--worker", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker is not None:
        print(json.dumps(work(options.worker)))
        return
    print(machine("pyarrow"))
    print("| input | text | stage | groups/ | whole folder | CPU s | peak memory |\n|---|---|---|---|---|---|---|")
    if options.quickstart:
        with tempfile.TemporaryDirectory(dir=options.folder) as name:
            command = [sys.executable, "-m", "redistill", "run", "quickstart", "--runs-dir", name, "--until", "select"]
            subprocess.run(command, check=True, capture_output=True)
            for stage in STAGES:
                row("quickstart", "", Path(name) / "quickstart", stage, "", "")
    for count in options.traces:
        source = options.folder / f"made-{count}-{options.characters}.jsonl"  # kept, for the next version to read
        if not source.exists():
            write_traces(source, count, options.characters)
        with tempfile.TemporaryDirectory(dir=options.folder) as name:
            for stage in STAGES:
                case = {"folder": name, "stage": stage, "input": str(source), "shards": max(1, count // PER_SHARD)}
                cost = measured(case)
                costs = f"{cost['seconds']:.1f}", f"{cost['peak']:,} MiB"
                row(f"{count:,} traces", f"{count * options.characters / 1e6:.0f} MB", Path(name), stage, *costs)


if __name__ == "__main__":
    main()
