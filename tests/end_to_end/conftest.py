"""Fixtures of the miniature experiment (mini.py)."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from mini import MINI, Tool


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, tool: Tool) -> Path:
    """A folder with mini.yaml, its uninterrupted run and what the command said, and `tried` where it asked for the network; tests work
    on copies."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "mini.yaml").write_text(MINI)
    guard = {"setup": "loopback_only:arm", "path": str(Path(__file__).parent), "tried": str(folder / "tried")}
    done = tool(folder, "run", "mini.yaml", cut=guard)
    (folder / "stdout").write_text(done.stdout)
    (folder / "stderr").write_text(done.stderr)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the whole run with only some of its stages; returns the folder that holds mini.yaml."""

    def make(*stage_dirs: str) -> Path:
        (tmp_path / "mini.yaml").write_text(MINI)
        target = tmp_path / "runs" / "mini"
        target.mkdir(parents=True)
        origin = json.dumps({"layout": 2, "recipe_file": str(tmp_path / "mini.yaml"), "name": "mini"})
        (target / "layout.json").write_text(origin)
        for stage_dir in stage_dirs:
            shutil.copytree(whole / "runs" / "mini" / stage_dir, target / stage_dir)
        return tmp_path

    return make


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """An empty folder with mini.yaml in it."""
    (tmp_path / "mini.yaml").write_text(MINI)
    return tmp_path
