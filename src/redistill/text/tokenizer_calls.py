"""Items in parts, so that one call of a tokenizer holds a bounded number of characters.

    for part in calls(["2+2=", "3+3="], len): tokenizer(part)

A tokenizer is fast on many texts at once, and holds up to 500 bytes per token beside the ids until its call is done: 512 texts of a
million characters each would be 200 GB where every character is a token.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

TEXTS_PER_CALL = 256
CHARS_PER_CALL = 250_000

Item = TypeVar("Item")


def calls(items: Iterable[Item], chars: Callable[[Item], int]) -> Iterator[list[Item]]:
    """The items in order, in lists of at most TEXTS_PER_CALL; of at most CHARS_PER_CALL characters where it is more than one."""
    part: list[Item] = []
    held = 0
    for item in items:
        size = chars(item)
        if part and (len(part) == TEXTS_PER_CALL or held + size > CHARS_PER_CALL):
            yield part
            part, held = [], 0
        part.append(item)
        held += size
    if part:
        yield part
