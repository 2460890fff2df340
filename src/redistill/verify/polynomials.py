"""Real roots of the quotients of polynomials, with absolute values, that formulas in one letter are.

roots(formula of |x - 3| - 2)     ->  [5, 1, 3]      where it is zero, and where an absolute value turns
roots(formula of \\ln x)           ->  None           no quotient of polynomials
"""

import itertools
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import mpmath

from redistill.verify.formula import Formula, Node
from redistill.verify.values import CONTEXT, Undefined, evaluate

MAX_DEGREE, MAX_ABS = 8, 3
ZERO = CONTEXT.mpf(10) ** -25  # relative: numbers of fifty digits that are this close are one


def as_float(value: Any) -> Any:
    """The number in fifty digits."""
    return CONTEXT.mpf(value.numerator) / value.denominator if isinstance(value, Fraction) else value


_Poly = list[Any]  # coefficients, the constant first
_Branch = tuple[tuple[int, ...], _Poly, _Poly]  # signs of the absolute values, numerator, denominator


def roots(formula: Formula) -> list[Any] | None:
    """Where the formula is zero or undefined, and where the inside of an absolute value is zero; None if it is no
    quotient of polynomials in one letter."""
    if len(formula.symbols) != 1:
        return None
    letter, decimals = next(iter(formula.symbols)), [value for value, _ in formula.decimals]
    branches = polynomials(formula.node, letter, decimals)
    if branches is None:
        return None
    all_roots: list[Any] = []
    for _, top, below in branches:
        for polynomial in (top, below):
            roots = real_roots(polynomial)
            if roots is None:
                return None
            all_roots += roots
    for inside in _absolutes(formula.node):
        inner = polynomials(inside, letter, decimals)
        if inner is None:
            return None
        for _, top, below in inner:
            roots = (real_roots(top) or []) + (real_roots(below) or [])
            all_roots += roots
    return all_roots


def _absolutes(node: Node) -> list[Node]:
    inner = [found for part in node[1:] if isinstance(part, tuple) for found in _absolutes(part)]
    return [*inner, node[2]] if node[:2] == ("fn", "abs") else inner


def polynomials(node: Node, letter: str, decimals: Sequence[Fraction]) -> list[_Branch] | None:
    count = len(_absolutes(node))
    if count > MAX_ABS:
        return None
    branches = []
    for signs in itertools.product((1, -1), repeat=count):
        queue = list(signs)
        quotient = _quotient(node, letter, decimals, queue)
        if quotient is None or max(map(len, quotient)) > MAX_DEGREE + 1:
            return None
        branches.append((signs, *quotient))
    return branches


def _quotient(node: Node, letter: str, decimals: Sequence[Fraction], signs: list[int]) -> tuple[_Poly, _Poly] | None:
    one: _Poly = [Fraction(1)]
    kind = node[0]
    if kind == "sym":
        return ([Fraction(0), Fraction(1)], one) if node[1] == letter else None
    if not _has_letter(node):
        try:
            value = evaluate(node, {}, decimals)
        except Undefined:
            return None
        return None if isinstance(value, CONTEXT.mpc) else ([value], one)
    if kind == "fn" and node[1] == "abs":
        inner = _quotient(node[2], letter, decimals, signs)
        sign = signs.pop(0)
        return inner and ([-c if sign < 0 else c for c in inner[0]], inner[1])
    if kind == "pow":
        exponent = node[2]
        power = (
            exponent[1]
            if exponent[0] == "num"
            else -exponent[1][1]
            if exponent[0] == "neg" and exponent[1][0] == "num"
            else None
        )
        if power is None or power.denominator != 1 or abs(power) > MAX_DEGREE or _absolutes(node[1]):
            return None
        base = _quotient(node[1], letter, decimals, signs)
        if base is None:
            return None
        top, below = (base[1], base[0]) if power < 0 else base
        raised: tuple[_Poly, _Poly] = (one, one)
        for _ in range(abs(int(power))):
            raised = _times(raised[0], top), _times(raised[1], below)
        return raised
    if kind not in ("add", "neg", "mul", "div"):
        return None
    parts = [_quotient(part, letter, decimals, signs) for part in node[1:]]
    if any(part is None for part in parts):
        return None
    total = parts[0]
    assert total is not None
    if kind == "neg":
        return [-c for c in total[0]], total[1]
    for part in parts[1:]:
        assert part is not None
        if kind == "add":
            total = _plus(_times(total[0], part[1]), _times(part[0], total[1])), _times(total[1], part[1])
        elif kind == "mul":
            total = _times(total[0], part[0]), _times(total[1], part[1])
        else:
            total = _times(total[0], part[1]), _times(total[1], part[0])
        if max(map(len, total)) > 4 * MAX_DEGREE:
            return None
    return total


def _has_letter(node: Node) -> bool:
    return node[0] == "sym" or any(isinstance(part, tuple) and _has_letter(part) for part in node[1:])


def _plus(a: _Poly, b: _Poly) -> _Poly:
    return [_sum(x, y) for x, y in itertools.zip_longest(a, b, fillvalue=Fraction(0))]


def _times(a: _Poly, b: _Poly) -> _Poly:
    product: _Poly = [Fraction(0)] * (len(a) + len(b) - 1)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            product[i + j] = _sum(product[i + j], _product(x, y))
    return product


def _sum(x: Any, y: Any) -> Any:
    return x + y if isinstance(x, Fraction) and isinstance(y, Fraction) else as_float(x) + as_float(y)


def _product(x: Any, y: Any) -> Any:
    return x * y if isinstance(x, Fraction) and isinstance(y, Fraction) else as_float(x) * as_float(y)


def real_roots(polynomial: _Poly) -> list[Any] | None:
    """The real roots, each once; None where the numbers do not settle."""
    coefficients = list(polynomial)
    while coefficients and (
        coefficients[-1] == 0 or (not isinstance(coefficients[-1], Fraction) and abs(coefficients[-1]) < ZERO)
    ):
        coefficients.pop()
    if len(coefficients) < 2:
        return []
    if len(coefficients) == 2:
        if all(isinstance(c, Fraction) for c in coefficients):
            return [-coefficients[0] / coefficients[1]]
        return [-as_float(coefficients[0]) / as_float(coefficients[1])]
    if all(isinstance(c, Fraction) for c in coefficients):
        coefficients = _without_repeats(coefficients)
        if len(coefficients) == 2:
            return [-coefficients[0] / coefficients[1]]
    try:
        roots = CONTEXT.polyroots([as_float(c) for c in reversed(coefficients)], maxsteps=200, extraprec=200)
    except (mpmath.libmp.NoConvergence, ZeroDivisionError):
        return None
    return [root.real for root in map(CONTEXT.mpc, roots) if abs(root.imag) < ZERO * max(1, abs(root))]


def _without_repeats(polynomial: _Poly) -> _Poly:
    """The polynomial with each of its roots once: divided by what it shares with its derivative."""
    a, b = polynomial, [i * c for i, c in enumerate(polynomial)][1:]
    while any(b):
        a, b = b, _remainder(a, b)[1]
    return _remainder(polynomial, a)[0] if len(a) > 1 else polynomial


def _remainder(a: _Poly, b: _Poly) -> tuple[_Poly, _Poly]:
    rest, quotient = list(a), [Fraction(0)] * max(len(a) - len(b) + 1, 1)
    while len(rest) >= len(b) and any(rest):
        factor, shift = rest[-1] / b[-1], len(rest) - len(b)
        quotient[shift] = factor
        rest = [c - factor * b[i - shift] if i >= shift else c for i, c in enumerate(rest)]
        while rest and rest[-1] == 0:
            rest.pop()
    return quotient, rest
