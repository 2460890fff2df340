"""What `redistill verify` prints: outcomes as rows, verifiers as columns."""

from collections.abc import Mapping
from typing import Any


def verify_text(summary: Mapping[str, Any], _: object) -> str:
    """Outcomes as rows, verifiers as columns, with percent of the rows."""
    names = list(summary["outcomes"])
    outcomes = list(dict.fromkeys(word for name in names for word in summary["outcomes"][name]))
    lines = ["".join(["outcome".ljust(14), *(name.rjust(20) for name in names)])]
    for word in outcomes:
        counts = [summary["outcomes"][name].get(word, 0) for name in names]
        cells = [f"{count:,} ({count / max(summary['rows'], 1):.1%})".rjust(20) for count in counts]
        lines.append("".join([word.ljust(14), *cells]))
    lines.append("".join(["rows".ljust(14), *(f"{summary['rows']:,}".rjust(20) for _ in names)]))
    lines += [f"unreadable rows, left out: {count:,} {reason}" for reason, count in summary["unreadable"].items()]
    return "\n".join(lines)
