"""A quotient with its remainder, `3 R 2` or `3 remainder 2`, compared part by part.

compare_remainders("3 R 2", "3 remainder 2")   ->  correct, equal_items
compare_remainders("3 R 2", "2 R 3")           ->  incorrect, different_number
compare_remainders("3 R 2", "3.4")             ->  disagree, quotient_or_value: 17/5 is both
compare_remainders("3", "3.4")                 ->  None: neither is of that kind
"""

import re

from redistill.records import Outcome
from redistill.verify.judging import Finding, Reading, different
from redistill.verify.reading import clean

REMAINDER = Reading("quotient and remainder", complete=True)

_WORDS = re.compile(r"\\(?:text|mathrm|textrm|mbox)\s*\{([^{}]*)\}|\\[ ,;:!]|~|\$")
_REMAINDER = re.compile(
    r"(?:quotient ?(?:is|of|=|:)? ?)?(-?\d{1,15}) ?(?:,|;|and|with)? ?(?:(?:a )?(?:remainder|rem\.?) ?(?:is|of|=|:)?|(?-i:R)|(?<= )r(?= )) ?(-?\d{1,15})\.?",
    re.IGNORECASE,
)


def read_remainder(text: str) -> tuple[int, int] | None:
    """(quotient, remainder) of a text that is nothing else; None for all others."""
    match = _REMAINDER.fullmatch(" ".join(_WORDS.sub(r" \1 ", clean(text)).split()))
    return (int(match[1]), int(match[2])) if match else None


def compare_remainders(gold: str, answer: str) -> Finding | None:
    """Two quotients with remainder; against anything else undecided, which may be the quotient or the value. None where neither
    side is one."""
    ours, theirs = read_remainder(gold), read_remainder(answer)
    if ours is None and theirs is None:
        return None
    if ours is None or theirs is None:
        return Outcome.disagree, "quotient_or_value"
    return (Outcome.correct, "equal_items") if ours == theirs else different(REMAINDER, REMAINDER, "different_number")
