"""Resumable state of a stage: weights, optimizer and random state, whole or not at all.

    train/redi/checkpoints/step-000200/{model.safetensors, optimizer.bin, random_states_0.pkl, done.json}

accelerate writes the state (so DDP and FSDP shards are its business); done.json comes last and names every file with
its checksum, so a folder cut short by a kill, or damaged since, is passed over for the one before it. It also holds
what the guard wants to know of it: `attempt`, how often the stage had been rolled back, and `good`.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from redistill.storage import sha256_file, write_json

Done = dict[str, Any]  # what done.json says


def save(
    accelerator: Accelerator,
    folder: Path,
    step: int,
    *,
    facts: Done | None = None,
    spare: Callable[[Sequence[Done]], set[int]] = lambda finished: set(),
) -> None:
    """Save the state after `step` steps and remove all but the newest two and the steps that `spare` picks."""
    target = at(folder, step)
    if accelerator.is_main_process and target.exists():
        shutil.rmtree(target)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(target))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        files = {str(p.relative_to(target)): sha256_file(p) for p in sorted(target.rglob("*")) if p.is_file()}
        write_json(target / "done.json", {"step": step, "files": files, **(facts or {})})
        kept = spare(finished(folder))
        for old in _finished(folder)[:-2]:
            if int(old.name.removeprefix("step-")) not in kept:
                shutil.rmtree(old)


def finished(folder: Path) -> list[Done]:
    """The done.json of every finished checkpoint, by rising step."""
    return [json.loads((path / "done.json").read_text()) for path in _finished(folder)]


def remove(folder: Path, unwanted: Callable[[Done], bool]) -> None:
    """Remove the finished checkpoints whose done.json is unwanted."""
    for path in _finished(folder):
        if unwanted(json.loads((path / "done.json").read_text())):
            shutil.rmtree(path)


def at(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step is."""
    return folder / f"step-{step:06d}"


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
