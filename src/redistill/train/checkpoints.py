"""Resumable state of a stage: weights, optimizer and random state, whole or not at all.

    train/redi/checkpoints/step-000200/{tensors.json, __0_0.bin, random-0.json, done.json}

torch.distributed.checkpoint plans the state's files (state_files.py): each rank its slices, with a table of which is where, so a stage saved by
two ranks goes on with one or eight, sharded or not. Weights that are not trained (LoRA) are left out: they come from the
start. done.json comes last and names every file with its checksum, so a folder cut short by a kill, or damaged since, is
passed over for the one before it. It also holds what the guard wants to know of it: `attempt`, how often the stage had
been rolled back, and `good`.
"""

import logging
import random
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed.checkpoint as dcp
from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException

from redistill.errors import OperatorError
from redistill.io.atomic import find_corrupt, read_json, sums_of, sync_folder, trouble, write_json, writing
from redistill.io.progress import say
from redistill.train.ranks import reshard
from redistill.train.state_files import StateReader, StateWriter

Done = dict[str, Any]  # what done.json says
Learner = tuple[nn.Module, Any]  # a policy and its optimizer


def save(
    accelerator: Accelerator,
    policy: nn.Module,
    optimizer: Any,
    folder: Path,
    step: int,
    *,
    facts: Done | None = None,
    spare: Callable[[Sequence[Done]], set[int]] = lambda finished: set(),
    critic: Learner | None = None,
) -> None:
    """Save the state after `step` steps and remove all but the newest two and the steps that `spare` picks. critic: what learns
    beside the student, saved in the same files."""
    target = at(folder, step)
    if accelerator.is_main_process and target.exists():
        shutil.rmtree(target)
    accelerator.wait_for_everyone()
    with writing(target), _quiet():
        try:
            dcp.save(
                _state_of_both(accelerator, (policy, optimizer), critic),
                storage_writer=StateWriter(target),
                no_dist=accelerator.num_processes == 1,
            )
        except CheckpointException as error:  # of its own kind, with what each rank met inside
            refused = [found for found, _ in error.failures.values() if trouble(found)]
            raise (refused[0] if refused else error) from error
    write_json(target / f"random-{accelerator.process_index}.json", _random_state())
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        files = sums_of(target, [path for path in target.rglob("*") if path.is_file()])
        sync_folder(folder)
        write_json(target / "done.json", {"step": step, "files": files, **(facts or {})})
        kept = spare(finished(folder))
        for old in _finished(folder)[:-2]:
            if int(old.name.removeprefix("step-")) not in kept:
                shutil.rmtree(old)
    accelerator.wait_for_everyone()


def load(
    accelerator: Accelerator, policy: nn.Module, optimizer: Any, source: Path, *, critic: Learner | None = None
) -> None:
    """Put weights, optimizer and random state back as they were; with another number of ranks than saved it, each rank
    keeps the random state it has (only dropout asks for one)."""
    learners = _learners((policy, optimizer), critic)
    with _quiet():
        reader = StateReader(source)
        saved = reader.read_metadata().state_dict_metadata
        for prefix, (_, its_optimizer) in learners.items():
            _raw(its_optimizer).state.clear()
            if any(name.startswith(f"{prefix}optimizer.") for name in saved):
                _make_moments(_raw(its_optimizer))
        state = _state_of_both(accelerator, (policy, optimizer), critic)
        dcp.load(state, storage_reader=reader, no_dist=accelerator.num_processes == 1)
    for prefix, (its_policy, its_optimizer) in learners.items():
        names = {p: name for name, p in accelerator.unwrap_model(its_policy).model.named_parameters()}
        for parameter, moments in _raw(
            its_optimizer
        ).state.items():  # plain numbers (a count of steps) were not loaded in place
            for word, value in moments.items():
                if not isinstance(value, Tensor):
                    moments[word] = type(value)(state[f"{prefix}optimizer.{names[parameter]}.{word}"].item())
    mine = source / f"random-{accelerator.process_index}.json"
    if len(list(source.glob("random-*.json"))) == accelerator.num_processes:
        _set_random_state(read_json(mine))
    accelerator.wait_for_everyone()


def _learners(student: Learner, critic: Learner | None) -> dict[str, Learner]:
    """Who learns, by what stands before the names of its tensors."""
    return {"": student} | ({} if critic is None else {"critic.": critic})


def _state_of_both(accelerator: Accelerator, student: Learner, critic: Learner | None) -> dict[str, Tensor]:
    return {
        f"{prefix}{name}": tensor
        for prefix, learner in _learners(student, critic).items()
        for name, tensor in _state(accelerator, *learner).items()
    }


def _state(accelerator: Accelerator, policy: nn.Module, optimizer: Any) -> dict[str, Tensor]:
    """Every tensor of the state by name, the very tensors that are trained: loading writes into them."""
    reshard(policy)
    model = accelerator.unwrap_model(policy).model
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    state = {f"weights.{name}": parameter.detach() for name, parameter in trained.items()}
    # what is not a parameter and yet saved with the model: buffers that some layers update
    state |= {f"buffers.{name}": value for name, value in model.state_dict().items() if name not in parameters}
    moments = _raw(optimizer).state
    for name, parameter in trained.items():
        for word, value in moments.get(parameter, {}).items():
            state[f"optimizer.{name}.{word}"] = value if isinstance(value, Tensor) else torch.tensor(value)
    return state


def _raw(optimizer: Any) -> torch.optim.Optimizer:
    return getattr(optimizer, "optimizer", optimizer)


def _make_moments(optimizer: torch.optim.Optimizer) -> None:
    """Have the optimizer make its state, in the shapes that the checkpoint will fill, by a step that moves nothing."""
    kept = [(group["lr"], group["weight_decay"]) for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["lr"] = group["weight_decay"] = 0.0
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    for group, (rate, decay) in zip(optimizer.param_groups, kept, strict=True):
        group["lr"], group["weight_decay"] = rate, decay


def _random_state() -> dict[str, Any]:
    version, words, gauss = random.getstate()
    kind, keys, place, has_gauss, cached = np.random.get_state()
    return {
        "python": [version, list(words), gauss],
        "numpy": [kind, np.asarray(keys).tolist(), place, has_gauss, cached],
        "torch": torch.get_rng_state().tolist(),
        "cuda": [state.tolist() for state in torch.cuda.get_rng_state_all()] if torch.cuda.is_available() else [],
    }


def _set_random_state(state: dict[str, Any]) -> None:
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    kind, keys, place, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, np.array(keys, np.uint32), place, has_gauss, cached))
    torch.set_rng_state(torch.tensor(state["torch"], dtype=torch.uint8))
    if state["cuda"]:
        torch.cuda.set_rng_state_all([torch.tensor(one, dtype=torch.uint8) for one in state["cuda"]])


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch says of a checkpoint made by one process: that it assumes just that."""
    logger = logging.getLogger("torch.distributed.checkpoint")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logger.setLevel(level)


def finished(folder: Path, *, whole: bool = False) -> list[Done]:
    """The done.json of every finished checkpoint, by rising step. whole: of those whose files have been looked at and are
    what was saved; the others are named and removed."""
    return [done for path in _finished(folder) if (done := _done(path, looked_at=whole)) is not None]


def remove(folder: Path, unwanted: Callable[[Done], bool]) -> None:
    """Remove the finished checkpoints whose done.json is unwanted."""
    for path in _finished(folder):
        done = _done(path)
        if done is not None and unwanted(done):
            shutil.rmtree(path)


def _done(path: Path, *, looked_at: bool = False) -> Done | None:
    """What done.json says; None, in a line that names what is damaged, where it or (looked_at) another file has changed
    since: the checkpoint is removed, because nothing may be trained on from there."""
    try:
        done: Done = read_json(path / "done.json")
        name = find_corrupt(path, done["files"]) if looked_at else None
    except OperatorError:
        name = "done.json"
    if name is None:
        return done
    say(f"corrupt  {path / name}: this checkpoint is removed, and the previous one is used")
    (path / "done.json").unlink()  # first: half of a removed folder is not a checkpoint
    shutil.rmtree(path)
    return None


def at(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step is."""
    return folder / f"step-{step:06d}"


def history_of(folder: Path, step: int) -> str | None:
    """The hash of the stage's history that the checkpoint of a step was saved with; None where it names none."""
    return read_json(at(folder, step) / "done.json").get("history")


def newest(folder: Path) -> tuple[Path, int] | None:
    """(folder, steps done) of the newest whole checkpoint, or None. A damaged one is removed and the one before taken."""
    for path in reversed(_finished(folder)):
        done = _done(path, looked_at=True)
        if done is not None:
            return path, int(done["step"])
    return None


def _finished(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("step-*") if (p / "done.json").exists())
