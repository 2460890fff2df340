"""What two runs of one recipe must have in common: every file, byte for byte, but the fields that are times.

    assert final_files(run) == final_files(other)

The fields that are times are TIMES and nothing else; they are taken out of JSON files and lines. In the page they are
durations, and what follows one in its row of a table: device hours, tokens and operations a second.
"""

import json
import re
from pathlib import Path
from typing import Any

TIMES = ("seconds", "tokens_per_second", "seconds_drawing", "samples_per_second")
MEMORY = ("free_bytes", "peak_bytes", "sentence")  # of a stage's `memory`: what was free just then
_DURATION = rb"(?:[\d.]+ s|\d+ h \d+ min|\d+ min)"
_PAGE = re.compile(_DURATION + rb"(?:</td><td>[^<]*)+(?=</td></tr>)|" + _DURATION + rb"\b")


def without_times(value: Any) -> Any:
    """JSON without the fields of TIMES and without the checksum that covers them."""
    if isinstance(value, dict):
        held = (
            {**value, "memory": {k: v for k, v in value["memory"].items() if k not in MEMORY}}
            if "memory" in value
            else value
        )
        return {key: without_times(v) for key, v in held.items() if key not in (*TIMES, "checksum")}
    return [without_times(v) for v in value] if isinstance(value, list) else value


def final_files(run: Path) -> dict[str, Any]:
    """Every file below the folder by its path: bytes, or what is said in it where times are part of it."""
    found: dict[str, Any] = {}
    places = (".lock", "layout.json")  # who holds the folder, and where its recipe lies
    for path in sorted(p for p in run.rglob("*") if p.is_file() and p.name not in places):
        name, data = str(path.relative_to(run)), path.read_bytes()
        if path.name == "run.json" or (path.name == "ledger.json" and "train/" in name):
            found[name] = without_times(json.loads(data))
        elif path.name in ("metrics.jsonl", "abandoned.jsonl"):
            found[name] = [without_times(json.loads(line)) for line in data.splitlines()]
        elif path.name == "report.html":
            found[name] = _PAGE.sub(b"<time>", data)
        else:
            found[name] = data
    return found


def unlike(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """The files of two runs that differ, each with where it does."""
    found = [f"{name} is there once only" for name in sorted(one.keys() ^ other.keys())]
    for name in sorted(one.keys() & other.keys()):
        a, b = (value if isinstance(value, bytes) else repr(value).encode() for value in (one[name], other[name]))
        if a != b:
            place = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
            found.append(
                f"{name} at {place}: {a[max(0, place - 60) : place + 60]!r} / {b[max(0, place - 60) : place + 60]!r}"
            )
    return found
