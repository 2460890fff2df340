"""`cascade`: rules first, then math-verify with its answers checked again. The default verifier.

    same text, plain numbers, choice letters, words        exact.py decides, also "incorrect", in microseconds
    lists, tuples, sets, intervals, matrices, `x = 5`      structure.py: part by part, each through the cascade
    what is left                                           evaluated to 30 digits, or at several points
    what that leaves open                                  math-verify, both directions where that is sound

"Incorrect" needs evidence of difference: numbers apart, expressions apart at a point. Where math-verify calls equal what
evaluation sees apart by a relative tolerance, the verdict is `disagree`, not a guess.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache, partial
from typing import Any

from redistill.records import Outcome, Problem, Trace, Verdict
from redistill.verify.answers import Anchor
from redistill.verify.congruences import compare_congruences
from redistill.verify.evaluation import compare_formulas, equal_in_degrees
from redistill.verify.evaluation import value_of as formula_value
from redistill.verify.exact import RELATIVE_TOLERANCE, Percent, compare_exact
from redistill.verify.formula import Formula, read_formula
from redistill.verify.judging import (
    RULES_VERSION,
    Finding,
    Reading,
    compare_bounded,
    conventions,
    different,
    gold_answer,
    judge,
)
from redistill.verify.letter_case import case_matters
from redistill.verify.math_verify import MATH_VERIFY_VERSION
from redistill.verify.notation import MAX_NOTED
from redistill.verify.number_rows import compare_number_rows, compare_symbol_rows
from redistill.verify.prose import maths_in_prose, words_behind
from redistill.verify.quantities import LETTER_UNITS, Unit, factor_between, may_be_conversion, read_unit
from redistill.verify.reading import clean, is_wordy, opens_with_a_word, read_number, split_unit
from redistill.verify.remainders import compare_remainders
from redistill.verify.solutions import compare_relations, compare_solutions
from redistill.verify.structure import (
    compare_assignments,
    compare_choices,
    compare_lists,
    compare_matrices,
    compare_named,
    compare_parts,
    compare_ranges,
    compare_shown,
    compare_vectors,
)
from redistill.verify.values import CONTEXT

CASCADE_VERSION = f"{RULES_VERSION}, {MATH_VERIFY_VERSION}"
MAX_DEPTH = 6  # lists in lists
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
    if depth == 0 and (finding := compare_choices(gold, answer, compare) or compare_remainders(gold, answer)):
        return finding
    finding = compare_exact(gold, answer, relative_tolerance=relative_tolerance, percent=percent, units=units)
    if finding[0] != Outcome.ungradable or depth >= MAX_DEPTH:
        return finding
    if case_matters(gold, answer):
        return Outcome.disagree, "letter_case"
    if rows := compare_number_rows(gold, answer, compare) or compare_symbol_rows(gold, answer):
        return rows
    sentence = maths_in_prose(answer)
    gold, answer = clean(gold), clean(answer)
    if max(len(gold), len(answer)) <= MAX_NOTED and (outcome := _compare_notations(gold, answer, compare, ignore_case)):
        return outcome
    for structure in (compare_named, compare_matrices, compare_lists):
        if parts := structure(gold, answer, compare):
            return parts
    if units:
        if (finding := _compare_units(gold, answer, compare)) or (
            finding := _compare_loose_units(gold, answer, compare)
        ):
            return finding
    else:
        gold, answer = (side.replace("\\degree", "") for side in (gold, answer))
    wordy = opens_with_a_word(gold) or opens_with_a_word(answer)
    if wordy or ((is_wordy(gold) or is_wordy(answer)) and not (read_formula(gold) and read_formula(answer))):
        if sentence is not None and not is_wordy(sentence) and _is_said(gold, sentence, answer, units, compare):
            return Outcome.correct, "equal_in_sentence"
        return Outcome.ungradable, "text_differs"
    if relations := compare_relations(gold, answer, ignore_case):
        return relations
    return compare_maths(gold, answer, relative_tolerance=relative_tolerance, percent=percent, ignore_case=ignore_case)


def _is_said(gold: str, piece: str, sentence: str, units: bool, compare: Any) -> bool:
    """Whether a sentence says the gold answer with the one piece of maths that it holds. Where the gold answer has a unit, what
    follows the piece must be able to be it: 12 m is not said by `It takes 12 seconds`."""
    words = words_behind(sentence, piece) if units and split_unit(gold)[1] else []
    behind = [" ".join(words[:count]) for count in range(1, min(3, len(words)) + 1)]
    forms = [form for said in behind for form in (f"{piece}\\text{{ {said}}}", f"{piece} {said}")] or [piece]
    return any(compare(gold, form)[0] == Outcome.correct for form in forms)


def _compare_notations(gold: str, answer: str, compare: Any, ignore_case: bool) -> Finding | None:
    """Parts, vectors, ranges, classes, sets, shown arithmetic: None where the two are none of these."""
    if (endless := _compare_infinite(gold, answer) or _compare_growth(gold, answer)) is not None:
        return endless
    if _COMMA_INSIDE.search(gold + " " + answer) and (ours := read_formula(gold)) and (theirs := read_formula(answer)):
        return compare_formulas(
            ours, theirs, relative_tolerance=compare.keywords["relative_tolerance"], ignore_case=ignore_case
        )
    for several in (compare_parts, compare_assignments, compare_vectors):
        if parts := several(gold, answer, compare):
            return parts
    outcomes = (
        compare_ranges(gold, answer)
        or compare_congruences(gold, answer)
        or compare_solutions(gold, answer, ignore_case)
    )
    return outcomes or compare_shown(gold, answer, compare)


_COMMA_INSIDE = re.compile(r"[A-Za-z]\s*[({][^(){}]*,(?!\d{3}(?!\d))")  # of C(6,2) and max(1, 2), which are not lists
_INFINITE = re.compile(r"([-+]?)\s*(?:\\infty|infinity|inf|\\text\{\s*infinity\s*\})", re.IGNORECASE)


_GROWTH = re.compile(r"(?:[Oo]|\\mathcal\s*\{\s*O\s*\}|\\?(?:Theta|Omega))\s*\((.+)\)")


def _compare_growth(gold: str, answer: str) -> Finding | None:
    """O(n^2) against n^2: undecided; None where both sides or neither are of that kind."""
    if gold[-1:] != ")" and answer[-1:] != ")":
        return None
    ours, theirs = _GROWTH.fullmatch(gold), _GROWTH.fullmatch(answer)
    return (Outcome.disagree, "different_kinds") if bool(ours) != bool(theirs) else None


def _compare_infinite(gold: str, answer: str) -> Finding | None:
    """Infinity with its sign; None where neither side is infinite, or the other one is not a plain number."""
    ours, theirs = _INFINITE.fullmatch(gold), _INFINITE.fullmatch(answer)
    endless = Reading("infinity", complete=True)
    if ours and theirs:
        same = (ours[1] == "-") == (theirs[1] == "-")
        return (Outcome.correct, "equal_value") if same else different(endless, endless, "different_value")
    if (ours and read_number(answer)) or (theirs and read_number(gold)):
        return different(endless, endless, "different_value")
    return None


def _compare_units(gold: str, answer: str, compare: Any) -> Finding | None:
    """Formulas with units, 1.5\\pi m and 150\\pi cm; None where neither side has one. As for numbers: one dimension is converted, a unit on
    one side only is dropped, all else is undecided."""
    (gold_rest, gold_unit), (answer_rest, answer_unit) = (split_unit(side, known=True) for side in (gold, answer))
    if not (gold_unit or answer_unit) or any(is_wordy(rest) or not rest for rest in (gold_rest, answer_rest)):
        return None
    if not gold_unit or not answer_unit:
        if "degree" in (gold_unit or answer_unit) and "\\pi" in (answer_rest if gold_unit else gold_rest):
            return Outcome.disagree, "degrees_or_radians"
        loose_side = gold_rest if answer_unit else answer_rest
        if loose := _LOOSE_UNIT.fullmatch(loose_side):  # 5\pi m against 500\pi cm
            name = loose[2] if loose[2] in LETTER_UNITS else _LETTERS_OF_UNITS.get(loose[2], "")
            if not name:
                return Outcome.disagree, "perhaps_a_unit"
            marked = f"{loose[1]}\\text{{ {name}}}{loose[3] or ''}"
            finding: Finding = compare(marked, answer) if loose_side is gold_rest else compare(gold, marked)
            return (
                finding
                if finding[0] == Outcome.correct or loose[2] in LETTER_UNITS
                else (Outcome.disagree, "perhaps_a_unit")
            )
    ours, theirs = read_unit(gold_unit), read_unit(answer_unit)
    if ours is None or theirs is None:
        return Outcome.disagree, "unit_unreadable"
    finding = compare(_multiplied(gold_rest, ours.magnitude), _multiplied(answer_rest, theirs.magnitude))
    if (
        not gold_unit
        or not answer_unit
        or (ours.factors == theirs.factors and (ours.nouns <= theirs.nouns or theirs.nouns <= ours.nouns))
    ):
        one_sided = finding[0] == Outcome.incorrect and not (gold_unit and answer_unit)
        return (
            (Outcome.disagree, "perhaps_converted")
            if one_sided and _perhaps_converted(gold_rest, answer_rest, ours if ours.factors else theirs)
            else finding
        )
    factor = factor_between(theirs.factors, ours.factors) if ours.factors and theirs.factors else None
    if factor is None or ours.nouns != theirs.nouns:
        return Outcome.disagree, "units_differ"
    converted: Finding = compare(
        _multiplied(gold_rest, ours.magnitude), _multiplied(answer_rest, theirs.magnitude * factor)
    )
    return converted


def _multiplied(text: str, factor: Fraction) -> str:
    if factor == 1:
        return text
    return f"\\frac{{{factor.numerator}}}{{{factor.denominator}}} \\cdot ({text})"


def _are_one_angle(ours: Formula, theirs: Formula) -> bool:
    """Whether one value in degrees is the other in radians: 90 and pi/2."""
    values = [value for side in (ours, theirs) if (value := formula_value(side)) and not isinstance(value, CONTEXT.mpc)]
    if len(values) < 2:
        return False
    left, right = (CONTEXT.mpf(v.numerator) / v.denominator if isinstance(v, Fraction) else v for v in values)
    degree = CONTEXT.pi / 180
    return any(abs(a / b - degree) < EXACT_TOLERANCE for a, b in ((left, right), (right, left)))


def _perhaps_converted(gold: str, answer: str, unit: Unit) -> bool:
    """Whether the ratio of two closed formulas is one that a unit left out would explain."""
    values = [formula_value(formula) if (formula := read_formula(side)) else None for side in (gold, answer)]
    if values[0] is None or values[1] is None or not values[1]:
        return False
    try:
        ratio = Fraction(str(CONTEXT.nstr(CONTEXT.mpf(values[0]) / values[1], 15))).limit_denominator(10**7)
    except (TypeError, ValueError):
        return False
    return may_be_conversion(ratio, unit)


# One letter after a value: metres or a variable. Nobody can say without the question.
_LOOSE_UNIT = re.compile(
    r"(.*(?:[\d)}!]|(?<![A-Za-z])pi(?![A-Za-z])|π))(?:\s|\\[,;: ])*([A-Za-z])(\s*\^\s*\{?[23]\}?)?", re.DOTALL
)
_LETTERS_OF_A_UNIT = re.compile(
    r"-?[\d.,]*\d\s*((?:[mgslhNJWVAKC](?:\s*\^\s*\{?-?\d\}?)?(?:\s|\\cdot(?![A-Za-z])|/)*){1,4})"
)
_USUAL_UNITS = frozenset("mgslhLNJWVAKCF")
_LETTERS_OF_UNITS = {
    "p": "pence",
    "c": "cents",
    "d": "days",
    "w": "weeks",
    "y": "years",
}  # beside a unit of the same kind only


# Letters after a value that may be a unit nobody here knows (5 GB, 10 dB, 3 u), and no product of the usual unknowns (5xy).
_UNKNOWN_UNIT = re.compile(r"-?[\d.,]*\d\s*((?=[a-z]*[A-Z])[A-Za-z]{2,6}|(?<=\s)[uUbBMGTk])")
_LOOSE_MAGNITUDE = re.compile(r"(-?\d[\d,]*(?:\.\d+)?)\s*([kKM])")


def _power(text: str | None) -> str:
    """The digit of `^2` or `^{2}` behind a letter, "1" where there is none."""
    return re.sub(r"\D", "", text or "") or "1"


def _compare_loose_units(gold: str, answer: str, compare: Any) -> Finding | None:
    """5 m against 5: undecided where the values are equal; None where a letter stands on neither side, or on both. Letters that
    may be an unknown unit are undecided against a number and against other such letters."""
    names = [match[1] if (match := _UNKNOWN_UNIT.fullmatch(side)) else None for side in (gold, answer)]
    if names != [None, None] and names[0] != names[1]:
        known = [split_unit(side, known=True)[1] or side if read_number(side) else None for side in (gold, answer)]
        if all(found or name for found, name in zip(known, names)):
            return Outcome.disagree, "perhaps_a_unit"
    units = [_LETTERS_OF_A_UNIT.fullmatch(side) for side in (gold, answer)]
    if units[0] and units[1] and (len(units[0][1]) > 1 or len(units[1][1]) > 1) and units[0][1] != units[1][1]:
        return Outcome.disagree, "perhaps_a_unit"  # 5 N m and 5 J
    ours, theirs = _LOOSE_UNIT.fullmatch(gold), _LOOSE_UNIT.fullmatch(answer)
    if ours and theirs and ours[2] in _USUAL_UNITS and ours[2] == theirs[2]:
        if _power(ours[3]) != _power(theirs[3]):
            return Outcome.disagree, "perhaps_a_unit"  # 4 m^2 and 4 m^3: two dimensions, or two terms in m
        letters = [read_formula(side) for side in (gold, answer)]
        if (
            letters[0] and letters[1]
            and compare_formulas(letters[0], letters[1], relative_tolerance=0.0, ignore_case=False)[0] == Outcome.incorrect
            and compare(ours[1].strip(), theirs[1].strip())[0] == Outcome.correct
        ):  # fmt: skip
            return Outcome.disagree, "perhaps_a_unit"  # 5 + 3 m is 8 m where m is a metre
    for side, other in ((gold, answer), (answer, gold)):
        if (thousands := _LOOSE_MAGNITUDE.fullmatch(side)) and (number := read_number(other)) and not number.unit:
            same = number.value == Fraction(thousands[1].replace(",", "")) * (1000 if thousands[2] in "kK" else 10**6)
            return (Outcome.correct, "equal_number") if same else (Outcome.disagree, "perhaps_a_magnitude")
        letter = _LOOSE_UNIT.fullmatch(side)
        if (
            letter
            and letter[2] in _USUAL_UNITS
            and not re.search(rf"(?<![\\A-Za-z]){letter.group(2)}(?![A-Za-z])", other)
        ):
            marked = f"{letter[1].strip()}\\text{{ {letter[2]}}}{letter[3] or ''}"
            finding: Finding = compare(marked, other) if side is gold else compare(other, marked)
            if split_unit(other, known=True)[1]:
                return finding  # where the other side has a unit, the letter is one
            if finding[0] == Outcome.correct and _LOOSE_UNIT.fullmatch(other):
                return finding  # 0.5 m^3 and 500 L
            as_letter = read_formula(side), read_formula(other)
            if as_letter[0] and as_letter[1] and as_letter[1].symbols:
                return None  # the other side has unknowns, so the letter is one: 6n + 1 and 1 + 6m
            return finding if finding[0] == Outcome.incorrect else (Outcome.disagree, "perhaps_a_unit")
    return None


# --- computer algebra -------------------------------------------------------------------------------------------


def compare_maths(gold: str, answer: str, *, relative_tolerance: float, percent: Percent, ignore_case: bool) -> Finding:
    """Two clean texts by evaluation, where our grammar reads both to their end; math-verify may see what is left to be equal,
    and never to be different."""
    ours, theirs = (read_formula(side) for side in (gold, answer))
    if ours is not None and theirs is not None:
        if "degrees" in ours.doubts ^ theirs.doubts and "pi" in (gold + answer):
            return Outcome.disagree, "degrees_or_radians"
        finding = compare_formulas(
            _in_degrees(ours), _in_degrees(theirs), relative_tolerance=relative_tolerance, ignore_case=ignore_case
        )
        if finding[0] == Outcome.incorrect and (
            gold.lower() == answer.lower() or _hyphened(gold, answer) or _exclaimed(gold, answer)
        ):
            return Outcome.disagree, "two_readings"  # e and E; 2-3/4 and 11/4; 42 and 42!
        if finding[0] == Outcome.incorrect and _other_imaginary_unit(gold, answer, ours, theirs):
            return Outcome.disagree, "two_readings"
        angles = finding[0] == Outcome.incorrect and _ANGLE.search(gold + answer)
        if angles and (_are_one_angle(ours, theirs) or equal_in_degrees(ours, theirs)):
            return Outcome.disagree, "degrees_or_radians"
        return finding
    if ("=" in _SUBSCRIPT.sub("", gold)) != ("=" in _SUBSCRIPT.sub("", answer)):
        return Outcome.disagree, "different_kinds"
    if _NEVER_TRUSTED.search(_SUBSCRIPT.sub("", f"{gold} ; {answer}")):
        return Outcome.ungradable, "gold_unreadable" if ours is None else "answer_unreadable"
    from redistill.verify.mathlib import SYMPY_ERRORS, equal_in_some_order, read_maths, value_of

    gold_value, answer_value = read_maths(gold, answer, ignore_case=ignore_case)
    if gold_value is None:
        return Outcome.ungradable, "gold_unreadable"
    if answer_value is None:
        return Outcome.ungradable, "answer_unreadable"
    try:
        equal = equal_in_some_order(gold_value, answer_value)
    except SYMPY_ERRORS:
        return Outcome.ungradable, "not_comparable"
    if not equal:
        return Outcome.disagree, "not_comparable"
    values = value_of(gold_value), value_of(answer_value)
    if (
        values[0] is not None
        and values[1] is not None
        and abs(values[0] - values[1]) > EXACT_TOLERANCE * max(abs(values[0]), abs(values[1]))
    ):
        return Outcome.disagree, "numeric_recheck_failed"  # it rounds absolutely
    return Outcome.correct, "math_verify_equal"


_ANGLE = re.compile(r"\\pi|\\degree|arc|sin|cos|tan|cot|sec|csc")  # where degrees may be meant, or radians
_LETTER_J = re.compile(r"(?<![\\A-Za-z])j(?![A-Za-z])")
_HYPHENED = re.compile(r"(\d+)-(\d+)/(\d+)")


def _other_imaginary_unit(gold: str, answer: str, ours: Formula, theirs: Formula) -> bool:
    """Whether 2 + 3j on one side, read as an engineer writes it, is the other side's 2 + 3i."""
    for side, other, text in ((ours, theirs, gold), (theirs, ours, answer)):
        if other.imaginary and not side.imaginary and "j" in side.symbols:
            engineers = read_formula(_LETTER_J.sub("i", text))
            if (
                engineers
                and compare_formulas(other, engineers, relative_tolerance=0.0, ignore_case=False)[0] == Outcome.correct
            ):
                return True
    return False


def _exclaimed(gold: str, answer: str) -> bool:
    """Whether the answer is the gold number with the mark of a factorial, or of a writer who is glad."""
    plain = answer.rstrip("!").rstrip()
    ours, theirs = read_number(gold, words=False), read_number(plain, words=False)
    return plain != answer and ours is not None and theirs is not None and ours.value == theirs.value


def _hyphened(gold: str, answer: str) -> bool:
    """Whether 2-3/4 on one side, read as two and three quarters, is the other side's value."""
    for side, other in ((gold, answer), (answer, gold)):
        number = read_number(other, words=False)
        if number and (match := _HYPHENED.fullmatch(side)) and 0 < int(match[2]) < int(match[3]):
            return number.value == int(match[1]) + Fraction(int(match[2]), int(match[3]))
    return False


# What the library's parser drops or reads as a product: a text with it is never called equal by that parser alone.
_NEVER_TRUSTED = re.compile(
    r"\\int(?!.*\bd\s*[A-Za-z]\b)|:|\d\s+\d|\\p?mod|\\bmod|!|\\overline|\\dot(?![A-Za-z])|=[^;]*=|[^\x00-\x7f]|\\text|\\choose|[A-Za-z]\s*\^\s*\{?\s*\d+\s*\}?\s*_"
)
_SUBSCRIPT = re.compile(r"_\s*\{[^{}]*\}")


def _in_degrees(formula: Formula) -> Formula:
    """Outside of trigonometric functions a degree sign is the unit of the whole."""
    return replace(formula, doubts=formula.doubts - {"degrees"}) if "degrees" in formula.doubts else formula


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
