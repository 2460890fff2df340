"""What `redistill verify` prints: outcomes as rows, verifiers as columns."""

from collections.abc import Mapping
from typing import Any


def verify_text(found: Mapping[str, Any], _: object) -> str:
    """Outcomes as rows, verifiers as columns, with percent of the rows."""
    names = list(found["outcomes"])
    outcomes = list(dict.fromkeys(word for name in names for word in found["outcomes"][name]))
    lines = ["".join(["outcome".ljust(14), *(name.rjust(20) for name in names)])]
    for word in outcomes:
        counts = [found["outcomes"][name].get(word, 0) for name in names]
        cells = [f"{count:,} ({count / max(found['rows'], 1):.1%})".rjust(20) for count in counts]
        lines.append("".join([word.ljust(14), *cells]))
    lines.append("".join(["rows".ljust(14), *(f"{found['rows']:,}".rjust(20) for _ in names)]))
    lines += [f"unreadable rows, left out: {count:,} {reason}" for reason, count in found["unreadable"].items()]
    return "\n".join(lines)
