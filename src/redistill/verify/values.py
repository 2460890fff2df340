"""The value of a formula with numbers for its letters: a Fraction where every step is exact, else fifty digits.

    evaluate(node of x^2 / 3, {"x": Fraction(2)}, [])    ->  Fraction(4, 3)
    evaluate(node of \\sqrt{2}, {}, [])                   ->  mpf(1.4142...)
    evaluate(node of 1/x, {"x": Fraction(0)}, [])        ->  Undefined

The arithmetic of what is not exact is mpmath's.
"""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import mpmath

from redistill.verify.formula import Node

CONTEXT = mpmath.MPContext()
CONTEXT.dps = 50
MAX_EXPONENT = 10**9
MAX_BITS = 60_000  # of an exact number; beyond, fifty digits must do


class Undefined(Exception):
    """No number at this point: 1/0, \\ln 0."""


def evaluate(node: Node, values: Mapping[str, Any], decimals: Sequence[Fraction]) -> Any:
    """The number: a Fraction where all steps are exact, else fifty digits, perhaps complex. Undefined where there is none."""
    try:
        value = _evaluate(node, values, decimals)
    except (ZeroDivisionError, OverflowError, ValueError, TypeError, mpmath.libmp.NoConvergence) as error:
        raise Undefined(str(error)) from error
    if not isinstance(value, Fraction):
        if not CONTEXT.isfinite(value):
            raise Undefined("infinite")
        if isinstance(value, CONTEXT.mpc) and abs(value.imag) < abs(value.real) * CONTEXT.mpf(10) ** -40:
            value = value.real
    return value


def _evaluate(node: Node, values: Mapping[str, Any], decimals: Sequence[Fraction]) -> Any:
    kind = node[0]
    if kind == "num":
        return node[1]
    if kind == "dec":
        return decimals[node[1]]
    if kind == "sym":
        return values[node[1]]
    if kind == "const":
        return {"pi": CONTEXT.pi, "e": CONTEXT.e, "i": CONTEXT.j}[node[1]] * CONTEXT.mpf(1)
    parts = [_evaluate(part, values, decimals) for part in node[1:] if not isinstance(part, str)]
    if kind == "neg":
        return -parts[0]
    if kind == "add":
        total = parts[0]
        for part in parts[1:]:
            total = _both(total, part, "add")
        return total
    if kind == "mul":
        return _both(parts[0], parts[1], "mul")
    if kind == "div":
        if parts[1] == 0:
            raise ZeroDivisionError
        return _both(parts[0], parts[1], "div")
    if kind == "pow":
        return _power(parts[0], parts[1])
    if kind == "root":
        return _root(parts[0], parts[1])
    return _call(node[1], parts)


def _real(value: Any) -> Any:
    return CONTEXT.mpf(value.numerator) / value.denominator if isinstance(value, Fraction) else value


def _both(left: Any, right: Any, operation: str) -> Any:
    if (
        not (isinstance(left, Fraction) and isinstance(right, Fraction))
        or max(left.numerator.bit_length(), right.numerator.bit_length(), left.denominator.bit_length()) > MAX_BITS
    ):
        left, right = _real(left), _real(right)
    return left + right if operation == "add" else left * right if operation == "mul" else left / right


def _power(base: Any, exponent: Any) -> Any:
    if isinstance(exponent, Fraction) and exponent.denominator == 1 and isinstance(base, Fraction):
        if base == 0 and exponent < 0:
            raise ZeroDivisionError
        size = max(base.numerator.bit_length(), base.denominator.bit_length())
        if abs(exponent) * size <= MAX_BITS:
            return base ** int(exponent)
    if abs(exponent) > MAX_EXPONENT:  # also of a decimal: its own power would not end
        raise OverflowError
    if (
        isinstance(base, Fraction)
        and isinstance(exponent, Fraction)
        and exponent.denominator == 2
        and abs(exponent) < 100
    ):
        root = _root(base, Fraction(2))
        return _power(root, Fraction(exponent.numerator))
    if base == 0:
        if exponent == 0:
            return Fraction(1)
        return CONTEXT.mpf(0) if exponent > 0 else CONTEXT.inf
    return CONTEXT.power(_real(base), _real(exponent))


def _root(value: Any, index: Any) -> Any:
    if isinstance(value, Fraction) and index == 2 and value >= 0:
        top, below = math.isqrt(value.numerator), math.isqrt(value.denominator)
        if top * top == value.numerator and below * below == value.denominator:
            return Fraction(top, below)
    if isinstance(index, Fraction) and index.denominator == 1 and index > 0:
        if index % 2 and not isinstance(value, CONTEXT.mpc) and value < 0:
            return -_root(-value, index)  # the real root, as \sqrt[3]{-8} is meant
        if index == 2:
            return CONTEXT.sqrt(_real(value))
        rooted = (
            CONTEXT.root(_real(value), int(index)) if index < 1000 else CONTEXT.power(_real(value), 1 / _real(index))
        )
        nearest = Fraction(int(CONTEXT.nint(rooted.real))) if abs(rooted) < 10**15 else None
        exact = isinstance(value, Fraction) and nearest is not None and index < 100 and nearest ** int(index) == value
        return nearest if exact else rooted
    return CONTEXT.power(_real(value), 1 / _real(index))


def _call(name: str, parts: Sequence[Any]) -> Any:
    if name == "abs":
        return abs(parts[0])
    if name in ("max", "min"):
        if any(isinstance(part, CONTEXT.mpc) for part in parts):
            raise TypeError
        return (max if name == "max" else min)(parts, key=_real)
    if name in _WHOLE:
        return _whole(name, parts)
    if name in ("floor", "ceil"):
        if isinstance(parts[0], Fraction):
            return Fraction(math.floor(parts[0]) if name == "floor" else math.ceil(parts[0]))
        nearest = CONTEXT.nint(parts[0])
        if abs(parts[0] - nearest) < CONTEXT.mpf(10) ** -30:
            raise TypeError  # on the edge
        return Fraction(int(CONTEXT.floor(parts[0]) if name == "floor" else CONTEXT.ceil(parts[0])))
    value = _real(parts[0])
    if name == "lg":
        return CONTEXT.log(value, 10)
    if name in ("ln", "log") and value == 0:
        raise ZeroDivisionError
    function = getattr(CONTEXT, {"arcsin": "asin", "arccos": "acos", "arctan": "atan", "arccot": "acot", "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh"}.get(name, name))  # fmt: skip
    result = function(value)
    if name in ("sin", "cos", "tan", "cot") and abs(result) < CONTEXT.mpf(10) ** -45:
        return CONTEXT.mpf(0) if name != "cot" else result
    if name in ("tan", "sec", "csc", "cot") and abs(result) > CONTEXT.mpf(10) ** 40:
        raise ZeroDivisionError
    return result


_WHOLE = frozenset(("factorial", "factorial2", "subfactorial", "binomial", "permutations", "gcd", "lcm"))


def _whole(name: str, parts: Sequence[Any]) -> Any:
    """Functions of whole numbers; factorials and binomials also of others, by the gamma function."""
    if all(isinstance(part, Fraction) and part.denominator == 1 for part in parts):
        numbers = [int(part) for part in parts]
        if name in ("gcd", "lcm"):
            return Fraction(math.gcd(*numbers) if name == "gcd" else math.lcm(*numbers))
        if all(0 <= n <= 4_000 for n in numbers):
            n = numbers[0]
            if name == "factorial":
                return Fraction(math.factorial(n))
            if name == "factorial2":
                return Fraction(math.prod(range(n, 0, -2)))
            if name == "subfactorial":
                return Fraction(
                    round(sum(Fraction((-1) ** k * math.factorial(n), math.factorial(k)) for k in range(n + 1)))
                )
            return Fraction(math.comb(*numbers) if name == "binomial" else math.perm(*numbers))
    values = [_real(part) for part in parts]
    if any(abs(value) > 10**6 for value in values):
        raise OverflowError
    if name == "factorial":
        return CONTEXT.factorial(values[0])
    if name == "factorial2":
        return CONTEXT.fac2(values[0])
    if name == "binomial":
        return CONTEXT.binomial(*values)
    if name == "permutations":
        return CONTEXT.factorial(values[0]) / CONTEXT.factorial(values[0] - values[1])
    raise TypeError
