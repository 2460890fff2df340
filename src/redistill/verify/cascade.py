"""`cascade`: rules first, then math-verify with its answers checked again. The default verifier.

    same text, plain numbers, choice letters, words        exact.py decides, also "incorrect", in microseconds
    lists, tuples, sets, intervals, matrices, `x = 5`      structure.py: part by part, each through the cascade
    what is left                                           evaluated to 30 digits, or at several points
    what that leaves open                                  math-verify, both directions where that is sound

"Incorrect" needs evidence of difference: numbers apart, expressions apart at a point. Where math-verify calls equal what
evaluation sees apart by a relative tolerance, the verdict is `disagree`, not a guess.
"""

import itertools
import re
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

import sympy
from sympy.core.function import AppliedUndef
from sympy.core.relational import Relational
from sympy.logic.boolalg import Boolean

from redistill.records import DECIDED, Outcome, Problem, Trace, Verdict
from redistill.verify.answers import Anchor
from redistill.verify.exact import RELATIVE_TOLERANCE, Percent, compare_exact, compare_numbers, unit_key
from redistill.verify.judging import RULES_VERSION, Finding, compare_bounded, conventions, gold_answer, judge
from redistill.verify.mathlib import (
    DIGITS,
    MATH_VERIFY_VERSION,
    SYMPY_ERRORS,
    equal_at_points,
    fraction_of,
    library_equal,
    read_maths,
    value_of,
)
from redistill.verify.prose import maths_in_prose
from redistill.verify.reading import Number, clean, is_wordy, read_number, split_unit
from redistill.verify.structure import (
    compare_choices,
    compare_lists,
    compare_matrices,
    compare_named,
    compare_number_rows,
)

CASCADE_VERSION = f"{RULES_VERSION}, {MATH_VERIFY_VERSION}"
MAX_DEPTH = 6  # lists in lists
FAR_APART = 1e-2  # relative: beyond this two closed forms are different whatever algebra says
EXACT_TOLERANCE = 1e-20  # between two exact forms, evaluated to DIGITS places


def compare_cascade(
    gold: str,
    answer: str,
    *,
    relative_tolerance: float,
    percent: Percent,
    units: bool,
    ignore_case: bool,
    depth: int = 0,
) -> Finding:
    """One gold answer against one answer, by the stages above."""
    compare = partial(
        compare_cascade, relative_tolerance=relative_tolerance, percent=percent, units=units, ignore_case=ignore_case, depth=depth + 1
    )  # fmt: skip
    if depth == 0 and (finding := compare_choices(gold, answer, compare)):
        return finding
    finding = compare_exact(gold, answer, relative_tolerance=relative_tolerance, percent=percent, units=units)
    if finding[0] != Outcome.ungradable or depth >= MAX_DEPTH:
        return finding
    if rows := compare_number_rows(gold, answer, compare):
        return rows
    sentence = maths_in_prose(answer)
    gold, answer = clean(gold), clean(answer)
    for structure in (compare_named, compare_matrices, compare_lists):
        if parts := structure(gold, answer, compare):
            return parts
    ours, theirs = (split_unit(side, known=True) if units else (side, "") for side in (gold, answer))
    if (ours[1] or theirs[1]) and not any(is_wordy(rest) or not rest for rest, _ in (ours, theirs)):
        finding = compare(ours[0], theirs[0])
        differ = finding[0] in DECIDED and _units_differ(ours, theirs)
        return (Outcome.disagree, "units_differ") if differ else finding
    if units and (finding := _compare_loose_units(gold, answer, compare)):
        return finding
    if is_wordy(gold) or is_wordy(answer):
        if sentence is not None and not is_wordy(sentence) and compare(gold, sentence)[0] == Outcome.correct:
            return Outcome.correct, "equal_in_sentence"
        return Outcome.ungradable, "text_differs"
    return compare_maths(gold, answer, relative_tolerance=relative_tolerance, percent=percent, ignore_case=ignore_case)


# One letter after a value: metres or a variable. Nobody can say without the question.
_LOOSE_UNIT = re.compile(r"(.*[\d)}])\s*([mgslhLNJWVAKCF])(?:\s*\^\s*\{?[23]\}?)?", re.DOTALL)


def _units_differ(ours: tuple[str, str], theirs: tuple[str, str]) -> bool:
    """Whether two (value, unit) name different units, so that the values say nothing: 90\\pi minutes may be 1.5\\pi hours.
    A loose letter is a unit where the other side has one: 150 cm may be 1.5 m."""
    ours_unit, theirs_unit = (
        unit or (loose.group(2) if (loose := _LOOSE_UNIT.fullmatch(value)) else "") for value, unit in (ours, theirs)
    )
    return bool(ours_unit and theirs_unit) and unit_key(ours_unit) != unit_key(theirs_unit)


def _compare_loose_units(gold: str, answer: str, compare: Any) -> Finding | None:
    """5 m against 5: undecided where the values are equal; None where a letter stands on neither side, or on both."""
    for side, other in ((gold, answer), (answer, gold)):
        letter = _LOOSE_UNIT.fullmatch(side)
        if letter and not re.search(rf"(?<![\\A-Za-z]){letter.group(2)}(?![A-Za-z])", other):
            rest = letter.group(1).strip()
            finding: Finding = compare(rest, other) if side is gold else compare(other, rest)
            return finding if finding[0] == Outcome.incorrect else (Outcome.disagree, "perhaps_a_unit")
    return None


# --- computer algebra -------------------------------------------------------------------------------------------


def compare_maths(gold: str, answer: str, *, relative_tolerance: float, percent: Percent, ignore_case: bool) -> Finding:
    """Two clean texts by evaluation, then by math-verify. What evaluation shows to be equal needs no algebra, and closed
    forms far apart need none either; where the two say different things, `disagree`."""
    gold_value, answer_value = read_maths(gold, answer, ignore_case=ignore_case)
    if gold_value is None:
        return Outcome.ungradable, "gold_unreadable"
    if answer_value is None:
        return Outcome.ungradable, "answer_unreadable"
    try:
        recheck = _recheck(gold, gold_value, answer, answer_value, relative_tolerance, percent)
    except SYMPY_ERRORS:
        recheck = None
    if recheck:
        return Outcome.correct, "equal_value"
    one_is_open = bool(getattr(gold_value, "free_symbols", None)) != bool(getattr(answer_value, "free_symbols", None))
    if recheck is False and (one_is_open or _far_apart(gold_value, answer_value)):
        return Outcome.incorrect, "different_value"
    try:
        equal = library_equal(gold_value, answer_value) or _equal_other_way(gold_value, answer_value)
    except SYMPY_ERRORS:
        return Outcome.ungradable, "not_comparable"
    if equal:
        failed = recheck is False
        return (Outcome.disagree, "numeric_recheck_failed") if failed else (Outcome.correct, "math_verify_equal")
    if recheck is False:
        return Outcome.incorrect, "different_value"
    if _is_expression(gold_value) and _is_expression(answer_value):
        return Outcome.disagree, "not_comparable"  # no point showed a difference
    if _has_open_parts(gold_value) or _has_open_parts(answer_value):
        return Outcome.disagree, "not_comparable"
    if _kind(gold_value) != _kind(answer_value) or "list" in (_kind(gold_value), _kind(answer_value)):
        return Outcome.disagree, "different_kinds"  # one of them may have been misread
    return Outcome.incorrect, "math_verify_different"


def _far_apart(gold: Any, answer: Any) -> bool:
    """Whether two closed forms differ by far more than any rounding, which is all that algebra could explain."""
    left, right = value_of(gold), value_of(answer)
    if left is None or right is None:
        return False
    largest = max(abs(left), abs(right))
    return bool(largest > FAR_APART and abs(left - right) > FAR_APART * largest)


def _recheck(
    gold: str, gold_value: Any, answer: str, answer_value: Any, tolerance: float, percent: Percent
) -> bool | None:
    """Whether two values are equal by evaluation: True, False, or None where that cannot be seen."""
    if isinstance(gold_value, sympy.Eq) and isinstance(answer_value, sympy.Eq):
        sides = [value.lhs - value.rhs for value in (gold_value, answer_value)]
        return True if equal_at_points(*sides, up_to_factor=True) else None  # 2x = 4 and x = 2; roots are math-verify's
    if not (_is_expression(gold_value) and _is_expression(answer_value)):
        return None
    if not gold_value.free_symbols and not answer_value.free_symbols:
        left, right = value_of(gold_value), value_of(answer_value)
        if left is None or right is None:
            return None
        written = read_number(gold), read_number(answer)
        if not any(number and number.decimals for number in written):  # both exact forms: exact or not at all
            exact = gold_value.doit(), answer_value.doit()
            if all(value.is_Rational for value in exact):
                return bool(exact[0] == exact[1])  # 10^30 + 1 is not 10^30
            return bool(abs(left - right) <= EXACT_TOLERANCE * max(abs(left), abs(right)))
        fractions = [fraction for value in (left, right) if (fraction := fraction_of(value)) is not None]
        if len(fractions) < 2:
            return bool(abs(left - right) <= tolerance * max(abs(left), abs(right)))
        numbers = [number or Number(value, DIGITS) for number, value in zip(written, fractions)]
        finding = compare_numbers(numbers[0], numbers[1], relative_tolerance=tolerance, percent=percent)
        return {Outcome.correct: True, Outcome.incorrect: False}.get(finding[0])
    if gold_value.free_symbols == answer_value.free_symbols:
        agree = equal_at_points(gold_value, answer_value)
        constants = [s for s in gold_value.free_symbols if re.fullmatch(r"[Cc](_\{?\d\}?|\d)?", str(s))]
        if agree is False and 2 <= len(constants) <= 4:  # arbitrary constants of a solution may change their numbers
            others = (dict(zip(constants, order)) for order in itertools.permutations(constants))
            agree = any(equal_at_points(gold_value, answer_value.xreplace(names)) for names in others)
        if agree is False and len(constants) == 1 and all(_CLOSED_BY_C.search(text) for text in (gold, answer)):
            agree = _equal_up_to_constant(gold_value, answer_value, constants[0])
        return agree
    if not gold_value.free_symbols or not answer_value.free_symbols:  # a number against x: the same only if x drops out
        return equal_at_points(gold_value, answer_value)
    return _same_under_renaming(gold_value, answer_value)


_CLOSED_BY_C = re.compile(r"\+\s*C\s*$")


def _equal_up_to_constant(gold: sympy.Expr, answer: sympy.Expr, constant: sympy.Basic) -> bool | None:
    """Two antiderivatives, each closed by `+ C`: equal where their derivatives are, since any number may hide in C."""
    variables = sorted(gold.free_symbols - {constant}, key=str)
    if len(variables) != 1 or any(sympy.diff(side, constant) != 1 for side in (gold, answer)):
        return False
    return equal_at_points(*(sympy.diff(side, variables[0]) for side in (gold, answer)))


def _is_expression(value: Any) -> bool:
    lone = isinstance(value, sympy.Symbol)  # which sympy counts among the booleans too
    return lone or (isinstance(value, sympy.Expr) and not isinstance(value, (sympy.MatrixBase, Boolean)))


def _kind(value: Any) -> str:
    """What sort of thing a value is. A set whose members are relations is a list that the parser made."""
    if _is_expression(value):
        return "expression"
    if isinstance(value, sympy.FiniteSet) and any(isinstance(item, (Relational, Boolean)) for item in value):
        return "list"
    return "set" if isinstance(value, (sympy.Set, Relational, Boolean)) else "matrix" if isinstance(value, sympy.MatrixBase) else "list"  # fmt: skip


def _has_open_parts(value: Any) -> bool:
    """Whether a value holds unknown functions, derivatives, sums or integrals, which are equal in too many ways."""
    return bool(getattr(value, "has", lambda *_: False)(AppliedUndef, sympy.Derivative, sympy.Integral, sympy.Sum))


def _equal_other_way(gold: Any, answer: Any) -> bool:
    """The library with the sides exchanged: sound for a relation against a set, where it knows one order only."""
    sets = (sympy.Set, Relational, Boolean)
    return (
        isinstance(gold, sets)
        and isinstance(answer, sets)
        and type(gold) is not type(answer)
        and library_equal(answer, gold)
    )


def _same_under_renaming(gold: sympy.Expr, answer: sympy.Expr) -> bool | None:
    """Expressions in different symbols: None where some renaming makes them equal (n for k), else False."""
    ours, theirs = sorted(gold.free_symbols, key=str), sorted(answer.free_symbols, key=str)
    if len(ours) == len(theirs) <= 3:
        for order in itertools.permutations(ours):
            if equal_at_points(gold, answer.xreplace(dict(zip(theirs, order)))) is not False:
                return None
    return False


# Traces of one problem often say the same: within a process each pair of answers is compared once.
_remembered = lru_cache(maxsize=2_048)(compare_cascade)


def cascade(
    problem: Problem,
    trace: Trace,
    *,
    anchors: Sequence[Anchor] | None = None,
    relative_tolerance: float = RELATIVE_TOLERANCE,
    percent: Percent = "either",
    units: bool = True,
    ignore_case: bool = True,
) -> Verdict:
    """Rules, then math-verify with its answers checked again; undecided where they do not agree.

    anchors: where an answer is looked for and in which order (see answers.ANCHORS). percent: whether 28% equals 28, 0.28
    or either. units: drop units after numbers. ignore_case: let symbols differ in case (100\\sqrt{P} for 100\\sqrt{p}).
    """
    compare = partial(
        _remembered, relative_tolerance=relative_tolerance, percent=percent, units=units, ignore_case=ignore_case
    )  # fmt: skip
    version = f"{CASCADE_VERSION}; {conventions(percent, units, ignore_case=ignore_case)}"
    return judge(problem, trace, compare, verifier="cascade", verifier_version=version, anchors=anchors)


def judge_answer(
    gold: str,
    answer: str,
    *,
    relative_tolerance: float = RELATIVE_TOLERANCE,
    percent: Percent = "either",
    units: bool = True,
    ignore_case: bool = True,
) -> Verdict:
    """The cascade on an answer that is already found: no completion, no anchors. Options as in `cascade`."""
    version = f"{CASCADE_VERSION}; {conventions(percent, units, ignore_case=ignore_case)}"
    gold_text = gold_answer(gold)
    if gold_text is None:
        return Verdict(Outcome.ungradable, answer, "no_gold", "cascade", version)
    compare = partial(
        compare_cascade, relative_tolerance=relative_tolerance, percent=percent, units=units, ignore_case=ignore_case
    )  # fmt: skip
    outcome, reason = compare_bounded(compare, gold_text, answer)
    return Verdict(outcome, answer, reason, "cascade", version)
