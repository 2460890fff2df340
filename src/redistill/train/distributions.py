"""The models whose next-token distributions a stage is compared with: loaded, checked, and asked beside the student or once.

    train/.references/8c1f....top-64.ids.npy      int32 (tokens, 64), every completion token of the rows, end to end
    train/.references/8c1f....top-64.logps.npy    fp32 (tokens, 64), natural logarithms, likeliest first
    train/.references/8c1f....top-64.json         both files' SHA-256; one that has changed since is named and made again

A teacher with `top_k` on rows that are encoded before training is asked once, before the first step, and then leaves memory.
Any other teacher or reference stays and runs on the student's own packs. The name of the stored files is a hash of the
teacher's weights and config, the rows' tokens, the precision and the temperature.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from redistill.config.tables import StageSettings
from redistill.errors import OperatorError
from redistill.io.atomic import atomic_write, find_corrupt, read_json, sums_of, write_json
from redistill.io.fingerprints import fingerprint
from redistill.io.progress import bar, say
from redistill.model.divergences import top_logps
from redistill.model.logps import PackedStates, TokenSequence, prepare_for_packing
from redistill.train.measures import Distribution, Measure, ModelDistribution, StoredDistribution
from redistill.train.ranks import agreed, prepare_reference, ranks_of
from redistill.train.reference import BLOCK, model_identity, rows_identity
from redistill.train.rows import Rows
from redistill.train.step import PackPlan, Ranks

Load = Callable[[], tuple[PreTrainedModel, PreTrainedTokenizerFast]]


@dataclass(frozen=True, slots=True)
class StageOfOthers:
    """What a stage's teacher and reference have to fit: where a mistake is said to be, the student's tokenizer and how many
    tokens its head has, and where it keeps what was computed."""

    where: str  # "train.distil"
    settings: StageSettings
    tokenizer: PreTrainedTokenizerFast
    head: int
    folder: Path


def open_distributions(
    accelerator: Accelerator,
    stage: StageOfOthers,
    measures: Mapping[str, Measure],
    load: Mapping[str, Load],
    rows: Rows | None,
) -> tuple[dict[str, Distribution], bool]:
    """({"teacher": ..., "reference": ...} of what the measures ask for, whether all of them run on packs of several rows).

    load: by the same names. rows: those of a stage that does not draw its own. OperatorError for a model with another
    vocabulary than the student's.
    """
    opened: dict[str, Distribution] = {}
    pack = True
    for measure in measures.values():
        if not measure.of or measure.of in opened:
            continue
        model, tokenizer = load[measure.of]()
        size = _shared_head(stage, measure.of, model, tokenizer)
        packs = prepare_for_packing(model)
        identity = model_identity(model)
        policy = prepare_reference(accelerator, PackedStates(model, packs=packs), model).eval()
        if measure.top_k is not None and rows is not None:
            opened[measure.of] = _stored(accelerator, stage, measure, policy, rows, identity, size, packs)
        else:
            opened[measure.of] = ModelDistribution(policy, measure, size)
            pack = pack and packs
    return opened, pack


def same_vocabulary(where: str, what: str, tokenizer: Any, student: Any) -> None:
    """OperatorError where a model's tokenizer gives the student's tokens other numbers."""
    if tokenizer.get_vocab() != student.get_vocab():
        raise OperatorError(
            f"{where}: the {what} has another vocabulary than the student, so it gives no log-probs of the student's "
            f"tokens; use a {what} with the same tokenizer."
        )


def _shared_head(stage: StageOfOthers, what: str, model: PreTrainedModel, tokenizer: Any) -> int:
    """How many tokens both heads have: they may be padded to different sizes, but every token of the vocabulary is in both."""
    same_vocabulary(stage.where, what, tokenizer, stage.tokenizer)
    size = min(len(model.get_output_embeddings().weight), stage.head)
    if size < len(stage.tokenizer):
        raise OperatorError(
            f"{stage.where}: the tokenizer has {len(stage.tokenizer)} tokens, but the head of the student or of the {what} only "
            f"{size}; resize it, or use another {what}."
        )
    return size


def _stored(
    accelerator: Accelerator,
    stage: StageOfOthers,
    measure: Measure,
    policy: nn.Module,
    rows: Rows,
    identity: str,
    size: int,
    packs: bool,
) -> StoredDistribution:
    """The teacher's top-k log-probs on all rows, from the stage's folder where they are whole."""
    assert measure.top_k is not None
    k, precision = min(measure.top_k, size), stage.settings.mixed_precision
    name = fingerprint(identity, rows_identity(rows), precision, measure.temperature, size)
    stem = stage.folder / f"{name}.top-{k}"
    paths = {part: stem.with_name(f"{stem.name}.{part}.npy") for part in ("ids", "logps")}
    stamp = stem.with_name(f"{stem.name}.json")
    if not agreed(accelerator, _is_whole(stamp) if accelerator.is_main_process else False):
        budget = stage.settings.tokens_per_micro_batch if packs else 0
        _write(accelerator, policy, rows, paths, _Wanted(k, size, measure.temperature), budget)
        if accelerator.is_main_process:
            write_json(stamp, {"files": sums_of(stage.folder, [*paths.values()])})
        accelerator.wait_for_everyone()
    arrays = {part: np.load(path, mmap_mode="r") for part, path in paths.items()}
    return StoredDistribution(arrays["ids"], arrays["logps"], measure.tail)


def _is_whole(stamp: Path) -> bool:
    try:
        corrupt = find_corrupt(stamp.parent, read_json(stamp)["files"]) if stamp.exists() else stamp.name
    except (OperatorError, KeyError):
        corrupt = stamp.name
    if corrupt is not None and stamp.exists():
        say(f"corrupt  {stamp.parent / corrupt}: the teacher's top-k log-probs are computed again")
    return corrupt is None


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is asked of a teacher: its k likeliest of the first `size` tokens of its head, at a temperature."""

    k: int
    size: int
    temperature: float


def _write(
    accelerator: Accelerator, policy: nn.Module, rows: Rows, paths: Mapping[str, Path], wanted: _Wanted, budget: int
) -> None:
    """Ask the teacher, a block of sequences at a time; the main process writes."""
    starts, ranks = rows.completion_starts(), ranks_of(accelerator, policy)
    with _open_arrays(paths if accelerator.is_main_process else {}, (int(starts[-1]), wanted.k)) as arrays:
        for first in bar(range(0, len(rows.prompt_tokens), BLOCK), "teacher", unit="block"):
            last = min(len(rows.prompt_tokens), first + BLOCK)
            sequences = [rows.sequence(number) for number in range(first, last)]
            with accelerator.autocast():
                tops = _top_k(policy, sequences, budget, accelerator.device, ranks, wanted)
            for part, array in arrays.items():
                array[starts[first] : starts[last]] = tops[part].numpy()


@contextmanager
def _open_arrays(paths: Mapping[str, Path], shape: tuple[int, int]) -> Iterator[Mapping[str, np.ndarray]]:
    """Arrays on the disk to be filled, which get their names once all is written."""
    with ExitStack() as files:
        parts = {name: files.enter_context(atomic_write(path)) for name, path in paths.items()}
        arrays = {
            name: np.lib.format.open_memmap(part, mode="w+", dtype=_TYPES[name], shape=shape)
            for name, part in parts.items()
        }
        yield arrays
        for array in arrays.values():
            array.flush()


_TYPES = {"ids": np.int32, "logps": np.float32}


def _top_k(
    policy: nn.Module,
    sequences: list[TokenSequence],
    budget: int,
    device: torch.device,
    ranks: Ranks,
    wanted: _Wanted,
) -> dict[str, torch.Tensor]:
    """ids and logps, each (completion tokens of the sequences, k), end to end in their order."""
    plan = PackPlan(sequences, budget, ranks, device)
    tokens = int(plan.starts[-1])
    ids = torch.zeros(tokens, wanted.k, dtype=torch.int64, device=device)
    logps = torch.zeros(tokens, wanted.k, dtype=torch.float32, device=device)
    with torch.no_grad():
        for turn in range(plan.turns):
            pack, places, mine = plan.pack(turn, torch.zeros(tokens))
            hidden, weight = policy(pack)
            if mine:
                ids[places], logps[places] = top_logps(
                    hidden, weight[: wanted.size], wanted.k, temperature=wanted.temperature
                )
    return {"ids": ranks.sum(ids).cpu(), "logps": ranks.sum(logps).cpu()}
