"""The made-up run of made_up_run.py, written once for all tests of the report."""

from pathlib import Path

import pytest
from made_up_run import write_run


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run folder; tests that change it work on a copy."""
    return write_run(tmp_path_factory.mktemp("runs") / "two-habits-small")
