"""Texts -> the student's token ids, in batches; how many of them two completions share from the start."""

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence

END_OF_TURN_TOKENS = 1  # the completion is followed by the student's end-of-turn token
# Tokenizers are fast on batches, and hold up to 500 bytes per token besides the ids until a call is done.
TEXTS_PER_CALL = 256
CHARS_PER_CALL = 1_000_000

Encode = Callable[[list[str]], list[list[int]]]


def encode_all(texts: Mapping[str, str], encode: Encode) -> dict[str, "array[int]"]:
    """Token ids of texts by their ids, as 4-byte integers; `encode` adds no special tokens."""
    found: dict[str, array[int]] = {}
    for part in _batches(texts):
        encoded = encode([texts[id] for id in part])
        found.update((id, array("i", tokens)) for id, tokens in zip(part, encoded, strict=True))
    return found


def _batches(texts: Mapping[str, str]) -> Iterator[list[str]]:
    """Ids for one call each: at most TEXTS_PER_CALL of them, and CHARS_PER_CALL characters where it is more than one."""
    part: list[str] = []
    chars = 0
    for id, text in texts.items():
        if part and (len(part) == TEXTS_PER_CALL or chars + len(text) > CHARS_PER_CALL):
            yield part
            part, chars = [], 0
        part.append(id)
        chars += len(text)
    if part:
        yield part


def shared_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two sequences share from the start."""
    shortest = min(len(first), len(second))
    return next((place for place in range(shortest) if first[place] != second[place]), shortest)
