"""What the verifiers `math-verify` and `cascade` need of the library of that name and of sympy. Only ever run in a pool's worker.

The two libraries take half a second to import, so this module is imported by functions, when they first need it.

math-verify 0.9.0, as met here:
* gold goes first, the comparison is not symmetric (a relation against a set works one way only);
* its timeouts are whole seconds, cancel the caller's alarm, need the main thread, and come back as a plain False:
  they are switched off (None), and the pool kills the worker instead;
* it rounds absolutely (1/2004! equals 1/2006!) and stops reading at what it does not know, so what it calls equal is
  checked again (see cascade.py).
"""

import contextlib
import logging
import re
import sys
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import sympy
from latex2sympy2_extended import NormalizationConfig
from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify
from mpmath.libmp import NoConvergence
from sympy.core import random as sympy_random
from sympy.core.function import AppliedUndef
from sympy.core.relational import Relational
from sympy.logic.boolalg import Boolean
from sympy.polys.polyerrors import BasePolynomialError

from redistill.records import Outcome
from redistill.verify.formula import read_formula
from redistill.verify.judging import Finding, Reading, different
from redistill.verify.reading import clean

DIGITS = 30  # evaluated; far more than any tolerance here
# What sympy raises on objects that it cannot compare; each means "not comparable", never "different".
SYMPY_ERRORS = (
    TypeError, ValueError, AttributeError, NotImplementedError, ArithmeticError, LookupError, AssertionError,
    BasePolynomialError, NoConvergence,
)  # fmt: skip

logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns once a process that the timeouts are off


@contextlib.contextmanager
def exhaustion_noticed() -> Iterator[None]:
    """MemoryError or RecursionError again at the end, where one was raised inside and swallowed.

    math-verify and sympy catch every Exception and go on; a comparison that ran out of memory half-way comes back as
    "different". What a frame raises is seen by a trace function, for which lines are switched off.
    """
    seen: list[type[BaseException]] = []

    def watch(frame: Any, event: str, argument: Any) -> Any:
        frame.f_trace_lines = False
        if event == "exception" and issubclass(argument[0], (MemoryError, RecursionError)):
            seen.append(argument[0])
        return watch

    before = sys.gettrace()
    sys.settrace(watch)
    try:
        yield
    finally:
        sys.settrace(before)
    if seen:
        raise seen[0]("swallowed on its way")


def library_equal(gold: Any, answer: Any) -> bool:
    """math-verify's verdict on parsed values, gold first, without its timeouts; its random checks start from one seed.
    MemoryError and RecursionError where they happened inside, even if the library went on."""
    sympy_random.seed(0)
    with exhaustion_noticed():
        return bool(verify(gold, answer, allow_set_relation_comp=True, timeout_seconds=None))


def equal_in_some_order(gold: Any, answer: Any) -> bool:
    """`library_equal`, also with the sides exchanged for a relation against a set, where the library knows one order only."""
    if library_equal(gold, answer):
        return True
    sets = (sympy.Set, Relational, Boolean)
    exchanged = isinstance(gold, sets) and isinstance(answer, sets) and type(gold) is not type(answer)
    return exchanged and library_equal(answer, gold)


def compare_by_library(gold: str, answer: str) -> Finding:
    """The library's own reading and comparison of two answers. What it cannot read at all is undecided, and so is what
    ran out of memory or stack (MemoryError, RecursionError: the pool's worker makes `timeout` of them)."""
    with exhaustion_noticed():
        return _compare(gold, answer)


def _compare(gold: str, answer: str) -> Finding:
    configs = [LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig()]
    gold_values = parse(_boxed(gold), configs, parsing_timeout=None)
    answer_values = parse(_boxed(answer), configs, parsing_timeout=None)
    if not gold_values or not answer_values:
        return Outcome.ungradable, "answer_unreadable" if gold_values else "gold_unreadable"
    if library_equal(gold_values, answer_values):
        return Outcome.correct, "math_verify_equal"
    ours, theirs = (Reading("math-verify", read_formula(clean(side)) is not None) for side in (gold, answer))
    return different(
        ours, theirs, "math_verify_different"
    )  # its parser stops at what it does not know, and says nothing


def _boxed(answer: str) -> str:
    return answer if "\\boxed" in answer else f"\\boxed{{{answer.strip().strip('$')}}}"


# --- for the cascade ---------------------------------------------------------------------------------------------

_INFORMAL = [  # calculator and Python notation in LaTeX's words
    (re.compile(r"(?<=\d)i(?![A-Za-z])"), " i "),  # math-verify sees the imaginary unit only as a word of its own
    # sympy's name of Euler's number; E**2 and E**(1/2) may be powers of an energy
    (re.compile(r"(?<![A-Za-z\\])E(?=\s*\*\*\s*\([^()]*[A-Za-z])"), "e"),
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"\\cdot(?![A-Za-z])|\*"), r" \\cdot "),
    (re.compile(r"(?<![A-Za-z\\])sqrt\s*\(([^()]*(?:\([^()]*\)[^()]*)*)\)"), r"\\sqrt{\1}"),
    (re.compile(r"√\s*\(([^()]*)\)|√\s*(\d+)"), r"\\sqrt{\1\2}"),
    (re.compile(r"(?<![A-Za-z\\])(arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|ln|log|exp)(?![A-Za-z])"), r"\\\1 "),
    (re.compile(r"(?<![A-Za-z\\])(pi|infty)(?![A-Za-z])"), r"\\\1 "),
    (re.compile(r"(?<=[\d)])\s*[eE]([-+]?\d+)(?!\d)"), r" \\times 10^{\1}"),
    (re.compile(r"\^\s*\(([^()]*)\)"), r"^{\1}"),
    (re.compile(r"\^\s*(-?\d+(?:\.\d+)?|-[A-Za-z])"), r"^{\1}"),
    (re.compile(r"(?<=\d),(?=\d{3}(?!\d))"), ""),
    (re.compile(r"\\(?:varnothing|empty)(?![A-Za-z])|^\\?\{\s*\\?\}$"), r"\\emptyset "),
    (re.compile(r"^\\mathbb\s*\{?R\}?$|^\\R$"), r"(-\\infty, \\infty)"),
    (re.compile(r">="), r"\\ge "),
    (re.compile(r"<="), r"\\le "),
    (re.compile(r"\+\s*\\infty"), r"\\infty"),
]  # fmt: skip


def warm_up() -> None:
    """One harmless comparison, so that tables and caches are built before anything is timed."""
    library_equal(_read("x+1"), _read("1+x"))


_LETTER = re.compile(r"\\[A-Za-z]+|[A-Za-z]")


def read_maths(gold: str, answer: str, *, ignore_case: bool) -> tuple[Any | None, Any | None]:
    """The sympy objects of two clean texts, None for what cannot be read.

    The library's parser folds the case of letters, so that R^2 - r^2 would be 0. A capital whose small letter stands on
    the same side (on either side, unless ignore_case) is therefore renamed to an unused letter, in both texts alike.
    """
    texts = []
    for text in (gold.replace("\\degree", ""), answer.replace("\\degree", "")):
        for pattern, replacement in _INFORMAL:
            text = pattern.sub(replacement, text)
        texts.append(text)
    sides = [{t for t in _LETTER.findall(text) if len(t) == 1} for text in texts]
    pools = sides if ignore_case else [sides[0] | sides[1]]
    clashes = sorted({letter for pool in pools for letter in pool if letter.isupper() and letter.lower() in pool})
    used = {letter.lower() for letter in sides[0] | sides[1]} | {"e", "i", "d"}
    names = dict(zip(clashes, sorted(set("abcdefghijklmnopqrstuvwxyz") - used)))
    if len(names) < len(clashes):
        return None, None
    renamed = [_LETTER.sub(lambda m: names.get(m.group(), m.group()), text) for text in texts]
    return _read(renamed[0]), _read(renamed[1])


# Units are ours (reading.split_unit): the library would drop the m of 5m, which may be a variable.
_READING = LatexExtractionConfig(
    normalization_config=NormalizationConfig(
        basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="all", equations=False
    )
)
_JOINED = re.compile(r"\s+(or|and)\s+")


def _read_joined(text: str) -> Any | None:
    """`x < 1 or x > 2` as the set it stands for, which the library reads as a list of two; None for all else."""
    parts = _JOINED.split(text)
    words, pieces = set(parts[1::2]), parts[0::2]
    if len(words) != 1 or not all(re.search(r"[<>]|\\(?:le|ge)(?![A-Za-z])", piece) for piece in pieces):
        return None
    values = [value for piece in pieces if isinstance(value := _read(piece), Relational | sympy.And)]
    if len(values) < len(pieces):
        return None
    if len(set().union(*(value.free_symbols for value in values))) != 1:
        return None
    try:
        sets = [value.as_set() for value in values]
    except SYMPY_ERRORS:
        return None
    return sympy.Union(*sets) if words == {"or"} else sympy.Intersection(*sets)


@lru_cache(maxsize=512)
def _read(text: str) -> Any | None:
    """One sympy object or None. `\\frac919` is None: nobody knows where its numerator ends; so is y', which the parser
    reads as y, and 101_2 + 1, of which it drops the base."""
    if re.search(r"\\frac\s*\d{3}|'|\\prime|(?<![A-Za-z\d])\d+\s*_\s*\{?\s*\d", text):
        return None
    if (joined := _read_joined(text)) is not None:
        return joined
    values = parse(f"${text}$", [_READING], fallback_mode="no_fallback", parsing_timeout=None)
    if not values or not isinstance(values[0], (sympy.Basic, sympy.MatrixBase)):
        return None
    units = {s: sympy.I for s in values[0].free_symbols if str(s) == "i"}  # an index i stays in its own sum
    try:
        return values[0].xreplace(units) if units else values[0]
    except SYMPY_ERRORS:
        return None  # 3 < i


def value_of(expression: Any) -> sympy.Expr | None:
    """The number a closed expression stands for, to 30 digits; None for symbols, sets, relations, infinities."""
    if not isinstance(expression, sympy.Expr) or expression.free_symbols or expression.has(AppliedUndef):
        return None
    try:
        value = expression.doit().evalf(DIGITS)
    except SYMPY_ERRORS:
        return None
    return value if value.is_number and value.is_finite and value.as_real_imag()[0].is_Number else None
