"""Scoring the steps of traces with an in-process head: ours against a padded transformers loop on the same model and rows.

    python benchmarks/score_throughput.py [--rows 256] [--traces traces.jsonl.gz] [--repeats 3] [--out FILE.jsonl]

The model is a token classifier of 4 layers and width 256 (or --hidden, --layers), random weights, fp32. Rows are random tokens of the lengths of a traces
file (a token per 3.5 characters) or of a log-normal law (median 350, sigma 1), at most 2,048 tokens; a step ends every 40 tokens. The
loop is what a user writes: batches of 16 rows in the order of the file, padded to the longest of the batch, under torch's fused attention. `sorted` is the same loop on rows sorted by
length. Scores are compared before anything is timed. Seconds are CPU seconds of the process (OMP_NUM_THREADS=1), memory is its peak
beyond what it held before; each measurement is a process of its own.
"""

import argparse
import gzip
import json
import math
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measure import machine, measured, peak_mib, ratio, reset_peak

MOST, STEP, BATCH = 2048, 40, 16
Rows = list[tuple[list[int], list[int]]]
PEERS = {
    "ours": "redistill, packed",
    "loop": "padded loop, batches of 16",
    "sorted": "padded loop, rows sorted by length",
}


def lengths_of(case: dict[str, Any]) -> list[int]:
    """Tokens of each row."""
    draw = random.Random(case["seed"])
    if case["traces"]:
        found = []
        with gzip.open(case["traces"], "rt", encoding="utf-8") as file:
            for line in file:
                generations = json.loads(line).get("generations") or []
                found += [len(one["text"] if isinstance(one, dict) else one) for one in generations]
        draw.shuffle(found)
        found = [max(8, math.ceil(characters / 3.5)) for characters in found if characters]
    else:
        found = [max(8, round(draw.lognormvariate(math.log(350), 1.0))) for _ in range(case["rows"])]
    return [min(MOST, tokens) for tokens in found[: case["rows"]]]


def rows_of(case: dict[str, Any]) -> Rows:
    """(ids, places at which a step ends) of each row."""
    draw = random.Random(case["seed"] + 1)
    rows = []
    for length in lengths_of(case):
        places = [*range(STEP - 1, length - 1, STEP), length - 1]
        rows.append(([draw.randrange(5, 500) for _ in range(length)], places))
    return rows


def model_of(case: dict[str, Any]) -> Any:
    import torch
    from transformers import AutoModelForTokenClassification, LlamaConfig

    torch.manual_seed(0)
    heads = max(1, case["hidden"] // 64)
    config = LlamaConfig(vocab_size=512, hidden_size=case["hidden"], intermediate_size=3 * case["hidden"], num_hidden_layers=case["layers"],
                         num_attention_heads=heads, num_key_value_heads=heads, max_position_embeddings=MOST, num_labels=1, pad_token_id=0)  # fmt: skip
    return AutoModelForTokenClassification.from_config(config).eval()


def ours(model: Any) -> Callable[[Rows], list[list[float]]]:
    """The kernel of the scorer `process`, its model made ready."""
    from redistill.model.batches import HeadOutputs
    from redistill.model.score_heads import prepare_scores, score_head

    reader = HeadOutputs(model.base_model, score_head(model), packs=prepare_scores(model), limit=MOST)
    return lambda rows: [found[:, 0].tolist() for found in reader(rows) if not isinstance(found, str)]


def padded(model: Any, rows: Rows, by_length: bool) -> list[list[float]]:
    """Batches of rows padded to the longest of each."""
    import torch

    order = sorted(range(len(rows)), key=lambda n: -len(rows[n][0])) if by_length else list(range(len(rows)))
    found: list[list[float]] = [[] for _ in rows]
    with torch.no_grad():
        for start in range(0, len(order), BATCH):
            numbers = order[start : start + BATCH]
            longest = max(len(rows[n][0]) for n in numbers)
            ids = torch.tensor([[*rows[n][0], *[0] * (longest - len(rows[n][0]))] for n in numbers])
            mask = torch.tensor([[1] * len(rows[n][0]) + [0] * (longest - len(rows[n][0])) for n in numbers])
            logits = model(input_ids=ids, attention_mask=mask).logits[..., 0]
            for row, n in enumerate(numbers):
                found[n] = logits[row, rows[n][1]].tolist()
    return found


def work(case: dict[str, Any]) -> dict[str, Any]:
    """One measurement, after a small one that warms up."""
    rows, model = rows_of(case), model_of(case)

    own = ours(model) if case["peer"] == "ours" else None

    def score(some: Rows) -> list[list[float]]:
        return own(some) if own else padded(model, some, case["peer"] == "sorted")

    score([row for row in rows if len(row[0]) < 200][:4])
    reset_peak()
    before = peak_mib()
    began = time.process_time()
    found = score(rows)
    seconds = time.process_time() - began
    tokens = sum(len(ids) for ids, _ in rows)
    head = [value for row in found[:8] for value in row]
    return {
        "seconds": seconds,
        "mib": peak_mib() - before,
        "tokens": tokens,
        "first": head,
        "steps": sum(map(len, found)),
    }


def main() -> None:
    """Measure all peers in turns and print ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--traces", type=lambda path: str(Path(path).resolve()))
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--worker", type=json.loads)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(work(options.worker)))
        return
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    print(machine("torch", "transformers"))
    case = {"rows": options.rows, "traces": options.traces, "hidden": options.hidden, "layers": options.layers}
    times: dict[str, list[float]] = {peer: [] for peer in PEERS}
    for turn in range(options.repeats):
        found = {peer: measured({**case, "peer": peer, "seed": turn}) for peer in PEERS}
        for peer, one in found.items():
            gap = max(abs(a - b) for a, b in zip(one["first"], found["loop"]["first"], strict=True))
            assert gap < 1e-4, f"{peer} scores otherwise than the loop, by {gap}"
            times[peer].append(one["seconds"])
            line = {**case, "turn": turn, "peer": peer, **{k: v for k, v in one.items() if k != "first"}}
            print(json.dumps(line))
            if options.out:
                with open(options.out, "a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
    for peer in ("loop", "sorted"):
        print(f"{PEERS[peer]}: {ratio(times[peer], times['ours'])} of our CPU seconds")


if __name__ == "__main__":
    sys.exit(main())
