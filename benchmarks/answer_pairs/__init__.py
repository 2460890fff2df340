"""Made-up pairs of answers whose truth is known by construction; nothing of redistill is imported here.

    next(pairs("money", seed=0))   ->  Pair(type="money", kind="cents", gold="$0.75", prediction="75 cents", equivalent=True)

A generator draws a value first and then writes it down with writers of its own: an equivalent pair is one value written twice, a
different one is two values that differ, each written in any notation. Values that conventions call equal or different
(28% and 28; 5 and 5 m) are not paired. `equivalent` pairs include a value and its rounding to the digits shown, which may be
`correct` or undecided but not `incorrect`.
"""

import random
from collections.abc import Callable, Iterator

from answer_pairs import algebra, numbers, parts, quantities
from answer_pairs.pair import Pair

TYPES: dict[str, Callable[[random.Random], Pair]] = {
    "integer": numbers.integer,
    "fraction": numbers.fraction,
    "decimal": numbers.decimal,
    "percent": numbers.percent,
    "scientific": numbers.scientific,
    "counting": numbers.counting,
    "base": numbers.base,
    "complex": numbers.complex_number,
    "magnitude": quantities.magnitude,
    "unit": quantities.unit,
    "rate": quantities.rate,
    "money": quantities.money,
    "clock": quantities.clock,
    "closed form": algebra.closed_form,
    "polynomial": algebra.polynomial,
    "function": algebra.function,
    "equation": algebra.equation,
    "interval": algebra.interval,
    "congruence": algebra.congruence,
    "list": parts.number_list,
    "tuple": parts.number_tuple,
    "matrix": parts.matrix,
    "vector": parts.vector,
    "parts": parts.labelled_parts,
    "choice": parts.choice,
    "words": parts.words,
}

__all__ = ["TYPES", "Pair", "pairs"]


def pairs(type: str, *, seed: int, count: int | None = None) -> Iterator[Pair]:
    """The pairs of a type; number i depends on type, seed and i alone. Endless without `count`."""
    number = 0
    while count is None or number < count:
        yield TYPES[type](random.Random(f"{type} {seed} {number}"))
        number += 1
