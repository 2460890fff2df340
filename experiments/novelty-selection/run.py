"""A tenth of the right traces of 100 problems by novelty, at random, and evenly over lengths: what each still holds.

python experiments/novelty-selection/run.py A_zeroeval_gsm8k.jsonl.gz
"""

import gzip
import json
import random
import statistics
import sys
from pathlib import Path

from sklearn.feature_extraction.text import TfidfVectorizer

from redistill.records import FINAL, Group, Outcome, Verdict, make_problem, make_trace
from redistill.score.novelty import novelty

PROBLEMS, SHARE, BINS, SEEDS = 100, 0.1, 10, (0, 1, 2)
T_95 = 4.303  # two-sided 95% of Student's t with 2 degrees of freedom


def groups_of(path: Path) -> list[Group]:
    """The right traces of the first problems, by the source's own labels."""
    groups = []
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            problem = make_problem(row["problem"])
            right = Verdict(Outcome.correct, "", "label", "label", "1")
            texts = dict.fromkeys(g["text"] for g in row["generations"] if g["correct"] and g["text"].strip())
            traces = [make_trace(problem.id, text) for text in texts]
            marked = [
                type(t)(**{**{f: getattr(t, f) for f in t.__slots__}, "verdicts": {FINAL: right}}) for t in traces
            ]
            groups.append(Group(problem, tuple(marked)))
            if len(groups) == PROBLEMS:
                return groups
    return groups


def chosen(rule: str, groups: list[Group], seed: int) -> list[tuple[str, str]]:
    """(problem, text) of the traces that a rule keeps."""
    rows = [(group.problem.id, trace.completion) for group in groups for trace in group.traces]
    count, draw = round(SHARE * len(rows)), random.Random(seed)
    if rule == "random":
        return draw.sample(rows, count)
    if rule == "length-stratified":
        ordered = sorted(rows, key=lambda row: len(row[1]))
        size = len(ordered) / BINS
        return [
            row
            for b in range(BINS)
            for row in draw.sample(ordered[round(b * size) : round((b + 1) * size)], count // BINS)
        ]
    after = novelty(
        groups,
        bank=len(rows),
        _into="novelty",
        _seed=seed,
        _student=None,
        _all_groups=lambda: groups,
        _is_dev=lambda _: False,
        _held={},
    )
    found = [(trace.scores["novelty"], group.problem.id, trace.completion) for group in after for trace in group.traces]
    return [(problem, text) for _, problem, text in sorted(found, reverse=True)[:count]]


def measures(rows: list[tuple[str, str]]) -> dict[str, float]:
    """What a choice holds."""
    words = [text.lower().split() for _, text in rows]
    runs = {tuple(one[i : i + 4]) for one in words for i in range(len(one) - 3)}
    vectors = TfidfVectorizer(lowercase=True).fit_transform([text for _, text in rows])
    cosines = (vectors @ vectors.T).toarray()
    cosines[range(len(rows)), range(len(rows))] = -1
    return {
        "traces": len(rows),
        "problems covered": len({problem for problem, _ in rows}),
        "4-word runs per 1,000 words": 1000 * len(runs) / sum(map(len, words)),
        "nearest cosine": float(cosines.max(axis=1).mean()),
        "characters": statistics.mean(len(text) for _, text in rows),
    }


def main() -> None:
    groups = groups_of(Path(sys.argv[1]))
    print(f"{sum(len(g.traces) for g in groups)} right traces of {len(groups)} problems\n")
    lines, head = [], None
    for rule in ("novelty", "random", "length-stratified"):
        found = [measures(chosen(rule, groups, seed)) for seed in SEEDS]
        head = list(found[0])
        cells = []
        for name in head:
            values = [one[name] for one in found]
            half = T_95 * statistics.stdev(values) / len(values) ** 0.5
            cells.append(f"{statistics.mean(values):.3g} ± {half:.2g}" if half else f"{values[0]:.4g}")
        lines.append(f"| {rule} | " + " | ".join(cells) + " |")
    print(f"| rule | {' | '.join(head or [])} |\n|{'---|' * (len(head or []) + 1)}")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
