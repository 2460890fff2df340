"""Inequalities, equations and sets as sets of solutions, compared with one another.

    read_solutions("|x-3| < 2")            the same set as (1, 5)
    read_solutions("x < 1 \\text{ or } x > 2")   the same set as (-\\infty, 1) \\cup (2, \\infty)

A set in one letter is compared at its edges, between them and beyond them: edges are the ends of its intervals and the roots
of its polynomials, so two sets that agree at all of these are one set. Where the edges cannot be found, sets can only
be seen to differ.
"""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from redistill.records import Outcome
from redistill.verify.evaluation import constant_ratio, is_complete, renamed, value_of
from redistill.verify.formula import Formula, Node, read_formula
from redistill.verify.judging import Finding, Reading, different
from redistill.verify.polynomials import ZERO, as_float, polynomials, real_roots, roots
from redistill.verify.reading import brackets, split_items
from redistill.verify.values import CONTEXT, Undefined, evaluate

_RELATION = re.compile(r"(<=|>=|<|>|=|\\(?:le|ge|ne|leqslant|geqslant|lt|gt)(?![A-Za-z]))")
_OPS = {
    "<": "lt",
    ">": "gt",
    "=": "eq",
    "<=": "le",
    ">=": "ge",
    r"\le": "le",
    r"\ge": "ge",
    r"\ne": "ne",
    r"\lt": "lt",
    r"\gt": "gt",
}
_FLIP = {"lt": "gt", "gt": "lt", "le": "ge", "ge": "le", "eq": "eq", "ne": "ne"}
_JOINT = re.compile(r"\s*(?:\bor\b|\\cup(?![A-Za-z])|\\lor(?![A-Za-z])|\\vee(?![A-Za-z])|\bU\b)\s*")
_BOTH = re.compile(r"\s*(?:\band\b|\\land(?![A-Za-z])|\\wedge(?![A-Za-z])|\\cap(?![A-Za-z]))\s*")
_REALS = re.compile(
    r"\\mathbb\s*\{?\s*R\s*\}?|\\R(?![A-Za-z])|\\mathbf\s*\{?\s*R\s*\}?|all real numbers|all reals|\\text\{\s*all real numbers\s*\}"
)
_HALF = re.compile(r"\\mathbb\s*\{?\s*R\s*\}?\s*(?:\^\s*\{?\s*([+-])\s*\}?|_\s*\{\s*(>|<|>=|<=|\\ge|\\le)\s*0\s*\})")
_EMPTY = re.compile(
    r"\\(?:emptyset|varnothing|empty)(?![A-Za-z])|\\?\{\s*\\?\}|\\text\{\s*no solutions?\s*\}|no solutions?|no real solutions?"
)
_BUILDER = re.compile(r"\\?\{\s*([A-Za-z])\s*(?:\\in\s*\\mathbb\s*\{?R\}?\s*)?(?:\||:|\\mid)\s*(.+?)\s*\\?\}")
_SEVERAL_NOT = re.compile(r"([A-Za-z])\s*\\ne(?![A-Za-z])\s*([^,\\=<>]+),\s*([^,\\=<>A-Za-z]+)$")  # x \ne 1, 2
_IN_REALS = re.compile(r"^[A-Za-z]\s*\\in\s*\\mathbb\s*\{?\s*R\s*\}?\s*,\s*")
_BUT_NOT = re.compile(r"\s*,\s*(?=[A-Za-z]\s*\\ne(?![A-Za-z]))")  # 1 < x < 5, x \ne 3
_MEMBER = re.compile(r"([A-Za-z])\s*\\in\s*(.+)")
WHOLE_LETTERS = frozenset("nkmlj")  # usual for whole numbers
MAX_PARTS = 12


@dataclass(frozen=True, slots=True)
class Solutions:
    """parts: a tree of ("interval", low, high, low closed, high closed), ("points", values), ("relation", Formula, op), ("or", ...),
    ("and", ...), ("minus", a, b), ("all",). letter: the variable, "" where none is named. Empty: ("or",)."""

    tree: tuple[Any, ...]
    letter: str
    complete: bool

    @property
    def reading(self) -> Reading:
        """As a reading."""
        return Reading("solutions", self.complete)


def compare_solutions(gold: str, answer: str, ignore_case: bool) -> Finding | None:
    """Two sides of which one at least is an inequality, an equation or a set; None where neither is, or one is unreadable."""
    ours, theirs = read_solutions(gold), read_solutions(answer)
    if ours is None and theirs is not None and theirs.tree[0] == "relation" and theirs.tree[2] == "eq":
        ours = _listed(gold)
    elif theirs is None and ours is not None and ours.tree[0] == "relation" and ours.tree[2] == "eq":
        theirs = _listed(answer)
    if ours is None or theirs is None or all(side.tree[0] in ("interval", "points") and brackets(text)[0] for side, text in ((ours, gold), (theirs, answer))):  # fmt: skip
        return None  # two in brackets are compared part by part
    names = {side.letter for side in (ours, theirs) if side.letter}
    if len({name.lower() if ignore_case else name for name in names}) > 1:
        return Outcome.disagree, "perhaps_renamed"
    unsolved = [_is_unsolved(side.tree) for side in (ours, theirs)]
    verdict = _same_set(ours, theirs)
    if verdict is True:
        return (Outcome.disagree, "unsolved") if unsolved[0] != unsolved[1] else (Outcome.correct, "equal_set")
    if verdict is None or unsolved[0] or unsolved[1]:
        return Outcome.disagree, "not_comparable"
    if names and names & WHOLE_LETTERS and _agree_on_whole_numbers(ours, theirs):
        return Outcome.disagree, "perhaps_whole_numbers"  # n > 3 and n >= 4
    return different(ours.reading, theirs.reading, "different_set")


def _listed(text: str) -> Solutions | None:
    """Several numbers as the set that they are."""
    values = [_end(item) for item in split_items(text)]
    certain = len(values) > 1 and all(value is not None and abs(value) != CONTEXT.inf for value in values)
    return Solutions(("points", tuple(values)), "", True) if certain else None


def _is_unsolved(tree: tuple[Any, ...]) -> bool:
    """A polynomial equation of a higher degree, which may be the question repeated."""
    if tree[0] != "relation" or tree[2] != "eq":
        return False
    branches = (
        polynomials(tree[1].node, sorted(tree[1].symbols)[0], [v for v, _ in tree[1].decimals])
        if tree[1].symbols
        else None
    )
    return branches is None or any(len(top) > 2 for _, top, _ in branches)


# --- reading --------------------------------------------------------------------------------------------------------


def read_solutions(text: str) -> Solutions | None:
    """The set that all of a clean text is; None where it is none, or a part of it cannot be read."""
    text = re.sub(r"\\text\s*\{\s*(and|or)\s*\}", r" \1 ", text).strip(" ,.")
    if "\\ne" in text and "," in text:
        text = _BUT_NOT.sub(" and ", _IN_REALS.sub("", _SEVERAL_NOT.sub(r"\1\\ne \2 and \1\\ne \3", text)))
    if len(text) > 400 or not re.search(
        r"[<>=|(\[{]|\\(?:in|le|ge|ne|mathbb|R|emptyset|varnothing|cup|setminus)(?![A-Za-z])|solution|real", text
    ):
        return None
    solutions = _read_set(text, 0)
    if solutions is None:
        return None
    tree, letters, complete = solutions
    if len(letters) > 1:
        return None
    return Solutions(tree, next(iter(letters), ""), complete)


_Read = tuple[tuple[Any, ...], frozenset[str], bool]


def _read_set(text: str, depth: int) -> _Read | None:
    text = text.strip()
    if depth > 4 or not text:
        return None
    if _EMPTY.fullmatch(text):
        return ("or",), frozenset(), True
    if _REALS.fullmatch(text):
        return ("all",), frozenset(), True
    if half := _HALF.fullmatch(text):
        sign = half[1] or half[2]
        if sign in ("-", "<", "<=", r"\le"):
            return ("interval", -CONTEXT.inf, Fraction(0), False, sign in ("<=", r"\le")), frozenset(), True
        return ("interval", Fraction(0), CONTEXT.inf, sign in (">=", r"\ge"), False), frozenset(), True
    for joint, kind in ((_JOINT, "or"), (_BOTH, "and")):
        pieces = _cut(text, joint)
        if 1 < len(pieces) <= MAX_PARTS:
            return _joined(kind, pieces, depth)
    if len(pieces := _cut(text, re.compile(r"\\setminus(?![A-Za-z])|\\backslash"))) == 2:
        return _joined("minus", pieces, depth)
    if member := _MEMBER.fullmatch(text):
        inner = _read_set(member[2], depth + 1)
        return inner and (inner[0], inner[1] | {member[1]}, inner[2])
    if builder := _BUILDER.fullmatch(text):
        inner = _read_set(builder[2], depth + 1)
        return inner if inner and inner[1] == {builder[1]} else None
    pieces = _RELATION.split(text)
    if len(pieces) > 1:
        return _read_chain(pieces)
    return _read_brackets(text)


def _cut(text: str, joint: re.Pattern[str]) -> list[str]:
    """The text cut at the joints that stand outside all brackets."""
    pieces, start = [], 0
    for match in joint.finditer(text):
        before = text[: match.start()]
        if match.end() > match.start() and sum(before.count(c) for c in "([{") == sum(before.count(c) for c in ")]}"):
            pieces.append(text[start : match.start()])
            start = match.end()
    return [*pieces, text[start:]]


def _joined(kind: str, pieces: Sequence[str], depth: int) -> _Read | None:
    parts = [_read_set(piece.strip(" ,"), depth + 1) for piece in pieces]
    if any(part is None for part in parts):
        return None
    read = [part for part in parts if part is not None]
    return (
        (kind, *(part[0] for part in read)),
        frozenset().union(*(part[1] for part in read)),
        all(part[2] for part in read),
    )


def _read_chain(pieces: Sequence[str]) -> _Read | None:
    """1 < x \\le 5 as both of its relations."""
    sides, signs = pieces[0::2], pieces[1::2]
    if len(signs) > 2 or (len(signs) == 2 and "=" in signs):
        return None
    formulas = [_infinite(side) or read_formula(side.strip()) for side in sides]
    if any(formula is None for formula in formulas):
        return None
    relations, complete = [], True
    letters: set[str] = set()
    for (left, right), sign in zip(itertools.pairwise(formulas), signs):
        op = _OPS.get(sign.strip())
        if op is None or left is None or right is None:
            return None
        if isinstance(left, Formula) and isinstance(right, Formula):
            relations.append(("relation", _minus(left, right), op))
        elif not isinstance(left, Formula) and not isinstance(right, Formula):
            return None
    for formula in formulas:
        if isinstance(formula, Formula):
            letters |= formula.symbols
            complete = complete and formula.complete
            if formula.imaginary:
                return None
    if not letters:
        return None
    tree = relations[0] if len(relations) == 1 else ("and", *relations) if relations else ("all",)
    return tree, frozenset(letters), complete


def _infinite(text: str) -> str | None:
    return "infinite" if re.fullmatch(r"\s*[-+]?\s*\\infty\s*", text) else None


def _minus(left: Formula, right: Formula) -> Formula:
    """left - right, whose decimals follow one another."""
    shift = len(left.decimals)

    def moved(node: Node) -> Node:
        if node[0] == "dec":
            return ("dec", node[1] + shift)
        return (node[0], *(moved(part) if isinstance(part, tuple) else part for part in node[1:]))

    node = ("add", left.node, ("neg", moved(right.node)))
    return Formula(node, left.symbols | right.symbols, left.decimals + right.decimals, left.doubts | right.doubts, left.imaginary or right.imaginary)  # fmt: skip


def _read_brackets(text: str) -> _Read | None:
    kind, inside = brackets(text)
    items = split_items(inside) if kind else []
    if kind == "{}":
        values = [_end(item) for item in items]
        if not values or any(value is None or abs(value) == CONTEXT.inf for value in values):
            return None
        return ("points", tuple(values)), frozenset(), True
    if kind in ("()", "[]", "(]", "[)") and len(items) == 2:
        low, high = (_end(item) for item in items)
        if low is None or high is None or _compare(low, high) > 0:
            return None
        return ("interval", low, high, kind[0] == "[" and abs(low) != CONTEXT.inf, kind[1] == "]" and abs(high) != CONTEXT.inf), frozenset(), True  # fmt: skip
    return None


def _end(text: str) -> Any | None:
    text = text.strip()
    if re.fullmatch(r"\+?\s*\\infty|\+?inf(?:ty|inity)?|\+?\s*oo", text):
        return CONTEXT.inf
    if re.fullmatch(r"-\s*\\infty|-\s*inf(?:ty|inity)?|-\s*oo", text):
        return -CONTEXT.inf
    formula = read_formula(text)
    value = value_of(formula) if formula and formula.complete else None
    return None if value is None or isinstance(value, CONTEXT.mpc) else value


# --- membership -----------------------------------------------------------------------------------------------------


def _holds(tree: tuple[Any, ...], letter: str, point: Any) -> bool | None:
    """Whether a number is in the set; None where that is unknown."""
    kind = tree[0]
    if kind == "all":
        return True
    if kind == "points":
        return any(_compare(point, value) == 0 for value in tree[1])
    if kind == "interval":
        low, high = _compare(point, tree[1]), _compare(point, tree[2])
        return (low > 0 or (low == 0 and tree[3])) and (high < 0 or (high == 0 and tree[4]))
    if kind == "relation":
        return _relation_holds(tree, letter, point)
    holds = [_holds(part, letter, point) for part in tree[1:]]
    if kind == "minus":
        return None if None in holds else bool(holds[0] and not holds[1])
    decisive = kind == "or"
    return decisive if decisive in holds else None if None in holds else not decisive


def _relation_holds(tree: tuple[Any, ...], letter: str, point: Any) -> bool | None:
    _, formula, op = tree
    try:
        value = evaluate(formula.node, {name: point for name in formula.symbols}, [v for v, _ in formula.decimals])
    except Undefined:
        return False
    if isinstance(value, CONTEXT.mpc):
        return False
    sign = _compare(value, Fraction(0))
    return {"lt": sign < 0, "gt": sign > 0, "le": sign <= 0, "ge": sign >= 0, "eq": sign == 0, "ne": sign != 0}[op]


def _compare(left: Any, right: Any) -> int:
    if isinstance(left, Fraction) and isinstance(right, Fraction):
        return (left > right) - (left < right)
    left, right = as_float(left), as_float(right)
    if abs(left) == CONTEXT.inf or abs(right) == CONTEXT.inf:
        return int(left > right) - int(left < right)
    if abs(left - right) <= ZERO * max(1, abs(left), abs(right)):
        return 0
    return 1 if left > right else -1


def _edges(tree: tuple[Any, ...]) -> list[Any] | None:
    """Every number at which membership may change; None where they cannot all be found."""
    kind = tree[0]
    if kind == "all":
        return []
    if kind == "points":
        return list(tree[1])
    if kind == "interval":
        return [end for end in tree[1:3] if abs(end) != CONTEXT.inf]
    if kind == "relation":
        return roots(tree[1])
    all_edges: list[Any] = []
    for part in tree[1:]:
        edges = _edges(part)
        if edges is None:
            return None
        all_edges += edges
    return all_edges


def _same_set(ours: Solutions, theirs: Solutions) -> bool | None:
    edges = [_edges(side.tree) for side in (ours, theirs)]
    certain = edges[0] is not None and edges[1] is not None
    points = sorted(as_float(edge) for side in edges if side for edge in side)
    tests = [*points, *((a + b) / 2 for a, b in itertools.pairwise(points) if _compare(a, b) != 0)]
    tests += [points[0] - 1, points[-1] + 1] if points else [CONTEXT.mpf(0)]
    tests += [] if certain else [CONTEXT.mpf(n) / 7 for n in range(-40, 41, 3)]
    for test in tests:
        left, right = _holds(ours.tree, ours.letter, test), _holds(theirs.tree, theirs.letter, test)
        if left is None or right is None:
            return None
        if left != right:
            return False
    return True if certain else None


def _agree_on_whole_numbers(ours: Solutions, theirs: Solutions) -> bool:
    return all(
        _holds(ours.tree, ours.letter, Fraction(n)) == _holds(theirs.tree, theirs.letter, Fraction(n))
        for n in range(-60, 61)
    )


# --- relations in several letters -----------------------------------------------------------------------------------


def read_relation(text: str) -> tuple[Formula, str] | None:
    """(left - right, op) of a text that is one relation in letters; None for anything else."""
    pieces = _RELATION.split(text)
    if len(pieces) != 3:
        return None
    left, right = read_formula(pieces[0].strip()), read_formula(pieces[2].strip())
    op = _OPS.get(pieces[1].strip())
    if left is None or right is None or op is None:
        return None
    return _minus(left, right), op


def compare_relations(gold: str, answer: str, ignore_case: bool) -> Finding | None:
    """Two equations or inequalities by their two sides' difference; None where one of them is neither.

    Equal: one difference is a constant times the other (positive for inequalities). Different: the same letters, and a real
    point on the one that is not on the other."""
    ours, theirs = read_relation(gold), read_relation(answer)
    if ours is None or theirs is None:
        return None
    (left, op), (right, other_op) = ours, theirs
    if ignore_case and left.symbols != right.symbols:
        left, right = (renamed(f, {s: s.lower() for s in f.symbols}) if len({s.lower() for s in f.symbols}) == len(f.symbols) else f for f in (left, right))  # fmt: skip
    if left.symbols != right.symbols or not left.symbols:  # 8 = 0 and 7 = 0 say nothing of any unknown
        return Outcome.disagree, "not_comparable"
    ratio = constant_ratio(left, right)
    if ratio is not None and not isinstance(ratio, CONTEXT.mpc):
        op_same = other_op if ratio > 0 else _FLIP[other_op]
        if op_same == op:
            return Outcome.correct, "equal_relation"
        return different(is_complete(left), is_complete(right), "different_relation")
    if left.decimals or right.decimals:
        return Outcome.disagree, "not_comparable"
    if op == other_op == "eq" and _apart_on_curve(left, right):
        return different(is_complete(left), is_complete(right), "different_relation")
    if op != "eq" and other_op != "eq" and _apart_in_plane(ours, theirs):
        return different(is_complete(left), is_complete(right), "different_relation")
    return Outcome.disagree, "not_comparable"


_PROBES = (Fraction(1, 3), Fraction(-5, 7), Fraction(11, 5), Fraction(-17, 4), Fraction(9, 2))


def _apart_on_curve(left: Formula, right: Formula) -> bool:
    """Whether some real point solves the one equation and clearly not the other."""
    letters = sorted(left.symbols)
    for first, second in ((left, right), (right, left)):
        for unknown in letters:
            others = [letter for letter in letters if letter != unknown]
            for shift in range(len(_PROBES)):
                point = {letter: _PROBES[(shift + i) % 5] + i for i, letter in enumerate(others)}
                node = _substituted(first.node, point)
                branches = polynomials(node, unknown, [])
                if branches is None or len(branches) > 1:
                    break
                for root in real_roots(branches[0][1]) or []:
                    try:
                        value = evaluate(second.node, {**point, unknown: as_float(root)}, [])
                        own = evaluate(first.node, {**point, unknown: as_float(root)}, [])
                    except Undefined:
                        continue
                    if abs(as_float(own)) < ZERO * 10**5 and abs(as_float(value)) > CONTEXT.mpf(10) ** -9:
                        return True
    return False


def _substituted(node: Node, point: dict[str, Fraction]) -> Node:
    if node[0] == "sym" and node[1] in point:
        return ("num", point[node[1]])
    return (node[0], *(_substituted(part, point) if isinstance(part, tuple) else part for part in node[1:]))


def _apart_in_plane(ours: tuple[Formula, str], theirs: tuple[Formula, str]) -> bool:
    letters = sorted(ours[0].symbols)
    for shift in range(25):
        point = {letter: _PROBES[(shift + i * (1 + shift // 5)) % 5] * (1 + i) for i, letter in enumerate(letters)}
        truths = []
        for formula, op in (ours, theirs):
            try:
                value = evaluate(formula.node, point, [])
            except Undefined:
                break
            if isinstance(value, CONTEXT.mpc) or abs(as_float(value)) < CONTEXT.mpf(10) ** -9:
                break
            truths.append(op in ("gt", "ge", "ne") if value > 0 else op in ("lt", "le", "ne"))
        if len(truths) == 2 and truths[0] != truths[1]:
            return True
    return False
