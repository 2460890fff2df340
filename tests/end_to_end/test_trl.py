"""TRL's own GRPOTrainer takes two steps on what `redistill export --to trl` writes, as a user would run it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import redistill
from exported import exported, recipe_of


@pytest.mark.recipes  # TRL and datasets start for half a minute; what the export holds is tools/test_export.py
def test_a_real_grpo_trainer_trains_on_the_export(tmp_path):
    folder = exported(tmp_path, "trl", recipe_of("grpo", reward=[{"name": "length", "each": 0.1}]))
    environment = {**os.environ, "PYTHONPATH": str(Path(redistill.__file__).parents[1]), "HF_HUB_OFFLINE": "1",
                   "HF_DATASETS_CACHE": str(tmp_path / "cache"), "TRL_EXPERIMENTAL_SILENCE": "1"}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "train.py", "max_steps=2", "use_cpu=true", "report_to=none", "save_strategy=no"],
        cwd=folder, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    steps = [eval(line) for line in re.findall(r"\{'loss'.*\}", done.stdout)]
    assert len(steps) == 2
    lengths = [float(step["completions/mean_length"]) for step in steps]
    rewards = [float(step["rewards/reward/mean"]) for step in steps]
    assert all(abs(reward - 0.1 * length) < 1e-3 for reward, length in zip(rewards, lengths, strict=True))
    student = folder / "output" / "student"
    assert (student / "model.safetensors").exists()
    assert json.loads((student / "config.json").read_text())["model_type"] == "llama"
    before = (tmp_path / "run" / "train" / "sft" / "model" / "model.safetensors").read_bytes()
    assert (student / "model.safetensors").read_bytes() != before
