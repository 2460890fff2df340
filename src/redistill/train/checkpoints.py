"""Resumable state of a stage: weights, optimizer and random state, whole or not at all.

    train/redi/checkpoints/step-000200/{model.safetensors, optimizer.bin, random_states_0.pkl, done.json}

accelerate writes the state (so DDP and FSDP shards are its business); done.json comes last and names every file with
its checksum, so a folder cut short by a kill, or damaged since, is passed over for the one before it.
"""

import json
import shutil
from pathlib import Path

from accelerate import Accelerator

from redistill.storage import sha256_file, write_json


def save(accelerator: Accelerator, folder: Path, step: int, keep: int = 2) -> None:
    """Save the state after `step` steps and remove all but the newest `keep`."""
    target = folder / f"step-{step:06d}"
    if accelerator.is_main_process and target.exists():
        shutil.rmtree(target)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(target))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        files = {str(p.relative_to(target)): sha256_file(p) for p in sorted(target.rglob("*")) if p.is_file()}
        write_json(target / "done.json", {"step": step, "files": files})
        for old in _finished(folder)[:-keep]:
            shutil.rmtree(old)


def newest(folder: Path) -> tuple[Path, int] | None:
    """(folder, steps done) of the newest whole checkpoint, or None. A damaged one is removed and the one before taken."""
    for path in reversed(_finished(folder)):
        done = json.loads((path / "done.json").read_text())
        if all((path / name).exists() and sha256_file(path / name) == sha for name, sha in done["files"].items()):
            return path, int(done["step"])
        shutil.rmtree(path)
    return None


def _finished(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("step-*") if (p / "done.json").exists())
