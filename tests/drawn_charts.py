"""A chart is drawn once in a session: two thirds of a page's time are charts, and most pages of tests have those of the page before.

draw_once(Drawn(folder))        charts of the report are kept in the folder, for every process of the session
"""

import functools
import hashlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHARTS = ("intervals", "pass_at_k", "curves", "levels", "accuracy", "histogram")


class Drawn:
    """The charts of a session in a folder, by the function and the values that they were drawn from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def get(self, draw: Callable[..., Any], values: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """The chart as it was drawn before, or drawn now."""
        path = self.folder / hashlib.sha256(pickle.dumps((draw.__name__, values, named))).hexdigest()
        if path.exists():
            return pickle.loads(path.read_bytes())
        found = draw(*values, **named)
        part = path.with_suffix(f".{os.getpid()}")
        part.write_bytes(pickle.dumps(found))
        part.replace(path)  # another process never reads half of it
        return found


def draw_once(drawn: Drawn) -> None:
    """From here on, in this process and its forks, the report takes its charts from there."""
    from redistill.report import charts

    def kept(draw: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(draw)
        def found(*values: Any, **named: Any) -> Any:
            return drawn.get(draw, values, named)

        return found

    for name in CHARTS:
        setattr(charts, name, kept(getattr(charts, name)))
