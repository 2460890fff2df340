"""Answers made of parts, each part handed back to the cascade: names, choices, lists, tuples, sets, intervals, matrices.

    gold x = 5,          answer 5                                  -> compare(5, 5)
    gold \\{1, 2\\},       answer 2 and 1                            -> each item with one of its own, in any order
    gold (1, 2),         answer \\begin{pmatrix}1\\\\2\\end{pmatrix}     -> entry by entry
    gold 1 \\pm \\sqrt2,   answer 1-\\sqrt2, 1+\\sqrt2                  -> the two values it stands for

Each function here gives a Finding, or None where the two answers are not of its kind. `compare` is the cascade on two
parts, one level down.
"""

import itertools
import re
from collections.abc import Callable, Iterable, Sequence

from redistill.records import Outcome
from redistill.verify.exact import compare_choice
from redistill.verify.formula import read_formula
from redistill.verify.judging import UNREAD, Finding, Reading, different
from redistill.verify.prose import HEDGED
from redistill.verify.quantities import read_unit
from redistill.verify.reading import (
    brackets,
    clean,
    is_choice,
    is_wordy,
    plain_words,
    read_choice,
    read_choices,
    read_number,
    read_option,
    split_items,
)

Compare = Callable[[str, str], Finding]

ITEM = Reading("item", complete=True)
MAX_ITEMS = 200  # of a list or a matrix compared item by item

# The name in front of an answer: x = , f(x) = , S_{ABC} = , (p, q) = , \angle APC = , x \in . It holds no digit outside
# a subscript and no operator, so that `2x + z = 1` and `7 = 11a + c` stay equations.
_NAME = re.compile(
    r"(?:[A-Za-z\\':,()\s]|_(?:\{[^{}]*\}|\w)|\\frac\{[A-Za-z]+\}\{[A-Za-z]+\}|(?<=d[a-z])/(?=d[a-z])"
    r"|\\(?:vec|overrightarrow|overline|hat|bar|bm|boldsymbol|mathbf|text)\s*\{[A-Za-z]{1,3}\})+"
)
_FUNCTION = re.compile(r"[A-Za-z]\w*'*\s*\(([A-Za-z])\)|y")
_RELATION = re.compile(r"[<>=|]|\\(?:le|ge|ne|in|cup|cap|setminus|mid|ldots|dots|pm|mp)(?![A-Za-z])")
_OPEN_LIST = re.compile(r"\\(?:[lc]?dots)(?![A-Za-z])|\.\.\.")
_POINT = re.compile(r"^[A-Z](?:_\{?\w\}?|')?\s*(?=\([^()=]*,[^()=]*\)$)")  # A(3, 4)
_CHOSEN = re.compile(r"C\s*\(\s*\d+\s*,\s*\d+\s*\)$")
_WORDS = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}")
_MATRIX = re.compile(
    r"[(\[]?\s*\\begin\s*\{\s*(?:[pbBs]?matrix|smallmatrix|array)\s*\}(?:\s*\{[lcr|\s]*\})?"
    r"((?:(?!\\begin|\\end).)*)\\end\s*\{\s*(?:[pbBs]?matrix|smallmatrix|array)\s*\}\s*[)\]]?(?:\^\s*\{?\s*(?:T|\\top)\s*\}?)?",
    re.DOTALL,
)
_TRANSPOSED = re.compile(r"\^\s*\{?\s*(?:T|\\top)\s*\}?$")
_CASES = re.compile(r"\\begin\s*\{\s*(?:cases|aligned|array)\s*\}(?:\s*\{[lcr|\s]*\})?((?:(?!\\begin|\\end|&).)*)\\end\s*\{\w+\}", re.DOTALL)  # fmt: skip
_NESTED = re.compile(r"\[\s*\[.*\]\s*\]", re.DOTALL)


_QUOTED = re.compile(r"""(['"])[^'"]*\1""")
_TOKEN_OF_LETTERS = re.compile(
    r"[A-Za-z]+|[A-Za-z]+\d{1,3}(?:[A-Za-z]\d*)*|_?[A-Za-zÀ-ÖØ-öø-ÿ]{2,}(?:[-'’][A-Za-zÀ-ÖØ-öø-ÿ]+)*_?"
)


def reading_of(text: str, depth: int = 0) -> Reading:
    """What a part of an answer is, and whether all of it has a meaning: a number, a closed or open formula, a word, a list of
    such. UNREAD where nothing here reads it."""
    text = text.strip()
    if not text or depth > 4:
        return UNREAD
    if read_number(text):
        return Reading("number", complete=True)
    if _QUOTED.fullmatch(text) or _TOKEN_OF_LETTERS.fullmatch(plain_words(text).strip("\"'")):
        return Reading("word", complete=True)
    if formula := read_formula(text):
        return Reading("formula" if formula.symbols else "number", formula.complete)
    if len(text) > 4 * MAX_ITEMS:
        return UNREAD
    if (rows := read_matrix(text)) is not None:
        entries = [entry for row in rows for entry in row]
        return Reading("matrix", all(reading_of(entry, depth + 1).complete for entry in entries))
    kind, inside = brackets(text)
    items = split_items(inside)
    if (kind or len(items) > 1) and len(items) <= MAX_ITEMS and not _OPEN_LIST.search(text):
        return Reading("list", all(reading_of(item, depth + 1).complete for item in items))
    if (name := _named(text)) and name[0]:
        return Reading("named", reading_of(name[1], depth + 1).complete)
    return UNREAD


def _all_read(gold: Sequence[str], answer: Sequence[str]) -> tuple[Reading, Reading]:
    """One reading of each side's items together."""

    def read(items: Sequence[str]) -> Reading:
        return Reading("list", len(items) <= MAX_ITEMS and all(reading_of(item).complete for item in items))

    return read(gold), read(answer)


# --- several answers in other notations -----------------------------------------------------------------------------

_LABEL = re.compile(
    r"(?:^|(?<=[\s,;.}]))(?:\\text\s*\{\s*)?(?:(?:part|question)\s+\(?([A-Za-z]|\d)\)?\s*[:.)]|\(([a-z]|\d|i{1,3}|iv|vi{0,3})\)|([a-z]|\d|i{1,3}|iv|vi{0,3})\)|([a-h])[.:](?=\s))\s*(?:\})?\s*[:.]?\s*",
    re.IGNORECASE,
)
_SERIES = [
    ["a", "b", "c", "d", "e", "f", "g", "h"],
    ["1", "2", "3", "4", "5", "6", "7", "8"],
    ["i", "ii", "iii", "iv", "v", "vi", "vii", "viii"],
]
_RANGE = re.compile(
    r"(-?\d{1,4})\s*(?:-|\\text\s*\{\s*(?:to|through)\s*\}|\b(?:to|through)\b|,\s*(?:\\l?dots|\\cdots|\.\.\.)\s*,)\s*(-?\d{1,4})"
)
_VECTOR_MARK = re.compile(
    r"\\(?:hat|vec|mathbf|bm|boldsymbol|textbf|overrightarrow|text)\s*(?:\{\s*(?:\\(?:mathbf|text|hat)\s*\{\s*)?([ijk]|\\[ij]math)\s*\}?\s*\}|([ijk]))"
)
_TERM = re.compile(r"\s*([-+]?)\s*([^-+]*?|\([^()]*\))\s*(?:\\cdot\s*|\*\s*)?([ijk])(?![A-Za-z])\s*")


def read_parts(text: str) -> list[str] | None:
    """The answers behind labels that count up: `(a) 3, (b) 5`, `1) 3 2) 5`, `Part A: 3, Part B: 5`; None for anything else."""
    labels = list(_LABEL.finditer(text))
    if len(labels) < 2 or labels[0].start() != 0:
        return None
    names = [next(group for group in label.groups() if group).lower() for label in labels]
    series = next((series for series in _SERIES if sorted(names) == sorted(series[: len(names)])), None)
    if series is None:
        return None
    ends = [*(label.start() for label in labels[1:]), len(text)]
    items = [
        re.sub(r"\s*(?:[,;.]|\band\b|\\text\s*\{\s*(?:and)?\s*$)\s*$", "", text[label.end() : end]).strip(" ,;.")
        for label, end in zip(labels, ends)
    ]
    return [item for _, item in sorted(zip(map(series.index, names), items))] if all(items) else None


def compare_parts(gold: str, answer: str, compare: Compare) -> Finding | None:
    """Labelled answers in their order, against labelled ones or a list; None where neither side has labels."""
    ours, theirs = read_parts(gold), read_parts(answer)
    if ours is None and theirs is None:
        return None
    if ours and theirs and len(ours) == len(theirs):
        return compare_items(ours, theirs, compare, True)
    return _compare_sequences(
        ours or split_items(brackets(gold)[1]), theirs or split_items(brackets(answer)[1]), compare
    )


def _compare_sequences(ours: list[str], theirs: list[str], compare: Compare) -> Finding:
    """Two lists of which at least one has an order: in that order, and undecided where only the order differs."""
    if len(ours) != len(theirs):
        return different(*_all_read(ours, theirs), "different_length")
    finding = compare_items(ours, theirs, compare, True)
    if finding[0] == Outcome.incorrect and compare_items(ours, theirs, compare, False)[0] != Outcome.incorrect:
        return Outcome.disagree, "different_order"
    return finding


def read_range(text: str) -> list[str] | None:
    """1, 2, 3, 4, 5 of `1-5` and `1 to 5`; None for anything else."""
    match = _RANGE.fullmatch(text.strip())
    if not match or not 1 < int(match[2]) - int(match[1]) + 1 <= MAX_ITEMS:
        return None
    return [str(n) for n in range(int(match[1]), int(match[2]) + 1)]


def compare_ranges(gold: str, answer: str) -> Finding | None:
    """A list of whole numbers against the range that they are; what is not equal is undecided, for 1-5 is -4 too."""
    for side, other in ((gold, answer), (answer, gold)):
        items = split_items(brackets(other)[1])
        if len(items) > 1 and (numbers := read_range(side)) and not read_range(other):
            return (
                (Outcome.correct, "equal_items")
                if sorted(items) == sorted(numbers)
                else (Outcome.disagree, "different_kinds")
            )
    return None


def read_assignments(text: str) -> dict[str, str] | None:
    """{"x": "1", "y": "2"} of `x = 1, y = 2` and of `(x, y) = (1, 2)`; None for anything else."""
    if "=" not in text and text.count(":") > 1 and re.match(r"[A-Za-z]\s*:(?!.*\d\s*:)", text):
        text = text.replace(":", "=")  # x: 3, y: 5
    left, sign, right = text.partition("=")
    names, values = (
        split_items(brackets(side)[1]) if brackets(side)[0] == "()" else [] for side in (left.strip(), right.strip())
    )
    if sign and len(names) == len(values) > 1:
        pairs = list(zip(names, values))
    else:
        pairs = [(item.partition("=")[0].strip(), item.partition("=")[2].strip()) for item in split_items(text)]
    if len(pairs) < 2 or not all(
        value and "=" not in value and re.fullmatch(r"[A-Za-z](?:_\{?\w+\}?)?", name) for name, value in pairs
    ):
        return None
    return dict(pairs) if len({name for name, _ in pairs}) == len(pairs) else None


def compare_assignments(gold: str, answer: str, compare: Compare) -> Finding | None:
    """Values by their names; against a tuple, in the order of the alphabet, where a difference is undecided, and for names
    that have no order of their own (x and p) in the order in which they are written. None where neither side names its values."""
    ours, theirs = read_assignments(gold), read_assignments(answer)
    if ours and theirs:
        if ours.keys() != theirs.keys():
            return None
        names = sorted(ours)
        return compare_items([ours[name] for name in names], [theirs[name] for name in names], compare, True)
    if not ours and not theirs:
        return None
    named, other = (ours or theirs or {}), answer if ours else gold
    kind, inside = brackets(other)
    items = split_items(inside)
    if kind not in ("()", "") or len(items) < 2:
        return None
    values = [named[name] for name in (sorted(named) if _has_own_order(named) else named)]
    if len(values) != len(items):
        return Outcome.disagree, "different_kinds"
    finding = compare_items(values, items, compare, True) if ours else compare_items(items, values, compare, True)
    if finding[0] == Outcome.incorrect and (
        sorted(named) != list(named) or compare_items(values, items, compare, False)[0] != Outcome.incorrect
    ):
        return Outcome.disagree, "different_order"
    return finding


def _has_own_order(names: Iterable[str]) -> bool:
    """Letters that follow one another in the alphabet, such as x, y, z, or one letter with numbers below it."""
    letters = sorted({name[0].lower() for name in names})
    return all(ord(after) - ord(before) == 1 for before, after in itertools.pairwise(letters))


def read_vector(text: str) -> list[str] | None:
    """The components of `3\\mathbf{i} - 4\\mathbf{j}`; None for anything else. Plain letters i and j count only together."""
    plain = _VECTOR_MARK.sub(lambda m: (m[1] or m[2]).replace("\\", "")[0] + " ", text)
    if not (
        plain != text
        or (re.search(r"(?<![A-Za-z\\])i(?![A-Za-z])", text) and re.search(r"(?<![A-Za-z\\])j(?![A-Za-z])", text))
    ):
        return None
    components: dict[str, str] = {}
    position = 0
    while position < len(plain):
        match = _TERM.match(plain, position)
        if not match or match[3] in components or (position and not match[1]):
            return None
        size = match[2].strip() or "1"
        components[match[3]] = f"-{size}" if match[1] == "-" else size
        position = match.end()
    if not components:
        return None
    return [components.get(name, "0") for name in ("ijk" if "k" in components else "ij")]


def compare_vectors(gold: str, answer: str, compare: Compare) -> Finding | None:
    """A vector in i, j, k against another one or a tuple; None where neither side is one."""
    ours, theirs = read_vector(gold), read_vector(answer)
    if ours is None and theirs is None:
        return None
    sides: list[list[str] | None] = []
    for side, vector in ((gold, ours), (answer, theirs)):
        rows = read_matrix(side) or _vector(side)
        sides.append(vector or ([entry for row in rows for entry in row] if rows else None))
    left, right = sides
    if left is None or right is None:
        return None
    longest = max(len(left), len(right))
    if ours and theirs:
        left, right = [*left, *["0"] * (longest - len(left))], [*right, *["0"] * (longest - len(right))]
    if len(left) != len(right):
        return Outcome.disagree, "different_kinds"
    return compare_items(left, right, compare, True)


def compare_shown(gold: str, answer: str, compare: Compare) -> Finding | None:
    """An answer that shows its arithmetic, `m + n = 280 + 37 = 317` or `2 \\cdot 8 + 75 = 91`: its last value; None for anything
    else. It is read completely where what it says is equal is equal."""
    if "=" in gold or "=" not in answer or re.search(r"[<>]|\\(?:le|ge|ne|pm|equiv)(?![A-Za-z])", answer):
        return None
    pieces = [piece.strip() for piece in answer.split("=")]
    formulas = [read_formula(piece) for piece in pieces]
    closed = [f for f in formulas if f and not f.symbols]
    open_chain = len(closed) < len(pieces) and all(
        f and f.complete for f in formulas
    )  # \\frac{70x^7}{7} + C = 10x^7 + C
    if open_chain and all(compare(pieces[-1], piece)[0] == Outcome.correct for piece in pieces[:-1]):
        return compare(gold, pieces[-1])
    first = formulas[0]
    if len(pieces) == 2 and first is not None and first.symbols:
        if not re.fullmatch(r"[A-Za-z](?:\s*\+\s*[A-Za-z])+", pieces[0]):
            return None  # x^2 = 4 is an equation
        finding = compare(gold, pieces[1])
        return finding if finding[0] == Outcome.correct else (Outcome.disagree, "different_kinds")
    if len(closed) < len(pieces) - 1 or (
        formulas[0] is None and not _NAME.fullmatch(pieces[0]) and not re.search(r"[A-Za-z]", pieces[0])
    ):
        return None
    if formulas[0] is None and len(pieces) < 3:
        return None
    finding = compare(gold, pieces[-1])
    if finding[0] != Outcome.incorrect:
        return finding
    start = 0 if first is not None and not first.symbols else 1
    consistent = all(compare(pieces[-1], piece)[0] == Outcome.correct for piece in pieces[start:-1])
    said = [compare(gold, piece)[0] for piece in pieces[start:-1]]
    apart = consistent or all(word == Outcome.incorrect for word in said)
    return different(reading_of(gold), Reading("number", apart), "different_value")


# --- letters of multiple choice ---------------------------------------------------------------------------------------


def compare_choices(gold: str, answer: str, compare: Compare) -> Finding | None:
    """Letters of multiple choice, or None where the gold is none. Against a bare letter, the value of its option is
    undecided; a gold that is letter and text, `(C) Cecile`, is met by either of them, and so is the gold 12 by `(B) 12`."""
    bare = clean(gold)
    if read_choices(bare) and _EITHER.fullmatch(clean(answer)):
        return Outcome.disagree, "one_or_all"
    if is_choice(bare) or (read_choices(bare) and (read_choices(clean(answer)) or is_choice(clean(answer)))):
        return compare_choice(gold, answer)
    if option := read_option(bare):
        letter, text = option
        return compare_choice(letter, answer) if read_choice(clean(answer)) else compare(text, answer)
    if (option := read_option(clean(answer))) and not is_wordy(bare):
        if bare.upper() == option[0]:  # a small letter may be the option or a variable
            return Outcome.disagree, "letter_or_symbol"
        return compare(gold, option[1])
    if len(answer) <= MAX_LETTER and _CAPITAL.search(answer) and is_choice(clean(answer)) and _VALUE.search(bare):
        return (
            None if _CAPITAL.search(bare) else (Outcome.disagree, "letter_for_value")
        )  # of which option, only the question says
    return None


_EITHER = re.compile(r"\(?[A-J]\)?(?:\s{0,2},?\s{0,2}or\s{1,2}\(?[A-J]\)?)+")
MAX_LETTER = 24  # characters of an option's letter with what dresses it
_CAPITAL = re.compile(r"(?<![A-Za-z\\])[A-J](?![A-Za-z])")
_VALUE = re.compile(r"\d|[A-Za-z]{2}")


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
    if (
        not plain
        or not _NAME.fullmatch(name)
        or any(map(HEDGED.fullmatch, name.split()))
        or re.search(r"\\(?:cdot|times|sqrt|le|ge|ne)(?![A-Za-z])", name)
    ):
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
        return different(*_all_read(flat[0], flat[1]), "different_shape")
    if len(flat[0]) > MAX_ITEMS:
        return Outcome.ungradable, "list_too_long"
    vectors = all(1 in shape for shape in shapes)
    if shapes[0] != shapes[1] and not vectors:
        return different(*_all_read(flat[0], flat[1]), "different_shape")
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
    text = _TRANSPOSED.sub("", text).strip()
    kind, inside = brackets(text)
    items = split_items(inside)
    return [items] if kind in ("()", "[]") and len(items) > 1 else None


# --- lists ------------------------------------------------------------------------------------------------------


_SEQUENCES = frozenset(("()", "[]", "(]", "[)"))


def compare_lists(gold: str, answer: str, compare: Compare) -> Finding | None:
    """Two lists item by item, or None where neither side is one. Without brackets and in braces order does not count,
    in round and square brackets it does; a list without brackets matches any tuple or set in brackets."""
    if any(_CHOSEN.match(side) for side in (gold, answer)) and brackets(gold)[0] + brackets(answer)[0] == "()":
        return Outcome.disagree, "perhaps_a_point"  # C(10, 3) and (10, 3)
    gold, answer = (_POINT.sub("", _lines(side)) for side in (gold, answer))
    if "\\pm" in gold or "\\pm" in answer:
        gold, answer = _both_signs(gold), _both_signs(answer)
    gold, answer = _point_in_set(gold, answer), _point_in_set(answer, gold)
    (gold_kind, gold_inside), (answer_kind, answer_inside) = brackets(gold), brackets(answer)
    gold_items, answer_items = split_items(gold_inside), split_items(answer_inside)
    most, fewest = max(len(gold_items), len(answer_items)), min(len(gold_items), len(answer_items))
    single, several = (gold, answer) if len(gold_items) < 2 else (answer, gold)
    if fewest == 1 and most == 2 and (one_number := _compare_as_one_number(single, several, compare)):
        return one_number
    if most < 2 or fewest == 0 or any(len(_WORDS.findall(item)) > 3 for item in (*gold_items, *answer_items)):
        return None  # not lists, or prose with commas
    if is_wordy(gold) != is_wordy(answer):
        wordy = gold_items if is_wordy(gold) else answer_items
        numbers = all(read_number(item) for item in (*gold_items, *answer_items))
        if (
            numbers
            and fewest == 1
            and any(compare(single, item)[0] == Outcome.correct for item in max(gold_items, answer_items, key=len))
        ):
            return Outcome.disagree, "one_or_several_answers"  # 12, and 12 apples and 3 pears
        # 3 apples and 5 pears: what is counted gives an order
        return _compare_sequences(gold_items, answer_items, compare) if numbers and len(wordy) > 1 else None
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
        if fewest == 1 and (number := read_number(several)):  # 12,34,567 may be one number with India's marks
            same = compare(single, str(number.value))[0] == Outcome.correct
            return (Outcome.correct, "equal_value") if same else (Outcome.disagree, "perhaps_thousands")
        if fewest == 1 and (not re.search(r"\d|emptyset", single) or reading_of(single).kind not in ("number", "list")):
            return Outcome.disagree, "different_kinds"  # (1, 2) against P, or against what has other forms
        return different(*_all_read(gold_items, answer_items), "different_length")
    ordered = "{}" not in (gold_kind, answer_kind) and bool({gold_kind, answer_kind} & _SEQUENCES)
    finding = compare_items(gold_items, answer_items, compare, ordered)
    if finding[0] != Outcome.correct or gold_kind == answer_kind:
        return finding
    if {gold_kind, answer_kind} in ({"", "()"}, {"", "{}"}):
        return finding
    if {gold_kind, answer_kind} <= _SEQUENCES and len(gold_items) == 2:
        return different(*_all_read(gold_items, answer_items), "different_brackets")  # [1, 2) is not (1, 2)
    return Outcome.disagree, "different_brackets"


def _point_in_set(text: str, other: str) -> str:
    """(1, 2) of {(1, 2)} where the other side is a sequence too; every other text as it is."""
    kind, inside = brackets(text)
    items = split_items(inside)
    alone = kind == "{}" and len(items) == 1 and {brackets(items[0])[0], brackets(other)[0]} <= _SEQUENCES
    return items[0] if alone else text


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


_WITH_A_PART = re.compile(
    r"(-?\d+)\s+and\s+(?:(\d+)\s*/\s*(\d+)|\\frac\s*\{?(\d+)\}?\s*\{?(\d+)\}?|(?:(?:an?|one)\s+)?(half|third|quarter|fourth|fifth|eighth))"
)
_PARTS_OF_ONE = {"half": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "eighth": 8}
_AND_MORE = re.compile(r"(.*[A-Za-z}])\s+and\s+(\d{1,5})")
_COMMA_AND_UNIT = re.compile(r"([-+]?\d+),(\d+)(\s*(?:\\(?:text|currency)|[A-Za-z]).*)?", re.DOTALL)


def _compare_as_one_number(single: str, several: str, compare: Compare) -> Finding | None:
    """What looks like two items and may be one number: 3 and a half, 1 million and 5, 12,50 euros, 0,5. None where it is not equal to
    the other side as a number: then it is a list, or another number, and differs."""
    if total := _told_with_and(several):
        return (Outcome.correct, "equal_value") if compare(single, total)[0] == Outcome.correct else None
    if not (comma := _COMMA_AND_UNIT.fullmatch(several)):
        return None
    finding = compare(single, f"{comma[1]}.{comma[2]}{comma[3] or ''}")
    if finding[0] == Outcome.correct and comma[3] and len(comma[2]) != 3:
        return finding
    return None if finding[0] == Outcome.incorrect else (Outcome.disagree, "decimal_comma")


def _told_with_and(text: str) -> str | None:
    """3 1/2 of `3 and 1/2` and `3 and a half`, 1000005 of `1 million and 5`; None for anything else."""
    if match := _WITH_A_PART.fullmatch(text):
        top, below = (
            (1, _PARTS_OF_ONE[match[6]])
            if match[6]
            else (int((match[2] or match[4])[:9]), int((match[3] or match[5])[:9]))
        )
        return f"{match[1]} {top}/{below}" if 0 < top < below else None
    match = _AND_MORE.fullmatch(text)
    number = read_number(match[1]) if match else None
    unit = read_unit(number.unit) if number else None
    if match and number and unit and unit.empty and unit.magnitude > int(match[2]):
        return str(number.value * unit.magnitude + int(match[2]))
    return None


def compare_items(gold: Sequence[str], answer: Sequence[str], compare: Compare, ordered: bool) -> Finding:
    """Items in order, or, unordered, each gold item matched with an answer item of its own."""
    left, undecided = list(answer), []
    for item in gold:
        findings = [compare(item, other) for other in (left[:1] if ordered else left)]
        match = next((i for i, finding in enumerate(findings) if finding[0] == Outcome.correct), None)
        if match is not None:
            left.pop(match)
        elif all(finding[0] == Outcome.incorrect for finding in findings):
            return different(ITEM, ITEM, "different_item")  # each of these findings has passed the gate
        else:
            undecided.append(next(finding for finding in findings if finding[0] != Outcome.incorrect))
            if ordered:
                left.pop(0)
    return undecided[0] if undecided else (Outcome.correct, "equal_items")
