"""How many pairs of answers in everyday notations `cascade` decides, and whether it decides any of them wrongly.

    python benchmarks/decided_share.py pairs.jsonl siblings.jsonl

One pair a line: gold, prediction, equivalent (true or false; null: conventions differ, left out) and kind. A line of the table per kind:
pairs, decided, wrongly decided; the undecided pairs follow with their reasons. Exit code 1 where a verdict is wrong or fewer than 90% of
the pairs are decided.
"""

import argparse
import collections
import json
from pathlib import Path

from redistill.records import DECIDED, Outcome
from redistill.verify import judge_answer

WANTED = 0.9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    lines = [
        line for path in parser.parse_args().files for line in path.read_text("utf-8").splitlines() if line.strip()
    ]
    rows = [row for row in map(json.loads, lines) if isinstance(row.get("equivalent"), bool)]
    count: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    undecided = []
    for row in rows:
        verdict = judge_answer(row["gold"], row["prediction"])
        right = Outcome.correct if row["equivalent"] else Outcome.incorrect
        for kind in (row["kind"], "all"):
            count[kind]["pairs"] += 1
            count[kind]["decided"] += verdict.outcome in DECIDED
            count[kind]["wrong"] += verdict.outcome in DECIDED and verdict.outcome != right
        if verdict.outcome not in DECIDED:
            undecided.append(f"  {row['kind']}: {row['gold']!r} | {row['prediction']!r}: {verdict.reason}")
    for kind in sorted(count, key=lambda kind: (kind == "all", -count[kind]["pairs"])):
        of = count[kind]
        print(f"{kind:38} {of['pairs']:5} {of['decided']:5} {of['decided'] / of['pairs']:7.1%} {of['wrong']:3} wrong")
    print("undecided:", *undecided, sep="\n")
    total = count["all"]
    raise SystemExit(bool(total["wrong"]) or total["decided"] < WANTED * total["pairs"])


if __name__ == "__main__":
    main()
