"""A progress bar with counts and time left for anything that takes over two seconds; silent under CI and when piped.

for group in bar(groups, "verify", unit="trace", total=40_000): ...

Of several processes of one training only the first speaks.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from redistill.safety.terminal import plain

_no_bars = 0  # how many live views are on: they have the last lines of the screen


def is_main() -> bool:
    """True in the first process of a launch, and where there is only one."""
    return os.environ.get("RANK", "0") == "0"


def bar(
    iterable: Iterable[Any] | None = None,
    label: str = "",
    *,
    unit: str = "it",
    total: int | None = None,
    initial: int = 0,
) -> tqdm:
    """tqdm on stderr, shown after two seconds and only to a person: not when piped, not under CI, not below a live view."""
    quiet = bool(os.environ.get("CI")) or not sys.stderr.isatty() or _no_bars > 0 or not is_main()
    return tqdm(
        iterable, desc=plain(label), unit=unit, total=total, initial=initial, delay=2, disable=quiet, smoothing=0.05
    )


@contextmanager
def unbarred() -> Iterator[None]:
    """No bar is begun meanwhile."""
    global _no_bars
    _no_bars += 1
    try:
        yield
    finally:
        _no_bars -= 1


def say(line: str) -> None:
    """One plain line of progress on stderr, above any bar; said by the first process only."""
    if is_main():
        tqdm.write(plain(line), file=sys.stderr)
