"""What `redistill regrade` prints: a table for each two verifiers, and examples of where they disagree."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

MAX_EXAMPLES = 6  # on the screen; more are in regraded/agreement.json


def regrade_text(found: list[dict[str, Any]], options: Mapping[str, Any]) -> str:
    """The tables, and where they are kept."""
    return "\n\n".join([*map(_readable, found), f"kept in {Path(options['run']) / 'regraded'}"])


def _readable(found: dict[str, Any]) -> str:
    a, b = found["a"], found["b"]
    share = "-" if found["agree"] is None else f"{found['agree']:.1%}"
    lines = [
        f"{found['student']} on {found['benchmark']}: {a} and {b} agree on {share} of {found['num_samples']:,} answers; "
        f"correct by {a} alone: {found['only_a_correct']}, by {b} alone: {found['only_b_correct']}."
    ]
    columns = sorted({word for row in found["table"].values() for word in row})
    lines.append(f"  {a + ' down, ' + b + ' across':<36}" + "".join(f"{word:>12}" for word in columns))
    for word, row in found["table"].items():
        lines.append(f"  {word:<36}" + "".join(f"{row.get(column, 0):>12,}" for column in columns))
    for example in found["examples"][:MAX_EXAMPLES]:
        one, other = example[a], example[b]
        lines.append(f"  {example['trace_id']} gold {_cut(example['gold'])}: {a} {_said(one)}; {b} {_said(other)}")
    return "\n".join(lines)


def _said(verdict: dict[str, Any]) -> str:
    return f"{verdict['outcome']} ({verdict['reason']}, read {_cut(verdict['read'])})"


def _cut(text: str | None) -> str:
    line = "nothing" if text is None else " ".join(text.split())
    return line if len(line) <= 40 else f"{line[:37]}..."
