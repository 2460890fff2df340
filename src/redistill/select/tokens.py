"""Texts -> the student's token ids, in batches; how many of them two completions share from the start."""

from array import array
from collections.abc import Callable, Mapping, Sequence

END_OF_TURN_TOKENS = 1  # the completion is followed by the student's end-of-turn token
_TEXTS_A_CALL = 256  # tokenizers are fast on batches; a few MB of text a call

Encode = Callable[[list[str]], list[list[int]]]


def encode_all(texts: Mapping[str, str], encode: Encode) -> dict[str, "array[int]"]:
    """Token ids of texts by their ids, as 4-byte integers; `encode` adds no special tokens."""
    found: dict[str, array[int]] = {}
    ids = list(texts)
    for start in range(0, len(ids), _TEXTS_A_CALL):
        part = ids[start : start + _TEXTS_A_CALL]
        encoded = encode([texts[id] for id in part])
        found.update((id, array("i", tokens)) for id, tokens in zip(part, encoded, strict=True))
    return found


def shared_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two sequences share from the start."""
    shortest = min(len(first), len(second))
    return next((place for place in range(shortest) if first[place] != second[place]), shortest)
