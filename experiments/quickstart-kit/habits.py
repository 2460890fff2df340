"""What the kit's students do, line by line, as a Markdown table: one row a point of a sweep, shares as means over its seeds.

    python experiments/quickstart-kit/habits.py runs/kit runs/kit-random-slips ...

The columns are those of the report's diagnosis (redistill.corpus.two_habits.diagnosis).
"""

import sys
from collections import defaultdict
from pathlib import Path

from redistill.corpus.two_habits.diagnosis import diagnose
from redistill.io.atomic import read_json
from redistill.io.stage_folder import StageFolder

LABELS = (
    "lines that are jumps",
    "jumps that are right",
    "single steps that are right",
    "lines copied without an error",
)


def main(sweeps: list[Path]) -> None:
    """Print the table of these sweeps' folders."""
    print("| " + " | ".join(["sweep", "point", "seeds", *LABELS]) + " |\n" + "|---" * (3 + len(LABELS)) + "|")
    for sweep in sweeps:
        points: dict[str, list[dict[str, float | None]]] = defaultdict(list)
        for trial in read_json(sweep / "sweep.json")["trials"]:
            if trial["state"] == "done":
                scored = next((sweep / "trials" / trial["id"] / "evaluate").glob("*/dev"))
                rows = diagnose(StageFolder(scored, "").read("groups"))["rows"]
                points[trial["id"].rpartition(".seed")[0]].append({row["label"]: row["value"] for row in rows})
        for point, seeds in points.items():
            cells = [mean([rows[label] for rows in seeds]) for label in LABELS]
            print(f"| {sweep.name} | {point} | {len(seeds)} | " + " | ".join(cells) + " |")


def mean(shares: list[float | None]) -> str:
    """Over the seeds where there was anything to count."""
    known = [share for share in shares if share is not None]
    return f"{100 * sum(known) / len(known):.1f}%" if known else "-"


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
