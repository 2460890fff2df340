"""What the students of real traces write, as a Markdown table: one row a point of a sweep, means over its seeds.

    python experiments/real-traces/manners.py runs/real-traces ...

pass@1 by task, length, the share of answers in a manner of the procedure (its openings, word for word), and of those that think
aloud in <think>; then pass@1 within the two kinds.
"""

import sys
from collections import defaultdict
from pathlib import Path

from redistill.io.atomic import read_json
from redistill.io.stage_folder import StageFolder
from redistill.records import Outcome

OPENINGS = (
    "Let me solve this step by step:", "To solve this problem, we go from left to right.", "Let's break this down step by step:", "I'll solve this step by step.",
    "To multiply these complex numbers, we follow the rule", "To add complex numbers, add the real and", "To subtract complex numbers, subtract the real and",
    "I need to add the complex numbers.", "I need to subtract the complex numbers.", "To find the total number of legs, we count the legs of each animal:",
)  # fmt: skip
COLUMNS = (
    "sums",
    "complex",
    "legs",
    "characters",
    "as the procedure",
    "right of these",
    "in <think>",
    "right of these",
)


def main(sweeps: list[Path]) -> None:
    """Print the table of these sweeps' folders."""
    print("| point | seeds | " + " | ".join(COLUMNS) + " |\n" + "|---" * (2 + len(COLUMNS)) + "|")
    for sweep in sweeps:
        points: dict[str, list[list[float]]] = defaultdict(list)
        for trial in read_json(sweep / "sweep.json")["trials"]:
            if trial["state"] == "done":
                scored = next((sweep / "trials" / trial["id"] / "evaluate").glob("*/fresh"))
                points[trial["id"].rpartition(".seed")[0]].append(measure(scored))
        for point, seeds in points.items():
            print(f"| {point} | {len(seeds)} | " + " | ".join(f"{sum(c) / len(c):.3g}" for c in zip(*seeds)) + " |")


def measure(scored: Path) -> list[float]:
    """The columns of one student."""
    right: dict[str, list[bool]] = defaultdict(list)
    length = []
    for group in StageFolder(scored, "").read("groups"):
        statement = group.problem.statement
        task = "legs" if "legs" in statement else "complex" if "complex" in statement else "sums"
        for trace in group.traces:
            good = trace.verdict.outcome is Outcome.correct
            procedure = trace.completion.startswith(OPENINGS)
            kind = "procedure" if procedure else "think" if trace.completion.startswith("<think>") else "other"
            length.append(len(trace.completion))
            right[task].append(good)
            right[kind].append(good)
    share = lambda name: sum(right[name]) / max(1, len(right[name]))  # noqa: E731
    part = lambda name: len(right[name]) / len(length)  # noqa: E731
    return [share("sums"), share("complex"), share("legs"), sum(length) / len(length), part("procedure"), share("procedure"), part("think"), share("think")]  # fmt: skip


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
