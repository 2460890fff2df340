"""The short tasks of the experiment real-traces, for a student that is slow on a CPU: sums of chains and complex numbers.

    python experiments/real-student/make_data.py runs/real-traces-data runs/real-student-data

Writes real.jsonl (the real teachers' traces) and fresh.jsonl (new problems, for the scores) without the legs of animals, and
practice.jsonl: problems with the procedure's shortest right traces, mixed with every third of real.jsonl.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PRACTICE = {"chain_sum": 1300, "complex_arithmetic": 600}  # problems
SHORT = {"chain_sum": 150, "complex_arithmetic": 190}  # characters of a trace: the shorter manners


def main(source: Path, out: Path) -> None:
    """Write the three files."""
    out.mkdir(parents=True, exist_ok=True)
    real, fresh = (
        [r for r in _rows(source / name) if "legs" not in r["problem"]] for name in ("real.jsonl", "fresh.jsonl")
    )
    practice = _rows(source / "practice.jsonl")
    short = [
        row
        for task, count in PRACTICE.items()
        for row in [r for r in practice if r["source"] == task and len(r["generations"][0]["text"]) <= SHORT[task]][
            :count
        ]
    ]
    for name, rows in {"real": real, "fresh": fresh, "practice": short + real[::3]}.items():
        _write(out / f"{name}.jsonl", rows)
        print(f"{out / name}.jsonl: {len(rows)} problems")


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
