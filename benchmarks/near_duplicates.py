"""What is merged and what is only found alike in files of problems; with --show, pairs to be read.

    python benchmarks/near_duplicates.py TRACES.jsonl.gz ... [--threshold 0.8] [--show 60] [--copies 10]

Each row becomes a problem with one made trace, so what is timed is the relating and not the reading of long traces.
--copies N: N times as many problems (a word is put before each statement, so copies are not the same problem), for time and memory
against size. Memory is the most that this process held (resident set), so sizes are measured in runs of their own.
"""

import argparse
import collections
import gzip
import json
import random
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from redistill.corpus import collect
from redistill.io.stage_folder import StageFolder
from redistill.records import Group, make_problem, make_trace


def problems(paths: list[Path], copies: int) -> Iterator[Group]:
    for copy in range(copies):
        for path in paths:
            with gzip.open(path, "rt", encoding="utf-8") as file:
                for at, line in enumerate(file):
                    row = json.loads(line)
                    statement = (
                        row["problem"]
                        if copy == 0
                        else f"Copy{'abcdefghij'[copy % 10] * (copy // 10 + 1)} {row['problem']}"
                    )
                    answer = None if row.get("answer") is None else str(row["answer"])
                    problem = make_problem(statement, answer=answer, source=path.name, source_row=f"{path.name}:{at}")
                    yield Group(problem, (make_trace(problem.id, f"{path.name}:{at}"),))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--threshold", type=float, default=0.8)
    parser.add_argument("--near", choices=["merge", "report", "off"], default="report")
    parser.add_argument("--copies", type=int, default=1)
    parser.add_argument("--show", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        stage_dir = StageFolder(Path(folder) / "corpus", "fingerprint")
        stage_dir.open()
        began = time.perf_counter()
        source = lambda: problems(options.files, options.copies)  # noqa: E731
        ledger = collect(
            stage_dir, [source], seed=0, num_shards=None if options.copies == 1 else 4 * options.copies, max_problems=None,
            near=options.near, near_threshold=options.threshold,
        )  # fmt: skip
        seconds = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        for name in ("rows", "problems"):
            account = ledger["accounts"][name]
            print(f"{name}: {account['in']} in, {account['kept']} kept, dropped {account['dropped']}")
        print(f"matches: {ledger['tallies'].get('matches', {})}; {seconds:.1f} s, {peak:.0f} MB")
        found = collections.defaultdict(list)
        for match in stage_dir.read("merges"):
            found[match.action, match.how].append(match)
        for (action, how), matches in sorted(found.items()):
            picked = random.Random(0).sample(matches, min(options.show, len(matches)))
            for match in picked:
                print(f"{action} {how} {match.similarity:.2f}\n   {' '.join(match.statement.split())[-300:]}")
                print(f"   {' '.join(match.matched_statement.split())[-300:]}")


if __name__ == "__main__":
    main()
