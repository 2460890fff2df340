"""The tool of end_to_end/, the tiny experiment, and one uninterrupted run of it that every fault is measured by."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .tiny import write_tiny

TESTS = Path(__file__).parents[1]


def _end_to_end() -> Any:
    """tests/end_to_end/conftest.py, whose Tool is used here too."""
    sys.path.insert(0, str(TESTS / "end_to_end"))  # for what that file imports
    spec = importlib.util.spec_from_file_location("end_to_end_conftest", TESTS / "end_to_end" / "conftest.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


END_TO_END = _end_to_end()


def armed(function: str, **named: Any) -> dict[str, Any]:
    """A fault that runner.py sets up in the child: `moments:arm` calls arm of faults/moments.py with `named`."""
    return {"setup": f"faults.{function}", "path": str(TESTS), **named}


@pytest.fixture(scope="package")
def tool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    tool = END_TO_END.Tool(tmp_path_factory.mktemp("output"))
    yield tool
    tool.process.stdin.close()
    tool.process.wait(timeout=30)


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
