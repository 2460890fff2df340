"""How many problems of a benchmark are found in files of traces, against a count made another way.

    python benchmarks/decontamination.py BENCHMARKS.jsonl.gz TRACES.jsonl.gz ... [--clean TRAIN.jsonl.gz] [--show]

BENCHMARKS holds benchmark, id, problem; the others problem, source and problem_id or id. Two counts that know nothing of
redistill's reading of statements: `by name`, rows whose source ends in a benchmark's name (rg-qwen3b-gsm8k), and `by
letters`, rows whose letters and digits are those of a benchmark problem, all else left out. `found` is what
redistill removes; recall is of the union of the two counts; `beyond` are removals that neither count knows: --show prints them
with what they matched, to be read. --clean names files of which nothing should be found.
"""

import argparse
import collections
import gzip
import json
import time
from pathlib import Path
from typing import Any

from redistill.corpus.decontaminate import Benchmarks
from redistill.records import make_problem


def rows(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def letters(statement: str) -> str:
    return "".join(sign for sign in statement.lower() if sign.isalnum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmarks", type=Path)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--clean", type=Path, nargs="*", default=[])
    parser.add_argument("--ngram", type=int, default=5)
    parser.add_argument("--threshold", type=float, default=0.6)
    parser.add_argument("--show", action="store_true")
    options = parser.parse_args()

    held = rows(options.benchmarks)
    problems = [
        make_problem(row["problem"], source=row["benchmark"], source_row=f"{options.benchmarks.name}:{at}")
        for at, row in enumerate(held)
    ]
    names = {row["benchmark"] for row in held}
    spelled = {letters(row["problem"]) for row in held}
    began = time.perf_counter()
    index = Benchmarks(problems, ngram=options.ngram, threshold=options.threshold)
    print(f"{len(problems)} problems of {len(names)} benchmarks, indexed in {time.perf_counter() - began:.1f} s")
    print("| source | problems | by name | by letters | either | found | recall | same, within, overlap | beyond |")
    print("|---|---|---|---|---|---|---|---|---|")
    beyond, missed, seconds, looked_at = [], [], 0.0, 0
    for path in [*options.files, *options.clean]:
        table: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
        for row in rows(path):
            source = f"{path.name.split('.')[0]}: {row['source']}"
            began = time.perf_counter()
            leak = index.find(row["problem"])
            seconds, looked_at = seconds + time.perf_counter() - began, looked_at + 1
            by_name = path not in options.clean and any(row["source"].endswith(f"-{name}") for name in names)
            by_letters = letters(row["problem"]) in spelled
            known = by_name or by_letters
            count = table[source]
            count.update(problems=1, by_name=by_name, by_letters=by_letters, either=known, found=leak is not None)
            count["hit"] += known and leak is not None
            if leak is not None:
                count[leak.how] += 1
            if leak is not None and not known:
                beyond.append((source, row, leak))
            if leak is None and known:
                missed.append((source, row))
        for source, c in sorted(table.items()):
            recall = f"{c['hit'] / c['either']:.3f}" if c["either"] else ""
            kinds = f"{c['same']}, {c['within']}, {c['overlap']}"
            print(
                f"| {source} | {c['problems']} | {c['by_name']} | {c['by_letters']} | {c['either']} | {c['found']} | {recall} "
                f"| {kinds} | {c['found'] - c['hit']} |"
            )
    print(f"{looked_at} statements in {seconds:.1f} s, {looked_at / seconds:.0f} a second")
    print(f"missed: {len(missed)}; beyond: {len(beyond)}")
    for source, row in missed if options.show else ():
        print(f"MISSED {source} {row.get('problem_id') or row.get('id')}: {row['problem'][:300]!r}")
    for source, row, leak in beyond if options.show else ():
        print(f"BEYOND {source} {row.get('problem_id') or row.get('id')} {leak.how} {leak.share:.2f} {leak.benchmark}")
        print(f"   {' '.join(row['problem'].split())[:400]}\n   {' '.join(leak.statement.split())[:400]}")


if __name__ == "__main__":
    main()
