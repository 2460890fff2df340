"""What a generator returns, and how one of several writers is taken."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
Writer = Callable[[T], str | None]  # None where the notation cannot hold the value


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers. kind: which notations or which difference, for the table of faults. equivalent: the truth."""

    type: str
    kind: str
    gold: str
    prediction: str
    equivalent: bool


def write(rng: random.Random, value: T, writers: Sequence[Writer[T]], avoid: str = "") -> tuple[str, str]:
    """(text, the writer's name): one of the notations that can hold the value; another one than `avoid` where there is one."""
    ready = [(text, w.__name__) for w in rng.sample(list(writers), len(writers)) if (text := w(value)) is not None]
    return next((found for found in ready if found[1] != avoid), ready[0])


def paired(
    rng: random.Random, type: str, value: T, other: T | None, writers: Sequence[Writer[T]], difference: str = ""
) -> Pair:
    """`value` written twice, or, where `other` is given, both written once: the pair differs by `difference`."""
    gold, one = write(rng, value, writers)
    prediction, two = write(rng, value if other is None else other, writers, avoid=one if other is None else "")
    kind = f"{one} / {two}" if other is None else f"{difference}: {one} / {two}"
    return Pair(type, kind, gold, prediction, other is None)
