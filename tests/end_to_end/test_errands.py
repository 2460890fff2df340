"""examples/errands.sh, the first hour of a new user, ends well; and it does end badly at the first wrong outcome."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import redistill

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples/errands.sh"


def errands(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "REDISTILL": command, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1",
                   "PYTHONPATH": str(Path(redistill.__file__).parents[1])}  # fmt: skip
    return subprocess.run(
        ["bash", str(SCRIPT), str(folder)], env=environment, capture_output=True, text=True, timeout=2400
    )


@pytest.mark.recipes
def test_every_errand_of_a_new_user_ends_as_it_should(tmp_path):
    done = errands(tmp_path, f"{sys.executable} -P -m redistill")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert "errands done" in done.stdout.splitlines()[-1]


def test_a_wrong_outcome_ends_the_script_with_the_errand_it_was(tmp_path):
    broken = tmp_path / "broken"
    broken.write_text(
        '#!/bin/sh\necho init run report\n[ "$1" = --help ]\n'
    )  # --help works, a misspelt command ends with 1
    broken.chmod(0o755)
    done = errands(tmp_path / "world", str(broken))
    assert done.returncode == 1
    assert "errand 2 failed: a misspelt command suggests the nearest" in done.stdout
    assert "ended with 1, expected 2" in done.stdout
