"""What the runs found, beside a coin and a critic that goes by length alone.

python experiments/bigbench-mistake/table.py runs/bbm
"""

import json
import sys
from collections import Counter
from pathlib import Path

from redistill.evaluate.steps import process_scores


def by_length(folder: Path, labelled: list[dict[str, object]]) -> dict[str, float]:
    """A critic that knows only how many steps a solution has: the place of the first error that is most frequent among the made
    chains of that length, -1 where a right chain is more frequent."""
    seen: dict[int, Counter[int]] = {}
    for line in (folder / "chains-0.jsonl").read_text().splitlines():
        row = json.loads(line)
        at = -1 if row["mistake_index"] is None else row["mistake_index"]
        seen.setdefault(len(row["steps"]), Counter())[at] += 1
    labels = [-1 if row["mistake_index"] is None else int(str(row["mistake_index"])) for row in labelled]
    guesses = [seen.get(len(list(row["steps"])), Counter({-1: 1})).most_common(1)[0][0] for row in labelled]  # type: ignore[call-overload]
    return process_scores(labels, guesses)


def main() -> None:
    folder = Path(sys.argv[1])
    print("| run | solutions | error accuracy | correct accuracy | F1 [95%] | coin |\n|---|---|---|---|---|---|")
    for path in sorted(folder.glob("*-*/evaluate/prm/bigbench-mistake/scores.json")):
        steps = json.loads(path.read_text())["steps"]
        error, correct, f1 = (steps[name] for name in ("error_accuracy", "correct_accuracy", "f1"))
        low, high = f1["interval95"]
        print(
            f"| {path.parts[-5]} | {steps['num_traces']} | {100 * error['value']:.1f} | {100 * correct['value']:.1f} "
            f"| {100 * f1['value']:.1f} [{100 * low:.1f}, {100 * high:.1f}] | {100 * steps['coin']['f1']:.1f} |"
        )
    rows = [json.loads(line) for line in (folder / "all.jsonl").read_text().splitlines()]
    print(f"\nby length alone: F1 {100 * by_length(folder, rows)['f1']:.1f}")


if __name__ == "__main__":
    main()
