"""How often each verifier agrees with labelled answer pairs, side by side in one run.

    python benchmarks/verifier_agreement.py cases.jsonl.gz [--show cascade]

The file holds one case a line: gold, prediction, equivalent (true or false), note, source. Cases whose note says
CONVENTION or CONFIG-DEPENDENT are left out: suites contradict one another there. A prediction is a completion where it
holds an anchor (a box, "the answer is", ...) or its source says `full-response`; otherwise it is the bare answer.

agreement = "judged correct" equals the label; undecided counts as not judged correct. What matters for training on
negatives is `false incorrect`: equivalent answers that would become rejected completions.
"""

import argparse
import collections
import gzip
import json
import time
from collections.abc import Iterator
from pathlib import Path

from redistill.prompts import split_thinking
from redistill.records import Outcome, make_problem, make_trace
from redistill.verify import VERIFIERS, VerifierPool
from redistill.verify.answers import extract

VERIFIER_NAMES = ("exact", "math-verify", "cascade")


def completion_of(case: dict[str, str]) -> str:
    """The prediction as a completion: a bare answer is put into an answer tag."""
    anchored = case["source"].startswith("full-response") or extract(case["prediction"]) is not None
    bare = split_thinking(case["prediction"])[1]
    return case["prediction"] if anchored else f"<answer>{bare}</answer>"


def cases(path: Path) -> Iterator[dict[str, str]]:
    """The comparable cases of the file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for case in map(json.loads, lines):
            if not any(word in (case["note"] or "") for word in ("CONVENTION", "CONFIG-DEPENDENT")):
                yield case


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path)
    parser.add_argument("--show", help="list the cases on which this verifier and the label differ")
    arguments = parser.parse_args()
    rows = list(cases(arguments.cases))
    items = []
    for number, row in enumerate(rows):
        problem = make_problem(str(number), answer=row["gold"], source=row["source"])
        items.append((problem, make_trace(problem.id, completion_of(row))))
    print(f"{len(rows)} cases, {sum(row['equivalent'] for row in rows)} equivalent")
    columns = ("agree", "false incorrect", "false correct", "undecided (equivalent)", "undecided (different)", "seconds")
    print("verifier".ljust(12), *(c.rjust(len(c) + 2) for c in columns))
    for name in VERIFIER_NAMES:
        started = time.perf_counter()
        with VerifierPool({name: VERIFIERS[name]}, workers=1, timeout_seconds=10, memory_mb=2048) as pool:
            verdicts = [verdict[name] for verdict in pool.judge(items)]
        seconds = time.perf_counter() - started
        count: collections.Counter[str] = collections.Counter()
        for row, verdict in zip(rows, verdicts):
            label, outcome = row["equivalent"], verdict.outcome
            count["agree"] += (outcome == Outcome.correct) == label
            count["false incorrect"] += label and outcome == Outcome.incorrect
            count["false correct"] += not label and outcome == Outcome.correct
            undecided = outcome not in (Outcome.correct, Outcome.incorrect)
            count["undecided (equivalent)" if label else "undecided (different)"] += undecided
            if name == arguments.show and (outcome == Outcome.correct) != label:
                print(f"  {label!s:5} {outcome:10} {verdict.reason:22} {row['gold'][-60:]!r} | {(verdict.extracted or '')[-60:]!r}")
        cells = [f"{count['agree'] / len(rows):.1%}", *(str(count[c]) for c in columns[1:-1]), f"{seconds:.1f}"]
        print(name.ljust(12), *(cell.rjust(len(column) + 2) for cell, column in zip(cells, columns)))


if __name__ == "__main__":
    main()
