"""How often each verifier agrees with labelled answer pairs, side by side in one run.

    python benchmarks/verifier_agreement.py cases.jsonl.gz [--show cascade]
    python benchmarks/verifier_agreement.py --generate 20000 [--type money] [--workers 2] [--out faults.jsonl]

--generate makes pairs of answers whose truth is known by construction, so many of each type (benchmarks/answer_pairs, which reads
nothing with this package), and counts false verdicts of `cascade`: an equivalent pair called incorrect, a different one called
correct. Both should be 0; the undecided share says what that costs. Exit code 1 where there is a false verdict.

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
import dataclasses
import gzip
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

from answer_pairs import TYPES, Pair, pairs

from redistill.records import DECIDED, Outcome, Verdict, make_problem, make_trace
from redistill.text.thinking import split_thinking
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


def judged(made: list[Pair], name: str, workers: int) -> list[Verdict]:
    """The verdict of one verifier on each pair, the prediction in a box, or in an answer tag where a box cannot hold it."""
    items = []
    for number, pair in enumerate(made):
        problem = make_problem(f"{pair.type} {number}", answer=pair.gold)
        boxed = pair.prediction.count("{") == pair.prediction.count("}") and "$" not in pair.prediction
        completion = rf"\boxed{{{pair.prediction}}}" if boxed else f"<answer>{pair.prediction}</answer>"
        items.append((problem, make_trace(problem.id, completion)))
    with VerifierPool({name: VERIFIERS[name]}, workers=workers, timeout_seconds=10, memory_mb=2048) as pool:
        return [verdict[name] for verdict in pool.judge(items)]


GENERATED_COLUMNS = ("pairs", "false incorrect", "false correct", "undecided of equivalent", "undecided of different")


def generated(arguments: argparse.Namespace) -> int:
    """Print the table of the generated pairs, a line a type, and the false verdicts by kind; their number."""
    print(" ".join(["type".ljust(12), *GENERATED_COLUMNS, "seconds"]), flush=True)
    faults: list[dict[str, str | bool]] = []
    for type in arguments.type or TYPES:
        started = time.perf_counter()
        made = list(pairs(type, seed=arguments.seed, count=arguments.generate))
        count: collections.Counter[str] = collections.Counter()
        for pair, verdict in zip(made, judged(made, "cascade", arguments.workers)):
            word = "equivalent" if pair.equivalent else "different"
            count[word] += 1
            count[f"undecided of {word}"] += verdict.outcome not in DECIDED
            if verdict.outcome == (Outcome.incorrect if pair.equivalent else Outcome.correct):
                count[f"false {verdict.outcome}"] += 1
                faults.append({**dataclasses.asdict(pair), "outcome": str(verdict.outcome), "reason": verdict.reason})
        shares = [f"{count[f'undecided of {word}'] / max(1, count[word]):.1%}" for word in ("equivalent", "different")]
        cells = [str(len(made)), str(count["false incorrect"]), str(count["false correct"]), *shares]
        line = [type.ljust(12), *(cell.rjust(len(column)) for cell, column in zip(cells, GENERATED_COLUMNS))]
        print(" ".join([*line, f"{time.perf_counter() - started:.1f}".rjust(7)]), flush=True)
    kinds = collections.Counter((f["type"], f["outcome"], f["kind"]) for f in faults)
    for (type, outcome, kind), number in kinds.most_common(arguments.kinds):
        one = next(f for f in faults if (f["type"], f["outcome"], f["kind"]) == (type, outcome, kind))
        print(f"  {number:5} {type}, {outcome} ({one['reason']}): {kind}: {one['gold']!r} | {one['prediction']!r}")
    if arguments.out:
        arguments.out.write_text("".join(json.dumps(fault, ensure_ascii=False) + "\n" for fault in faults), "utf-8")
    print(f"{len(faults)} false verdicts")
    return len(faults)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path, nargs="?")
    parser.add_argument(
        "--generate", type=int, metavar="N", help="judge N made-up pairs of each type instead of a file"
    )
    parser.add_argument("--type", action="append", choices=tuple(TYPES), help="only this one (repeatable)")
    parser.add_argument("--seed", type=int, default=0, help="of the made-up pairs (default: 0)")
    parser.add_argument("--workers", type=int, default=1, help="processes that judge them (default: 1)")
    parser.add_argument("--kinds", type=int, default=40, help="kinds of false verdicts to list (default: 40)")
    parser.add_argument("--out", type=Path, help="write every false verdict there, JSON Lines")
    parser.add_argument("--show", help="list the cases on which this verifier and the label differ")
    arguments = parser.parse_args()
    if arguments.generate:
        raise SystemExit(bool(generated(arguments)))
    if arguments.cases is None:
        parser.error("give a file of cases, or --generate N")
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
