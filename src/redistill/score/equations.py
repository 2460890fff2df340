"""Scorer `checked-equations`: a program that recalculates what a trace says, equation by equation, and writes a verification.

    score: [{name: checked-equations, into: verification}]
    "9 * 2 = 18, so she pays 18 + 5 = 24."   ->   "9 * 2 is 18. 18 + 5 is 23, not 24. Therefore, the answer is incorrect."

It needs no model. What it says is that every equation holds, or which is the first that does not; whether that is true of the
answer is another matter (an answer may be wrong with every sum in it right), so the score says 1 or 0 and
`select.examples: self-correction` takes true verdicts alone.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Annotated, Literal

from pydantic import Field

from redistill.records import DECIDED, Group, Trace
from redistill.score.marks import unscored
from redistill.score.verification import with_verification
from redistill.text.segments import CUES, Said, has_cue

Order = Literal["standard", "left-to-right"]

_NUMBER = r"\$?\d[\d,]{0,20}(?:\.\d{1,20})?"
_SIGN = r"\s?[-+*/×÷·−x]\s?"
_WINDOW = 200  # characters on each side of `=` that an equation may fill
_LEFT = re.compile(rf"(?<![\w.,$])({_NUMBER}(?:{_SIGN}{_NUMBER}){{1,12}})\s?$")
_RIGHT = re.compile(rf"\s?(-?{_NUMBER})(?![\d%])(?!\s?[-+*/×÷·−]\s?[\d$(])")
_BEFORE = re.compile(r"[-+*/×÷·−^]$|(?<!\w)x$")
_TOKEN = re.compile(rf"({_NUMBER})|([-+*/×÷·−x])")
_PLAIN = {"×": "*", "·": "*", "x": "*", "÷": "/", "−": "-"}


@dataclass(frozen=True, slots=True)
class Equation:
    """An equation as a text has it: the numbers and signs on its left, and the result that it states."""

    numbers: tuple[str, ...]
    signs: tuple[str, ...]
    stated: str

    @property
    def left(self) -> str:
        """The left side in plain signs: `9 * 2`."""
        return self.numbers[0] + "".join(f" {s} {n}" for s, n in zip(self.signs, self.numbers[1:], strict=True))


def checked_equations(
    groups: Sequence[Group],
    *,
    cues: Literal["s2r", "compact"] = "s2r",
    order: Order = "standard",
    modulo: Annotated[int, Field(ge=2)] | None = None,
    _into: str,
) -> list[Group]:
    """A verification of each trace by the equations in it.

    order: `standard` precedence, or `left-to-right`; modulo: of results, as in the toy sums. cues `compact` writes the operations
    one by one, `3-4=9;9+1=0;`, without words. Not verified: `no_equation`, `undecided:OUTCOME`, `cue_in_text`.
    """
    how = (cues, order, modulo)
    return [replace(g, traces=tuple(_checked(trace, *how, _into) for trace in g.traces)) for g in groups]


def _checked(trace: Trace, cues: str, order: Order, modulo: int | None, into: str) -> Trace:
    outcome = trace.verdict.outcome
    if outcome not in DECIDED:
        return unscored(trace, into, f"undecided:{outcome}")
    if has_cue(trace.completion, CUES[cues]):
        return unscored(trace, into, "cue_in_text")
    checked = list(equations(trace.completion))
    if not checked:
        return unscored(trace, into, "no_equation")
    said, text = (_in_signs if cues == "compact" else _in_words)(checked, order, modulo)
    return with_verification(trace, said, text, into)


def equations(text: str) -> Iterator[Equation]:
    """The equations between plain numbers in a text, in order. What stands in a longer expression, such as `2x + 3 = 7`, is left
    out; percentages too."""
    for sign in re.finditer("=", text):
        window = text[max(0, sign.start() - _WINDOW) : sign.start()]
        left = _LEFT.search(window)
        right = _RIGHT.match(text, sign.end(), min(len(text), sign.end() + _WINDOW))
        if left is None or right is None or _BEFORE.search(window[: left.start()].rstrip()):
            continue
        parts = list(_TOKEN.finditer(left[1]))
        numbers = tuple(_bare(part[1]) for part in parts if part[1])
        signs = tuple(_PLAIN.get(part[2], part[2]) for part in parts if part[2])
        yield Equation(numbers, signs, _bare(right[1]))


def _bare(number: str) -> str:
    return number.replace("$", "").replace(",", "").rstrip(".")


def holds(equation: Equation, order: Order, modulo: int | None) -> tuple[bool, Fraction | None]:
    """(whether the equation holds, its left side's value): a stated decimal may be rounded. None for a division by zero."""
    value = value_of(equation, order, modulo)
    if value is None:
        return False, None
    stated = Fraction(equation.stated)
    decimals = len(equation.stated.partition(".")[2])
    return abs(value - stated) <= (Fraction(1, 2 * 10**decimals) if decimals else 0), value


def value_of(equation: Equation, order: Order, modulo: int | None) -> Fraction | None:
    """The value of the left side; None for a division by zero."""
    values = [Fraction(number) for number in equation.numbers]
    signs = list(equation.signs)
    try:
        for strong in (("*", "/"), ("+", "-")) if order == "standard" else (("*", "/", "+", "-"),):
            place = 0
            while place < len(signs):
                if signs[place] in strong:
                    values[place : place + 2] = [_apply(values[place], signs[place], values[place + 1])]
                    del signs[place]
                else:
                    place += 1
    except ZeroDivisionError:
        return None
    return values[0] if modulo is None else values[0] % modulo


def _apply(a: Fraction, sign: str, b: Fraction) -> Fraction:
    return a + b if sign == "+" else a - b if sign == "-" else a * b if sign == "*" else a / b


def _in_words(checked: Sequence[Equation], order: Order, modulo: int | None) -> tuple[Said, str]:
    cues, lines = CUES["s2r"], list[str]()
    for equation in checked:
        right, value = holds(equation, order, modulo)
        if not right:
            is_ = "has no value" if value is None else f"is {_written(value)}, not {equation.stated}"
            return "incorrect", " ".join([*lines, f"{equation.left} {is_}.", cues.incorrect])
        lines.append(f"{equation.left} is {equation.stated}.")
    return "correct", " ".join([*lines, cues.correct])


def _written(value: Fraction) -> str:
    return str(value.numerator) if value.denominator == 1 else f"{float(value):.4g}"


def _in_signs(checked: Sequence[Equation], order: Order, modulo: int | None) -> tuple[Said, str]:
    """Each equation again, one operation after the other, up to the first whose result is another one."""
    written = list[str]()
    for equation in checked:
        value = Fraction(equation.numbers[0])
        for sign, number in zip(equation.signs, equation.numbers[1:], strict=True):
            step = Equation((_written(value), number), (sign,), "0")
            result = value_of(step, order, modulo)
            if result is None:
                return "incorrect", "".join([*written, CUES["compact"].incorrect])
            written.append(f"{step.numbers[0]}{sign}{number}={_written(result)};")
            value = result
        if not holds(equation, order, modulo)[0]:
            return "incorrect", "".join([*written, CUES["compact"].incorrect])
    return "correct", "".join([*written, CUES["compact"].correct])
