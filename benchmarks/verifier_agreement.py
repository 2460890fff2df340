"""How often each verifier agrees with labelled answer pairs, side by side in one run.

    python benchmarks/verifier_agreement.py cases.jsonl.gz [--show cascade]

The file holds one case a line: gold, prediction, equivalent (true or false), note, source. Cases whose note says
CONVENTION or CONFIG-DEPENDENT are left out: suites contradict one another there. A prediction is a completion where it
holds an anchor (a box, "the answer is", ...) or its source says `full-response`; otherwise it is the bare answer.

agreement = "judged correct" equals the label; undecided counts as not judged correct. What matters for training on
negatives is `false incorrect`: equivalent answers that would become rejected completions. Two populations are shown:
all cases, and those whose prediction is more than a sentence without any anchor ("so the number is 10 which is 3m"),
where suites test the taking of an answer out of free text, which these verifiers refuse by design.
"""

import argparse
import collections
import gzip
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

from redistill.records import DECIDED, Outcome, Verdict, make_problem, make_trace
from redistill.text.prompts import split_thinking
from redistill.verify import VERIFIERS, VerifierPool
from redistill.verify.answers import extract
from redistill.verify.reading import clean, is_wordy

VERIFIER_NAMES = ("exact", "math-verify", "cascade")


def completion_of(case: dict[str, str]) -> str:
    """The prediction as a completion: a bare answer is put into an answer tag."""
    bare = split_thinking(case["prediction"])[1]
    return case["prediction"] if is_anchored(case) else f"<answer>{bare}</answer>"


def is_anchored(case: dict[str, str]) -> bool:
    """Whether the prediction is a completion: with an anchor, or a full response that is known to lack one."""
    return case["source"].startswith("full-response") or extract(case["prediction"]) is not None


def is_free_text(case: dict[str, str]) -> bool:
    """A sentence without an anchor: four words or more of which no anchor says which is the answer."""
    words = re.findall(r"(?<![\\A-Za-z{])[A-Za-z']+", case["prediction"])
    return not is_anchored(case) and len(words) >= 4 and is_wordy(clean(case["prediction"]))


def cases(path: Path) -> Iterator[dict[str, str]]:
    """The comparable cases of the file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for case in map(json.loads, lines):
            if not any(word in (case["note"] or "") for word in ("CONVENTION", "CONFIG-DEPENDENT")):
                yield case


COLUMNS = ("agree", "false incorrect", "false correct", "undecided of equivalent", "undecided of different")


def counts(rows: list[dict[str, str]], verdicts: list[Verdict]) -> list[str]:
    """The cells of one line of the table."""
    count: collections.Counter[str] = collections.Counter()
    for row, verdict in zip(rows, verdicts):
        label, outcome = bool(row["equivalent"]), verdict.outcome
        count["agree"] += (outcome == Outcome.correct) == label
        count["false incorrect"] += label and outcome == Outcome.incorrect
        count["false correct"] += not label and outcome == Outcome.correct
        count[f"undecided of {'equivalent' if label else 'different'}"] += outcome not in DECIDED
    return [f"{count['agree'] / len(rows):.1%}", *(str(count[column]) for column in COLUMNS[1:])]


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
    print(" ".join(["verifier".ljust(12), "population".ljust(14), "cases", *COLUMNS, "seconds"]))
    for name in VERIFIER_NAMES:
        started = time.perf_counter()
        with VerifierPool({name: VERIFIERS[name]}, workers=1, timeout_seconds=10, memory_mb=2048) as pool:
            verdicts = [verdict[name] for verdict in pool.judge(items)]
        seconds = f"{time.perf_counter() - started:.1f}"
        both = list(zip(rows, verdicts))
        for row, verdict in both:
            if name == arguments.show and (verdict.outcome == Outcome.correct) != row["equivalent"]:
                print(f"  {row['equivalent']!s:5} {verdict.outcome:10} {verdict.reason:22}", end=" ")
                print(f"{row['gold'][-60:]!r} | {(verdict.extracted or '')[-60:]!r}")
        for population, chosen in (("all", both), ("not free text", [b for b in both if not is_free_text(b[0])])):
            cells = counts([row for row, _ in chosen], [verdict for _, verdict in chosen])
            line = [name.ljust(12), population.ljust(14), str(len(chosen)).rjust(5)]
            line += [cell.rjust(len(column)) for cell, column in zip(cells, COLUMNS)]
            print(" ".join([*line, seconds.rjust(7)]))


if __name__ == "__main__":
    main()
