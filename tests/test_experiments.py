"""Every sweep and recipe under experiments/ is one that this version can run: its settings are known and its grid is whole."""

from pathlib import Path

import pytest
import yaml

from redistill.config.parsing import load_recipe
from redistill.tools.sweep.grid import make_trials, read_sweep

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "experiments").glob("*/*.yaml"))
SWEEPS = [path for path in FILES if "seeds" in yaml.safe_load(path.read_text())]


def test_there_are_sweeps_and_recipes() -> None:
    assert SWEEPS
    assert len(FILES) > len(SWEEPS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_an_experiment_can_be_run_again(path: Path, monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    if path not in SWEEPS:
        load_recipe(str(path))
        return
    sweep = read_sweep(str(path))
    trials = make_trials(sweep)
    assert {trial.seed for trial in trials} == set(sweep.seeds)
    assert sweep.control is None or sweep.control in {trial.variant for trial in trials}
