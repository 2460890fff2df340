"""What tests/conftest.py promises: no temporary file outlives a session, and what is left out is asked for by name."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).parents[1]
LEAVES = """
import subprocess, sys, tempfile
import pytest

def test_leaves_a_folder_behind():
    tempfile.mkdtemp(prefix="redistill-plan-")
    subprocess.run([sys.executable, "-c", "import tempfile; tempfile.mkdtemp(prefix='torchelastic_')"], check=True)

@pytest.mark.recipes
def test_of_a_recipe(): ...

@pytest.mark.soak
def test_that_takes_a_minute(): ...
"""


def session(folder: Path, *arguments: str) -> str:
    """pytest with the conftest.py of these tests in a folder of its own; what it prints."""
    (folder / "conftest.py").write_text((TESTS / "conftest.py").read_text("utf-8"))
    (folder / "test_leaving.py").write_text(LEAVES)
    (folder / "temporary").mkdir(exist_ok=True)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "REDISTILL_TESTS"))}
    environment |= {"TMPDIR": str(folder / "temporary"), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_a_session_leaves_no_temporary_folder_and_leaves_recipes_and_soak_to_their_targets(tmp_path: Path) -> None:
    assert "1 passed, 2 deselected" in session(tmp_path)
    assert [path for path in (tmp_path / "temporary").iterdir() if not path.name.startswith("pytest-of-")] == []
    assert "1 passed, 2 deselected" in session(tmp_path, "-m", "recipes")
    assert "3 passed" in session(tmp_path, "test_leaving.py")


def test_this_session_has_a_temporary_folder_of_its_own() -> None:
    assert Path(tempfile.gettempdir()) == Path(os.environ["REDISTILL_TESTS_SCRATCH"])


def test_every_target_that_runs_what_is_left_out_is_in_the_makefile_and_recipes_in_ci() -> None:
    makefile = (TESTS.parent / "Makefile").read_text("utf-8")
    assert "$(PYTEST) -m recipes" in makefile and "pytest -m soak" in makefile
    assert "make recipes" in (TESTS.parent / ".ci/run").read_text("utf-8")
