"""Answers made of parts, each part handed back to the cascade: names, choices, lists, tuples, sets, intervals, matrices.

    gold x = 5,          answer 5                                  -> compare(5, 5)
    gold \\{1, 2\\},       answer 2 and 1                            -> each item with one of its own, in any order
    gold (1, 2),         answer \\begin{pmatrix}1\\\\2\\end{pmatrix}     -> entry by entry
    gold 4 3 1,          answer 4 1 3                              -> number by number, never a product
    gold 1 \\pm \\sqrt2,   answer 1-\\sqrt2, 1+\\sqrt2                  -> the two values it stands for

Each function here gives a Finding, or None where the two answers are not of its kind. `compare` is the cascade on two
parts, one level down.
"""

import re
from collections.abc import Callable, Sequence
from decimal import Decimal

from redistill.records import Outcome
from redistill.verify.exact import compare_choice
from redistill.verify.judging import Finding
from redistill.verify.reading import (
    brackets,
    clean,
    is_choice,
    is_wordy,
    read_choice,
    read_choices,
    read_option,
    split_items,
)

Compare = Callable[[str, str], Finding]

MAX_ITEMS = 200  # of a list or a matrix compared item by item

# The name in front of an answer: x = , f(x) = , S_{ABC} = , (p, q) = , \angle APC = , x \in . It holds no digit outside
# a subscript and no operator, so that `2x + z = 1` and `7 = 11a + c` stay equations.
_NAME = re.compile(r"(?:[A-Za-z\\':,()\s]|_(?:\{[^{}]*\}|\w)|\\frac\{[A-Za-z]+\}\{[A-Za-z]+\})+")
_FUNCTION = re.compile(r"[A-Za-z]\w*'*\s*\(([A-Za-z])\)|y")
_RELATION = re.compile(r"[<>=|]|\\(?:le|ge|ne|in|cup|cap|setminus|mid|ldots|dots|pm|mp)(?![A-Za-z])")
_OPEN_LIST = re.compile(r"\\(?:[lc]?dots)(?![A-Za-z])|\.\.\.")
_POINT = re.compile(r"^[A-Z](?:_\{?\w\}?|')?\s*(?=\([^()=]*,[^()=]*\)$)")  # A(3, 4)
_WORDS = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}")
_MATRIX = re.compile(
    r"[(\[]?\s*\\begin\s*\{\s*(?:[pbBs]?matrix|smallmatrix|array)\s*\}(?:\s*\{[lcr|\s]*\})?"
    r"((?:(?!\\begin|\\end).)*)\\end\s*\{\s*(?:[pbBs]?matrix|smallmatrix|array)\s*\}\s*[)\]]?(?:\^\s*\{?\s*(?:T|\\top)\s*\}?)?",
    re.DOTALL,
)
_TRANSPOSED = re.compile(r"\^\s*\{?\s*(?:T|\\top)\s*\}?$")
_CASES = re.compile(r"\\begin\s*\{\s*(?:cases|aligned|array)\s*\}(?:\s*\{[lcr|\s]*\})?((?:(?!\\begin|\\end|&).)*)\\end\s*\{\w+\}", re.DOTALL)  # fmt: skip
_NESTED = re.compile(r"\[\s*\[.*\]\s*\]", re.DOTALL)


def compare_choices(gold: str, answer: str, compare: Compare) -> Finding | None:
    """Letters of multiple choice, or None where the gold is none. Against a bare letter, the value of its option is
    undecided; a gold that is letter and text, `(C) Cecile`, is met by either of them, and so is the gold 12 by `(B) 12`."""
    bare = clean(gold)
    if is_choice(bare) or (read_choices(bare) and (read_choices(clean(answer)) or is_choice(clean(answer)))):
        return compare_choice(gold, answer)
    if option := read_option(bare):
        letter, text = option
        return compare_choice(letter, answer) if read_choice(clean(answer)) else compare(text, answer)
    if (option := read_option(clean(answer))) and not is_wordy(bare):
        return compare(gold, option[1])
    return None


def compare_named(gold: str, answer: str, compare: Compare) -> Finding | None:
    """`x = 5` against `5` or against `x = 5.0`; None where no name can be dropped. Two names that differ prove nothing,
    unless both only name a function (y = 2x, f(x) = 2x, g(t) = 2t)."""
    (gold_name, gold_rest), (answer_name, answer_rest) = _named(gold), _named(answer)
    if not gold_name and not answer_name:
        return None
    if not (gold_name and answer_name) or gold_name == answer_name:
        bare_side = answer if gold_name and not answer_name else gold
        return None if "=" in bare_side and not (gold_name and answer_name) else compare(gold_rest, answer_rest)
    ours, theirs = _FUNCTION.fullmatch(gold_name), _FUNCTION.fullmatch(answer_name)
    if not ours or not theirs:
        return None
    if ours[1] and theirs[1] and ours[1] != theirs[1] and not _has_letter(answer_rest, ours[1]):
        answer_rest = re.sub(rf"(?<![\\A-Za-z]){theirs[1]}(?![A-Za-z])", ours[1], answer_rest)
    finding = compare(gold_rest, answer_rest)
    return finding if finding[0] == Outcome.correct else None


def _has_letter(text: str, letter: str) -> bool:
    return bool(re.search(rf"(?<![\\A-Za-z]){letter}(?![A-Za-z])", text))


def _named(text: str) -> tuple[str, str]:
    """(name, rest) of `name = rest` or `name \\in rest` with one such sign; ("", text) for all else."""
    name, sign, rest = text.partition("=")
    if not sign and (member := re.search(r"\\in(?![A-Za-z])", text)):
        name, sign, rest = text[: member.start()], member.group(), text[member.end() :]
    plain = bool(sign and rest.strip() and len(name) <= 60 and not re.search(r"[<>=]|\\(?:le|ge|ne)(?![A-Za-z])", rest))
    if not plain or not _NAME.fullmatch(name) or re.search(r"\\(?:cdot|times|sqrt|le|ge|ne)(?![A-Za-z])", name):
        return "", text
    return "".join(name.split()), rest.strip()


# --- matrices ---------------------------------------------------------------------------------------------------


def compare_matrices(gold: str, answer: str, compare: Compare) -> Finding | None:
    """Two matrices entry by entry, or a vector against a tuple of its entries; None where neither side is a matrix. A row
    against a column with the same entries is undecided."""
    ours, theirs = read_matrix(gold), read_matrix(answer)
    if ours is None and theirs is None:
        return None
    ours, theirs = ours or _vector(gold), theirs or _vector(answer)
    if ours is None or theirs is None:
        return None
    shapes = [(len(rows), len(rows[0])) for rows in (ours, theirs)]
    flat = [[entry for row in rows for entry in row] for rows in (ours, theirs)]
    if len(flat[0]) != len(flat[1]):
        return Outcome.incorrect, "different_shape"
    if len(flat[0]) > MAX_ITEMS:
        return Outcome.ungradable, "list_too_long"
    vectors = all(1 in shape for shape in shapes)
    if shapes[0] != shapes[1] and not vectors:
        return Outcome.incorrect, "different_shape"
    finding = compare_items(flat[0], flat[1], compare, True)
    both = read_matrix(gold) is not None and read_matrix(answer) is not None
    if finding[0] == Outcome.correct and shapes[0] != shapes[1] and both:
        return Outcome.disagree, "row_or_column"
    return finding


def read_matrix(text: str) -> list[list[str]] | None:
    """The rows of `\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}` or `[[1, 2], [3, 4]]`; None for anything else. A
    determinant (vmatrix) is a number and not a matrix."""
    text = text.strip()
    if match := _MATRIX.fullmatch(text):
        lines = [line for line in re.split(r"\\\\(?:\[[^\]]*\])?|\\cr(?![A-Za-z])", match.group(1)) if line.strip(" |")]
        rows = [[entry.strip() for entry in line.replace(r"\hline", "").split("&")] for line in lines]
        if _TRANSPOSED.search(text) and rows and all(len(row) == len(rows[0]) for row in rows):
            rows = [list(column) for column in zip(*rows)]
    elif _NESTED.fullmatch(text):
        rows = [split_items(brackets(row)[1]) for row in split_items(brackets(text)[1])]
        if any(brackets(row)[0] != "[]" for row in split_items(brackets(text)[1])):
            return None
    else:
        return None
    even = bool(rows) and all(len(row) == len(rows[0]) and all(row) for row in rows)
    return rows if even and rows[0] else None


def _vector(text: str) -> list[list[str]] | None:
    """(1, 2), [1, 2] or \\langle 1, 2 \\rangle as one row."""
    text = re.sub(r"\\langle(?![A-Za-z])", "(", re.sub(r"\\rangle(?![A-Za-z])", ")", text)).strip()
    kind, inside = brackets(text)
    items = split_items(inside)
    return [items] if kind in ("()", "[]") and len(items) > 1 else None


# --- numbers parted by blanks --------------------------------------------------------------------------------------

_BLANKS = re.compile(r"[-+]?\d+(?:\.\d+)?(?:[ \t]+[-+]?\d+(?:\.\d+)?)*")
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?:[ \t]\d{3})+")
MAX_NUMBERS = 100_000


def number_rows(text: str) -> list[list[Decimal]] | None:
    """The numbers of `2 7 0` or of such lines one under another, row by row; None for anything else. At least three
    numbers, for two may be a mixed number or a thousand; 12 345 678 is one number."""
    lines = [line.strip() for line in text.strip().strip("`").splitlines() if line.strip()]
    if not lines or len(text) > 8 * MAX_NUMBERS or not all(map(_BLANKS.fullmatch, lines)):
        return None
    if len(lines) == 1 and _THOUSANDS.fullmatch(lines[0]):
        return None
    rows = [[Decimal(word) for word in line.split()] for line in lines]
    return rows if 3 <= sum(map(len, rows)) <= MAX_NUMBERS else None


def compare_number_rows(gold: str, answer: str, compare: Compare) -> Finding | None:
    """Numbers parted by blanks, number by number, or None where neither side is that. Computer algebra would read them
    as a product, in which any order is equal."""
    ours, theirs = number_rows(gold), number_rows(answer)
    if ours is None and theirs is None:
        return None
    if ours is None or theirs is None:
        other = gold if ours is None else answer
        if not re.search(r"[\[({,;&]", other):
            return Outcome.disagree, "different_kinds"
        kind = brackets(clean(other))[0]
        return compare(_in_brackets(ours, gold, kind), _in_brackets(theirs, answer, kind))
    left, right = ([number for row in rows for number in row] for rows in (ours, theirs))
    if len(left) != len(right):
        return Outcome.incorrect, "different_length"
    if left != right:
        return Outcome.incorrect, "different_item"
    same = [*map(len, ours)] == [*map(len, theirs)]
    return (Outcome.correct, "equal_items") if same else (Outcome.disagree, "different_layout")


def _in_brackets(rows: list[list[Decimal]] | None, text: str, kind: str) -> str:
    """`1 2 3` as 1, 2, 3 in the other side's brackets, lines as [[1, 2], [3, 4]]; other text as it is."""
    if rows is None:
        return text
    written = [", ".join(map(str, row)) for row in rows]
    if len(rows) == 1:
        return f"{kind[:1]}{written[0]}{kind[1:]}"
    return f"[{', '.join(f'[{row}]' for row in written)}]"


# --- lists ------------------------------------------------------------------------------------------------------


def compare_lists(gold: str, answer: str, compare: Compare) -> Finding | None:
    """Two lists item by item, or None where neither side is one. Without brackets and in braces order does not count,
    in round and square brackets it does; a list without brackets matches any tuple or set in brackets."""
    gold, answer = (_POINT.sub("", _lines(side)) for side in (gold, answer))
    if ("\\pm" in gold) != ("\\pm" in answer):
        gold, answer = _both_signs(gold), _both_signs(answer)
    (gold_kind, gold_inside), (answer_kind, answer_inside) = brackets(gold), brackets(answer)
    gold_items, answer_items = split_items(gold_inside), split_items(answer_inside)
    most, fewest = max(len(gold_items), len(answer_items)), min(len(gold_items), len(answer_items))
    if most < 2 or fewest == 0 or any(len(_WORDS.findall(item)) > 3 for item in (*gold_items, *answer_items)):
        return None  # not lists, or prose with commas
    if is_wordy(gold) != is_wordy(answer):
        return None
    if most > MAX_ITEMS:
        return Outcome.ungradable, "list_too_long"
    if _OPEN_LIST.search(gold + answer) and [*map(_bare, gold_items)] != [*map(_bare, answer_items)]:
        return Outcome.disagree, "open_list"  # 1, 2, ..., n is 1, 2, 3, ..., n
    if len(gold_items) != len(answer_items) and {gold_kind, answer_kind} <= {"", "{}"}:  # {1, 1, 2} is {1, 2}
        gold_items, answer_items = _distinct(gold_items), _distinct(answer_items)
    if len(gold_items) != len(answer_items):
        if (";" in gold) != (";" in answer):  # p=5,q=2;p=7,q=2 against p=5,q=2 and p=7,q=2: the same items in a row?
            flat = [split_items(side.replace(";", ",")) for side in (gold_inside, answer_inside)]
            same = len(flat[0]) == len(flat[1]) and compare_items(flat[0], flat[1], compare, True)[0] == Outcome.correct
            return (Outcome.correct, "equal_items") if same else (Outcome.disagree, "different_grouping")
        if _RELATION.search(gold + answer) and (fewest == 1 or "\\pm" in gold + answer):
            return None  # 0 < x < 1 against (0, 1), 1 \pm 2 against 3, -1
        if fewest == 1 and _decimal_comma(gold) == _decimal_comma(answer):
            return Outcome.disagree, "decimal_comma"
        single = gold if len(gold_items) < 2 else answer
        if fewest == 1 and not re.search(r"\d|emptyset", single):
            return Outcome.disagree, "different_kinds"  # (1, 2) against P, or against a set's name
        return Outcome.incorrect, "different_length"
    sequences = {"()", "[]", "(]", "[)"}
    ordered = "{}" not in (gold_kind, answer_kind) and bool({gold_kind, answer_kind} & sequences)
    finding = compare_items(gold_items, answer_items, compare, ordered)
    if finding[0] != Outcome.correct or gold_kind == answer_kind:
        return finding
    if {gold_kind, answer_kind} in ({"", "()"}, {"", "{}"}):
        return finding
    if {gold_kind, answer_kind} <= sequences and len(gold_items) == 2:
        return Outcome.incorrect, "different_brackets"  # [1, 2) is not (1, 2)
    return Outcome.disagree, "different_brackets"


def _lines(text: str) -> str:
    """The lines of a system of equations as a list: x = 1 \\\\ y = 2 in `cases` is x = 1, y = 2."""
    match = _CASES.fullmatch(text.removeprefix("{").removeprefix("\\{").strip())
    lines = [line.strip(" ,;.") for line in re.split(r"\\\\", match.group(1)) if line.strip()] if match else []
    return ", ".join(lines) if len(lines) > 1 and all("=" in line for line in lines) else text


def _both_signs(text: str) -> str:
    """Items with one \\pm as the two that they stand for; several signs hang together in ways that differ."""
    kind, inside = brackets(text)
    items = []
    for item in split_items(inside):
        name, rest = _named(item)
        if rest.count("\\pm") == 1 and "\\mp" not in rest and "_" not in name:
            items += [re.sub(r"^\s*\+", "", rest.replace("\\pm", sign)).strip() for sign in ("+", "-")]
        else:
            items.append(item)
    joined = ", ".join(items)
    return f"{kind[0]}{joined}{kind[1]}" if kind else joined


def _distinct(items: Sequence[str]) -> list[str]:
    return list({_bare(item): item for item in items}.values())


def _bare(item: str) -> str:
    return "".join(item.replace("\\cdots", "\\ldots").replace("\\dots", "\\ldots").split())


def _decimal_comma(text: str) -> str:
    return text.replace(",", ".") if re.fullmatch(r"[-+]?\d+,\d+", text) else text


def compare_items(gold: Sequence[str], answer: Sequence[str], compare: Compare, ordered: bool) -> Finding:
    """Items in order, or, unordered, each gold item matched with an answer item of its own."""
    left, undecided = list(answer), []
    for item in gold:
        findings = [compare(item, other) for other in (left[:1] if ordered else left)]
        match = next((i for i, finding in enumerate(findings) if finding[0] == Outcome.correct), None)
        if match is not None:
            left.pop(match)
        elif all(finding[0] == Outcome.incorrect for finding in findings):
            return Outcome.incorrect, "different_item"
        else:
            undecided.append(next(finding for finding in findings if finding[0] != Outcome.incorrect))
            if ordered:
                left.pop(0)
    return undecided[0] if undecided else (Outcome.correct, "equal_items")
