"""A reference model's log-probs on a stage's rows: computed once with the student's own kernel, kept, and reused.

    train/.references/3f0c....tokens.npy        fp32, every completion token of the rows, end to end
    train/.references/9b1e....mismatched.npy    fp64, one a row, for objectives that ask for it (KTO)
    train/.references/77ab....scores.npy        fp32, a critic's score of every completion token, for token credit
    train/.references/3f0c....tokens.npy.json   the file's SHA-256; one that has changed since is named and computed again

The name is a hash of the reference's weights and config, the rows' tokens and the precision, so a stage that is resumed,
run again with another learning rate, or that shares start and pairs with another reads what is there, and a file never
speaks for another model. Token log-probs are kept, not sums, for modifiers weigh tokens on both sides alike.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from redistill.errors import OperatorError
from redistill.io.atomic import atomic_write, read_json, sha256_file, write_json
from redistill.io.fingerprints import fingerprint
from redistill.io.progress import bar, say
from redistill.model.logps import PackedPolicy, TokenSequence, prepare_for_packing
from redistill.model.score_heads import PackedScores, prepare_scores
from redistill.train.ranks import agreed, prepare_reference, ranks_of
from redistill.train.rows import Rows
from redistill.train.step import Reference, find_token_logps

BLOCK = 512  # sequences whose log-probs are held before they are written


def reference_logps(
    accelerator: Accelerator,
    policy: nn.Module,
    identity: str,
    rows: Rows,
    folder: Path,
    *,
    precision: str,
    tokens_per_micro_batch: int,
    mismatched: bool,
) -> Reference:
    """The log-probs of `policy` on all rows; from `folder` where they lie there already. identity: its `model_identity`."""
    what = rows_identity(rows)
    ranks = ranks_of(accelerator, policy)

    def run(sequences: list[TokenSequence]) -> np.ndarray:
        with accelerator.autocast():
            logps = find_token_logps(
                policy, sequences, tokens_per_micro_batch=tokens_per_micro_batch, device=accelerator.device, ranks=ranks
            )
        return logps.numpy()

    def tokens() -> Iterator[np.ndarray]:
        count = len(rows.prompt_tokens)
        for start in bar(range(0, count, BLOCK), "reference", unit="block"):
            yield run([rows.sequence(n) for n in range(start, min(count, start + BLOCK))]).astype(np.float32)

    def sums() -> Iterator[np.ndarray]:
        for start in bar(range(0, len(rows), BLOCK), "reference, mismatched", unit="block"):
            sequences = [rows.mismatched(row) for row in range(start, min(len(rows), start + BLOCK))]
            lengths = [len(ids) - max(prompt, 1) for ids, prompt in sequences]
            yield np.add.reduceat(run(sequences), np.concatenate([[0], np.cumsum(lengths)[:-1]]))

    name = fingerprint(identity, what, precision)
    token_logps = _kept(accelerator, folder / f"{name}.tokens.npy", tokens)
    others = _kept(accelerator, folder / f"{name}.mismatched.npy", sums) if mismatched else None
    return Reference(token_logps, others)


@dataclass(frozen=True, slots=True)
class ImplicitCritic:
    """A language model whose score of a token is beta times its log-ratio to another one (objectives/implicit.py)."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    reference: PreTrainedModel
    beta: float


def with_critic_scores(
    accelerator: Accelerator,
    rows: Rows,
    critic: "tuple[PreTrainedModel, Any] | ImplicitCritic",
    folder: Path,
    *,
    precision: str,
    tokens_per_micro_batch: int,
) -> Rows:
    """The rows with the token value "critic_score": a critic's score of every completion token, kept in `folder` as a
    reference's log-probs are. critic: (model, tokenizer), whose tokenizer cuts texts as the rows' does, or an implicit one."""
    if isinstance(critic, ImplicitCritic):
        own, other = (
            _logps_of(accelerator, model, rows, folder, precision, tokens_per_micro_batch)
            for model in (critic.model, critic.reference)
        )
        scores_of_tokens = critic.beta * (np.asarray(own, np.float64) - other)
        return dataclasses.replace(rows, values={**rows.values, "critic_score": scores_of_tokens})
    model, _ = critic
    identity = model_identity(model)
    packs = prepare_scores(model)
    policy = prepare_reference(accelerator, PackedScores(model, packs=packs), model).eval()
    ranks = ranks_of(accelerator, policy)

    def scores() -> Iterator[np.ndarray]:
        count = len(rows.prompt_tokens)
        for start in bar(range(0, count, BLOCK), "critic", unit="block"):
            sequences = [rows.sequence(n) for n in range(start, min(count, start + BLOCK))]
            with accelerator.autocast():
                logps = find_token_logps(
                    policy,
                    sequences,
                    tokens_per_micro_batch=tokens_per_micro_batch if packs else 0,
                    device=accelerator.device,
                    ranks=ranks,
                )
            yield logps.numpy().astype(np.float32)

    name = fingerprint(identity, rows_identity(rows), precision)
    kept = _kept(accelerator, folder / f"{name}.scores.npy", scores)
    return dataclasses.replace(rows, values={**rows.values, "critic_score": kept})


def _logps_of(
    accelerator: Accelerator, model: PreTrainedModel, rows: Rows, folder: Path, precision: str, budget: int
) -> np.ndarray:
    """The log-probs of a model that does not learn, kept as those of a reference are."""
    identity = model_identity(model)
    packs = prepare_for_packing(model)
    policy = prepare_reference(accelerator, PackedPolicy(model, packs=packs), model).eval()
    return reference_logps(
        accelerator,
        policy,
        identity,
        rows,
        folder,
        precision=precision,
        tokens_per_micro_batch=budget if packs else 0,
        mismatched=False,
    ).token_logps


def _kept(accelerator: Accelerator, path: Path, make: Callable[[], Iterator[np.ndarray]]) -> np.ndarray:
    """The array in `path`, made and written by all ranks together where it is not there or damaged."""
    stamp = path.with_name(path.name + ".json")
    there = agreed(accelerator, _is_whole(path, stamp) if accelerator.is_main_process else False)
    if not there:
        array = np.concatenate(list(make()))
        if accelerator.is_main_process:
            with atomic_write(path) as part, open(part, "wb") as file:
                np.save(file, array)
            write_json(stamp, {"sha256": sha256_file(path)})
        accelerator.wait_for_everyone()
    return np.load(path, mmap_mode="r")


def _is_whole(path: Path, stamp: Path) -> bool:
    """True when the file has the checksum that its stamp names; damage is said."""
    if not (path.exists() and stamp.exists()):
        return False
    try:
        whole = bool(sha256_file(path) == read_json(stamp)["sha256"])
    except OperatorError:
        whole = False
    if not whole:
        what = "the critic's scores" if path.name.endswith(".scores.npy") else "the reference's log-probs"
        say(f"corrupt  {path}: {what} are computed again")
    return whole


def model_identity(model: PreTrainedModel) -> str:
    """A hash of a model's weights and config; where it lies and what wrote it are left out."""
    config = {k: v for k, v in model.config.to_dict().items() if k not in ("_name_or_path", "transformers_version")}
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        flat = tensor.detach().contiguous().view(-1).view(torch.uint8)
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(flat.cpu().numpy().data)
    return fingerprint(config, digest.hexdigest())


def rows_identity(rows: Rows) -> str:
    """A hash of the rows' tokens, their cuts and their images."""
    digest = hashlib.sha256()
    for array in (rows.tokens, rows.starts, rows.prompt_tokens):
        digest.update(np.ascontiguousarray(array).data)
    shown = [] if rows.images is None else [[" ".join(images) for images in rows.images]]
    return fingerprint(len(rows), digest.hexdigest(), *shown)
