"""How long scoring takes on a big evaluation: 7,450 problems with 16 stored answers each, from Parquet to scores.

    python benchmarks/scoring_speed.py --traces my_traces.jsonl.gz
    python benchmarks/scoring_speed.py                                   made-up answers, nothing to download

Texts are those of the traces file, dealt round; verdicts are made up, for judging is the verifiers' business. Each part is
timed in the same run, and its time given as a share of the whole. The parts: reading the stored answers; the scores
without the rates that read every text; the two rates that do (repetition and unfinished thinking); a paired comparison of
two students of that size.
"""

import argparse
import gzip
import itertools
import json
import os
import random
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from redistill.evaluate import paired_difference
from redistill.evaluate import scores as scores_module
from redistill.evaluate.compare import by_difficulty, by_length, read_table
from redistill.evaluate.scores import STRICT, score
from redistill.io.parquet import read_records, write_records
from redistill.records import FINAL, Group, Outcome, Verdict, make_problem, make_trace
from redistill.text.repetition import repeats

PROBLEMS, SAMPLES = 7_450, 16


def texts(path: Path | None) -> list[str]:
    """The generations of a traces file, or made-up answers of 100 to 4,000 characters."""
    if path is not None:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            rows = map(json.loads, file)
            return [g["text"] for row in itertools.islice(rows, 500) for g in row["generations"]]
    rng = random.Random(0)
    words = ["so", "the", "sum", "is", "then", "we", "add", "and", "find", "that", "=", "+", "x"]
    return [
        " ".join(
            rng.choice(words) + (str(rng.randrange(99)) if rng.random() < 0.3 else "")
            for _ in range(rng.randint(20, 800))
        )
        for _ in range(2_000)
    ]


def made(pool: list[str], share: float) -> Iterator[Group]:
    """Judged groups of one student that is right with chance `share`."""
    rng, dealt = random.Random(share), itertools.cycle(pool)
    for number in range(PROBLEMS):
        problem = make_problem(f"Question {number}", answer="4")
        hard = rng.random()
        traces = []
        for index in range(SAMPLES):
            right = rng.random() < share * 2 * hard
            verdict = Verdict(Outcome.correct if right else Outcome.incorrect, "4" if right else str(index % 3))
            text = next(dealt)
            trace = make_trace(
                problem.id, text, sampling={"sample_index": index}, finish_reason="stop", num_tokens=len(text) // 4
            )
            traces.append(
                trace.with_verdict("cascade", verdict).with_verdict(STRICT, verdict).with_verdict(FINAL, verdict)
            )
        yield Group(problem, tuple(traces))


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """(seconds of CPU, what it returned): CPU time, for another process may be busy beside."""
    began = time.process_time()
    found = work()
    return time.process_time() - began, found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=Path, help="a traces file (.jsonl.gz) whose texts are used")
    options = parser.parse_args()
    pool = texts(options.traces)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "part-00000.parquet"
        write_records(path, Group, made(pool, 0.4))
        size = path.stat().st_size
        reading, groups = timed(lambda: list(read_records(path)))
        whole, one = timed(lambda: score(groups, n=SAMPLES))
        rates, _ = timed(
            lambda: [(repeats(t.completion), scores_module.is_unfinished_thinking(t)) for g in groups for t in g.traces]
        )
        other = score(made(pool, 0.42), n=SAMPLES)
        pairing, _ = timed(lambda: paired_difference(one, other))
        tables = read_table(groups), read_table(made(pool, 0.42))
        effects, _ = timed(lambda: (by_difficulty(*tables), by_length(*tables)))
    answers = PROBLEMS * SAMPLES
    parts = {
        "read the stored answers": reading,
        "scores without the rates that read texts": whole - rates,
        "repetition and unfinished thinking": rates,
        "paired comparison": pairing,
        "effect by difficulty and by length": effects,
    }
    total = sum(parts.values())
    lengths = sorted(map(len, pool))
    print(
        f"{answers:,} answers, median {lengths[len(lengths) // 2]:,} characters, {size / 2**20:.0f} MiB of Parquet; {os.cpu_count()} cores, one used"
    )
    print("| part | CPU seconds | share | answers a second |\n|---|---|---|---|")
    for name, seconds in parts.items():
        print(f"| {name} | {seconds:.1f} | {seconds / total:.0%} | {answers / seconds:,.0f} |")
    print(f"| all | {total:.1f} | 100% | {answers / total:,.0f} |")
    print(
        f"peak memory of this process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB; pass@1 {one['pass_at_1']['value']:.3f}"
    )


if __name__ == "__main__":
    main()
