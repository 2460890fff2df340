"""Texts -> the student's token ids, in batches; how many of them two completions share from the start."""

from array import array
from collections.abc import Callable, Mapping, Sequence

from redistill.text.tokenizer_calls import calls

END_OF_TURN_TOKENS = 1  # the completion is followed by the student's end-of-turn token
_BLOCK = 64

Encode = Callable[[list[str]], Sequence[Sequence[int]]]


def encode_all(texts: Mapping[str, str], encode: Encode) -> dict[str, "array[int]"]:
    """Token ids of texts by their ids, as 4-byte integers; `encode` adds no special tokens."""
    ids: dict[str, array[int]] = {}
    for part in calls(texts, lambda id: len(texts[id])):
        encoded = encode([texts[id] for id in part])
        ids.update((id, array("i", tokens)) for id, tokens in zip(part, encoded, strict=True))
    return ids


def shared_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two sequences share from the start."""
    shortest, place = min(len(first), len(second)), 0
    while place + _BLOCK <= shortest and first[place : place + _BLOCK] == second[place : place + _BLOCK]:
        place += _BLOCK  # arrays compare a block far faster than a loop does
    return next((at for at in range(place, shortest) if first[at] != second[at]), shortest)
