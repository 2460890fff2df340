"""Congruences and families of whole multiples, compared as classes.

read_congruence("10 \\pmod 7")              the same class as 3 \\pmod 7, and as x = 7k + 3
read_congruence("\\frac{\\pi}{4} + k\\pi")    the same class as \\frac{\\pi}{4} + n\\pi
"""

import itertools
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from redistill.records import Outcome
from redistill.verify.formula import read_formula
from redistill.verify.judging import Finding, Reading, different
from redistill.verify.polynomials import ZERO, as_float
from redistill.verify.solutions import WHOLE_LETTERS
from redistill.verify.values import CONTEXT, Undefined, evaluate


def _sum(x: Any, y: Any) -> Any:
    return x + y if isinstance(x, Fraction) and isinstance(y, Fraction) else as_float(x) + as_float(y)


def _apart(x: Any, y: Any) -> bool:
    return bool(abs(as_float(_sum(x, -y))) > ZERO * max(1, abs(as_float(x))))


_MODULUS = re.compile(
    r"(?:([A-Za-z])\s*(?:\\equiv|=)\s*)?(-?\d+)\s*(?:\(\s*)?\\?(?:pmod|bmod|mod)(?![A-Za-z])\s*\{?\s*(\d+)\s*\}?\s*\)?"
)
_WHOLE_NOTE = re.compile(
    r"\s*[,;]?\s*(?:\(|\\quad|where|for|with|\\text\s*\{\s*,?\s*(?:where|for|with)?\s*(?:some|any|all|integers?|every)*\s*\}|for\s+(?:some|any|all|every)?)?\s*(?:(?:integer|int)\s+)?"
    r"([A-Za-z])\s*(?:\\in\s*\\?(?:mathbb)?\s*\{?\s*[ZN]\s*\}?|\\text\s*\{\s*(?:is )?(?:an )?integer\s*\}|is an integer)\s*\)?$"
)


@dataclass(frozen=True, slots=True)
class Congruence:
    """start + step * whole number. stated: whether the text says that its letter is a whole number, or is a congruence.
    degrees: whether its numbers are degrees."""

    start: Any
    step: Any
    stated: bool
    degrees: bool = False


def read_congruence(text: str) -> Congruence | None:
    """The class of `3 \\pmod 7`, `x \\equiv 3 \\pmod 7`, `x = 7k + 3`, `\\frac{\\pi}{4} + k\\pi`; None for anything else."""
    if modulus := _MODULUS.fullmatch(text.strip()):
        if int(modulus[3][:50]) == 0:
            return None
        return Congruence(Fraction(int(modulus[2])), Fraction(int(modulus[3])), True)
    stated = False
    if note := _WHOLE_NOTE.search(text):
        text, stated = text[: note.start()].strip(), True
    name, sign, rest = text.partition("=")
    formula = read_formula(rest.strip() if sign else text)
    if formula is None or len(formula.symbols) != 1 or formula.decimals or formula.doubts - {"degrees"}:
        return None
    letter = next(iter(formula.symbols))
    if (
        letter not in WHOLE_LETTERS
        or (note and note[1] != letter)
        or (sign and not re.fullmatch(r"\s*[A-Za-z\\]+\s*", name))
    ):
        return None
    if sign and name.strip() == letter:
        return None
    values = []
    for point in range(4):
        try:
            values.append(evaluate(formula.node, {letter: Fraction(point)}, []))
        except Undefined:
            return None
    if any(isinstance(value, CONTEXT.mpc) for value in values):
        return None
    steps = [_sum(b, -a) for a, b in itertools.pairwise(values)]
    if any(_apart(step, steps[0]) for step in steps) or not _apart(steps[0], Fraction(0)):
        return None
    return Congruence(values[0], steps[0], stated, "degrees" in formula.doubts)


_RESIDUES = re.compile(
    r"((?:[A-Za-z]\s*\\equiv\s*)?)(-?\d+(?:\s*(?:,|\band\b|\bor\b)+\s*-?\d+)+)\s*(\(?\s*\\?(?:pmod|bmod|mod)(?![A-Za-z]).+)"
)


_PLUS_MINUS = re.compile(r"\\pm\s*(\d+)")


def read_residues(text: str) -> list[Congruence] | None:
    """The classes of `2, 3 \\pmod 5`; None for anything else."""
    match = _RESIDUES.fullmatch(_PLUS_MINUS.sub(r"\1, -\1", text.strip()))
    classes = (
        [read_congruence(f"{match[1]}{number} {match[3]}") for number in re.findall(r"-?\d+", match[2])]
        if match
        else []
    )
    return [one for one in classes if one] if classes and all(classes) else None


def _compare_residues(gold: str, answer: str) -> Finding | None:
    """Several classes of one modulus, in any order; undecided where the moduli differ, None where neither side lists some."""
    ours, theirs = read_residues(gold), read_residues(answer)
    if not (ours and theirs):
        return (
            (Outcome.disagree, "different_kinds")
            if (ours or theirs) and "," not in (answer if ours else gold)
            else None
        )
    if len({one.step for one in (*ours, *theirs)}) > 1:
        return Outcome.disagree, "not_comparable"
    sets = [{one.start % one.step for one in side} for side in (ours, theirs)]
    read = Reading("congruences", complete=True)
    return (Outcome.correct, "equal_class") if sets[0] == sets[1] else different(read, read, "different_class")


def compare_congruences(gold: str, answer: str) -> Finding | None:
    """Two families of whole multiples; None where neither side is one. A bare number against a class is undecided."""
    if "mod" in gold and "mod" in answer and (residues := _compare_residues(gold, answer)):
        return residues
    ours, theirs = read_congruence(gold), read_congruence(answer)
    if not ours and not theirs:
        return None
    if not ours or not theirs:
        side = ours or theirs
        return (Outcome.disagree, "class_and_number") if side and side.stated else None
    # multiples of pi are angles; 4 + 2\sqrt3 m is a length as well
    pi = ours.degrees or any(
        not isinstance(side.step, Fraction) and ("pi" in text or "π" in text)
        for side, text in ((ours, gold), (theirs, answer))
    )
    if not (ours.stated or theirs.stated or pi or ("=" in gold and "=" in answer)):
        return None
    if ours.degrees != theirs.degrees:
        return Outcome.disagree, "degrees_or_radians"
    same_step = not _apart(abs(as_float(ours.step)), abs(as_float(theirs.step)))
    shift = as_float(_sum(ours.start, -theirs.start)) / as_float(ours.step)
    if same_step and abs(shift - CONTEXT.nint(shift)) < ZERO:
        return (
            (Outcome.correct, "equal_class")
            if ours.stated or theirs.stated or pi or shift == 0
            else (Outcome.disagree, "perhaps_one_class")
        )
    named = all(side.stated or "=" in text for side, text in ((ours, gold), (theirs, answer)))
    family = named and (ours.stated or theirs.stated)  # beside x \equiv 1 \pmod 4, x = 4k + 2 is a class as well
    sure = [Reading("congruence", side.stated or pi or family) for side in (ours, theirs)]
    return different(sure[0], sure[1], "different_class")
