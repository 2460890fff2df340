"""Numbers parted by blanks, in one row or in rows one under another, compared number by number and never as a product.

    gold 4 3 1,          answer 4 1 3                -> incorrect, different_item
    gold 3 2 over 1 0,   answer [[3, 2], [1, 0]]     -> correct, equal_items
    gold 3 over 4,       answer 4 3                  -> disagree, different_layout: nobody can tell what was meant

Each function gives a Finding, or None where the two answers are not of this kind. `compare` is the cascade one level down.
"""

import math
import re
import unicodedata
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

from redistill.records import Outcome
from redistill.verify.judging import Finding, Reading, different
from redistill.verify.reading import brackets, clean, read_number

Compare = Callable[[str, str], Finding]

MAX_ONE_NUMBER = 200  # numbers whose sum and product one number is compared with

_BLANKS = re.compile(r"[-+]?\d+(?:\.\d+)?(?:[ \t]+[-+]?\d+(?:\.\d+)?)*")
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?:[ \t]\d{3})+")
MAX_NUMBERS = 100_000


def number_rows(text: str) -> list[list[Decimal]] | None:
    """The numbers of `2 7 0` or of such lines one under another, row by row; None for anything else. At least two
    numbers; 12 345 678 is one number."""
    lines = [line.strip() for line in text.strip().strip("`").splitlines() if line.strip()]
    if not lines or len(text) > 8 * MAX_NUMBERS or not all(map(_BLANKS.fullmatch, lines)):
        return None
    if len(lines) == 1 and _THOUSANDS.fullmatch(lines[0]):
        return None
    rows = [[Decimal(word) for word in line.split()] for line in lines]
    return rows if 2 <= sum(map(len, rows)) <= MAX_NUMBERS else None


def compare_number_rows(gold: str, answer: str, compare: Compare) -> Finding | None:
    """Numbers parted by blanks, number by number, or None where neither side is that. Computer algebra would read them
    as a product, in which any order is equal."""
    ours, theirs = number_rows(gold), number_rows(answer)
    if ours is None and theirs is None:
        return None
    if ours is None or theirs is None:
        other = gold if ours is None else answer
        if (inside := rows_in_brackets(other)) and (len(inside) > 1 or len(ours or theirs or []) > 1):
            ours, theirs = ours or inside, theirs or inside
    if ours is None or theirs is None:
        other, rows = (gold, theirs) if ours is None else (answer, ours)
        if not re.search(r"[\[({,;&]", other):
            return _rows_and_one_number(rows or [], other)
        kind = brackets(clean(other))[0]
        return compare(_in_brackets(ours, gold, kind), _in_brackets(theirs, answer, kind))
    left, right = ([number for row in rows for number in row] for rows in (ours, theirs))
    read = Reading("numbers", complete=True)
    if len(left) != len(right):
        return different(read, read, "different_length")
    same = [*map(len, ours)] == [*map(len, theirs)]
    if left != right:
        in_line = any(1 in (len(side), *map(len, side)) for side in (ours, theirs))
        if not same and in_line and sorted(left) == sorted(right):
            return Outcome.disagree, "different_layout"  # 3 under 4, and 4 3
        return different(read, read, "different_item")
    return (Outcome.correct, "equal_items") if same else (Outcome.disagree, "different_layout")


MAX_SYMBOLS = 8  # different ones in a grid


def symbol_rows(text: str, *, even: bool = True) -> list[str] | None:
    """The rows of a grid of pictures, such as ✅❌ over ❌✅, all of one length if `even`; None for anything else."""
    if text.isascii():
        return None
    rows = [
        "".join(line.split()).replace("\ufe0f", "") for line in text.strip().strip("`").splitlines() if line.strip()
    ]
    symbols = set("".join(rows))
    if len(rows) < 2 or len(symbols) > MAX_SYMBOLS or any(unicodedata.category(s) != "So" for s in symbols):
        return None
    same_length = len(rows[0]) > 1 and all(len(row) == len(rows[0]) for row in rows)
    return rows if same_length or not even else None


def compare_symbol_rows(gold: str, answer: str) -> Finding | None:
    """Two grids of pictures, row by row; None where the gold answer is none. A picture that the gold answer does not have may say
    that nothing is known there: undecided."""
    ours = symbol_rows(gold)
    theirs = symbol_rows(answer, even=False) if ours else None
    if ours is None or theirs is None:
        return None
    if ours == theirs:
        return Outcome.correct, "equal_items"
    if set("".join(theirs)) - set("".join(ours)):
        return Outcome.disagree, "different_kinds"
    read = Reading("grid", complete=True)
    return different(read, read, "different_item" if [*map(len, ours)] == [*map(len, theirs)] else "different_length")


_NUMBER = r"[-+]?\d+(?:\.\d*)?"
_BRACKET_ROW = re.compile(rf"\[\s*({_NUMBER}(?:(?:\s*,\s*|\s+){_NUMBER})*)\s*,?\s*\]")
_BETWEEN_ROWS = re.compile(r"[\s,;\[\]]*")


def rows_in_brackets(text: str) -> list[list[Decimal]] | None:
    """The rows of `[[1, 2], [3, 4]]`, `[1 2]\\n[3 4]` and the like, with nothing else in the text; None for anything else."""
    if "[" not in text or len(text) > 8 * MAX_NUMBERS:
        return None
    rows = [[Decimal(word) for word in row[1].replace(",", " ").split()] for row in _BRACKET_ROW.finditer(text)]
    between = _BRACKET_ROW.sub(" ", text.strip().strip("`$"))
    return rows if rows and between.count("[") == between.count("]") < 2 and _BETWEEN_ROWS.fullmatch(between) else None


def _rows_and_one_number(rows: list[list[Decimal]], other: str) -> Finding:
    """Several numbers against text that is not a list: against one number they differ, unless it is what they make together."""
    numbers = [number for row in rows for number in row]
    single = read_number(clean(other), words=False)
    if single is None or single.unit or single.percent or len(numbers) > MAX_ONE_NUMBER:
        return Outcome.disagree, "different_kinds"
    exact = [Fraction(number) for number in numbers]
    together = Fraction("".join(str(number) for number in numbers)) if all(n == int(n) >= 0 for n in exact) else None
    made = {sum(exact), math.prod(exact), together, *(exact if len(set(exact)) == 1 else ())}
    if single.value in made:
        return Outcome.disagree, "different_kinds"
    read = Reading("numbers", complete=True)
    return different(read, read, "different_length")


def _in_brackets(rows: list[list[Decimal]] | None, text: str, kind: str) -> str:
    """`1 2 3` as 1, 2, 3 in the other side's brackets, lines as [[1, 2], [3, 4]]; other text as it is."""
    if rows is None:
        return text
    written = [", ".join(map(str, row)) for row in rows]
    if len(rows) == 1:
        return f"{kind[:1]}{written[0]}{kind[1:]}"
    return f"[{', '.join(f'[{row}]' for row in written)}]"
