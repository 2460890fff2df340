"""Processor seconds of the verifier `cascade` on a mixed file of traces, in one process, to be run at two commits in turn.

    PYTHONPATH=src      taskset -c 0 python benchmarks/verifying_one_core.py FOLDER
    PYTHONPATH=OLD/src  taskset -c 0 python benchmarks/verifying_one_core.py FOLDER          a checkout of the other commit

FOLDER holds files of problems with `answer` and `generations[].text` (FILES); with seed 0 as many problems of each are drawn as stand
there, and the first --traces traces of their shuffled list are judged. A trace that takes more than five seconds is counted as
`timeout`, as in a run. Only names that both commits have are used: `Problem`, `Trace`, `VERIFIERS`.
"""

import argparse
import collections
import gzip
import json
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from redistill.records import Problem, Trace
from redistill.verify import VERIFIERS

FILES = {
    "A_zeroeval_math_l5": 260,
    "A_reasoning_gym_math": 400,
    "A_misc_math": 90,
    "A_rg_qwen3b_benchmarks": 1000,
}
LIMIT_SECONDS = 5


class _OutOfTime(BaseException):
    """Raised by the timer; not an Exception, so that no verifier catches it."""


def _stop(*_: object) -> None:
    raise _OutOfTime


def items(folder: Path, count: int) -> Iterator[tuple[Problem, Trace]]:
    """The first `count` traces of the drawn problems, each with its problem."""
    rng, rows = random.Random(0), []
    for name, problems in FILES.items():
        with gzip.open(folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
            read = [json.loads(line) for line in file]
        rng.shuffle(read)
        rows += [row for row in read if row.get("answer") not in (None, "")][:problems]
    rng.shuffle(rows)
    for row in rows:
        problem = Problem("p", row["problem"], str(row["answer"]))
        for said in row["generations"][:count]:
            yield problem, Trace("t", said["text"], "teacher")
        count -= len(row["generations"][:count])


def main() -> None:
    """Print the seconds in all, and by outcome; and those of the slowest traces."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--traces", type=int, default=18_967)
    options = parser.parse_args()
    signal.signal(signal.SIGPROF, _stop)
    judge, judged = VERIFIERS["cascade"], list(items(options.folder, options.traces))
    judge(*judged[0])  # the libraries are imported
    seconds: list[float] = []
    by_outcome: dict[str, list[float]] = collections.defaultdict(list)
    for problem, trace in judged:
        start = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, LIMIT_SECONDS)
        try:
            outcome = judge(problem, trace).outcome.value
        except _OutOfTime:
            outcome = "timeout"
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        seconds.append(time.process_time() - start)
        by_outcome[outcome].append(seconds[-1])
    print(f"{len(seconds):,} traces in {sum(seconds):.1f} s of processor time")
    for outcome, spent in sorted(by_outcome.items(), key=lambda item: -sum(item[1])):
        print(f"  {outcome:<12} {len(spent):>7,} {sum(spent):8.1f} s")
    slowest = sorted(seconds, reverse=True)
    print(f"the slowest 100 took {sum(slowest[:100]):.1f} s, the slowest 1,000 {sum(slowest[:1000]):.1f} s")


if __name__ == "__main__":
    main()
