"""Two formulas by their values: closed ones to fifty digits, open ones at several points. Finds equality and difference.

    2x + 2,      2(x + 1)         equal at every point                      -> correct, equal_value
    \\sqrt2,      1.414            the decimal, rounded, is the root         -> correct, equal_rounded
    x^2 + C,     x^2 + 1 + C      differ by a number, which hides in C       -> correct, equal_value
    2^k,         2^n              some renaming makes them equal             -> disagree, perhaps_renamed
    x^2,         x^3              apart at a point where both are read well  -> incorrect, different_value

A decimal in a formula stands for all numbers that round to it: the spread of each value is found by moving each decimal by
half a unit of its last place.
"""

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

from redistill.records import Outcome
from redistill.verify.exact import ROUNDED_DIGITS
from redistill.verify.formula import Formula, Node
from redistill.verify.judging import Finding, Reading, different
from redistill.verify.values import CONTEXT, Undefined, evaluate

EXACT_TOLERANCE = CONTEXT.mpf(10) ** -20  # between two values of fifty digits, relative
# Points to compare formulas at: neither integers nor near one another, both signs, so that |x| is not x.
_POINTS = (Fraction(7, 3), Fraction(-13, 7), Fraction(29, 11), Fraction(3, 17), Fraction(-8, 19), Fraction(41, 13))
ENOUGH_POINTS = 3
_CONSTANT = re.compile(r"[Cc](_\d|_?\d)?")


def compare_formulas(gold: Formula, answer: Formula, *, relative_tolerance: float, ignore_case: bool) -> Finding:
    """What evaluation shows of two formulas; `disagree, not_comparable` where it shows nothing."""
    gold, answer, constant = _same_case(gold, answer, ignore_case)
    finding = _compare(gold, answer, relative_tolerance)
    if finding[0] == Outcome.correct:
        return finding
    if constant and _differ_by_a_number(gold, answer, constant):
        return Outcome.correct, "equal_value"
    if "log" in gold.doubts | answer.doubts:
        decimal = [_with_log10(formula) for formula in (gold, answer)]
        if _compare(decimal[0], decimal[1], relative_tolerance)[0] == Outcome.correct:
            return Outcome.correct, "equal_value"
    if (
        finding[0] == Outcome.incorrect
        and not gold.symbols ^ answer.symbols
        and _equal_under_permuted_constants(gold, answer)
    ):
        return Outcome.correct, "equal_value"
    return finding


def is_complete(formula: Formula) -> Reading:
    """The formula as a reading: complete where its notation has one meaning."""
    return Reading("formula", formula.complete)


def value_of(formula: Formula) -> Any | None:
    """The number that a closed formula is, None where it has letters or no value."""
    if formula.symbols:
        return None
    try:
        return evaluate(formula.node, {}, [value for value, _ in formula.decimals])
    except Undefined:
        return None


def _compare(gold: Formula, answer: Formula, tolerance: float) -> Finding:
    if gold.symbols == answer.symbols or not (gold.symbols and answer.symbols):
        finding = _at_points(gold, answer, gold.symbols | answer.symbols, tolerance, positive=False)
        if finding[0] == Outcome.incorrect and (gold.symbols | answer.symbols):
            kinder = _at_points(gold, answer, gold.symbols | answer.symbols, tolerance, positive=True)
            if kinder[0] == Outcome.correct:
                return Outcome.disagree, "equal_where_positive"  # \sqrt{x^2} is x for the lengths of a triangle
        return finding
    return _renamed(gold, answer, tolerance)


def _at_points(gold: Formula, answer: Formula, symbols: frozenset[str], tolerance: float, *, positive: bool) -> Finding:
    names, agreeing, rounded = sorted(symbols), 0, 0
    for shift in range(len(_POINTS) if names else 1):
        values = [_POINTS[(shift + i) % 6] + i for i in range(len(names))]
        point = dict(zip(names, [abs(v) for v in values] if positive else values))
        finding = _at(gold, answer, point, tolerance)
        if finding is None:
            continue
        if finding[0] != Outcome.correct and finding[1] != "equal_rounded":
            return finding
        agreeing, rounded = agreeing + 1, rounded + (finding[1] == "equal_rounded")
    if agreeing >= (ENOUGH_POINTS if names else 1):
        return Outcome.correct, "equal_rounded" if rounded else "equal_value"
    return Outcome.disagree, "not_comparable"


def _at(gold: Formula, answer: Formula, point: Mapping[str, Fraction], tolerance: float) -> Finding | None:
    """Two values at one point; None where one is undefined there, or complex without an imaginary unit in the formula."""
    try:
        left, right = (evaluate(f.node, point, [value for value, _ in f.decimals]) for f in (gold, answer))
    except Undefined:
        return None
    if left == right:
        return Outcome.correct, "equal_value"
    if point and not (gold.imaginary or answer.imaginary) and any(isinstance(v, CONTEXT.mpc) for v in (left, right)):
        return None
    exact = isinstance(left, Fraction) and isinstance(right, Fraction)
    left, right = (CONTEXT.mpf(v.numerator) / v.denominator if isinstance(v, Fraction) else v for v in (left, right))
    apart, largest = abs(left - right), max(abs(left), abs(right))
    close = apart <= EXACT_TOLERANCE * max(largest, CONTEXT.mpf(10) ** -12) if not exact else False
    if close and (largest > CONTEXT.mpf(10) ** -12 or point):
        return Outcome.correct, "equal_value"
    if not exact and largest < CONTEXT.mpf(10) ** -30:
        return Outcome.disagree, "not_comparable"
    if gold.decimals or answer.decimals:
        if apart <= tolerance * largest:
            return Outcome.correct, "equal_value"
        try:
            spread = sum(_spread(f, point) for f in (gold, answer) if f.decimals)
        except Undefined:
            return Outcome.disagree, "only_rounded"
        if apart <= 2 * spread * CONTEXT.mpf("1.0001"):
            both = bool(gold.decimals and answer.decimals)
            digits = min(_digits(value, places) for f in (gold, answer) for value, places in f.decimals)
            if apart <= spread * CONTEXT.mpf("1.0001") and digits >= ROUNDED_DIGITS and not both:
                return Outcome.correct, "equal_rounded"
            rounded_up = not both and abs(left if gold.decimals else right) > abs(right if gold.decimals else left)
            if apart <= spread * CONTEXT.mpf("1.0001") or not rounded_up:  # a decimal that is cut off is no larger
                return Outcome.disagree, "only_rounded"
    return different(is_complete(gold), is_complete(answer), "different_value")


def _digits(value: Fraction, places: int) -> int:
    return len(str(abs(round(value * 10**places))))


def _spread(formula: Formula, point: Mapping[str, Fraction]) -> Any:
    """How far the value moves when each decimal moves by half a unit of its last place, in total."""
    centre = [value for value, _ in formula.decimals]
    middle, total = evaluate(formula.node, point, centre), CONTEXT.mpf(0)
    for index, (value, places) in enumerate(formula.decimals):
        moved = [*centre[:index], value + Fraction(1, 2 * 10**places), *centre[index + 1 :]]
        step = evaluate(formula.node, point, moved) - middle
        total += abs(CONTEXT.mpf(step.numerator) / step.denominator if isinstance(step, Fraction) else step)
    return total


# --- letters ------------------------------------------------------------------------------------------------------


def _rename(node: Node, names: Mapping[str, str]) -> Node:
    if node[0] == "sym":
        return ("sym", names.get(node[1], node[1]))
    return (node[0], *(_rename(part, names) if isinstance(part, tuple) else part for part in node[1:]))


def renamed(formula: Formula, names: Mapping[str, str]) -> Formula:
    """The formula with other letters."""
    symbols = frozenset(names.get(s, s) for s in formula.symbols)
    return Formula(_rename(formula.node, names), symbols, formula.decimals, formula.doubts, formula.imaginary)


def _same_case(gold: Formula, answer: Formula, ignore_case: bool) -> tuple[Formula, Formula, str]:
    """Both in small letters, where no letter stands in both cases on one side; and the constant of an integral, if both
    close with `+ C`."""
    constants = [_constant_of(formula) for formula in (gold, answer)]
    constant = constants[0] if constants[0] and constants[0] == constants[1] else ""
    if ignore_case and gold.symbols != answer.symbols:
        sides = [{s.lower() for s in f.symbols} for f in (gold, answer)]
        if all(len(small) == len(f.symbols) for small, f in zip(sides, (gold, answer))):
            folded = [renamed(f, {s: s.lower() for s in f.symbols}) for f in (gold, answer)]
            return folded[0], folded[1], constant.lower()
    return gold, answer, constant


def _constant_of(formula: Formula) -> str:
    if formula.node[0] != "add":
        return ""
    alone = [part[1] for part in formula.node[1:] if part[0] == "sym" and re.fullmatch(r"C(_\d)?|K", part[1])]
    others = [part for part in formula.node[1:] if part != ("sym", alone[0])] if len(alone) == 1 else []
    return alone[0] if others and not any(_holds(part, alone[0]) for part in others) else ""


def _holds(node: Node, name: str) -> bool:
    return node == ("sym", name) or any(isinstance(part, tuple) and _holds(part, name) for part in node[1:])


def _differ_by_a_number(gold: Formula, answer: Formula, constant: str) -> bool:
    """Whether two antiderivatives, each closed by `+ C`, have one derivative: any number may hide in C."""
    names = sorted((gold.symbols | answer.symbols) - {constant})
    if len(names) != 1:
        return False
    step, agreeing = Fraction(1, 10**12), 0
    for point in _POINTS:
        slopes = []
        for formula in (gold, answer):
            decimals = [value for value, _ in formula.decimals]
            try:
                ends = [
                    evaluate(formula.node, {names[0]: point + h, constant: Fraction(1)}, decimals)
                    for h in (step, -step)
                ]
            except Undefined:
                break
            ends = [CONTEXT.mpf(e.numerator) / e.denominator if isinstance(e, Fraction) else e for e in ends]
            slopes.append(ends[0] - ends[1])
        if len(slopes) == 2:
            if abs(slopes[0] - slopes[1]) > CONTEXT.mpf(10) ** -18 * max(
                abs(slopes[0]), abs(slopes[1]), CONTEXT.mpf(10) ** -12
            ):
                return False
            agreeing += 1
    return agreeing >= ENOUGH_POINTS


def _equal_under_permuted_constants(gold: Formula, answer: Formula) -> bool:
    """Whether the arbitrary constants of a solution have only changed their numbers."""
    constants = sorted(s for s in gold.symbols if _CONSTANT.fullmatch(s))
    if not 2 <= len(constants) <= 4:
        return False
    orders = (dict(zip(constants, order)) for order in itertools.permutations(constants))
    return any(_compare(gold, renamed(answer, names), 0.0)[0] == Outcome.correct for names in orders)


def _renamed(gold: Formula, answer: Formula, tolerance: float) -> Finding:
    """Formulas in different letters: undecided where some renaming makes them equal (n for k), or there are too many."""
    ours, theirs = sorted(gold.symbols), sorted(answer.symbols)
    if len(ours) == len(theirs) > 3:
        return Outcome.disagree, "not_comparable"
    if len(ours) == len(theirs):
        for order in itertools.permutations(ours):
            finding = _compare(gold, renamed(answer, dict(zip(theirs, order))), tolerance)
            if finding[0] != Outcome.incorrect:
                return Outcome.disagree, "perhaps_renamed"
    return different(is_complete(gold), is_complete(answer), "different_value")


def _with_log10(formula: Formula) -> Formula:
    """The formula with \\log to the base ten."""

    def walk(node: Node) -> Node:
        if node[:2] == ("fn", "ln"):
            return ("fn", "lg", *(walk(part) for part in node[2:]))
        return (node[0], *(walk(part) if isinstance(part, tuple) else part for part in node[1:]))

    return Formula(walk(formula.node), formula.symbols, formula.decimals, formula.doubts, formula.imaginary)


_TURNED = frozenset(("sin", "cos", "tan", "cot", "sec", "csc"))


def equal_in_degrees(gold: Formula, answer: Formula) -> bool:
    """Whether the two are equal where the numbers inside trigonometric functions are degrees: \\sin(90 - x) for \\cos x."""
    if not any(_has_large_angle(formula.node, False) for formula in (gold, answer)):
        return False
    pairs = itertools.product(*((formula, replace(formula, node=_turned(formula.node))) for formula in (gold, answer)))
    return any(_compare(left, right, 0.0)[0] == Outcome.correct for left, right in pairs)


def _has_large_angle(node: Node, inside: bool) -> bool:
    """Whether a number of ten or more stands inside \\sin or its like."""
    if node[0] == "num":
        return inside and abs(node[1]) >= 10
    inside = inside or (node[0] == "fn" and node[1] in _TURNED)
    return any(isinstance(part, tuple) and _has_large_angle(part, inside) for part in node[1:])


def _turned(node: Node) -> Node:
    """The arguments of \\sin and its like read in degrees."""
    parts = [_turned(part) if isinstance(part, tuple) else part for part in node[1:]]
    if node[0] == "fn" and node[1] in _TURNED:
        return ("fn", node[1], ("mul", parts[1], ("div", ("const", "pi"), ("num", Fraction(180)))))
    return (node[0], *parts)


def constant_ratio(gold: Formula, answer: Formula) -> Any | None:
    """The number that gold / answer is at every point; None where it is none, or too few points have one."""
    names, ratio, agreeing = sorted(gold.symbols | answer.symbols), None, 0
    for left, right in _values(gold, answer, names):
        if right == 0 or left == 0:
            if left != right:
                return None
            continue
        quotient = left / right
        if ratio is not None and abs(quotient - ratio) > EXACT_TOLERANCE * abs(ratio):
            return None
        ratio, agreeing = quotient, agreeing + 1
    return ratio if agreeing >= ENOUGH_POINTS else None


def _values(gold: Formula, answer: Formula, names: list[str]) -> Iterator[tuple[Any, Any]]:
    for shift in range(len(_POINTS)):
        point = dict(zip(names, (_POINTS[(shift + i) % 6] + i for i in range(len(names)))))
        try:
            pair = [evaluate(f.node, point, [value for value, _ in f.decimals]) for f in (gold, answer)]
        except Undefined:
            continue
        left, right = (CONTEXT.mpf(v.numerator) / v.denominator if isinstance(v, Fraction) else v for v in pair)
        yield left, right
