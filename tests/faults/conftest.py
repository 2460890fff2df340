"""The tiny experiment, and one uninterrupted run of it that every fault is measured by."""

from pathlib import Path
from typing import Any

import pytest

from .tiny import write_tiny

TESTS = Path(__file__).parents[1]


def armed(function: str, **named: Any) -> dict[str, Any]:
    """A fault that runner.py sets up in the child: `moments:arm` calls arm of faults/moments.py with `named`."""
    return {"setup": f"faults.{function}", "path": str(TESTS), **named}


@pytest.fixture(scope="package")
def whole(tmp_path_factory: pytest.TempPathFactory, tool: Any) -> Path:
    """A folder with tiny.yaml, its uninterrupted run, and moments.tsv, every moment at which that run wrote."""
    folder = tmp_path_factory.mktemp("whole")
    write_tiny(folder)
    record = armed("moments:arm", root=str(folder / "runs" / "tiny"), record=str(folder / "moments.tsv"))
    done = tool(folder, "run", "tiny.yaml", cut=record)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """An empty folder with tiny.yaml and its rows in it."""
    write_tiny(tmp_path)
    return tmp_path
