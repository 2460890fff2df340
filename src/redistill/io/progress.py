"""A progress bar with counts and time left for anything that takes over two seconds; silent under CI and when piped.

for group in bar(groups, "verify", unit="trace", total=40_000): ...

Of several processes of one training only the first speaks.
"""

import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from redistill.safety.terminal import plain

_bars: list[Any] = []  # that are open, the innermost last
_quiet = False  # --log-level error: no lines of progress and no bars
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
    """tqdm on stderr, shown after two seconds and only to a user: not when piped, not under CI, not below a live view."""
    quiet = bool(os.environ.get("CI")) or not sys.stderr.isatty() or _no_bars > 0 or _quiet or not is_main()
    return _Bar(
        iterable, desc=plain(label), unit=unit, total=total, initial=initial, delay=2, disable=quiet, smoothing=0.05
    )


class _Bar(tqdm):
    """A bar that `beat` can move while nothing of its unit is finished."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        _bars.append(self)

    def close(self) -> None:
        if _bars and self in _bars:  # at the end of the process the list may be gone already
            _bars.remove(self)
        super().close()


BEAT_SECONDS = 1.0


def beat(words: str) -> None:
    """Say on the innermost bar what is going on while nothing is finished yet: at most once a second, and not in its first two."""
    if not _bars or _bars[-1].disable:
        return
    bar_ = _bars[-1]
    now = time.monotonic()
    if bar_.format_dict["elapsed"] > 2 and now - getattr(bar_, "beaten", 0.0) >= BEAT_SECONDS:
        bar_.beaten = now
        bar_.set_postfix_str(plain(words), refresh=True)


@contextmanager
def unbarred() -> Iterator[None]:
    """No bar is begun meanwhile."""
    global _no_bars
    _no_bars += 1
    try:
        yield
    finally:
        _no_bars -= 1


def set_level(level: str | None) -> None:
    """How much is said on stderr from here on: None as ever; `error`: no progress; `info`, `debug`: with what libraries log.

    Set before heavy imports: transformers and huggingface_hub read their level from the environment.
    """
    global _quiet
    _quiet = level == "error"
    if level is None:
        return
    for name in ("TRANSFORMERS_VERBOSITY", "HF_HUB_VERBOSITY"):
        os.environ[name] = level
    logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")


def say(line: str) -> None:
    """One plain line of progress on stderr, above any bar; said by the first process only."""
    if is_main() and not _quiet:
        tqdm.write(plain(line), file=sys.stderr)
