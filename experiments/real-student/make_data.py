"""The short tasks of the experiment real-traces, for a student that is slow on a CPU: sums of chains and complex numbers.

    python experiments/real-student/make_data.py runs/real-traces-data runs/real-student-data

Writes real.jsonl (the real teachers' traces) and fresh.jsonl (new problems, for the scores) without the legs of animals.
"""

import json
import sys
from pathlib import Path


def main(source: Path, out: Path) -> None:
    """Copy the rows of the two short tasks."""
    out.mkdir(parents=True, exist_ok=True)
    for name in ("real.jsonl", "fresh.jsonl"):
        lines = (source / name).read_text(encoding="utf-8").splitlines(keepends=True)
        short = [line for line in lines if "legs" not in json.loads(line)["problem"]]
        (out / name).write_text("".join(short), encoding="utf-8")
        print(f"{out / name}: {len(short)} of {len(lines)} problems")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
