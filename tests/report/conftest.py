"""The made-up run of made_up_run.py, written once for all tests of the report, and its charts, drawn once."""

import functools
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from made_up_run import write_run

from redistill.report import charts

CHARTS = ("intervals", "pass_at_k", "curves", "levels", "accuracy", "histogram")


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run folder; tests that change it work on a copy."""
    return write_run(tmp_path_factory.mktemp("runs") / "two-habits-small")


@pytest.fixture(scope="session")
def drawn() -> dict[bytes, Any]:
    """The charts drawn so far. A test that asks whether the same values are drawn alike empties it."""
    return {}


@pytest.fixture(scope="module", autouse=True)
def drawn_once(drawn: dict[bytes, Any]) -> Iterator[None]:
    """Two thirds of a page's time are charts, and most pages here have those of the page before."""

    def once(draw: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(draw)
        def found(*values: Any, **named: Any) -> Any:
            key = pickle.dumps((draw.__name__, values, named))
            if key not in drawn:
                drawn[key] = draw(*values, **named)
            return drawn[key]

        return found

    with pytest.MonkeyPatch.context() as patch:
        for name in CHARTS:
            patch.setattr(charts, name, once(getattr(charts, name)))
        yield
