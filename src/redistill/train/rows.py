"""Examples and Pairs -> token rows on disk: encoded once, then read by memory map, so a corpus need not fit in memory.

    tokens.bin   int32, all sequences end to end
    index.npz    starts (sequences + 1,), prompt_tokens (sequences,), weights and groups (rows,)
    ids.txt      one id a row: a trace id or "chosen_id rejected_id"
    images.txt   where any row shows an image: the SHA-256 of those of each row's prompt, one line per row
    values-weight.bin  float32, one a completion token, where a stage reads the rows' character spans as weights
    values-target.bin  the same where it reads them as targets: NaN where there is none
    account.json last: the account of rows, and the SHA-256 of the other files, which are looked at before any row is used

An example is one sequence, a pair two: chosen then rejected. A row too long for the student is dropped with its reason,
never cut: a cut trace has lost its answer.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from redistill.errors import OperatorError
from redistill.io.atomic import find_corrupt, read_json, sums_of, write_bytes, write_json, writing
from redistill.io.stage_folder import Account
from redistill.model.logps import TokenSequence
from redistill.records import Example, Pair
from redistill.text.image_marks import images_in
from redistill.text.tokenizer_calls import calls
from redistill.train.token_batch import Side

Encode = Callable[[Sequence[str]], list[list[int]]]
Offsets = Callable[[Sequence[str]], list[list[tuple[int, int]]]]
SpanValue = Literal["weight", "target"]


@dataclass(frozen=True, slots=True)
class Rows:
    """Encoded rows, all examples or all pairs. Sequence i is tokens[starts[i]:starts[i+1]], of which the first
    prompt_tokens[i] are the prompt. groups: None where every row is a problem of its own."""

    tokens: np.ndarray
    starts: np.ndarray
    prompt_tokens: np.ndarray
    weights: np.ndarray  # (rows,)
    ids: list[str]
    values: Mapping[str, np.ndarray] = field(default_factory=dict)  # name -> (completion tokens of all sequences,)
    groups: np.ndarray | None = None  # (rows,) int64: rows of one problem have one number
    images: Sequence[tuple[str, ...]] | None = (
        None  # (rows,): SHA-256 of those that its prompt shows; None: no row has any
    )

    def __len__(self) -> int:
        return len(self.weights)

    @property
    def per_row(self) -> int:
        """Sequences a row: 1 for examples, 2 for pairs."""
        return len(self.prompt_tokens) // max(1, len(self))

    @property
    def sides(self) -> tuple[Side, ...]:
        """What each sequence of a row is, in the order of `sequences_of`."""
        return (Side.single,) if self.per_row == 1 else (Side.chosen, Side.rejected)

    def sequences_of(self, row: int) -> list[int]:
        """The sequence numbers of a row, chosen first."""
        return list(range(row * self.per_row, (row + 1) * self.per_row))

    def sequence(self, number: int) -> TokenSequence:
        """(ids, prompt tokens, images) of one sequence."""
        ids = self.tokens[self.starts[number] : self.starts[number + 1]].tolist()
        return TokenSequence(ids, int(self.prompt_tokens[number]), self._images_of(number // self.per_row))

    def _images_of(self, row: int) -> tuple[str, ...]:
        return () if self.images is None else self.images[row]

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

    def mismatched(self, row: int) -> TokenSequence:
        """(ids, prompt tokens, images): this row's prompt with a completion of the row half the rows away (neighbours may share
        a problem): its chosen for even rows, its rejected for odd ones. Cut to the longest sequence there is."""
        other = self.sequences_of((row + max(1, len(self) // 2)) % len(self))[row % self.per_row]
        own = self.sequence(self.sequences_of(row)[0])
        ids, prompt = own
        joined = ids[:prompt] + self.sequence(other)[0][int(self.prompt_tokens[other]) :]
        return TokenSequence(joined[: int(np.diff(self.starts).max())], prompt, own.images)


def with_value(rows: Rows, name: str, values: np.ndarray) -> Rows:
    """The rows with one more token value, (completion tokens of all rows,)."""
    return dataclasses.replace(rows, values={**rows.values, name: values})


def write_rows(
    folder: Path,
    records: Iterable[Example | Pair],
    *,
    encode_prompts: Encode,
    encode_completions: Encode,
    max_tokens: int,
    completion_offsets: Offsets | None = None,
    spans: SpanValue = "weight",
) -> Account:
    """Encode records into `folder` and return the account of rows; `max_tokens` bounds prompt + completion.

    `completion_offsets` gives the characters of each completion token; with it the rows' spans become the token value
    `spans`. A weight is the mean over a token's characters, 1 where no span says more; a target stands on the last token of
    its span alone, NaN elsewhere, and a row without any is dropped (`no_target`).
    """
    account = Account("row")
    starts, prompt_tokens, weights, ids, dropped = [0], [], [], [], []
    shown: list[tuple[str, ...]] = []
    groups: dict[str, int] = {}
    group_of_row = []
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        left = (folder / "account.json", *_value_files(folder))  # of rows that a kill cut short, or that are damaged
        for path in left:
            path.unlink(missing_ok=True)
    with writing(folder / "tokens.bin"), ExitStack() as files:
        file = files.enter_context(open(folder / "tokens.bin", "wb"))
        values_file = files.enter_context(open(_value_file(folder, spans), "wb")) if completion_offsets else None
        for record, prompt, completions in _encode(records, encode_prompts, encode_completions):
            name = record.trace_id if isinstance(record, Example) else f"{record.chosen_id} {record.rejected_id}"
            learned = [len(prompt) + len(c) - max(len(prompt), 1) for c in completions]
            token_values = _SPAN_VALUES[spans](record, completion_offsets) if completion_offsets else []
            reason = (
                "too_long" if max(len(prompt) + len(c) for c in completions) > max_tokens
                else "empty_completion" if min(learned) < 1
                else "bad_span" if token_values is None
                else "no_target" if spans == "target" and all(np.isnan(v).all() for v in token_values)
                else ""
            )  # fmt: skip
            if reason:
                account.drop(reason)
                dropped.append([name, reason])
                continue
            account.keep()
            for completion in completions:
                file.write(np.asarray([*prompt, *completion], dtype=np.int32).tobytes())
                starts.append(starts[-1] + len(prompt) + len(completion))
                prompt_tokens.append(len(prompt))
            if values_file is not None:
                values_file.writelines(
                    v[len(v) - n :].tobytes() for v, n in zip(token_values or (), learned, strict=True)
                )
            weights.append(record.weight)
            group_of_row.append(groups.setdefault(record.problem_id, len(groups)))
            ids.append(name)
            shown.append(images_in(record.prompt))
    (folder / _IMAGES).unlink(missing_ok=True)
    if any(shown):
        write_bytes(folder / _IMAGES, "\n".join(map(" ".join, shown)).encode())
    write_bytes(folder / "ids.txt", "\n".join(ids).encode())
    with writing(folder / "index.npz"):
        np.savez(
            folder / "index.npz",
            starts=np.asarray(starts, dtype=np.int64),
            prompt_tokens=np.asarray(prompt_tokens, dtype=np.int64),
            weights=np.asarray(weights, dtype=np.float64),
            groups=np.asarray(group_of_row, dtype=np.int64),
        )
    account.check("train/rows")
    also = [folder / _IMAGES] if any(shown) else []
    sums = sums_of(folder, [*(folder / name for name in _FILES), *_value_files(folder), *also])
    write_json(folder / "account.json", {**account.to_json(), "dropped_ids": dropped, "files": sums})
    return account


def _encode(
    records: Iterable[Example | Pair], encode_prompts: Encode, encode_completions: Encode
) -> Iterable[tuple[Example | Pair, list[int], list[list[int]]]]:
    """(record, prompt ids, ids of each completion), encoded some records at a time."""
    for batch in calls(records, lambda r: len(r.prompt) + sum(len(text) for text, _ in _completions(r))):
        prompts = encode_prompts([r.prompt for r in batch])
        flat = iter(encode_completions([text for r in batch for text, _ in _completions(r)]))
        for record, prompt in zip(batch, prompts, strict=True):
            yield record, prompt, [next(flat) for _ in _completions(record)]


def _completions(record: Example | Pair) -> list[tuple[str, Sequence[tuple[int, int, float]]]]:
    """(text, spans) of a record's completions, in the order of `Rows.sides`."""
    if isinstance(record, Example):
        return [(record.completion, record.spans)]
    return [(record.chosen, record.chosen_spans), (record.rejected, record.rejected_spans)]


def _value_file(folder: Path, name: str) -> Path:
    return folder / f"values-{name}.bin"


def _value_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("values-*.bin"))


_FILES = ("tokens.bin", "index.npz", "ids.txt")
_IMAGES = "images.txt"


def corrupt_file(folder: Path) -> str | None:
    """The file of these rows that is not what was written, "account.json" where they were cut short; None: all is whole."""
    try:
        return find_corrupt(folder, read_json(folder / "account.json")["files"])
    except (OperatorError, KeyError):
        return "account.json"


def _span_weights(record: Example | Pair, completion_offsets: Offsets) -> list[np.ndarray] | None:
    """float32 weights of the tokens of each completion, the end-of-turn token last; None for a span outside.

    A token weighs the mean over its characters, 1 where it has none; the end-of-turn token is the character behind the text.
    """
    weights = []
    for text, spans in _completions(record):
        characters = np.ones(len(text) + 1)
        for start, end, weight in spans:
            if not 0 <= start < end <= len(characters):
                return None
            characters[start:end] = weight
        sums = np.concatenate([[0.0], np.cumsum(characters)])
        means = [(sums[b] - sums[a]) / (b - a) if b > a else 1.0 for a, b in completion_offsets([text])[0]]
        weights.append(np.asarray([*means, characters[-1]], dtype=np.float32))
    return weights


def _span_targets(record: Example | Pair, completion_offsets: Offsets) -> list[np.ndarray] | None:
    """float32 targets of the tokens of each completion, the end-of-turn token last; None for a span outside.

    A span's target stands on the token of its last character, where all of the step has been read; NaN elsewhere.
    """
    targets = []
    for text, spans in _completions(record):
        ends = np.asarray([end for _, end in completion_offsets([text])[0]], dtype=np.int64)
        values = np.full(len(ends) + 1, np.nan, dtype=np.float32)
        for start, end, value in spans:
            if not 0 <= start < end <= len(text) + 1:
                return None
            place = len(ends)  # the end-of-turn token
            if end <= len(text) and len(ends):
                reaches = min(int(np.searchsorted(ends, end)), len(ends) - 1)
                # of the several tokens of one character the last
                place = int(np.searchsorted(ends, ends[reaches], side="right")) - 1
            values[place] = value
        targets.append(values)
    return targets


_SPAN_VALUES: dict[SpanValue, Callable[[Example | Pair, Offsets], list[np.ndarray] | None]] = {
    "weight": _span_weights,
    "target": _span_targets,
}


def read_rows(folder: Path) -> tuple[Rows, Account]:
    """The rows and the account that `write_rows` left; `corrupt_file` has been asked before."""
    index = np.load(folder / "index.npz")
    size = int(index["starts"][-1])
    tokens = (
        np.memmap(folder / "tokens.bin", dtype=np.int32, mode="r", shape=(size,)) if size else np.zeros(0, np.int32)
    )
    ids = (folder / "ids.txt").read_text().split("\n")
    values = {
        path.stem.removeprefix("values-"): np.memmap(path, dtype=np.float32, mode="r")
        if size
        else np.zeros(0, np.float32)
        for path in _value_files(folder)
    }
    account = Account.from_json(read_json(folder / "account.json"))
    ids = ids if len(index["weights"]) else []
    images = None
    if _IMAGES in read_json(folder / "account.json")["files"]:
        images = [tuple(line.split()) for line in (folder / _IMAGES).read_text().split("\n")]
    return Rows(
        tokens, index["starts"], index["prompt_tokens"], index["weights"], ids, values, index["groups"], images
    ), account
