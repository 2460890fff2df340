"""43 teachers' answers to the same problems: what each way to choose one of k is worth. Prints the tables of README.md.

python experiments/choose-zeroeval/choose.py A_zeroeval_gsm8k.jsonl.gz [--problems N] [--json scores.json]
"""

import argparse
import dataclasses
import gzip
import json
import math
from collections import Counter, defaultdict
from pathlib import Path

from redistill.config.tables import Plugin
from redistill.evaluate.choose import bind_choices
from redistill.evaluate.metrics import is_correct
from redistill.evaluate.scores import score
from redistill.records import FINAL, Group, content_id, make_problem, make_trace
from redistill.verify import exact

CHOICES = [
    Plugin(name="majority"),
    Plugin(name="best-of-n", options={"by": "reputation"}),
    Plugin(name="weighted-majority", options={"by": "reputation"}),
    Plugin(name="weighted-majority", options={"by": "log_odds"}),
    Plugin(name="shortest", options={"of": "characters"}),
]
SHOWN = (1, 2, 3, 5, 8, 16, 32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--problems", type=int)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    groups = with_scores(judged(options.data, options.problems))
    n = len(groups[0].traces)
    scores = score(groups, n=n, choices=bind_choices(CHOICES, "choices"))
    print_tables(scores, n)
    if options.json:
        options.json.write_text(json.dumps(scores, indent=1))


def judged(path: Path, limit: int | None) -> list[Group]:
    """The problems with the answers of the teachers that answered all of them, verified."""
    with gzip.open(path, "rt") as file:
        rows = [json.loads(line) for line in file][:limit]
    by_teacher = Counter(answer["teacher"] for row in rows for answer in row["generations"])
    whole = sorted(teacher for teacher, count in by_teacher.items() if count == len(rows))
    groups = []
    for row in rows:
        problem = make_problem(row["problem"], answer=row["answer"])
        said = {answer["teacher"]: answer["text"] for answer in row["generations"]}
        traces = []
        for index, teacher in enumerate(whole):
            trace = make_trace(problem.id, said[teacher], author=teacher, sampling={"sample_index": index})
            traces.append(trace.with_verdict(FINAL, exact(problem, trace)))
        groups.append(Group(problem, tuple(traces)))
    return groups


def with_scores(groups: list[Group]) -> list[Group]:
    """Each trace with what its author was worth on the other half of the problems."""
    half = {group.problem.id: int(content_id("", "half", group.problem.id), 16) % 2 for group in groups}
    right: dict[tuple[str, int], list[int]] = defaultdict(list)
    for group in groups:
        for trace in group.traces:
            right[trace.author, half[group.problem.id]].append(is_correct(trace))
    found = []
    for group in groups:
        traces = []
        for trace in group.traces:
            other = right[trace.author, 1 - half[group.problem.id]]
            share = (sum(other) + 1) / (len(other) + 2)
            scores = {"reputation": share, "log_odds": max(0.0, math.log(share / (1 - share)))}
            traces.append(dataclasses.replace(trace, scores=scores))
        found.append(Group(group.problem, tuple(traces)))
    return found


def print_tables(scores: dict, n: int) -> None:
    ks = [k for k in (*SHOWN, n) if k <= n]
    print(f"{scores['num_problems']} problems, {n} teachers\n")
    print("verdicts:", ", ".join(f"{word} {share:.2%}" for word, share in scores["rates"].items() if share))
    print("\n| choice |" + "".join(f" k = {k} |" for k in ks) + "\n|---|" + "---|" * len(ks))
    print("| ceiling (pass@k) |" + "".join(f" {scores['pass_at_k'][str(k)]['value']:.3f} |" for k in ks))
    for label, found in scores["choose"].items():
        print(f"| `{label}` |" + "".join(f" {found['curve'][str(k)]['value']:.3f} |" for k in ks))
    print(
        f"\n| choice of {n} | right | 95% interval | undecided | against pass@1 | against the majority |\n|---|---|---|---|---|---|"
    )
    for label, found in scores["choose"].items():
        point = found["curve"][str(n)]
        low, high = point["interval95"]
        gains = [found.get(key) for key in ("against_pass_at_1", "against_majority")]
        cells = [
            f"{g['difference']:+.3f} ({g['interval95'][0]:+.3f} to {g['interval95'][1]:+.3f})" if g else ""
            for g in gains
        ]
        print(
            f"| `{label}` | {point['value']:.3f} | {low:.3f} to {high:.3f} | {point['undecided']:.2%} | {' | '.join(cells)} |"
        )
    errors = [p["monte_carlo_error"] or 0 for found in scores["choose"].values() for p in found["curve"].values()]
    print(f"\nlargest standard error by drawing subsets: {max(errors):.5f}")


if __name__ == "__main__":
    main()
