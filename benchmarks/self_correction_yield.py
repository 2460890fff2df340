"""What rows of self-correction real traces give: rows by attempts, and how often verifications are true. Prints tables.

    python benchmarks/self_correction_yield.py A_zeroeval_gsm8k.jsonl.gz [--problems N] [--show 50]

The file is of ZeroEval's answers: `problem, answer, generations: [{text, teacher}]`. Traces are judged by `exact`; verifications are the
teachers' own check sections, and a program's. `--show` prints so many check sections to be read by eye.
"""

import argparse
import gzip
import json
import random
from collections import Counter
from pathlib import Path

from redistill.config.tables import SelfCorrectionSettings
from redistill.records import FINAL, Group, Outcome, make_problem, make_trace
from redistill.score.equations import checked_equations
from redistill.score.verification import own_check
from redistill.select.self_correction import self_correction
from redistill.verify import exact

BY = {"own-check": own_check, "checked-equations": checked_equations}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--problems", type=int)
    parser.add_argument("--show", type=int, default=0)
    asked = parser.parse_args()
    groups = read(asked.data, asked.problems)
    outcomes = Counter(str(t.verdict.outcome) for g in groups for t in g.traces)
    print(
        f"{len(groups):,} problems, {sum(outcomes.values()):,} traces by {len({t.author for g in groups for t in g.traces})} teachers:",
        end=" ",
    )
    print(", ".join(f"{count:,} {word}" for word, count in outcomes.most_common()))
    held = {name: scorer(groups, _into="verification") for name, scorer in BY.items()}
    held["both"] = [joined(*pair) for pair in zip(*held.values(), strict=True)]
    for name, verified in held.items():
        truth(name, verified)
        rows(name, verified)
    if asked.show:
        sections(held["own-check"], asked.show)


def read(path: Path, limit: int | None) -> list[Group]:
    """The problems with every teacher's answer, judged; a text that two teachers wrote is one trace."""
    groups = []
    with gzip.open(path, "rt") as file:
        for line in list(file)[:limit]:
            row = json.loads(line)
            problem = make_problem(row["problem"], answer=row["answer"])
            traces = {}
            for answer in row["generations"]:
                trace = make_trace(problem.id, answer["text"], author=answer["teacher"], finish_reason="stop")
                traces[trace.id] = trace.with_verdict(FINAL, exact(problem, trace))
            groups.append(Group(problem, tuple(traces.values())))
    return groups


def joined(own: Group, program: Group) -> Group:
    """The teacher's own check where there is a true one, else the program's."""
    traces = [a if a.scores.get("verification") == 1 else b for a, b in zip(own.traces, program.traces, strict=True)]
    return Group(own.problem, tuple(traces))


def truth(name: str, groups: list[Group]) -> None:
    """How many traces have a verification, and how many of these are true, by the verdict on the trace and by what they say."""
    told = Counter[tuple[str, bool]]()
    for trace in (t for g in groups for t in g.traces if "verification" in t.scores):
        told[str(trace.verdict.outcome), trace.scores["verification"] == 1] += 1
    whole, true = sum(told.values()), sum(count for (_, ok), count in told.items() if ok)
    share = f"{true / whole:.3f}" if whole else "–"
    right = told[str(Outcome.correct), True], told[str(Outcome.correct), False]
    wrong = told[str(Outcome.incorrect), True], told[str(Outcome.incorrect), False]
    print(f"\n{name}: {whole:,} verifications, {true:,} true ({share}); of right traces {right[0]:,} true and {right[1]:,} false, of wrong ones "
          f"{wrong[0]:,} true and {wrong[1]:,} false")  # fmt: skip
    reasons = Counter(
        t.notes["verification_unscored"] for g in groups for t in g.traces if "verification_unscored" in t.notes
    )
    print("  not verified: " + ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common()))


def rows(name: str, groups: list[Group]) -> None:
    """Rows by how many attempts they have, one row a problem at most."""
    attempts = Counter[str]()
    for group in groups:
        reasons = {t.id: None if t.verdict.outcome is Outcome.correct else "wrong" for t in group.traces}
        built = self_correction(
            group, "", reasons, SelfCorrectionSettings(), judge=lambda **of: None, num_tokens=len, seed=0
        )
        attempts.update(built.attempts or {"none": 1})
    print("  rows by attempts: " + ", ".join(f"{k}: {attempts[k]:,}" for k in sorted(attempts)))


def sections(groups: list[Group], count: int) -> None:
    """Check sections drawn by a fixed seed, to be read by eye."""
    found = [t for g in groups for t in g.traces if "verification" in t.scores]
    for number, trace in enumerate(random.Random(0).sample(found, min(count, len(found))), 1):
        true = "true" if trace.scores["verification"] == 1 else "FALSE"
        print(f"\n--- {number}. {trace.author}, {trace.verdict.outcome}, {true}\n{trace.notes['verification']}")


if __name__ == "__main__":
    main()
