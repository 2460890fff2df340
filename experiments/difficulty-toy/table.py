"""The tables of this experiment, of what has been run so far.

python experiments/difficulty-toy/table.py runs/difficulty-toy
"""

import json
import sys
from collections import defaultdict
from pathlib import Path

from scipy.stats import spearmanr

from redistill.io.parquet import read_records


def main(folder: Path) -> None:
    print("seed  problems  Spearman  mean tries at 5, 7, 9, 11 digits   pass@1  unsolved  floor  samples  tokens")
    for run in sorted(folder.glob("search-*[0-9]")):
        found = searched(run)
        if not found:
            continue
        digits = [n for n, _, _ in found]
        values = [value for _, value, _ in found]
        by_length = defaultdict(list)
        for n, value, _ in found:
            by_length[n].append(value)
        means = " ".join(f"{sum(v) / len(v):6.2f}" for _, v in sorted(by_length.items()))
        first = sum(tries["solved_at"] == 1 for *_, tries in found) / len(found)
        unsolved = sum(tries["solved_at"] is None for *_, tries in found) / len(found)
        cost = json.loads((run / "scorers" / "difficulty" / "ledger.json").read_text())["tallies"]["cost"]
        print(
            f"{run.name.rpartition('-')[2]:>4}  {len(found):8}  {spearmanr(digits, values).statistic:8.3f}  {means}        "
            f"{first:.3f}     {unsolved:.3f}   {(1 - first) ** 3:.3f}  {cost['samples']:,}  {cost['tokens']:,}"
        )
    print("\nset    seed  problems  with variance  pass@1 of the start student")
    for path in sorted(folder.glob("sets-*/*.answers.jsonl")):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        told = [[g["correct"] for g in row["generations"] if "correct" in g] for row in rows]
        varied = sum(len(set(one)) > 1 for one in told) / len(told)
        right = sum(map(sum, told)) / max(1, sum(map(len, told)))
        print(f"{path.name.partition('.')[0]:<6} {path.parent.name[5:]:>4}  {len(rows):8}  {varied:13.3f}  {right:.3f}")
    print("\nset    seed  mean reward over the rounds  no variance  pass@1 on held-out problems: start, after")
    for run in sorted(folder.glob("grpo-*[0-9]")):
        lines = [json.loads(line) for line in (run / "train" / "grpo" / "metrics.jsonl").read_text().splitlines()]
        rounds = [line for line in lines if line.get("reward") is not None and line.get("round") is not None]
        reward, flat = (sum(line[key] for line in rounds) / len(rounds) for key in ("reward", "no_variance"))
        scores = [run / "evaluate" / name / "test" / "scores.json" for name in ("base", "grpo")]
        told = [json.loads(p.read_text())["pass_at_1"]["value"] if p.exists() else float("nan") for p in scores]
        _, name, seed = run.name.split("-")
        print(f"{name:<6} {seed:>4}  {reward:27.3f}  {flat:11.3f}  {told[0]:.3f}, {told[1]:.3f}")


def searched(run: Path) -> list[tuple[int, float, dict]]:
    """(digits, tries with unsolved as budget + 1, how it was found) of each problem that was searched."""
    found = []
    for path in sorted((run / "score" / "groups").glob("*.parquet")):
        for group in read_records(path):
            tries = group.problem.metadata.get("difficulty_tries")
            if tries is not None:
                digits = sum(letter.isdigit() for letter in group.problem.statement)
                found.append((digits, group.traces[0].scores["difficulty"], tries))
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]))
