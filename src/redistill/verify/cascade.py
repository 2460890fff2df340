"""`cascade`: rules first, then math-verify with its answers checked again. The default verifier.

    same text, plain numbers, choice letters, words        exact.py decides, also "incorrect", in microseconds
    lists, tuples, sets, intervals                         item by item, each through the cascade
    `x = 5` against `5`                                    the name dropped
    what is left                                           math-verify, both directions where that is sound

"Incorrect" needs evidence of difference: numbers apart, expressions apart at a point. What math-verify calls equal is
evaluated again with a relative tolerance; where the two differ the verdict is `disagree`, not a guess.
"""

import itertools
import re
from collections.abc import Sequence
from functools import partial
from typing import Any

import sympy
from sympy.core.function import AppliedUndef
from sympy.core.relational import Relational
from sympy.logic.boolalg import Boolean

from redistill.records import Outcome, Problem, Trace, Verdict
from redistill.verify.answers import Anchor
from redistill.verify.exact import RELATIVE_TOLERANCE, Percent, compare_choice, compare_exact, compare_numbers
from redistill.verify.judging import RULES_VERSION, Finding, compare_bounded, gold_answer, judge
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
from redistill.verify.reading import (
    Number,
    brackets,
    clean,
    is_choice,
    is_wordy,
    maths_in_prose,
    read_number,
    split_items,
)

CASCADE_VERSION = f"{RULES_VERSION}, {MATH_VERIFY_VERSION}"
MAX_ITEMS = 200  # of a list compared item by item
MAX_DEPTH = 6  # lists in lists
EXACT_TOLERANCE = 1e-20  # between two exact forms, evaluated to DIGITS places

# The name in front of an answer: x = , f(x) = , S_{ABC} = , (p, q) = , \angle APC = , x \in . It holds no digit outside
# a subscript and no operator, so that `2x + z = 1` and `7 = 11a + c` stay equations.
_NAME = re.compile(r"(?:[A-Za-z\\':,()\s]|_(?:\{[^{}]*\}|\w)|\\frac\{[A-Za-z]+\}\{[A-Za-z]+\})+")
_FUNCTION = re.compile(r"[A-Za-z]\w*'*\s*\([A-Za-z]\)|y")
_RELATION = re.compile(r"[<>=|]|\\(?:le|ge|ne|in|cup|cap|setminus|mid|ldots|dots|pm|mp)(?![A-Za-z])")


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
    if is_choice(clean(gold)) and depth == 0:
        return compare_choice(gold, answer)  # the value of the option, say, is undecided
    finding = compare_exact(gold, answer, relative_tolerance=relative_tolerance, percent=percent, units=units)
    if finding[0] != Outcome.ungradable or depth >= MAX_DEPTH:
        return finding
    sentence = maths_in_prose(answer)
    gold, answer = clean(gold), clean(answer)
    if named := _compare_named(gold, answer, compare):
        return named
    if listed := _compare_lists(gold, answer, compare):
        return listed
    if is_wordy(gold) or is_wordy(answer):
        if sentence is not None and not is_wordy(sentence) and compare(gold, sentence)[0] == Outcome.correct:
            return Outcome.correct, "equal_in_sentence"
        return Outcome.ungradable, "text_differs"
    return compare_maths(gold, answer, relative_tolerance=relative_tolerance, percent=percent, ignore_case=ignore_case)


def _compare_named(gold: str, answer: str, compare: Any) -> Finding | None:
    """`x = 5` against `5` or against `x = 5.0`; None where no name can be dropped. Two names that differ prove nothing,
    unless both only name a function (y = 2x, f(x) = 2x)."""
    (gold_name, gold_rest), (answer_name, answer_rest) = _named(gold), _named(answer)
    if not gold_name and not answer_name:
        return None
    if not (gold_name and answer_name) or gold_name == answer_name:
        bare_side = answer if gold_name and not answer_name else gold
        return None if "=" in bare_side and not (gold_name and answer_name) else compare(gold_rest, answer_rest)
    finding = (
        compare(gold_rest, answer_rest) if _FUNCTION.fullmatch(gold_name) and _FUNCTION.fullmatch(answer_name) else None
    )
    return finding if finding and finding[0] == Outcome.correct else None


def _named(text: str) -> tuple[str, str]:
    """(name, rest) of `name = rest` or `name \\in rest` with one such sign; ("", text) for all else."""
    name, sign, rest = text.partition("=") if "=" in text else re.split(r"(\\in)(?![A-Za-z])", text + " ", maxsplit=1) if re.search(
        r"\\in(?![A-Za-z])", text) else (text, "", "")  # fmt: skip
    plain = bool(sign and rest.strip() and len(name) <= 60 and not re.search(r"[<>=]|\\(?:le|ge|ne)(?![A-Za-z])", rest))
    if not plain or not _NAME.fullmatch(name) or re.search(r"\\(?:cdot|times|sqrt|le|ge|ne)(?![A-Za-z])", name):
        return "", text
    return "".join(name.split()), rest.strip()


# --- lists ------------------------------------------------------------------------------------------------------


def _compare_lists(gold: str, answer: str, compare: Any) -> Finding | None:
    """Two lists item by item, or None where neither side is one. Without brackets and in braces order does not count,
    in round and square brackets it does; a list without brackets matches any tuple or set in brackets."""
    (gold_kind, gold_inside), (answer_kind, answer_inside) = brackets(gold), brackets(answer)
    gold_items, answer_items = split_items(gold_inside), split_items(answer_inside)
    most, fewest = max(len(gold_items), len(answer_items)), min(len(gold_items), len(answer_items))
    if most < 2 or fewest == 0 or any(len(_WORDS.findall(item)) > 3 for item in (*gold_items, *answer_items)):
        return None  # not lists, or prose with commas
    if is_wordy(gold) != is_wordy(answer):
        return None
    if most > MAX_ITEMS:
        return Outcome.ungradable, "list_too_long"
    if len(gold_items) != len(answer_items) and {gold_kind, answer_kind} <= {"", "{}"}:  # {1, 1, 2} is {1, 2}
        gold_items, answer_items = _distinct(gold_items), _distinct(answer_items)
    if len(gold_items) != len(answer_items):
        if (";" in gold) != (";" in answer):  # p=5,q=2;p=7,q=2 against p=5,q=2 and p=7,q=2: the same items in a row?
            flat = [split_items(side.replace(";", ",")) for side in (gold_inside, answer_inside)]
            same = (
                len(flat[0]) == len(flat[1]) and _compare_items(flat[0], flat[1], compare, True)[0] == Outcome.correct
            )
            return (Outcome.correct, "equal_items") if same else (Outcome.disagree, "different_grouping")
        if _RELATION.search(gold + answer) and (fewest == 1 or "\\pm" in gold + answer):
            return None  # 0 < x < 1 against (0, 1), 1 \pm 2 against 3, -1
        if fewest == 1 and _decimal_comma(gold) == _decimal_comma(answer):
            return Outcome.disagree, "decimal_comma"
        return Outcome.incorrect, "different_length"
    sequences = {"()", "[]", "(]", "[)"}
    ordered = "{}" not in (gold_kind, answer_kind) and bool({gold_kind, answer_kind} & sequences)
    finding = _compare_items(gold_items, answer_items, compare, ordered)
    if (
        finding[0] != Outcome.correct
        or gold_kind == answer_kind
        or {gold_kind, answer_kind} in ({"", "()"}, {"", "{}"})
    ):
        return finding
    if {gold_kind, answer_kind} <= sequences and len(gold_items) == 2:
        return Outcome.incorrect, "different_brackets"  # [1, 2) is not (1, 2)
    return Outcome.disagree, "different_brackets"


def _distinct(items: Sequence[str]) -> list[str]:
    return list({"".join(item.split()): item for item in items}.values())


_WORDS = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}")


def _decimal_comma(text: str) -> str:
    return text.replace(",", ".") if re.fullmatch(r"[-+]?\d+,\d+", text) else text


def _compare_items(gold: Sequence[str], answer: Sequence[str], compare: Any, ordered: bool) -> Finding:
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


# --- computer algebra -------------------------------------------------------------------------------------------


def compare_maths(gold: str, answer: str, *, relative_tolerance: float, percent: Percent, ignore_case: bool) -> Finding:
    """Two clean texts through math-verify and a numeric re-check."""
    gold_value, answer_value = read_maths(gold, answer, ignore_case=ignore_case)
    if gold_value is None:
        return Outcome.ungradable, "gold_unreadable"
    if answer_value is None:
        return Outcome.ungradable, "answer_unreadable"
    try:
        equal = library_equal(gold_value, answer_value) or _equal_other_way(gold_value, answer_value)
    except SYMPY_ERRORS:
        return Outcome.ungradable, "not_comparable"
    try:
        recheck = _recheck(gold, gold_value, answer, answer_value, relative_tolerance, percent)
    except SYMPY_ERRORS:
        recheck = None
    if equal:
        return (
            (Outcome.disagree, "numeric_recheck_failed") if recheck is False else (Outcome.correct, "math_verify_equal")
        )
    if recheck is not None:
        return (Outcome.correct, "equal_value") if recheck else (Outcome.incorrect, "different_value")
    if _is_expression(gold_value) and _is_expression(answer_value):
        return Outcome.disagree, "not_comparable"  # no point showed a difference
    if _has_open_parts(gold_value) or _has_open_parts(answer_value):
        return Outcome.disagree, "not_comparable"
    return Outcome.incorrect, "math_verify_different"


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
        return agree
    return _same_under_renaming(gold_value, answer_value)


def _is_expression(value: Any) -> bool:
    return isinstance(value, sympy.Expr) and not isinstance(value, (sympy.MatrixBase, Boolean))


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
        compare_cascade, relative_tolerance=relative_tolerance, percent=percent, units=units, ignore_case=ignore_case
    )  # fmt: skip
    return judge(problem, trace, compare, verifier="cascade", verifier_version=CASCADE_VERSION, anchors=anchors)


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
    gold_text = gold_answer(gold)
    if gold_text is None:
        return Verdict(Outcome.ungradable, answer, "no_gold", "cascade", CASCADE_VERSION)
    compare = partial(
        compare_cascade, relative_tolerance=relative_tolerance, percent=percent, units=units, ignore_case=ignore_case
    )  # fmt: skip
    outcome, reason = compare_bounded(compare, gold_text, answer)
    return Verdict(outcome, answer, reason, "cascade", CASCADE_VERSION)
