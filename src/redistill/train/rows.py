"""Examples and Pairs -> token rows on disk: encoded once, then read by memory map, so a corpus need not fit in memory.

    tokens.bin   int32, all sequences end to end
    index.npz    starts (sequences + 1,), prompt_tokens (sequences,), weights (rows,)
    ids.txt      one id a row: a trace id or "chosen_id rejected_id"

An example is one sequence, a pair two: chosen then rejected. A row too long for the student is dropped with its reason,
never cut: a cut trace has lost its answer.
"""

import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from redistill.records import Example, Pair
from redistill.storage import Account, write_bytes, write_json

Encode = Callable[[Sequence[str]], list[list[int]]]


@dataclass(frozen=True, slots=True)
class Rows:
    """Encoded rows. Sequence i is tokens[starts[i]:starts[i+1]], of which the first prompt_tokens[i] are the prompt."""

    tokens: np.ndarray
    starts: np.ndarray
    prompt_tokens: np.ndarray
    weights: np.ndarray
    ids: list[str]

    def __len__(self) -> int:
        return len(self.weights)

    @property
    def per_row(self) -> int:
        """Sequences a row: 1 for examples, 2 for pairs."""
        return len(self.prompt_tokens) // max(1, len(self))

    def sequences_of(self, row: int) -> list[int]:
        """The sequence numbers of a row, chosen first."""
        return list(range(row * self.per_row, (row + 1) * self.per_row))

    def sequence(self, number: int) -> tuple[list[int], int]:
        """(ids, prompt tokens) of one sequence."""
        return self.tokens[self.starts[number] : self.starts[number + 1]].tolist(), int(self.prompt_tokens[number])

    def length(self, number: int) -> int:
        """Tokens of one sequence, prompt included."""
        return int(self.starts[number + 1] - self.starts[number])

    def completion_tokens(self, number: int) -> int:
        """Tokens of one sequence that carry loss, the end-of-turn token included."""
        return self.length(number) - max(int(self.prompt_tokens[number]), 1)


def write_rows(
    folder: Path,
    records: Iterable[Example | Pair],
    *,
    encode_prompts: Encode,
    encode_completions: Encode,
    max_tokens: int,
) -> Account:
    """Encode records into `folder` and return the account of rows; `max_tokens` bounds prompt + completion."""
    folder.mkdir(parents=True, exist_ok=True)
    account = Account("row")
    starts, prompt_tokens, weights, ids, dropped = [0], [], [], [], []
    with open(folder / "tokens.bin", "wb") as file:
        for batch in _batched(records, 512):
            prompts = encode_prompts([r.prompt for r in batch])
            sides = [[r.completion] if isinstance(r, Example) else [r.chosen, r.rejected] for r in batch]
            flat = iter(encode_completions([text for side in sides for text in side]))
            for record, prompt, side in zip(batch, prompts, sides, strict=True):
                completions = [next(flat) for _ in side]
                name = record.trace_id if isinstance(record, Example) else f"{record.chosen_id} {record.rejected_id}"
                if max(len(prompt) + len(c) for c in completions) > max_tokens:
                    account.drop("too_long")
                    dropped.append([name, "too_long"])
                    continue
                if min(len(prompt) + len(c) - max(len(prompt), 1) for c in completions) < 1:
                    account.drop("empty_completion")
                    dropped.append([name, "empty_completion"])
                    continue
                account.keep()
                for completion in completions:
                    file.write(np.asarray([*prompt, *completion], dtype=np.int32).tobytes())
                    starts.append(starts[-1] + len(prompt) + len(completion))
                    prompt_tokens.append(len(prompt))
                weights.append(1.0 if isinstance(record, Example) else record.weight)
                ids.append(name)
    write_bytes(folder / "ids.txt", "\n".join(ids).encode())
    np.savez(
        folder / "index.npz",
        starts=np.asarray(starts, dtype=np.int64),
        prompt_tokens=np.asarray(prompt_tokens, dtype=np.int64),
        weights=np.asarray(weights, dtype=np.float64),
    )
    account.check("train/rows")
    write_json(folder / "account.json", {**account.to_json(), "dropped_ids": dropped})
    return account


def read_rows(folder: Path) -> tuple[Rows, Account]:
    """The rows and the account that `write_rows` left."""
    index = np.load(folder / "index.npz")
    size = int(index["starts"][-1])
    tokens = (
        np.memmap(folder / "tokens.bin", dtype=np.int32, mode="r", shape=(size,)) if size else np.zeros(0, np.int32)
    )
    ids = (folder / "ids.txt").read_text().split("\n")
    account = Account.from_json(json.loads((folder / "account.json").read_text()))
    return Rows(
        tokens, index["starts"], index["prompt_tokens"], index["weights"], ids if len(index["weights"]) else []
    ), account


def _batched(records: Iterable[Example | Pair], size: int) -> Iterable[list[Example | Pair]]:
    iterator = iter(records)
    while batch := list(itertools.islice(iterator, size)):
        yield batch
