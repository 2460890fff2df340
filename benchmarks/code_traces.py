"""Programs of real teachers run in the sandbox, held against their stored labels.

    python benchmarks/code_traces.py A_misc_gsm8k.jsonl.gz --show [--only 200] [--workers 2]

Each row has problems with a gold answer and generations whose last ```python block prints an answer (ToRA on GSM8K). The gold answer is
the output that the verifier `code-tests` wants. A stored label judges the box that the model wrote behind its program's recorded
output, so the two may differ where the model rounded, or corrected its program. Every disagreement is printed with both outputs.
"""

import argparse
import collections
import functools
import gzip
import json
import time
from collections.abc import Iterator
from pathlib import Path

from redistill.records import Outcome, Problem, Trace, Verdict, make_problem, make_trace
from redistill.safety.sandbox import run_program
from redistill.verify import VERIFIERS, VerifierPool
from redistill.verify.code_tests import fenced_blocks, read_program


def traces(path: Path) -> Iterator[tuple[Problem, Trace, bool]]:
    """(problem with its gold answer as a test, trace, stored label) of every generation with a program."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            for said in row["generations"]:
                if row["answer"] is None or "```python" not in said["text"]:
                    continue
                tests = {"inputs": [""], "outputs": [row["answer"]]}
                problem = make_problem(row["problem"], answer=row["answer"], metadata={"tests": tests})
                yield problem, make_trace(problem.id, said["text"], author=said["teacher"]), said["correct"]


def told(problem: Problem, trace: Trace, label: bool, verdict: Verdict) -> str:
    """A disagreement: what the program says here, what it said then, and what the model made of it."""
    program = read_program(trace.completion)[0] or ""
    recorded = [text for mark, text in fenced_blocks(trace.completion)[0] if mark == "output"]
    found = run_program(program, packages=True)
    tail = trace.completion.rsplit("```", 1)[-1].strip()
    return (
        f"{trace.author}: label {'correct' if label else 'incorrect'}, here {verdict.outcome} ({verdict.reason}); gold {problem.answer!r}\n"
        f"   here     {found.stdout.strip()[-200:]!r} {found.stderr.strip()[-120:]!r}\n"
        f"   recorded {(recorded or ['none'])[-1].strip()[-200:]!r}\n   said     {tail[-200:]!r}"
    )


def main() -> None:
    """Print the table of labels against verdicts, the time, and the disagreements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--show", action="store_true", help="print every disagreement")
    parser.add_argument("--only", type=int, metavar="N", help="the first N traces")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    held = list(traces(options.file))[: options.only]
    verifier = functools.partial(VERIFIERS["code-tests"], compare="numbers", packages=True)
    begun = time.monotonic()
    with VerifierPool({"run": verifier}, workers=options.workers, timeout_seconds=5, memory_mb=4096) as pool:
        verdicts = [found["run"] for found in pool.judge((problem, trace) for problem, trace, _ in held)]
    seconds = time.monotonic() - begun
    table = collections.Counter((label, str(v.outcome)) for (_, _, label), v in zip(held, verdicts, strict=True))
    print(
        f"{len(held):,} programs, {seconds:.0f} s, {1000 * seconds * options.workers / len(held):.0f} ms of a worker per program"
    )
    for (label, outcome), count in sorted(table.items()):
        print(f"  label {'correct  ' if label else 'incorrect'}  verdict {outcome:<10} {count:6,}")
    for reason, count in collections.Counter(
        v.reason.partition(",")[0].partition(": test")[0] for v in verdicts
    ).most_common():
        print(f"  {reason}: {count:,}")
    decided = {Outcome.correct: True, Outcome.incorrect: False}
    unequal = [(*row, v) for row, v in zip(held, verdicts, strict=True) if decided.get(v.outcome) is not row[2]]
    print(f"{len(unequal):,} do not agree, or are undecided")
    for problem, trace, label, verdict in unequal if options.show else ():
        print(told(problem, trace, label, verdict))


if __name__ == "__main__":
    main()
