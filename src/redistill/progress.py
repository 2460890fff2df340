"""A progress bar with counts and time left for anything that takes over two seconds; silent under CI and when piped.

for group in bar(groups, "verify", unit="trace", total=40_000): ...
"""

import os
import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

from redistill.terminal import plain


def bar(
    iterable: Iterable[Any] | None = None,
    label: str = "",
    *,
    unit: str = "it",
    total: int | None = None,
    initial: int = 0,
) -> tqdm:
    """tqdm on stderr, shown after two seconds and only to a person: not when piped, not under CI."""
    quiet = bool(os.environ.get("CI")) or not sys.stderr.isatty()
    return tqdm(
        iterable, desc=plain(label), unit=unit, total=total, initial=initial, delay=2, disable=quiet, smoothing=0.05
    )


def say(line: str) -> None:
    """One plain line of progress on stderr, above any bar."""
    tqdm.write(plain(line), file=sys.stderr)
