"""Examples and Pairs -> token rows on disk: encoded once, then read by memory map, so a corpus need not fit in memory.

    tokens.bin   int32, all sequences end to end
    index.npz    starts (sequences + 1,), prompt_tokens (sequences,), weights (rows,)
    ids.txt      one id a row: a trace id or "chosen_id rejected_id"
    span_weights.bin  float32, one a completion token, where a stage asks for the pairs' character spans
    account.json last: the account of rows, and the SHA-256 of the other files, which are looked at before any row is used

An example is one sequence, a pair two: chosen then rejected. A row too long for the student is dropped with its reason,
never cut: a cut trace has lost its answer.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from redistill.errors import OperatorError
from redistill.io.atomic import find_corrupt, read_json, sums_of, write_bytes, write_json, writing
from redistill.io.stage_folder import Account
from redistill.records import Example, Pair

Encode = Callable[[Sequence[str]], list[list[int]]]
Offsets = Callable[[Sequence[str]], list[list[tuple[int, int]]]]


@dataclass(frozen=True, slots=True)
class Rows:
    """Encoded rows. Sequence i is tokens[starts[i]:starts[i+1]], of which the first prompt_tokens[i] are the prompt."""

    tokens: np.ndarray
    starts: np.ndarray
    prompt_tokens: np.ndarray
    weights: np.ndarray
    ids: list[str]
    span_weights: np.ndarray | None = None  # (completion tokens of all sequences,)

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

    def completion(self, number: int) -> np.ndarray:
        """The token ids of one sequence that carry loss."""
        return self.tokens[self.starts[number + 1] - self.completion_tokens(number) : self.starts[number + 1]]

    def completion_starts(self) -> np.ndarray:
        """(sequences + 1,): where each sequence begins in an array of all completion tokens end to end."""
        counts = np.diff(self.starts) - np.maximum(self.prompt_tokens, 1)
        return np.concatenate([[0], np.cumsum(counts)])

    def mismatched(self, row: int) -> tuple[list[int], int]:
        """(ids, prompt tokens): this row's prompt with a completion of the row half the rows away (neighbours may share
        a problem): its chosen for even rows, its rejected for odd ones. Cut to the longest sequence there is."""
        other = self.sequences_of((row + max(1, len(self) // 2)) % len(self))[row % self.per_row]
        ids, prompt = self.sequence(self.sequences_of(row)[0])
        joined = ids[:prompt] + self.sequence(other)[0][int(self.prompt_tokens[other]) :]
        return joined[: int(np.diff(self.starts).max())], prompt


def write_rows(
    folder: Path,
    records: Iterable[Example | Pair],
    *,
    encode_prompts: Encode,
    encode_completions: Encode,
    max_tokens: int,
    completion_offsets: Offsets | None = None,
) -> Account:
    """Encode records into `folder` and return the account of rows; `max_tokens` bounds prompt + completion.

    `completion_offsets` gives the characters of each completion token; with it the pairs' spans become token weights.
    """
    account = Account("row")
    starts, prompt_tokens, weights, ids, dropped = [0], [], [], [], []
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("account.json", "span_weights.bin"):  # of rows that a kill cut short, or that are damaged
            (folder / name).unlink(missing_ok=True)
    with writing(folder / "tokens.bin"), open(folder / "tokens.bin", "wb") as file:
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
                if completion_offsets is not None:
                    assert isinstance(record, Pair)
                    found = _span_weights(record, completion_offsets)
                    if found is None:
                        account.drop("bad_span")
                        dropped.append([name, "bad_span"])
                        continue
                    counts = [len(prompt) + len(c) - max(len(prompt), 1) for c in completions]
                    with open(folder / "span_weights.bin", "ab") as weights_file:
                        weights_file.writelines(w[len(w) - n :].tobytes() for w, n in zip(found, counts, strict=True))
                account.keep()
                for completion in completions:
                    file.write(np.asarray([*prompt, *completion], dtype=np.int32).tobytes())
                    starts.append(starts[-1] + len(prompt) + len(completion))
                    prompt_tokens.append(len(prompt))
                weights.append(1.0 if isinstance(record, Example) else record.weight)
                ids.append(name)
    write_bytes(folder / "ids.txt", "\n".join(ids).encode())
    with writing(folder / "index.npz"):
        np.savez(
            folder / "index.npz",
            starts=np.asarray(starts, dtype=np.int64),
            prompt_tokens=np.asarray(prompt_tokens, dtype=np.int64),
            weights=np.asarray(weights, dtype=np.float64),
        )
    account.check("train/rows")
    files = sums_of(folder, [path for name in _FILES if (path := folder / name).exists()])
    write_json(folder / "account.json", {**account.to_json(), "dropped_ids": dropped, "files": files})
    return account


_FILES = ("tokens.bin", "index.npz", "ids.txt", "span_weights.bin")


def damage(folder: Path) -> str | None:
    """The file of these rows that is not what was written, "account.json" where they were cut short; None: all is whole."""
    try:
        return find_corrupt(folder, read_json(folder / "account.json")["files"])
    except (OperatorError, KeyError):
        return "account.json"


def _span_weights(pair: Pair, completion_offsets: Offsets) -> list[np.ndarray] | None:
    """float32 weights of the tokens of chosen and of rejected, the end-of-turn token last; None for a span outside.

    A token weighs the mean over its characters, 1 where it has none.
    """
    weights = []
    for text, spans in ((pair.chosen, pair.chosen_spans), (pair.rejected, pair.rejected_spans)):
        characters = np.ones(len(text))
        for start, end, weight in spans:
            if not 0 <= start < end <= len(text):
                return None
            characters[start:end] = weight
        sums = np.concatenate([[0.0], np.cumsum(characters)])
        found = [(sums[b] - sums[a]) / (b - a) if b > a else 1.0 for a, b in completion_offsets([text])[0]]
        weights.append(np.asarray([*found, 1.0], dtype=np.float32))
    return weights


def read_rows(folder: Path) -> tuple[Rows, Account]:
    """The rows and the account that `write_rows` left; `damage` has been asked before."""
    index = np.load(folder / "index.npz")
    size = int(index["starts"][-1])
    tokens = (
        np.memmap(folder / "tokens.bin", dtype=np.int32, mode="r", shape=(size,)) if size else np.zeros(0, np.int32)
    )
    ids = (folder / "ids.txt").read_text().split("\n")
    spans = folder / "span_weights.bin"
    span_weights = np.memmap(spans, dtype=np.float32, mode="r") if spans.exists() else None
    account = Account.from_json(read_json(folder / "account.json"))
    ids = ids if len(index["weights"]) else []
    return Rows(tokens, index["starts"], index["prompt_tokens"], index["weights"], ids, span_weights), account


def _batched(records: Iterable[Example | Pair], size: int) -> Iterable[list[Example | Pair]]:
    iterator = iter(records)
    while batch := list(itertools.islice(iterator, size)):
        yield batch
